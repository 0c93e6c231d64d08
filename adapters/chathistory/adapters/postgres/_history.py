"""The class that users run: `PostgresChatMessageHistory`, a history in a table of PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

import psycopg
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage
from psycopg.pq.abc import PGresult

from chathistory.adapters._closing import ClosesAtTheEnd
from chathistory.adapters.postgres._borrowed import (
    AsyncOnlyConnection,
    AsyncOnlyPool,
    SyncConnection,
    SyncPool,
    is_pool,
)
from chathistory.adapters.postgres._conninfo import checked_conninfo, secrets_in
from chathistory.adapters.postgres._failures import failure
from chathistory.adapters.postgres._owned import DATABASES, Database, Lease
from chathistory.adapters.postgres._rows import message_of
from chathistory.adapters.postgres._table import Operation, UnknownLayoutError, table_named
from chathistory.reference import DamagedMessageError, UnstorableValueError, encode_batch

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

SyncSource: TypeAlias = "psycopg.Connection[Any] | ConnectionPool[Any]"
AsyncSource: TypeAlias = "psycopg.AsyncConnection[Any] | AsyncConnectionPool[Any]"


class NoSyncConnectionError(ValueError, NotImplementedError):
    """A sync call on a handle that was given an async connection or pool only."""


class _SyncStore(Protocol):
    def run(self, operation: Operation, /) -> PGresult: ...


class _AsyncStore(Protocol):
    async def arun(self, operation: Operation, /) -> PGresult: ...


class _Store(_SyncStore, _AsyncStore, Protocol):
    """For both kinds of calls."""


class PostgresChatMessageHistory(ClosesAtTheEnd, BaseChatMessageHistory):
    """A chat message history in a table of PostgreSQL, committed before a call returns.

    It takes the place of langchain-postgres's class of the same name, over the same tables::

        PostgresChatMessageHistory.create_tables("postgresql://…", "chat_history")  # once
        history = PostgresChatMessageHistory("chat_history", "session", conninfo="postgresql://…")

    With `conninfo`, sync and async methods may be mixed, a handle may be shared by threads, tasks and event
    loops, and handles are cheap: those on one database share at most ten connections for the threads of a
    process and ten for each event loop, opened on demand and again after they were lost.

    A connection or pool of yours is used as it is. On a connection in which you have begun a transaction
    (without autocommit, every statement of yours begins one) the history takes part in it: nothing is stored
    until you commit. On any other, each call is committed when it returns, whatever its autocommit says.
    Given `sync_connection` only, async methods run in threads; given `async_connection` only, there are no
    sync methods, and the handle belongs to the event loop of the first call.

    Claims the profiles core, async, threads, processes and durable.

    Args:
        table_name: the table, made by `create_tables`; any name of at most 63 bytes.
        session_id: which session; any text. In tables that langchain-postgres made, whose ids are UUIDs, the
            canonical text of one.
        sync_connection: a `psycopg.Connection` or a `psycopg_pool.ConnectionPool`.
        async_connection: a `psycopg.AsyncConnection` or a `psycopg_pool.AsyncConnectionPool`.
        conninfo: instead of these, a URL or connection string; the history opens connections itself.

    Raises:
        TypeError, ValueError: if an argument can't be honoured. Nothing is opened before the first operation.
    """

    def __init__(
        self,
        table_name: str,
        session_id: str,
        /,
        *,
        sync_connection: SyncSource | None = None,
        async_connection: AsyncSource | None = None,
        conninfo: str | None = None,
    ) -> None:
        if not isinstance(session_id, str):
            raise TypeError(f"session_id must be a str, got {type(session_id).__name__}")
        self._session_id = str.__str__(session_id)  # the text itself of an enumeration that is a str
        self._table = table_named(table_name)
        self._lease: tuple[Database, Lease] | None = None
        self._sync: _SyncStore = _NO_SYNC
        self._async: _AsyncStore
        if conninfo is not None:
            if sync_connection is not None or async_connection is not None:
                raise ValueError("pass either conninfo or connections: the history opens its own with conninfo")
            self._lease = DATABASES.lease(checked_conninfo(conninfo))
            self._sync = self._async = self._lease[0]
            return
        if sync_connection is None and async_connection is None:
            raise ValueError("Must provide sync_connection or async_connection, or conninfo")
        if sync_connection is not None:
            self._sync = self._async = _sync_store(sync_connection)
        if async_connection is not None:
            self._async = _async_store(async_connection)

    @staticmethod
    def create_tables(connection: SyncSource | str, table_name: str, /) -> None:
        """Make the table, with its index, unless it exists; safe when many do it at once.

        Args:
            connection: a connection, a pool, or what `conninfo` takes. In a transaction of yours, the table is
                there for others once you commit.
            table_name: at most 63 bytes.

        Raises:
            StoreError: if it was not made, or there is another table of that name.
        """
        _of_table(connection, Operation(table_named(table_name), "create"))

    @staticmethod
    async def acreate_tables(connection: AsyncSource | str, table_name: str, /) -> None:
        """The async form of `create_tables`."""
        await _aof_table(connection, Operation(table_named(table_name), "create"))

    @staticmethod
    def drop_table(connection: SyncSource | str, table_name: str, /) -> None:
        """Remove the table, if it exists, with all the messages of all sessions in it.

        Raises:
            StoreError: if it was not removed.
        """
        _of_table(connection, Operation(table_named(table_name), "drop"))

    @staticmethod
    async def adrop_table(connection: AsyncSource | str, table_name: str, /) -> None:
        """The async form of `drop_table`."""
        await _aof_table(connection, Operation(table_named(table_name), "drop"))

    @property
    def session_id(self) -> str:
        """The session that this handle is open on."""
        return self._session_id

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session in the order in which they were added; the list is the caller's.

        Raises:
            StoreError: if they could not be read.
            DamagedMessageError: if a row is no message; the error names it.
            UnstorableValueError: if the table's session ids are UUIDs, and this one is none.
            NoSyncConnectionError: if there is only an async connection.
        """
        return self._decoded(self._run(Operation(self._table, "read", self._session_id)))

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        texts = encode_batch(messages, self._session_id)
        self._run(Operation(self._table, "replace", self._session_id, texts))

    def get_messages(self) -> list[BaseMessage]:
        """The same as reading `messages`."""
        return self.messages

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch, wholly or not at all.

        Raises:
            NotAMessageError: if anything in it is not a message.
            UnstorableValueError: if a message, or the session id, can't be stored exactly.
            StoreError: if it was not stored; or, if the connection was lost during the call, may not have been.
            NoSyncConnectionError: if there is only an async connection.
        """
        if texts := encode_batch(messages, self._session_id):
            self._run(Operation(self._table, "add to", self._session_id, texts))

    def clear(self) -> None:
        """Start the session anew.

        Raises:
            StoreError: if it was not cleared.
        """
        self._run(Operation(self._table, "clear", self._session_id))

    async def aget_messages(self) -> list[BaseMessage]:
        """The async form of `get_messages`."""
        return self._decoded(await self._arun(Operation(self._table, "read", self._session_id)))

    async def aadd_message(self, message: BaseMessage) -> None:
        """The async form of `add_message`."""
        await self.aadd_messages([message])

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """The async form of `add_messages`; if cancelled, it took effect wholly or not at all (ASY-4)."""
        if texts := encode_batch(messages, self._session_id):
            await self._arun(Operation(self._table, "add to", self._session_id, texts))

    async def aclear(self) -> None:
        """The async form of `clear`."""
        await self._arun(Operation(self._table, "clear", self._session_id))

    def close(self) -> None:
        """Have done with this handle; the last one on a conninfo closes its connections. Yours stay open."""
        was_open, self._sync, self._async = self._sync is not _CLOSED, _CLOSED, _CLOSED
        if was_open and self._lease is not None:
            DATABASES.give_back(*self._lease)

    async def aclose(self) -> None:
        """The async form of `close`."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def __repr__(self) -> str:
        return f"PostgresChatMessageHistory({self._table.name!r}, {self._session_id!r})"

    def _run(self, operation: Operation) -> PGresult:
        try:
            return self._sync.run(operation)
        except _FAILURES as error:
            failed = self._failed(operation, error)
        raise failed  # not where the driver's error is, which must not become its context: it may tell a secret

    async def _arun(self, operation: Operation) -> PGresult:
        try:
            return await self._async.arun(operation)
        except _FAILURES as error:
            failed = self._failed(operation, error)
        raise failed

    def _failed(self, operation: Operation, error: Exception) -> Exception:
        """Which session, what was to be done, and why not (ERR-4)."""
        if isinstance(error, UnstorableValueError):
            return UnstorableValueError(f"session {_cut(self._session_id)}, table {_cut(self._table.name)}: {error}")
        what = f"session {_cut(self._session_id)}: could not {operation.verb} table {_cut(self._table.name)}"
        return failure(what, error, () if self._lease is None else secrets_in(self._lease[0].conninfo))

    def _decoded(self, rows: PGresult) -> list[BaseMessage]:
        return [self._message(rows, place) for place in range(rows.ntuples)]

    def _message(self, rows: PGresult, place: int) -> BaseMessage:
        entry = rows.get_value(place, 1)
        try:
            if entry is None:
                raise DamagedMessageError("the entry is NULL")
            return message_of(entry)
        except DamagedMessageError as error:
            row_id = int.from_bytes(rows.get_value(place, 0) or b"", "big", signed=True)
            raise DamagedMessageError(
                f"session {_cut(self._session_id)}: row {row_id} of table {_cut(self._table.name)} is no message: "
                f"{error}"
            ) from None


