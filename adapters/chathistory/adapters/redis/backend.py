"""How the suite opens the Redis history, and what that history claims on each kind of server."""

from __future__ import annotations

import contextlib
import functools
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis as driver

from chathistory.adapters import servers
from chathistory.adapters.redis._history import RedisChatMessageHistory
from chathistory.conformance import Backend, Wire
from chathistory.reference import Profile

_RESOLUTION = 0.02
_WHOLE_SECONDS = 20.0
_PREFIXES = 'Partitions are key prefixes in the layout `exact`; in the plain one "a" + "bc" and "ab" + "c" are one key.'
_NOT_DURABLE = (
    "It does not claim durable: {}; with appendonly yes and appendfsync always Redis is on disk before it answers."
)


def redis(*, server: str = "") -> Iterator[Backend]:
    """A Redis server of its own, embedded unless told otherwise, or a random key prefix on the user's.

    Args:
        server: "embedded", "docker", a URL, or "" for the URL in CHATHISTORY_REDIS_URL, else embedded.
    """
    with servers.redis_server(server) as it, _emptied_at_the_end(it) as prefix:
        unsafe = _what_can_be_lost(it)
        handles = functools.partial(_history, it.url, prefix)
        claims: set[Profile] = {"core", "async", "threads", "processes", "expiry"}
        if not unsafe:
            claims.add("durable")
        yield Backend(
            name="redis",
            get_session_history=handles,
            claims=claims,
            with_ttl=lambda session_id, seconds: handles(session_id, ttl=timedelta(seconds=seconds)),
            ttl_resolution=_RESOLUTION,
            in_partition=lambda name, session_id: _history(it.url, f"{prefix}{name}", session_id, layout="exact"),
            wire=_wire(it, prefix),
            in_another_process=handles,
            crash_server=None if unsafe else it.crash,
            secrets=it.secrets,
            disposable=True,
            isolated=True,
            versions={**it.versions, "redis": version("redis")},
            import_path=f"{__name__}:redis",
            notes=(_PREFIXES, *([_NOT_DURABLE.format(unsafe)] if unsafe else [])),
        )


def redis_cluster() -> Iterator[Backend]:
    """A Redis Cluster of three embedded servers."""
    with servers.redis_cluster() as members, closing(RedisChatMessageHistory("", members[0].url)):
        handles = functools.partial(_history, members[0].url, "chathistory:")

        def crash() -> None:
            for member in members:
                assert member.crash is not None  # noqa: S101 -- they are embedded
                member.crash()
            for member in members:
                _until_whole(member.url)

        yield Backend(
            name="redis-cluster",
            get_session_history=handles,
            claims={"core", "async", "threads", "processes", "durable", "expiry"},
            with_ttl=lambda session_id, seconds: handles(session_id, ttl=timedelta(seconds=seconds)),
            ttl_resolution=_RESOLUTION,
            in_partition=lambda name, session_id: _history(members[0].url, name, session_id, layout="exact"),
            in_another_process=handles,
            crash_server=crash,
            secrets=members[0].secrets,
            disposable=True,
            isolated=True,
            versions={**members[0].versions, "redis": version("redis")},
            import_path=f"{__name__}:redis_cluster",
            notes=(
                _PREFIXES,
                "Every handle is given the URL of the first of three masters.",
                "It offers no wire: a cluster names its members' own addresses to its clients, past any proxy.",
            ),
        )


def redis_fake() -> Iterator[Backend]:
    """fakeredis, in this process: a FakeServer behind its sync client and its asyncio client."""
    import fakeredis

    fake = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=fake)
    async_client = fakeredis.FakeAsyncRedis(server=fake)

    def handles(session_id: str, **options: Any) -> RedisChatMessageHistory:
        return RedisChatMessageHistory(session_id, client=client, async_client=async_client, **options)

    with closing(client):
        yield Backend(
            name="redis-fake",
            get_session_history=handles,
            claims={"core", "async", "threads", "expiry"},
            with_ttl=lambda session_id, seconds: handles(session_id, ttl=timedelta(seconds=seconds)),
            ttl_resolution=_RESOLUTION,
            in_partition=lambda name, session_id: handles(session_id, key_prefix=name, layout="exact"),
            disposable=True,
            isolated=True,
            versions={"fakeredis": version("fakeredis"), "redis": version("redis")},
            import_path=f"{__name__}:redis_fake",
            notes=(_PREFIXES, "It claims neither processes nor durable: fakeredis keeps everything in this process."),
        )


def _history(url: str, prefix: str, session_id: str, **options: Any) -> RedisChatMessageHistory:
    return RedisChatMessageHistory(session_id, url, key_prefix=prefix, **options)


def _wire(it: servers.Server, prefix: str) -> Wire:
    @contextmanager
    def connect(host: str, port: int) -> Iterator[Callable[[str], RedisChatMessageHistory]]:
        url = _moved(it.url, host, port)
        with closing(RedisChatMessageHistory("", url)):
            yield functools.partial(_history, url, prefix)

    return Wire(address=(it.host, it.port), connect=connect)


def _moved(url: str, host: str, port: int) -> str:
    """The URL with another host and port."""
    parts = urlsplit(url)
    account, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{account}{at}{host}:{port}"))


@contextmanager
def _emptied_at_the_end(it: servers.Server) -> Iterator[str]:
    """A key prefix of its own; on a server of the user's all keys under it are removed at the end."""
    prefix = f"chathistory-{secrets.token_hex(8)}:"
    with closing(RedisChatMessageHistory("", it.url)), closing(driver.Redis.from_url(it.url)) as client:
        try:
            yield prefix
        finally:
            if it.how == "url":
                for key in client.scan_iter(match=f"{prefix}*", count=1000):
                    client.delete(key)


def _until_whole(url: str) -> None:
    """Wait until a member of a cluster that was started again takes writes."""
    deadline = time.monotonic() + _WHOLE_SECONDS
    client: Any = driver.Redis.from_url(url)
    with closing(client):
        while client.cluster("INFO")["cluster_state"] != "ok":
            if time.monotonic() > deadline:
                raise servers.ServerError(f"the cluster was not whole again within {_WHOLE_SECONDS:g} s")
            time.sleep(0.05)


def _what_can_be_lost(it: servers.Server) -> str:
    """Why acknowledged messages may be lost with the server; nothing if they may not."""
    with closing(driver.Redis.from_url(it.url)) as client, contextlib.suppress(driver.RedisError):
        settings: Any = client.config_get("append*")
        safe = {"appendonly": "yes", "appendfsync": "always"}
        wrong = [f"{name} is {settings.get(name)}" for name, value in safe.items() if settings.get(name) != value]
        return ", ".join(wrong)
    return "the server does not tell whether it writes to its disk"
