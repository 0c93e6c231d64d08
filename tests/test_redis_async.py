"""The async methods of the Redis history: same effects, a free event loop, cancellation that settles, closed loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from tests.redis_proxy import proxy_to

from chathistory.adapters.redis import RedisChatMessageHistory
from chathistory.adapters.redis._loop_pools import _Slots
from chathistory.adapters.redis._pools import WAIT_SECONDS
from chathistory.adapters.servers import Server, redis_server
from chathistory.reference import StoreError

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.redis

BATCH = ["x", "y", "z"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A Redis server of these tests."""
    with redis_server("embedded") as it:
        yield it


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A client of somebody else; the server is empty when a test begins."""
    with closing(redis.Redis.from_url(server.url)) as other:
        other.flushall()
        yield other


@pytest.fixture
def opened(server: Server, client: Any) -> Callable[..., RedisChatMessageHistory]:
    """Opens a handle on the server."""
    return lambda session_id="s", **options: RedisChatMessageHistory(session_id, server.url, **options)


Opened = Callable[..., RedisChatMessageHistory]


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(messages: list[BaseMessage]) -> list[Any]:
    """The contents of messages."""
    return [message.content for message in messages]


async def cancelled_after(ticks: int, call: Coroutine[Any, Any, None]) -> None:
    """Start a call, let the loop run round so many times, cancel it, and wait until it is over."""
    task = asyncio.ensure_future(call)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; ten seconds are for ever."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def test_async_and_sync_calls_see_each_other_at_once(opened: Opened) -> None:
    """Through one handle and through several, in whatever order."""

    async def main() -> None:
        one, two = opened(), opened(ttl=100)
        assert await one.aget_messages() == []
        await one.aadd_messages(message for message in humans("a", "b"))
        assert texts(two.messages) == ["a", "b"]
        two.add_message(HumanMessage("c"))
        await two.aadd_message(HumanMessage("d"))
        assert texts(await one.aget_messages()) == ["a", "b", "c", "d"]
        await one.aclear()
        assert two.messages == []

    asyncio.run(main())


def test_tasks_and_threads_may_share_a_handle(opened: Opened) -> None:
    """More of them than there are connections; no batch is lost or torn."""

    async def main() -> list[Any]:
        history = opened()

        async def task(name: int) -> None:
            await history.aadd_messages(humans(f"{name}-0", f"{name}-1"))

        def thread(name: int) -> None:
            history.add_messages(humans(f"{name}-0", f"{name}-1"))

        threads = [asyncio.to_thread(thread, name) for name in range(100, 140)]
        await asyncio.gather(*(task(name) for name in range(100)), *threads)
        return texts(await history.aget_messages())

    found = asyncio.run(main())
    assert sorted(found[::2]) == sorted(f"{name}-0" for name in range(140))
    assert found[1::2] == [first.replace("-0", "-1") for first in found[::2]]


def test_tasks_share_few_connections(opened: Opened, client: Any) -> None:
    """A burst of tasks doesn't open a connection for each."""

    async def main() -> int:
        await asyncio.gather(*(opened(str(number)).aadd_messages(humans("a")) for number in range(200)))
        return len(client.client_list())

    assert asyncio.run(main()) < 30


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30])
def test_a_cancelled_call_took_effect_wholly_or_not_at_all(opened: Opened, ticks: int) -> None:
    """Wherever it was cancelled; and what is seen then stays so."""

    async def main() -> None:
        history = opened()
        for warm in (False, True):
            await cancelled_after(ticks, history.aadd_messages(humans(*BATCH)))
            first = texts(await history.aget_messages())
            assert first in ([], BATCH)
            await history.aadd_messages(humans("after"))
            assert texts(await opened().aget_messages()) == [*first, "after"]
            await cancelled_after(ticks, history.aclear())
            assert texts(await history.aget_messages()) in ([], [*first, "after"])
            await history.aclear()
            assert warm in (False, True)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["url", "sync client", "asyncio client"])
