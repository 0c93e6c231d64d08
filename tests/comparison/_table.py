"""Writes the page of the comparison from the lines that were measured."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import get_args

from tests.comparison.examples import TESTS
from tests.mutants import MUTANTS, ODD, Hardness, Mutant
from tests.separately import Line

_TITLES = {"examples": "example tests", "machine": "state machine", "quick": "`check --quick`"}
_EASIER = ("examples", "machine")
_LIBRARIES = ("langchain-core", "hypothesis")

_PAGE = Path(__file__).with_name("page.md")
_STYLE = "https://github.com/langchain-ai/langgraph/tree/main/libs/checkpoint-conformance"


def page(lines: Mapping[str, Sequence[Line]], measured_on: datetime.date) -> str:
    """The page, as Markdown.

    Args:
        lines: for each way of testing a line for each history.
        measured_on: the day of the measurement.
    """
    results = _Results({way: {line["name"]: line for line in lines[way]} for way in lines})
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return _PAGE.read_text(encoding="utf-8").format(
        mutants=len(MUTANTS),
        odd=len(_right()),
        tests=len(TESTS),
        style=_STYLE,
        by_hardness=results.table("hardness", get_args(Hardness), lambda mutant: mutant.hardness, total=True),
        by_family=results.table("family", _families(), _family),
        progress=results.progress(),
        missed=results.missed(),
        alarms="; ".join(results.alarms(way) for way in lines),
        cost=results.cost(),
        date=measured_on.isoformat(),
        versions=f"Python {platform.python_version()}, {libraries}",
    )


def _right() -> list[str]:
    """The odd histories of which nothing is expected to fail."""
    return [one.name for one in ODD if not one.expected_failures]


def _family(mutant: Mutant) -> str:
    return mutant.clauses[0].partition("-")[0]


def _families() -> list[str]:
    return list(dict.fromkeys(map(_family, MUTANTS)))


def _is_caught(line: Line | None) -> bool:
    """Whether anything failed; a call that hangs is seen by whoever waits for the tests."""
    return line is not None and ("error" in line or bool(line["caught"]))


@dataclass(frozen=True, slots=True)
class _Results:
    lines: Mapping[str, Mapping[str, Line]]

    def table(
        self, title: str, groups: Iterable[str], group_of: Callable[[Mutant], str], *, total: bool = False
    ) -> str:
        """How many of each group are caught in each way."""
        rows = [(name, [mutant for mutant in MUTANTS if group_of(mutant) == name]) for name in groups]
        if total:
            rows.append(("all", list(MUTANTS)))
        titles = [title, "defects", *(_TITLES[way] for way in _EASIER), "either of the two", _TITLES["quick"], "named"]
        body = ["| " + " | ".join(titles) + " |", "|---|" + "---|" * (len(titles) - 1)]
        body += ["| " + " | ".join([name, *map(str, self._counts(group))]) + " |" for name, group in rows]
        return "\n".join(body)

    def _counts(self, mutants: Sequence[Mutant]) -> list[int]:
        caught = {way: {one.name for one in mutants if self._caught(way, one.name)} for way in self.lines}
        named = [one for one in mutants if self._first_blamed(one.name) in one.clauses]
        either = set().union(*(caught[way] for way in _EASIER))
        return [len(mutants), *(len(caught[way]) for way in _EASIER), len(either), len(caught["quick"]), len(named)]

    def _caught(self, way: str, name: str) -> bool:
        return _is_caught(self.lines[way].get(name))

    def _first_blamed(self, name: str) -> str:
        blamed: list[str] = self.lines["quick"].get(name, {}).get("failed", [])
        return blamed[0] if blamed else ""

    def missed(self) -> str:
        """What the suite misses, by name, and a few of what the others miss."""
        names = [mutant.name for mutant in MUTANTS]
        ours = [name for name in names if not self._caught("quick", name)]
        theirs = [name for name in names if not any(self._caught(way, name) for way in _EASIER)]
        only = [name for name in ours if name not in theirs]
        by_hardness = {
            hardness: [one.name for one in MUTANTS if one.hardness == hardness and one.name in theirs]
            for hardness in get_args(Hardness)
        }
        others = f"Of these the example tests or the machine catch {len(only)}{f': {_listed(only)}' if only else ''}."
        lines = [
            f"A quick run of the suite misses {len(ours)}: {_listed(ours)}. {others}",
            "",
            f"Both other ways together miss {len(theirs)}:",
            "",
            *(f"- {hardness}, {len(found)}: {_listed(found)}" for hardness, found in by_hardness.items() if found),
        ]
        return "\n".join(lines)

    def alarms(self, way: str) -> str:
        """The correct histories that a way fails."""
        wrong = [name for name in _right() if self._caught(way, name)]
        return f"{_TITLES[way]} {len(wrong)}{f' ({_listed(wrong)})' if wrong else ''}"

    def progress(self) -> str:
        """What has not been measured yet, if anything."""
        missing = {way: sum(one.name not in lines for one in (*MUTANTS, *ODD)) for way, lines in self.lines.items()}
        return "".join(f"**{_TITLES[way]}: {count} not measured yet.**\n\n" for way, count in missing.items() if count)

    def cost(self) -> str:
        """How long one history takes."""
        rows = ["| way | median s, a correct history | median s, a defect |", "|---|---|---|"]
        for way, lines in self.lines.items():
            right = [line["seconds"] for name, line in lines.items() if name in _right() and "seconds" in line]
            broken = [line["seconds"] for name, line in lines.items() if name not in _right() and "seconds" in line]
            rows.append(f"| {_TITLES[way]} | {_median(right)} | {_median(broken)} |")
        return "\n".join(rows)


def _median(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f}" if seconds else "not measured"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
