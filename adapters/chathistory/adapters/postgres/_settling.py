"""Pass a cancellation on only when what it cancels is over, so that whoever sees it sees a settled history (ASY-4).

A server that says nothing can't hold a cancelled call up for ever: it is cut off, and its outcome is the server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

_Result = TypeVar("_Result")
Stop: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
CutOff: TypeAlias = Callable[[], None]

SECONDS_TO_SETTLE = 3.0
"""How long a cancelled call waits for the server to end its statement; then its connection is cut off."""


async def settled(work: asyncio.Future[_Result], stop: Stop, cut_off: CutOff) -> _Result:
    """The result of some work.

    Args:
        work: under way; cancellations of the caller don't reach it.
        stop: asks the server to end the work; called once, at the first cancellation.
        cut_off: ends the connection of the work, and thereby the work; called if the server has not ended it in
            SECONDS_TO_SETTLE.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await ended(work, stop, cut_off)
        raise


async def ended(work: asyncio.Future[Any], stop: Stop, cut_off: CutOff) -> None:
    """Return when the work is over, having had it stopped or cut off, however often this is cancelled."""
    if not work.done():
        stopping = asyncio.ensure_future(stop())
        # The stopping, too: a request that comes late would hit the next statement of the connection.
        if not await _over({work, stopping}, SECONDS_TO_SETTLE):
            cut_off()
            stopping.cancel()
            await _over({stopping}, None)
    await _over({work}, None)
    if not work.cancelled():
        work.exception()  # the cancellation is all that is told


async def acquired(lock: asyncio.Lock, seconds: float) -> bool:
    """Acquire a lock; whether that was possible in time.

    `asyncio.wait_for(lock.acquire(), …)` would do, but until Python 3.12 it may lose a lock, or a
    cancellation, when both come at the same moment.
    """
    if not lock.locked():
        return await lock.acquire()
    acquiring = asyncio.ensure_future(lock.acquire())
    try:
        await asyncio.wait([acquiring], timeout=seconds)
    except asyncio.CancelledError:
        if not acquiring.cancel() and not acquiring.cancelled():
            lock.release()
        raise
    return not acquiring.cancel()


async def _over(futures: set[asyncio.Future[Any]], seconds: float | None) -> bool:
    """Whether all of them are over, by themselves and in time; cancellations meanwhile are put off."""
    loop = asyncio.get_running_loop()
    deadline = None if seconds is None else loop.time() + seconds
    while not all(future.done() for future in futures):  # asyncio.wait could be cancelled each time before it sees
        left = None if deadline is None else deadline - loop.time()
        if left is not None and left <= 0:
            return False
        with suppress(asyncio.CancelledError):
            await asyncio.wait(futures, timeout=left)
    return True
