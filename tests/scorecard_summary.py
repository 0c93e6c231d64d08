"""What many runs amount to: the data behind `docs/scorecard.md`, a record for each history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from tests.mutants import MUTANTS, ODD

Summary: TypeAlias = dict[str, Any]
"""`circumstances` of the measurement; `mutants`, `odd` and `adapters` by name.

A mutant has the `clauses` that may rightly be named, its `hardness`, whether it works `over a network`, the clauses
that `violated` lists for a run over all of them, and for each effort the number of `runs`, of those that `killed`
it, how often each clause was named `first`, and the `seconds` until then; `alone` says the same of runs over its
`clauses` alone. A correct history has the number of its `runs` and its `false alarms`: effort, seed and clauses.
"""


def summarise(noted: Iterable[Mapping[str, Any]]) -> Summary:
    """The summary of noted runs, the last of equal ones; those that gave no result count as misses.

    Raises:
        ValueError: there are none.
    """
    lines = list(noted)
    circumstances = [line["circumstances"] for line in lines if "circumstances" in line]
    runs = list({line["key"]: line for line in lines if "key" in line}.values())
    if not runs or not circumstances:
        raise ValueError("there are no runs to summarise; make some first")
    names = {run["name"] for run in runs}
    return {
        "circumstances": circumstances[-1],
        "mutants": {
            mutant.name: {
                "clauses": list(mutant.clauses),
                "hardness": mutant.hardness,
                "over a network": mutant.make().wire is not None,
                **_of_mutant([run for run in runs if run["name"] == mutant.name]),
            }
            for mutant in MUTANTS
            if mutant.name in names
        },
        "odd": {
            odd.name: _of_correct([run for run in runs if run["name"] == odd.name], odd.expected_failures)
            for odd in ODD
            if odd.name in names
        },
        "adapters": {
            name: _of_correct([run for run in runs if run["name"] == name], ())
            for name in sorted({run["name"] for run in runs if run["catalogue"] == "adapters"})
        },
    }


def _of_mutant(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    whole = [run for run in runs if run["extent"] == "whole"]
    return {
        "violated": [clause for run in whole[:1] for clause, _ in run["violations"]],
        **_by_effort([run for run in runs if run["extent"] != "own"]),
        "alone": _by_effort([run for run in runs if run["extent"] == "own"]),
    }


def _by_effort(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    efforts = {effort: [run for run in runs if run["effort"] == effort] for effort in ("quick", "full")}
    return {effort: _of_effort(chosen) for effort, chosen in efforts.items() if chosen}


def _of_effort(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    killed = [run for run in runs if run["violations"]]
    # A run to the end comes to its first violation by another way than one that stops there.
    timed = [run for run in killed if run["extent"] != "whole"] or killed
    return {
        "runs": len(runs),
        "killed": len(killed),
        "first": dict(sorted(Counter(run["violations"][0][0] for run in killed).items())),
        "seconds": sorted(round(run["violations"][0][1], 2) for run in timed),
    }


def _of_correct(runs: Sequence[Mapping[str, Any]], expected: Iterable[str]) -> dict[str, Any]:
    alarms = []
    for run in runs:
        blamed = {clause for clause, _ in run["violations"]} | set(run["undecided"])
        if run["error"]:
            alarms.append([run["effort"], run["seed"], [run["error"]]])
        elif wrong := blamed ^ set(expected):
            alarms.append([run["effort"], run["seed"], sorted(wrong)])
    return {"runs": len(runs), "false alarms": alarms}
