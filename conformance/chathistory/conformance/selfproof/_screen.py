"""Shows what the suite made of the histories: a table, the wrong ones with their reason, and one line of verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from chathistory.conformance._blocks import Symbol
from chathistory.conformance._blocks import seconds as as_time
from chathistory.conformance._terminal import Screen
from chathistory.conformance._text import counted, one_line
from chathistory.conformance.selfproof._proof import Line, counts

_STYLE = {"caught": "green", "kept": "green", "missed": "bold red", "blamed": "bold red", "lost": "bold red"}


class SelfproofScreen:
    """A bar while it lasts, where there is a terminal; use it as a context manager.

    Args:
        total: how many histories there are.
        quiet: show nothing but the verdict.
        stream: where to write; standard output by default.
    """

    def __init__(self, total: int, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._screen = Screen(stream, quiet=quiet)
        self._quiet = quiet
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        console = Console(file=stream or sys.stdout)
        self._bar = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
        self._task = self._bar.add_task("", total=total)
        self._shown = console.is_terminal and not quiet

    def __enter__(self) -> SelfproofScreen:
        if self._shown:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def note(self, line: Line) -> None:
        """Move the bar on."""
        self._bar.update(self._task, description=line.name, advance=1)

    def conclude(self, lines: Iterable[Line], verdict: str) -> None:
        """The table, and the verdict below it."""
        self._stop()
        if not self._quiet:
            self._screen.show(Group(*map(_block, lines), Text()))
        self._screen.say(verdict)

    def _stop(self) -> None:
        if self._shown:  # a bar that was never shown would leave an empty line
            self._bar.stop()


def verdict_line(lines: Iterable[Line], word: str, seconds: float) -> str:
    """The verdict with the counts behind it."""
    number = counts(lines)
    said = [f"{number['caught']} of {counted(number['mutants'], 'planted defect')} caught"]
    if number["named rightly"] < number["caught"]:
        said.append(f"{number['named rightly']} of them named by a clause of their own first")
    if number["odd"]:
        said.append(f"{number['kept']} of {number['odd']} odd but correct histories left in peace")
    return f"{word}: {', '.join(said)} in {as_time(seconds)}"


def _block(line: Line) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    for width in (1, 7):  # symbol, clause
        table.add_column(width=width, no_wrap=True, overflow="crop")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(max_width=24, no_wrap=True, overflow="ellipsis", justify="right")
    table.add_column(width=7, no_wrap=True)
    table.add_column(width=7, no_wrap=True, justify="right", style="dim")
    named = Text(", ".join(line.named), style="" if line.is_named_rightly or not line.clause else "yellow")
    table.add_row(
        Symbol("passed" if line.is_right else "failed"),
        line.clause or "correct",
        Text(line.name),
        named,
        Text(line.outcome, style=_STYLE[line.outcome]),
        as_time(line.seconds),
    )
    story = Text(one_line(line.story, 1000), style="dim", no_wrap=True, overflow="ellipsis")
    reason = [Padding(Text(one_line(line.reason, 1000), style="red"), (0, 0, 0, 10))] if line.reason else []
    return Group(table, Padding(story, (0, 0, 0, 10)), *reason)
