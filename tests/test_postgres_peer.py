"""Beside langchain-postgres: over its tables, over its rows, and what the suite finds wrong with it."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from psycopg import sql
from tests.postgres_database import database, humans, new_table, opened, raw, server, texts

from chathistory.adapters.peers.postgres import postgres as peer_backend
from chathistory.adapters.postgres import PostgresChatMessageHistory
from chathistory.adapters.servers import Server
from chathistory.conformance import Configuration, check
from chathistory.reference import StoreError, UnstorableValueError, same_value

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    langchain_postgres = pytest.importorskip("langchain_postgres")

SESSION = "0e984725-c51c-4bf4-9960-e1c80e27aba0"
CONVERSATION: list[BaseMessage] = [
    SystemMessage("Be short. \U0001f600 é \\ \" '", id="1"),
    HumanMessage(["text", {"type": "image_url", "image_url": {"url": "https://x/y.png"}}], name="me"),
    AIMessage(
        "b",
        tool_calls=[{"name": "f", "args": {"a": 1, "bb": 1.5, "ccc": [None, True]}, "id": "1"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model": "m"},
    ),
    ToolMessage("c", tool_call_id="1", artifact={"deep": [None, True]}, status="error"),
    FunctionMessage("d", name="f"),
    ChatMessage("e", role="critic", additional_kwargs={"more": {}}),
]


@pytest.fixture
def connection() -> Iterator[psycopg.Connection[Any]]:
    """As its documentation opens it."""
    with psycopg.connect(database()) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def their_table(connection: psycopg.Connection[Any]) -> str:
    """A table that langchain-postgres made."""
    name = f"theirs_{uuid.uuid4().hex}"
    langchain_postgres.PostgresChatMessageHistory.create_tables(connection, name)
    return name


def theirs(table: str, connection: psycopg.Connection[Any], session_id: str = SESSION) -> Any:
    """A handle of langchain-postgres."""
    return langchain_postgres.PostgresChatMessageHistory(table, session_id, sync_connection=connection)


# Old data.


def test_what_langchain_postgres_has_written_is_read_exactly(
    their_table: str, connection: psycopg.Connection[Any]
) -> None:
    """As it reads it itself, in order, by sync and async calls."""
    peer = theirs(their_table, connection)
    peer.add_messages(CONVERSATION)
    peer.add_messages(CONVERSATION)
    history = opened(their_table, SESSION)
    assert same_value(history.messages, peer.messages)
    assert same_value(asyncio.run(history.aget_messages()), CONVERSATION * 2)


def test_the_keys_of_what_langchain_postgres_has_written_are_in_the_order_it_gives_them(
    their_table: str, connection: psycopg.Connection[Any]
) -> None:
    """JSONB has sorted them; prompts that are made of old messages are the same text as before."""
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "total_tokens": 3,
        "input_token_details": {"audio": 1, "cache_creation": 2, "cache_read": 3, "of others": 4},
        "output_token_details": {"audio": 1, "reasoning": 2},
    }
    calls = {"tool_calls": [{"name": "f", "args": {"zz": 1, "a": [{"d": 1, "cc": 2}]}, "id": "1"}]}
    invalid = {"invalid_tool_calls": [{"name": "f", "args": "{", "id": "2", "error": "e"}]}
    chunks = {"tool_call_chunks": [{"name": "f", "args": "{}", "id": "1", "index": 0}]}
    peer = theirs(their_table, connection)
    peer.add_messages([AIMessage("a", usage_metadata=usage, **calls, **invalid), AIMessageChunk("b", **chunks)])
    fields = ("tool_calls", "invalid_tool_calls", "tool_call_chunks", "usage_metadata", "response_metadata")
    found, expected = (
        [json.dumps([getattr(message, field, None) for field in fields]) for message in history.messages]
        for history in (opened(their_table, SESSION), peer)
    )
    assert found == expected


@pytest.mark.parametrize("made_by", ["them", "us"])
def test_both_go_on_with_the_tables_and_rows_of_each_other(
    their_table: str, connection: psycopg.Connection[Any], made_by: str
) -> None:
    """Each reads what the other has added, in either's tables; creating again and clearing works, too."""
    table = their_table if made_by == "them" else new_table()
    peer, history = theirs(table, connection), opened(table, SESSION)
    peer.add_messages(CONVERSATION)
    history.add_messages(CONVERSATION)
    peer.add_messages(humans("theirs"))
    expected = [*CONVERSATION, *CONVERSATION, HumanMessage("theirs")]
    assert same_value(peer.messages, expected)
    assert same_value(history.messages, expected)
    connection.commit()
    PostgresChatMessageHistory.create_tables(connection, table)
    langchain_postgres.PostgresChatMessageHistory.create_tables(connection, table)
    history.messages = humans("a")
    assert texts(peer) == ["a"]
    connection.commit()
    peer.clear()
    assert history.messages == []


