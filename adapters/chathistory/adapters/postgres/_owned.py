"""Connections that the histories open themselves: shared by all handles of the process on one database.

* lent to one thread or task at a time, and kept for the next; those of tasks for any event loop, since an
  async connection that is not in use has no tie to the loop that it was used in;
* looked at before they are used, so that a restart of the server costs no call;
* left alone in a forked child, which opens its own.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from chathistory.adapters._turns import Slots
from chathistory.adapters.postgres._exchange import (
    SECONDS_TO_WAIT,
    AnyConnection,
    ConnectionLostError,
    Exchange,
    Layouts,
)
from chathistory.adapters.postgres._table import Operation

MOST_CONNECTIONS = 10
"""How many connections the threads of a process use at once, and how many the tasks of an event loop do."""

_SECONDS_KEPT = 300.0
_KEPT_UNUSED = 16

_Connection = TypeVar("_Connection", bound=AnyConnection)


class NoConnectionFreeError(psycopg.OperationalError):
    """Others kept all connections of the process busy."""

    def __init__(self) -> None:
        super().__init__(f"all {MOST_CONNECTIONS} connections were in use for {SECONDS_TO_WAIT:.0f} s")


@contextmanager
def _host_names_refused() -> Iterator[None]:
    """Let names that can be none of a host be errors of connecting, as the others are."""
    try:
        yield
    except UnicodeError as error:
        raise psycopg.OperationalError(f"the host's name can't be one: {error}") from error


class _Idle(Generic[_Connection]):
    """Connections that nobody uses now, the one used last first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[tuple[float, _Connection]] = []

    def take(self) -> _Connection | None:
        with self._lock:
            return self._kept.pop()[1] if self._kept else None

    def give(self, connection: _Connection) -> None:
        """Keep it, unless an operation was cut short on it; close those that have not been used for long."""
        now = time.monotonic()
        with self._lock:
            surplus = [kept for since, kept in self._kept if now - since > _SECONDS_KEPT]
            self._kept = [(since, kept) for since, kept in self._kept if now - since <= _SECONDS_KEPT]
            if _is_free(connection):
                self._kept.append((now, connection))
            else:
                surplus.append(connection)
        for unwanted in surplus:
            _finish(unwanted)

    def all(self) -> list[_Connection]:
        # Without the lock, which another thread may have held when this process was forked.
        return [connection for _, connection in list(self._kept)]

    def close(self) -> None:
        with self._lock:
            connections, self._kept = self._kept, []
        for _, connection in connections:
            _finish(connection)


def _is_free(connection: AnyConnection) -> bool:
    # Its lock is held where a signal's exception came at a bad moment; nobody would ever release it.
    if connection.lock.locked() or connection.pgconn.status != ConnStatus.OK:
        return False
    return connection.pgconn.transaction_status == TransactionStatus.IDLE


def _finish(connection: AnyConnection) -> None:
    """Close a connection, sync or async: psycopg's own async form does no more, but needs its event loop."""
    connection.pgconn.finish()


class _Slots:
    """A number of slots for the tasks of one event loop, first come, first served.

    `asyncio.wait_for(semaphore.acquire(), …)` would do, but until Python 3.12 it may lose a slot, or a
    cancellation, when both come at the same moment.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=SECONDS_TO_WAIT)
        except asyncio.CancelledError:
            if not turn.cancel():
                self.release()
            raise
        if turn.cancel():
            raise NoConnectionFreeError

    def release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Lease:
    """A handle's share in a database: while one is alive and not returned, its connections stay open."""

    __slots__ = ("__weakref__",)


