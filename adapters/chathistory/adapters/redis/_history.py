"""The class that users run: `RedisChatMessageHistory`, a history in a Redis list."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import redis
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chathistory.adapters._closing import ClosesAtTheEnd
from chathistory.adapters.redis._clients import EXPECTED, is_async, is_sync, store_of
from chathistory.adapters.redis._failures import UnusableError, explained
from chathistory.adapters.redis._keys import LAYOUTS, Layout, key_bytes, key_of
from chathistory.adapters.redis._requests import MOST_MESSAGES, Request, add, clear, read, replace
from chathistory.adapters.redis._shared import SHARED_STORES
from chathistory.adapters.redis._store import Lease, Store
from chathistory.reference import (
    DamagedMessageError,
    StoreError,
    UnstorableValueError,
    decode,
    encode_batch,
)

_DEFAULT_URL = "redis://localhost:6379/0"


class RedisChatMessageHistory(ClosesAtTheEnd, BaseChatMessageHistory):
    """A chat message history in Redis: a list per session, each operation one command and one round trip.

    It takes the place of langchain-community's class of the same name, over the same keys::

        history = RedisChatMessageHistory("session", "redis://localhost:6379/0", ttl=3600)

    Sync and async methods may be mixed; a handle may be shared by threads, tasks and event loops. Handles are
    cheap: those on one URL share their connections, which are closed with the last `close()`, those of an event
    loop also with the loop, or else at the end of the process.

    Claims the profiles core, async, threads, processes and expiry; and durable, where the server writes to its
    disk before it answers (`appendonly yes`, `appendfsync always`).

    Args:
        session_id: which session. Any text.
        url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `rediss+sentinel://`; of a cluster the
            URL of any member. The default is `redis://localhost:6379/0`.
        key_prefix: stands before the session id in the key.
        ttl: after how many seconds (int), or after which time (timedelta), without an add the session is gone.
            Each add begins it anew; an add through a handle without a ttl leaves it as it is.
        client: in place of a URL a client or a pool of redis-py, sync or asyncio, also of a cluster. It stays
            yours. Of a sync one the connections are used, and async calls run in threads; of an asyncio one
            the settings, since connections can't leave their event loop.
        async_client: beside a sync `client` an asyncio one to the same server, for the async calls.
        layout: `plain` for the keys of langchain-community, prefix + session id; `exact` for keys that no two
            pairs of prefix and session id ever share, whatever they are.

    Raises:
        TypeError, ValueError: if an argument can't be honoured. Nothing is opened before the first operation.
    """

    def __init__(
        self,
        session_id: str,
        url: str | None = None,
        key_prefix: str = "message_store:",
        ttl: int | timedelta | None = None,
        *,
        client: Any = None,
        async_client: Any = None,
        layout: Layout = "plain",
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
        self._layout = layout
        self.session_id = session_id
        self.key_prefix = key_prefix
        self.ttl = ttl
        self._lease: Lease | None = None
        self._client = async_client if client is None else client
        self._store: Store | _ClosedStore = self._open(url, client, async_client)

    def _open(self, url: str | None, client: Any, async_client: Any) -> Store:
        if client is None and async_client is None:
            url = _DEFAULT_URL if url is None else _checked_text(url, "url")
            store, self._lease = SHARED_STORES.lease(url)
            return store
        if url is not None:
            raise TypeError("url and client name a server each: pass one of them")
        if client is None:
            client, async_client = async_client, None
        if not is_sync(client) and not is_async(client):
            raise TypeError(f"client must be {EXPECTED}, got {type(client).__name__}")
        if async_client is not None and not (is_sync(client) and is_async(async_client)):
            raise TypeError("async_client must be an asyncio client, beside a client for sync calls")
        return store_of(client, async_client)

    @property
    def session_id(self) -> str:
        """The session that this handle is open on."""
        return self._session_id

    @session_id.setter
    def session_id(self, session_id: str) -> None:
        self._session_id = _checked_text(session_id, "session_id")

    @property
    def key_prefix(self) -> str:
        """What stands before the session id in the key."""
        return self._key_prefix

    @key_prefix.setter
    def key_prefix(self, key_prefix: str) -> None:
        self._key_prefix = _checked_text(key_prefix, "key_prefix")

    @property
    def ttl(self) -> int | timedelta | None:
        """The time to live as it was given."""
        return self._ttl

    @ttl.setter
    def ttl(self, ttl: int | timedelta | None) -> None:
        self._milliseconds = _milliseconds(ttl)
        self._ttl = ttl

    @property
    def key(self) -> str:
        """The key of the session's list. A subclass that overrides it decides on the keys."""
        return key_of(self._key_prefix, self._session_id, self._layout)

    @property
    def redis_client(self) -> Any:
        """The client or pool given; with a URL a redis.Redis on its server, closed with the last handle on it."""
        return self._client if self._client is not None else self._store.client

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session in the order in which they were added; the list is the caller's.

        Raises:
            StoreError: if they could not be read.
            DamagedMessageError: if an entry is no message; the error names it.
        """
        key = self.key
        return self._decoded(key, self._run(read(key_bytes(key))))

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        texts = self._encoded(messages)
        self._run(replace(key_bytes(self.key), texts, self._milliseconds))

    def get_messages(self) -> list[BaseMessage]:
        """The same as reading `messages`."""
        return self.messages

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch, wholly or not at all; with a ttl the session's time begins anew.

        Raises:
            NotAMessageError: if anything in it is not a message.
            UnstorableValueError: if a message can't be stored exactly.
            StoreError: if it was not stored; or, as its text says, if the connection was lost before the answer.
        """
        if texts := self._encoded(messages):
            self._run(add(key_bytes(self.key), texts, self._milliseconds))

    def clear(self) -> None:
        """Start the session anew.

        Raises:
            StoreError: if it was not cleared.
        """
        self._run(clear(key_bytes(self.key)))

    async def aget_messages(self) -> list[BaseMessage]:
        """The async form of reading `messages`."""
        key = self.key
        return self._decoded(key, await self._arun(read(key_bytes(key))))

    async def aadd_message(self, message: BaseMessage) -> None:
        """The async form of `add_message`."""
        await self.aadd_messages([message])

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """The async form of `add_messages`; if cancelled, it took effect wholly or not at all (ASY-4).

        A cancellation is passed on when the server has answered, or been silent for 2 seconds.
        """
        if texts := self._encoded(messages):
            await self._arun(add(key_bytes(self.key), texts, self._milliseconds))

    async def aclear(self) -> None:
        """The async form of `clear`."""
        await self._arun(clear(key_bytes(self.key)))

    def close(self) -> None:
        """Have done with this handle; the last one on a URL closes the connections. A client given stays open."""
        if store := self._given_back():
            store.close()

    async def aclose(self) -> None:
        """The async form of `close`."""
        if store := self._given_back():
            await store.aclose()

    def _given_back(self) -> Store | None:
        """The store, if it has to be closed, because this was the last handle on it."""
        store, self._store = self._store, _ClosedStore(self._store.place)
        lease, self._lease = self._lease, None
        if lease is None or isinstance(store, _ClosedStore):
            return None
        return store if SHARED_STORES.give_back(store, lease) else None

    def __repr__(self) -> str:
        return f"RedisChatMessageHistory(session_id={self._session_id!r}, key_prefix={self._key_prefix!r})"

    def _encoded(self, messages: Iterable[BaseMessage]) -> list[str]:
        texts = encode_batch(messages, self._session_id)
        if len(texts) > MOST_MESSAGES:
            raise UnstorableValueError(
                f"session {_cut(self._session_id)}: a batch of {len(texts):,} messages is more than Redis takes in one "
                f"command ({MOST_MESSAGES:,}); nothing was stored, add it in parts"
            )
        return texts

    def _run(self, request: Request) -> Any:
        try:
            return self._store.run(request)
        except redis.RedisError as error:
            raise self._failed(request, error) from None

    async def _arun(self, request: Request) -> Any:
        try:
            return await self._store.arun(request)
        except redis.RedisError as error:
            raise self._failed(request, error) from None

    def _failed(self, request: Request, error: Exception) -> StoreError:
        """The one error for whatever goes wrong: which session, what was to be done, and why not (ERR-4)."""
        key = request.key.decode("utf-8", "surrogatepass")
        return StoreError(
            f"session {_cut(self._session_id)}: could not {request.verb} the key {_cut(key)} of Redis at "
            f"{self._store.place}: "
            f"{explained(error, self._store.secrets, changes=not request.repeatable)}"
        )

    def _decoded(self, key: str, entries: list[bytes]) -> list[BaseMessage]:
        """The messages of a list that has the newest at its head."""
        try:
            return [decode(entry) for entry in reversed(entries)]
        except DamagedMessageError:
            raise self._damaged(key, entries) from None

    def _damaged(self, key: str, entries: list[bytes]) -> DamagedMessageError:
        """Which entry is no message, by its place in the session and in Redis' list."""
        for number, entry in enumerate(reversed(entries), start=1):
            try:
                decode(entry)
            except DamagedMessageError as error:
                return DamagedMessageError(
                    f"session {_cut(self._session_id)}: message {number} of the key {_cut(key)} (LINDEX {-number}) "
                    f"of Redis at {self._store.place} is no message: {error}"
                )
        raise AssertionError("there was one")


