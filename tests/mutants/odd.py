"""Histories that are unusual and right: a suite that blames one of them is wrong."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import BaseModel, Field, PrivateAttr
from tests.mutants._base import (
    JsonHistory,
    RecordHistory,
    Steps,
    Store,
    TableHistory,
    TableStore,
    backend,
)
from tests.mutants._late import LateList
from tests.mutants._network import NetworkHistory, network_backend
from tests.mutants._planted import odd

from chathistory.conformance._backend import Backend
from chathistory.conformance.selfproof.odd import RefusesNul, Wrapping

T = TypeVar("T")


@odd()
def keeps_json_text() -> Backend:
    """Keeps JSON text, and refuses what that can't hold."""
    return backend("keeps_json_text", JsonHistory)


@odd()
def keeps_numbered_records() -> Backend:
    """Keeps one numbered record per message."""
    return backend("keeps_numbered_records", RecordHistory)


# How fast, and how loud


@odd()
def takes_2_ms() -> Backend:
    """Every operation takes 2 ms; an async one leaves the loop free."""
    store = Store()
    store.latency = 0.002
    return backend("takes_2_ms", JsonHistory, store)


class _Remote(JsonHistory):
    """Two round trips per operation, of changing length."""

    def _trip(self) -> float:
        trips: int = self.store.notes.get("trips", 0)
        self.store.notes["trips"] = trips + 1
        return 0.0005 * (1 + trips % 5)

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self._trip()
        yield from super()._add(items)
        yield self._trip()

    def _read(self) -> Steps[list[BaseMessage]]:
        yield self._trip()
        messages = yield from super()._read()
        yield self._trip()
        return messages


@odd()
def answers_from_afar() -> Backend:
    """The way there and the way back take 0.5 to 2.5 ms each."""
    return backend("answers_from_afar", _Remote)


@odd()
def starts_late() -> Backend:
    """The first handle takes 300 ms to open, and those opened meanwhile wait for it."""
    plain = backend("starts_late", JsonHistory)
    lock, started = threading.Lock(), threading.Event()

    def open_history(session_id: str) -> BaseChatMessageHistory:
        with lock:
            if not started.is_set():
                time.sleep(0.3)
                started.set()
        return plain.get_session_history(session_id)

    return replace(plain, get_session_history=open_history)


class _Noisy(JsonHistory):
    """Logs, and writes to stderr."""

    def _say(self, what: str) -> None:
        logging.getLogger("chathistory.tests.noisy").warning("%s in session %r", what, self.session_id)
        sys.stderr.write(f"{what}\n")

    def _add(self, items: list[Any]) -> Steps[None]:
        self._say(f"adding {len(items)} messages")
        yield from super()._add(items)

    def _read(self) -> Steps[list[BaseMessage]]:
        self._say("reading")
        return (yield from super()._read())


@odd()
def talks_a_lot() -> Backend:
    """Logs a warning, and writes a line to stderr, for each operation."""
    return backend("talks_a_lot", _Noisy)


# Which forms there are


class _SaysAsyncOnly(JsonHistory):
    def _run(self, steps: Steps[T]) -> T:
        raise RuntimeError(f"session {self.session_id!r}: this store is asynchronous; use aadd_messages")


@odd()
def says_that_it_is_async_only() -> Backend:
    """The sync methods raise an error of their own, which speaks of the async ones."""
    return backend("says_that_it_is_async_only", _SaysAsyncOnly)


class _SyncOnly(JsonHistory):
    claims = frozenset({"core"})

    async def _arun(self, steps: Steps[T]) -> T:
        raise NotImplementedError("this history has no async methods")


@odd()
def has_no_async_forms() -> Backend:
    """The async methods raise NotImplementedError, and are not claimed."""
    return backend("has_no_async_forms", _SyncOnly)


# What is refused


@odd()
def refuses_nul() -> Backend:
    """As PostgreSQL does, with an error that names the session."""
    return backend("refuses_nul", RefusesNul)


class _WantsASequence(JsonHistory):
    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if not isinstance(messages, Sequence):
            self._refuse(TypeError, f"expected a sequence of messages, got {type(messages).__name__}")
        return super()._batch(messages)


@odd()
def wants_a_sequence() -> Backend:
    """Refuses iterators, as the base class's annotation lets it."""
    return backend("wants_a_sequence", _WantsASequence)


# What handles and lists are


class _Transcript(list[BaseMessage]):
    """A list with a name of its own."""

    def __repr__(self) -> str:
        return f"<transcript of {len(self)} messages>"