class Database:
    """A database, as the store of any number of handles.

    Args:
        conninfo: how to connect, in a form that libpq takes.
    """

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self._layouts: Layouts = {}
        self.leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget every connection and lock without touching them: they are those of a parent process."""
        self._slots = Slots(MOST_CONNECTIONS)
        self._idle: _Idle[psycopg.Connection[Any]] = _Idle()
        self._idle_of_tasks: _Idle[psycopg.AsyncConnection[Any]] = _Idle()
        self._slots_of_loops: MutableMapping[asyncio.AbstractEventLoop, _Slots] = weakref.WeakKeyDictionary()

    def connections(self) -> list[AnyConnection]:
        """Those that are open now and not in use."""
        return [*self._idle.all(), *self._idle_of_tasks.all()]

    def run(self, operation: Operation) -> PGresult:
        """Carry out an operation wholly or not at all.

        Raises:
            psycopg.Error: if it was not carried out; if the connection is lost meanwhile, it may have been.
        """
        exchange = Exchange(operation, self._layouts)
        for _ in range(MOST_CONNECTIONS):  # as many as the server may have ended since they were last used
            try:
                return self._run_once(exchange)
            except ConnectionLostError:
                continue
        return self._run_once(exchange)

    async def arun(self, operation: Operation) -> PGresult:
        """The async form of `run`."""
        exchange = Exchange(operation, self._layouts)
        for _ in range(MOST_CONNECTIONS):
            async with self._alent() as connection:
                try:
                    return await exchange.arun(connection)
                except ConnectionLostError:
                    continue
        async with self._alent() as connection:
            return await exchange.arun(connection)

    def _run_once(self, exchange: Exchange) -> PGresult:
        slots, idle = self._slots, self._idle
        held: list[bool] = []
        try:
            if not slots.take(SECONDS_TO_WAIT, held):
                raise NoConnectionFreeError
            connection = idle.take()
            if connection is None:
                with _host_names_refused():
                    connection = psycopg.Connection.connect(self.conninfo, autocommit=True)
            try:
                result = exchange.run(connection)
            finally:
                idle.give(connection)
        finally:
            if held:
                slots.put(True)
        if not self.leases:
            idle.close()
        return result

    @asynccontextmanager
    async def _alent(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        slots, idle = self._slots_of_this_loop(), self._idle_of_tasks
        await slots.acquire()
        try:
            connection = idle.take()
            if connection is None:
                with _host_names_refused():
                    connection = await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True)
            try:
                yield connection
            finally:
                idle.give(connection)
        finally:
            slots.release()
        if not self.leases:
            idle.close()

    def _slots_of_this_loop(self) -> _Slots:
        loop = asyncio.get_running_loop()
        slots = self._slots_of_loops.get(loop)
        if slots is None:
            slots = self._slots_of_loops[loop] = _Slots(MOST_CONNECTIONS)
        return slots

    def close(self) -> None:
        """Close every connection that is not in use; the others are closed when they are given back."""
        self._idle.close()
        self._idle_of_tasks.close()


class Databases:
    """The databases that one process is connected to.

    Connections stay open for a while after the last handle is gone, since RunnableWithMessageHistory opens a
    handle per call; a program with a database per user must not run out of connections by that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._databases: OrderedDict[str, Database] = OrderedDict()

    def lease(self, conninfo: str) -> tuple[Database, Lease]:
        """The database, and the token that keeps its connections open."""
        lease = Lease()
        with self._lock:
            database = self._databases.get(conninfo)
            if database is None:
                database = self._databases[conninfo] = Database(conninfo)
            database.leases.add(lease)
            self._databases.move_to_end(conninfo)
            surplus = self._take_surplus()
        for unused in surplus:
            unused.close()
        return database, lease

    def _take_surplus(self) -> list[Database]:
        """Look at two of the oldest each time: enough to keep up, and never a long search."""
        surplus = []
        for _ in range(2):
            if len(self._databases) <= _KEPT_UNUSED:
                break
            conninfo, database = next(iter(self._databases.items()))
            if database.leases:
                self._databases.move_to_end(conninfo)
            else:
                surplus.append(self._databases.pop(conninfo))
        return surplus

    def give_back(self, database: Database, lease: Lease) -> None:
        """Return a lease; with the last one the connections are closed."""
        with self._lock:
            database.leases.discard(lease)
            last = not database.leases
        if last:
            database.close()

    def close(self, conninfo: str) -> None:
        """Close the connections to a database, whoever has handles on it; these may open others."""
        with self._lock:
            database = self._databases.get(conninfo)
        if database is not None:
            database.close()

    def close_all(self) -> None:
        """Close every connection that is not in use; for the end of the process."""
        for database in list(self._databases.values()):
            database.close()

    def after_fork(self) -> None:
        """Start afresh in a forked child, and leave the parent's connections to the parent."""
        self._lock = threading.Lock()
        for database in self._databases.values():
            _INHERITED.extend(database.connections())
            database.begin_anew()


_INHERITED: list[AnyConnection] = []

DATABASES = Databases()
atexit.register(DATABASES.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DATABASES.after_fork)
