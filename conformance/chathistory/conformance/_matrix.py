"""Lays several reports out as one matrix, backends by clauses: as data, for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from chathistory.conformance._blocks import LOOKS, unfinished
from chathistory.conformance._markdown import SIGNS, escaped
from chathistory.conformance._report import SCHEMA_VERSION, ClauseResult, Outcome, Report, Verdict
from chathistory.conformance._text import counted, one_line
from chathistory.reference import CLAUSES, FAMILIES, Clause, Family

# The worst first: what a family shows of its clauses.
_GRAVITY: tuple[Outcome, ...] = ("failed", "stale", "undecided", "warned", "declared", "passed", "not-claimed")
_GOOD: tuple[Outcome, ...] = ("passed", "not-claimed")
_SENTENCE_WIDTH = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """Reports beside each other, in the order in which they were asked for.

    Attributes:
        reports: one for each backend; two may be of the same backend, in two versions.
        command: the command that made the matrix.
        created: when it was made, in ISO 8601.
        problems: why a backend that was asked for has no report.
    """

    reports: tuple[Report, ...]
    command: str
    created: str
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the reports' verdicts; without one of those asked for it is never conformant."""
        verdicts = {report.verdict for report in self.reports}
        if "violations" in verdicts:
            return "violations"
        return "undecided" if self.problems or verdicts != {"conformant"} else "conformant"

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """The clauses that any of the reports speaks of, in the order of the semantics."""
        named = {result.id for report in self.reports for result in report.clauses}
        return tuple(each for each in CLAUSES if each.id in named)

    def row(self, clause_id: str) -> tuple[ClauseResult | None, ...]:
        """What became of a clause in each report; None where it was not reached."""
        return tuple(
            next((result for result in report.clauses if result.id == clause_id), None) for report in self.reports
        )

    @property
    def versions(self) -> dict[str, str]:
        """The versions that all of the reports share."""
        first, *others = (report.versions for report in self.reports)
        return {name: number for name, number in first.items() if all(each.get(name) == number for each in others)}

    def to_json(self) -> dict[str, Any]:
        """The matrix as JSON data: a row for each clause, with the outcomes in the order of the reports."""
        return {
            "schema": SCHEMA_VERSION,
            "kind": "matrix",
            "verdict": self.verdict,
            "command": self.command,
            "created": self.created,
            "problems": list(self.problems),
            "rows": [
                {"id": each.id, "level": each.level, "outcomes": [_outcome(cell) for cell in self.row(each.id)]}
                for each in self.clauses
            ],
            "reports": [report.to_json() for report in self.reports],
        }


def _outcome(result: ClauseResult | None) -> Outcome | None:
    return None if result is None else result.outcome


@dataclass(frozen=True, slots=True)
class FamilyCell:
    """What a backend makes of a family: its worst outcome, and how many of its clauses have it."""

    outcome: Outcome
    count: int

    @property
    def number(self) -> str:
        """The count, where it says anything."""
        return "" if self.outcome in _GOOD else str(self.count)


def family_cell(report: Report, family: Family) -> FamilyCell | None:
    """The cell of a family; None if none of its clauses was reached."""
    outcomes = [each.outcome for each in report.clauses if each.id.partition("-")[0] == family.id]
    if not outcomes:
        return None
    worst = min(outcomes, key=_GRAVITY.index)
    return FamilyCell(worst, outcomes.count(worst))


def counts(report: Report) -> str:
    """How many of a report's clauses came to which end."""
    numbers: Mapping[Outcome, int] = {outcome: len(report.with_outcome(outcome)) for outcome in LOOKS}
    return ", ".join(f"{number} {LOOKS[outcome].word.lower()}" for outcome, number in numbers.items() if number)


def facts(report: Report) -> str:
    """When a report was made, how, and with which versions."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    configuration = report.configuration
    effort = f"{configuration.effort}, {counted(configuration.examples, 'example')}, seed {configuration.seed}"
    cut = f"; not the whole picture: {unfinished(report)}" if not report.complete else ""
    return f"{report.started}; {effort}; {versions}{cut}"


def not_kept(matrix: Matrix) -> list[Clause]:
    """The clauses that not every backend that claims them has passed."""
    return [each for each in matrix.clauses if any(cell and cell.outcome not in _GOOD for cell in matrix.row(each.id))]


# For a terminal.


@dataclass(frozen=True, slots=True)
class MatrixBlock:
    """The matrix for a terminal: families as columns, then a row for each clause that somebody does not keep."""

    matrix: Matrix

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(*self._blocks(options.max_width, ascii_only=options.ascii_only))

    def _blocks(self, width: int, *, ascii_only: bool) -> Iterator[RenderableType]:
        yield _families(self.matrix, width, ascii_only=ascii_only)
        yield Text()
        if broken := not_kept(self.matrix):
            yield _clauses(self.matrix, broken, width, ascii_only=ascii_only)
            yield Text()
        yield _about(self.matrix)
        used = {cell.outcome for each in self.matrix.clauses for cell in self.matrix.row(each.id) if cell}
        signs = (f"{_sign(outcome, ascii_only)} {LOOKS[outcome].word.lower()}" for outcome in LOOKS if outcome in used)
        yield Text("  ".join(signs), style="dim")
        for problem in self.matrix.problems:
            yield Text(one_line(problem, 1000), style="yellow")


def _families(matrix: Matrix, width: int, *, ascii_only: bool) -> Table:
    """A row for each backend: the worst outcome of each family, and of how many clauses."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", justify="right", no_wrap=True, style="dim")
    widths = [max(3, len(family.id)) for family in FAMILIES]
    left = width - 3 - sum(each + 1 for each in widths)
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=max(8, left - 1))
    for family, each in zip(FAMILIES, widths, strict=True):
        table.add_column(family.id, no_wrap=True, min_width=each)
    for number, report in enumerate(matrix.reports, 1):
        cells = [_family_text(family_cell(report, family), ascii_only) for family in FAMILIES]
        table.add_row(str(number), Text(one_line(report.backend, 60)), *cells)
    return table


