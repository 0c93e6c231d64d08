"""Finds async calls that hold up the event loop while they wait (ASY-3).

Measured is not how long the loop stood still, which a busy machine decides, but how long it stood still
*without computing*: wall-clock time between two turns of the loop less the CPU time that its thread used, and less
the time for which it could have gone on and had no processor, where the system tells it. A call is only blamed when
every one of several repetitions shows it.

Calls are measured with one message and with many: what pages, gathers or compacts may do so by another way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
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

_SIZES, _SIZES_AT_A_GLANCE = (2, 40, 300, 1), (2, 40)
_LARGEST = (300,)
_BATCH = 3
_SECONDS_OF_A_LARGE_CALL = 1.0
"""After a call that took longer, as it may, none with more messages is waited for."""
_SECONDS_OVER_A_SLOWED_STORE = 4.0
"""A store that sends messages one by one would take many times as long for a large batch: it is spared that."""


@dataclass(frozen=True, slots=True)
class Stall:
    """How one async call treated the event loop: the least of several measurements, in seconds.

    Attributes:
        call: the call, as one would write it.
        took: how long it took.
        waited: the longest time for which the loop stood still while its thread was waiting.
        share: how much of the call this must be, for the call to be blamed.
        raised: whether it raised, which is for other clauses to judge.
        held: how many messages the session held before, if it matters.
        added: how many the call added, if it matters.
    """

    call: str
    took: float
    waited: float
    share: float = 0.6
    raised: bool = False
    held: int = 0
    added: int = 0

    @property
    def is_blocking(self) -> bool:
        """Whether the loop stood still for most of a noticeable wait."""
        return self.waited >= _NOTICEABLE and self.waited >= self.share * self.took


def measure(backend: Backend, *, timeout: float, at_a_glance: bool = False) -> list[Stall]:
    """How the async calls treat the event loop: as they are, the first of a handle, with many messages, and slowed.

    Args:
        backend: the backend.
        timeout: the seconds that a call may take.
        at_a_glance: slow the store by half as much, and leave the largest amounts out.

    Raises:
        OperationHungError: if a call does not return.
    """
    loop = EventLoop()
    probe = _Probe(backend, loop)
    try:
        with time_limit(timeout * 8):
            probe.warm()
            first = probe.first_call(probe.unused(_REPETITIONS))
            calls = probe.calls(probe.warm(), _REPETITIONS)
            sizes = _SIZES_AT_A_GLANCE if at_a_glance else _SIZES
            amounts = probe.amounts((probe.warm() for _ in range(_REPETITIONS)), sizes)
            return [first, *calls, *amounts, *_slowed_down(backend, loop, at_a_glance)]
    except OperationHungError:
        loop.abandon()
        raise
    finally:
        loop.renew()


def _slowed_down(backend: Backend, loop: EventLoop, at_a_glance: bool) -> list[Stall]:
    """How the calls treat the event loop while the store is slow, if it can be made slow."""
    slowed_by = SLOWED_BY / 2 if at_a_glance else SLOWED_BY
    with _slowable(backend) as slower:
        if slower.slow is None:
            return []
        # What is beside a call comes while the slowed one is under way.
        probe = _Probe(slower, loop, pause=slowed_by / 4)
        ours, theirs = probe.warm(), probe.warm()  # before it is slow: to warm up is no part of the measurement
        fresh, to_fill = probe.unused(2), [probe.warm(), probe.warm()]
        with slower.slow(slowed_by):
            single, *others = probe.calls(ours, 2)
            batch = probe.batch(ours, 2)
            of_a_message = max(batch.took - single.took, 0.0) / (_BATCH - 1)
            is_for_many = not at_a_glance and _LARGEST[0] * of_a_message < _SECONDS_OVER_A_SLOWED_STORE
            stalls = [
                single,
                *others,
                batch,
                *(probe.amounts(to_fill, _LARGEST) if is_for_many else ()),
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
        name = f"aadd_messages([HumanMessage('m1')] * {_BATCH})"
        return _least(self.loop.run(_stall(name, lambda: _add(history, _BATCH))) for _ in range(repetitions))

    def amounts(self, handles: Iterable[History], sizes: Sequence[int]) -> list[Stall]:
        """Adds of so many messages, each with a read of all that are there, and a clear at the end.

        Each of the handles, which have been used, does all of it on its session, until every call is cleared.
        """
        least: list[Stall] = []
        for history in handles:
            tour = self.loop.run(_with_amounts(history, sizes))
            # One that was ended early tells nothing of the calls that it left out.
            least = [min(pair, key=_waited) for pair in zip(least, tour, strict=False)] if least else tour
            if all(stall.waited < _NOTICEABLE for stall in least):
                break
        return least

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


async def _with_amounts(history: History, sizes: Sequence[int]) -> list[Stall]:
    """The calls of `_Probe.amounts` on one session; no more of them after one that took long."""
    stalls, held = list[Stall](), 1
    async with _watching() as watch:
        for size in sizes:
            add = await watch.stall(f"aadd_messages([HumanMessage('m1')] * {size})", partial(_add, history, size))
            read = await watch.stall(f"aget_messages() of {held + size} messages", history.aget_messages)
            stalls += [replace(add, held=held, added=size), replace(read, held=held + size)]
            held += size
            if max(add.took, read.took) > _SECONDS_OF_A_LARGE_CALL:
                break
        clear = await watch.stall(f"aclear() of {held} messages", history.aclear)
    return [*stalls, replace(clear, held=held)] if len(stalls) == 2 * len(sizes) else stalls


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
    return min(made, key=_waited)


def _waited(stall: Stall) -> float:
    return stall.waited


async def _stall(name: str, call: Callable[[], Awaitable[Any]]) -> Stall:
    """One call, and nothing else, while the loop is watched."""
    async with _watching() as watch:
        return await watch.stall(name, call)


@contextlib.asynccontextmanager
async def _watching() -> AsyncIterator[_Watch]:
    """Turn the loop all the while."""
    with _busy_clock() as busy:
        watch = _Watch(busy)
        turner = asyncio.ensure_future(watch.turning())
        await asyncio.sleep(0.003)
        try:
            yield watch
        finally:
            with contextlib.suppress(RuntimeError):  # of a call that hung, whose loop has been closed
                turner.cancel()


@contextlib.contextmanager
def _busy_clock() -> Iterator[Callable[[], float]]:
    """A clock of the seconds for which this thread has computed, or would have if there had been a processor.

    Linux counts the latter in the second field of a thread's schedstat, in nanoseconds (Documentation/scheduler).
    """
    try:
        schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        yield time.thread_time
        return
    try:
        yield lambda: time.thread_time() + int(os.pread(schedule, 80, 0).split()[1]) / 1e9
    finally:
        os.close(schedule)


@dataclass(slots=True)
class _Watch:
    """Notes the turns of a loop, and keeps the longest wait between two of them while a call runs.

    Attributes:
        busy: a clock that goes while the thread computes.
        longest: the longest wait, in seconds.
        last: when the loop turned last, by the clock on the wall and by that of `busy`.
    """

    busy: Callable[[], float]
    longest: float = 0.0
    last: tuple[float, float] = (0.0, 0.0)

    async def turning(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            self._turn()

    def _turn(self) -> None:
        now = time.monotonic(), self.busy()
        self.longest = max(self.longest, (now[0] - self.last[0]) - (now[1] - self.last[1]))
        self.last = now

    async def stall(self, name: str, call: Callable[[], Awaitable[Any]]) -> Stall:
        """How a call treated the loop."""
        self._turn()
        self.longest, began, raised = 0.0, self.last[0], False
        try:
            await call()
        except Exception:  # noqa: BLE001 -- what a backend raises is an observation
            raised = True
        finally:
            took = time.monotonic() - began
            self._turn()
        return Stall(name, took, self.longest, raised=raised)
