"""One PostgreSQL server and database for all tests of a process, opened at the first use, gone at the end."""

from __future__ import annotations

import atexit
import functools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from langchain_core.messages import BaseMessage, HumanMessage

from chathistory.adapters.postgres import PostgresChatMessageHistory
from chathistory.adapters.postgres._owned import DATABASES
from chathistory.adapters.postgres.backend import new_database
from chathistory.adapters.servers import Server, postgres_server

SECONDS = 30.0
"""In which anything that is waited for must come about, on a machine however busy."""


@functools.cache
def server() -> Server:
    """The server."""
    stack = ExitStack()
    opened = stack.enter_context(postgres_server())
    atexit.register(stack.close)  # after whatever the server has registered, so that it is called before
    return opened


@functools.cache
def database() -> str:
    """The URL of a database of this process."""
    stack = ExitStack()
    conninfo = stack.enter_context(new_database(server().url))
    stack.callback(DATABASES.close, conninfo)
    atexit.register(stack.close)
    return conninfo


def new_table() -> str:
    """A table that holds nothing yet."""
    name = f"t_{secrets.token_hex(6)}"
    PostgresChatMessageHistory.create_tables(database(), name)
    return name


@contextmanager
def raw(**options: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection of somebody else."""
    with psycopg.connect(database(), autocommit=True, **options) as connection:
        yield connection


def opened(table: str, session_id: str = "s") -> PostgresChatMessageHistory:
    """A handle that opens its own connections."""
    return PostgresChatMessageHistory(table, session_id, conninfo=database())


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(history: PostgresChatMessageHistory) -> list[Any]:
    """The contents of a history."""
    return [message.content for message in history.messages]


def waited_for_locks() -> int:
    """How many connections to this database wait for a lock now."""
    with raw() as connection:
        query = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        row = connection.execute(query + "WHERE NOT granted AND datname = current_database()").fetchone()
    assert row is not None
    return int(row[0])


def left_in_transactions() -> list[str]:
    """The last statements of connections to this database that are idle within a transaction."""
    with raw() as connection:
        query = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        return [query for (query,) in connection.execute(query).fetchall()]


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


@contextmanager
def running(*functions: Callable[[], object]) -> Iterator[None]:
    """These functions in threads of their own, which end with the block or soon after; what they raise is raised."""
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]
