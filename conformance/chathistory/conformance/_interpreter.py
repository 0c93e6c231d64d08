"""Runs a program against a backend, a step at a time, and says what each step returned or raised."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import math
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

from langchain_core.messages import HumanMessage

from chathistory.conformance._backend import Backend, History
from chathistory.conformance._copies import copies_of
from chathistory.conformance._loops import EventLoop
from chathistory.conformance._message_ids import filled
from chathistory.conformance._program import (
    Add,
    AddBack,
    Assign,
    Cancel,
    Clear,
    Edit,
    Forget,
    Mode,
    NewLoop,
    Open,
    Program,
    Read,
    RunToken,
    Step,
    Together,
    Trial,
    Turn,
    Wait,
    is_unique,
    new_token,
)
from chathistory.conformance._runnables import session_of_turn, take_turn
from chathistory.conformance._together import SECONDS_TO_END, Event, run_together
from chathistory.conformance._trials import TRIALS, run_trial
from chathistory.conformance._watchdog import OperationHungError, most_memory_used, time_limit
from chathistory.conformance.trials._finding import loops_over_batches
from chathistory.conformance.trials._writers import factory_elsewhere
from chathistory.reference import same_value

SessionKey: TypeAlias = tuple[str | None, str]
"""What tells sessions of a program apart: the partition and the template of the id."""

# A message of a batch may take this part of the time that an operation may take: 50 ms of 10 s.
_SHARE_OF_A_MESSAGE = 0.005
# A history that adds to the list it is reading grows without end: it is stopped before it fills the memory.
_SECONDS_TO_ADD_BACK = 3.0
_MEMORY_TO_ADD_BACK = 2**26
SHORT_WAIT = 0.05
"""Up to how many seconds a wait is one by the clock on the wall, too."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one step did.

    Attributes:
        index: the index of the step.
        step: the step.
        session: the session it went to.
        outcome: whether it returned, raised, did not come back, or could not be tried, since its handle was
            refused.
        began: when it began, in seconds of the monotonic clock.
        value: what it returned, if it reads; the seconds it was given, if it hung.
        error: what it raised.
        argument: what was handed to an add or assigned, as it is after the call.
        changed_result: the index of an earlier read whose list has changed in the caller's hands, if any.
    """

    index: int
    step: Step
    session: SessionKey | None
    outcome: Literal["returned", "raised", "hung", "skipped"]
    began: float
    value: Any = None
    error: BaseException | None = None
    argument: Sequence[Any] | None = None
    changed_result: int | None = None


@dataclass(slots=True)
class _Kept:
    """A list that a read returned: the list itself, and what was in it."""

    index: int
    live: Any
    copy: Any


@dataclass(slots=True)
class Execution:
    """One run of a program against a backend.

    Args:
        backend: the subject.
        program: what to do.
        timeout: seconds an operation may take, and a two-hundredth of that more for each message it adds.
        keep_results: watch whether lists returned earlier change in the caller's hands (SNP-1).
        token: what makes its session ids, and its messages' where they are templates, unlike any other's.
        cleans_up: clear the sessions at the end, unless the store is thrown away anyhow. It is cleared all the same
            when a read held more than the program wrote: what sessions share would grow with every program.
    """

    backend: Backend
    program: Program
    timeout: float = 10.0
    keep_results: bool = False
    token: RunToken = field(default_factory=new_token)
    cleans_up: bool = True
    operations: int = 0
    _handles: dict[int, History] = field(default_factory=dict)
    _sessions: dict[int, SessionKey] = field(default_factory=dict)
    _opens: dict[int, Open] = field(default_factory=dict)
    _left: dict[SessionKey, Open] = field(default_factory=dict)
    _arguments: dict[int, list[Any]] = field(default_factory=dict)
    _results: dict[int, _Kept] = field(default_factory=dict)
    _kept: list[_Kept] = field(default_factory=list)
    _was_empty: dict[SessionKey, bool] = field(default_factory=dict)
    _loop: EventLoop = field(default_factory=EventLoop)
    _written: float = 0
    _held_more: bool = False

    def run(self) -> Iterator[Observation]:
        """Carry out the steps in order; the caller may stop at any of them."""
        try:
            for index, step in enumerate(self.program.steps):
                yield self._observe(index, filled(step, self.token))
        finally:
            self._finish()

    def loops_over_batches(self, handle: int) -> bool:
        """Whether a handle has only `add_message`: then its batches are not atomic, which is ATM's business."""
        return loops_over_batches(self._handles[handle])

    def _observe(self, index: int, step: Step) -> Observation:
        session = self._session_of(step)
        argument: list[Any] | None = None
        began = time.monotonic()
        if not isinstance(step, Open | Turn | Together | Trial | Wait | NewLoop) and step.handle not in self._handles:
            return Observation(index, step, session, "skipped", began)
        if isinstance(step, Clear) and not self._may_clear(step):
            return Observation(index, step, session, "skipped", began)
        try:
            messages = _fresh(step.messages) if isinstance(step, Add | Assign | Cancel) else []
            self._written += math.inf if isinstance(step, AddBack | Cancel | Turn | Together | Trial) else len(messages)
            if isinstance(step, Add | Assign):
                argument = self._arguments[step.handle] = messages
            limit = self._limit(step, messages)
            with time_limit(limit, again=self._grows_no_more() if isinstance(step, AddBack) else None):
                value = self._perform(step, messages)
        except OperationHungError:
            self._loop.abandon()
            given = max(limit, round(time.monotonic() - began)) if isinstance(step, AddBack) else limit
            return Observation(index, step, session, "hung", began, given, argument=argument)
        except Exception as error:  # noqa: BLE001 -- what a backend raises is an observation
            return Observation(index, step, session, "raised", began, error=error, argument=argument)
        if isinstance(step, Read):
            self._held_more |= isinstance(value, list | tuple) and len(value) > self._written
            self._was_empty.setdefault(self._sessions[step.handle], _is_empty(value))
            self._results[step.handle] = _Kept(index, value, copy_of(value) if self.keep_results else None)
            if self.keep_results:
                self._kept.append(self._results[step.handle])
        changed = self._changed_result()
        return Observation(index, step, session, "returned", began, value, argument=argument, changed_result=changed)

    def _may_clear(self, step: Clear) -> bool:
        """A session whose name is not the suite's own is only cleared if it was empty when it was first read."""
        return is_unique(self._sessions[step.handle][1]) or self._was_empty.get(self._sessions[step.handle], False)

    def _limit(self, step: Step, messages: Sequence[Any]) -> float:
        """How many seconds a step may take."""
        if isinstance(step, AddBack):
            return min(self.timeout, _SECONDS_TO_ADD_BACK)
        if isinstance(step, Trial):
            return TRIALS[step.name].seconds + self.timeout
        waits = step.seconds if isinstance(step, Wait) else 2 * SECONDS_TO_END if isinstance(step, Together) else 0
        return self.timeout * (1 + _SHARE_OF_A_MESSAGE * len(messages)) + waits

    def _grows_no_more(self) -> Callable[[], bool]:
        """Whether what is stopped early, since it might fill the memory, does not, and may go on as any other step."""
        deadline, most = time.monotonic() + self.timeout, most_memory_used() + _MEMORY_TO_ADD_BACK
        return lambda: time.monotonic() < deadline and most_memory_used() < most

    def _session_of(self, step: Step) -> SessionKey | None:
        if isinstance(step, Open):
            self._sessions[step.handle] = (step.partition, step.session)
            return self._sessions[step.handle]
        if isinstance(step, Turn):
            return None, session_of_turn(step.session, step.user)
        if isinstance(step, Together):
            return step.partition, step.session
        return None if isinstance(step, Wait | NewLoop | Trial) else self._sessions[step.handle]

    def _perform(self, step: Step, messages: list[Any]) -> Any:
        self.operations += 1
        match step:
            case Open():
                self._drop(step.handle)
                self._handles[step.handle] = self._open(step)
                self._opens[step.handle] = step
            case Forget():
                self._forget(step.handle)
            case Add():
                return self._add(step, messages)
            case Read():
                return self._either(step.handle, step.mode, "messages", "aget_messages")
            case Clear():
                return self._either(step.handle, step.mode, "clear", "aclear")
            case Assign():
                self._handles[step.handle].messages = _contain(messages, step.container)
            case AddBack():
                self._add_back(step)
            case Edit():
                self._edit(step)
            case Cancel():
                beside = _fresh(step.beside)
                return self._loop.run(_cancelled(self._handles[step.handle], messages, step, beside))
            case Wait():
                self._wait(step.seconds)
            case NewLoop():
                self._loop.replace()
            case Turn():
                return self._turn(step)
            case Together():
                events = self._together(step)
                self.operations += len(events)
                return events
            case Trial():
                finding = run_trial(step.name, self.backend, mode=step.mode, seed=step.seed, rounds=step.rounds)
                self.operations += finding.calls
                return finding
        return None

    def _wait(self, seconds: float) -> None:
        """By the backend's clock; what is short is waited for in any case, for threads know no other clock."""
        if self.backend.advance is not None:
            self.backend.advance(seconds)
        if self.backend.advance is None or seconds <= SHORT_WAIT:
            time.sleep(seconds)

    def _together(self, step: Together) -> list[Event]:
        """What the workers of one attempt did."""
        session_id = self.token.fill(step.session)
        factory = factory_elsewhere(self.backend) if step.how == "processes" else None
        events = run_together(
            partial(self._open_of_workers, step),
            step.workers,
            tasks=step.how == "tasks",
            shared=step.shared,
            opens=step.opens,
            elsewhere=(factory, session_id) if factory else None,
            mode=step.mode,
        )
        added = sum(len(event.added) for event in events)
        self._held_more |= any(len(event.observed or ()) > added for event in events)
        return events

    def _open_of_workers(self, step: Together) -> History:
        session_id = self.token.fill(step.session)
        if step.partition is None or self.backend.in_partition is None:
            return self.backend.get_session_history(session_id)
        return self.backend.in_partition(self.token.fill(step.partition), session_id)

    def _drop(self, handle: int) -> None:
        """Let go of what had this number before anything else is made: the next may stand where it stood."""
        self._handles.pop(handle, None)
        if handle in self._opens:
            self._left.setdefault(self._key_of(self._opens[handle]), self._opens.pop(handle))

    def _forget(self, handle: int) -> None:
        """Let go of a handle and of what came of it, which may refer to it.

        Where it is still there then, it refers to itself, in a circle. Garbage is only collected for these: that takes
        long.
        """
        is_there = _watched(self._handles[handle])
        self._drop(handle)
        self._arguments.pop(handle, None)
        self._results.pop(handle, None)
        if is_there():
            gc.collect()

    def _key_of(self, step: Open) -> SessionKey:
        return step.partition, step.session

    def _open(self, step: Open) -> History:
        session_id = self.token.fill(step.session)
        backend = self.backend
        if step.partition is not None and backend.in_partition is not None:
            return backend.in_partition(self.token.fill(step.partition), session_id)
        if step.history_size is not None and backend.with_history_size is not None:
            return backend.with_history_size(session_id, step.history_size)
        if step.ttl is not None and backend.with_ttl is not None:
            return backend.with_ttl(session_id, step.ttl)
        return backend.get_session_history(session_id)

    def _either(self, handle: int, mode: Mode, sync_name: str, async_name: str) -> Any:
        history = self._handles[handle]
        if mode == "async":
            return self._loop.run(_awaited(getattr(history, async_name)))
        member = getattr(history, sync_name)
        return member if sync_name == "messages" else member()

    def _add(self, step: Add, messages: list[Any]) -> None:
        history = self._handles[step.handle]
        if step.call != "add_messages":
            message = messages[0]
            getattr(history, step.call)(message.content if step.text else message)
            return
        argument = _contain(messages, step.container)
        if step.mode == "async":
            self._loop.run(_awaited(history.aadd_messages, argument))
        else:
            history.add_messages(argument)

    def _add_back(self, step: AddBack) -> None:
        history = self._handles[step.handle]
        if step.mode == "async":
            self._loop.run(_awaited(history.aadd_messages, self._loop.run(_awaited(history.aget_messages))))
        else:
            history.add_messages(history.messages)

    def _turn(self, step: Turn) -> Any:
        fill = self.token.fill
        turn = take_turn(
            self.backend.get_session_history,
            session=fill(step.session),
            shape=step.shape,
            call=step.call,
            text=step.text,
            user=fill(step.user),
            fails=step.fails,
        )
        return self._loop.run(turn) if asyncio.iscoroutine(turn) else turn

    def _edit(self, step: Edit) -> None:
        kept = self._results.get(step.handle)
        target = self._arguments.get(step.handle) if step.target == "argument" else kept and kept.live
        if target is None or (not target and step.edit != "append"):
            return
        _EDITS[step.edit](target)
        if self.keep_results and step.target == "result" and kept is not None:
            kept.copy = copy_of(kept.live)

    def _changed_result(self) -> int | None:
        changed = (kept.index for kept in self._kept if not same_value(kept.copy, _as_list(kept.live)))
        return next(changed, None)

    def _finish(self) -> None:
        """Leave nothing behind that the suite made, unless the store is thrown away anyhow."""
        with contextlib.suppress(Exception, OperationHungError), time_limit(self.timeout):
            self._loop.renew()
        if self.cleans_up and self.is_untidy:
            self.tidy()

    @property
    def is_untidy(self) -> bool:
        """Whether what it has left is to be removed: in a store that is kept, or where sessions share something."""
        return self._held_more or not self.backend.disposable

    def tidy(self) -> None:
        """Clear the sessions that are the suite's own."""
        with contextlib.suppress(Exception, OperationHungError), time_limit(self.timeout):
            for handle, history in self._handles.items():
                if is_unique(self._sessions[handle][1]):
                    history.clear()
            for left in self._left.values():
                if is_unique(left.session):
                    self._open(left).clear()
            for step in self.program.steps:
                if isinstance(step, Together):
                    self._open_of_workers(step).clear()