def test_a_cancellation_is_passed_on_when_the_answer_is_there(
    server: Server, client: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The history is settled then: what was sent is stored, though its caller was cancelled at once."""
    monkeypatch.setattr("chathistory.adapters.redis._store._SETTLE_SECONDS", 60.0)

    async def main() -> None:
        with proxy_to(server.url) as proxy:
            given = {
                "url": lambda: {"url": proxy.url},
                "sync client": lambda: {"client": redis.Redis.from_url(proxy.url)},
                "asyncio client": lambda: {"client": redis.asyncio.Redis.from_url(proxy.url)},
            }
            history = RedisChatMessageHistory("s", **given[kind]())
            await history.aget_messages()
            with proxy.holding():
                task = asyncio.ensure_future(history.aadd_messages(humans(*BATCH)))
                await until(lambda: client.llen(history.key) == len(BATCH))
                for _ in range(3):
                    task.cancel()
                    await asyncio.sleep(0.01)
                assert not task.done()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert texts(await history.aget_messages()) == BATCH
            await history.aclose()

    asyncio.run(main())


def test_a_cancellation_is_passed_on_though_the_server_is_silent(
    server: Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time; the handle and its neighbours go on working."""
    monkeypatch.setattr("chathistory.adapters.redis._store._SETTLE_SECONDS", 0.05)

    async def main() -> None:
        with proxy_to(server.url) as proxy:
            history = RedisChatMessageHistory("s", proxy.url)
            await history.aget_messages()
            proxy.silent.set()
            task = asyncio.ensure_future(history.aadd_messages(humans("a")))
            await until(lambda: client.llen(history.key) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            proxy.silent.clear()
            await history.aadd_messages(humans("b"))
            assert texts(await history.aget_messages()) == ["a", "b"]
            await history.aclose()

    asyncio.run(main())


def test_a_call_that_waits_for_a_connection_can_be_cancelled_at_once(server: Server, client: Any) -> None:
    """It has sent nothing, and leaves its place to others."""

    async def main() -> None:
        with proxy_to(server.url) as proxy:
            history = RedisChatMessageHistory("s", f"{proxy.url}?max_connections=1")
            await history.aget_messages()
            with proxy.holding():
                first = asyncio.ensure_future(history.aadd_messages(humans("first")))
                await until(lambda: client.llen(history.key) == 1)
                second = asyncio.ensure_future(history.aadd_messages(humans("second")))
                third = asyncio.ensure_future(history.aadd_messages(humans("third")))
                await asyncio.sleep(0.01)
                second.cancel()
                await asyncio.wait([second], timeout=5)
                assert second.cancelled()
                assert not first.done()
            await asyncio.gather(first, third)
            assert texts(await history.aget_messages()) == ["first", "third"]
            await history.aclose()

    asyncio.run(main())


def test_waiting_for_a_connection_ends_after_a_time(
    server: Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error that says so; nothing was sent."""
    monkeypatch.setattr("chathistory.adapters.redis._loop_pools.WAIT_SECONDS", 0.05)

    async def main() -> None:
        with proxy_to(server.url) as proxy:
            history = RedisChatMessageHistory("s", f"{proxy.url}?max_connections=1")
            await history.aget_messages()
            with proxy.holding():
                first = asyncio.ensure_future(history.aadd_messages(humans("first")))
                await until(lambda: client.llen(history.key) == 1)
                with pytest.raises(StoreError, match=r"session 's'.*all 1 connections of this event loop"):
                    await history.aadd_messages(humans("second"))
            await first
            assert texts(await history.aget_messages()) == ["first"]
            await history.aclose()

    asyncio.run(main())


def test_a_turn_that_comes_with_a_cancellation_is_not_lost() -> None:
    """The next in line gets it."""

    async def main() -> None:
        slots = _Slots(1)
        await slots.acquire()
        second, third = asyncio.ensure_future(slots.acquire()), asyncio.ensure_future(slots.acquire())
        await asyncio.sleep(0)
        slots.release()
        second.cancel()
        await asyncio.wait_for(third, 5)
        assert second.cancelled()
        slots.release()
        await asyncio.wait_for(slots.acquire(), 5)

    asyncio.run(main())
    assert WAIT_SECONDS == 20


def test_the_event_loop_is_free_while_the_server_is_slow(server: Server, client: Any) -> None:
    """It is the loop itself that lets the answer come."""

    async def main() -> None:
        with proxy_to(server.url) as proxy:
            history = RedisChatMessageHistory("s", proxy.url)
            for call in (history.aget_messages, lambda: history.aadd_messages(humans("a")), history.aclear):
                with proxy.holding() as release:
                    asyncio.get_running_loop().call_later(0.05, release)
                    await call()
            await history.aclose()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_handle_works_in_one_event_loop_after_the_other(server: Server, client: Any) -> None:
    """Each loop's connections are closed with it, without a warning."""
    history = RedisChatMessageHistory("s", f"{server.url}?client_name=loops")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            asyncio.run(history.aadd_messages(humans(str(number))))
            gc.collect()
    assert texts(asyncio.run(history.aget_messages())) == ["0", "1", "2"]
    asyncio.run(until(lambda: not clients_named(client, "loops")))


def test_a_handle_works_in_two_event_loops_at_once(opened: Opened) -> None:
    """In two threads."""
    history = opened()

    async def main(name: str) -> None:
        for number in range(50):
            await history.aadd_messages(humans(f"{name}{number}", f"{name}{number}"))

    threads = [threading.Thread(target=lambda name=name: asyncio.run(main(name))) for name in "ab"]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = texts(history.messages)
    assert found[::2] == found[1::2]
    assert [text for text in found[::2] if text[0] == "a"] == [f"a{number}" for number in range(50)]
    assert len(found) == 200


def test_a_loop_closed_without_its_farewell_is_forgotten(opened: Opened) -> None:
    """Somebody who closes a loop by hand can still use the handle in the next."""
    history = opened()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's own, for the connection of that loop
        loop = asyncio.new_event_loop()
        loop.run_until_complete(history.aadd_messages(humans("a")))
        loop.close()
        asyncio.run(history.aadd_messages(humans("b")))
        assert texts(history.messages) == ["a", "b"]
        assert loop not in history._store._loops  # type: ignore[union-attr]
        del loop
        history.close()
        gc.collect()


def test_closing_the_last_handle_closes_the_connections(server: Server, client: Any) -> None:
    """Those of the running loop before `aclose` returns."""

    async def main() -> None:
        url = f"{server.url}?client_name=closing"
        one, two = RedisChatMessageHistory("s", url), RedisChatMessageHistory("t", url)
        await asyncio.gather(one.aadd_messages(humans("a")), two.aadd_messages(humans("a")))
        one.add_messages(humans("b"))
        await one.aclose()
        assert texts(await two.aget_messages()) == ["a"]
        assert clients_named(client, "closing")
        await two.aclose()
        await until(lambda: not clients_named(client, "closing"))
        with pytest.raises(StoreError, match=r"session 't'.*this handle is closed; open another one"):
            await two.aget_messages()
        async with RedisChatMessageHistory("s", url) as third:
            assert texts(await third.aget_messages()) == ["a", "b"]
        await until(lambda: not clients_named(client, "closing"))

    asyncio.run(main())


def test_a_handle_closed_in_another_thread_closes_the_connections_of_the_loop(server: Server, client: Any) -> None:
    """In the loop's own time."""

    async def main() -> None:
        history = RedisChatMessageHistory("s", f"{server.url}?client_name=elsewhere")
        await history.aadd_messages(humans("a"))
        assert clients_named(client, "elsewhere")
        await asyncio.to_thread(history.close)
        await until(lambda: not clients_named(client, "elsewhere"))

    asyncio.run(main())


def test_a_handle_closed_between_two_runs_of_its_loop_leaves_nothing(server: Server, client: Any) -> None:
    """The loop is not running then; its connections are closed when it is ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop = asyncio.new_event_loop()
        history = RedisChatMessageHistory("s", f"{server.url}?client_name=between")
        loop.run_until_complete(history.aadd_messages(humans("a")))
        history.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        gc.collect()
    asyncio.run(until(lambda: not clients_named(client, "between")))


def clients_named(client: Any, name: str) -> list[Any]:
    """The connections that the server has under a name."""
    return [each for each in client.client_list() if each["name"] == name]


def test_async_errors_are_those_of_the_sync_calls(opened: Opened, client: Any) -> None:
    """With session, key and cause."""
    client.set("message_store:s", "x")

    async def main() -> None:
        history = opened(ttl=timedelta(seconds=5))
        for call in (history.aget_messages, history.aclear, lambda: history.aadd_messages(humans("a"))):
            with pytest.raises(StoreError, match=r"session 's': could not .* the key 'message_store:s'.*no list"):
                await call()
        history.session_id = "t"
        await history.aadd_messages(humans("a"))

    asyncio.run(main())


def test_a_program_that_ends_in_the_middle_of_calls_leaves_no_connection(server: Server, client: Any) -> None:
    """Whatever the tasks were doing when the loop was ended; and no warning is given."""

    async def main(ticks: int) -> None:
        url = f"{server.url}?client_name=middle"
        tasks = [asyncio.ensure_future(RedisChatMessageHistory("s", url).aadd_messages(humans("a"))) for _ in range(5)]
        for _ in range(ticks):
            await asyncio.sleep(0)
        assert tasks

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ticks in range(30):
            asyncio.run(main(ticks))
            gc.collect()
    asyncio.run(until(lambda: not clients_named(client, "middle")))


def test_a_call_that_nobody_waits_for_is_carried_out(
    server: Server, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not collected as garbage while the server is at it."""

    async def main() -> None:
        with proxy_to(server.url) as proxy:
            # Without a time-out there is no timer that would keep the call in memory.
            history = RedisChatMessageHistory("s", client=redis.asyncio.Redis.from_url(proxy.url, socket_timeout=None))
            await history.aget_messages()
            with proxy.holding():
                asyncio.ensure_future(history.aadd_messages(humans("a")))  # noqa: RUF006 -- that is the point
                await until(lambda: client.llen(history.key) == 1)
                gc.collect()
            await history.aadd_messages(humans("b"))
            assert texts(await history.aget_messages()) == ["a", "b"]

    asyncio.run(main())
    gc.collect()
    assert not caplog.records
