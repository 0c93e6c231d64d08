"""Reads what a session holds before a program has written to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from chathistory.conformance._interpreter import Execution, copy_of
from chathistory.conformance._program import Open, Program, Read
from chathistory.reference import Messages


def held_at_first(execution: Execution, step: Open) -> Messages:
    """What is read through a handle of its own, opened as this step opens one; nothing, if that fails.

    Args:
        execution: the run of the program, in whose sessions, and in whose mode, is read.
        step: which session.
    """
    reading = Execution(
        execution.backend,
        Program((step, Read(step.handle, _mode_of(execution.program)))),
        timeout=execution.timeout,
        token=execution.token,
        cleans_up=False,
    )
    last = list(reading.run())[-1]
    if last.outcome == "returned" and isinstance(last.value, list | tuple):
        return tuple(copy_of(last.value))
    return ()


def _mode_of(program: Program) -> Literal["sync", "async"]:
    """The mode in which a program reads, for a read beside it."""
    modes: Iterable[Any] = (step.mode for step in program.steps if isinstance(step, Read))
    return next(iter(modes), "sync")