def _watched(history: History) -> Callable[[], bool]:
    """Tells later whether the object may still be there."""
    try:
        reference = weakref.ref(history)
    except TypeError:  # it allows none
        return lambda: True
    return lambda: reference() is not None


def copy_of(value: Any) -> Any:
    """What was read, as it is now: a list of copies of the messages, whatever kind of sequence it came in.

    What can't be copied, such as a sequence of a backend's own that raises, is returned as it is.
    """
    try:
        listed = _as_list(value)
        return copies_of(listed) if type(listed) is list else copy.deepcopy(listed)
    except Exception:  # noqa: BLE001 -- whatever a backend's own type raises
        return value


def _is_empty(value: Any) -> bool:
    """Whether nothing was read; a list of a backend's own may have no truth value."""
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value


def _fresh(messages: Sequence[Any]) -> list[Any]:
    """Copies of the program's messages: what a backend does to them must not reach the program."""
    return copies_of(messages)


def _contain(messages: list[Any], container: str) -> Any:
    match container:
        case "tuple":
            return tuple(messages)
        case "deque":
            return deque(messages)
        case "generator":
            return iter(messages)
        case "failing generator":
            return _failing(messages, ValueError)
        case "broken generator":
            return _failing(messages, OSError)
        case "bare":
            return messages[0]
    return messages


