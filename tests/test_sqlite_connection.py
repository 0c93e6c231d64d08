"""A history on the caller's own sqlite3.Connection: used, shared, and left as it was."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from chathistory.adapters.sqlite import SQLiteChatMessageHistory
from chathistory.reference import StoreError


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the database will be."""
    return str(tmp_path / "history.db")


@pytest.fixture
def connection(path: str) -> Iterator[sqlite3.Connection]:
    """The caller's, in the mode that Python gives by default, but for use in several threads."""
    with contextlib.closing(sqlite3.connect(path, check_same_thread=False, timeout=0.1)) as connection:
        yield connection


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(history: SQLiteChatMessageHistory) -> list[Any]:
    """The contents of a history."""
    return [message.content for message in history.messages]


def test_what_is_added_is_committed(path: str, connection: sqlite3.Connection) -> None:
    """Where the caller has no transaction open, each call is one of its own, seen by everybody at once."""
    history = SQLiteChatMessageHistory("s", connection)
    history.add_messages(humans("a", "b"))
    assert not connection.in_transaction
    assert texts(SQLiteChatMessageHistory("s", path)) == ["a", "b"]
    history.messages = humans("c")
    assert texts(SQLiteChatMessageHistory("s", path)) == ["c"]
    history.clear()
    assert texts(SQLiteChatMessageHistory("s", path)) == []
    assert not connection.in_transaction


def test_an_open_transaction_stays_open_and_the_callers(path: str, connection: sqlite3.Connection) -> None:
    """What the history did in it is undone with it, or committed with it, by nobody but the caller."""
    history, outside = SQLiteChatMessageHistory("s", connection), SQLiteChatMessageHistory("s", path)
    history.add_messages(humans("before"))
    connection.execute("CREATE TABLE mine (x)")
    connection.execute("INSERT INTO mine VALUES (1)")
    history.add_messages(humans("a", "b"))
    history.messages = [*history.messages, HumanMessage("c")]
    asyncio.run(history.aadd_messages(humans("d")))
    assert connection.in_transaction
    assert texts(history) == ["before", "a", "b", "c", "d"]
    assert texts(outside) == ["before"]
    connection.rollback()
    assert texts(history) == texts(outside) == ["before"]
    assert connection.execute("SELECT * FROM mine").fetchall() == []
    connection.execute("INSERT INTO mine VALUES (1)")
    history.add_messages(humans("e"))
    connection.commit()
    assert texts(outside) == ["before", "e"]


def test_a_failure_inside_an_open_transaction_undoes_only_its_own_call(
    connection: sqlite3.Connection,
) -> None:
    """Neither the caller's rows nor what the history did before are lost by it."""
    history = SQLiteChatMessageHistory("s", connection)
    history.clear()
    connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON message_store WHEN NEW.message LIKE '%bomb%' "
        "BEGIN SELECT RAISE(ABORT, 'no bombs'); END"
    )
    connection.execute("CREATE TABLE mine (x)")
    connection.execute("INSERT INTO mine VALUES (1)")
    history.add_messages(humans("a"))
    with pytest.raises(StoreError, match="no bombs"):
        history.messages = humans("x", "bomb")
    assert connection.in_transaction
    connection.commit()
    assert texts(history) == ["a"]
    assert connection.execute("SELECT * FROM mine").fetchall() == [(1,)]


def test_a_table_made_in_a_transaction_that_is_rolled_back_is_made_again(
    connection: sqlite3.Connection,
) -> None:
    """The handle doesn't rely on a table that went with the caller's transaction."""
    connection.execute("CREATE TABLE mine (x)")
    connection.execute("INSERT INTO mine VALUES (1)")
    history = SQLiteChatMessageHistory("s", connection)
    history.add_messages(humans("a"))
    connection.rollback()
    assert texts(history) == []
    history.add_messages(humans("b"))
    assert texts(history) == ["b"]


