"""Connections for the async calls of one event loop; the sync ones are in `_pools`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis

from chathistory.adapters.redis._failures import AnswerLostError, NotSentError, NoTurnError, as_answer, is_refusal
from chathistory.adapters.redis._pools import WAIT_SECONDS, packed
from chathistory.adapters.redis._requests import Command


class _Slots:
    """How many connections may be in use: first come, first served, within a time.

    asyncio's semaphore with its wait_for may lose a slot when a cancellation comes with it (until Python 3.12).
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        alarm = loop.call_later(WAIT_SECONDS, self._give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # it came too late
            raise
        finally:
            alarm.cancel()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            text = f"all {self._limit} connections of this event loop have been in use for {WAIT_SECONDS:g} s"
            turn.set_exception(NoTurnError(text))

    def release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class LoopPool:
    """Connections for the async calls of one event loop; see `ThreadPool`."""

    def __init__(self, connect: Callable[[], Any], limit: int) -> None:
        self._connect = connect
        self._slots = _Slots(limit)
        self._idle: list[Any] = []
        # asyncio refers weakly to tasks and readers: without this set a call that nobody waits for, with all it
        # needs, could be collected as garbage while the server is at it.
        self._lent: set[Any] = set()
        self._closed = False
        self._farewells: set[asyncio.Future[None]] = set()

    async def take(self) -> Any:
        """A connection that is open and has nothing unread; may be cancelled.

        Raises:
            NotSentError: if there is none.
        """
        await self._slots.acquire()
        connection = None
        try:
            connection = self._idle.pop() if self._idle else self._connect()
            self._lent.add(connection)
            await _amake_ready(connection)
        except BaseException as error:
            if connection is not None:
                await connection.disconnect(nowait=True)
            self._lent.discard(connection)
            self._slots.release()
            # asyncio raises RuntimeError where a client that asks for the address belongs to another loop.
            if isinstance(error, redis.RedisError | OSError | RuntimeError):
                raise NotSentError from error
            raise
        return connection

    def give_back(self, connection: Any) -> None:
        """Return it, open or not."""
        self._lent.discard(connection)
        if self._closed:
            farewell = asyncio.ensure_future(connection.disconnect(nowait=True))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)
        else:
            self._idle.append(connection)
        self._slots.release()

    async def close(self) -> None:
        """Close what is not in use, and the others when they are given back."""
        self._closed = True
        while self._idle:
            with suppress(redis.RedisError, OSError):
                await self._idle.pop().disconnect()


async def _amake_ready(connection: Any) -> None:
    await connection.connect()
    with suppress(redis.ConnectionError, redis.TimeoutError, OSError):
        if not await _can_read(connection):
            return
    await connection.disconnect(nowait=True)
    await connection.connect()


async def _can_read(connection: Any) -> bool:
    """Whether it is closed by the server or holds something unread; the method had another name before redis-py 8."""
    ask = getattr(connection, "can_read", None) or connection.can_read_destructive
    return bool(await ask())


async def aexchange(connection: Any, commands: Sequence[Command]) -> Any:
    """The async form of `exchange`; if cancelled, the connection is closed and nobody knows what was carried out."""
    try:
        await connection.send_packed_command(packed(connection, commands))
        for _ in commands:
            reply = await connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        if len(commands) > 1:
            await connection.disconnect(nowait=True)
        raise as_answer(error) from None
    except (redis.RedisError, OSError) as error:
        await connection.disconnect(nowait=True)
        if is_refusal(error):
            raise
        raise AnswerLostError from error
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return reply
