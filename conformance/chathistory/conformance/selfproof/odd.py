"""Histories that are unusual and right: a suite that blames one of them is wrong."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Hashable, Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar, NoReturn, TypeVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage
from typing_extensions import override

from chathistory.conformance._backend import Backend
from chathistory.conformance.selfproof._histories import (
    PLAIN,
    CorrectHistory,
    JsonHistory,
    Steps,
    Store,
    TableHistory,
    backend,
)
from chathistory.conformance.selfproof._network import NetworkHistory, network_backend
from chathistory.conformance.selfproof._planted import odd
from chathistory.conformance.selfproof._values import with_values
from chathistory.reference import Profile

T = TypeVar("T")


@odd()
def keeps_python_values() -> Backend:
    """Keeps deep copies: bytes, sets, tuples, NaN and subclasses come back as they are."""
    return backend("keeps_python_values", CorrectHistory)


@odd()
def keeps_rows() -> Backend:
    """Keeps rows in a SQLite file, over one connection."""
    return backend("keeps_rows", TableHistory)


class Wrapping(BaseChatMessageHistory):
    """The sync forms only; the async ones are those of the base class, which use a thread."""

    store_class: ClassVar[type[Store]] = Store
    claims: ClassVar[frozenset[Profile]] = JsonHistory.claims

    def __init__(self, session_id: str, store: Store, **options: Any) -> None:
        self._inner = JsonHistory(session_id, store, **options)

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session."""
        return self._inner.messages

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        self._inner.messages = messages

    @override
    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        self._inner.add_messages(messages)

    @override
    def clear(self) -> None:
        self._inner.clear()


@odd()
def inherits_its_async_forms() -> Backend:
    """Implements the sync methods only."""
    return backend("inherits_its_async_forms", Wrapping)  # type: ignore[arg-type]


class _Legacy(BaseChatMessageHistory):
    """What was enough before add_messages: no bulk form, and no setter."""

    store_class: ClassVar[type[Store]] = Store
    claims: ClassVar[frozenset[Profile]] = PLAIN

    def __init__(self, session_id: str, store: Store, **options: Any) -> None:
        self._inner = JsonHistory(session_id, store, **options)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The messages of the session."""
        return self._inner.messages

    @override
    def add_message(self, message: BaseMessage) -> None:
        self._inner.add_messages([message])

    @override
    def clear(self) -> None:
        self._inner.clear()


@odd("ATM-1", "ATM-2", "ATM-3")
def implements_add_message_only() -> Backend:
    """Inherits the loop of the base class, which breaks ATM and nothing else."""
    return backend("implements_add_message_only", _Legacy)  # type: ignore[arg-type]


class _AsyncOnly(JsonHistory):
    claims = frozenset({"core", "async", "threads"})

    def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError("this history has async methods only")


@odd()
def has_no_sync_forms() -> Backend:
    """The sync methods raise NotImplementedError; core is claimed for the async ones."""
    return backend("has_no_sync_forms", _AsyncOnly)


class RefusesNul(JsonHistory):
    """Refuses text that holds NUL."""

    def _dump(self, message: BaseMessage) -> Any:
        with_values(deepcopy(message), self._check)
        return super()._dump(message)

    def _check(self, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("this store has no NUL in text")
        return value


class _RefusesWhatIsHard(RefusesNul):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if len(self.session_id) > 512 or not self.session_id.isprintable():
            self._refuse(ValueError, "an id has at most 512 characters, all of them printable")

    def _check(self, value: Any) -> Any:
        if isinstance(value, str):
            value.encode()
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise ValueError("an integer has 64 bits")
        return super()._check(value)


@odd()
def refuses_what_is_hard() -> Backend:
    """Refuses NUL, lone surrogates, integers beyond 64 bits, long ids, and ids that can't be printed."""
    return backend("refuses_what_is_hard", _RefusesWhatIsHard)


class _RefusesLaterLoops(JsonHistory):
    claims = PLAIN
    _loop: AbstractEventLoop | None = None

    async def _arun(self, steps: Steps[T]) -> T:
        self._loop = self._loop or get_running_loop()
        if self._loop is not get_running_loop():
            raise RuntimeError(
                f"session {self.session_id!r}: this handle belongs to another event loop; open a new one"
            )
        return await super()._arun(steps)


@odd()
def refuses_later_loops() -> Backend:
    """A handle belongs to the event loop of its first use, and says so in any other."""
    return backend("refuses_later_loops", _RefusesLaterLoops)


class _RefusesAssignment(JsonHistory):
    def _assign(self, messages: Iterable[BaseMessage]) -> NoReturn:
        raise AttributeError(f"session {self.session_id!r}: messages can't be assigned to; clear and add")


@odd()
def refuses_assignment() -> Backend:
    """The attribute can't be assigned to, which is one of the two things it may do."""
    return backend("refuses_assignment", _RefusesAssignment)


@odd()
def keeps_one_handle_per_session() -> Backend:
    """The factory returns the same object for the same id."""
    plain = backend("keeps_one_handle_per_session", JsonHistory)
    lock = threading.Lock()
    handles: dict[Hashable, BaseChatMessageHistory] = {}

    def open_history(session_id: str) -> BaseChatMessageHistory:
        with lock:
            if session_id not in handles:
                handles[session_id] = plain.get_session_history(session_id)
            return handles[session_id]

    return replace(plain, get_session_history=open_history)


@odd()
def talks_over_a_network() -> Backend:
    """A request of one line for each call, over a connection of its own that is opened at the first."""
    return network_backend("talks_over_a_network", NetworkHistory)
