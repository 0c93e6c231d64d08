"""The class that users run: `SQLiteChatMessageHistory`, a history in a SQLite database."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chathistory.adapters._closing import ClosesAtTheEnd
from chathistory.adapters.sqlite._borrowed import borrowed
from chathistory.adapters.sqlite._failures import HINTS
from chathistory.adapters.sqlite._file import FileDatabase, Lease
from chathistory.adapters.sqlite._files import OPEN_FILES
from chathistory.adapters.sqlite._location import database_path
from chathistory.adapters.sqlite._table import Operation, Rows, table_named
from chathistory.reference import (
    DamagedMessageError,
    StoreError,
    UnstorableValueError,
    decode,
    encode_batch,
)

_DEFAULT_CONNECTION = "sqlite:///memory.db"


class _Store(Protocol):
    def run(self, operation: Operation, timeout: float, /) -> Rows: ...

    async def arun(self, operation: Operation, timeout: float, /) -> Rows: ...


class SQLiteChatMessageHistory(ClosesAtTheEnd, BaseChatMessageHistory):
    """A chat message history in a SQLite database, on disk before a call returns.

    It takes the place of langchain-community's `SQLChatMessageHistory` on SQLite, over the same tables::

        history = SQLiteChatMessageHistory("session", "sqlite:///memory.db")

    Sync and async methods may be mixed; a handle may be shared by threads, tasks and event loops, and a file
    by processes. Handles are cheap: those on one file share its connections, which are closed with the last
    `close()`, or else at the end of the process.

    Claims the profiles core, async, threads, processes and durable.

    Args:
        session_id: which session. Any text that is valid Unicode.
        connection: `sqlite:///relative.db`, `sqlite:////absolute.db`, the same with `sqlite+aiosqlite`, a
            path, or an open `sqlite3.Connection`. A connection stays yours: its settings are kept, and in a
            transaction of yours nothing is stored until you commit. For async methods and for use by
            several threads it needs `check_same_thread=False`.
        table_name: the table, made at the first operation if missing.
        session_id_field_name: the table's column of session ids.
        busy_timeout: seconds to wait for locks that others hold before an operation fails.
        connection_string: deprecated name of `connection`.
        async_mode: taken for compatibility; both kinds of methods always work.
        custom_message_converter: refused.
        engine_args: refused.

    Raises:
        TypeError, ValueError: if an argument can't be honoured. Nothing is opened before the first operation.
    """

    def __init__(
        self,
        session_id: str,
        connection: str | os.PathLike[str] | sqlite3.Connection | None = None,
        table_name: str = "message_store",
        session_id_field_name: str = "session_id",
        *,
        busy_timeout: float = 30.0,
        connection_string: str | None = None,
        async_mode: bool | None = None,
        custom_message_converter: None = None,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        _refuse(custom_message_converter, engine_args, async_mode)
        self._session_id = _checked_session_id(session_id)
        self._table = table_named(table_name, session_id_field_name)
        self._busy_timeout = _checked_timeout(busy_timeout)
        self._lease: tuple[FileDatabase, Lease] | None = None
        self._store, self._place = self._open(_one_of(connection, connection_string))

    def _open(self, connection: str | os.PathLike[str] | sqlite3.Connection) -> tuple[_Store, str]:
        if isinstance(connection, sqlite3.Connection):
            return borrowed(connection), "the given connection"
        if not isinstance(connection, str | os.PathLike):
            raise TypeError(
                "connection must be a SQLite URL, a path or a sqlite3.Connection, got "
                f"{type(connection).__name__}; of an engine of SQLAlchemy pass the URL or the path"
            )
        path = database_path(connection)
        self._lease = OPEN_FILES.lease(path)
        return self._lease[0], path

    @property
    def session_id(self) -> str:
        """The session that this handle is open on; assigning another opens it on that."""
        return self._session_id

    @session_id.setter
    def session_id(self, session_id: str) -> None:
        self._session_id = _checked_session_id(session_id)

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session in the order in which they were added; the list is the caller's.

        Raises:
            StoreError: if they could not be read.
            DamagedMessageError: if a row is no message; the error names it.
        """
        return self._decoded(self._run(self._table.read(self._session_id)))

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        texts = encode_batch(messages, self._session_id)
        self._run(self._table.replace(self._session_id, texts))

    def get_messages(self) -> list[BaseMessage]:
        """The same as reading `messages`."""
        return self.messages

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch, wholly or not at all.

        Raises:
            NotAMessageError: if anything in it is not a message.
            UnstorableValueError: if a message can't be stored exactly.
            StoreError: if it was not stored.
        """
        if texts := encode_batch(messages, self._session_id):
            self._run(self._table.add(self._session_id, texts))

    def clear(self) -> None:
        """Start the session anew.

        Raises:
            StoreError: if it was not cleared.
        """
        self._run(self._table.clear(self._session_id))

    async def aget_messages(self) -> list[BaseMessage]:
        """The async form of reading `messages`."""
        return self._decoded(await self._arun(self._table.read(self._session_id)))

    async def aadd_message(self, message: BaseMessage) -> None:
        """The async form of `add_message`."""
        await self.aadd_messages([message])

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """The async form of `add_messages`; if cancelled, it took effect wholly or not at all (ASY-4)."""
        if texts := encode_batch(messages, self._session_id):
            await self._arun(self._table.add(self._session_id, texts))

    async def aclear(self) -> None:
        """The async form of `clear`."""
        await self._arun(self._table.clear(self._session_id))

    def close(self) -> None:
        """Have done with this handle; the last one on a file closes it. A connection given stays open."""
        store, self._store = self._store, _CLOSED
        if self._lease is not None and store is not _CLOSED:
            OPEN_FILES.give_back(*self._lease)

    async def aclose(self) -> None:
        """The async form of `close`."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def __repr__(self) -> str:
        return f"SQLiteChatMessageHistory(session_id={self._session_id!r}, table_name={self._table.name!r})"

    def _run(self, operation: Operation) -> Rows:
        try:
            return self._store.run(operation, self._busy_timeout)
        except (sqlite3.Error, OverflowError) as error:
            raise self._failed(operation, error) from error

    async def _arun(self, operation: Operation) -> Rows:
        try:
            return await self._store.arun(operation, self._busy_timeout)
        except (sqlite3.Error, OverflowError) as error:
            raise self._failed(operation, error) from error

    def _failed(self, operation: Operation, error: Exception) -> StoreError:
        """The one error for whatever SQLite says: which session, what was to be done, and why not (ERR-4)."""
        cause = str(error)
        hint = next((f" ({hint})" for text, hint in HINTS.items() if cause.startswith(text)), "")
        return StoreError(
            f"session {_cut(self._session_id)}: could not {operation.verb} table {_cut(self._table.name)} of "
            f"{self._place}: {cause}{hint}"
        )

    def _decoded(self, rows: Rows) -> list[BaseMessage]:
        return [self._message(row_id, entry) for row_id, entry in rows]

    def _message(self, row_id: object, entry: bytes | None) -> BaseMessage:
        try:
            if entry is None:
                raise DamagedMessageError("the entry is NULL")
            return decode(_text_of(entry))
        except (DamagedMessageError, UnicodeDecodeError) as error:
            raise DamagedMessageError(
                f"session {_cut(self._session_id)}: row {row_id!r} of table {_cut(self._table.name)} of "
                f"{self._place} is no message: {error}"
            ) from None


