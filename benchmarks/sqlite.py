"""How fast the SQLite history is, beside the class it replaces and the bare driver, all in one run.

Run it where the project is installed: `python benchmarks/sqlite.py [ROUNDS]`. Every subject writes to a file
of its own with the same durability (write-ahead log, synchronous=FULL, an index on the session ids), in turn,
so that whatever else the machine does falls on all of them. The bare driver is given ready texts and returns
texts: the price of turning messages into text and back is part of the others' figures.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import aiosqlite
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict

from chathistory.adapters.sqlite import SQLiteChatMessageHistory

TASKS = 50
TABLE = "CREATE TABLE message_store (id INTEGER NOT NULL, session_id TEXT, message TEXT, PRIMARY KEY (id))"
INDEX = "CREATE INDEX ix_message_store_session_id ON message_store (session_id)"
INSERT = "INSERT INTO message_store (session_id, message) VALUES (?, ?)"
SELECT = "SELECT message FROM message_store WHERE session_id = ? ORDER BY id"


def messages(count: int) -> list[BaseMessage]:
    """A conversation: questions, and answers that call two tools."""
    calls = [{"name": "search", "args": {"query": "weather", "limit": 3}, "id": f"call-{n}"} for n in (1, 2)]
    turn = [
        HumanMessage("What is the weather like today in Utrecht?"),
        AIMessage("Let me see.", tool_calls=calls),
    ]
    return (turn * count)[:count]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured.

    Attributes:
        name: the column of the table.
        prepared: the batch in the form that `add` takes; not measured.
        add: append a batch and wait until it is on disk.
        read: read a session.
        tasks: a context whose value adds a batch from a task.
    """

    name: str
    prepared: Callable[[list[BaseMessage]], Any]
    add: Callable[[str, Any], object]
    read: Callable[[str], object]
    tasks: Callable[[], AbstractAsyncContextManager[Callable[[str, Any], Awaitable[None]]]]


def raw_driver(path: Path) -> Subject:
    """The driver alone, with ready texts."""
    connection = sqlite3.connect(path, isolation_level=None)

    def add(session: str, texts: list[str]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [(session, text) for text in texts])
        connection.execute("COMMIT")

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        async with aiosqlite.connect(path, isolation_level=None) as driver:

            async def add_one(session: str, texts: list[str]) -> None:
                await driver.execute_insert(INSERT, (session, texts[0]))

            yield add_one

    return Subject(
        name="raw driver",
        prepared=lambda batch: [json.dumps(message_to_dict(message)) for message in batch],
        add=add,
        read=lambda session: connection.execute(SELECT, (session,)).fetchall(),
        tasks=tasks,
    )


def chathistory(path: Path) -> Subject:
    """The history of this project, a handle per call as RunnableWithMessageHistory opens it."""

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        yield lambda session, batch: SQLiteChatMessageHistory(session, path).aadd_messages(batch)

    return Subject(
        name="chathistory",
        prepared=lambda batch: batch,
        add=lambda session, batch: SQLiteChatMessageHistory(session, path).add_messages(batch),
        read=lambda session: SQLiteChatMessageHistory(session, path).messages,
        tasks=tasks,
    )


def langchain_community(path: Path) -> Subject:
    """The class it replaces; one handle per session is kept, since each would bring an engine."""
    from langchain_community.chat_message_histories import SQLChatMessageHistory
    from sqlalchemy.ext.asyncio import create_async_engine

    @cache
    def handle(session: str) -> Any:
        return SQLChatMessageHistory(session, connection=f"sqlite:///{path}")

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": 60})
        yield lambda session, batch: SQLChatMessageHistory(session, connection=engine).aadd_messages(batch)
        await engine.dispose()

    return Subject(
        name="langchain-community",
        prepared=lambda batch: batch,
        add=lambda session, batch: handle(session).add_messages(batch),
        read=lambda session: handle(session).messages,
        tasks=tasks,
    )


def new_database(path: Path) -> Path:
    """The same for every subject."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in ("PRAGMA journal_mode = WAL", TABLE, INDEX):
            connection.execute(statement)
    return path


def subjects(folder: Path) -> Iterator[Subject]:
    """Those that can be had here, the bare driver first."""
    yield raw_driver(new_database(folder / "raw.db"))
    yield chathistory(new_database(folder / "ours.db"))
    try:
        yield langchain_community(new_database(folder / "peer.db"))
    except ImportError:
        print("langchain-community is not installed: measured without it\n")


def microseconds(action: Callable[[], object]) -> float:
    """How long one action takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e6


def medians(all_of_them: list[Subject], rounds: int, action: Callable[[Subject], Callable[[], object]]) -> list[float]:
    """The median time of an action for each subject, measured in turns after one unmeasured turn."""
    actions = [action(subject) for subject in all_of_them]
    for each in actions:
        each()
    times = [[microseconds(each) for each in actions] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def adding(count: int) -> Callable[[Subject], Callable[[], object]]:
    """Add a batch of so many messages."""

    def action(subject: Subject) -> Callable[[], object]:
        batch = subject.prepared(messages(count))
        return lambda: subject.add(f"add {count}", batch)

    return action


def reading(count: int) -> Callable[[Subject], Callable[[], object]]:
    """Read a session of so many messages."""

    def action(subject: Subject) -> Callable[[], object]:
        subject.add(f"read {count}", subject.prepared(messages(count)))
        return lambda: subject.read(f"read {count}")

    return action


def adding_from_tasks(subject: Subject) -> Callable[[], object]:
    """Add one message each from many tasks at once; a new event loop and connection are part of it."""
    batch = subject.prepared(messages(1))

    async def main() -> None:
        async with subject.tasks() as add:
            calls: list[Awaitable[None]] = [add(f"task {number}", batch) for number in range(TASKS)]
            await asyncio.gather(*calls)

    return lambda: asyncio.run(main())


def main(rounds: int) -> None:
    """Measure everything and print one table."""
    with tempfile.TemporaryDirectory() as folder:
        all_of_them = list(subjects(Path(folder)))
        cases = {
            "add 1": medians(all_of_them, rounds * 5, adding(1)),
            "add a batch of 100": medians(all_of_them, rounds, adding(100)),
            "read 100": medians(all_of_them, rounds, reading(100)),
            "read 2,000": medians(all_of_them, max(rounds // 5, 5), reading(2000)),
            f"{TASKS} async tasks": medians(all_of_them, max(rounds // 10, 3), adding_from_tasks),
        }
    print(f"median µs (times the bare driver)   SQLite {sqlite3.sqlite_version}\n")
    print(f"{'':20}" + "".join(f"{subject.name:>24}" for subject in all_of_them))
    for name, row in cases.items():
        print(f"{name:20}" + "".join(f"{value:>15,.0f} ({value / row[0]:5.1f})" + " " for value in row))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