def test_rows_that_jsonb_would_alter_are_exact_for_us_and_readable_for_them(
    their_table: str, connection: psycopg.Connection[Any]
) -> None:
    """They see what comes nearest."""
    message = HumanMessage("a\0b \ud800", additional_kwargs={"zz": 1e22, "a": -0.0})
    history = opened(their_table, SESSION)
    history.add_messages([message, HumanMessage("plain")])
    assert same_value(history.messages, [message, HumanMessage("plain")])
    assert json.dumps(history.messages[0].additional_kwargs) == json.dumps(message.additional_kwargs)
    assert texts(theirs(their_table, connection)) == ["a\ufffdb \ufffd", "plain"]
    with raw() as sql_client:
        query = sql.SQL("SELECT message->'data'->>'content' FROM {} ORDER BY id").format(sql.Identifier(their_table))
        assert sql_client.execute(query).fetchall() == [("a\ufffdb \ufffd",), ("plain",)]


def test_the_calls_of_old_programs_work_unchanged(connection: psycopg.Connection[Any]) -> None:
    """Constructor, tables, both kinds of reads, the setter: as langchain-postgres documents them."""
    table = f"old_{uuid.uuid4().hex}"
    PostgresChatMessageHistory.create_tables(connection, table)
    history = PostgresChatMessageHistory(table, str(uuid.uuid4()), sync_connection=connection)
    history.add_messages([SystemMessage(content="Meow"), AIMessage(content="woof"), HumanMessage(content="bark")])
    assert texts(history) == [message.content for message in history.get_messages()] == ["Meow", "woof", "bark"]
    history.messages = [HumanMessage("new")]
    history.clear()
    assert history.messages == []
    PostgresChatMessageHistory.drop_table(connection, table)

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(database()) as aconnection:
            await PostgresChatMessageHistory.acreate_tables(aconnection, table)
            history = PostgresChatMessageHistory(table, str(uuid.uuid4()), async_connection=aconnection)
            await history.aadd_messages([HumanMessage("bark")])
            assert [message.content for message in await history.aget_messages()] == ["bark"]
            await history.aclear()
            assert await history.aget_messages() == []
            await PostgresChatMessageHistory.adrop_table(aconnection, table)

    asyncio.run(main())
    with pytest.raises(ValueError, match="Must provide sync_connection or async_connection"):
        PostgresChatMessageHistory(table, str(uuid.uuid4()))


@pytest.mark.parametrize(
    "session_id", [SESSION.upper(), f"{{{SESSION}}}", SESSION.replace("-", ""), f"urn:uuid:{SESSION}", "a", "", "a\0b"]
)
def test_ids_that_a_uuid_column_would_take_for_another_are_refused(their_table: str, session_id: str) -> None:
    """As ValueError, before anything is stored; the error names the form to pass (ISO-2)."""
    opened(their_table, SESSION).add_messages(humans("a"))
    history = opened(their_table, session_id)
    words = SESSION if len(session_id) > 5 else "create_tables"
    for call in (history.get_messages, history.clear, lambda: history.add_messages(humans("b"))):
        with pytest.raises(UnstorableValueError, match=f"session .*{words}"):
            call()
    with pytest.raises(ValueError, match="UUID"):
        asyncio.run(history.aadd_messages(humans("b")))
    assert texts(opened(their_table, SESSION)) == ["a"]


