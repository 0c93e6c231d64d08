"""How the suite opens langchain-community's RedisChatMessageHistory: as a typical user opens it, nothing mended."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit, urlunsplit

import redis as driver
from langchain_core.chat_history import BaseChatMessageHistory

from chathistory.adapters.peers.backends import _made, _versions, _without_deprecations
from chathistory.adapters.servers import redis_server
from chathistory.conformance import Backend, Wire
from chathistory.reference import Profile


def redis(*, server: str = "") -> Iterator[Backend]:
    """langchain-community's RedisChatMessageHistory, each handle with a client of its own, as it makes them.

    Args:
        server: "embedded", "docker", a URL, or "" for the URL in CHATHISTORY_REDIS_URL, else embedded.
    """
    with _without_deprecations():
        from langchain_community.chat_message_histories import RedisChatMessageHistory

    with _without_deprecations(), redis_server(server) as it:
        prefix = f"chathistory-{secrets.token_hex(8)}:"

        def in_partition(name: str, session_id: str) -> BaseChatMessageHistory:
            return _made(RedisChatMessageHistory, session_id, it.url, key_prefix=f"{prefix}{name}")

        @contextmanager
        def connect(host: str, port: int) -> Iterator[Callable[[str], BaseChatMessageHistory]]:
            parts = urlsplit(it.url)
            account, at, _ = parts.netloc.rpartition("@")
            url = urlunsplit(parts._replace(netloc=f"{account}{at}{host}:{port}"))
            yield lambda session_id: _made(RedisChatMessageHistory, session_id, url, key_prefix=prefix)

        handles = functools.partial(_opened, it.url, prefix)
        claims: set[Profile] = {"core", "async", "threads", "processes"}
        if it.can_crash:
            claims.add("durable")
        try:
            yield Backend(
                name="peer:redis",
                get_session_history=handles,
                claims=claims,
                in_partition=in_partition,
                wire=Wire(address=(it.host, it.port), connect=connect),
                in_another_process=handles,
                crash_server=it.crash,
                secrets=it.secrets,
                disposable=True,
                isolated=True,
                versions={**_versions("langchain-community", "redis"), **it.versions},
                import_path=f"{__name__}:redis",
                notes=(
                    "Each handle is given the URL, and makes a client of its own.",
                    "It does not claim expiry: its ttl is in whole seconds, so the checks would wait for minutes.",
                ),
            )
        finally:
            if it.how == "url":
                _remove(it.url, prefix)


def _opened(url: str, prefix: str, session_id: str) -> BaseChatMessageHistory:
    """A handle; a function of a module, so that it can be sent to other processes."""
    with _without_deprecations():
        from langchain_community.chat_message_histories import RedisChatMessageHistory

        return _made(RedisChatMessageHistory, session_id, url, key_prefix=prefix)


def _remove(url: str, prefix: str) -> None:
    """Leave nothing behind on a server of the user's."""
    with closing(driver.Redis.from_url(url)) as client:
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            client.delete(key)
