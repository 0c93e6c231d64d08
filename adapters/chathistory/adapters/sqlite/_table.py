"""Every SQL statement of the adapter, and how a table is made ready: texts and steps, no input or output.

Each operation but an assignment is *one* statement. A statement takes effect wholly or not at all, so an
async call that is cancelled between two awaits can't leave half a batch or an open transaction (ASY-4).

The layout is that of langchain-community's `SQLChatMessageHistory`, and both classes may share a table.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from chathistory.adapters.sqlite._failures import is_busy

Statement: TypeAlias = tuple[str, tuple[str, ...]]
Rows: TypeAlias = list[tuple[Any, ...]]
Part: TypeAlias = tuple[Literal["read", "add", "clear"], tuple[str, ...]]

# These answer in numbers, since a connection of the caller may turn texts into anything.
_FIND = "SELECT type = 'table', name = ?1 FROM main.sqlite_master WHERE name = ?1 COLLATE NOCASE"
# SQLite's rules of affinity: INT makes a number even where CHAR follows, and no type at all keeps everything.
_COLUMN = (
    "SELECT type = '' OR (instr(upper(type), 'INT') = 0 AND (instr(upper(type), 'CHAR') OR "
    "instr(upper(type), 'CLOB') OR instr(upper(type), 'TEXT') OR instr(upper(type), 'BLOB'))) "
    "FROM pragma_table_info(?1, 'main') WHERE name = ?2 COLLATE NOCASE"
)
_ID = "SELECT instr(upper(type), 'INT') FROM pragma_table_info(?1, 'main') WHERE name = 'id' COLLATE NOCASE"
# Tables of these names would stand in the way of SQLite, of its functions used here, or of `spelt_out`.
_RESERVED = re.compile(r"sqlite_.*|json_each|pragma_table_info|.* \(case [0-9a-f]+\)", re.IGNORECASE | re.DOTALL)


class Sql:
    """The statements for one table of the database.

    Args:
        name: its name there.
        column: the column of the session ids.
    """

    def __init__(self, name: str, column: str) -> None:
        self.name = name
        table, session = _quoted(name), _quoted(column)
        # Columns are qualified: SQLite reads a quoted name that it doesn't know as a string.
        where = f"t.{session} = ?1 COLLATE BINARY"
        self.create = (
            f"CREATE TABLE IF NOT EXISTS main.{table} "
            f'("id" INTEGER NOT NULL, {session} TEXT, "message" TEXT, PRIMARY KEY ("id"))'
        )
        self.create_index = (
            f"CREATE INDEX IF NOT EXISTS main.{_quoted(f'ix_{name}_{column}')} ON {table} ({session} COLLATE BINARY)"
        )
        # As a blob, whatever text_factory the connection has, and though the text be no UTF-8.
        self.read = (
            'SELECT +t."id", CAST(t."message" AS BLOB) '  # noqa: S608 -- names are quoted
            f'FROM main.{table} AS t WHERE {where} ORDER BY t."id"'
        )
        self.clear = f"DELETE FROM main.{table} AS t WHERE {where}"  # noqa: S608 -- names are quoted
        # Ids are given here: SQLite itself picks them at random once the largest is used up (CON-3).
        # OR ABORT, whatever constraints say of conflicts: no row is skipped, and none stays of a batch that fails.
        self.add = (
            f'INSERT OR ABORT INTO main.{table} ("id", {session}, "message") '  # noqa: S608 -- names are quoted
            f'SELECT (SELECT coalesce(max("id"), 0) FROM main.{table}) + j.key + 1, ?1, j.value '
            "FROM json_each(?2) AS j"
        )


Steps: TypeAlias = Generator[Statement, Rows, Sql]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a history asks of its store.

    Attributes:
        table: the table, which the store makes ready first.
        verb: what was to be done, for errors.
        parts: carried out wholly or not at all; the rows of the last are the result.
        writes: whether it needs the write lock.
    """

    table: Table
    verb: str
    parts: tuple[Part, ...]
    writes: bool = True

    def statements(self, sql: Sql) -> list[Statement]:
        """The operation in the words of a table that has been made ready."""
        return [(getattr(sql, name), parameters) for name, parameters in self.parts]


