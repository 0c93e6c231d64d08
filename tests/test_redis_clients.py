"""The Redis history on clients of the caller's: of every kind, with every setting, in sync and async calls."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import socket
import ssl
import subprocess
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from tests.redis_proxy import tls_before

from chathistory.adapters.redis import RedisChatMessageHistory
from chathistory.adapters.redis._clients import _STORES
from chathistory.adapters.servers import Server, redis_server
from chathistory.reference import StoreError

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A Redis server of these tests."""
    with redis_server("embedded") as it:
        yield it


@pytest.fixture
def control(server: Server) -> Iterator[Any]:
    """A client of somebody else; the server is empty when a test begins."""
    with closing(redis.Redis.from_url(server.url)) as other:
        other.flushall()
        yield other


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(messages: list[BaseMessage]) -> list[Any]:
    """The contents of messages."""
    return [message.content for message in messages]


def used_in_every_way(make: Callable[[], RedisChatMessageHistory]) -> None:
    """Sync and async calls, a handle for each, in two event loops."""
    make().clear()
    make().add_messages(humans("a", "\ud83d"))
    asyncio.run(make().aadd_messages(humans("b\x00")))
    history = make()

    async def main() -> None:
        await asyncio.gather(*(history.aget_messages() for _ in range(20)))
        await history.aadd_messages(humans("c"))
        history.add_messages(humans("d"))
        assert texts(await history.aget_messages()) == ["a", "\ud83d", "b\x00", "c", "d"]

    asyncio.run(main())
    assert texts(history.messages) == ["a", "\ud83d", "b\x00", "c", "d"]
    history.ttl = 100
    history.messages = humans("e")
    asyncio.run(history.aadd_messages(humans("f")))
    assert texts(make().messages) == ["e", "f"]
    asyncio.run(history.aclear())
    assert make().messages == []


SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"decode_responses": True},
    {"decode_responses": True, "encoding": "latin-1"},
    {"protocol": 3},
    {"protocol": 2},
    {"db": 3},
    {"single_connection_client": True},
    {"health_check_interval": 1},
    {"client_name": "mine"},
    {"max_connections": 2},
)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_sync_client_serves_both_kinds_of_calls(server: Server, control: Any, settings: dict[str, Any]) -> None:
    """Whatever it does to its own replies; it is left open."""
    with closing(redis.Redis.from_url(server.url.removesuffix("/0"), **settings)) as client:
        used_in_every_way(lambda: RedisChatMessageHistory("s", client=client))
        assert RedisChatMessageHistory("s", client=client).redis_client is client
        RedisChatMessageHistory("s", client=client).close()
        assert client.ping()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_an_asyncio_client_serves_both_kinds_of_calls(server: Server, control: Any, settings: dict[str, Any]) -> None:
    """In any event loop, though its own connections can't leave theirs."""
    client = redis.asyncio.Redis.from_url(server.url.removesuffix("/0"), **settings)
    used_in_every_way(lambda: RedisChatMessageHistory("s", client=client))
    used_in_every_way(lambda: RedisChatMessageHistory("s", async_client=client))


def test_a_pool_serves_as_its_client_does(server: Server, control: Any) -> None:
    """Sync or asyncio, blocking or not."""
    for kind in (redis.ConnectionPool, redis.BlockingConnectionPool):
        with closing(kind.from_url(server.url)) as pool:
            used_in_every_way(lambda: RedisChatMessageHistory("s", client=pool))
    for kind in (redis.asyncio.ConnectionPool, redis.asyncio.BlockingConnectionPool):
        async_pool = kind.from_url(server.url)
        used_in_every_way(lambda: RedisChatMessageHistory("s", client=async_pool))  # noqa: B023 -- called at once


def test_a_client_of_each_kind_serves_each_kind_of_call(server: Server, control: Any) -> None:
    """Beside each other: async calls then need no threads."""
    client, async_client = redis.Redis.from_url(server.url), redis.asyncio.Redis.from_url(server.url)
    with closing(client):
        used_in_every_way(lambda: RedisChatMessageHistory("s", client=client, async_client=async_client))


def test_the_connections_of_a_sync_client_are_used(server: Server, control: Any) -> None:
    """It stays the caller's: how many there are is the caller's choice."""
    with closing(redis.Redis.from_url(server.url, client_name="theirs", max_connections=1)) as client:
        for number in range(10):
            RedisChatMessageHistory(str(number), client=client).add_messages(humans("a"))
        assert sum(each["name"] == "theirs" for each in control.client_list()) == 1


