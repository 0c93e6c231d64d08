"""The async methods of the PostgreSQL history: same effects, a free event loop, cancellation that settles."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import psycopg
import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from tests.postgres_database import (
    database,
    humans,
    left_in_transactions,
    new_table,
    opened,
    raw,
    server,
    until,
    waited_for_locks,
)

from chathistory.adapters.postgres import PostgresChatMessageHistory
from chathistory.adapters.postgres._owned import DATABASES, MOST_CONNECTIONS
from chathistory.reference import StoreError

BATCH = ["x", "y", "z"]


@pytest.fixture
def table() -> str:
    """A table that create_tables made."""
    return new_table()


def texts(messages: list[BaseMessage]) -> list[Any]:
    """The contents of a batch."""
    return [message.content for message in messages]


async def cancelled_after(ticks: int, call: Coroutine[Any, Any, None]) -> None:
    """Start a call, let the loop run round so many times, cancel it, and wait until it is over."""
    task = asyncio.ensure_future(call)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.contextmanager
def session_locked(table: str, session_id: str = "s") -> Iterator[psycopg.Connection[Any]]:
    """Somebody has added to the session and not committed yet; at the end it is undone."""
    with psycopg.connect(database()) as connection:
        connection.execute("SELECT 1")
        PostgresChatMessageHistory(table, session_id, sync_connection=connection).add_messages(humans("never"))
        yield connection
        connection.rollback()


async def waiting_for_locks(count: int) -> None:
    """Return when so many calls wait at the server."""
    await asyncio.to_thread(until, lambda: waited_for_locks() >= count)


def connections() -> int:
    """How many connections the histories of this process have to the database, as the server sees it."""
    with raw() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_async_and_sync_calls_see_each_other_at_once(table: str) -> None:
    """Through one handle and through several, in whatever order."""

    async def main() -> None:
        one, two = opened(table), opened(table)
        assert await one.aget_messages() == []
        await one.aadd_messages(message for message in humans("a", "b"))
        assert texts(two.messages) == ["a", "b"]
        two.add_message(HumanMessage("c"))
        await two.aadd_message(HumanMessage("d"))
        assert texts(await one.aget_messages()) == ["a", "b", "c", "d"]
        two.messages = humans("e")
        assert texts(await one.aget_messages()) == ["e"]
        await one.aclear()
        assert two.messages == []

    asyncio.run(main())


def test_tables_are_made_and_dropped_by_async_calls(table: str) -> None:
    """By conninfo as by a connection."""

    async def main() -> None:
        await PostgresChatMessageHistory.adrop_table(database(), table)
        with pytest.raises(StoreError, match="does not exist"):
            await opened(table).aget_messages()
        await asyncio.gather(*(PostgresChatMessageHistory.acreate_tables(database(), table) for _ in range(8)))
        assert await opened(table).aget_messages() == []

    asyncio.run(main())


def test_tasks_that_share_a_handle_lose_nothing(table: str) -> None:
    """Fifty tasks, batches whole, while other tasks read and clear other sessions."""

    async def main() -> None:
        shared = opened(table)
        await asyncio.gather(
            *(shared.aadd_messages(humans(f"{number}", f"{number}")) for number in range(50)),
            *(opened(table, f"s{number}").aclear() for number in range(50)),
            *(shared.aget_messages() for _ in range(50)),
        )
        found = texts(await shared.aget_messages())
        assert found[::2] == found[1::2]
        assert sorted(found[::2], key=int) == [str(number) for number in range(50)]

    asyncio.run(main())


def test_the_event_loop_turns_while_a_call_waits_at_the_server(table: str) -> None:
    """Whatever the call, and whatever it goes over."""

    async def turns_during(call: Coroutine[Any, Any, None], release: psycopg.Connection[Any]) -> None:
        task = asyncio.ensure_future(call)
        await waiting_for_locks(1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        release.rollback()
        await task

    async def main() -> None:
        with session_locked(table) as locking:
            await turns_during(opened(table).aadd_messages(humans("a")), locking)
        with session_locked(table) as locking:
            await turns_during(opened(table).aclear(), locking)
        with session_locked(table) as locking, raw() as connection:
            history = PostgresChatMessageHistory(table, "s", sync_connection=connection)
            await turns_during(history.aadd_messages(humans("b")), locking)
        assert texts(await opened(table).aget_messages()) == ["b"]

    asyncio.run(main())


# Cancellation.


@pytest.mark.parametrize("source", ["conninfo", "sync connection", "sync pool", "async connection", "async pool"])
def test_a_cancelled_call_is_whole_or_nothing_and_settled(table: str, source: str) -> None:
    """Whenever it is cancelled: nothing of it appears later, no lock is kept, and the handle goes on."""

    async def check(**options: Any) -> None:
        for ticks in range(31):
            history = PostgresChatMessageHistory(table, f"s{ticks}", **options)
            await cancelled_after(ticks, history.aadd_messages(humans(*BATCH)))
            seen = texts(opened(table, f"s{ticks}").messages)
            assert seen in ([], BATCH)
            opened(table, f"s{ticks}").add_messages(humans("of others"))
            await history.aadd_message(HumanMessage("later"))
            assert texts(await history.aget_messages()) == [*seen, "of others", "later"]
            await cancelled_after(ticks, history.aclear())
            assert len(await history.aget_messages()) in (0, len(seen) + 2)
        assert left_in_transactions() == []
        assert waited_for_locks() == 0

    async def main() -> None:
        if source == "conninfo":
            await check(conninfo=database())
        elif source == "sync connection":
            with psycopg.connect(database()) as connection:
                await check(sync_connection=connection)
        elif source == "sync pool":
            with ConnectionPool(database(), min_size=1, max_size=2, open=True) as pool:
                await check(sync_connection=pool)
        elif source == "async connection":
            async with await psycopg.AsyncConnection.connect(database()) as aconnection:
                await check(async_connection=aconnection)
        else:
            async with AsyncConnectionPool(database(), min_size=1, max_size=2, open=False) as apool:
                await check(async_connection=apool)

    asyncio.run(main())


@contextlib.asynccontextmanager
async def one_connection(kind: str, conninfo: str) -> AsyncIterator[dict[str, Any]]:
    """The arguments of a handle that has one connection to use; one of the caller's must be closed by the end."""
    if kind == "conninfo":
        yield {"conninfo": conninfo}
    elif kind == "sync connection":
        with psycopg.connect(conninfo) as connection:
            yield {"sync_connection": connection}
            assert connection.closed
    elif kind == "sync pool":
        with ConnectionPool(conninfo, min_size=1, max_size=1, open=True) as pool:
            yield {"sync_connection": pool}
    elif kind == "async connection":
        async with await psycopg.AsyncConnection.connect(conninfo) as aconnection:
            yield {"async_connection": aconnection}
            assert aconnection.closed
    else:
        async with AsyncConnectionPool(conninfo, min_size=1, max_size=1, open=False) as apool:
            yield {"async_connection": apool}


