"""The reference: `chathistory.reference.step` behind a lock, as a history and as the store of unit tests.

It keeps every clause it can be asked for (profiles core, async, threads, bounded and expiry), so a test that
passes over it fails over another store only where that store breaks a promise. It refuses what no JSON store
could keep, so that a unit test finds out before production does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chathistory.reference._codec import copy_batch, copy_messages
from chathistory.reference._errors import StoreError
from chathistory.reference._model import (
    UNWRITTEN,
    Add,
    Clear,
    Messages,
    Operation,
    Read,
    Replace,
    Rules,
    Session,
    step_session,
)

OperationKind: TypeAlias = Literal["add", "read", "clear", "replace"]
Mode: TypeAlias = Literal["sync", "async"]

_KIND_OF: dict[type, OperationKind] = {Add: "add", Read: "read", Clear: "clear", Replace: "replace"}
_LOG_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class RecordedOperation:
    """One operation that reached the store, as `InMemoryChatHistoryStore.operations` lists them.

    Attributes:
        kind: "add", "read", "clear" or "replace".
        session_id: the session it was made on.
        mode: whether its sync or its async form was called.
        messages: what was added or read; empty for a clear.
        error: what the store raised, or None.
    """

    kind: OperationKind
    session_id: str
    mode: Mode
    messages: Messages = ()
    error: Exception | None = None


@dataclass(slots=True)
class _Fault:
    """A failure that waits for its turn: the `countdown`-th operation of this kind from now."""

    kind: OperationKind | None
    countdown: int
    error: Exception
    applied: bool


class InMemoryChatHistoryStore:
    """Sessions in memory, safe for threads and event loops, to be given to code under test.

    ::

        store = InMemoryChatHistoryStore()
        chain = RunnableWithMessageHistory(runnable, store.get_session_history)

    Values are copied on the way in and out, so nothing the caller holds is part of the store (SNP-1 to SNP-4).

    Args:
        history_size: how many of the last messages of a session are kept; None keeps all (BND-1).
        ttl: seconds after the last add at which a session reads as empty; None is never (EXP-1).
        clock: the time in seconds, never going back; pass your own to test expiry without waiting.
    """

    def __init__(
        self,
        *,
        history_size: int | None = None,
        ttl: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = Rules(history_size=history_size, ttl=ttl)
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._log: deque[RecordedOperation] = deque(maxlen=_LOG_LENGTH)
        self._faults: list[_Fault] = []
        self._delays: list[tuple[OperationKind | None, float]] = []

    def get_session_history(
        self, session_id: str, *, history_size: int | None = None, ttl: float | None = None
    ) -> InMemoryChatMessageHistory:
        """A new handle on a session: the callable that RunnableWithMessageHistory takes.

        Args:
            session_id: which session.
            history_size: a bound for what this handle writes, in place of the store's.
            ttl: a time to live for what this handle writes, in place of the store's.
        """
        return InMemoryChatMessageHistory(session_id, store=self, history_size=history_size, ttl=ttl)

    def sessions(self) -> list[str]:
        """The ids of the sessions that hold messages now, in the order of their first write."""
        with self._lock:
            return [name for name in list(self._sessions) if self._apply(Read(name), self._rules)]

    def delete(self, session_id: str) -> None:
        """Forget a session; harmless if it was never written."""
        with self._lock:
            self._sessions.pop(session_id, None)

    @property
    def operations(self) -> tuple[RecordedOperation, ...]:
        """The operations made, oldest first (the last 10,000)."""
        with self._lock:
            return tuple(self._log)

    def forget_operations(self) -> None:
        """Start the record of operations anew; what is stored stays."""
        with self._lock:
            self._log.clear()

    def fail(
        self,
        nth: int = 1,
        operation: OperationKind | None = None,
        *,
        error: Exception | None = None,
        applied: bool = False,
    ) -> None:
        """Make the n-th operation from now raise, once.

        Args:
            nth: which one, counting from 1.
            operation: count only operations of this kind; None counts all.
            error: what to raise; a `StoreError` by default.
            applied: carry the operation out before raising, as a lost connection may.

        Raises:
            ValueError: if `nth` is less than 1.
        """
        if nth < 1:
            raise ValueError(f"nth counts from 1, got {nth}")
        fault = _Fault(operation, nth, error or StoreError("failed on request"), applied)
        with self._lock:
            self._faults.append(fault)

    @contextmanager
    def delay(self, seconds: float, operation: OperationKind | None = None) -> Iterator[None]:
        """Make operations (of one kind, or all) take longer while the block runs.

        A sync call sleeps in its thread; an async call leaves the event loop free (ASY-3).
        """
        rule = (operation, seconds)
        with self._lock:
            self._delays.append(rule)
        try:
            yield
        finally:
            with self._lock:
                self._delays.remove(rule)

    def _run(self, operation: Operation, rules: Rules, mode: Mode) -> Messages:
        """Carry out one operation as a whole, under the lock, and record it."""
        kind = _KIND_OF[type(operation)]
        with self._lock:
            fault = self._due_fault(kind)
            result: Messages = ()
            if fault is None or fault.applied:
                result = self._apply(operation, rules)
            written = operation.messages if isinstance(operation, Add | Replace) else result
            error = fault.error if fault else None
            self._log.append(RecordedOperation(kind, operation.session_id, mode, written, error))
        if fault is not None:
            raise fault.error
        return result

    def _apply(self, operation: Operation, rules: Rules) -> Messages:
        before = self._sessions.get(operation.session_id, UNWRITTEN)
        after, result = step_session(before, operation, rules=rules, now=self._clock())
        if after is UNWRITTEN:
            self._sessions.pop(operation.session_id, None)
        elif after is not before:
            self._sessions[operation.session_id] = after
        return result or ()

    def _due_fault(self, kind: OperationKind) -> _Fault | None:
        for fault in self._faults:
            if fault.kind in (None, kind):
                fault.countdown -= 1
        due = next((fault for fault in self._faults if fault.countdown == 0), None)
        if due is not None:
            self._faults.remove(due)
        return due

    def _seconds_of_delay(self, operation: Operation) -> float:
        kind = _KIND_OF[type(operation)]
        with self._lock:
            return sum(seconds for of_kind, seconds in self._delays if of_kind in (None, kind))

    def _run_sync(self, operation: Operation, rules: Rules) -> Messages:
        if seconds := self._seconds_of_delay(operation):
            time.sleep(seconds)
        return self._run(operation, rules, "sync")

    async def _run_async(self, operation: Operation, rules: Rules) -> Messages:
        if seconds := self._seconds_of_delay(operation):
            await asyncio.sleep(seconds)
        return self._run(operation, rules, "async")


class InMemoryChatMessageHistory(BaseChatMessageHistory):
    """A chat message history in memory that keeps every clause: the reference.

    Used alone it is a drop-in for langchain-core's class of the same name; with a `store` it is a handle on
    one of its sessions.

    Args:
        session_id: which session of the store.
        messages: messages to begin with.
        store: where the session lives; a store of its own by default.
        history_size: how many of the last messages are kept (BND-1); by default what the store says.
        ttl: seconds after the last add at which the session reads as empty (EXP-1); likewise.

    Raises:
        TypeError: if the session id is not a str.
        ValueError: if `history_size` or `ttl` is not more than 0.
    """

    def __init__(
        self,
        session_id: str = "default",
        messages: Sequence[BaseMessage] = (),
        *,
        store: InMemoryChatHistoryStore | None = None,
        history_size: int | None = None,
        ttl: float | None = None,
    ) -> None:
        if not isinstance(session_id, str):
            raise TypeError(f"session_id must be a str, got {type(session_id).__name__}")
        self.session_id = session_id
        self._store = store if store is not None else InMemoryChatHistoryStore()
        said, own = self._store._rules, Rules(history_size=history_size, ttl=ttl)
        self._rules = Rules(
            history_size=said.history_size if own.history_size is None else own.history_size,
            ttl=said.ttl if own.ttl is None else own.ttl,
        )
        if messages:
            self.add_messages(messages)

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session in the order in which they were added; the list is the caller's."""
        return copy_messages(self._store._run_sync(Read(self.session_id), self._rules))

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        self._store._run_sync(Replace(self.session_id, copy_batch(messages, self.session_id)), self._rules)

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch, wholly or not at all.

        Raises:
            NotAMessageError: if anything in it is not a message.
            UnstorableValueError: if a message can't be stored exactly.
        """
        batch = copy_batch(messages, self.session_id)
        self._store._run_sync(Add(self.session_id, batch), self._rules)

    def clear(self) -> None:
        """Start the session anew."""
        self._store._run_sync(Clear(self.session_id), self._rules)

    async def aget_messages(self) -> list[BaseMessage]:
        """The async form of reading `messages`."""
        return copy_messages(await self._store._run_async(Read(self.session_id), self._rules))

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """The async form of `add_messages`."""
        batch = copy_batch(messages, self.session_id)
        await self._store._run_async(Add(self.session_id, batch), self._rules)

    async def aclear(self) -> None:
        """The async form of `clear`."""
        await self._store._run_async(Clear(self.session_id), self._rules)

    def __repr__(self) -> str:
        return f"InMemoryChatMessageHistory(session_id={self.session_id!r})"
