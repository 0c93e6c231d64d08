"""How the suite opens the SQLite history, and what that history claims: async calls, too, which need aiosqlite."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import aiosqlite

from chathistory.adapters.sqlite._history import SQLiteChatMessageHistory
from chathistory.adapters.sqlite._location import database_path
from chathistory.conformance import Backend

URL_VARIABLE = "CHATHISTORY_SQLITE_URL"

# Long enough for whoever waits to notice that the lock is free: see Patience for how often it looks.
_GAP = 0.03


def sqlite() -> Iterator[Backend]:
    """A database in a new temporary folder, or at the URL or path in CHATHISTORY_SQLITE_URL.

    The first is thrown away at the end; in the second the suite clears the sessions it has written. Another
    process that is to open the same database needs the variable, too.
    """
    if url := os.environ.get(URL_VARIABLE):
        yield _backend(url, disposable=False)
        return
    # Files that are open can't be removed everywhere, and a late handle must not turn that into a failure.
    with tempfile.TemporaryDirectory(prefix="chathistory-sqlite-", ignore_cleanup_errors=True) as folder:
        path = str(Path(folder, "history.db"))
        with closing(SQLiteChatMessageHistory("", path)):
            yield _backend(path, disposable=True)


def _opened(connection: str, session_id: str) -> SQLiteChatMessageHistory:
    return SQLiteChatMessageHistory(session_id, connection)


def _backend(connection: str, *, disposable: bool) -> Backend:
    def get_session_history(session_id: str) -> SQLiteChatMessageHistory:
        return SQLiteChatMessageHistory(session_id, connection)

    def in_partition(table: str, session_id: str) -> SQLiteChatMessageHistory:
        return SQLiteChatMessageHistory(session_id, connection, table_name=table)

    return Backend(
        name="sqlite",
        get_session_history=get_session_history,
        claims={"core", "async", "threads", "processes", "durable"},
        in_partition=in_partition,
        in_another_process=partial(_opened, connection),
        slow=lambda seconds: slow_writes(database_path(connection), seconds),
        disposable=disposable,
        isolated=disposable,
        versions=_versions(),
        import_path="chathistory.adapters.sqlite.backend:sqlite",
        notes=("Slowness is made by holding the write lock, for which reads don't wait.",),
    )


@contextmanager
def slow_writes(path: str, seconds: float) -> Iterator[None]:
    """Hold the write lock for so many seconds again and again while the block runs, as a busy writer would.

    Reads of a database with a write-ahead log don't wait for writers, so they stay as fast as they are.

    Args:
        path: the database.
        seconds: how long a write that comes just after the lock was taken has to wait.
    """
    holding, over = threading.Event(), threading.Event()
    holder = threading.Thread(target=_hold_write_lock, args=(path, seconds, holding, over), daemon=True)
    holder.start()
    holding.wait()
    try:
        yield
    finally:
        over.set()
        holder.join()


def _hold_write_lock(path: str, seconds: float, holding: threading.Event, over: threading.Event) -> None:
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
            while not over.is_set():
                connection.execute("BEGIN IMMEDIATE")
                holding.set()
                over.wait(seconds)
                connection.execute("ROLLBACK")
                over.wait(_GAP)
    finally:
        holding.set()  # also when it failed, or whoever waits for it would wait for good


def _versions() -> dict[str, str]:
    return {"sqlite": sqlite3.sqlite_version, "aiosqlite": version(aiosqlite.__name__)}
