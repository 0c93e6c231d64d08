"""Compares two reports clause by clause: what got better or worse, and whether that is a regression.

Outcomes are ranked, the best first: passed; declared and warned (broken, and the gate lets it pass);
not-claimed; undecided; stale; failed. A clause is

* *worse* if its outcome fell in rank: whatever passed and no longer does, and whatever the gate let pass and
  no longer does;
* *better* if it passes now and did not;
* *changed* if its outcome is another one and neither of these, or if it breaks in another way;
* *gone* if the newer report says nothing of it, *new* if the older one does not.

Worse is a regression, and so is gone where the clause was passed, declared or warned: nobody knows about it
any more. New clauses are none, whatever their outcome: there is nothing that they did better before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chathistory.conformance._blocks import LOOKS, unfinished
from chathistory.conformance._markdown import escaped
from chathistory.conformance._report import ClauseResult, Outcome, Report
from chathistory.conformance._text import counted, one_line
from chathistory.reference import CLAUSES, clause

Change: TypeAlias = Literal["worse", "gone", "new", "changed", "better", "same"]

_RANK: Mapping[Outcome, int] = {
    "passed": 6,
    "declared": 5,
    "warned": 5,
    "not-claimed": 4,
    "undecided": 3,
    "stale": 2,
    "failed": 1,
}
_LET_PASS: tuple[Outcome, ...] = ("passed", "declared", "warned")
_SHOWN: tuple[Change, ...] = ("worse", "gone", "new", "changed", "better")
_STYLE: Mapping[Change, str] = {"worse": "bold red", "gone": "bold yellow", "better": "bold green"}
_MEANING: Mapping[Change, str] = {
    "worse": "worse",
    "gone": "gone: the newer report says nothing of them",
    "new": "new: the older report says nothing of them",
    "changed": "changed",
    "better": "better",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What became of one clause between two reports.

    Attributes:
        id: the clause's id.
        old: its result in the older report, if that has one.
        new: its result in the newer report, if that has one.
    """

    id: str
    old: ClauseResult | None
    new: ClauseResult | None

    @property
    def change(self) -> Change:
        """The kind of the difference."""
        if self.old is None or self.new is None:
            return "new" if self.old is None else "gone"
        before, after = _RANK[self.old.outcome], _RANK[self.new.outcome]
        if after < before:
            return "worse"
        if self.old.outcome != self.new.outcome:
            return "better" if self.new.outcome == "passed" else "changed"
        return "same" if _explanation(self.old) == _explanation(self.new) else "changed"

    @property
    def is_regression(self) -> bool:
        """Whether something is lost that the older report had."""
        if self.change == "gone":
            return self.old is not None and self.old.outcome in _LET_PASS
        return self.change == "worse"


def _explanation(result: ClauseResult) -> str:
    return result.counterexample.explanation if result.counterexample is not None else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two reports beside each other.

    Attributes:
        old: the older report.
        new: the newer report.
    """

    old: Report
    new: Report

    @property
    def differences(self) -> tuple[Difference, ...]:
        """A difference, be it "same", for each clause that either report has."""
        old = {result.id: result for result in self.old.clauses}
        new = {result.id: result for result in self.new.clauses}
        named = [each.id for each in CLAUSES if each.id in old or each.id in new]
        return tuple(Difference(id=name, old=old.get(name), new=new.get(name)) for name in named)

    @property
    def regressions(self) -> tuple[Difference, ...]:
        """The differences that are regressions."""
        return tuple(each for each in self.differences if each.is_regression)

    def of(self, change: Change) -> tuple[Difference, ...]:
        """The differences of one kind."""
        return tuple(each for each in self.differences if each.change == change)

    def facts(self) -> Iterator[tuple[str, str]]:
        """What differs beside the clauses, as a name and a text."""
        yield "old", _about(self.old)
        yield "new", _about(self.new)
        names = dict.fromkeys([*self.old.versions, *self.new.versions])
        versions = [_moved(name, self.old.versions.get(name), self.new.versions.get(name)) for name in names]
        yield from (("version", text) for text in versions if text)
        if self.old.claims != self.new.claims:
            yield "claims", f"{', '.join(self.old.claims)} → {', '.join(self.new.claims)}"
        if self.old.backend != self.new.backend:
            yield "note", "these are reports of two backends"
        for each in (self.old, self.new):
            if reason := unfinished(each):
                yield "note", f"the report of {each.started} is incomplete: {reason}"

    def summary(self) -> str:
        """The verdict of the comparison on one line."""
        said = [f"{len(self.of(change))} {change}" for change in (*_SHOWN, "same") if self.of(change)]
        number = len(self.regressions)
        return f"{counted(number, 'regression') if number else 'no regression'}: {', '.join(said) or 'no clauses'}"


def _about(report: Report) -> str:
    configuration = report.configuration
    effort = f"{configuration.effort}, {counted(configuration.examples, 'example')}, seed {configuration.seed}"
    return one_line(f"{report.backend}, {report.started}, {effort}: {report.verdict}")


def _moved(name: str, old: str | None, new: str | None) -> str:
    return "" if old == new else one_line(f"{name} {old or 'none'} → {new or 'none'}")


def comparison_block(comparison: Comparison) -> RenderableType:
    """The comparison for a terminal, but for its last line, the summary."""
    head = Table.grid(padding=(0, 2, 0, 0))
    head.add_column(style="dim", no_wrap=True)
    head.add_column(overflow="fold")
    for name, text in comparison.facts():
        head.add_row(name, Text(text))
    blocks: list[RenderableType] = [head, Text()]
    for change in _SHOWN:
        if differences := comparison.of(change):
            blocks += [Text(_MEANING[change], style=_STYLE.get(change, "bold")), _table(differences), Text()]
    return Group(*blocks)


def _table(differences: tuple[Difference, ...]) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(width=7, no_wrap=True, style="bold")
    table.add_column(width=25, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for each in differences:
        table.add_row("", each.id, Text(_step(each, lambda outcome: LOOKS[outcome].word)), Text(_detail(each)))
    return table


def _step(difference: Difference, word: Callable[[Outcome], str]) -> str:
    """From which outcome to which."""
    sides = [word(each.outcome) if each is not None else "absent" for each in (difference.old, difference.new)]
    return sides[0] if sides[0] == sides[1] else " → ".join(sides)


def _detail(difference: Difference) -> str:
    """Why the clause is where it is now, or the clause itself where nobody says why."""
    result = difference.new or difference.old
    if result is None:
        return ""
    return one_line(_explanation(result) or result.reason or clause(difference.id).sentence, 300)


def comparison_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown, for a comment on a pull request."""
    lines = [f"### chathistory: {escaped(comparison.summary())}", ""]
    lines += [f"- {name}: {escaped(text)}" for name, text in comparison.facts()]
    shown = [each for change in _SHOWN for each in comparison.of(change)]
    if shown:
        lines += ["", "| | Clause | Outcome | |", "|---|---|---|---|"]
    for each in shown:
        sign = ":x:" if each.is_regression else ":white_check_mark:" if each.change == "better" else ""
        step = _step(each, lambda outcome: LOOKS[outcome].word)
        lines.append(f"| {sign} {each.change} | {each.id} | {step} | {escaped(_detail(each))} |")
    return "\n".join([*lines, ""])
