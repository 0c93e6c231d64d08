"""Divides the clauses of a run: this process takes them from the front, helpers in other processes from the end.

Each helper opens a store of its own, so that no check sees the other's calls. A helper is a help and no more: where
it can't start, ends early, or finds something that is not plain, what it was at is checked in this process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import NoReturn, TypeVar

from chathistory.conformance._report import ClauseResult

_SECONDS_TO_END = 10.0
"""How long a helper may take to stop the server that it has started."""

Task = TypeVar("Task")


class Division:
    """Which clauses are still waiting, and what helpers made of those that they took.

    Args:
        ids: the clauses of the run, in the order of the report.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = tuple(ids)
        self._waiting = list(self._ids)
        self._taken: set[str] = set()
        self._results: dict[str, ClauseResult] = {}
        self._changed = threading.Condition()

    def result_of(self, clause_id: str) -> ClauseResult | None:
        """What a helper made of a clause, waiting for it; None where this process is to check it."""
        with self._changed:
            if clause_id in self._waiting:
                self._waiting.remove(clause_id)
                return None
            self._changed.wait_for(lambda: clause_id not in self._taken)
            return self._results.get(clause_id)

    def finished_beside(self, reported: Iterable[ClauseResult]) -> tuple[ClauseResult, ...]:
        """What helpers have made of other clauses than those, in the order of the report; of an interrupted run."""
        known = {result.id for result in reported}
        with self._changed:
            return tuple(self._results[name] for name in self._ids if name in self._results.keys() - known)

    def serve(self, helper: Connection) -> bool:
        """Give a helper clauses from the end, until none waits or the helper has gone; whether none waits."""
        clause_id = ""
        try:
            while True:
                result = helper.recv()
                self._settle(clause_id, result)
                clause_id = self._take_last()
                helper.send(clause_id)
                if not clause_id:
                    return True
        except (EOFError, OSError):
            return False
        finally:
            self._settle(clause_id, None)

    def _take_last(self) -> str:
        with self._changed:
            if not self._waiting:
                return ""
            self._taken.add(last := self._waiting.pop())
            return last

    def _settle(self, clause_id: str, result: ClauseResult | None) -> None:
        with self._changed:
            if result is not None:
                self._results[clause_id] = result
            self._taken.discard(clause_id)
            self._changed.notify_all()


@contextmanager
def helped(
    division: Division, function: Callable[[Task, Connection], None], task: Task, helpers: int
) -> Iterator[None]:
    """Let so many helpers take clauses while the block runs, and end them after it.

    Args:
        division: what is to be done.
        function: what a helper does; it and the task are pickled. Over the connection it sends None when it is
            ready, and the result of each clause that it receives, until it receives "".
        task: what the function needs to know.
        helpers: how many processes.
    """
    with contextlib.ExitStack() as crew:
        for _ in range(helpers):
            with contextlib.suppress(OSError):  # no more processes or files to be had
                crew.callback(_Helper(division, function, task).end)
        yield


class _Helper:
    """A process that takes clauses."""

    def __init__(self, division: Division, function: Callable[[Task, Connection], None], task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(function, task, theirs), name="chathistory-helper")
        with interrupts_held_back():
            self._process.start()
        theirs.close()
        self._dismissed = False
        self._division = division
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._dismissed = self._division.serve(self._ours)

    def end(self) -> None:
        """End it; one that is closing its store already is given the time for that."""
        if not self._dismissed:
            self._process.terminate()
        self._process.join(_SECONDS_TO_END)
        self._process.kill()
        self._process.join()
        self._thread.join(_SECONDS_TO_END)
        self._ours.close()


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Keep Ctrl-C back for a moment, and for good from processes that are started in it, unless they let it in.

    It is for whoever started them, who ends them then; in a process that is just starting it makes noise.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # or the first process would start it, which lets in what is kept back here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(function: Callable[[Task, Connection], None], task: Task, run: Connection) -> None:
    """What a helper's process does: nothing that the user would see, and nothing that outlives the run."""
    signal.signal(signal.SIGTERM, _leave)
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C at a terminal is for the process that was started there, which ends this one
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # forgets one that has come before
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    with contextlib.suppress(EOFError, OSError):
        function(task, run)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End by way of all that is open: the store is closed, its server stopped."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _leave_with_the_parent() -> None:
    """Don't run on when whoever asked has been killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_SECONDS_TO_END)
        os._exit(1)
