"""Tell SQLite's errors apart, and say when to try again: the only place that knows its codes and texts."""

from __future__ import annotations

import random
import sqlite3
import threading
import time

_BUSY, _READONLY, _PROTOCOL = 5, 8, 15
# Python 3.10 has no error codes, so there the texts have to do.
_TEXT_OF_CODE = {
    _BUSY: "database is locked",
    _READONLY: "attempt to write a readonly database",
    _PROTOCOL: "locking protocol",
}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.01

HINTS = {
    "database is locked": "another connection held its lock for longer than the busy timeout",
    "unable to open database file": "does its directory exist, and may this process write there?",
    "file is not a database": "the file holds something else, or is encrypted",
    "no such table: json_each": "this SQLite was built without its JSON functions",
    "datatype mismatch": "the largest id of the table is used up, or its id column is no INTEGER PRIMARY KEY",
    "SQLite objects created in a thread can only be used in that same thread": (
        "open the connection with check_same_thread=False; the history serialises its use"
    ),
}
"""What a message of SQLite usually means, by the beginning of the message."""


class NotYourTurnError(sqlite3.OperationalError):
    """Other threads or tasks of this process kept the connection busy, in the words of SQLite."""

    def __init__(self) -> None:
        super().__init__(_TEXT_OF_CODE[_BUSY])


class StoppedError(sqlite3.OperationalError):
    """The connection of the event loop was closed before it ran the statement; another one may be opened."""

    def __init__(self) -> None:
        super().__init__("the connection was closed during the call")


class ClosedError(sqlite3.ProgrammingError):
    """The last handle on the file was closed while a call was under way."""

    def __init__(self) -> None:
        super().__init__("the handle was closed during the call")


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds a lock that this operation needs, so that trying again may help."""
    return isinstance(error, NotYourTurnError) or _has_code(error, _BUSY) or _has_code(error, _PROTOCOL)


def is_readonly(error: sqlite3.Error) -> bool:
    """Whether the database can be read but not written."""
    return _has_code(error, _READONLY)


def is_missing_table(error: sqlite3.Error) -> bool:
    """Whether the table is gone since it was prepared: dropped, or rolled back with its transaction."""
    return str(error).startswith("no such table")


def _has_code(error: sqlite3.Error, code: int) -> bool:
    extended = getattr(error, "sqlite_errorcode", None)
    if extended is not None:
        return bool(extended & 0xFF == code)
    return str(error).startswith(_TEXT_OF_CODE[code])


class Patience:
    """How long one operation may still wait for locks.

    Waiting is done here and not by SQLite's own busy handler: that one would sleep inside the connection's
    thread, where a cancelled call couldn't leave it and reads would queue behind it (ISO-7, ASY-3), and its
    steps of up to 100 ms let a steady writer shut out others.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._next = 0.0

    def left(self) -> float:
        """The seconds left, as an argument for a lock's `acquire`."""
        return min(max(self._deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)

    def pause_after(self, error: sqlite3.OperationalError) -> float:
        """How long to sleep before the next try; raises the error if trying again can't help or time is up.

        The first pause is none at all and free of charge: it serves the table that has to be made again, and the
        connection that was opened when the file could not be written.
        """
        first = not self._next
        passing = is_busy(error) or isinstance(error, StoppedError)
        if not passing and not (first and (is_missing_table(error) or is_readonly(error))):
            raise error
        pause, self._next = self._next, min(max(self._next * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        if pause and not self.left():
            raise error
        # Spread out, so that waiting processes don't come back all at the same moment.
        return min(pause * random.uniform(0.5, 1.0), self.left())  # noqa: S311 -- no secret