class _ReturnsTranscripts(JsonHistory):
    def _read(self) -> Steps[list[BaseMessage]]:
        return _Transcript((yield from super()._read()))


@odd()
def returns_its_own_kind_of_list() -> Backend:
    """Reads return a subclass of list, with another repr."""
    return backend("returns_its_own_kind_of_list", _ReturnsTranscripts)


class _Connected(list[BaseMessage]):
    """A list that holds something which can't be copied."""

    def __init__(self, messages: list[BaseMessage], connection: Any) -> None:
        super().__init__(messages)
        self.connection = connection


class _ReturnsConnected(JsonHistory):
    def _read(self) -> Steps[list[BaseMessage]]:
        return _Connected((yield from super()._read()), self.store.lock)


@odd()
def returns_a_list_that_holds_a_connection() -> Backend:
    """Reads return a subclass of list that can't be deep-copied or pickled as a whole."""
    return backend("returns_a_list_that_holds_a_connection", _ReturnsConnected)


class _Guarded(MutableSequence[BaseMessage]):
    """Messages behind a lock, which can't be copied: no list, but all that one can do."""

    def __init__(self, messages: Iterable[BaseMessage]) -> None:
        self._messages, self._lock = list(messages), threading.Lock()

    def __getitem__(self, place: Any) -> Any:
        return self._messages[place]

    def __setitem__(self, place: Any, message: Any) -> None:
        self._messages[place] = message

    def __delitem__(self, place: Any) -> None:
        del self._messages[place]

    def __len__(self) -> int:
        return len(self._messages)

    def __add__(self, other: Iterable[BaseMessage]) -> list[BaseMessage]:
        return [*self._messages, *other]

    def insert(self, index: int, value: BaseMessage) -> None:
        self._messages.insert(index, value)

    def copy(self) -> list[BaseMessage]:
        return list(self._messages)

    def sort(self, **order: Any) -> None:
        self._messages.sort(**order)


class _ReturnsGuarded(JsonHistory):
    def _read(self) -> Steps[list[BaseMessage]]:
        return _Guarded((yield from super()._read()))  # type: ignore[return-value]


@odd()
def returns_a_sequence_that_holds_a_lock() -> Backend:
    """Reads return no list but what does all that lists do; it can't be deep-copied."""
    return backend("returns_a_sequence_that_holds_a_lock", _ReturnsGuarded)


class _DecodesLate(JsonHistory):
    def _read(self) -> Steps[list[BaseMessage]]:
        yield self.store.latency
        with self._transaction():
            items = self._items()
        return LateList(lambda: [self._load(item) for item in items])


@odd()
def decodes_when_looked_at() -> Backend:
    """Reads fetch the text of all messages, and decode it when somebody looks at the list."""
    return backend("decodes_when_looked_at", _DecodesLate)


class _Slotted(Wrapping):
    __slots__ = ("_inner",)


@odd()
def uses_slots() -> Backend:
    """The handle has __slots__."""
    return backend("uses_slots", _Slotted)  # type: ignore[arg-type]


class _Model(BaseChatMessageHistory, BaseModel):
    """A pydantic model with a field `messages`, as langchain-core's in-memory history is one."""

    session_id: str
    messages: list[BaseMessage] = Field(default_factory=list)
    _inner: JsonHistory = PrivateAttr()

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        self._inner.add_messages(messages)

    def clear(self) -> None:
        """Start the session anew."""
        self._inner.clear()


# Over the field, whose value nobody reads.
_Model.messages = property(  # type: ignore[assignment]
    lambda self: self._inner.messages,
    lambda self, messages: setattr(self._inner, "messages", messages),
)


@odd()
def is_a_pydantic_model() -> Backend:
    """The handle is a pydantic model."""
    plain = backend("is_a_pydantic_model", JsonHistory)

    def open_history(session_id: str) -> BaseChatMessageHistory:
        model = _Model(session_id=session_id)
        model._inner = plain.get_session_history(session_id)  # type: ignore[assignment]
        return model

    return replace(plain, get_session_history=open_history)


# What the factory is


@odd()
def opens_by_a_partial() -> Backend:
    """The factory is a functools.partial over a function with keyword-only arguments."""

    def open_history(session_id: str, *, store: Store, verbose: bool = False) -> BaseChatMessageHistory:
        return JsonHistory(session_id, store)

    store = Store()
    plain = backend("opens_by_a_partial", JsonHistory, store)
    return replace(plain, get_session_history=partial(open_history, store=store))


