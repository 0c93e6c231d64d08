"""A backend that has opened and answered: the smoke gate, before any clause is judged."""

from __future__ import annotations

import inspect
import math
import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import HumanMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance._error_text import is_refusal_of_sync
from chathistory.conformance._errors import BackendError
from chathistory.conformance._first_use import FirstUse
from chathistory.conformance._loops import EventLoop
from chathistory.conformance._program import Mode, new_token
from chathistory.conformance._text import error_line, raised_at
from chathistory.conformance._watchdog import OperationHungError, time_limit
from chathistory.conformance.trials._finding import loops_over_batches
from chathistory.conformance.trials._writers import ImportedFactory

_ADDS = 12
SLOW = 0.03
"""Seconds from which on an add counts as slow: more than the quickest of a dozen takes where the store is near."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A backend and the modes in which it can be called.

    Attributes:
        backend: the backend.
        loops_over_batches: whether it has only `add_message`, and inherits the loop of the base class.
        latency: seconds that one add took, with everything open, or the opening of a handle, if that is longer.
        first_use: what was seen when it was first used in this run, if that was looked at.
        modes: "sync" unless its sync calls raise NotImplementedError, or an error that speaks of async ones; "async"
            if it claims `async`.
    """

    backend: Backend
    modes: frozenset[Mode]
    loops_over_batches: bool = False
    latency: float = 0.0
    first_use: FirstUse | None = None

    @property
    def is_slow(self) -> bool:
        """Whether its calls take so long that a run has to make fewer of them; no store on this machine's disk does."""
        return self.backend.costly or self.latency >= SLOW


def pass_smoke_gate(backend: Backend, *, timeout: float = 10.0, by_both_forms: bool = False) -> Subject:
    """Open a handle, add one message, read it; by async calls, too, if so asked or if there are no sync ones.

    Whether what is read is right is for the clauses to say; here only errors count.

    Raises:
        BackendError: one line that says what failed, if anything raised or did not return.
    """
    _check_what_is_sent(backend)
    session_id = new_token().fill("{run}-smoke")
    modes: set[Mode] = {"async"} if "async" in backend.claims else set()
    try:
        with warnings.catch_warnings(), time_limit(timeout):
            warnings.simplefilter("ignore")
            history = _opened(backend, session_id)
            opening = _shortest(lambda: _opened(backend, session_id))
            latency = _answers(history)
            if latency is not None:
                modes.add("sync")
                if by_both_forms and "async" in modes:
                    _answer_async_if_not_bound(history)
            elif not modes:
                raise BackendError(f"{backend.name}: its sync calls are not implemented; claim async to check it")
            else:
                latency = _answer_async(history)
    except BackendError:
        raise
    except OperationHungError:
        raise BackendError(f"{backend.name}: the first add and read did not return within {timeout:g} s") from None
    except Exception as error:
        raise BackendError(
            f"{backend.name}: the first add and read failed: {error_line(error)}{raised_at(error)}"
        ) from error
    return Subject(backend, frozenset(modes), loops_over_batches(history), max(latency, opening))


def _check_what_is_sent(backend: Backend) -> None:
    """Other processes are sent what opens the store there; without it nothing they do could be judged."""
    offered = backend.in_another_process
    if offered is None or isinstance(offered, ImportedFactory):
        return
    try:
        pickle.dumps(offered)
    except Exception as error:  # noqa: BLE001 -- whatever keeps it from being pickled
        raise BackendError(
            f"{backend.name}: its in_another_process can't be pickled, so no other process can have it; give a "
            f"function of a module, or functools.partial of one: {error_line(error)}"
        ) from None


def is_history(value: object) -> bool:
    """Whether it has what a chat message history is called by, whatever its class is."""
    # Asked of the object, which may be a proxy of one that is made when it is first used.
    return not isinstance(value, type) and all(
        hasattr(value, name) for name in ("add_messages", "clear", "aget_messages")
    )


def _opened(backend: Backend, session_id: str) -> BaseChatMessageHistory:
    try:
        history = backend.get_session_history(session_id)
    except Exception as error:
        raise BackendError(
            f"{backend.name}: get_session_history({session_id!r}) raised {error_line(error)}{raised_at(error)}"
        ) from error
    if inspect.iscoroutine(history):
        history.close()
        raise BackendError(f"{backend.name}: get_session_history is async; it must be a plain function")
    if not is_history(history):
        raise BackendError(
            f"{backend.name}: get_session_history returned {type(history).__name__}, not a chat message history; "
            "it needs the methods of langchain_core.chat_history.BaseChatMessageHistory"
        )
    return history


def _answers(history: BaseChatMessageHistory) -> float | None:
    """One message in and out by sync calls, and how long an add takes; None if they are refused."""
    try:
        history.add_messages([HumanMessage(content="smoke")])
        _ = history.messages
    except Exception as error:
        if is_refusal_of_sync(error):
            return None
        raise
    return _shortest(lambda: history.add_messages([HumanMessage(content="smoke")]))


def _answer_async(history: BaseChatMessageHistory) -> float:
    """One message in and out by async calls, and how long an add takes."""
    loop = EventLoop()
    try:
        loop.run(history.aadd_messages([HumanMessage(content="smoke")]))
        loop.run(history.aget_messages())
        return _shortest(lambda: loop.run(history.aadd_messages([HumanMessage(content="smoke")])))
    finally:
        loop.renew()


def _answer_async_if_not_bound(history: BaseChatMessageHistory) -> None:
    """The same of a history that may refuse any event loop but its first (ASY-6)."""
    try:
        _answer_async(history)
    except Exception as error:
        if "loop" not in str(error):
            raise


def _shortest(call: Callable[[], object]) -> float:
    """The least seconds a call takes: a busy machine only makes the others longer, and is given several tries."""
    least = math.inf
    for _ in range(_ADDS):
        began = time.monotonic()
        call()
        least = min(least, time.monotonic() - began)
        if least < SLOW:
            break
    return least
