"""A history on the caller's own connections and pools: used, shared, and left as they were."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from tests.postgres_database import (
    database,
    humans,
    left_in_transactions,
    new_table,
    opened,
    raw,
    running,
    texts,
    until,
    waited_for_locks,
)

from chathistory.adapters.postgres import NoSyncConnectionError, PostgresChatMessageHistory
from chathistory.reference import StoreError


@pytest.fixture
def table() -> str:
    """A table that create_tables made."""
    return new_table()


@pytest.fixture(params=[False, True], ids=["without autocommit", "with autocommit"])
def connection(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """The caller's, in both modes."""
    with psycopg.connect(database(), autocommit=request.param) as connection:
        yield connection
        connection.rollback()


def on(connection: Any, table: str, session_id: str = "s") -> PostgresChatMessageHistory:
    """A handle on a connection or pool of the caller."""
    return PostgresChatMessageHistory(table, session_id, sync_connection=connection)


def status(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> str:
    """In which state of a transaction it is."""
    return TransactionStatus(connection.pgconn.transaction_status).name


@contextmanager
def lock_of(history: PostgresChatMessageHistory, connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Keep others from writing to the session, as a transaction does that has added to it."""
    connection.execute("SELECT pg_advisory_lock(%s)", [history._table.lock_key(history.session_id)])
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock_all()")


# Outside a transaction.


def test_what_is_done_is_committed_and_the_connection_left_idle(
    table: str, connection: psycopg.Connection[Any]
) -> None:
    """Whatever its autocommit says, each call is seen by everybody at once, and no transaction is left open."""
    history, outside = on(connection, table), opened(table)
    for change, expected in (
        (lambda: history.add_messages(humans("a", "b")), ["a", "b"]),
        (lambda: history.get_messages(), ["a", "b"]),
        (lambda: setattr(history, "messages", humans("c")), ["c"]),
        (lambda: asyncio.run(history.aadd_messages(humans("d"))), ["c", "d"]),
        (lambda: history.clear(), []),
    ):
        change()
        assert status(connection) == "IDLE"
        assert texts(outside) == expected
    PostgresChatMessageHistory.drop_table(connection, table)
    with pytest.raises(StoreError, match="does not exist"):
        history.get_messages()
    PostgresChatMessageHistory.create_tables(connection, table)
    assert status(connection) == "IDLE"
    assert texts(outside) == []
    assert left_in_transactions() == []


def test_an_error_leaves_the_connection_idle_and_usable(table: str, connection: psycopg.Connection[Any]) -> None:
    """The next call, of the history or the caller, works."""
    history, missing = on(connection, table), on(connection, "missing")
    for call in (missing.get_messages, missing.clear, lambda: missing.add_messages(humans("a"))):
        with pytest.raises(StoreError, match="does not exist"):
            call()
        assert status(connection) == "IDLE"
        history.add_messages(humans("a"))
    assert texts(history) == ["a"] * 3
    assert connection.execute("SELECT 1").fetchone() == (1,)


# Inside a transaction of the caller's.


def test_a_transaction_of_the_caller_stays_open_and_the_callers(table: str) -> None:
    """What the history did in it is undone with it, or committed with it, by nobody but the caller."""
    with psycopg.connect(database()) as connection:
        history, outside = on(connection, table), opened(table)
        history.add_messages(humans("before"))
        connection.execute(sql.SQL("CREATE TABLE {} (x int)").format(sql.Identifier(f"{table}_mine")))
        history.add_messages(humans("a", "b"))
        history.messages = [*history.messages, HumanMessage("c")]
        asyncio.run(history.aadd_messages(humans("d")))
        assert status(connection) == "INTRANS"
        assert texts(history) == ["before", "a", "b", "c", "d"]
        assert texts(outside) == ["before"]
        connection.rollback()
        assert texts(history) == texts(outside) == ["before"]
        connection.execute("SELECT 1")
        history.add_messages(humans("e"))
        history.clear()
        history.add_messages(humans("f"))
        assert texts(outside) == ["before"]
        connection.commit()
        assert texts(outside) == ["f"]


def test_transaction_blocks_of_psycopg_are_respected(table: str, connection: psycopg.Connection[Any]) -> None:
    """Nested ones, and those that are rolled back, included."""
    history, outside = on(connection, table), opened(table)
    with connection.transaction():
        history.add_messages(humans("a"))
        with connection.transaction(force_rollback=True):
            history.add_messages(humans("b"))
        history.add_messages(humans("c"))
        assert texts(outside) == []
    assert texts(outside) == texts(history) == ["a", "c"]


def test_a_failure_inside_a_transaction_undoes_only_its_own_call(table: str) -> None:
    """Neither the caller's rows nor what the history did before are lost by it, and the transaction goes on."""
    with psycopg.connect(database()) as connection:
        history, mine = on(connection, table), sql.Identifier(f"{table}_mine")
        check = "ALTER TABLE {} ADD CONSTRAINT no_bombs CHECK (message::text NOT LIKE '%bomb%')"
        connection.execute(sql.SQL(check).format(sql.Identifier(table)))
        connection.execute(sql.SQL("CREATE TABLE {} (x int)").format(mine))
        connection.execute(sql.SQL("INSERT INTO {} VALUES (1)").format(mine))
        history.add_messages(humans("a"))
        with pytest.raises(StoreError, match="no_bombs"):
            history.messages = humans("x", "bomb")
        with pytest.raises(StoreError, match="no_bombs"):
            history.add_messages(humans("x", "bomb"))
        with pytest.raises(StoreError, match="does not exist"):
            on(connection, "missing").get_messages()
        assert status(connection) == "INTRANS"
        connection.commit()
        assert texts(opened(table)) == ["a"]
        assert connection.execute(sql.SQL("SELECT * FROM {}").format(mine)).fetchall() == [(1,)]


def test_tables_are_made_and_removed_within_the_callers_transaction(table: str) -> None:
    """They come and go with it."""
    name = f"{table}_new"
    with psycopg.connect(database()) as connection:
        connection.execute("SELECT 1")
        PostgresChatMessageHistory.create_tables(connection, name)
        PostgresChatMessageHistory.drop_table(connection, table)
        on(connection, name).add_messages(humans("a"))
        connection.rollback()
        assert texts(opened(table)) == []
        with pytest.raises(StoreError, match="does not exist"):
            opened(name).get_messages()
        with pytest.raises(StoreError, match="does not exist"):
            on(connection, name).get_messages()


def test_another_writer_waits_for_the_end_of_a_transaction_that_has_added(table: str) -> None:
    """So the order is that of the commits; other sessions and all readers go on meanwhile."""
    with psycopg.connect(database()) as connection:
        connection.execute("SELECT 1")
        on(connection, table).add_messages(humans("first"))
        opened(table, "other").add_messages(humans("free"))
        with running(lambda: opened(table).add_messages(humans("second"))):
            until(waited_for_locks)
            assert opened(table).messages == []
            on(connection, table).add_messages(humans("first too"))
            connection.commit()
    assert texts(opened(table)) == ["first", "first too", "second"]


def test_a_failed_transaction_of_the_caller_is_left_to_the_caller(table: str) -> None:
    """The error says so; nothing is rolled back but by the caller."""
    with psycopg.connect(database()) as connection:
        history = on(connection, table)
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        for call in (history.get_messages, history.clear, lambda: history.add_messages(humans("a"))):
            with pytest.raises(StoreError, match=r"session 's': .*failed transaction of yours: roll it back"):
                call()
        assert status(connection) == "INERROR"
        connection.rollback()
        history.add_messages(humans("a"))
        assert texts(history) == ["a"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_transactions_of_any_isolation_level_may_hold_a_history(table: str, level: str) -> None:
    """Reads see what the transaction sees, and its own messages."""
    with psycopg.connect(database()) as connection:
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        history = on(connection, table)
        assert history.messages == []
        opened(table).add_messages(humans("outside"))
        assert history.messages == []
        history.add_messages(humans("inside"))
        assert texts(history) == ["inside"]
        connection.commit()
        assert texts(history) == ["outside", "inside"]


# Connections of every kind.


KINDS: dict[str, dict[str, Any]] = {
    "dictionary rows": {"row_factory": dict_row},
    "client-side cursors": {"cursor_factory": psycopg.ClientCursor},
    "raw cursors": {"cursor_factory": psycopg.RawCursor},
    "no prepared statements": {"prepare_threshold": None},
    "always prepared statements": {"prepare_threshold": 0},
    "SQL_ASCII": {"client_encoding": "SQL_ASCII"},
    "LATIN1": {"client_encoding": "LATIN1"},
    "SJIS": {"client_encoding": "SJIS"},
    "old strings": {"options": "-c standard_conforming_strings=off"},
    "serializable": {"options": "-c default_transaction_isolation=serializable"},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_connections_of_every_kind_serve(table: str, options: dict[str, Any]) -> None:
    """Rows, texts and statements of the history don't depend on the caller's settings, nor change them."""
    batch = humans("\U0001f600 é", "a\0b", "\\ ' \" {} %s")
    name = f"{table}\u0416'\\"
    with raw(**options) as connection:
        PostgresChatMessageHistory.create_tables(connection, name)
        history = on(connection, name, "s\U0001f600'\\")
        history.add_messages(batch)
        assert texts(history) == [message.content for message in batch]
        history.messages = [*history.messages, *batch]
        assert texts(opened(name, "s\U0001f600'\\")) == [message.content for message in batch] * 2
        history.clear()
        assert history.messages == []
        if "row_factory" in options:
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_the_search_path_of_the_connection_decides_which_table_is_meant(table: str) -> None:
    """Also when it changes, and the table of that name is of another kind."""
    with raw() as connection:
        schema = sql.Identifier(f"schema_{table}")
        history = on(connection, table, "0e984725-c51c-4bf4-9960-e1c80e27aba0")
        history.add_messages(humans("public"))
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        columns = "(id serial, session_id uuid, message jsonb)"
        connection.execute(sql.SQL(f"CREATE TABLE {{}}.{{}} {columns}").format(schema, sql.Identifier(table)))
        connection.execute(sql.SQL("SET search_path = {}").format(schema))
        assert history.messages == []
        history.add_messages(humans("elsewhere"))
        history.messages = history.messages * 2
        assert texts(history) == ["elsewhere"] * 2
        connection.execute("RESET search_path")
        assert texts(history) == ["public"]
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


def test_read_only_transactions_and_servers_can_be_read(table: str) -> None:
    """What would write is refused, and says what to do."""
    opened(table).add_messages(humans("a"))
    with raw(options="-c default_transaction_read_only=on") as connection:
        history = on(connection, table)
        assert texts(history) == ["a"]
        with pytest.raises(StoreError, match="connect to the primary"):
            history.add_messages(humans("b"))
        with pytest.raises(StoreError, match="connect to the primary"):
            history.clear()
    assert texts(opened(table)) == ["a"]


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_connection_set_to_be_read_only_is_not_written_to(table: str, autocommit: bool) -> None:
    """By psycopg's `read_only`, of which the server doesn't hear; what reads goes on, and it stays as it was."""
    opened(table).add_messages(humans("a"))
    with psycopg.connect(database(), autocommit=autocommit) as connection:
        connection.read_only = True
        history = on(connection, table)
        calls: list[Callable[[], object]] = [
            history.clear,
            lambda: history.add_messages(humans("b")),
            lambda: setattr(history, "messages", humans("b")),
            lambda: asyncio.run(history.aadd_messages(humans("b"))),
            lambda: PostgresChatMessageHistory.create_tables(connection, f"{table}_new"),
            lambda: PostgresChatMessageHistory.drop_table(connection, table),
        ]
        for call in calls:
            with pytest.raises(StoreError, match=r"read_only \(connect to the primary"):
                call()
        assert texts(history) == ["a"]
        assert status(connection) == "IDLE"
        with connection.transaction(), pytest.raises(StoreError, match=r"read-only transaction \(connect to"):
            history.add_messages(humans("b"))
        connection.read_only = None
        history.add_messages(humans("b"))
    assert texts(opened(table)) == ["a", "b"]


def test_pools_of_connections_set_to_be_read_only_are_not_written_to(table: str) -> None:
    """Nor are async connections; what reads goes on."""
    opened(table).add_messages(humans("a"))

    def guard(connection: psycopg.Connection[Any]) -> None:
        connection.read_only = True

    async def aguard(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.set_read_only(True)

    async def refused(history: PostgresChatMessageHistory) -> None:
        with pytest.raises(StoreError, match=r"read_only \(connect to the primary"):
            await history.aadd_messages(humans("b"))
        assert [message.content for message in await history.aget_messages()] == ["a"]

    async def main() -> None:
        async with AsyncConnectionPool(database(), min_size=1, configure=aguard, open=False) as pool:
            await refused(PostgresChatMessageHistory(table, "s", async_connection=pool))
        async with await psycopg.AsyncConnection.connect(database()) as connection:
            await aguard(connection)
            await refused(PostgresChatMessageHistory(table, "s", async_connection=connection))

    with ConnectionPool(database(), min_size=1, configure=guard, open=True) as pool:
        with pytest.raises(StoreError, match=r"read_only \(connect to the primary"):
            on(pool, table).add_messages(humans("b"))
        asyncio.run(refused(on(pool, table)))
    asyncio.run(main())
    assert texts(opened(table)) == ["a"]


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
def test_timeouts_of_the_connection_end_the_wait_for_another_writer(table: str, setting: str) -> None:
    """Nothing is stored then, and the connection stays usable."""
    with raw() as other, raw(options=f"-c {setting}=50") as connection:
        history = on(connection, table)
        with lock_of(history, other):
            with pytest.raises(StoreError, match=f"session 's': could not add to .*{setting}"):
                history.add_messages(humans("a"))
            with pytest.raises(StoreError, match=setting):
                history.clear()
        history.add_messages(humans("b"))
        assert texts(history) == ["b"]


def test_pipeline_mode_is_refused_and_left_alone(table: str) -> None:
    """In a pipeline an answer doesn't mean that anything is committed."""
    with raw() as connection:
        history = on(connection, table)
        with connection.pipeline():
            with pytest.raises(StoreError, match="pipeline mode"):
                history.add_messages(humans("a"))
            assert connection.execute("SELECT 1").fetchone() == (1,)
        history.add_messages(humans("b"))
        assert texts(history) == ["b"]


def test_a_call_within_a_copy_on_the_same_connection_is_an_error_and_no_deadlock(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The COPY of the caller goes on."""
    monkeypatch.setattr("chathistory.adapters.postgres._exchange.SECONDS_TO_WAIT", 0.05)
    with raw() as connection, connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT generate_series(1, 3)) TO STDOUT") as copy:
            with pytest.raises(StoreError, match=r"(in use for|busy with) .*COPY"):
                on(connection, table).get_messages()
            assert [row for (row,) in copy.rows()] == ["1", "2", "3"]
        assert on(connection, table).messages == []


def test_a_closed_connection_is_a_clear_error(table: str) -> None:
    """Of the session, not a bare error of the driver, whoever closed it."""
    with raw() as connection:
        history = on(connection, table)
        with raw() as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.info.backend_pid])
        with pytest.raises(StoreError, match=r"session 's': could not read .*closed"):
            history.get_messages()
        connection.close()
        with pytest.raises(StoreError, match=r"session 's': could not clear .*closed"):
            history.clear()


def test_threads_and_handles_share_a_connection(table: str, connection: psycopg.Connection[Any]) -> None:
    """Batches are whole, each is committed by itself, and assignments, of several statements, are whole, too."""
    one, two = on(connection, table), on(connection, table)

    def write(history: PostgresChatMessageHistory) -> None:
        for _ in range(20):
            history.add_messages(humans("a", "b"))
            assert texts(history)[-2:] == ["a", "b"]
            on(connection, table, "other").messages = humans("c", "d")

    with running(*[lambda: write(one), lambda: write(two)] * 2):
        pass
    assert texts(opened(table)) == ["a", "b"] * 80
    assert texts(opened(table, "other")) == ["c", "d"]


# Pools, and async connections.


def test_a_pool_lends_a_connection_to_each_call(table: str) -> None:
    """To threads and to async calls alike, and gets all of them back."""
    with ConnectionPool(database(), min_size=1, max_size=3, open=True) as pool:
        history = on(pool, table)

        async def tasks() -> None:
            await asyncio.gather(*(history.aadd_messages(humans("a", "b")) for _ in range(12)))

        with running(*[lambda: [history.add_messages(humans("a", "b")) for _ in range(10)]] * 4):
            asyncio.run(tasks())
        assert texts(history) == ["a", "b"] * 52
        assert pool.get_stats().get("requests_errors", 0) == 0
        assert left_in_transactions() == []
        PostgresChatMessageHistory.drop_table(pool, table)
        PostgresChatMessageHistory.create_tables(pool, table)
        assert history.messages == []


def test_a_pool_that_is_used_up_is_a_clear_error(table: str) -> None:
    """After the pool's own timeout; nothing is stored."""
    with ConnectionPool(database(), min_size=1, max_size=1, timeout=0.05, open=True) as pool:
        history = on(pool, table)
        words = r"session 's': could not add to .*raise its max_size or timeout"
        with pool.connection(timeout=30), pytest.raises(StoreError, match=words):
            history.add_messages(humans("a"))
        until(lambda: pool.get_stats()["pool_available"])
        history.add_messages(humans("b"))
        assert texts(history) == ["b"]
    with pytest.raises(StoreError, match="closed"):
        history.get_messages()


def test_connections_of_a_pool_that_the_server_has_ended_cost_no_call(table: str) -> None:
    """Nothing was sent over them, so the call goes over another."""
    with ConnectionPool(database(), min_size=3, max_size=3, open=True) as pool:
        pool.wait()
        history = on(pool, table)
        with raw() as other:
            pids = [connection.info.backend_pid for connection in list(pool._pool)]
            for pid in pids:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        history.add_messages(humans("a"))
        assert texts(history) == ["a"]


def test_a_handle_with_only_an_async_connection_has_no_sync_calls(table: str) -> None:
    """The error is a ValueError, as langchain-postgres raises, and says what to do."""

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(database()) as connection:
            history = PostgresChatMessageHistory(table, "s", async_connection=connection)
            for call in (history.get_messages, history.clear, lambda: history.add_messages(humans("a"))):
                with pytest.raises(ValueError, match="session 's': there is no sync connection"):
                    call()
                with pytest.raises(NotImplementedError):
                    call()
            with pytest.raises(NoSyncConnectionError):
                history.messages = humans("a")
            await history.aadd_messages(humans("a"))
            assert [message.content for message in await history.aget_messages()] == ["a"]
            assert status(connection) == "IDLE"

    asyncio.run(main())


@pytest.mark.parametrize("autocommit", [False, True])
def test_async_connections_keep_the_rules_of_sync_ones(table: str, autocommit: bool) -> None:
    """Committed outside a transaction, part of the caller's inside one, and never left open."""

    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(database(), autocommit=autocommit)
        async with connection:
            history = PostgresChatMessageHistory(table, "s", async_connection=connection)
            await asyncio.gather(*(history.aadd_messages(humans("a", "b")) for _ in range(10)))
            assert texts(opened(table)) == ["a", "b"] * 10
            async with connection.transaction(force_rollback=True):
                await history.aclear()
                with pytest.raises(StoreError, match="does not exist"):
                    await PostgresChatMessageHistory("missing", "s", async_connection=connection).aclear()
                assert await history.aget_messages() == []
            assert status(connection) == "IDLE"
            assert texts(opened(table)) == ["a", "b"] * 10
            await PostgresChatMessageHistory.adrop_table(connection, table)
            await PostgresChatMessageHistory.acreate_tables(connection, table)
            assert await history.aget_messages() == []
            assert status(connection) == "IDLE"

    asyncio.run(main())


def test_sync_and_async_connections_serve_one_handle(table: str) -> None:
    """Each kind of call goes over its own, and they see each other at once."""

    async def main() -> None:
        async with AsyncConnectionPool(database(), min_size=1, max_size=2, open=False) as pool:
            with raw() as connection:
                history = PostgresChatMessageHistory(table, "s", sync_connection=connection, async_connection=pool)
                await asyncio.gather(*(history.aadd_messages(humans("a")) for _ in range(10)))
                history.add_messages(humans("b"))
                assert [message.content for message in await history.aget_messages()] == ["a"] * 10 + ["b"]
                assert texts(history) == ["a"] * 10 + ["b"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["connection", "pool"])
def test_an_async_connection_is_refused_in_another_event_loop(table: str, kind: str) -> None:
    """With an error that names the mend, and not with a riddle or for ever (ASY-6)."""

    async def use(history: PostgresChatMessageHistory) -> None:
        await history.aadd_messages(humans("a"))

    async def make() -> tuple[PostgresChatMessageHistory, Callable[[], Any]]:
        if kind == "pool":
            pool = AsyncConnectionPool(database(), min_size=1, open=False)
            await pool.open()
            return PostgresChatMessageHistory(table, "s", async_connection=pool), pool.close
        connection = await psycopg.AsyncConnection.connect(database())
        return PostgresChatMessageHistory(table, "s", async_connection=connection), connection.close

    loop = asyncio.new_event_loop()
    history, close = loop.run_until_complete(make())
    loop.run_until_complete(use(history))
    with pytest.raises(StoreError, match="belongs to another event loop: open one in this loop, or pass conninfo"):
        asyncio.run(use(history))
    loop.run_until_complete(use(history))
    assert texts(opened(table)) == ["a", "a"]
    loop.run_until_complete(close())
    loop.close()


def test_a_call_cancelled_while_it_waits_for_a_shared_connection_sends_nothing(table: str) -> None:
    """It returns at once, though the thread that waits in its place goes on waiting."""

    async def main() -> None:
        with raw() as connection, raw() as other:
            history, free = on(connection, table), threading.Event()
            with lock_of(history, other):
                first = asyncio.ensure_future(history.aadd_messages(humans("first")))
                await asyncio.to_thread(until, waited_for_locks)
                second = asyncio.ensure_future(history.aadd_messages(humans("second")))
                await asyncio.sleep(0)
                second.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await second
                assert not first.done()
                free.set()
            await first
            assert [message.content for message in await history.aget_messages()] == ["first"]

    asyncio.run(main())


def test_a_cancelled_call_of_a_sync_connection_is_stopped_at_the_server(table: str) -> None:
    """It needn't wait for the lock that it waited for, and neither connection nor transaction suffers."""

    async def main() -> None:
        with psycopg.connect(database()) as connection, raw() as other:
            connection.execute("SELECT 1")
            history = on(connection, table)
            await history.aadd_messages(humans("mine"))
            with lock_of(on(connection, table, "other"), other):
                task = asyncio.ensure_future(on(connection, table, "other").aclear())
                await asyncio.to_thread(until, waited_for_locks)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert waited_for_locks() == 0
            assert status(connection) == "INTRANS"
            connection.commit()
            assert texts(opened(table)) == ["mine"]

    asyncio.run(main())