@odd()
def opens_by_a_class() -> Backend:
    """The factory is the history class."""
    store = Store()

    class History(JsonHistory):
        def __init__(self, session_id: str) -> None:
            super().__init__(session_id, store)

    return replace(backend("opens_by_a_class", JsonHistory, store), get_session_history=History)


class _Client:
    """Owns the store, and opens handles."""

    def __init__(self) -> None:
        self.store = Store()

    def open(self, session_id: str) -> BaseChatMessageHistory:
        """A handle on a session."""
        return JsonHistory(session_id, self.store)


@odd()
def opens_by_a_bound_method() -> Backend:
    """The factory is the method of a client."""
    client = _Client()
    plain = backend("opens_by_a_bound_method", JsonHistory, client.store)
    return replace(plain, get_session_history=client.open)


# What the store does


class _Paginated(TableHistory):
    """Reads 37 rows at a time, in one transaction."""

    SELECT = f"{TableHistory.SELECT} LIMIT 37 OFFSET :offset"

    def _items(self) -> list[Any]:
        items: list[Any] = []
        while page := [item for (item,) in self._execute(self.SELECT, offset=len(items))]:
            items += page
        return items


@odd()
def reads_in_pages() -> Backend:
    """Reads pages of 37 rows, all of them and in one transaction."""
    return backend("reads_in_pages", _Paginated)


class _Caching(TableHistory):
    """Caches items, and forgets them in the transaction of each write."""

    def _items(self) -> list[Any]:
        cache = self.store.notes
        if self._key() not in cache:
            cache[self._key()] = super()._items()
        return list(cache[self._key()])

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self.store.notes.pop(self._key(), None)

    def _erase(self) -> None:
        super()._erase()
        self.store.notes.pop(self._key(), None)


@odd()
def caches_reads() -> Backend:
    """Caches what it read, for all handles, and gets it right."""
    return backend("caches_reads", _Caching)


class _Reconnecting(TableHistory):
    """Loses its connection before every fifth operation, and opens another."""

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.store.lock:
            self.store.notes["count"] = self.store.notes.get("count", 0) + 1
            if self.store.notes["count"] % 5 == 0:
                self.store.connection.close()
                self.store.connection = self.store.connect()
        with super()._transaction():
            yield


@odd()
def reconnects() -> Backend:
    """The connection is lost every now and then, between operations, and opened again."""
    return backend("reconnects", _Reconnecting)


class _ThreadBoundStore(TableStore):
    def connect(self, **options: Any) -> sqlite3.Connection:
        return super().connect(**{"check_same_thread": True, **options})


class _ThreadBound(TableHistory):
    store_class = _ThreadBoundStore
    claims = frozenset({"core"})


@odd("RUN-1", "RUN-2", "RUN-3")
def belongs_to_its_thread() -> Backend:
    """Its connection works in one thread, and only core is claimed; a runnable uses several all the same."""
    return backend("belongs_to_its_thread", _ThreadBound)


@odd()
def is_full_of_other_sessions() -> Backend:
    """Five hundred sessions are there already, some of them with ids that a test might think of."""
    store = Store()
    ids = ["", "0", "1", "a", "A", "default", "session", "test", "foo", "user", "*", "%"]
    for session_id in [*ids, *(f"conversation-{number}" for number in range(488))]:
        JsonHistory(session_id, store).add_messages([HumanMessage(f"an old message of {session_id!r}")])
    return replace(backend("is_full_of_other_sessions", JsonHistory, store), disposable=False)


# Over a network


class _WithALog(NetworkHistory):
    """Two round trips for everything, whatever the size: the second writes a log."""

    def _ask(self, **request: Any) -> Any:
        answer = super()._ask(**request)
        super()._ask(op="length")
        return answer


@odd()
def makes_two_round_trips() -> Backend:
    """Each call takes two round trips, however long the history is."""
    return network_backend("makes_two_round_trips", _WithALog)


class _NeverAgain(NetworkHistory):
    """A handle whose connection was lost says so at every later call."""

    def _send(self, line: bytes) -> Any:
        if self._connection == "lost":
            raise ConnectionError(f"session {self.session_id!r}: the connection was lost; open another handle")
        return super()._send(line)

    def _forget(self) -> None:
        if self._connection != "lost":
            super()._forget()
        self._connection = "lost"


@odd()
def never_uses_a_lost_connection_again() -> Backend:
    """After a lost connection the handle raises at every call; a new one works."""
    return network_backend("never_uses_a_lost_connection_again", _NeverAgain)


