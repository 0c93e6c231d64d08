"""Finds async calls that hold up the event loop while they wait (ASY-3).

Measured is not how long the loop stood still, which a busy machine decides, but how long it stood still
*without computing*: wall-clock time between two turns of the loop less the CPU time that its thread used. A
call is only blamed when every one of several repetitions shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import HumanMessage

from chathistory.conformance._backend import Backend, History
from chathistory.conformance._loops import EventLoop
from chathistory.conformance._program import new_token
from chathistory.conformance._watchdog import OperationHungError, time_limit
from chathistory.conformance.trials._proxy import Proxy

_REPETITIONS = 7
_NOTICEABLE = 0.015
SLOWED_BY = 0.12
"""Seconds by which the store is slowed, where it can be, to see what the calls do meanwhile."""


@dataclass(frozen=True, slots=True)
class Stall:
    """How one async call treated the event loop: the least of several measurements, in seconds.

    Attributes:
        call: the call, as one would write it.
        took: how long it took.
        waited: the longest time for which the loop stood still while its thread was waiting.
        share: how much of the call this must be, for the call to be blamed.
        raised: whether it raised, which is for other clauses to judge.
    """

    call: str
    took: float
    waited: float
    share: float = 0.6
    raised: bool = False

    @property
    def is_blocking(self) -> bool:
        """Whether the loop stood still for most of a noticeable wait."""
        return self.waited >= _NOTICEABLE and self.waited >= self.share * self.took


def measure(backend: Backend, *, timeout: float, slowed_by: float = SLOWED_BY) -> list[Stall]:
    """How the async calls treat the event loop: as they are, the first of a handle, and on a slowed store.

    Args:
        backend: the backend.
        timeout: the seconds that a call may take.
        slowed_by: the seconds that every call of a slowed store takes longer.

    Raises:
        OperationHungError: if a call does not return.
    """
    loop = EventLoop()
    probe = _Probe(backend, loop)
    try:
        with time_limit(timeout * 8):
            probe.warm()
            first = probe.first_call(probe.unused(_REPETITIONS))
            return [first, *probe.calls(probe.warm(), _REPETITIONS), *_slowed_down(backend, loop, slowed_by)]
    except OperationHungError:
        loop.abandon()
        raise
    finally:
        loop.renew()


def _slowed_down(backend: Backend, loop: EventLoop, slowed_by: float) -> list[Stall]:
    """How the calls treat the event loop while the store is slow, if it can be made slow."""
    with _slowable(backend) as slower:
        if slower.slow is None:
            return []
        # What is beside a call comes while the slowed one is under way.
        probe = _Probe(slower, loop, pause=slowed_by / 4)
        ours, theirs = probe.warm(), probe.warm()  # before it is slow: to warm up is no part of the measurement
        fresh = probe.unused(2)
        with slower.slow(slowed_by):
            stalls = [
                *probe.calls(ours, 2),
                probe.batch(ours, 2),
                probe.first_call(fresh),
                probe.read_beside_an_add(ours),
                probe.cancelled_add(ours),
            ]
            if "threads" in frozenset(backend.claims):
                stalls.append(probe.call_beside_a_thread(ours, theirs))
        return stalls


@contextlib.contextmanager
def _slowable(backend: Backend) -> Iterator[Backend]:
    """The backend with a way to make its store slow: its own, or a proxy on the wire to its server."""
    if backend.slow is not None or backend.wire is None:
        yield backend
        return
    with (
        Proxy(backend.wire.address) as proxy,
        backend.wire.connect(proxy.host, proxy.port) as get_session_history,
    ):
        yield replace(backend, get_session_history=get_session_history, slow=proxy.delayed)


@dataclass(slots=True)
class _Probe:
    """Makes async calls of a backend, and measures each of them several times."""

    backend: Backend
    loop: EventLoop
    pause: float = 0.0

    def unused(self, count: int) -> list[History]:
        """So many handles of which no call has been made."""
        return [self._history() for _ in range(count)]

    def first_call(self, handles: Iterable[History]) -> Stall:
        """The first async call of a new handle, on which connections are opened."""
        name = "aadd_messages([HumanMessage('m1')]), the first of its handle,"
        # It may have two waits, one for its connection.
        least = _least(self.loop.run(_stall(name, lambda one=one: _add(one))) for one in handles)  # type: ignore[misc]
        return replace(least, share=0.35)

    def calls(self, history: History, repetitions: int) -> list[Stall]:
        """Each of the three calls of a handle that has been used."""
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "aadd_messages([HumanMessage('m1')])": lambda: _add(history),
            "aget_messages()": lambda: history.aget_messages(),
            "aclear()": lambda: history.aclear(),
        }
        return [_least(self.loop.run(_stall(name, call)) for _ in range(repetitions)) for name, call in calls.items()]

    def batch(self, history: History, repetitions: int) -> Stall:
        """An add of several messages, which may take another way than that of one."""
        name = "aadd_messages([HumanMessage('m1')] * 3)"
        return _least(self.loop.run(_stall(name, lambda: _add(history, 3))) for _ in range(repetitions))

    def read_beside_an_add(self, history: History) -> Stall:
        """An async read while an async add is under way, which may hold a lock all the while."""
        # The read may wait for the add, which has begun, and then makes its own way.
        return replace(_least(self.loop.run(_read_beside_an_add(history, self.pause)) for _ in range(3)), share=0.35)

    def cancelled_add(self, history: History) -> Stall:
        """An async add that is cancelled while it is under way, which may wait for its end."""
        name = "aadd_messages([HumanMessage('m1')]), when it is cancelled,"
        least = _least(self.loop.run(_stall(name, lambda: _cancelled_add(history, self.pause))) for _ in range(2))
        return replace(least, share=0.35)

    def call_beside_a_thread(self, history: History, of_the_thread: History) -> Stall:
        """An async add while a thread makes sync ones, which may hold a lock all the while."""
        # The call waits for the thread's add, which has begun, and then makes its own.
        return replace(_least(self._beside_a_thread(history, of_the_thread) for _ in range(4)), share=0.35)

    def _beside_a_thread(self, history: History, of_the_thread: History) -> Stall:
        busy = threading.Event()
        thread = threading.Thread(target=self._write, args=(of_the_thread, busy), daemon=True)
        thread.start()
        busy.wait()
        time.sleep(self.pause)
        try:
            return self.loop.run(_stall("aadd_messages([HumanMessage('m1')])", lambda: _add(history)))
        finally:
            thread.join()

    def _write(self, history: History, busy: threading.Event) -> None:
        """A sync add; what it raises is for other clauses to judge."""
        busy.set()
        with contextlib.suppress(Exception):
            history.add_messages([HumanMessage(content="m1")])

    def _history(self) -> History:
        return self.backend.get_session_history(new_token().fill("{run}-a"))

    def warm(self) -> History:
        """A handle that has been used."""
        history = self._history()
        self.loop.run(_warm_up(history))
        return history


async def _add(history: History, count: int = 1) -> None:
    await history.aadd_messages([HumanMessage(content="m1") for _ in range(count)])


async def _read_beside_an_add(history: History, pause: float) -> Stall:
    adding = asyncio.ensure_future(_add(history))
    try:
        await asyncio.sleep(pause)
        return await _stall("aget_messages() beside an add", history.aget_messages)
    finally:
        with contextlib.suppress(Exception):
            await adding


async def _cancelled_add(history: History, pause: float) -> None:
    adding = asyncio.ensure_future(_add(history))
    await asyncio.sleep(pause)
    adding.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await adding


async def _warm_up(history: History) -> None:
    """Let connections be opened and modules imported before anything is measured."""
    with contextlib.suppress(Exception):
        await history.aadd_messages([HumanMessage(content="m0")])
        await history.aget_messages()


def _least(stalls: Iterable[Stall]) -> Stall:
    """The measurement that speaks best for the call: a busy machine makes the others worse.

    None is made after the first that clears the call, since those that speak worse are not looked at.
    """
    made: list[Stall] = []
    for stall in stalls:
        made.append(stall)
        if stall.waited < _NOTICEABLE:
            break
    return min(made, key=lambda stall: stall.waited)


async def _stall(name: str, call: Callable[[], Awaitable[Any]]) -> Stall:
    """Turn the loop all the while the call runs, and keep the longest wait between two turns."""
    longest = 0.0
    last = time.monotonic(), time.thread_time()

    def turn() -> None:
        nonlocal longest, last
        now = time.monotonic(), time.thread_time()
        longest = max(longest, (now[0] - last[0]) - (now[1] - last[1]))
        last = now

    async def turning() -> None:
        while True:
            await asyncio.sleep(0.001)
            turn()

    turner = asyncio.ensure_future(turning())
    await asyncio.sleep(0.003)
    longest, began, raised = 0.0, time.monotonic(), False
    last = began, time.thread_time()
    try:
        await call()
    except Exception:  # noqa: BLE001 -- what a backend raises is an observation
        raised = True
    finally:
        took = time.monotonic() - began
        turn()
        with contextlib.suppress(RuntimeError):  # of a call that hung, whose loop has been closed
            turner.cancel()
    return Stall(name, took, longest, raised=raised)
