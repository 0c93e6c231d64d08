"""The Redis history over connections that break: nothing is lost in silence, and nothing is applied twice."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from tests.interruptions import elsewhere, interrupted
from tests.redis_proxy import Moment, Proxy, proxy_to

from chathistory.adapters.redis import RedisChatMessageHistory
from chathistory.adapters.redis._loop_pools import LoopPool
from chathistory.adapters.redis._pools import ThreadPool
from chathistory.adapters.redis._shared import SharedStores
from chathistory.adapters.servers import Server, redis_server
from chathistory.reference import StoreError

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.redis

Add = Callable[[RedisChatMessageHistory, list[BaseMessage]], None]


def add(history: RedisChatMessageHistory, batch: list[BaseMessage]) -> None:
    """By a sync call."""
    history.add_messages(batch)


def aadd(history: RedisChatMessageHistory, batch: list[BaseMessage]) -> None:
    """By an async call."""
    asyncio.run(history.aadd_messages(batch))


BOTH = pytest.mark.parametrize("add", [add, aadd])


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
def proxy(server: Server, client: Any) -> Iterator[Proxy]:
    """A proxy before the server."""
    with proxy_to(server.url) as it:
        yield it


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(messages: list[BaseMessage]) -> list[Any]:
    """The contents of messages."""
    return [message.content for message in messages]


def clients(url: str) -> dict[str, Callable[[], RedisChatMessageHistory]]:
    """Handles of every kind, with redis-py's own retries at their most stubborn."""
    stubborn: dict[str, Any] = {"retry": redis.retry.Retry(redis.backoff.NoBackoff(), 10)}
    return {
        "url": lambda: RedisChatMessageHistory("s", url),
        "url with a ttl": lambda: RedisChatMessageHistory("s", url, ttl=600),
        "sync client": lambda: RedisChatMessageHistory("s", client=redis.Redis.from_url(url, **stubborn)),
        "async client": lambda: RedisChatMessageHistory("s", client=redis.asyncio.Redis.from_url(url)),
    }


@BOTH
@pytest.mark.parametrize("kind", ["url", "url with a ttl", "sync client", "async client"])
@pytest.mark.parametrize("moment", ["before the request", "before the answer"])
def test_an_add_whose_answer_is_lost_raises_and_is_applied_at_most_once(
    proxy: Proxy, client: Any, add: Add, kind: str, moment: Moment
) -> None:
    """Also where the client of the caller would try again by itself."""
    history = clients(proxy.url)[kind]()
    add(history, humans("first"))
    proxy.cut(b"LPUSH", moment)
    with pytest.raises(StoreError, match=r"session 's': could not add to .* may or may not have been carried out"):
        add(history, humans("a", "b"))
    kept = [] if moment == "before the request" else ["a", "b"]
    add(history, humans("last"))
    assert texts(history.messages) == ["first", *kept, "last"]
    assert client.llen(history.key) == 2 + len(kept)
    history.close()


