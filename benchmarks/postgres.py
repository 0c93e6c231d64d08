"""How fast the PostgreSQL history is, beside the class it replaces and the bare driver, all in one run.

Run it where the project is installed: `python benchmarks/postgres.py [ROUNDS]`. Every subject writes to a table
of its own on one server, in turn, so that whatever else the machine does falls on all of them. The bare driver
is given ready texts and returns texts: the price of turning messages into text and back is part of the others'
figures. The server is the embedded one, or that of CHATHISTORY_POSTGRES_URL.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict
from psycopg_pool import AsyncConnectionPool

from chathistory.adapters.postgres import PostgresChatMessageHistory
from chathistory.adapters.postgres.backend import new_database
from chathistory.adapters.servers import postgres_server

TASKS = 50
CONNECTIONS = 10  # of a pool for tasks: as many as the history opens by itself
TABLE = (
    "CREATE TABLE raw (id BIGSERIAL NOT NULL, session_id TEXT NOT NULL, message JSON NOT NULL, "
    "created_at TIMESTAMPTZ NOT NULL DEFAULT now(), PRIMARY KEY (session_id, id))"
)
INSERT = "INSERT INTO raw (session_id, message) SELECT %s, m::json FROM unnest(%b::text[]) AS m"
SELECT = "SELECT message::text FROM raw WHERE session_id = %s ORDER BY id"


def messages(count: int) -> list[BaseMessage]:
    """A conversation: questions, and answers that call two tools."""
    calls = [{"name": "search", "args": {"query": "weather", "limit": 3}, "id": f"call-{n}"} for n in (1, 2)]
    turn = [
        HumanMessage("What is the weather like today in Utrecht?"),
        AIMessage("Let me see.", tool_calls=calls),
    ]
    return (turn * count)[:count]


def identifier(session: str) -> str:
    """The id of a session, as all of the subjects take it."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, session))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured.

    Attributes:
        name: the column of the table.
        prepared: the batch in the form that `add` takes; not measured.
        add: append a batch and wait until it is committed.
        read: read a session.
        tasks: a context whose value adds a batch from a task.
    """

    name: str
    prepared: Callable[[list[BaseMessage]], Any]
    add: Callable[[str, Any], object]
    read: Callable[[str], object]
    tasks: Callable[[], AbstractAsyncContextManager[Callable[[str, Any], Awaitable[None]]]]


def raw_driver(conninfo: str, stack: ExitStack) -> Subject:
    """The driver alone, with ready texts."""
    connection = stack.enter_context(psycopg.connect(conninfo, autocommit=True))
    connection.execute(TABLE)

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        async with AsyncConnectionPool(conninfo, min_size=CONNECTIONS, kwargs={"autocommit": True}, open=False) as pool:

            async def add_one(session: str, texts: list[str]) -> None:
                async with pool.connection() as driver:
                    await driver.execute(INSERT, (identifier(session), texts))

            yield add_one

    return Subject(
        name="raw driver",
        prepared=lambda batch: [json.dumps(message_to_dict(message)) for message in batch],
        add=lambda session, texts: connection.execute(INSERT, (identifier(session), texts)),
        read=lambda session: connection.execute(SELECT, (identifier(session),)).fetchall(),
        tasks=tasks,
    )


def chathistory(conninfo: str) -> Subject:
    """The history of this project, a handle per call as RunnableWithMessageHistory opens it."""
    PostgresChatMessageHistory.create_tables(conninfo, "ours")

    def handle(session: str) -> PostgresChatMessageHistory:
        return PostgresChatMessageHistory("ours", identifier(session), conninfo=conninfo)

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        yield lambda session, batch: handle(session).aadd_messages(batch)

    return Subject(
        name="chathistory",
        prepared=lambda batch: batch,
        add=lambda session, batch: handle(session).add_messages(batch),
        read=lambda session: handle(session).messages,
        tasks=tasks,
    )


def langchain_postgres(conninfo: str, stack: ExitStack) -> Subject:
    """The class it replaces, over one connection as its documentation shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_postgres import PostgresChatMessageHistory as Theirs

    connection = stack.enter_context(psycopg.connect(conninfo))
    Theirs.create_tables(connection, "theirs")

    def handle(session: str) -> Any:
        return Theirs("theirs", identifier(session), sync_connection=connection)

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        async with await psycopg.AsyncConnection.connect(conninfo) as driver:
            yield lambda session, batch: Theirs("theirs", identifier(session), async_connection=driver).aadd_messages(
                batch
            )

    return Subject(
        name="langchain-postgres",
        prepared=lambda batch: batch,
        add=lambda session, batch: handle(session).add_messages(batch),
        read=lambda session: handle(session).messages,
        tasks=tasks,
    )


def subjects(conninfo: str, stack: ExitStack) -> Iterator[Subject]:
    """Those that can be had here, the bare driver first."""
    yield raw_driver(conninfo, stack)
    yield chathistory(conninfo)
    try:
        yield langchain_postgres(conninfo, stack)
    except ImportError:
        print("langchain-postgres is not installed: measured without it\n")


def microseconds(action: Callable[[], object]) -> float:
    """How long one action takes, or what it says itself of its essential part."""
    began = time.perf_counter()
    seconds = action()
    return (seconds if isinstance(seconds, float) else time.perf_counter() - began) * 1e6


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
    """Add one message each from many tasks at once, when as many have been before: the connections are open."""
    batch = subject.prepared(messages(1))

    async def main() -> float:
        async with subject.tasks() as add:
            for _ in range(2):
                began = time.perf_counter()
                await asyncio.gather(*(add(f"task {number}", batch) for number in range(TASKS)))
            return time.perf_counter() - began

    return lambda: asyncio.run(main())


def main(rounds: int) -> None:
    """Measure everything and print one table."""
    with postgres_server() as server, new_database(server.url) as conninfo, ExitStack() as stack:
        all_of_them = list(subjects(conninfo, stack))
        cases = {
            "add 1": medians(all_of_them, rounds * 5, adding(1)),
            "add a batch of 100": medians(all_of_them, rounds, adding(100)),
            "read 100": medians(all_of_them, rounds, reading(100)),
            "read 2,000": medians(all_of_them, max(rounds // 5, 5), reading(2000)),
            f"{TASKS} async tasks": medians(all_of_them, max(rounds // 10, 3), adding_from_tasks),
        }
    print(f"median µs (times the bare driver)   PostgreSQL {server.versions['postgresql']}\n")
    print(f"{'':20}" + "".join(f"{subject.name:>24}" for subject in all_of_them))
    for name, row in cases.items():
        print(f"{name:20}" + "".join(f"{value:>15,.0f} ({value / row[0]:5.1f})" + " " for value in row))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
