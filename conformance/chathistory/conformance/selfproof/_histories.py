"""Correct histories that a defect takes a few lines to plant in.

Each operation is a generator of *steps*: it yields the seconds it waits for its store, and a sync call
sleeps them while an async call awaits them. So a defect that needs a window between a read and a write says
``yield 0.002`` and shows in both forms; and an async call that is cancelled stops at a step.

::

    CorrectHistory   deep copies of messages in lists in memory; keeps Python values
    JsonHistory      the same with JSON text; refuses what JSON can't hold
    RecordHistory    one record per message, numbered
    TableHistory     SQL, in a SQLite file

The hooks, from the outside in: `_add`, `_read`, `_clear`, `_replace` (operations, as steps); `_batch` and
`_encode` (the argument of an add to messages, and to items); `_dump`, `_load` (a message to an item and
back); `_transaction`; and inside it `_items`, `_append`, `_put`, `_erase`, under `_key`, and `_shown` (what a
read makes of the items).
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Generator, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeAlias, TypeVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance.selfproof._values import PYTHON_KINDS, from_json, is_batch, objection, to_json
from chathistory.reference import Profile

T = TypeVar("T")
Steps: TypeAlias = Generator[float, None, T]

PLAIN: frozenset[Profile] = frozenset({"core", "async", "threads"})
PASSWORD = "hunter2-for-the-store"  # noqa: S105 -- what no error may contain (ERR-4)


class Store:
    """What all handles of a backend share.

    Attributes:
        lock: makes one operation of the store atomic; never held over a step.
        lists: the items of each session.
        deadlines: when a session with a ttl is gone.
        now: the time in seconds; it passes only by `advance`.
        latency: how long the way to the store takes, in seconds.
        notes: whatever else a defect keeps.
    """

    def __init__(self) -> None:
        self.lock: Any = threading.Lock()
        self.lists: dict[Hashable, list[Any]] = {}
        self.deadlines: dict[Hashable, float] = {}
        self.now = 0.0
        self.latency = 0.0
        self.notes: dict[Any, Any] = {}

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.now += seconds

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Make every operation take so much longer."""
        self.latency += seconds
        try:
            yield
        finally:
            self.latency -= seconds


def pause(seconds: float) -> None:
    """Let others go on, for so long at least; without others, no time is spent on a pause of nothing."""
    if seconds or threading.active_count() > 1:
        time.sleep(seconds)


class CorrectHistory(BaseChatMessageHistory):
    """A handle on a session; keeps every clause of the profiles it claims."""

    store_class: ClassVar[type[Store]] = Store
    claims: ClassVar[frozenset[Profile]] = frozenset({"core", "async", "threads", "bounded", "expiry"})

    def __init__(
        self,
        session_id: str,
        store: Any,
        *,
        partition: str = "",
        history_size: int | None = None,
        ttl: float | None = None,
    ) -> None:
        if not isinstance(session_id, str):
            raise TypeError(f"session_id must be a str, got {type(session_id).__name__}")
        self.session_id = session_id
        self.store = store
        self.partition = partition
        self.history_size = history_size
        self.ttl = ttl

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session."""
        return self._run(self._read())

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        self._assign(messages)

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        self._run(self._add(self._encode(messages)))

    def clear(self) -> None:
        """Start the session anew."""
        self._run(self._clear())

    async def aget_messages(self) -> list[BaseMessage]:
        """The messages of the session."""
        return await self._arun(self._read())

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        await self._arun(self._add(self._encode(messages)))

    async def aclear(self) -> None:
        """Start the session anew."""
        await self._arun(self._clear())

    def _run(self, steps: Steps[T]) -> T:
        try:
            while True:
                pause(next(steps))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _arun(self, steps: Steps[T]) -> T:
        try:
            while True:  # noqa: ASYNC110 -- each step has a length of its own
                await asyncio.sleep(next(steps))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    # The operations.

    def _read(self) -> Steps[list[BaseMessage]]:
        yield self.store.latency
        with self._transaction():
            items = self._shown(self._items())
        return [self._load(item) for item in items]

    def _shown(self, items: list[Any]) -> list[Any]:
        return items

    def _assign(self, messages: Iterable[BaseMessage]) -> None:
        self._run(self._replace(self._encode(messages)))

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        if items:
            with self._transaction():
                self._append(items)

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            self._erase()
            if items:
                self._append(items)

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            self._erase()

    # From the argument of an add to items and back.

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        return [self._encode_one(message) for message in self._batch(messages)]

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if not is_batch(messages):
            self._refuse(TypeError, f"expected a sequence of messages, got {type(messages).__name__}")
        batch = list(messages)
        for message in batch:
            if not isinstance(message, BaseMessage):
                self._refuse(TypeError, f"a batch holds messages only, not {type(message).__name__}")
        return batch

    def _encode_one(self, message: BaseMessage) -> Any:
        try:
            return self._dump(message)
        except Exception as error:
            self._refuse(ValueError, f"a {type(message).__name__} can't be stored exactly: {error}")

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        raise kind(f"session {self.session_id!r}: {cause}; nothing was stored")

    def _dump(self, message: BaseMessage) -> Any:
        for value in (*message.__dict__.values(), *(message.__pydantic_extra__ or {}).values()):
            if reason := objection(value, PYTHON_KINDS):
                raise ValueError(reason)
        return deepcopy(message)

    def _load(self, item: Any) -> BaseMessage:
        return deepcopy(item)  # type: ignore[no-any-return]

    # The store.

    def _transaction(self) -> AbstractContextManager[Any]:
        return self.store.lock  # type: ignore[no-any-return]

    def _key(self) -> Hashable:
        return (self.partition, self.session_id)

    def _items(self) -> list[Any]:
        if self.store.now >= self.store.deadlines.get(self._key(), float("inf")):
            self._erase()
        return list(self.store.lists.get(self._key(), ()))

    def _append(self, items: list[Any]) -> None:
        self._put([*self._items(), *items])

    def _put(self, items: list[Any]) -> None:
        self.store.lists[self._key()] = self._trimmed(items)
        self._renew()

    def _trimmed(self, items: list[Any]) -> list[Any]:
        return items if self.history_size is None else items[-self.history_size :]

    def _renew(self) -> None:
        self.store.deadlines.pop(self._key(), None)
        if self.ttl is not None:
            self.store.deadlines[self._key()] = self.store.now + self.ttl

    def _erase(self) -> None:
        self.store.lists.pop(self._key(), None)
        self.store.deadlines.pop(self._key(), None)


class JsonHistory(CorrectHistory):
    """Keeps JSON text, as most stores do, and refuses what that can't hold."""

    def _dump(self, message: BaseMessage) -> Any:
        return to_json(message)

    def _load(self, item: Any) -> BaseMessage:
        return from_json(item)