def backends_of(name: str) -> list[int]:
    """The processes of the server that serve connections of that name."""
    with raw() as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        return [pid for (pid,) in connection.execute(query, [name]).fetchall()]


@contextlib.contextmanager
def frozen(name: str, *, whole: bool) -> Iterator[None]:
    """The server does nothing for the connection of that name; frozen as a whole, it takes no requests either."""
    pids = backends_of(name)
    if whole:
        with raw() as connection:
            row = connection.execute("SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)::int").fetchone()
        assert row is not None
        pids.append(row[0])
    assert len(pids) == 1 + whole
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes can't be stopped here")
@pytest.mark.parametrize("whole", [False, True], ids=["one connection", "the whole server"])
@pytest.mark.parametrize("kind", ["conninfo", "sync connection", "sync pool", "async connection", "async pool"])
def test_a_cancelled_call_ends_though_the_server_is_frozen(
    table: str, monkeypatch: pytest.MonkeyPatch, kind: str, whole: bool
) -> None:
    """It is whole or nothing when the server goes on, and its connection is not used again, but others are."""
    if server().how != "embedded":
        pytest.skip("only the processes of an embedded server can be stopped")
    for module in ("_settling", "_exchange"):
        monkeypatch.setattr(f"chathistory.adapters.postgres.{module}.SECONDS_TO_SETTLE", 0.1)
    name = f"frozen {table}"

    async def cancelled_while_frozen(history: PostgresChatMessageHistory) -> None:
        with session_locked(table):
            task = asyncio.ensure_future(history.aadd_messages(humans(*BATCH)))
            await waiting_for_locks(1)
            with frozen(name, whole=whole):
                task.cancel()
                await asyncio.wait([task], timeout=10)
                assert task.done(), "it waited for the server"
                assert task.cancelled()

    async def main() -> None:
        async with one_connection(kind, psycopg.conninfo.make_conninfo(database(), application_name=name)) as options:
            history = PostgresChatMessageHistory(table, "s", **options)
            await history.aadd_messages(humans("before"))
            old = set(backends_of(name))
            await cancelled_while_frozen(history)
            await asyncio.to_thread(until, lambda: not old & set(backends_of(name)))
            if "connection" in kind:
                with pytest.raises(StoreError, match="the connection is closed"):
                    await history.aget_messages()
                history = opened(table)
            found = texts(await history.aget_messages())
            assert found in (["before"], ["before", *BATCH])
            await history.aadd_messages(humans("after"))
            assert texts(await history.aget_messages()) == [*found, "after"]
            history.close()

    asyncio.run(main())


