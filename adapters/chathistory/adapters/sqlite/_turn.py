"""A lock for the tasks of one event loop that can be waited for within a time: first come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chathistory.adapters.sqlite._failures import NotYourTurnError


class Turn:
    """One task at a time; the others queue.

    `asyncio.wait_for(lock.acquire(), …)` would do, but until Python 3.12 it may lose a lock, or a
    cancellation, when both come at the same moment.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._wanted_by = 0

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Have the turn for the length of a block.

        Raises:
            NotYourTurnError: if it didn't come in time.
        """
        self._wanted_by += 1
        try:
            if self._wanted_by == 1:
                await self._lock.acquire()  # nobody has it
            else:
                await self._acquire(seconds)
            try:
                yield
            finally:
                self._lock.release()
        finally:
            self._wanted_by -= 1

    async def _acquire(self, seconds: float) -> None:
        waiting = asyncio.ensure_future(self._lock.acquire())
        try:
            await asyncio.wait([waiting], timeout=seconds)
        except asyncio.CancelledError:
            came_too_late = not waiting.cancel() and not waiting.cancelled()
            if came_too_late:
                self._lock.release()
            raise
        if waiting.cancel():
            raise NotYourTurnError
        await waiting
