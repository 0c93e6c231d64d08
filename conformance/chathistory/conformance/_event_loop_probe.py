"""Finds async calls that hold up the event loop while they wait (ASY-3).

Measured is not how long the loop stood still, which a busy machine decides, but how long it stood still
*without computing*: wall-clock time between two turns of the loop less the CPU time that its thread used. A
call is only blamed when every one of several repetitions shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import HumanMessage

from chathistory.conformance._backend import Backend, History
from chathistory.conformance._loops import EventLoop
from chathistory.conformance._program import new_token
from chathistory.conformance._watchdog import OperationHungError, time_limit

_REPETITIONS = 7
_NOTICEABLE = 0.015
_SLOWED_BY = 0.2


@dataclass(frozen=True, slots=True)
class Stall:
    """How one async call treated the event loop: the least of several measurements, in seconds.

    Attributes:
        call: the call, as one would write it.
        took: how long it took.
        waited: the longest time for which the loop stood still while its thread was waiting.
    """

    call: str
    took: float
    waited: float

    @property
    def is_blocking(self) -> bool:
        """Whether the loop stood still for most of a noticeable wait."""
        return self.waited >= _NOTICEABLE and self.waited >= 0.6 * self.took


def measure(backend: Backend, *, timeout: float) -> list[Stall]:
    """How each of the three async calls treats the event loop, on a slowed store if the backend can slow it."""
    slow = backend.slow(_SLOWED_BY) if backend.slow else contextlib.nullcontext()
    repetitions = 2 if backend.slow else _REPETITIONS
    history = backend.get_session_history(new_token().fill("{run}-a"))
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "aadd_messages([HumanMessage('m1')])": lambda: history.aadd_messages([HumanMessage(content="m1")]),
        "aget_messages()": lambda: history.aget_messages(),
        "aclear()": lambda: history.aclear(),
    }
    loop = EventLoop()
    try:
        with time_limit(timeout * 6):
            loop.run(_warm_up(history))
            with slow:
                return [_least(name, call, loop, repetitions) for name, call in calls.items()]
    except OperationHungError:
        loop.abandon()
        raise
    finally:
        loop.renew()


async def _warm_up(history: History) -> None:
    """Let connections be opened and modules imported before anything is measured."""
    await history.aadd_messages([HumanMessage(content="m0")])
    await history.aget_messages()


def _least(name: str, call: Callable[[], Awaitable[Any]], loop: EventLoop, repetitions: int) -> Stall:
    stalls = [loop.run(_stall(name, call)) for _ in range(repetitions)]
    return min(stalls, key=lambda stall: stall.waited)


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
    longest, began = 0.0, time.monotonic()
    last = began, time.thread_time()
    try:
        await call()
    finally:
        took = time.monotonic() - began
        turn()
        turner.cancel()
    return Stall(name, took, longest)