_FAILURES = (psycopg.Error, UnknownLayoutError, UnstorableValueError)


class _ClosedStore:
    """What a closed handle is left with."""

    def run(self, _: Operation) -> NoReturn:
        raise psycopg.InterfaceError("this handle is closed; open another one")

    async def arun(self, operation: Operation) -> NoReturn:
        self.run(operation)


class _NoSyncStore:
    """What a handle has for sync calls if there is only an async connection."""

    def run(self, operation: Operation) -> NoReturn:
        raise NoSyncConnectionError(
            f"session {_cut(operation.session_id or '')}: there is no sync connection; pass sync_connection or "
            "conninfo, or use the async methods"
        )


_CLOSED, _NO_SYNC = _ClosedStore(), _NoSyncStore()


def _sync_store(source: SyncSource) -> _Store:
    if isinstance(source, psycopg.Connection):
        return SyncConnection(source)
    if is_pool(source, "ConnectionPool"):
        return SyncPool(source)
    raise _unsuitable(source, "sync_connection", "psycopg.Connection or psycopg_pool.ConnectionPool")


def _async_store(source: AsyncSource) -> _AsyncStore:
    if isinstance(source, psycopg.AsyncConnection):
        return AsyncOnlyConnection(source)
    if is_pool(source, "AsyncConnectionPool"):
        return AsyncOnlyPool(source)
    raise _unsuitable(source, "async_connection", "psycopg.AsyncConnection or psycopg_pool.AsyncConnectionPool")


