"""How fast the SQLite history is, beside the class it replaces and the bare driver, all in one run.

Run it where the project is installed: `python benchmarks/sqlite.py [ROUNDS]`. Every subject writes to a file
of its own with the same durability (write-ahead log, synchronous=FULL, an index on the session ids), in turn,
so that whatever else the machine does falls on all of them. The bare driver is given ready texts and returns
texts: the price of turning messages into text and back is part of the others' figures.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from typing import Any

import aiosqlite
from _side_by_side import AsyncAdd, Subject, available, measure, of_histories, print_table, texts

from chathistory.adapters.sqlite import SQLiteChatMessageHistory

TABLE = "CREATE TABLE message_store (id INTEGER NOT NULL, session_id TEXT, message TEXT, PRIMARY KEY (id))"
INDEX = "CREATE INDEX ix_message_store_session_id ON message_store (session_id)"
INSERT = "INSERT INTO message_store (session_id, message) VALUES (?, ?)"
SELECT = "SELECT message FROM message_store WHERE session_id = ? ORDER BY id"


def raw_driver(path: Path) -> Subject:
    """The driver alone, with ready texts."""
    connection = sqlite3.connect(path, isolation_level=None)

    def add(session: str, batch: list[str]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [(session, text) for text in batch])
        connection.execute("COMMIT")

    @asynccontextmanager
    async def tasks() -> AsyncIterator[AsyncAdd]:
        async with aiosqlite.connect(path, isolation_level=None) as driver:
            yield lambda session, batch: driver.execute_insert(INSERT, (session, batch[0]))

    return Subject(
        name="raw driver",
        prepared=texts,
        add=add,
        read=lambda session: connection.execute(SELECT, (session,)).fetchall(),
        tasks=tasks,
    )


def chathistory(path: Path) -> Subject:
    """The history of this project, a handle per call as RunnableWithMessageHistory opens it."""
    return of_histories("chathistory", lambda session: SQLiteChatMessageHistory(session, path))


def langchain_community(path: Path) -> Subject:
    """The class it replaces; one handle per session is kept, since each would bring an engine."""
    from langchain_community.chat_message_histories import SQLChatMessageHistory
    from sqlalchemy.ext.asyncio import create_async_engine

    @cache
    def handle(session: str) -> Any:
        return SQLChatMessageHistory(session, connection=f"sqlite:///{path}")

    @asynccontextmanager
    async def tasks() -> AsyncIterator[AsyncAdd]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": 60})
        yield lambda session, batch: SQLChatMessageHistory(session, connection=engine).aadd_messages(batch)
        await engine.dispose()

    return of_histories("langchain-community", handle, tasks)


def new_database(path: Path) -> Path:
    """The same for every subject."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in ("PRAGMA journal_mode = WAL", TABLE, INDEX):
            connection.execute(statement)
    return path


def main(rounds: int) -> None:
    """Measure everything and print one table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = available(
            raw_driver(new_database(folder / "raw.db")),
            chathistory(new_database(folder / "ours.db")),
            lambda: langchain_community(new_database(folder / "peer.db")),
        )
        print_table(f"SQLite {sqlite3.sqlite_version}", subjects, measure(subjects, rounds))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
