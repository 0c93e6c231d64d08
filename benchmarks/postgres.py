"""How fast the PostgreSQL history is, beside the class it replaces and the bare driver, all in one run.

Run it where the project is installed: `python benchmarks/postgres.py [ROUNDS]`. Every subject writes to a table
of its own on one server, in turn, so that whatever else the machine does falls on all of them. The bare driver
is given ready texts and returns texts: the price of turning messages into text and back is part of the others'
figures. The server is the embedded one, or that of CHATHISTORY_POSTGRES_URL.
"""

from __future__ import annotations

import sys
import uuid
import warnings
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import psycopg
from _side_by_side import AsyncAdd, Subject, available, measure, of_histories, print_table, texts
from psycopg_pool import AsyncConnectionPool

from chathistory.adapters.postgres import PostgresChatMessageHistory
from chathistory.adapters.postgres.backend import new_database
from chathistory.adapters.servers import postgres_server

CONNECTIONS = 10  # of a pool for tasks: as many as the history opens by itself
TABLE = (
    "CREATE TABLE raw (id BIGSERIAL NOT NULL, session_id TEXT NOT NULL, message JSON NOT NULL, "
    "created_at TIMESTAMPTZ NOT NULL DEFAULT now(), PRIMARY KEY (session_id, id))"
)
INSERT = "INSERT INTO raw (session_id, message) SELECT %s, m::json FROM unnest(%b::text[]) AS m"
SELECT = "SELECT message::text FROM raw WHERE session_id = %s ORDER BY id"


def identifier(session: str) -> str:
    """The id of a session, as all of the subjects take it."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, session))


def raw_driver(conninfo: str, stack: ExitStack) -> Subject:
    """The driver alone, with ready texts."""
    connection = stack.enter_context(psycopg.connect(conninfo, autocommit=True))
    connection.execute(TABLE)

    @asynccontextmanager
    async def tasks() -> AsyncIterator[AsyncAdd]:
        async with AsyncConnectionPool(conninfo, min_size=CONNECTIONS, kwargs={"autocommit": True}, open=False) as pool:

            async def add_one(session: str, batch: list[str]) -> None:
                async with pool.connection() as driver:
                    await driver.execute(INSERT, (identifier(session), batch))

            yield add_one

    return Subject(
        name="raw driver",
        prepared=texts,
        add=lambda session, batch: connection.execute(INSERT, (identifier(session), batch)),
        read=lambda session: connection.execute(SELECT, (identifier(session),)).fetchall(),
        tasks=tasks,
    )


def chathistory(conninfo: str) -> Subject:
    """The history of this project, a handle per call as RunnableWithMessageHistory opens it."""
    PostgresChatMessageHistory.create_tables(conninfo, "ours")
    return of_histories(
        "chathistory", lambda session: PostgresChatMessageHistory("ours", identifier(session), conninfo=conninfo)
    )


def langchain_postgres(conninfo: str, stack: ExitStack) -> Subject:
    """The class it replaces, over one connection as its documentation shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_postgres import PostgresChatMessageHistory as Theirs

    connection = stack.enter_context(psycopg.connect(conninfo))
    Theirs.create_tables(connection, "theirs")

    def handle(session: str, **of: Any) -> Any:
        return Theirs("theirs", identifier(session), **(of or {"sync_connection": connection}))

    @asynccontextmanager
    async def tasks() -> AsyncIterator[AsyncAdd]:
        async with await psycopg.AsyncConnection.connect(conninfo) as driver:
            yield lambda session, batch: handle(session, async_connection=driver).aadd_messages(batch)

    return of_histories("langchain-postgres", handle, tasks)


def main(rounds: int) -> None:
    """Measure everything and print one table."""
    with postgres_server() as server, new_database(server.url) as conninfo, ExitStack() as stack:
        subjects = available(
            raw_driver(conninfo, stack), chathistory(conninfo), lambda: langchain_postgres(conninfo, stack)
        )
        cases = measure(subjects, rounds, warm=True)
        print_table(f"PostgreSQL {server.versions['postgresql']}", subjects, cases)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
