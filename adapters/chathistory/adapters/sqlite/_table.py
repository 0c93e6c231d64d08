"""Every SQL statement of the adapter, and how a table is made ready: texts and steps, no input or output.

Each operation but an assignment is *one* statement. A statement takes effect wholly or not at all, so an
async call that is cancelled between two awaits can't leave half a batch or an open transaction (ASY-4).

The layout is that of langchain-community's `SQLChatMessageHistory`, and both classes may share a table.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from chathistory.adapters.sqlite._failures import is_busy

Statement: TypeAlias = tuple[str, tuple[str, ...]]
Rows: TypeAlias = list[tuple[Any, ...]]
Steps: TypeAlias = Generator[Statement, Rows, None]


# These answer in numbers, since a connection of the caller may turn texts into anything.
_FIND = "SELECT type = 'table', name = ?1 FROM main.sqlite_master WHERE name = ?1 COLLATE NOCASE"
# SQLite's rules of affinity: INT makes a number even where CHAR follows, and no type at all keeps everything.
_COLUMN = (
    "SELECT type = '' OR (instr(upper(type), 'INT') = 0 AND (instr(upper(type), 'CHAR') OR "
    "instr(upper(type), 'CLOB') OR instr(upper(type), 'TEXT') OR instr(upper(type), 'BLOB'))) "
    "FROM pragma_table_info(?1, 'main') WHERE name = ?2 COLLATE NOCASE"
)
# Tables of these names would stand in the way of the functions used here.
_RESERVED = ("json_each", "pragma_table_info")


@dataclass(frozen=True, slots=True)
class Operation:
    """What a history asks of its store.

    Attributes:
        table: the table, which the store makes ready first.
        verb: what was to be done, for errors.
        statements: carried out wholly or not at all; the rows of the last are the result.
        writes: whether it needs the write lock.
    """

    table: Table
    verb: str
    statements: tuple[Statement, ...]
    writes: bool = True


class Table:
    """The statements for one table.

    Args:
        name: the table; any text that SQLite takes for a name.
        column: the column of the session ids.

    Raises:
        TypeError: if a name is not a str.
        ValueError: if SQLite can't take it as it is.
    """

    def __init__(self, name: str, column: str) -> None:
        _check_name(name, "table_name")
        _check_name(column, "session_id_field_name")
        if column.lower() in ("id", "message"):
            raise ValueError(f"session_id_field_name: {column!r} is the name of another column of the table")
        if name.lower().startswith("sqlite_") or name.lower() in _RESERVED:
            raise ValueError(f"table_name: {name!r} is reserved by SQLite")
        self.name, self.column = name, column
        self._table = _quoted(name)
        self._create = (
            f"CREATE TABLE IF NOT EXISTS main.{self._table} "
            f'("id" INTEGER NOT NULL, {_quoted(column)} TEXT, "message" TEXT, PRIMARY KEY ("id"))'
        )
        self._create_index = (
            f"CREATE INDEX IF NOT EXISTS main.{_quoted(f'ix_{name}_{column}')} "
            f"ON {self._table} ({_quoted(column)} COLLATE BINARY)"
        )
        # Columns are qualified: SQLite reads a quoted name that it doesn't know as a string.
        where = f"t.{_quoted(column)} = ?1 COLLATE BINARY"
        # As a blob, whatever text_factory the connection has, and though the text be no UTF-8.
        self._read = (
            f'SELECT +t."id", CAST(t."message" AS BLOB) FROM main.{self._table} AS t '  # noqa: S608 -- quoted
            f'WHERE {where} ORDER BY t."id"'
        )
        self._clear = f"DELETE FROM main.{self._table} AS t WHERE {where}"  # noqa: S608 -- quoted
        # Ids are given here: SQLite itself picks them at random once the largest is used up (CON-3).
        self._add = (
            f'INSERT INTO main.{self._table} ("id", {_quoted(column)}, "message") '  # noqa: S608 -- quoted
            f'SELECT (SELECT coalesce(max("id"), 0) FROM main.{self._table}) + j.key + 1, ?1, j.value '
            "FROM json_each(?2) AS j"
        )

    def read(self, session_id: str) -> Operation:
        """Rows of id and message, in the order in which they were added."""
        return Operation(self, "read", ((self._read, (session_id,)),), writes=False)

    def add(self, session_id: str, texts: Sequence[str]) -> Operation:
        """Append a batch."""
        return Operation(self, "add to", (self._insert(session_id, texts),))

    def clear(self, session_id: str) -> Operation:
        """Remove everything of the session."""
        return Operation(self, "clear", ((self._clear, (session_id,)),))

    def replace(self, session_id: str, texts: Sequence[str]) -> Operation:
        """Remove everything of the session and append a batch, as one."""
        insert = (self._insert(session_id, texts),) if texts else ()
        return Operation(self, "replace", ((self._clear, (session_id,)), *insert))

    def _insert(self, session_id: str, texts: Sequence[str]) -> Statement:
        return (self._add, (session_id, json.dumps(texts)))

    def prepare(self) -> Steps:
        """Make table and index if they are missing, and check that the table can keep what it is given.

        Yields statements and is sent their rows, or thrown their errors, so that sync and async stores share
        it. Each step may be repeated, by this or another process, at any time (CON-5).

        Raises:
            sqlite3.Error: if the table has other columns, or would alter session ids.
        """
        yield self._create, ()
        _check_name_found(self.name, (yield _FIND, (self.name,)))
        for column in ("id", self.column, "message"):
            if not (yield _COLUMN, (self.name, column)):
                raise sqlite3.OperationalError(f"the table exists, but has no column {column!r}")
        _check_type(self.column, (yield _COLUMN, (self.name, self.column)))
        try:
            yield self._create_index, ()
        except sqlite3.OperationalError as error:
            # Without an index reads are slow, but right; the database may be read-only, the name taken.
            if is_busy(error):
                raise


@lru_cache(maxsize=256)
def table_named(name: str, column: str) -> Table:
    """The table of that name; handles are opened by the thousand, its texts are made once."""
    return Table(name, column)


def _check_name(name: str, argument: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a str, got {type(name).__name__}")
    if not name or "\0" in name:
        raise ValueError(f"{argument}: SQLite has no empty names and no NUL in names, got {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{argument}: {name!r} holds a lone surrogate, which SQLite can't store") from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_name_found(name: str, found: Rows) -> None:
    """Refuse a view, and a table that only SQLite takes for the one named (ISO-6)."""
    for is_table, is_same in found:
        if not is_table:
            raise sqlite3.OperationalError("there is a view of that name")
        if not is_same:
            raise sqlite3.OperationalError(
                f"there is a table whose name differs from {name!r} only by case; SQLite takes both for one"
            )


def _check_type(column: str, found: Rows) -> None:
    """Refuse a column that would turn '01' into 1 (ISO-2)."""
    if not all(keeps_text for (keeps_text,) in found):
        raise sqlite3.OperationalError(
            f"column {column!r} has a type that makes SQLite turn ids such as '01' into numbers; use TEXT"
        )