def test_calls_cancelled_while_they_wait_for_a_lock_store_nothing(table: str) -> None:
    """They end at once, long before the lock is free, at the server too, however often they are cancelled."""

    async def main() -> None:
        history, other = opened(table), opened(table, "other")
        with session_locked(table):
            calls = [*(history.aadd_messages(humans(*BATCH)) for _ in range(4)), history.aclear()]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await waiting_for_locks(5)
            await other.aadd_messages(humans("a"))
            while not all(task.done() for task in tasks):
                for task in tasks:
                    task.cancel()
                await asyncio.sleep(0)
            assert all(task.cancelled() for task in tasks)
            assert waited_for_locks() == 0
        assert await history.aget_messages() == []
        await asyncio.gather(history.aadd_messages(humans("b")), other.aadd_messages(humans("b")))
        assert texts(await other.aget_messages()) == ["a", "b"]

    asyncio.run(main())


def test_one_of_many_waiting_adds_may_be_cancelled(table: str) -> None:
    """The others are carried out, each once, when the lock is free."""

    async def main() -> None:
        history = opened(table)
        with session_locked(table):
            tasks = [asyncio.ensure_future(history.aadd_messages(humans(str(number)))) for number in range(9)]
            await waiting_for_locks(9)
            for number in (0, 4, 8):
                tasks[number].cancel()
            await asyncio.gather(*(tasks[number] for number in (0, 4, 8)), return_exceptions=True)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(texts(await history.aget_messages())) == ["1", "2", "3", "5", "6", "7"]

    asyncio.run(main())


def test_calls_cancelled_while_they_wait_for_a_connection_give_way_to_others(table: str) -> None:
    """No connection is lost by it, and none of them has done anything."""

    async def main() -> None:
        with session_locked(table):
            blocked = [asyncio.ensure_future(opened(table).aclear()) for _ in range(MOST_CONNECTIONS)]
            await waiting_for_locks(MOST_CONNECTIONS)
            queued = [asyncio.ensure_future(opened(table, "other").aadd_messages(humans(str(n)))) for n in range(6)]
            await asyncio.sleep(0)
            for task in queued[::2]:
                task.cancel()
            await asyncio.gather(*queued[::2], return_exceptions=True)
            assert [task.cancelled() for task in queued] == [True, False] * 3
        await asyncio.gather(*blocked, *queued[1::2])
        assert sorted(texts(await opened(table, "other").aget_messages())) == ["1", "3", "5"]

    asyncio.run(main())


def test_a_call_within_a_time_limit_is_an_ordinary_cancellation(table: str) -> None:
    """`asyncio.wait_for` ends it in time, and nothing is stored."""

    async def main() -> None:
        with session_locked(table), pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(opened(table).aadd_messages(humans("a")), 0.05)
        assert await opened(table).aget_messages() == []

    asyncio.run(main())


