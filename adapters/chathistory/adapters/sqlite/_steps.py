"""Carry out statements and steps over one connection: the part that every store shares, sync and async."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable

from chathistory.adapters.sqlite._table import Rows, Sql, Statement, Steps


def execute(connection: sqlite3.Connection, statement: Statement) -> Rows:
    """Run one statement to its end, whatever row factory the connection has."""
    # Not connection.cursor(): a connection class of the user may override it.
    cursor = sqlite3.Cursor(connection)
    try:
        cursor.row_factory = None
        return cursor.execute(*statement).fetchall()
    finally:
        # A statement left half-read would keep a snapshot open, and the write-ahead log growing.
        cursor.close()


def drive(steps: Steps, run: Callable[[Statement], Rows]) -> Sql:
    """Run the statements that the steps ask for, and hand them their rows, or throw them their errors."""

    def outcome_of(statement: Statement) -> Rows | sqlite3.Error:
        try:
            return run(statement)
        except sqlite3.Error as error:
            return error

    step: Statement | Sql = next(steps)
    while not isinstance(step, Sql):
        step = _next(steps, outcome_of(step))
    return step


async def adrive(steps: Steps, run: Callable[[Statement], Awaitable[Rows]]) -> Sql:
    """The async form of `drive`."""

    async def outcome_of(statement: Statement) -> Rows | sqlite3.Error:
        try:
            return await run(statement)
        except sqlite3.Error as error:
            return error

    step: Statement | Sql = next(steps)
    while not isinstance(step, Sql):
        step = _next(steps, await outcome_of(step))
    return step


def _next(steps: Steps, outcome: Rows | sqlite3.Error) -> Statement | Sql:
    """The next statement, or the result once there is none."""
    try:
        return steps.throw(outcome) if isinstance(outcome, sqlite3.Error) else steps.send(outcome)
    except StopIteration as stop:
        result: Sql = stop.value
        return result