def _family_text(cell: FamilyCell | None, ascii_only: bool) -> Text:
    if cell is None:
        return Text()
    return Text(f"{_sign(cell.outcome, ascii_only)}{cell.number}", style=LOOKS[cell.outcome].style)


def _clauses(matrix: Matrix, broken: list[Clause], width: int, *, ascii_only: bool) -> Table:
    """A row for each clause that somebody does not keep; the columns are the backends' numbers."""
    numbers = [str(number) for number in range(1, len(matrix.reports) + 1)]
    with_sentence = 8 + sum(len(number) + 1 for number in numbers) + _SENTENCE_WIDTH <= width
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", expand=with_sentence)
    table.add_column("", no_wrap=True, width=6)
    for number in numbers:
        table.add_column(number, no_wrap=True, width=len(number))
    if with_sentence:
        table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    for each in broken:
        cells = [_cell_text(cell, ascii_only) for cell in matrix.row(each.id)]
        table.add_row(each.id, *cells, *([each.sentence] if with_sentence else []))
    return table


def _cell_text(cell: ClauseResult | None, ascii_only: bool) -> Text:
    return Text() if cell is None else Text(_sign(cell.outcome, ascii_only), style=LOOKS[cell.outcome].style)


def _about(matrix: Matrix) -> Table:
    """When and how each of the reports was made, and the command."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    for number, report in enumerate(matrix.reports, 1):
        about = f"{one_line(report.backend, 100)}: {report.verdict}: {counts(report)}; {one_line(facts(report), 1000)}"
        table.add_row(str(number), Text(about))
    table.add_row("$", Text(one_line(matrix.command, 1000)))
    return table


def matrix_verdict(matrix: Matrix) -> Text:
    """The last line: the verdict, and how many backends have which."""
    verdicts = [report.verdict for report in matrix.reports]
    said = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(sorted(verdicts))]
    missing = [f"{len(matrix.problems)} not checked"] if matrix.problems else []
    return Text(f"{matrix.verdict}: {counted(len(verdicts), 'backend')}: {', '.join([*said, *missing])}")


def _sign(outcome: Outcome, ascii_only: bool) -> str:
    look = LOOKS[outcome]
    return look.ascii_symbol if ascii_only else look.symbol


# As Markdown.


def matrix_markdown(matrix: Matrix) -> str:
    """The matrix as Markdown: backends by families, and the clauses that somebody does not keep."""
    lines = ["### chathistory: matrix", "", *_family_rows(matrix)]
    if broken := not_kept(matrix):
        lines += ["", *_clause_rows(matrix, broken)]
    lines += ["", *(f"- {escaped(report.backend)}: {escaped(facts(report))}" for report in matrix.reports)]
    lines += [f"- not checked: {escaped(problem)}" for problem in matrix.problems]
    return "\n".join([*lines, "", f"{escaped(matrix.created)}: {escaped(matrix.command)}", ""])


def _family_rows(matrix: Matrix) -> list[str]:
    columns = ["Backend", "Verdict", "Clauses", *(family.id for family in FAMILIES)]
    rows = [columns, ["---"] * len(columns)]
    for report in matrix.reports:
        cells = [_markdown_cell(family_cell(report, family)) for family in FAMILIES]
        rows.append([escaped(report.backend), report.verdict, counts(report), *cells])
    return [f"| {' | '.join(row)} |" for row in rows]


def _markdown_cell(cell: FamilyCell | None) -> str:
    return "" if cell is None else f"{SIGNS[cell.outcome]} {cell.number}".rstrip()


def _clause_rows(matrix: Matrix, broken: list[Clause]) -> list[str]:
    columns = ["Clause", *(escaped(report.backend) for report in matrix.reports), "What it says"]
    rows = [columns, ["---"] * len(columns)]
    for each in broken:
        cells = ["" if cell is None else SIGNS[cell.outcome] for cell in matrix.row(each.id)]
        rows.append([each.id, *cells, escaped(each.sentence)])
    return [f"| {' | '.join(row)} |" for row in rows]
