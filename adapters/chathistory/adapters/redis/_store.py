"""One Redis server, or cluster, as the store of any number of handles: connections, and requests carried out.

Sync calls take connections from a pool for all threads; async calls from one for each event loop, since a
connection can't leave the loop it was opened in (ASY-6).
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import redis

from chathistory.adapters.redis._failures import NotSentError, UnusableError
from chathistory.adapters.redis._lines import Line, Lines
from chathistory.adapters.redis._loop_pools import LoopPool, aexchange
from chathistory.adapters.redis._pools import Pool, ThreadPool
from chathistory.adapters.redis._requests import Request
from chathistory.adapters.redis._routing import Address, Attempt, Routing, Steps

_MOST_OF_THREADS = 50
_MOST_OF_A_LOOP = 16
_SETTLE_SECONDS = 2.0


class Lease:
    """A handle's share in a store: while one is alive and not returned, the store keeps its connections."""

    __slots__ = ("__weakref__",)


class Store:
    """A server or cluster.

    Args:
        lines: how connections to it are made.
        pool: a pool of the caller's to take sync connections from.
        members: the addresses of a cluster's members, if it is known to be one.
    """

    def __init__(self, lines: Lines, pool: Pool | None = None, members: Sequence[Address] = ()) -> None:
        self._lines = lines
        self._given = pool
        self._routing = Routing(members)
        self._pools: dict[Address | None, Pool] = {}
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self.leases: weakref.WeakSet[Lease] = weakref.WeakSet()

    @property
    def place(self) -> str:
        """Where it is, for errors."""
        return self._lines.place

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in errors."""
        return self._lines.secrets

    @cached_property
    def client(self) -> redis.Redis:
        """A client of redis-py on the server, beside the connections of the store."""
        assert isinstance(self._lines.threads, Line)  # noqa: S101 -- only asked for with a URL
        return redis.Redis(connection_pool=self._lines.threads.keeps)

    def run(self, request: Request) -> Any:
        """Carry out a request wholly or not at all.

        Raises:
            redis.RedisError: if it was not carried out, or nobody knows (`AnswerLostError`).
        """
        return _drive(self._routing.steps(request), self._attempt)

    def _attempt(self, attempt: Attempt) -> Any:
        if attempt.pause:
            time.sleep(attempt.pause)
        return self._pool(attempt.address).exchange(attempt.commands)

    def _pool(self, address: Address | None) -> Pool:
        if address is None and self._given is not None:
            return self._given
        pool = self._pools.get(address)
        if pool is None:
            line = self._lines.threads
            if isinstance(line, str):
                raise UnusableError(f"sync calls are not possible with this client, because {line}; pass a sync one")
            new = ThreadPool(lambda: line.connection(address), min(line.limit, _MOST_OF_THREADS))
            pool = self._pools.setdefault(address, new)
        return pool

    async def arun(self, request: Request) -> Any:
        """The async form of `run`. A cancellation is passed on when what was sent is settled (ASY-4)."""
        if self._lines.loops is None:
            call = asyncio.get_running_loop().run_in_executor(None, self.run, request)
            return await _settled(call, request)
        loop = await self._loop(self._lines.loops)
        return await _adrive(self._routing.steps(request), lambda attempt: loop.attempt(attempt, request))

    async def _loop(self, line: Callable[[], Line]) -> _Loop:
        running = asyncio.get_running_loop()
        loop = self._loops.get(running)
        if loop is None:
            for other in [other for other in list(self._loops) if other.is_closed()]:
                self._loops.pop(other, None)
            loop = self._loops[running] = _Loop(line(), lambda: self._loops.pop(running, None))
            await loop.begin()
        return loop

    def close(self) -> None:
        """Close all connections that are not in use, and have the others closed when they are given back."""
        if "client" in vars(self):
            self.client.connection_pool.disconnect()  # redis-py's `close` leaves a pool that it was given
        while self._pools:
            self._pools.popitem()[1].close()
        for running, loop in list(self._loops.items()):
            self._loops.pop(running, None)
            with suppress(RuntimeError):  # it is closed already
                running.call_soon_threadsafe(loop.begin_to_close)

    async def aclose(self) -> None:
        """The async form of `close`; those of the running loop are closed when it returns."""
        loop = self._loops.pop(asyncio.get_running_loop(), None)
        self.close()
        if loop is not None:
            await loop.close()


class _Loop:
    """What a store keeps for one event loop.

    asyncio.run closes asynchronous generators before it closes the loop: so there is one that closes the
    connections at that moment, and none is left open.
    """

    def __init__(self, line: Line, forget: Callable[[], object]) -> None:
        self._line = line
        self._forget = forget
        self._pools: dict[Address | None, LoopPool] = {}
        self._guard = self._closing_at_the_end()
        self._closing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Have the connections closed with the loop."""
        await anext(self._guard)

    async def _closing_at_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._forget()
            await self.close()

    async def attempt(self, attempt: Attempt, request: Request) -> Any:
        """Send commands and wait for the reply; waiting for a connection can be cancelled at once."""
        if attempt.pause:
            await asyncio.sleep(attempt.pause)
        if self._closing is not None:
            raise NotSentError("the handle was closed during the call")
        pool = self._pools.get(attempt.address)
        if pool is None:
            connect = self._connect_to(attempt.address)
            pool = self._pools[attempt.address] = LoopPool(connect, min(self._line.limit, _MOST_OF_A_LOOP))
        connection = await pool.take()
        exchanged = aexchange(connection, attempt.commands)
        if not request.repeatable:
            call = asyncio.ensure_future(exchanged)
            call.add_done_callback(lambda _: pool.give_back(connection))  # also if it never begins
            return await _settled(call, request)
        try:
            return await exchanged
        finally:
            pool.give_back(connection)

    def _connect_to(self, address: Address | None) -> Callable[[], Any]:
        return lambda: self._line.connection(address)

    def begin_to_close(self) -> asyncio.Task[None]:
        """Close the connections in a task of the loop, once."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        return self._closing

    async def close(self) -> None:
        """Close the connections that are not in use, and have the others closed when they are given back."""
        await asyncio.shield(self.begin_to_close())

    async def _close(self) -> None:
        for pool in self._pools.values():
            await pool.close()
        for client in self._line.beside:
            await client.aclose()


async def _settled(call: asyncio.Future[Any], request: Request) -> Any:
    """The result of a call that goes on by itself; a cancellation is passed on when the call is over.

    So whoever sees the cancellation sees a settled history, too, unless the server is silent: then the
    connection is given up after some seconds, and the change may yet come.
    """
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        if not request.repeatable:
            await _wait_without_being_cancelled(call, _SETTLE_SECONDS)
        call.cancel()
        if call.done() and not call.cancelled():
            call.exception()  # seen, so that asyncio doesn't report it
        raise


async def _wait_without_being_cancelled(call: asyncio.Future[Any], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not call.done() and (left := deadline - loop.time()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([call], timeout=left)


def _drive(steps: Steps, attempt: Callable[[Attempt], Any]) -> Any:
    """Carry out the attempts of a generator, and return what it returns."""
    try:
        action = next(steps)
        while True:
            try:
                reply = attempt(action)
            except redis.RedisError as error:
                action = steps.throw(error)
            else:
                action = steps.send(reply)
    except StopIteration as end:
        return end.value


async def _adrive(steps: Steps, attempt: Callable[[Attempt], Any]) -> Any:
    try:
        action = next(steps)
        while True:
            try:
                reply = await attempt(action)
            except redis.RedisError as error:
                action = steps.throw(error)
            else:
                action = steps.send(reply)
    except StopIteration as end:
        return end.value