class RecordHistory(JsonHistory):
    """Keeps one record per message under a number, as stores of single items do."""

    claims = PLAIN

    def _records(self) -> dict[int, Any]:
        return self.store.lists.setdefault(self._key(), {})  # type: ignore[no-any-return]

    def _items(self) -> list[Any]:
        return [item for _, item in sorted(self._records().items())]

    def _append(self, items: list[Any]) -> None:
        self._records().update(enumerate(items, self._next_number()))

    def _next_number(self) -> int:
        return max(self._records(), default=-1) + 1


class TableStore(Store):
    """A SQLite file with one connection, which all handles share."""

    def __init__(self) -> None:
        super().__init__()
        folder = tempfile.mkdtemp(prefix="chathistory-mutant-")
        self._path = str(Path(folder) / "history.db")
        self._connections: list[sqlite3.Connection] = []
        weakref.finalize(self, _discard, self._connections, folder)
        self.connection = self.connect()

    def connect(self, **options: Any) -> sqlite3.Connection:
        """One more connection; transactions are begun and ended by hand."""
        options = {"timeout": 10, "isolation_level": None, "check_same_thread": False, **options}
        connection: sqlite3.Connection = sqlite3.connect(self._path, **options)
        self._connections.append(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        return connection


class TableHistory(JsonHistory):
    """Keeps one row per message, by the SQL in the class's attributes."""

    store_class = TableStore
    claims = PLAIN

    CREATE = """CREATE TABLE IF NOT EXISTS messages (position INTEGER PRIMARY KEY AUTOINCREMENT,
                partition_name TEXT, session_id TEXT, item TEXT)"""
    WHERE = "partition_name = :partition AND session_id = :session_id"
    SELECT = "SELECT item FROM messages WHERE {where} ORDER BY position"
    INSERT = "INSERT INTO messages (partition_name, session_id, item) VALUES (:partition, :session_id, :item)"
    DELETE = "DELETE FROM messages WHERE {where}"

    def __init__(self, session_id: str, store: TableStore, *, partition: str = "") -> None:
        super().__init__(session_id, store, partition=partition)
        try:
            (partition + session_id).encode()
        except UnicodeEncodeError:
            self._refuse(ValueError, "ids with lone surrogates can't be stored")
        with store.lock:
            store.connection.execute(self.CREATE)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.store.lock:
            self.store.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.store.connection.execute("ROLLBACK")
                raise
            self.store.connection.execute("COMMIT")

    def _execute(self, sql: str, **more: Any) -> sqlite3.Cursor:
        values = {"partition": self.partition, "session_id": self.session_id, **more}
        return self.store.connection.execute(sql.format(where=self.WHERE), values)  # type: ignore[no-any-return]

    def _row(self, item: str) -> dict[str, Any]:
        return {"item": item}

    def _items(self) -> list[Any]:
        return [item for (item,) in self._execute(self.SELECT)]

    def _append(self, items: list[Any]) -> None:
        for item in items:
            self._execute(self.INSERT, **self._row(item))

    def _erase(self) -> None:
        self._execute(self.DELETE)


def backend(name: str, history: type[CorrectHistory], store: Store | None = None) -> Backend:
    """A history class as a subject of the suite, over a fresh store unless one is given."""
    kept = history.store_class() if store is None else store
    more: dict[str, Any] = {}
    if "bounded" in history.claims:
        more["with_history_size"] = lambda session_id, size: history(session_id, kept, history_size=size)
    if "expiry" in history.claims:
        more["with_ttl"] = lambda session_id, ttl: history(session_id, kept, ttl=ttl)
    return Backend(
        name=name,
        get_session_history=lambda session_id: history(session_id, kept),
        claims=history.claims,
        advance=kept.advance,
        in_partition=lambda partition, session_id: history(session_id, kept, partition=partition),
        slow=kept.slow,
        secrets=(PASSWORD,),
        disposable=True,
        **more,
    )


def _discard(connections: list[sqlite3.Connection], folder: str) -> None:
    for connection in connections:
        with suppress(sqlite3.Error):
            connection.close()
    shutil.rmtree(folder, ignore_errors=True)