def test_a_pool_of_the_caller_that_is_used_up_is_an_error(server: Server, control: Any) -> None:
    """With a hint, and nothing stored."""
    with closing(redis.Redis.from_url(server.url, max_connections=1)) as client:
        taken = client.connection_pool.get_connection()
        history = RedisChatMessageHistory("s", client=client)
        with pytest.raises(StoreError, match=r"session 's'.*all connections of the pool are in use"):
            history.add_messages(humans("a"))
        client.connection_pool.release(taken)
        history.add_messages(humans("b"))
        assert texts(history.messages) == ["b"]


def test_an_asyncio_client_made_and_used_in_another_loop_is_no_obstacle(server: Server, control: Any) -> None:
    """Its open connections, bound to a loop that is gone, are not touched."""

    async def make() -> Any:
        made = redis.asyncio.Redis.from_url(server.url)
        await made.ping()
        await made.aclose()
        return made

    client = asyncio.run(make())
    used_in_every_way(lambda: RedisChatMessageHistory("s", client=client))


def test_handles_on_an_asyncio_client_share_connections_and_leave_none(server: Server, control: Any) -> None:
    """A handle per call opens no connection per call; all are closed with the loop."""
    client = redis.asyncio.Redis.from_url(server.url, client_name="async")

    def count() -> int:
        return sum(each["name"] == "async" for each in control.client_list())

    async def main() -> None:
        for number in range(20):
            await RedisChatMessageHistory(str(number), client=client).aadd_messages(humans("a"))
        assert count() == 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()
    assert count() == 0


def test_nothing_is_kept_of_a_client_that_is_gone(server: Server, control: Any) -> None:
    """A program that makes a client per request doesn't grow."""
    before = len(_STORES)
    for kind in (redis.Redis, redis.asyncio.Redis):
        client = kind.from_url(server.url)
        pool = weakref.ref(client.connection_pool)
        history = RedisChatMessageHistory("s", client=client)
        history.add_messages(humans("a"))
        asyncio.run(history.aget_messages())
        del client, history
        gc.collect()
        assert pool() is None
    assert len(_STORES) <= before


def test_what_is_no_client_is_refused(server: Server) -> None:
    """Before anything is opened; with what is expected instead."""
    client, async_client = redis.Redis.from_url(server.url), redis.asyncio.Redis.from_url(server.url)
    with closing(client):
        for wrong in (client.pipeline(), async_client.pipeline(), server.url, 6379, redis.Redis):
            with pytest.raises(TypeError, match=r"client must be a redis\.Redis"):
                RedisChatMessageHistory("s", client=wrong)
        for one, two in ((client, client), (async_client, async_client), (client, "x")):
            with pytest.raises(TypeError, match="async_client must be an asyncio client"):
                RedisChatMessageHistory("s", client=one, async_client=two)
        with pytest.raises(TypeError, match="pass one of them"):
            RedisChatMessageHistory("s", server.url, client=client)


def test_an_asyncio_client_without_a_sync_form_says_so(server: Server) -> None:
    """Its async calls work; a sync one names the mend."""

    class OwnConnection(redis.asyncio.Connection):  # type: ignore[misc]
        pass

    pool = redis.asyncio.ConnectionPool.from_url(server.url, connection_class=OwnConnection)
    pool.connection_class = OwnConnection
    history = RedisChatMessageHistory("own", client=pool)
    asyncio.run(history.aadd_messages(humans("a")))
    with pytest.raises(StoreError, match=r"session 'own'.*OwnConnection have no sync form.*pass a sync one"):
        _ = history.messages


def test_the_password_of_a_client_is_not_in_errors(server: Server) -> None:
    """Even where the server repeats what it was told."""
    once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    with closing(redis.Redis(host=server.host, port=server.port, password="wrong-sesame", retry=once)) as client:  # noqa: S106 -- a wrong one
        with pytest.raises(StoreError) as failed:
            RedisChatMessageHistory("s", client=client).clear()
        assert "sesame" not in f"{failed.value!r}"


def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    """In the URL, and through a client."""
    path = tmp_path / "r.sock"
    with redis_of(tmp_path, "--unixsocket", str(path), "--port", "0"):
        until(path.exists)
        used_in_every_way(lambda: RedisChatMessageHistory("s", f"unix://{path}"))
        client = redis.asyncio.Redis.from_url(f"unix://{path}?db=2")
        used_in_every_way(lambda: RedisChatMessageHistory("s", client=client))