# Event loops.


def test_a_handle_serves_one_event_loop_after_another(table: str) -> None:
    """And the connections of one serve the next."""
    history = opened(table)
    history.add_messages(humans("sync"))
    most = connections() + 3

    async def use(number: int) -> None:
        await asyncio.gather(*(history.aadd_messages(humans(str(number))) for _ in range(3)))

    for number in range(9):
        asyncio.run(use(number))
        assert connections() <= most
    assert texts(history.messages) == ["sync", *"000111222333444555666777888"]


def test_event_loops_in_threads_share_a_handle(table: str) -> None:
    """Several at the same time."""
    history = opened(table)

    async def use() -> None:
        await asyncio.gather(*(history.aadd_messages(humans("a", "b")) for _ in range(10)))

    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, use()) for _ in range(3)), use())

    asyncio.run(main())
    assert texts(history.messages) == ["a", "b"] * 40


def test_the_end_of_a_loop_settles_what_is_under_way(table: str) -> None:
    """`asyncio.run` cancels what is left over; it is whole or nothing, and nothing goes on at the server."""

    async def main() -> None:
        tasks = [asyncio.ensure_future(opened(table).aadd_messages(humans(*BATCH))) for _ in range(3)]
        await waiting_for_locks(3)
        assert not any(task.done() for task in tasks)

    with session_locked(table):
        asyncio.run(main())
        assert waited_for_locks() == 0
    assert opened(table).messages == []
    asyncio.run(opened(table).aadd_messages(humans("a")))
    assert texts(opened(table).messages) == ["a"]


# Handles and their connections.


def test_handles_share_a_few_connections_and_the_last_to_close_closes_them(table: str) -> None:
    """However many handles and tasks there are; a closed handle says so, the others go on."""
    conninfo = psycopg.conninfo.make_conninfo(database(), application_name="counted")

    def open_now() -> int:
        with raw() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'"
            row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    async def main() -> None:
        handles = [PostgresChatMessageHistory(table, str(number), conninfo=conninfo) for number in range(60)]
        await asyncio.gather(*(handle.aadd_messages(humans("a")) for handle in handles))
        handles[0].add_messages(humans("b"))
        assert open_now() <= MOST_CONNECTIONS + 1
        for handle in handles[1:]:
            handle.close()
        async with handles[0] as last:
            assert len(await last.aget_messages()) == 2
        assert await asyncio.to_thread(lambda: until(lambda: open_now() == 0)) is None
        with pytest.raises(StoreError, match="this handle is closed"):
            await handles[0].aget_messages()
        with pytest.raises(StoreError, match="this handle is closed"):
            handles[1].clear()
        with PostgresChatMessageHistory(table, "0", conninfo=conninfo) as again:
            assert len(again.messages) == 2

    asyncio.run(main())
    until(lambda: open_now() == 0)


def test_many_databases_don_t_use_up_the_connections_of_a_server(table: str) -> None:
    """Those that nobody has a handle on any more are let go of, the oldest first."""

    def open_now() -> int:
        with raw() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'many %'"
            row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    used = [psycopg.conninfo.make_conninfo(database(), application_name=f"many {number}") for number in range(40)]
    for conninfo in used:
        PostgresChatMessageHistory(table, "s", conninfo=conninfo).add_messages(humans("a"))
    gc.collect()
    until(lambda: open_now() <= 20)
    for conninfo in used:
        DATABASES.close(conninfo)
    until(lambda: open_now() == 0)


def test_connections_that_nobody_uses_are_closed_after_a_while(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next occasion."""

    async def main() -> None:
        before = connections()
        await asyncio.gather(*(opened(table, str(number)).aadd_messages(humans("a")) for number in range(8)))
        monkeypatch.setattr("chathistory.adapters.postgres._owned._SECONDS_KEPT", 0.0)
        time.sleep(0.001)  # noqa: ASYNC251 -- the clock must move on
        await opened(table).aget_messages()
        await asyncio.to_thread(until, lambda: connections() <= before + 1)

    asyncio.run(main())
