"""What `chathistory selfproof` does once its arguments are parsed: run, write, show, and give an exit code."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from chathistory.conformance._files import try_file, write_json
from chathistory.conformance._runner import versions
from chathistory.conformance.selfproof._proof import Line, Settings, counts, prove, subjects
from chathistory.conformance.selfproof._screen import SelfproofScreen, verdict_line

PROVED, NOT_PROVED, INTERRUPTED = 0, 1, 130


def run_selfproof(settings: Settings, *, json: Path | None = None, quiet: bool = False) -> int:
    """Hold the histories that ship with the suite to it: 0 if it fails what it should and nothing else.

    Raises:
        ChatHistoryError: there is no such clause, or the file can't be written.
    """
    chosen = [subject.name for subject in subjects(settings)]
    if json is not None:
        try_file(json)
    began, started = time.monotonic(), datetime.now(timezone.utc)
    lines: list[Line] = []
    interrupted = False
    with SelfproofScreen(len(chosen), quiet=quiet) as screen:
        try:
            for line in prove(settings):
                lines.append(line)
                screen.note(line)
        except KeyboardInterrupt:
            interrupted = True
        lines.sort(key=lambda line: chosen.index(line.name))
        word = _word(lines, complete=len(lines) == len(chosen))
        if json is not None:
            write_json(json, _report(settings, lines, word, started, time.monotonic() - began))
        screen.conclude(lines, verdict_line(lines, word, time.monotonic() - began))
    if interrupted:
        return INTERRUPTED
    return PROVED if word == "proved" else NOT_PROVED


def _word(lines: list[Line], *, complete: bool) -> str:
    """One word for the whole; never stronger than the facts."""
    if not all(line.is_right for line in lines):
        return "not proved"
    return "proved" if complete else "unfinished"


def _report(settings: Settings, lines: list[Line], word: str, started: datetime, seconds: float) -> dict[str, Any]:
    return {
        "schema": 1,
        "verdict": word,
        "seed": settings.seed,
        "clauses": list(settings.clauses),
        "whole": settings.whole,
        "versions": versions(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "counts": counts(lines),
        "mutants": [line.to_json() for line in lines if line.clause],
        "odd": [line.to_json() for line in lines if not line.clause],
    }
