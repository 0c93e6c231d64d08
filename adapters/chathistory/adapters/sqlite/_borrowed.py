"""A sqlite3.Connection of the caller, as the store of any number of handles.

It stays the caller's: its settings, its factories and its open transaction are left as they are. Every
operation runs inside a savepoint, which is a transaction of its own where the caller has none open, and
otherwise a part of the caller's, kept or undone with it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import weakref
from contextlib import suppress

from chathistory.adapters._turns import take
from chathistory.adapters.sqlite._failures import NotYourTurnError, Patience, is_missing_table
from chathistory.adapters.sqlite._forks import FORKS
from chathistory.adapters.sqlite._steps import drive, execute
from chathistory.adapters.sqlite._table import Operation, Rows, Sql, Statement, Table

_SAVEPOINT = '"chathistory"'


class BorrowedConnection:
    """One connection of the caller, used by one thread at a time. Get it from `borrowed`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._process = os.getpid()
        self._turn = threading.Lock()
        self._ready: dict[Table, Sql] = {}

    def run(self, operation: Operation, timeout: float) -> Rows:
        """Carry out an operation wholly or not at all.

        The timeout is for the other handles on this connection; how long SQLite itself waits for locks is the
        connection's own setting.

        Raises:
            sqlite3.Error: if it was not carried out.
        """
        self._refuse_after_fork()
        seconds = Patience(timeout).left()
        held: list[bool] = []
        try:
            if not take(self._turn, seconds, held):
                raise NotYourTurnError
            return self._attempt(operation)
        except sqlite3.OperationalError as error:
            if not is_missing_table(error):
                raise
            # Made within a transaction that the caller has rolled back since: make it again, once.
            self._ready.pop(operation.table, None)
            return self._attempt(operation)
        finally:
            if held:
                self._turn.release()

    async def arun(self, operation: Operation, timeout: float) -> Rows:
        """The async form of `run`, in a thread of the loop's executor; turns are waited for in the loop."""
        patience = Patience(timeout)
        loop = asyncio.get_running_loop()
        while True:
            try:
                if self._turn.locked():
                    raise NotYourTurnError
                return await _settled(loop.run_in_executor(None, self.run, operation, 0.0))
            except NotYourTurnError as error:
                pause = patience.pause_after(error)
            await asyncio.sleep(pause)

    def _refuse_after_fork(self) -> None:
        if os.getpid() != self._process:
            raise sqlite3.ProgrammingError(
                "the connection was opened before a fork, and SQLite's connections can't be used after one"
            )

    @FORKS.held_off()
    def _attempt(self, operation: Operation) -> Rows:
        sql = self._ready.get(operation.table)
        if sql is None:
            sql = self._ready[operation.table] = drive(operation.table.prepare(), self._execute)
        statements = operation.statements(sql)
        return self._within_savepoint(statements) if operation.writes else self._execute(statements[0])

    def _within_savepoint(self, statements: list[Statement]) -> Rows:
        self._execute((f"SAVEPOINT {_SAVEPOINT}", ()))
        try:
            rows: Rows = []
            for statement in statements:
                rows = self._execute(statement)
            self._execute((f"RELEASE {_SAVEPOINT}", ()))
        except BaseException:
            self._undo()
            raise
        return rows

    def _undo(self) -> None:
        # It may be gone: when the disk is full, SQLite rolls back everything by itself.
        with suppress(sqlite3.Error):
            self._execute((f"ROLLBACK TO {_SAVEPOINT}", ()))
            self._execute((f"RELEASE {_SAVEPOINT}", ()))

    def _execute(self, statement: Statement) -> Rows:
        return execute(self._connection, statement)


async def _settled(call: asyncio.Future[Rows]) -> Rows:
    """The result of a call in a thread; a cancellation is passed on when the call is over (ASY-4)."""
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([call])
        raise


_LOCK = threading.Lock()
_BORROWED: weakref.WeakValueDictionary[int, BorrowedConnection] = weakref.WeakValueDictionary()


def borrowed(connection: sqlite3.Connection) -> BorrowedConnection:
    """The store of this connection: the same one for every handle, so that all of them take turns.

    Connections can't be referred to weakly, so they are known by id; that is theirs alone while the store
    lives, because the store keeps the connection alive.
    """
    with _LOCK:
        store = _BORROWED.get(id(connection))
        if store is None:
            store = _BORROWED[id(connection)] = BorrowedConnection(connection)
        return store