class Table:
    """A table as it is named by users: exactly, though SQLite takes names for one that differ only by case.

    Args:
        name: any text that SQLite takes for a name.
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
        if _RESERVED.fullmatch(name):
            raise ValueError(f"table_name: {name!r} is reserved")
        self.name, self._column = name, column
        self._plain = Sql(name, column)
        self._spelt_out = Sql(spelt_out(name), column)

    def read(self, session_id: str) -> Operation:
        """Rows of id and message, in the order in which they were added."""
        return Operation(self, "read", (("read", (session_id,)),), writes=False)

    def add(self, session_id: str, texts: Sequence[str]) -> Operation:
        """Append a batch."""
        return Operation(self, "add to", (("add", (session_id, json.dumps(texts))),))

    def clear(self, session_id: str) -> Operation:
        """Remove everything of the session."""
        return Operation(self, "clear", (("clear", (session_id,)),))

    def replace(self, session_id: str, texts: Sequence[str]) -> Operation:
        """Remove everything of the session and append a batch, as one."""
        add = self.add(session_id, texts).parts if texts else ()
        return Operation(self, "replace", (*self.clear(session_id).parts, *add))

    def prepare(self) -> Steps:
        """Make table and index if they are missing, and check that the table can keep what it is given.

        Yields statements and is sent their rows, or thrown their errors, so that sync and async stores share
        it. Each step may be repeated, by this or another process, at any time (CON-5).

        Returns:
            The statements for the table.

        Raises:
            sqlite3.Error: if the table has other columns, or would alter session ids or the order of messages.
        """
        sql = yield from self._made()
        for column in ("id", self._column, "message"):
            if not (yield _COLUMN, (sql.name, column)):
                raise sqlite3.OperationalError(f"the table exists, but has no column {column!r}")
        _check_id((yield _ID, (sql.name,)))
        _check_type(self._column, (yield _COLUMN, (sql.name, self._column)))
        try:
            yield sql.create_index, ()
        except sqlite3.OperationalError as error:
            # Without an index reads are slow, but right; the database may be read-only, the name taken.
            if is_busy(error):
                raise
        return sql

    def _made(self) -> Steps:
        """Make the table if it is missing; under a name spelt out if its own is taken but for the case."""
        if (yield _FIND, (self._spelt_out.name,)):
            return self._spelt_out
        yield self._plain.create, ()
        for is_table, is_same in (yield _FIND, (self.name,)):
            if not is_same:
                yield self._spelt_out.create, ()
                return self._spelt_out
            if not is_table:
                raise sqlite3.OperationalError("there is a view of that name")
        return self._plain


@lru_cache(maxsize=256)
def table_named(name: str, column: str) -> Table:
    """The table of that name; handles are opened by the thousand, its texts are made once."""
    return Table(name, column)


def spelt_out(name: str) -> str:
    """A name that tells the case of its letters where SQLite ignores it: one bit for each capital of ASCII.

    It is used for a table whose plain name is taken by one that differs only by case.
    """
    capitals = sum(1 << place for place, letter in enumerate(name) if "A" <= letter <= "Z")
    return f"{name} (case {capitals:x})"


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


def _check_id(found: Rows) -> None:
    """Refuse a column in which 10 would come before 2 (ORD-1)."""
    if not all(is_integer for (is_integer,) in found):
        raise sqlite3.OperationalError(
            "its column 'id' is no integer, and would not keep the order of messages; copy the rows into a table whose "
            "id is an INTEGER PRIMARY KEY, or give another table_name"
        )


def _check_type(column: str, found: Rows) -> None:
    """Refuse a column that would turn '01' into 1 (ISO-2)."""
    if not all(keeps_text for (keeps_text,) in found):
        raise sqlite3.OperationalError(
            f"column {column!r} has a type that makes SQLite turn ids such as '01' into numbers; use TEXT"
        )