def test_factories_and_settings_are_neither_used_nor_changed(connection: sqlite3.Connection) -> None:
    """Rows are read whatever the connection makes of rows and texts, and it makes the same of them later."""

    def text_factory(text: bytes) -> str:
        return "seen: " + text.decode()

    connection.row_factory = sqlite3.Row
    connection.text_factory = text_factory
    connection.isolation_level = "EXCLUSIVE"
    history = SQLiteChatMessageHistory("s", connection, "a table", "a column")
    history.add_messages(humans("a"))
    history.messages = humans("b", "c")
    assert texts(history) == ["b", "c"]
    assert connection.row_factory is sqlite3.Row
    assert connection.text_factory is text_factory
    assert connection.isolation_level == "EXCLUSIVE"
    assert tuple(connection.execute("SELECT 'x'").fetchone()) == ("seen: x",)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "seen: delete"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit is an attribute since Python 3.12")
def test_a_connection_without_autocommit_is_committed_by_the_caller(path: str) -> None:
    """In that mode a transaction is always open, and always the caller's."""
    with contextlib.closing(sqlite3.connect(path, autocommit=False)) as connection:  # type: ignore[call-arg]
        history = SQLiteChatMessageHistory("s", connection)
        history.add_messages(humans("a"))
        connection.commit()
        history.add_messages(humans("b"))
        connection.rollback()
        assert texts(history) == ["a"]


def test_a_database_in_memory_is_one_history_for_all_handles_on_the_connection() -> None:
    """The way to have one in memory: sync, async, from several threads and loops."""
    with contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        one, two = SQLiteChatMessageHistory("s", connection), SQLiteChatMessageHistory("s", connection)

        async def main() -> None:
            await asyncio.gather(*(one.aadd_messages(humans(f"{n}", f"{n}")) for n in range(20)))

        def add() -> None:
            for _ in range(20):
                two.add_user_message("t")

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        asyncio.run(main())
        for thread in threads:
            thread.join()
        found = texts(two)
        assert found.count("t") == 80
        numbers = [text for text in found if text != "t"]
        assert numbers[::2] == numbers[1::2]
        assert sorted(numbers[::2], key=int) == [str(number) for number in range(20)]


def test_a_connection_bound_to_its_thread_says_what_async_needs(path: str) -> None:
    """The error names the mend, and sync calls in the thread of the connection go on working."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        history = SQLiteChatMessageHistory("s", connection)
        with pytest.raises(StoreError, match="check_same_thread=False"):
            asyncio.run(history.aadd_messages(humans("a")))
        history.add_messages(humans("b"))
        assert texts(history) == ["b"]


def test_a_closed_connection_is_a_clear_error(path: str) -> None:
    """Of the session, not a bare error of the driver."""
    connection = sqlite3.connect(path)
    history = SQLiteChatMessageHistory("s", connection)
    connection.close()
    with pytest.raises(StoreError, match=r"session 's': could not read .*closed database"):
        history.get_messages()


def test_closing_a_handle_leaves_the_connection_open(connection: sqlite3.Connection) -> None:
    """It is the caller's to close."""
    with SQLiteChatMessageHistory("s", connection) as history:
        history.add_messages(humans("a"))
    with pytest.raises(StoreError, match="handle is closed"):
        history.clear()
    assert texts(SQLiteChatMessageHistory("s", connection)) == ["a"]


def test_a_cancelled_call_is_whole_or_nothing_and_settled(path: str, connection: sqlite3.Connection) -> None:
    """Whenever it is cancelled; afterwards another connection can write at once."""

    async def main() -> None:
        for ticks in range(31):
            history = SQLiteChatMessageHistory(f"s{ticks}", connection)
            task = asyncio.ensure_future(history.aadd_messages(humans("x", "y")))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
            seen = texts(history)
            assert seen in ([], ["x", "y"])
            await history.aadd_message(HumanMessage("later"))
            assert texts(history) == [*seen, "later"]

    asyncio.run(main())


def test_a_lock_held_by_others_is_an_error_after_the_connections_own_timeout(
    path: str, connection: sqlite3.Connection
) -> None:
    """And the connection is free of any transaction afterwards."""
    history = SQLiteChatMessageHistory("s", connection)
    history.add_messages(humans("a"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            history.add_messages(humans("b"))
        with pytest.raises(StoreError, match="database is locked"):
            asyncio.run(history.aadd_messages(humans("b")))
        assert not connection.in_transaction
    history.add_messages(humans("c"))
    assert texts(history) == ["a", "c"]
