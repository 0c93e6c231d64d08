"""Shows results as blocks of text that the terminal, pytest, JUnit and Markdown share.

The blocks are rich renderables, so that each width gets a layout of its own; `plain` turns one into text.
They are built of `Text` only, never of markup, since what they show was written by others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chathistory.conformance._report import ClauseResult, Counterexample, Outcome, Report
from chathistory.conformance._text import clip, counted, one_line
from chathistory.reference import clause

PLAIN_WIDTH = 80
_SIDE_BY_SIDE = 80
_LINES_SHOWN = 60
_LINE_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Look:
    """How an outcome looks: its word, a symbol, the same in ASCII, and a style."""

    word: str
    symbol: str
    ascii_symbol: str
    style: str


LOOKS: dict[Outcome, Look] = {
    "passed": Look("passed", "✓", "+", "green"),
    "failed": Look("FAILED", "✗", "x", "bold red"),
    "warned": Look("warned", "!", "!", "yellow"),
    "declared": Look("declared", "~", "~", "cyan"),
    "stale": Look("STALE", "✗", "x", "bold red"),
    "undecided": Look("undecided", "?", "?", "bold yellow"),
    "not-claimed": Look("not claimed", "-", "-", "dim"),
}


def seconds(value: float) -> str:
    """A time as people read it."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def cost(result: ClauseResult) -> str:
    """What the check of a clause took."""
    work = f"{counted(result.programs, 'program')}, {counted(result.operations, 'call')}"
    return f"{work}, {seconds(result.seconds)}"


def unfinished(report: Report) -> str:
    """Why a run did not reach all of its clauses; empty if it did."""
    if report.complete:
        return ""
    stopped = report.configuration.exitfirst and report.verdict == "violations"
    return "it stopped at the first failure" if stopped else "it was interrupted"


_LIMITED = {"message_bytes": "messages", "session_id_bytes": "session ids"}


def limits_text(report: Report) -> str:
    """The limits that the backend declares; empty without any."""
    return ", ".join(f"{_LIMITED.get(name, name)} of {size:,} bytes" for name, size in report.limits.items())


@dataclass(frozen=True, slots=True)
class Symbol:
    """The sign of an outcome, in ASCII where the output can hold no more."""

    outcome: Outcome

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        look = LOOKS[self.outcome]
        yield Text(look.ascii_symbol if options.ascii_only else look.symbol, style=look.style)


def violation(result: ClauseResult, *, script: str = "", replay: str = "") -> RenderableType:
    """Everything a person needs to know of one violation.

    Args:
        result: a result with a counterexample, or with a reason alone.
        script: the path of the stand-alone script, if one was written.
        replay: the command that checks this clause again.
    """
    about = clause(result.id)
    look = LOOKS[result.outcome]
    heading = Text.assemble((f"{result.id} {look.word}", look.style), f"  {about.sentence}")
    parts: list[RenderableType] = [heading, Text()]
    if result.reason:
        parts += [_indented(Text(clip(result.reason))), Text()]
    if result.counterexample is not None:
        parts += [*_counterexample(result.counterexample), _bullets("Likely causes", about.causes), Text()]
    if result.notes:
        parts += [_bullets("Notes", result.notes), Text()]
    return Group(*parts, _ways_back(script, replay, result))


def plain(block: RenderableType, *, width: int = PLAIN_WIDTH, ascii_only: bool = False) -> str:
    """A block as text without colours and without space at the ends of lines."""
    stream = _AsciiStream() if ascii_only else StringIO()
    console = Console(file=stream, width=max(width, 1), color_system=None, force_terminal=False, legacy_windows=False)
    console.print(block, highlight=False, markup=False, emoji=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n")).rstrip("\n")


class _AsciiStream(StringIO):
    encoding = "ascii"


def _counterexample(found: Counterexample) -> list[RenderableType]:
    return [
        _indented(_program(found)),
        Text(),
        _indented(_Sides(found.expected, found.observed)),
        Text(),
        _indented(Text(clip(found.explanation))),
        Text(),
    ]


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 0, 2))


@dataclass(frozen=True, slots=True)
class _Marker:
    """Points at the step that diverged."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(">" if options.ascii_only else "→", style="bold red")


def _program(found: Counterexample) -> Table:
    """The program, a numbered line per step."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for index, line in enumerate(found.lines):
        if index == found.step:
            table.add_row(_Marker(), str(index + 1), Text(one_line(line, _LINE_LENGTH), style="bold"))
        elif index < _LINES_SHOWN:
            table.add_row("", str(index + 1), Text(one_line(line, _LINE_LENGTH)))
        elif index == _LINES_SHOWN:
            table.add_row("", "", Text(f"… ({len(found.lines)} steps in all)", style="dim"))
    if found.search != "minimal":
        table.add_row("", "", Text(f"({one_line(found.search)})", style="dim"))
    return table


@dataclass(frozen=True, slots=True)
class _Sides:
    """Expected and observed beside each other, or below each other where that would be too narrow."""

    expected: str
    observed: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        expected = Group(Text("Expected", style="bold green"), Text(clip(self.expected)))
        observed = Group(Text("Observed", style="bold red"), Text(clip(self.observed)))
        if options.max_width + 2 < _SIDE_BY_SIDE:
            yield Group(expected, observed)
            return
        table = Table.grid(padding=(0, 3, 0, 0), expand=True)
        table.add_column(ratio=1, overflow="fold")
        table.add_column(ratio=1, overflow="fold")
        table.add_row(expected, observed)
        yield table


def _bullets(title: str, texts: Iterable[str]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for text in texts:
        table.add_row("-", Text(one_line(text, 1000)))
    return _indented(Group(Text(title, style="bold"), table))


def _ways_back(script: str, replay: str, result: ClauseResult) -> RenderableType:
    """How to see it again."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if script:
        table.add_row("Script", Text(one_line(script, 1000)))
    if replay:
        table.add_row("Replay", Text(one_line(replay, 1000)))
    table.add_row("Cost", Text(cost(result)))
    return _indented(table)