async def known_to_be_cut(connection: Any) -> None:
    """Wait until the event loop has learned what the other end did to a connection."""
    deadline = time.monotonic() + 30
    while not (connection._reader.at_eof() or connection._reader.exception()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


@BOTH
def test_a_connection_that_died_between_calls_is_replaced(proxy: Proxy, add: Add) -> None:
    """Nothing was sent on it, so nobody notices."""
    history = RedisChatMessageHistory("s", proxy.url)
    for number in range(3):
        add(history, humans(str(number)))
        proxy.cut_all()
    assert texts(history.messages) == ["0", "1", "2"]
    history.close()


def test_an_asyncio_connection_that_died_between_calls_is_replaced(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one event loop, too."""
    used: list[Any] = []
    give_back = LoopPool.give_back
    monkeypatch.setattr(
        LoopPool, "give_back", lambda pool, connection: (used.append(connection), give_back(pool, connection))
    )

    async def main() -> None:
        history = RedisChatMessageHistory("s", proxy.url)
        for number in range(3):
            await history.aadd_messages(humans(str(number)))
            proxy.cut_all()
            await known_to_be_cut(used[-1])
        assert texts(await history.aget_messages()) == ["0", "1", "2"]
        await history.aclose()

    asyncio.run(main())


def test_a_read_whose_answer_is_lost_is_made_again_once(proxy: Proxy) -> None:
    """It changes nothing; and a server that always hangs up is an error."""
    history = RedisChatMessageHistory("s", proxy.url)
    history.add_messages(humans("a"))
    proxy.cut(b"LRANGE", "before the answer")
    assert texts(history.messages) == ["a"]
    proxy.cut(b"LRANGE", "before the answer", times=2)
    with pytest.raises(StoreError, match=r"session 's': could not read .* the answer was lost$"):
        _ = history.messages
    proxy.cut(b"LRANGE", "before the answer")
    assert texts(asyncio.run(history.aget_messages())) == ["a"]
    history.close()


def test_a_clear_whose_answer_is_lost_is_not_made_again(proxy: Proxy, client: Any) -> None:
    """It could remove what somebody else has added since."""
    history = RedisChatMessageHistory("s", proxy.url)
    history.add_messages(humans("a"))
    proxy.cut(b"LTRIM", "before the answer")
    with pytest.raises(StoreError, match="may or may not have been carried out"):
        history.clear()
    assert client.keys() == []
    history.close()


@BOTH
def test_after_a_crash_of_the_server_everything_acknowledged_is_there(add: Add) -> None:
    """And the next call works."""
    with redis_server("embedded") as server:
        assert server.crash is not None
        history = RedisChatMessageHistory("s", server.url)
        for number in range(3):
            add(history, humans(str(number), str(number)))
            server.crash()
        add(history, humans("last"))
        assert texts(history.messages) == ["0", "0", "1", "1", "2", "2", "last"]
        history.close()


def test_a_crash_of_the_server_during_calls_tears_and_doubles_nothing() -> None:
    """Whatever was acknowledged is there once, and of the rest all or nothing."""
    with redis_server("embedded") as server:
        assert server.crash is not None
        history = RedisChatMessageHistory("s", server.url)
        acknowledged: list[str] = []
        over = threading.Event()

        def write() -> None:
            number = 0
            while not over.is_set():
                number += 1
                with suppress(StoreError):
                    history.add_messages(humans(f"{number}", f"{number}"))
                    acknowledged.append(f"{number}")

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(2):
            before = len(acknowledged)
            while len(acknowledged) < before + 20:
                over.wait(0.001)
            server.crash()
        over.set()
        writer.join()
        found = texts(history.messages)
        assert found[::2] == found[1::2]
        assert len(set(found)) == len(found) / 2
        assert set(acknowledged) <= set(found)
        history.close()


def test_a_server_that_never_answers_is_an_error(proxy: Proxy) -> None:
    """After the time-out of the URL."""
    history = RedisChatMessageHistory("s", f"{proxy.url}?socket_timeout=0.1")
    history.add_messages(humans("a"))
    proxy.silent.set()
    with pytest.raises(StoreError, match=r"session 's'.*may or may not"):
        history.add_messages(humans("b"))
    proxy.silent.clear()
    assert texts(history.messages) == ["a", "b"]
    history.close()


def test_a_server_that_never_answers_is_an_error_of_an_async_call(proxy: Proxy) -> None:
    """After the time-out of the URL."""

    async def main() -> None:
        history = RedisChatMessageHistory("s", f"{proxy.url}?socket_timeout=0.1")
        await history.aadd_messages(humans("a"))
        proxy.silent.set()
        with pytest.raises(StoreError, match=r"session 's'.*may or may not"):
            await history.aadd_messages(humans("b"))
        proxy.silent.clear()
        assert texts(await history.aget_messages()) == ["a", "b"]
        await history.aclose()

    asyncio.run(main())


def test_an_operation_is_one_round_trip(proxy: Proxy) -> None:
    """Whatever it carries; a new connection says nothing but its password."""
    history = RedisChatMessageHistory("s", proxy.url, ttl=600)
    history.add_messages(humans("a"))
    assert (proxy.connections, proxy.requests) == (1, 2)
    history.add_messages(humans("b", "c", "d"))
    history.messages = humans("b", "c")
    _ = history.messages
    history.clear()
    assert (proxy.connections, proxy.requests) == (1, 6)
    history.close()


# -- the life of connections -------------------------------------------------------------------------------------


def named(client: Any, name: str) -> int:
    """How many connections the server has under a name."""
    return sum(each["name"] == name for each in client.client_list())


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; ten seconds are for ever."""
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came true")


def test_handles_on_one_url_share_their_connections(server: Server, client: Any) -> None:
    """And the last one to close closes them."""
    url = f"{server.url}?client_name=shared"
    handles = [RedisChatMessageHistory(str(number), url) for number in range(50)]
    for history in handles:
        history.add_messages(humans("a"))
    assert named(client, "shared") == 1
    for history in handles[1:]:
        history.close()
        history.close()
    assert texts(handles[0].messages) == ["a"]
    handles[0].close()
    until(lambda: named(client, "shared") == 0)
    with pytest.raises(StoreError, match=r"session '0'.*this handle is closed"):
        _ = handles[0].messages
    with RedisChatMessageHistory("0", url) as again:
        assert texts(again.messages) == ["a"]
    until(lambda: named(client, "shared") == 0)


def test_threads_have_a_connection_each_up_to_a_limit(server: Server, client: Any) -> None:
    """The others wait for one."""
    url = f"{server.url}?client_name=few&max_connections=3"
    history = RedisChatMessageHistory("s", url)

    def write(name: int) -> None:
        for number in range(10):
            history.add_messages(humans(f"{name}-{number}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history.messages) == 120
    assert named(client, "few") <= 3
    history.close()


@pytest.mark.parametrize("host", ["cache..example.com", "c" * 64 + ".example.com"])
@BOTH
def test_a_name_that_no_host_can_have_is_an_error_of_the_session(add: Add, host: str) -> None:
    """As one that no host has."""
    with pytest.raises(StoreError, match=rf"session 's': could not add to .*{host}"):
        add(RedisChatMessageHistory("s", f"redis://{host}/0"), [HumanMessage("a")])


def test_a_signal_that_raises_during_a_call_stops_no_other_call(
    server: Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C, or a task queue's time limit, at whatever moment it comes: of two connections none is lost."""
    monkeypatch.setattr("chathistory.adapters.redis._pools.WAIT_SECONDS", 1.0)
    url = f"{server.url}?max_connections=2"
    history, other = RedisChatMessageHistory("s", url), RedisChatMessageHistory("other", url)
    for _ in interrupted(lambda: history.add_messages([HumanMessage("a")])):
        elsewhere(lambda: other.add_messages([HumanMessage("x")]))
    assert {message.content for message in history.messages} == {"a"}
    history.close()


def test_waiting_for_a_connection_of_the_pool_ends_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error that says what is the matter."""
    monkeypatch.setattr("chathistory.adapters.redis._pools.WAIT_SECONDS", 0.01)
    pool = ThreadPool(lambda: pytest.fail("there is no turn"), 0)
    with pytest.raises(redis.RedisError, match="all 0 connections have been in use"):
        pool.exchange([])


def test_stores_without_handles_are_given_up_in_the_end() -> None:
    """A program with a URL per user doesn't gather connections for ever."""
    stores = SharedStores()
    kept = [stores.lease("redis://h/0")]
    for number in range(100):
        stores.lease(f"redis://h{number}/0")
    assert len(stores._stores) <= 20
    assert stores._stores["redis://h/0"] is kept[0][0]


def test_the_interpreter_ends_in_silence(server: Server) -> None:
    """With handles and loops left open, and every warning an error."""
    code = (
        "import asyncio, sys\n"
        "from langchain_core.messages import HumanMessage\n"
        "from chathistory.adapters.redis import RedisChatMessageHistory\n"
        "history = RedisChatMessageHistory('end', sys.argv[1])\n"
        "history.add_messages([HumanMessage('a')])\n"
        "asyncio.run(history.aadd_messages([HumanMessage('b')]))\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 -- our own command
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _write_in_child(history: RedisChatMessageHistory, name: str) -> None:
    for number in range(20):
        history.add_messages(humans(f"{name}-{number}", f"{name}-{number}"))
        asyncio.run(history.aadd_messages(humans(f"{name}-a{number}", f"{name}-a{number}")))


@pytest.mark.skipif(not hasattr(multiprocessing, "get_all_start_methods"), reason="no processes")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_may_use_the_handle_of_its_parent(server: Server, client: Any) -> None:
    """It opens connections of its own, and leaves the parent's alone."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this platform has no fork")
    history = RedisChatMessageHistory("s", server.url)
    history.add_messages(humans("0", "0"))
    asyncio.run(history.aget_messages())
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_write_in_child, args=(history, f"c{number}")) for number in range(2)]
    for child in children:
        child.start()
    _write_in_child(history, "p")
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    found = texts(history.messages)
    assert found[::2] == found[1::2]
    assert len(found) == 2 + 3 * 80