def test_ids_that_are_used_up_are_an_error_that_names_the_mend(
    their_table: str, connection: psycopg.Connection[Any]
) -> None:
    """Its ids are integers of four bytes."""
    with raw() as other:
        other.execute(sql.SQL("ALTER SEQUENCE {} RESTART 2147483646").format(sql.Identifier(f"{their_table}_id_seq")))
    history = opened(their_table, SESSION)
    history.add_messages(humans("a", "b"))
    with pytest.raises(StoreError, match="make its id column a BIGINT"):
        history.add_messages(humans("c"))
    assert texts(history) == ["a", "b"]


def test_the_migration_in_the_documentation_frees_an_old_table(
    their_table: str, connection: psycopg.Connection[Any]
) -> None:
    """Of UUIDs, double storage and small ids, while handles of both classes are open on it."""
    documentation = Path(__file__).parents[1] / "docs" / "adapters" / "postgres.md"
    [statements] = re.findall(r"```sql\n(.*?)```", documentation.read_text("utf-8"), re.DOTALL)
    history, peer = opened(their_table, SESSION), theirs(their_table, connection)
    history.add_messages(CONVERSATION)
    with raw() as other:
        other.execute(statements.replace("chat_history", their_table))
    history.add_messages(CONVERSATION)
    peer.add_messages(humans("theirs"))
    opened(their_table, "any\0id").add_messages(humans("free"))
    assert same_value(history.messages, [*CONVERSATION, *CONVERSATION, HumanMessage("theirs")])
    assert same_value(peer.messages, history.messages)
    assert texts(opened(their_table, "any\0id")) == ["free"]
    with raw() as other:
        query = sql.SQL("SELECT count(*) FROM {} WHERE message->>'exact' IS NOT NULL AND id > %s")
        found = other.execute(query.format(sql.Identifier(their_table)), [len(CONVERSATION)]).fetchone()
        assert found == (0,)


# What the suite finds.

QUICK = Configuration(effort="quick", examples=2, shrink_seconds=1.0, clause_seconds=1.0)
BROKEN = {
    "ISO-6": "0 messages were expected",  # names of tables are cut at 63 bytes, and two are one then
    "ISO-7": "current transaction is aborted",  # one session's refusal fails all that share the connection
    "ERR-3": "current transaction is aborted",
    "VAL-9": "unexpected message type",  # one message of an unknown class makes a session unreadable
    "ERR-1": "AttributeError",  # add_messages([None]) fails, but not as a refusal
    "ATM-1": "was expected, 0 read",  # an assignment that is refused has cleared the session
}


@pytest.fixture(scope="module")
def peer() -> Iterator[Any]:
    """The backend, on the server of these tests."""
    its: Server = server()
    with closing(peer_backend(server=its.url)) as generator:
        yield next(generator)


@pytest.mark.parametrize(("clause", "words"), BROKEN.items())
def test_what_is_wrong_with_langchain_postgres_is_found(peer: Any, clause: str, words: str) -> None:
    """Each for its own reason."""
    [result] = check(peer, clauses=[clause], configuration=QUICK).clauses
    assert result.outcome == "failed"
    found = result.counterexample
    assert found is not None
    assert words in f"{found.expected} {found.observed} {found.explanation}"


@pytest.mark.parametrize("clause", ["ORD-2", "SNP-2", "CLR-3", "ISO-3", "ATM-2"])
def test_what_langchain_postgres_keeps_is_not_blamed(peer: Any, clause: str) -> None:
    """A clause that it keeps passes."""
    [result] = check(peer, clauses=[clause], configuration=QUICK).clauses
    assert result.outcome == "passed"