def _failing(messages: list[Any], kind: type[Exception]) -> Iterator[Any]:
    yield from messages
    raise kind("the caller's iterable failed")


async def _awaited(call: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
    return await call(*args)


async def _cancelled(history: History, messages: list[Any], step: Cancel, beside: list[Any]) -> bool:
    """Begin an async call, cancel it when the step says, and wait for its end: whether it returned nevertheless."""
    other = asyncio.ensure_future(history.aadd_messages(beside)) if beside else None
    call = history.aget_messages if step.reads else history.aclear
    task = asyncio.ensure_future(history.aadd_messages(messages) if messages else call())
    for _ in range(step.turns):
        await asyncio.sleep(0)
    if step.seconds:
        await asyncio.sleep(step.seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):  # it may end by an error of its own, too
        await task
    if other is not None:
        await other
    return not task.cancelled() and task.exception() is None


def _edit_deep(value: Any) -> None:
    """Change every list and dict inside a value, however deep."""
    if isinstance(value, dict):
        for item in list(value.values()):
            _edit_deep(item)
        value["edited"] = "edited"
    elif isinstance(value, list):
        for item in list(value):
            _edit_deep(item)
        value.append("edited")


def _edit_first_deep(messages: list[Any]) -> None:
    for value in (*vars(messages[0]).values(), *(messages[0].__pydantic_extra__ or {}).values()):
        _edit_deep(value)


def _edit_nested(messages: list[Any]) -> None:
    inner = messages[0].additional_kwargs.setdefault("outer", {})
    if isinstance(inner, dict):
        inner["inner"] = "edited"


_EDITS: dict[str, Callable[[Any], None]] = {
    "append": lambda messages: messages.append(HumanMessage("edited")),
    "pop": lambda messages: messages.pop(),
    "reverse": lambda messages: messages.reverse(),
    "clear": lambda messages: messages.clear(),
    "content": lambda messages: setattr(messages[0], "content", "edited"),
    "field": lambda messages: setattr(messages[0], "name", "edited"),
    "nested": _edit_nested,
    "deep": _edit_first_deep,
}