def _unsuitable(source: object, argument: str, expected: str) -> TypeError:
    return TypeError(f"{argument} must be a {expected}, got {type(source).__module__}.{type(source).__qualname__}")


def _of_table(source: SyncSource | str, operation: Operation) -> None:
    """Carry out what concerns a whole table."""
    secrets: tuple[str, ...] = ()
    store: _SyncStore
    if isinstance(source, str):
        text = checked_conninfo(source)
        secrets, (store, _lease) = secrets_in(text), DATABASES.lease(text)
    else:
        store = _sync_store(source)
    try:
        store.run(operation)
        return
    except _FAILURES as error:
        failed = failure(_what(operation), error, secrets)
    raise failed


async def _aof_table(source: AsyncSource | str, operation: Operation) -> None:
    """The async form of `_of_table`."""
    secrets: tuple[str, ...] = ()
    store: _AsyncStore
    if isinstance(source, str):
        text = checked_conninfo(source)
        secrets, (store, _lease) = secrets_in(text), DATABASES.lease(text)
    else:
        store = _async_store(source)
    try:
        await store.arun(operation)
        return
    except _FAILURES as error:
        failed = failure(_what(operation), error, secrets)
    raise failed


def _what(operation: Operation) -> str:
    return f"could not {operation.verb} table {_cut(operation.table.name)}"


def _cut(text: str, length: int = 200) -> str:
    shown = repr(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
