"""One database file in this process: a few connections shared by all handles, threads, tasks and loops.

Opening a handle costs no connection, and forgetting to close one leaks none. Connections are

* lent to one thread at a time, at most `_MOST_CONNECTIONS` of them, and kept for the next;
* one more per event loop, behind aiosqlite;
* dropped when the file at the path is another one than was opened, and after a fork.

Writers of one process take turns on a lock of their own: only one of them contends with other processes.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from chathistory.adapters._turns import Slots, take
from chathistory.adapters.sqlite._failures import (
    ClosedError,
    NotYourTurnError,
    Patience,
    is_busy,
    is_missing_table,
    is_readonly,
)
from chathistory.adapters.sqlite._forks import FORKS
from chathistory.adapters.sqlite._loops import Connection, FileIdentity, LoopWorkers
from chathistory.adapters.sqlite._steps import adrive, drive, execute
from chathistory.adapters.sqlite._table import Operation, Rows, Sql, Statement, Table
from chathistory.adapters.sqlite._worker import Worker

_MOST_CONNECTIONS = 8
_STATEMENTS_KEPT = 128


class Lease:
    """A handle's share in a file: while one is alive and not returned, the file stays open."""

    __slots__ = ("__weakref__",)


class FileDatabase:
    """A file, as the store of any number of handles.

    Args:
        path: absolute; made at the first operation if missing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget every connection and lock without touching them: they are those of a parent process."""
        self._lock = threading.Lock()  # guards the fields
        self._writer = threading.Lock()
        self._slots = Slots(_MOST_CONNECTIONS)
        self._file: FileIdentity | None = None
        # Weakly: one that an exception of a signal handler took out of our hands is closed, and rolled back, by that.
        self._lent_or_idle: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._idle: list[Connection] = []
        self._ready: dict[Table, Sql] = {}
        self._loops = LoopWorkers(self._open_connection, self._current_file)

    def connections(self) -> list[Connection]:
        """The connections that are open now, but for those of event loops."""
        return list(self._lent_or_idle)

    def run(self, operation: Operation, timeout: float) -> Rows:
        """Carry out an operation wholly or not at all.

        Raises:
            sqlite3.Error: if it was not carried out.
        """
        patience = Patience(timeout)
        if not operation.writes:
            return self._run_patiently(operation, patience)
        writer, seconds = self._writer, patience.left()
        held: list[bool] = []
        try:
            if not take(writer, seconds, held):
                raise NotYourTurnError
            return self._run_patiently(operation, patience)
        finally:
            if held:
                writer.release()

    def _run_patiently(self, operation: Operation, patience: Patience) -> Rows:
        while True:
            try:
                return self._run_once(operation, patience)
            except sqlite3.OperationalError as error:
                if is_readonly(error):
                    self._close_idle()
                pause = patience.pause_after(error)
            time.sleep(pause)

    def _run_once(self, operation: Operation, patience: Patience) -> Rows:
        """Borrow a connection, free of transactions before and after."""
        slots, seconds = self._slots, patience.left()
        held: list[bool] = []
        try:
            if not slots.take(seconds, held):
                raise NotYourTurnError
            with FORKS.held_off():
                connection = self._take()
                try:
                    return self._attempt(operation, connection)
                finally:
                    self._give_back(connection)
        finally:
            if held:
                slots.put(True)

    def _attempt(self, operation: Operation, connection: Connection) -> Rows:
        sql = self._ready.get(operation.table)
        if sql is None:
            sql = drive(operation.table.prepare(), lambda statement: execute(connection, statement))
            self._ready[operation.table] = sql
        statements = operation.statements(sql)
        with self._table_in_doubt(operation.table):
            if len(statements) > 1:
                return _all(connection, statements)
            return execute(connection, statements[0])

    async def arun(self, operation: Operation, timeout: float) -> Rows:
        """The async form of `run`, for operations of one statement.

        Waiting for locks is left to the event loop, so that it can be cancelled and holds up nobody.
        """
        patience = Patience(timeout)
        if not operation.writes:
            return await self._arun_patiently(operation, patience)
        state = await self._loops.state()
        async with state.writing.within(patience.left()):
            return await self._arun_patiently(operation, patience)

    async def _arun_patiently(self, operation: Operation, patience: Patience) -> Rows:
        while True:
            try:
                return await self._aattempt(operation, await self._loops.worker())
            except sqlite3.OperationalError as error:
                if is_readonly(error):
                    await self._loops.renew()
                pause = patience.pause_after(error)
            await asyncio.sleep(pause)

    async def _aattempt(self, operation: Operation, worker: Worker) -> Rows:
        sql = self._ready.get(operation.table)
        if sql is None:
            sql = self._ready[operation.table] = await adrive(operation.table.prepare(), worker.run)
        (statement,) = operation.statements(sql)
        with self._table_in_doubt(operation.table):
            return await worker.run(statement)

    @contextmanager
    def _table_in_doubt(self, table: Table) -> Iterator[None]:
        """Have the next attempt make the table again, if this one finds that somebody dropped it."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if is_missing_table(error):
                self._ready.pop(table, None)
            raise

    def _take(self) -> Connection:
        self._current_file()
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = self._open_connection()
        with self._lock:
            self._lent_or_idle.add(connection)
        return connection

    def _give_back(self, connection: Connection) -> None:
        usable = _rolled_back(connection)
        with self._lock:
            if usable and connection.file is not None and connection.file == self._file:
                self._idle.append(connection)
                return
        self._close_connections([connection])

    def _current_file(self) -> FileIdentity | None:
        """Which file is at the path now; drops what was opened on one that was removed or replaced since.

        Otherwise messages would be acknowledged into a file that nobody can find any more (ERR-2).
        """
        with self._lock:
            current = _identity(self.path)
            if current == self._file:
                return current
            stale, self._idle = self._idle, []
            self._file = current
            self._ready.clear()
        self._close_connections(stale)
        return current

    @FORKS.held_off()
    def _open_connection(self) -> Connection:
        if not self.leases:
            raise ClosedError
        connection = sqlite3.connect(
            self.path,
            timeout=0,  # see Patience
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS_KEPT,
            factory=Connection,
        )
        try:
            _configure(connection)
        except BaseException:
            connection.close()
            raise
        connection.file = self._current_file()
        return connection

    def _close_connections(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.close()
            with self._lock:
                self._lent_or_idle.discard(connection)

    def _close_idle(self) -> None:
        """Have all connections opened anew: one of a file that can't be written stays so when the file can be."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._file = None
            self._ready.clear()
        self._close_connections(idle)

    def close(self) -> None:
        """Close every connection that is not in use, and have the others closed when they are given back."""
        self._loops.stop()
        self._close_idle()


