"""Renders `docs/scorecard.md` from the summary of the runs; nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias

from chathistory.reference import CLAUSES

Mutant: TypeAlias = Mapping[str, Any]
Mutants: TypeAlias = Mapping[str, Mutant]

HARDNESS = {
    "obvious": "any use at all",
    "data": "particular values, ids or sizes",
    "stateful": "a particular course of operations",
    "timing": "a race",
}
_TARGETS = {"quick": 0.95, "full": 1.0}
_RACES = 0.99
_ATTRIBUTION, _MEDIAN, _LATEST = 0.95, 1.0, 6.0


def killed(mutant: Mapping[str, Any], effort: str) -> bool:
    """Whether every run with this effort found it."""
    return effort in mutant and mutant[effort]["killed"] == mutant[effort]["runs"]


def named_first(mutant: Mutant) -> str:
    """The clause that quick runs name first, most often; empty if none does."""
    first = mutant.get("quick", {}).get("first", {})
    return max(first, key=lambda clause: (first[clause], clause), default="")


def rightly_named(mutants: Iterable[Mutant]) -> tuple[int, int]:
    """Of the quick runs that found something: how many named a clause that may rightly be, and how many there are."""
    right = total = 0
    for mutant in mutants:
        for clause, times in mutant.get("quick", {}).get("first", {}).items():
            total += times
            right += times if clause in mutant["clauses"] else 0
    return right, total


def survivors(mutants: Mutants) -> dict[str, list[str]]:
    """For each clause the mutants of which it is the best answer and that some quick run did not find."""
    return {
        clause.id: [
            name
            for name, mutant in mutants.items()
            if mutant["clauses"][0] == clause.id and not killed(mutant, "quick")
        ]
        for clause in CLAUSES
    }


def page(summary: Mapping[str, Any]) -> str:
    """The whole page, as Markdown."""
    mutants: Mutants = summary["mutants"]
    parts = [
        "# Scorecard",
        _introduction(summary),
        "## In all",
        _in_all(summary),
        "## By clause",
        _BY_CLAUSE,
        _by_clause(summary),
        "## By what it takes to see them",
        _by_hardness(mutants),
        "## What went wrong",
        _wrong(summary),
        "## How to measure it again",
        _AGAIN,
    ]
    return "\n\n".join(parts) + "\n"


_BY_CLAUSE = """\
*Mutants*: planted defects of which the clause is the best description. *First*: mutants, of any clause, that a run
over all clauses blames on this one first. *Any*: mutants that this clause finds in a run that doesn't stop. *Missed*:
mutants of the clause that some quick run did not find. *Alarms*: runs in which the clause blamed a correct history.
*Median* and *95 %*: seconds from the start of a run until this clause is named first, with the counterexample made
small."""

_AGAIN = """\
```sh
python -m tests.scorecard full       # all of it; interrupt it at will, it goes on where it stopped
python -m tests.scorecard sample     # what CI runs: a few histories, held against this page
```

Users see a part of it with `chathistory selfproof`: at least one planted defect for every clause."""


def _introduction(summary: Mapping[str, Any]) -> str:
    about = summary["circumstances"]
    note = f" {about['note']}" if "note" in about else ""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"""\
Does the suite fail what it should, name the clause that is broken, and leave correct histories in peace? It is run on
{len(summary["mutants"])} histories with one planted defect each, and on {len(summary["odd"])} that are unusual and
right. This page is written by a program; the data behind it is [scorecard.json](scorecard.json).

