"""One operation over one connection: everything that is said to the server, for sync and async connections.

The statements go past psycopg's cursors, at the level of libpq that psycopg itself builds on. There a statement
on an idle connection is a transaction of its own, committed when the server answers, in one round trip and
whatever the connection's autocommit, factories, adapters and prepare_threshold; a cursor would open a
transaction first, which somebody has to end, and which others who share the connection would get into.

In a transaction of the caller's, an operation is a savepoint: kept or undone with it, by nobody but the caller.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from contextlib import suppress
from typing import Any, TypeAlias

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from chathistory.adapters._turns import take
from chathistory.adapters.postgres._settling import SECONDS_TO_SETTLE, acquired, settled
from chathistory.adapters.postgres._table import Layout, Operation, Statement, layout_of

AnyConnection: TypeAlias = "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]"
Layouts: TypeAlias = dict[str, Layout]

_SAVEPOINT = Statement(b"SAVEPOINT chathistory")
_RELEASE = Statement(b"RELEASE SAVEPOINT chathistory")
_ROLLBACK = Statement(b"ROLLBACK TO SAVEPOINT chathistory; RELEASE SAVEPOINT chathistory")

SECONDS_TO_WAIT = 30.0
"""How long others may keep a connection, or all of them, before that is an error."""

_MOST_ATTEMPTS = 8
# What PostgreSQL says of a table that no longer looks as it did: undefined table or column, no such operator,
# wrong type, no such conversion.
_LOOK_AGAIN = frozenset({"42P01", "42703", "42883", "42804", "42846"})
# Serialization failure and deadlock: the transaction was undone, and may do better the next time.
_TRY_AGAIN = frozenset({"40001", "40P01"})
# Somebody who takes no lock, such as langchain-postgres, made the same table at the same moment.
_MADE_BY_OTHERS = frozenset({"23505", "42P07", "42710"})


class ConnectionLostError(psycopg.OperationalError):
    """The connection was found closed before anything was sent: the operation can be tried on another one."""


class AnswerLostError(psycopg.OperationalError):
    """The connection was lost after a statement had been sent: nobody knows whether it took effect."""


class ConnectionInUseError(psycopg.OperationalError):
    """The state that the caller left the connection in has no room for an operation."""


class BusyConnectionError(ConnectionInUseError):
    """Others kept the connection; or this thread does, whose COPY, stream() or notifies() has not ended."""

    def __init__(self) -> None:
        super().__init__(
            f"the connection was in use for {SECONDS_TO_WAIT:.0f} s, perhaps by a COPY, stream() or notifies() around "
            "this call"
        )


class AbandonedError(psycopg.OperationalError):
    """The call was cancelled before its next statement was sent."""


class Exchange:
    """One operation on its way.

    Args:
        operation: what is to be done.
        layouts: what the tables look like, as far as is known.
    """

    def __init__(self, operation: Operation, layouts: Layouts) -> None:
        self.operation = operation
        self._layouts = layouts
        self._abandoned = False
        self._guard = threading.Lock()
        self._running_on: psycopg.Connection[Any] | None = None
        self._being_stopped: psycopg.Connection[Any] | None = None
        self._none_is_being_stopped = threading.Event()
        self._none_is_being_stopped.set()

    def run(self, connection: psycopg.Connection[Any]) -> PGresult:
        """Carry the operation out, wholly or not at all.

        Raises:
            psycopg.Error: if it was not carried out, or, when the connection is lost meanwhile, may not have been.
        """
        # psycopg's own lock: it makes the whole of the operation as indivisible as one of its statements.
        held: list[bool] = []
        try:
            if not take(connection.lock, SECONDS_TO_WAIT, held):
                raise BusyConnectionError
            return self._run(connection)
        finally:
            if held:
                connection.lock.release()

    def _run(self, connection: psycopg.Connection[Any]) -> PGresult:
        try:
            with self._guard:
                self._running_on = connection
            self._refuse_unless_usable(connection)
            return connection.wait(self._steps(connection))
        finally:
            with self._guard:
                self._running_on = None
            self._none_is_being_stopped.wait()  # or the request would hit the next statement of the connection

    async def arun(self, connection: psycopg.AsyncConnection[Any]) -> PGresult:
        """The async form of `run`; a cancellation is passed on when the operation is over, or cut off (ASY-4)."""

        async def stop() -> None:
            self._abandoned = True
            with suppress(psycopg.Error):
                await connection.cancel_safe(timeout=SECONDS_TO_SETTLE)

        if not await acquired(connection.lock, SECONDS_TO_WAIT):
            raise BusyConnectionError
        try:
            self._refuse_unless_usable(connection)
            work = asyncio.ensure_future(connection.wait(self._steps(connection)))
            return await settled(work, stop, lambda: _cut_off(connection.pgconn))
        finally:
            connection.lock.release()

    def stop(self) -> None:
        """Ask the server to end it, from another thread than the one that runs it; what has taken effect stays."""
        with self._guard:
            if self._running_on is None:
                return
            connection = self._being_stopped = self._running_on
            self._none_is_being_stopped.clear()
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=SECONDS_TO_SETTLE)
        with self._guard:
            self._being_stopped = None
            self._none_is_being_stopped.set()

    def cut_off(self) -> None:
        """End its connection, from another thread than the one that runs it, whether or not the server answers."""
        with self._guard:
            connection = self._running_on or self._being_stopped
            if connection is not None:
                _cut_off(connection.pgconn)
            self._none_is_being_stopped.set()

    def abandon(self) -> bool:
        """Send nothing more; whether something may be under way already."""
        with self._guard:
            self._abandoned = True
            return self._running_on is not None

    def _refuse_unless_usable(self, connection: AnyConnection) -> None:
        _refuse_unless_usable(connection.pgconn)
        # The server hears of it only in transactions that psycopg begins, and in those it decides by itself.
        is_idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
        if is_idle and connection.read_only and self.operation.writes:
            raise psycopg.errors.ReadOnlySqlTransaction("the connection is set to be read_only")

    def _steps(self, connection: AnyConnection) -> PQGen[PGresult]:
        pgconn = connection.pgconn
        inside = pgconn.transaction_status == TransactionStatus.INTRANS
        known = self._layouts.get(self.operation.table.name)
        for _ in range(_MOST_ATTEMPTS):
            try:
                return (yield from self._attempt(pgconn, inside))
            except psycopg.Error as error:
                if pgconn.status != ConnStatus.OK:
                    raise
                if known is not None and error.sqlstate in _LOOK_AGAIN:
                    self._layouts.pop(self.operation.table.name, None)
                    known = None  # so that it is looked at anew, but once only
                elif inside or not self._may_pass(error.sqlstate):
                    raise
        return (yield from self._attempt(pgconn, inside))

    def _may_pass(self, code: str | None) -> bool:
        """Whether an operation that was undone may succeed the next time."""
        return code in _TRY_AGAIN or (self.operation.verb == "create" and code in _MADE_BY_OTHERS)

    def _attempt(self, pgconn: PGconn, inside: bool) -> PQGen[PGresult]:
        if not inside:
            return (yield from self._carry_out(pgconn, alone=True))
        yield from self._say(pgconn, _SAVEPOINT)
        try:
            result = yield from self._carry_out(pgconn, alone=False)
            yield from self._say(pgconn, _RELEASE)
        except Exception:
            if pgconn.status == ConnStatus.OK:
                yield from _undo(pgconn)
            raise
        return result

    def _carry_out(self, pgconn: PGconn, *, alone: bool) -> PQGen[PGresult]:
        operation, layout = self.operation, None
        if operation.looks_first:
            layout = self._layouts.get(operation.table.name) or (yield from self._look(pgconn))
        result = yield from self._say(pgconn, operation.statement(layout, alone=alone))
        if operation.verb == "create":
            yield from self._look(pgconn)
        elif operation.verb == "drop":
            self._layouts.pop(operation.table.name, None)
        return result

    def _look(self, pgconn: PGconn) -> PQGen[Layout]:
        table = self.operation.table
        self._layouts.pop(table.name, None)
        layout = self._layouts[table.name] = layout_of((yield from self._say(pgconn, table.look())))
        return layout

    def _say(self, pgconn: PGconn, statement: Statement) -> PQGen[PGresult]:
        if self._abandoned:
            raise AbandonedError("the call was cancelled")
        try:
            return (yield from _said(pgconn, statement))
        except psycopg.OperationalError as error:
            # Without a code it is libpq that speaks, not the server.
            if error.sqlstate is not None or self.operation.verb == "read":
                raise
            raise AnswerLostError(str(error)) from error


def _said(pgconn: PGconn, statement: Statement) -> PQGen[PGresult]:
    """Send a statement and wait for the answer."""
    if statement.parameters:
        # Lists, because the compiled psycopg takes nothing else.
        values, types = list(statement.parameters), list(statement.types)
        pgconn.send_query_params(statement.text, values, types, param_formats=[1] * len(values), result_format=1)
    else:
        pgconn.send_query(statement.text)
    results: list[PGresult] = yield from generators.execute(pgconn)
    for result in results:
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise error_from_result(result, encoding=psycopg.ConnectionInfo(pgconn).encoding)
    return results[-1]


def _undo(pgconn: PGconn) -> PQGen[None]:
    """Back to the savepoint, so that the caller's transaction is as usable as it was."""
    try:
        yield from _said(pgconn, _ROLLBACK)
    except psycopg.errors.QueryCanceled:  # a cancellation that came late
        yield from _said(pgconn, _ROLLBACK)