class _RetriesReads(NetworkHistory):
    """Sends reads and clears again, which is harmless, and adds never."""

    def _send(self, line: bytes) -> Any:
        try:
            return super()._send(line)
        except ConnectionError:
            if b'"op": "read"' not in line:
                raise
            return super()._send(line)


@odd()
def retries_what_can_be_retried() -> Backend:
    """Reads are sent again after a lost connection."""
    return network_backend("retries_what_can_be_retried", _RetriesReads)


# What they raise, and what they are


def _a_loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _RefusesSyncCallsInALoop(JsonHistory):
    def _run(self, steps: Steps[T]) -> T:
        if _a_loop_is_running():
            self._refuse(RuntimeError, "a sync call would block the running event loop; await the async form")
        return super()._run(steps)


@odd()
def refuses_sync_calls_in_a_loop() -> Backend:
    """Where an event loop runs, the sync forms raise, and have done nothing."""
    return backend("refuses_sync_calls_in_a_loop", _RefusesSyncCallsInALoop)


class _EndsByAnErrorOfItsOwn(JsonHistory):
    async def _arun(self, steps: Steps[T]) -> T:
        try:
            return await super()._arun(steps)
        except asyncio.CancelledError:
            raise ConnectionError(f"session {self.session_id!r}: cancelled, and nothing was done") from None


@odd()
def ends_cancelled_calls_by_its_own_error() -> Backend:
    """A cancelled call does nothing and raises ConnectionError."""
    return backend("ends_cancelled_calls_by_its_own_error", _EndsByAnErrorOfItsOwn)


class _Quota(JsonHistory):
    def _append(self, items: list[Any]) -> None:
        if len(self._items()) + len(items) > 2_000:
            self._refuse(ValueError, "it would hold more than 2,000 messages")
        super()._append(items)


@odd()
def refuses_what_is_more_than_2000() -> Backend:
    """The 2,001st message is refused."""
    return backend("refuses_what_is_more_than_2000", _Quota)


class _NotedAndCircular(JsonHistory):
    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        error = kind(f"refused: {cause}")
        error.__notes__ = [f"session {self.session_id!r}"]
        raise error from error


@odd()
def raises_errors_that_cause_themselves() -> Backend:
    """An error names the session in a note, and is its own cause."""
    return backend("raises_errors_that_cause_themselves", _NotedAndCircular)


class _NeitherTrueNorFalse(JsonHistory):
    def __bool__(self) -> bool:
        raise TypeError("a history is neither true nor false")

    def __len__(self) -> int:
        return 0


@odd()
def has_no_truth_value() -> Backend:
    """The handle can't be asked whether it is true, as an array can't."""
    return backend("has_no_truth_value", _NeitherTrueNorFalse)


class _PlainTables(JsonHistory):
    def __init__(self, session_id: str, store: Any, *, partition: str = "", **options: Any) -> None:
        if not re.fullmatch(r"[a-z0-9_]{0,60}", partition):
            raise ValueError(f"session {session_id!r}: {partition!r} is no name of a table")
        super().__init__(session_id, store, partition=partition, **options)


@odd()
def refuses_odd_tables() -> Backend:
    """The name of a table is up to 60 lower-case letters, digits and underscores, or refused."""
    return backend("refuses_odd_tables", _PlainTables)


class _Proxy:
    """Stands for a history that is made when it is first used."""

    def __init__(self, make: Callable[[], Any]) -> None:
        object.__setattr__(self, "_make", make)
        object.__setattr__(self, "_made", None)

    def _history(self) -> Any:
        if object.__getattribute__(self, "_made") is None:
            object.__setattr__(self, "_made", object.__getattribute__(self, "_make")())
        return object.__getattribute__(self, "_made")

    @property
    def __class__(self) -> Any:
        return type(object.__getattribute__(self, "_history")())

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_history")(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_history")(), name, value)


@odd()
def opens_handles_when_they_are_used() -> Backend:
    """get_session_history gives proxies, and not histories."""
    plain = backend("opens_handles_when_they_are_used", JsonHistory)
    return replace(plain, get_session_history=lambda name: _Proxy(partial(plain.get_session_history, name)))


_OWNED: deque[Any] = deque(maxlen=5_000)


@odd()
def gives_weak_proxies() -> Backend:
    """The store owns the histories, and gives out proxies that own nothing."""
    plain = backend("gives_weak_proxies", JsonHistory)

    def get_session_history(session_id: str) -> Any:
        _OWNED.append(plain.get_session_history(session_id))
        return weakref.proxy(_OWNED[-1])

    return replace(plain, get_session_history=get_session_history)