class _ClosedStore:
    """What a closed handle is left with."""

    def run(self, *_: object) -> Rows:
        raise sqlite3.ProgrammingError("this handle is closed; open another one")

    async def arun(self, *_: object) -> Rows:
        return self.run()


_CLOSED = _ClosedStore()


def _refuse(custom_message_converter: object, engine_args: object, async_mode: object) -> None:
    """Refuse what would have to be ignored."""
    if async_mode not in (None, True, False):
        raise TypeError(f"async_mode must be a bool or None, got {type(async_mode).__name__}")
    if custom_message_converter is not None:
        raise ValueError(
            "custom_message_converter: other layouts of the table are not supported; "
            "keep SQLChatMessageHistory for tables of your own layout"
        )
    if engine_args:
        raise ValueError(
            "engine_args: there is no SQLAlchemy engine here; open the database with your options and pass "
            "the sqlite3.Connection as connection"
        )


def _one_of(
    connection: str | os.PathLike[str] | sqlite3.Connection | None, connection_string: str | None
) -> str | os.PathLike[str] | sqlite3.Connection:
    if connection_string is None:
        return _DEFAULT_CONNECTION if connection is None else connection
    if connection is not None:
        raise TypeError("connection_string is the old name of connection: pass one of them")
    warnings.warn("connection_string is deprecated: pass connection", DeprecationWarning, stacklevel=3)
    return connection_string


def _checked_session_id(session_id: str) -> str:
    if not isinstance(session_id, str):
        raise TypeError(f"session_id must be a str, got {type(session_id).__name__}")
    try:
        session_id.encode()
    except UnicodeEncodeError:
        raise UnstorableValueError(
            f"session_id {_cut(session_id)} holds a lone surrogate, which SQLite can't store"
        ) from None
    return str.__str__(session_id)  # the text itself of an enumeration that is a str


def _checked_timeout(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"busy_timeout must be a number of seconds, got {type(seconds).__name__}")
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"busy_timeout must be 0 seconds or more, got {seconds!r}")
    return float(seconds)


def _text_of(entry: bytes) -> str | bytes:
    """The text of an entry; in a database of UTF-16 it comes as such, which JSON's reader can tell."""
    return entry if 0 in entry[:2] else entry.decode()


def _cut(text: str, length: int = 200) -> str:
    shown = repr(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