def _cut_off(pgconn: PGconn) -> None:
    """Have whoever waits for an answer, in this thread or another, find the connection lost.

    Only they may close it: libpq allows for one thread at a time.
    """
    with suppress(OSError, psycopg.OperationalError):  # it is lost already
        number = pgconn.socket
        theirs = socket.socket(fileno=number)
        try:
            ours = theirs.dup()
        finally:
            theirs.detach()
        with ours:
            if pgconn.socket == number:  # and has not been closed and given to somebody else meanwhile
                ours.shutdown(socket.SHUT_RDWR)


def _refuse_unless_usable(pgconn: PGconn) -> None:
    if pgconn.status != ConnStatus.OK:
        raise ConnectionLostError("the connection is closed")
    if pgconn.pipeline_status != PipelineStatus.OFF:
        raise ConnectionInUseError("the connection is in pipeline mode: leave the pipeline block first")
    status = pgconn.transaction_status
    if status == TransactionStatus.INERROR:
        raise ConnectionInUseError("the connection is in a failed transaction of yours: roll it back first")
    if status == TransactionStatus.ACTIVE:
        raise ConnectionInUseError("the connection is busy with another command, such as COPY or stream()")
    if _has_been_closed(pgconn):
        raise ConnectionLostError("the server has closed the connection")


def _has_been_closed(pgconn: PGconn) -> bool:
    """Whether the server has ended the connection while it was idle, as far as this machine knows.

    Then nothing of an operation was sent, and another connection can take it without risk of doing it twice.
    """
    try:
        for _ in range(3):  # the server's last words, and the end
            if not _is_readable(pgconn.socket):
                return False
            pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return pgconn.status != ConnStatus.OK


def _is_readable(number: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