Measured {about["date"]} at {about["commit"]} with {versions}, on {about["machine"]}, by `{about["command"]}`.{note}"""


def _in_all(summary: Mapping[str, Any]) -> str:
    mutants = list(summary["mutants"].values())
    rows = [["", "reached", "wanted", "runs"]]
    for effort, wanted in _TARGETS.items():
        if effort == "quick" or any(effort in mutant for mutant in mutants):
            rows.append(_row_of_found(f"defects found by a {effort} run", mutants, effort, wanted))
    alone = [mutant.get("alone", {}) for mutant in mutants]
    races = [mutant.get("alone", {}) for mutant in mutants if mutant["hardness"] == "timing"]
    rows.append(_row_of_found("by a quick run of the clauses that may be named, alone", alone, "quick", 1.0))
    rows.append(_row_of_found("races among these", races, "quick", _RACES))
    rows.append(_row_of_found("by a full run of those clauses alone", alone, "full", 1.0))
    right, total = rightly_named(mutants)
    rows.append(["named first by a clause that may be", _share(right, total), _wanted(_ATTRIBUTION), f"{total:,}"])
    correct = [*summary["odd"].values(), *summary["adapters"].values()]
    alarms = sum(len(each["false alarms"]) for each in correct)
    rows.append(["false alarms on correct histories", str(alarms), "0", f"{sum(each['runs'] for each in correct):,}"])
    times = _times(mutant for mutant in mutants if not mutant["over a network"])
    rows.append(["median time to the first violation, in memory", _seconds(times, 0.5), f"≤ {_MEDIAN:g} s", ""])
    rows.append(["95th percentile of it", _seconds(times, 0.95), f"≤ {_LATEST:g} s", ""])
    return _table(rows)


def _row_of_found(what: str, mutants: Iterable[Mutant], effort: str, wanted: float) -> list[str]:
    counted = [mutant[effort] for mutant in mutants if effort in mutant]
    total = sum(each["runs"] for each in counted)
    return [what, _share(sum(each["killed"] for each in counted), total), _wanted(wanted), f"{total:,}"]


def _by_clause(summary: Mapping[str, Any]) -> str:
    mutants: Mutants = summary["mutants"]
    missed = survivors(mutants)
    rows = [["clause", "mutants", "first", "any", "missed", "alarms", "median", "95 %"]]
    for clause in CLAUSES:
        times = [
            second
            for mutant in mutants.values()
            if set(mutant.get("quick", {}).get("first", {})) == {clause.id}
            for second in mutant["quick"]["seconds"]
        ]
        rows.append(
            [
                clause.id,
                str(sum(mutant["clauses"][0] == clause.id for mutant in mutants.values())),
                str(sum(named_first(mutant) == clause.id for mutant in mutants.values())),
                _found_by_any(clause.id, mutants),
                str(len(missed[clause.id])),
                str(_alarms_of(clause.id, summary)),
                _seconds(times, 0.5),
                _seconds(times, 0.95),
            ]
        )
    return _table(rows)


def _found_by_any(clause: str, mutants: Mutants) -> str:
    """How many mutants a clause finds in runs that don't stop, if there were any."""
    whole = [mutant["violated"] for mutant in mutants.values() if mutant["violated"]]
    return str(sum(clause in violated for violated in whole)) if whole else "-"


def _alarms_of(clause: str, summary: Mapping[str, Any]) -> int:
    correct = [*summary["odd"].values(), *summary["adapters"].values()]
    return sum(clause in clauses for each in correct for _, _, clauses in each["false alarms"])


def _by_hardness(mutants: Mutants) -> str:
    rows = [["it takes", "mutants", "found by every quick run", "by every full run", "median"]]
    for hardness, meaning in HARDNESS.items():
        of_it = [mutant for mutant in mutants.values() if mutant["hardness"] == hardness]
        rows.append(
            [
                meaning,
                str(len(of_it)),
                _count(of_it, lambda mutant: killed(mutant, "quick")),
                _count([mutant for mutant in of_it if "full" in mutant], lambda mutant: killed(mutant, "full")),
                _seconds(_times(of_it), 0.5),
            ]
        )
    return _table(rows)


def _count(mutants: Sequence[Mutant], condition: Callable[[Mutant], bool]) -> str:
    return f"{sum(map(condition, mutants))} of {len(mutants)}" if mutants else "not measured"


def _wrong(summary: Mapping[str, Any]) -> str:
    lines = [*_misses(summary["mutants"]), *_misnamed(summary["mutants"])]
    for name, each in {**summary["odd"], **summary["adapters"]}.items():
        for effort, seed, clauses in each["false alarms"]:
            lines.append(f"- `{name}` is correct, and was blamed ({effort}, seed {seed}): {', '.join(clauses)}.")
    return (
        "\n".join(lines) or "Nothing: every defect was found, each by a clause of its own, and nothing else was blamed."
    )


def _misses(mutants: Mutants) -> Iterable[str]:
    for name, mutant in mutants.items():
        for runs, how in ((mutant, ""), (mutant.get("alone", {}), " of its clauses alone")):
            for effort in _TARGETS:
                if effort in runs and not killed(runs, effort):
                    total = runs[effort]["runs"]
                    missed = total - runs[effort]["killed"]
                    yield f"- `{name}` ({mutant['clauses'][0]}): missed by {missed} of {total} {effort} runs{how}."


def _misnamed(mutants: Mutants) -> Iterable[str]:
    for name, mutant in mutants.items():
        first = mutant.get("quick", {}).get("first", {})
        wrong = {clause: times for clause, times in first.items() if clause not in mutant["clauses"]}
        if wrong:
            said = ", ".join(f"{clause} ({times} of {sum(first.values())})" for clause, times in wrong.items())
            yield f"- `{name}`: named first by {said}; rightly by {', '.join(mutant['clauses'])}."


def _times(mutants: Iterable[Mutant]) -> list[float]:
    return sorted(second for mutant in mutants for second in mutant.get("quick", {}).get("seconds", ()))


def _seconds(times: Sequence[float], quantile: float) -> str:
    if not times:
        return "-"
    ordered = sorted(times)
    value = median(ordered) if quantile == 0.5 else ordered[math.ceil(quantile * len(ordered)) - 1]
    return f"{value:.1f} s"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part:,} of {whole:,})" if whole else "not measured"


def _wanted(share: float) -> str:
    return f"≥ {100 * share:g} %" if share < 1 else "100 %"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))
