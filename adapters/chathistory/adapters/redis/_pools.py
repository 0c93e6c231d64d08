"""Connections for sync calls that wait for their next request, and what one of them does with it."""

from __future__ import annotations

import inspect
import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import redis

from chathistory.adapters._turns import Slots
from chathistory.adapters.redis._failures import AnswerLostError, NotSentError, NoTurnError, as_answer, is_refusal
from chathistory.adapters.redis._requests import Command

WAIT_SECONDS = 20.0  # as redis-py's blocking pools


class Pool(Protocol):
    """Keeps sync connections."""

    def exchange(self, commands: Sequence[Command]) -> Any:
        """See `exchange`, over a connection that is open and has nothing unread."""

    def close(self) -> None:
        """Close what is not in use, and the others when they are given back."""


class ThreadPool:
    """Connections for sync calls, opened when needed, at most `limit` at once.

    Args:
        connect: makes a connection that is not open yet.
        limit: further calls wait.
    """

    def __init__(self, connect: Callable[[], Any], limit: int) -> None:
        self._connect = connect
        self._limit = limit
        self.begin_anew()
        _POOLS.add(self)

    def begin_anew(self) -> None:
        """Forget every connection and lock: in a forked child they are the parent's."""
        self._slots = Slots(self._limit)
        self._idle: list[Any] = []
        self._closed = False

    def exchange(self, commands: Sequence[Command]) -> Any:
        """Send commands and return the reply to the last: see `exchange`.

        Raises:
            NotSentError: if there is no connection.
        """
        slots = self._slots
        held: list[bool] = []
        try:
            if not slots.take(WAIT_SECONDS, held):
                raise NoTurnError(f"all {self._limit} connections have been in use for {WAIT_SECONDS:g} s")
            connection = self._opened()
            try:
                return exchange(connection, commands)
            finally:
                self._keep(connection)
        finally:
            if held:
                slots.put(True)

    def _opened(self) -> Any:
        connection = None
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            _make_ready(connection)
        except BaseException as error:
            if connection is not None:
                connection.disconnect()
            if isinstance(error, redis.RedisError | OSError | UnicodeError):  # the last of host names
                raise NotSentError from error
            raise
        return connection

    def _keep(self, connection: Any) -> None:
        """Have it used again, open or not."""
        if self._closed:
            connection.disconnect()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close what is not in use, and the others when they are given back."""
        self._closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().disconnect()


_POOLS: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _make_ready(connection: Any) -> None:
    """Open it if it isn't; one that the server has closed since, or that was left in disorder, is opened again."""
    connection.connect()
    with suppress(redis.ConnectionError, redis.TimeoutError, OSError):
        if not connection.can_read():
            return
    connection.disconnect()
    connection.connect()


class GivenPool:
    """A pool of the caller's; redis-py's own retries are those of its client, and not met here."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        # Without a default for it, before redis-py 5.3, the name of a command has to be given.
        name = inspect.signature(pool.get_connection).parameters.get("command_name")
        self._words = ("LPUSH",) if name is not None and name.default is name.empty else ()

    def exchange(self, commands: Sequence[Command]) -> Any:
        """See `ThreadPool.exchange`."""
        try:
            connection = self._pool.get_connection(*self._words)
        except (redis.RedisError, OSError, UnicodeError) as error:
            raise NotSentError from error
        try:
            return exchange(connection, commands)
        finally:
            self._pool.release(connection)

    def close(self) -> None:
        """It stays open: it is the caller's."""


def exchange(connection: Any, commands: Sequence[Command]) -> Any:
    """Send commands in one write and return the reply to the last, never sending anything again.

    Raises:
        AnswerLostError: if it is not known whether they were carried out.
        redis.RedisError: if the server refused; then nothing was carried out.
    """
    try:
        connection.send_packed_command(packed(connection, commands))
        for _ in commands:
            reply = connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        if len(commands) > 1:
            connection.disconnect()  # there may be another answer to come
        raise as_answer(error) from None
    except (redis.RedisError, OSError) as error:
        connection.disconnect()
        if is_refusal(error):
            raise
        raise AnswerLostError from error
    except BaseException:
        connection.disconnect()
        raise
    return reply


def packed(connection: Any, commands: Sequence[Command]) -> Any:
    return connection.pack_command(*commands[0]) if len(commands) == 1 else connection.pack_commands(commands)
