"""An aiosqlite connection that belongs to one event loop, and is never left to itself.

aiosqlite gives each connection a thread that takes calls from a queue. What it leaves open is settled here:

* a cancelled call returns at once while its statement goes on. Here the cancellation is passed on only when
  the statement is over, so whoever sees it sees a settled history, too (ASY-4);
* a call whose loop has been closed ends the thread, so connections are not shared between loops (ASY-6);
* the thread keeps the interpreter from exiting until the connection is closed, so a watcher does that.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from chathistory.adapters.sqlite._failures import StoppedError
from chathistory.adapters.sqlite._table import Rows, Statement

if TYPE_CHECKING:
    from types import ModuleType

_CHUNK = 64  # of aiosqlite's cursors, which are not used here
_STOP_SECONDS = 10.0
_WATCH_SECONDS = 0.02


def _aiosqlite() -> ModuleType:
    """The driver of the async methods, imported at the first use of one."""
    try:
        import aiosqlite
    except ImportError as error:
        raise ImportError(
            'the async methods of SQLiteChatMessageHistory need aiosqlite: pip install "chathistory[sqlite]"'
        ) from error
    if not hasattr(aiosqlite.Connection, "stop"):
        raise ImportError(
            'SQLiteChatMessageHistory needs aiosqlite 0.22 or later: pip install -U "chathistory[sqlite]"'
        )
    return aiosqlite


class Worker:
    """One aiosqlite connection of one event loop.

    Args:
        open_connection: opens the sqlite3 connection, in the thread of the worker.
    """

    def __init__(self, open_connection: Callable[[], sqlite3.Connection]) -> None:
        self._open_connection = open_connection
        self._connection = _aiosqlite().Connection(self._connect, _CHUNK)
        self._thread: threading.Thread | None = None
        self._raw: sqlite3.Connection | None = None

    def _connect(self) -> sqlite3.Connection:
        self._thread = threading.current_thread()
        self._thread.name = "chathistory-sqlite-worker"
        self._raw = self._open_connection()
        return self._raw

    async def start(self) -> None:
        """Start the thread and open the connection.

        Raises:
            sqlite3.Error: if it can't be opened; then nothing is left of the thread.
        """
        _LIVING.add(self)
        try:
            await self._connection
        except (Exception, asyncio.CancelledError) as error:
            # aiosqlite has told the thread to end, but loses a connection that arrives after a cancellation.
            begun = self._thread is not None or isinstance(error, asyncio.CancelledError)
            while begun and (self._thread is None or self._thread.is_alive()):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.001)
            _LIVING.discard(self)
            self._close_raw()
            raise

    async def run(self, statement: Statement) -> Rows:
        """Run one statement; if cancelled, it took effect wholly or not at all before this returns.

        Raises:
            sqlite3.Error: as the statement does.
            StoppedError: because the worker was stopped; then the statement was not run.
        """
        try:
            return list(await self._connection.execute_fetchall(*statement))
        except asyncio.CancelledError:
            await self._settle()
            raise
        except ValueError as error:  # what aiosqlite says of a connection that has been closed
            raise StoppedError from error

    async def _settle(self) -> None:
        """Wait until the statement that was cancelled is over: the thread runs one after the other."""
        while True:
            next_one = asyncio.ensure_future(self._connection.execute_fetchall("SELECT 1"))
            while not next_one.done():
                # Waited for in a task of its own, so that further cancellations don't begin it anew.
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([next_one])
            if not next_one.cancelled():  # as it is by the end of the loop
                next_one.exception()  # a worker that was stopped is as settled as can be
                return

    def stop(self) -> None:
        """Close the connection and end the thread, from any thread; calls under way are finished first."""
        if not _LIVING.discard(self):
            return
        if self._thread is None or self._thread.is_alive():
            _off_the_main_thread(self._connection.stop)
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._close_raw()

    def _close_raw(self) -> None:
        """Close what the thread can't close any more, having died of a loop that was closed during a call."""
        if self._raw is not None and self._thread is not None and not self._thread.is_alive():
            self._raw.close()

    def _parts(self) -> tuple[object, object]:
        return self._connection, self._raw


def _off_the_main_thread(function: Callable[[], object]) -> None:
    """Call it where it makes no event loop: aiosqlite asks for one, and the main thread may get a new one."""
    if threading.current_thread() is not threading.main_thread():
        function()
        return
    helper = threading.Thread(target=function)
    helper.start()
    helper.join()


class _Living:
    """The workers of this process, and the watcher that stops them when nothing else is left running.

    atexit would be too late: its functions run after every thread has ended, and the workers wait for us.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all workers without touching them: their threads are in the process we forked from."""
        self._lock = threading.Lock()
        self._workers: set[Worker] = set()
        self._watcher: threading.Thread | None = None
        self._over = False

    def add(self, worker: Worker) -> None:
        with self._lock:
            if self._over:
                raise sqlite3.ProgrammingError("the interpreter is shutting down")
            self._workers.add(worker)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="chathistory-exit", daemon=True)
                self._watcher.start()

    def discard(self, worker: Worker) -> bool:
        """Whether the worker was living until now, so that it is stopped once."""
        with self._lock:
            was_living = worker in self._workers
            self._workers.discard(worker)
            return was_living

    def parts(self) -> list[object]:
        return [part for worker in self._workers for part in worker._parts()]

    def _watch(self) -> None:
        """Wait until the main thread and all others that keep the interpreter alive have ended."""
        threading.main_thread().join()
        while self._others_are_running():
            time.sleep(_WATCH_SECONDS)
        with self._lock:
            self._over = True  # a daemon thread may go on using histories; it must not keep us alive
            workers = list(self._workers)
        for worker in workers:
            worker.stop()

    def _others_are_running(self) -> bool:
        workers = [worker._thread for worker in list(self._workers)]
        ours = [threading.main_thread(), *workers]
        return any(not thread.daemon and thread not in ours for thread in threading.enumerate())


_LIVING = _Living()


def forget_workers_of_parent() -> list[object]:
    """In a forked child: forget the parent's workers; returns what must never be finalised here."""
    parts = _LIVING.parts()
    _LIVING.begin_anew()
    return parts
