"""Connections and pools of the caller: used, shared by any number of handles, and left as they were."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq.abc import PGresult

from chathistory.adapters.postgres._exchange import ConnectionInUseError, ConnectionLostError, Exchange, Layouts
from chathistory.adapters.postgres._table import Operation
from chathistory.adapters.postgres._threads import run_in_thread

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool


class _Kept:
    """What is known of a connection or pool, for all handles on it and as long as it lives."""

    def __init__(self) -> None:
        self.layouts: Layouts = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self.process = os.getpid()


_KEPT: MutableMapping[object, _Kept] = weakref.WeakKeyDictionary()


def _kept(source: object) -> _Kept:
    return _KEPT.setdefault(source, _Kept())


def _of_this_process(kept: _Kept) -> _Kept:
    if kept.process != os.getpid():
        raise ConnectionInUseError(
            "the connection was opened before a fork, and the parent process goes on using it: open another one here"
        )
    return kept


class SyncConnection:
    """A psycopg.Connection, for sync calls, and for async ones by way of threads.

    Args:
        connection: used by one call at a time.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._kept = _kept(connection)

    def run(self, operation: Operation) -> PGresult:
        """Carry out an operation wholly or not at all.

        Raises:
            psycopg.Error: if it was not carried out.
        """
        return self._exchanged(self._exchange(operation))

    async def arun(self, operation: Operation) -> PGresult:
        """The async form of `run`."""
        return await run_in_thread(self._exchanged, self._exchange(operation))

    def _exchange(self, operation: Operation) -> Exchange:
        return Exchange(operation, _of_this_process(self._kept).layouts)

    def _exchanged(self, exchange: Exchange) -> PGresult:
        return exchange.run(self._connection)


class SyncPool:
    """A psycopg_pool.ConnectionPool, for sync calls, and for async ones by way of threads.

    Args:
        pool: lends a connection to each operation.
    """

    def __init__(self, pool: ConnectionPool[Any]) -> None:
        self._pool = pool
        self._kept = _kept(pool)

    def run(self, operation: Operation) -> PGresult:
        """Carry out an operation wholly or not at all, over a connection that the server has not ended.

        Raises:
            psycopg.Error: if it was not carried out; PoolTimeout if no connection came free.
        """
        return self._exchanged(self._exchange(operation))

    async def arun(self, operation: Operation) -> PGresult:
        """The async form of `run`."""
        return await run_in_thread(self._exchanged, self._exchange(operation))

    def _exchange(self, operation: Operation) -> Exchange:
        return Exchange(operation, _of_this_process(self._kept).layouts)

    def _exchanged(self, exchange: Exchange) -> PGresult:
        for _ in range(self._pool.max_size):  # as many as may have been ended since they were last used
            with self._pool.connection() as connection:
                try:
                    return exchange.run(connection)
                except ConnectionLostError:
                    continue
        with self._pool.connection() as connection:
            return exchange.run(connection)


class AsyncOnlyConnection:
    """A psycopg.AsyncConnection, for async calls of one event loop.

    Args:
        connection: used by one call at a time.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._kept = _kept(connection)

    async def arun(self, operation: Operation) -> PGresult:
        """Carry out an operation wholly or not at all.

        Raises:
            psycopg.Error: if it was not carried out.
        """
        kept = _of_this_loop(self._kept, "async connection")
        return await Exchange(operation, kept.layouts).arun(self._connection)


class AsyncOnlyPool:
    """A psycopg_pool.AsyncConnectionPool, for async calls of one event loop.

    Args:
        pool: lends a connection to each operation.
    """

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._kept = _kept(pool)

    async def arun(self, operation: Operation) -> PGresult:
        """Carry out an operation wholly or not at all, over a connection that the server has not ended.

        Raises:
            psycopg.Error: if it was not carried out; PoolTimeout if no connection came free.
        """
        kept = _of_this_loop(self._kept, "async pool")
        exchange = Exchange(operation, kept.layouts)
        for _ in range(self._pool.max_size):
            async with self._pool.connection() as connection:
                try:
                    return await exchange.arun(connection)
                except ConnectionLostError:
                    continue
        async with self._pool.connection() as connection:
            return await exchange.arun(connection)


def _of_this_loop(kept: _Kept, kind: str) -> _Kept:
    """What is known of an async connection or pool, which belongs to the loop of its first use (ASY-6)."""
    loop = asyncio.get_running_loop()
    _of_this_process(kept)
    if kept.loop is None:
        kept.loop = loop
    if kept.loop is not loop:
        raise ConnectionInUseError(
            f"the {kind} belongs to another event loop: open one in this loop, or pass conninfo instead, which "
            "serves every loop"
        )
    return kept


def is_pool(source: object, name: str) -> bool:
    """Whether it is a pool of that class of psycopg_pool, which is imported if anybody has one."""
    module = sys.modules.get("psycopg_pool")
    return module is not None and isinstance(source, getattr(module, name))
