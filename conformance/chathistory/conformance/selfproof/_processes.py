"""Does each job in a process of its own, several at a time.

A history that hangs leaves threads behind that nothing can end, and that would disturb whatever runs next in the
same process; so every job gets a new one, and what takes too long is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from chathistory.conformance._division import interrupts_held_back

Task = TypeVar("Task")
Result = TypeVar("Result")

_SECONDS_TO_END = 5.0


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands for the result of a task whose process gave none.

    Attributes:
        reason: why, in a few words.
    """

    reason: str


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    processes: int,
    seconds: float,
    preload: tuple[str, ...] = (),
) -> Iterator[tuple[Task, Result | Lost]]:
    """Call a function with each task, in a process of its own, and yield the results as they come.

    When the caller stops iterating, or is interrupted, what still runs is killed.

    Args:
        function: can be imported by its name; it and the tasks are pickled.
        tasks: taken one by one, as processes become free.
        processes: how many at a time.
        seconds: after which a process is killed.
        preload: modules that are imported once, where processes can be forked off a server.
    """
    crew: _Crew[Task, Result] = _Crew(function, seconds, _context(preload))
    pending = iter(tasks)
    try:
        while True:
            while len(crew.running) < processes:
                try:
                    crew.start(next(pending))
                except StopIteration:
                    break
            if not crew.running:
                return
            yield from crew.finished()
    finally:
        crew.kill()


def _context(preload: tuple[str, ...]) -> BaseContext:
    """Processes forked off a server that has imported everything and runs no thread; new ones elsewhere."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


@dataclass(slots=True)
class _Running(Generic[Task]):
    task: Task
    folder: str
    process: BaseProcess
    answer: Connection
    deadline: float


class _Crew(Generic[Task, Result]):
    """The processes that are at work."""

    def __init__(self, function: Callable[[Task], Result], seconds: float, context: BaseContext) -> None:
        self.running: list[_Running[Task]] = []
        self._function, self._seconds, self._context = function, seconds, context

    def start(self, task: Task) -> None:
        """Begin a task."""
        folder = tempfile.mkdtemp(prefix="chathistory-selfproof-")
        ours, theirs = self._context.Pipe(duplex=False)
        # Daemons, so that they are gone with this process when it ends in good order.
        process = self._context.Process(  # type: ignore[attr-defined]
            target=_work, args=(self._function, task, folder, theirs), daemon=True
        )
        with interrupts_held_back():
            process.start()
        theirs.close()
        self.running.append(_Running(task, folder, process, ours, time.monotonic() + self._seconds))

    def finished(self) -> Iterator[tuple[Task, Result | Lost]]:
        """Wait until something happens, and yield what has ended."""
        patience = max(min(one.deadline for one in self.running) - time.monotonic(), 0)
        wait([one.answer for one in self.running], patience)
        for one in list(self.running):
            if one.answer.poll():
                yield self._ended(one, _received(one.answer))
            elif time.monotonic() >= one.deadline:
                yield self._ended(one, Lost(f"it took more than {self._seconds:g} s"))

    def _ended(self, one: _Running[Task], result: Any) -> tuple[Task, Any]:
        self.running.remove(one)
        _end(one)
        return one.task, result

    def kill(self) -> None:
        """End whatever runs."""
        for one in self.running:
            _end(one)
        self.running.clear()


def _end(one: _Running[Any]) -> None:
    one.process.kill()
    one.process.join(_SECONDS_TO_END)
    one.answer.close()
    shutil.rmtree(one.folder, ignore_errors=True)


def _received(answer: Connection) -> Any:
    try:
        return answer.recv()
    except EOFError:
        return Lost("its process ended without an answer")


def _work(function: Callable[[Any], Any], task: Any, folder: str, answer: Connection) -> None:
    """What a process does; histories may write to its output, and nobody wants to read it.

    Temporary files go to a folder that is removed with the process, which has no time to tidy up.
    """
    threading.Thread(target=_end_with_the_parent, args=(folder,), daemon=True).start()
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        result: Any = function(task)
    except Exception as error:
        result = Lost(f"{type(error).__name__}: {error}")
    answer.send(result)
    answer.close()


def _end_with_the_parent(folder: str) -> None:
    """Don't run on when whoever asked has been killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
