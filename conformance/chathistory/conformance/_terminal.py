"""Shows a run on a terminal: a progress bar while it lasts, and the report when it has ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from chathistory.conformance._blocks import LOOKS, Symbol, limits_text, plain, seconds, unfinished, violation
from chathistory.conformance._errors import UsageError
from chathistory.conformance._report import (
    ClauseFinished,
    ClauseResult,
    ClauseStarted,
    Configuration,
    Event,
    Outcome,
    Report,
    RunFinished,
    RunStarted,
    Verdict,
)
from chathistory.conformance._text import clip, counted, one_line, printable
from chathistory.reference import FAMILIES, Family, clause

_WIDE, _COST_WIDTH = 100, 24
_SHOWN_IN_FULL: tuple[Outcome, ...] = ("failed", "stale", "warned")
_SHOWN_WITH_REASON: tuple[Outcome, ...] = ("declared", "undecided")
_VERDICT_STYLE: Mapping[Verdict, str] = {
    "conformant": "bold green",
    "violations": "bold red",
    "undecided": "bold yellow",
}


class Screen:
    """A place to show things: the listener of a run, and the renderer of its report.

    A terminal gets colours and a progress bar, a file or pipe plain lines. Use it as a context manager, so
    that the bar is gone whatever happens.

    Args:
        stream: where to write; standard output by default.
        quiet: show nothing but the verdict.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._console = _console(stream or sys.stdout)
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def __call__(self, event: Event) -> None:
        """Move the progress bar on."""
        match event:
            case RunStarted():
                self._start(event)
            case ClauseStarted(id=clause_id):
                self._progress(description=clause_id)
            case ClauseFinished():
                self._progress(advance=1)
            case RunFinished():
                self._stop()

    def show(self, block: RenderableType) -> None:
        """Show a block; text that is not for a terminal has no colours and no space at the ends of lines."""
        if self._console.is_terminal:
            self._print(block)
        else:
            ascii_only = self._console.options.ascii_only
            self._print(Text(plain(block, width=self._console.width, ascii_only=ascii_only)), soft_wrap=True)

    def _print(self, block: RenderableType, *, soft_wrap: bool = False) -> None:
        try:
            self._console.print(block, soft_wrap=soft_wrap)
        except BrokenPipeError:  # rich before 13.8 lets it through
            self._console.on_broken_pipe()
        except OSError as error:
            self._console.on_broken_pipe()
            raise UsageError(f"can't write to standard output: {error.strerror or error}") from error

    def say(self, text: str) -> None:
        """Show a line of text, whatever is in it; however narrow the output, it stays one line."""
        self._print(Text(one_line(text, 2000)), soft_wrap=True)

    def tell(self, text: str) -> None:
        """Show a text of any length; a terminal breaks its lines at words, a file or pipe has them whole."""
        self._print(Text(printable(text)), soft_wrap=not self._console.is_terminal)

    def show_report(self, report: Report, *, scripts: Mapping[str, str], replay: Callable[[str], str]) -> None:
        """Show a report.

        Args:
            report: of a run that ended, or was interrupted.
            scripts: the path of the script of each clause that has one.
            replay: the command that checks a clause again.
        """
        if not self._quiet:
            self.show(report_block(report, scripts=scripts, replay=replay))
        # A line of a log is one line, however long; a terminal breaks it at a word.
        self._print(verdict_line(report), soft_wrap=not self._console.is_terminal)

    def _start(self, event: RunStarted) -> None:
        if event.patience and not self._quiet:
            self.say(f"note: {event.patience}")
        if self._quiet or not self._console.file.isatty():
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True)
        self._task = self._bar.add_task("", total=len(event.clauses))
        self._bar.start()

    def _progress(self, *, description: str | None = None, advance: float | None = None) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=description, advance=advance)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _PatientConsole(Console):
    """A console whose reader may leave: the run goes on, and its files are written."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with suppress(OSError):  # a stream that is no file, as in tests
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def _console(stream: TextIO) -> Console:
    no_color = bool(os.environ.get("NO_COLOR"))
    return _PatientConsole(
        file=stream, color_system=None if no_color else "auto", highlight=False, markup=False, emoji=False
    )


def report_block(report: Report, *, scripts: Mapping[str, str], replay: Callable[[str], str]) -> RenderableType:
    """A whole report but for its last line, the verdict."""
    blocks: list[RenderableType] = [_header(report), Text(), _Outcomes(report), Text()]
    for result in report.with_outcome(*_SHOWN_IN_FULL):
        blocks += [violation(result, script=scripts.get(result.id, ""), replay=replay(result.id)), Text()]
    remarks = [*_reasons(report), *_refusals(report), *_not_claimed(report)]
    if remarks:
        blocks += [*remarks, Text()]
    return Group(*blocks)


def verdict_line(report: Report) -> Text:
    """The verdict with the counts behind it, and what it means if it is neither yes nor no."""
    line = Text(report.verdict, style=_VERDICT_STYLE[report.verdict])
    line.append(f": {one_line(report.backend)}: {_counts(report)} in {seconds(report.seconds)}", style="default")
    if not report.complete:
        line.append(f"; {unfinished(report)}, so this is not the whole picture", style="default")
    elif report.verdict == "undecided":
        line.append("; a clause that was not decided does not count as passed", style="default")
    return line


def _counts(report: Report) -> str:
    counts = {outcome: len(report.with_outcome(outcome)) for outcome in LOOKS}
    said = [f"{number} {LOOKS[outcome].word.lower()}" for outcome, number in counts.items() if number]
    return ", ".join(said) or "nothing was checked"


def _header(report: Report) -> Table:
    """What was checked, with what, and how hard."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("backend", Text(one_line(report.backend), style="bold"))
    if report.target and report.target != report.backend:
        table.add_row("target", Text(one_line(report.target)))
    table.add_row("claims", ", ".join(report.claims))
    if report.limits:
        table.add_row("limits", limits_text(report))
    table.add_row("effort", Text(_effort(report.configuration)))
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    table.add_row("versions", Text(one_line(versions, 1000)))
    for note in report.notes:
        table.add_row("note", Text(one_line(note, 1000)))
    return table


