"""The workers of one file: one per event loop, since a loop may end at any time and take its own with it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from chathistory.adapters.sqlite._failures import StoppedError
from chathistory.adapters.sqlite._forks import FORKS
from chathistory.adapters.sqlite._table import Rows
from chathistory.adapters.sqlite._turn import Turn
from chathistory.adapters.sqlite._worker import Worker

FileIdentity: TypeAlias = tuple[int, int]


class Connection(sqlite3.Connection):
    """A connection that knows which file it was opened on, and that no fork comes upon at work."""

    file: FileIdentity | None = None

    def execute(self, *statement: Any) -> Fetched:  # type: ignore[override]
        """Run a statement to its end, as aiosqlite does in its thread."""
        with FORKS.held_off():
            return Fetched(super().execute(*statement).fetchall())

    def close(self) -> None:
        """Close it."""
        with FORKS.held_off():
            super().close()

    def __del__(self) -> None:
        """Close it without the warning of Python 3.13: a signal may come between opening and keeping it."""
        with suppress(sqlite3.Error):
            super().close()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a statement has returned, whole, in the place of the cursor that would give it."""

    rows: Rows

    def fetchall(self) -> Rows:
        """All rows."""
        return self.rows


class LoopState:
    """What a file keeps for one event loop."""

    def __init__(self) -> None:
        self.writing = Turn()  # only one task at a time asks for the database's lock
        self.opening = asyncio.Lock()
        self.worker: Worker | None = None
        self.file: FileIdentity | None = None


class LoopWorkers:
    """The workers of a file by event loop.

    Args:
        open_connection: opens a connection to the file.
        current_file: which file is at the path now.
    """

    def __init__(
        self, open_connection: Callable[[], Connection], current_file: Callable[[], FileIdentity | None]
    ) -> None:
        self._open_connection = open_connection
        self._current_file = current_file
        self._states: dict[asyncio.AbstractEventLoop, LoopState] = {}

    async def state(self) -> LoopState:
        """What is kept for the running loop. Loops that were closed since are cleaned up after (ASY-6)."""
        loop = asyncio.get_running_loop()
        state = self._states.get(loop)
        if state is None:
            state = self._states[loop] = LoopState()
            if any(other.is_closed() for other in list(self._states)):
                await loop.run_in_executor(None, self._stop_those_of_closed_loops)
        return state

    async def worker(self) -> Worker:
        """The worker of the running loop, on the file that is at the path now.

        Raises:
            sqlite3.Error: if it can't be opened.
        """
        state = await self.state()
        if worker := self._usable(state):
            return worker
        async with state.opening:
            return self._usable(state) or await self._new_worker(state)

    def _usable(self, state: LoopState) -> Worker | None:
        # Looked at once: another thread may stop it at any time, which whoever uses it learns by StoppedError.
        worker = state.worker
        return worker if worker is not None and state.file == self._current_file() else None

    async def renew(self) -> None:
        """Have the next call of the running loop open a connection of its own."""
        (await self.state()).file = None

    async def _new_worker(self, state: LoopState) -> Worker:
        loop = asyncio.get_running_loop()
        old, state.worker = state.worker, None
        if old is not None:
            await loop.run_in_executor(None, old.stop)

        def open_connection() -> sqlite3.Connection:
            connection = self._open_connection()
            state.file = connection.file
            return connection

        worker = Worker(open_connection)
        await worker.start()
        if self._states.get(loop) is not state:
            await loop.run_in_executor(None, worker.stop)
            raise StoppedError
        state.worker = worker
        return worker

    def _stop_those_of_closed_loops(self) -> None:
        for loop in [loop for loop in list(self._states) if loop.is_closed()]:
            _stop(self._states.pop(loop, None))

    def stop(self) -> None:
        """End the threads behind async calls; statements under way finish first."""
        while self._states:
            _, state = self._states.popitem()
            _stop(state)


def _stop(state: LoopState | None) -> None:
    worker = state.worker if state is not None else None
    if state is not None and worker is not None:
        state.worker = None
        worker.stop()
