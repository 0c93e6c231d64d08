"""Pass a cancellation on only when what it cancels is over, so that whoever sees it sees a settled history (ASY-4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

_Result = TypeVar("_Result")
Stop: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


async def settled(work: asyncio.Future[_Result], stop: Stop, *, patience: float | None = None) -> _Result:
    """The result of some work.

    Args:
        work: under way; cancellations of the caller don't reach it.
        stop: asks the server to end the work; called once, at the first cancellation.
        patience: the seconds after which work that doesn't end is cancelled itself; psycopg then closes its
            connection. Without it, the work is waited for.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await ended(work, stop, patience=patience)
        raise


async def ended(work: asyncio.Future[Any], stop: Stop, *, patience: float | None = None) -> None:
    """Return when the work is over, having asked for its end, however often this is cancelled."""
    if not work.done():
        await _over(asyncio.ensure_future(stop()), None)
    await _over(work, patience)


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


async def _over(work: asyncio.Future[Any], patience: float | None) -> None:
    while not work.done():
        with suppress(asyncio.CancelledError):
            over, _ = await asyncio.wait([work], timeout=patience)
            if not over:
                work.cancel()
    if not work.cancelled():
        work.exception()  # the cancellation is all that is told