def _effort(configuration: Configuration) -> str:
    exitfirst = ", until the first failure" if configuration.exitfirst else ""
    return (
        f"{configuration.effort}: {counted(configuration.examples, 'example')} per clause, "
        f"seed {configuration.seed}, timeout {configuration.timeout:g} s{exitfirst}"
    )


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """A line for each family that passed as a whole, and a line for each clause of the others."""

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _outcomes(self.report, with_programs=options.max_width >= _WIDE)


def _outcomes(report: Report, *, with_programs: bool) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    for width in (1, 7, 11):  # symbol, clause, outcome
        table.add_column(width=width, no_wrap=True, overflow="crop")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(width=_COST_WIDTH if with_programs else 7, justify="right", no_wrap=True, style="dim")
    for family in FAMILIES:
        results = [each for each in report.clauses if _family_of(each) == family.id]
        results = [each for each in results if each.outcome != "not-claimed"]
        if results and all(each.outcome == "passed" for each in results):
            _add_family(table, family, results, with_programs=with_programs)
        else:
            for result in results:
                _add_clause(table, result, with_programs=with_programs)
    return table


def _family_of(result: ClauseResult) -> str:
    return clause(result.id).family


def _add_family(table: Table, family: Family, results: list[ClauseResult], *, with_programs: bool) -> None:
    slowest = max(results, key=lambda result: result.seconds)
    about = f"{family.title} (slowest {slowest.id}, {seconds(slowest.seconds)})"
    count = Text(f"{len(results)} passed", style=LOOKS["passed"].style)
    table.add_row(Symbol("passed"), family.id, count, Text(about), _cost(results, with_programs))


def _add_clause(table: Table, result: ClauseResult, *, with_programs: bool) -> None:
    look = LOOKS[result.outcome]
    word, sentence = Text(look.word, style=look.style), Text(clause(result.id).sentence)
    table.add_row(Symbol(result.outcome), result.id, word, sentence, _cost([result], with_programs))


def _cost(results: list[ClauseResult], with_programs: bool) -> str:
    time = seconds(sum(result.seconds for result in results))
    programs = counted(sum(result.programs for result in results), "program")
    return f"{programs}, {time:>7}" if with_programs else time


def _reasons(report: Report) -> list[RenderableType]:
    """Why clauses are declared or undecided."""
    return [
        _remark(result.id, f"{LOOKS[result.outcome].word}: {result.reason or 'no reason given'}")
        for result in report.with_outcome(*_SHOWN_WITH_REASON)
    ]


def _refusals(report: Report) -> list[RenderableType]:
    """Notes of clauses without a block of their own, such as refused values, the same ones on one line."""
    by_note: dict[str, list[str]] = {}
    for result in report.clauses:
        for note in result.notes if result.outcome not in _SHOWN_IN_FULL else ():
            by_note.setdefault(note, []).append(result.id)
    return [_remark(", ".join(ids), note) for note, ids in by_note.items()]


def _not_claimed(report: Report) -> list[RenderableType]:
    """The clauses that were not checked, those with the same reason on one line."""
    by_reason: dict[str, list[str]] = {}
    for result in report.with_outcome("not-claimed"):
        by_reason.setdefault(result.reason, []).append(result.id)
    return [
        Text(clip(f"not claimed: {', '.join(ids)}{f' ({reason})' if reason else ''}"), style="dim")
        for reason, ids in by_reason.items()
    ]


def _remark(ids: str, text: str) -> RenderableType:
    return Text.assemble((ids, "bold"), f": {clip(text)}")