def test_fakeredis_serves_as_well() -> None:
    """In unit tests of applications."""
    fakeredis = pytest.importorskip("fakeredis")
    with closing(fakeredis.FakeRedis(decode_responses=True)) as client:
        used_in_every_way(lambda: RedisChatMessageHistory("s", client=client))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key for 127.0.0.1, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = [openssl, *words.split(), "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 -- our own command
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_tls_serves_as_well(server: Server, control: Any, certificate: Path) -> None:
    """By URL and by a client, with its certificate checked; a wrong one is an error."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with tls_before(server.host, server.port, context) as port:
        plain = f"rediss://:{server.secrets[0]}@127.0.0.1:{port}/0"
        url = f"{plain}?ssl_ca_certs={certificate}"
        used_in_every_way(lambda: RedisChatMessageHistory("s", url))
        client = redis.asyncio.Redis.from_url(url)
        used_in_every_way(lambda: RedisChatMessageHistory("s", client=client))
        history = RedisChatMessageHistory("s", plain)
        with pytest.raises(StoreError, match=r"session 's'.*certificate verify failed"):
            _ = history.messages
        with pytest.raises(StoreError, match=r"session 's'.*certificate verify failed"):
            asyncio.run(history.aget_messages())
        RedisChatMessageHistory("s", url).close()


# -- sentinels ---------------------------------------------------------------------------------------------------


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; ten seconds are for ever."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def program() -> str:
    """The redis-server of the embedded server."""
    from chathistory.adapters.servers._redis import _program

    return _program()


@contextlib.contextmanager
def redis_of(folder: Path, *options: str) -> Iterator[None]:
    """A process of redis-server with these options."""
    command = [program(), *options, "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 -- our own command
        try:
            yield
        finally:
            process.kill()


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(params=["", "sesame"])
def sentinel(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The host and port of a sentinel, with and without a password, that watches the server as `chat`."""
    port, own = free_port(), server.secrets[0] if request.param else ""
    settings = tmp_path / "sentinel.conf"
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"sentinel monitor chat {server.host} {server.port} 1",
        f"sentinel auth-pass chat {server.secrets[0]}",
        *([f"requirepass {own}"] if own else []),
    ]
    settings.write_text("\n".join(lines) + "\n")
    command = [program(), str(settings), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path) as process:  # noqa: S603 -- our own command
        try:
            with closing(redis.Redis(port=port, password=own or None)) as client:

                def answers() -> bool:
                    with contextlib.suppress(redis.ConnectionError):
                        return bool(client.execute_command("SENTINEL", "get-master-addr-by-name", "chat"))
                    return False

                until(answers)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def test_a_sentinel_tells_where_the_primary_is(server: Server, control: Any, sentinel: str) -> None:
    """By the URLs of langchain-community; the sentinel itself may have no password."""
    url = f"redis+sentinel://:{server.secrets[0]}@{sentinel}/chat"
    used_in_every_way(lambda: RedisChatMessageHistory("s", url))
    used_in_every_way(lambda: RedisChatMessageHistory("s", f"{url}/4"))
    RedisChatMessageHistory("s", f"{url}/4").add_messages(humans("four"))
    with closing(redis.Redis.from_url(server.url, db=4)) as other:
        assert other.llen("message_store:s") == 0
    with closing(redis.Redis(host=server.host, port=server.port, password=server.secrets[0], db=4)) as other:
        assert other.llen("message_store:s") == 1
    history = RedisChatMessageHistory("s", f"{url}/4")
    assert history.redis_client.llen(history.key) == 1


def test_a_service_that_the_sentinel_does_not_know_is_an_error(server: Server, sentinel: str) -> None:
    """It names the service, and no password."""
    history = RedisChatMessageHistory("s", f"redis+sentinel://:{server.secrets[0]}@{sentinel}/other")
    with pytest.raises(StoreError, match=r"session 's'.*the service other: No master found") as failed:
        history.clear()
    assert server.secrets[0] not in str(failed.value)


def test_a_client_of_a_sentinel_serves_as_well(server: Server, control: Any, sentinel: str) -> None:
    """Sync, with its own knowledge of who is the primary."""
    host, port = sentinel.split(":")
    for password in (None, server.secrets[0]):
        once = {"password": password, "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0)}
        known = redis.sentinel.Sentinel([(host, int(port))], sentinel_kwargs=once, password=server.secrets[0])
        with contextlib.suppress(StoreError):
            client = known.master_for("chat")
            history = RedisChatMessageHistory("s", client=client)
            history.add_messages(humans("a"))
            used_in_every_way(lambda client=client: RedisChatMessageHistory("s", client=client))  # type: ignore[misc]
            return
    pytest.fail("neither worked")