def _all(connection: sqlite3.Connection, statements: list[Statement]) -> Rows:
    """Several statements as one; whoever lent the connection rolls back what is not committed."""
    execute(connection, ("BEGIN IMMEDIATE", ()))
    rows: Rows = []
    for statement in statements:
        rows = execute(connection, statement)
    execute(connection, ("COMMIT", ()))
    return rows


def _rolled_back(connection: sqlite3.Connection) -> bool:
    """Leave no transaction open (ISO-7); False if even that fails."""
    try:
        if connection.in_transaction:
            connection.rollback()
    except sqlite3.Error:
        return False
    return True


def _identity(path: str) -> FileIdentity | None:
    try:
        status = os.stat(path)  # noqa: PTH116 -- a Path made for each call costs more than the call
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _configure(connection: sqlite3.Connection) -> None:
    """Ask for a write-ahead log that is on disk before a call returns (DUR-2)."""
    execute(connection, ("PRAGMA synchronous = FULL", ()))
    try:
        execute(connection, ("PRAGMA journal_mode = WAL", ()))
    except sqlite3.OperationalError as error:
        # Every clause holds without it, only slower: so a database that somebody is reading, or that is
        # read-only, stays as it is. A new one is about to be given its mode by another process (CON-5).
        if not is_readonly(error) and not (is_busy(error) and _holds_something(connection)):
            raise


def _holds_something(connection: sqlite3.Connection) -> bool:
    return bool(execute(connection, ("SELECT 1 FROM main.sqlite_master LIMIT 1", ())))
