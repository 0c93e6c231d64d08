"""Measures one thing after another, each in a process of its own with a time limit, into a file of JSON lines.

A history that hangs, leaks or ends its process so spoils its own line and no other. The file is the memory of a
run: what it holds is not measured again, so that a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]
Measure: TypeAlias = Callable[[str], Line]

_IMPORTED_ONCE = ["tests.mutants", "chathistory.conformance._runner"]


def measured(names: Iterable[str], measure: Measure, kept: Path, *, seconds: float) -> Iterator[Line]:
    """A line for each name, from the file or from a new process; new ones are added to the file.

    Args:
        names: what is measured, by name; a line holds its name under "name".
        measure: a function at the top of a module, called with a name in a process of its own.
        kept: the file of JSON lines.
        seconds: how long one may take; a line with an "error" tells of one that took longer, or that failed.
    """
    known = {line["name"]: line for line in read_lines(kept)}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED_ONCE)
    for name in names:
        if name not in known:
            known[name] = {"name": name, **_in_a_process(context, measure, name, seconds)}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(known[name]) + "\n")
        yield known[name]


def read_lines(kept: Path) -> list[Line]:
    """What a file of JSON lines holds; nothing if there is none."""
    if not kept.exists():
        return []
    return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]


def _in_a_process(context: Any, measure: Measure, name: str, seconds: float) -> Line:
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, measure, name))
    process.start()
    there.close()
    try:
        line: Line = here.recv() if here.poll(seconds) else {"error": f"no end within {seconds:g} s"}
    except EOFError:
        line = {"error": "the process ended without an answer"}
    process.kill()
    process.join()
    return line


def _answer(there: Connection, measure: Measure, name: str) -> None:
    """Measure, send the answer, and end at once, whatever threads may still hang."""
    logging.disable(logging.CRITICAL)
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 -- open to the end
    try:
        there.send(measure(name))
    except BaseException:
        there.send({"error": traceback.format_exc(limit=-3)})
    there.close()
    os._exit(0)