class _ClosedStore:
    """What a closed handle is left with."""

    secrets = ()

    def __init__(self, place: str) -> None:
        self.place = place

    @property
    def client(self) -> Any:
        raise StoreError("this handle is closed; open another one")

    def run(self, *_: object) -> Any:
        raise UnusableError("this handle is closed; open another one")

    async def arun(self, *_: object) -> Any:
        return self.run()


def _checked_text(value: str, argument: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, got {type(value).__name__}")
    return str.__str__(value)  # the text itself of an enumeration that is a str


def _milliseconds(ttl: int | timedelta | None) -> int | None:
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | timedelta):
        raise TypeError(f"ttl must be seconds as an int, a timedelta or None, got {type(ttl).__name__}")
    try:
        lifetime = ttl if isinstance(ttl, timedelta) else timedelta(seconds=ttl)
    except OverflowError:
        raise ValueError(f"ttl is too long: {ttl} seconds") from None
    if lifetime <= timedelta(0):
        raise ValueError(f"ttl must be more than 0 seconds, got {ttl!r}; for a session without end pass None")
    whole, rest = divmod(lifetime, timedelta(milliseconds=1))
    return whole + bool(rest)  # rounded up: never gone too early


def _cut(text: str, length: int = 200) -> str:
    shown = repr(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
