"""Every SQL text of the adapter, and what a table may look like: no input or output.

Each operation goes to the server in one message and takes effect wholly or not at all, so that a call that is
cancelled or cut off leaves no half batch and no open transaction (ATM-1, ASY-4).

Order is commit order (CON-3). Ids alone don't give that: they are drawn before the commit, so that a later commit
could show up before messages that were already read. Therefore every write first takes an advisory lock of
its session, which lasts until its transaction is over, and only then draws ids. What deletes must also *see*
everything up to that moment: so it takes the lock in a statement of its own, and, where the transaction is
ours, at READ COMMITTED, where each statement sees what was committed before it began.

No text of users is part of any SQL but the quoted name of the table: everything else goes as parameters, or as
hexadecimal digits. All of it is ASCII, whatever encoding the connection uses.
"""

from __future__ import annotations

import hashlib
import re
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from psycopg.pq.abc import PGresult

from chathistory.adapters.postgres._rows import row_text
from chathistory.reference import UnstorableValueError

_LONGEST_NAME = 63  # bytes; PostgreSQL cuts longer ones without an error
_LONGEST_PLAIN_ID = 1024  # bytes; an index takes 2,704, and less if somebody adds columns to it
_HASHED = "sha256:"

SHORTFALL = re.compile(r"chathistory: (the table took \d+ of \d+ messages)")
"""What an error of the server says, whatever its language, if the table did not take the whole of a batch."""

_BYTEA, _INT8, _INT2, _INT4, _TEXT, _JSON, _VARCHAR, _UUID, _JSONB = 17, 20, 21, 23, 25, 114, 1043, 2950, 3802
_NO_LIMIT = -1

Verb: TypeAlias = Literal["read", "add to", "clear", "replace", "create", "drop"]


@dataclass(frozen=True, slots=True)
class Statement:
    """What is sent to the server in one message.

    Attributes:
        text: SQL in ASCII; several statements only if there are no parameters.
        parameters: in PostgreSQL's binary format.
        types: of the parameters.
    """

    text: bytes
    parameters: tuple[bytes, ...] = ()
    types: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table of chat messages looks like.

    Attributes:
        uuid_ids: session ids are UUIDs, as in tables that langchain-postgres made, and not texts.
        binary: messages are `jsonb`, and not `json`.
    """

    uuid_ids: bool
    binary: bool

    @property
    def session(self) -> str:
        """The cast from text to a session id."""
        return "::uuid" if self.uuid_ids else ""

    @property
    def message(self) -> str:
        """The cast from JSON text to a message."""
        return "::jsonb" if self.binary else "::json"


class UnknownLayoutError(Exception):
    """The table is not one of chat messages; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a history asks of its store.

    Attributes:
        table: the table.
        verb: what was to be done, for errors.
        session_id: which session; None for what concerns the whole table.
        texts: the messages to store.
    """

    table: Table
    verb: Verb
    session_id: str | None = None
    texts: Sequence[str] = ()

    @property
    def looks_first(self) -> bool:
        """Whether it needs to know what the table looks like."""
        return self.session_id is not None

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.verb != "read"

    def statement(self, layout: Layout | None, *, alone: bool) -> Statement:
        """The operation in SQL.

        Args:
            layout: what the table looks like, if the operation looks first.
            alone: whether it is a transaction of its own, and not a part of the caller's.

        Raises:
            UnstorableValueError: if the table can't hold the session id as it is.
        """
        if layout is None or self.session_id is None:
            return self.table.drop() if self.verb == "drop" else self.table.create()
        session, count = stored_id(self.session_id, layout), len(self.texts)
        rows = f"[{','.join(row_text(text, binary=layout.binary) for text in self.texts)}]".encode()
        if self.verb == "read":
            return self.table.read(layout, session)
        if self.verb == "add to":
            return self.table.add(layout, session, rows, count)
        return self.table.replace(layout, session, rows, count, alone=alone)


class Table:
    """A table of chat messages, by its name.

    Args:
        name: any text that PostgreSQL takes for a name as it is.

    Raises:
        TypeError: if the name is not a str.
        ValueError: if PostgreSQL can't take it as it is.
    """

    def __init__(self, name: str) -> None:
        _check_name(name)
        self.name = name
        self._quoted = _quoted(name)

    def lock_key(self, session: str | None) -> int:
        """The number of the advisory lock of a session, or of the table's making: the same in every process."""
        # Without the schema, which the search path decides: at worst two tables share their locks.
        scope = "table" if session is None else f"session {session}"
        digest = hashlib.sha256(f"chathistory\0{self.name}\0{scope}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def look(self) -> Statement:
        """A query without rows, whose columns tell the layout."""
        return Statement(f'SELECT "id", "session_id", "message" FROM {self._quoted} LIMIT 0'.encode())  # noqa: S608 -- the name is quoted

    def create(self) -> Statement:
        """Make the table unless it exists, one process at a time: IF NOT EXISTS alone can still fail (CON-5).

        The index is part of the table: a name of its own could be cut, or belong to another table's.
        """
        return Statement(
            f"SELECT pg_advisory_xact_lock({self.lock_key(None)}); "
            f"CREATE TABLE IF NOT EXISTS {self._quoted} ("
            '"id" BIGSERIAL NOT NULL, "session_id" TEXT COLLATE "C" NOT NULL, "message" JSON NOT NULL, '
            '"created_at" TIMESTAMPTZ NOT NULL DEFAULT now(), PRIMARY KEY ("session_id", "id"))'.encode()
        )

    def drop(self) -> Statement:
        """Remove the table with everything in it."""
        return Statement(f"DROP TABLE IF EXISTS {self._quoted}".encode())

    def read(self, layout: Layout, session: str) -> Statement:
        """Rows of id and message as UTF-8, in order."""
        text = (
            'SELECT "id", convert_to("message"::text, \'UTF8\') '  # noqa: S608 -- the name is quoted
            f"FROM {self._quoted} WHERE \"session_id\" = convert_from($1, 'UTF8'){layout.session} "
            'ORDER BY "id"'
        )
        return Statement(text.encode(), (session.encode(),), (_BYTEA,))

    def add(self, layout: Layout, session: str, rows: bytes, count: int) -> Statement:
        """Take the lock, and only then, as the rows of the batch come out of the join, draw their ids."""
        batch = "pg_advisory_xact_lock($3), json_array_elements($2)"
        text = self._insert(layout, "convert_from($1, 'UTF8')", batch, count)
        lock = struct.pack("!q", self.lock_key(session))
        return Statement(text.encode(), (session.encode(), rows, lock), (_BYTEA, _JSON, _INT8))

    def replace(self, layout: Layout, session: str, rows: bytes, count: int, *, alone: bool) -> Statement:
        """Take the lock, remove everything that is there by then, and append a batch, if there is one."""
        stored = _hexadecimal(session.encode())
        statements = [
            f"SELECT pg_advisory_xact_lock({self.lock_key(session)})",
            f'DELETE FROM {self._quoted} WHERE "session_id" = {stored}{layout.session}',  # noqa: S608 -- the name is quoted, the session in hexadecimal
        ]
        if alone:
            # Several statements in one message are one transaction; a database may have another default.
            statements.insert(0, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        if count:
            statements.append(self._insert(layout, stored, f"json_array_elements({_hexadecimal(rows)}::json)", count))
        return Statement("; ".join(statements).encode())

    def _insert(self, layout: Layout, session: str, batch: str, count: int) -> str:
        """Append a batch, and fail before anything is committed if the table doesn't take so many rows (ATM-1).

        A trigger may drop rows, or send them elsewhere, without an error. Then a text is cast that is no number,
        which undoes the statement, and which the server quotes in its error: see SHORTFALL.
        """
        # Without the second argument of coalesce, a column that has become jsonb since we looked would be
        # given what only json keeps; so PostgreSQL finds that the types differ, and refuses.
        return (
            f'WITH stored AS (INSERT INTO {self._quoted} ("session_id", "message") '  # noqa: S608 -- the name is quoted
            f"SELECT {session}{layout.session}, coalesce(batch.message{layout.message}, "
            f'(SELECT present."message" FROM {self._quoted} AS present LIMIT 0)) '
            f"FROM {batch} WITH ORDINALITY AS batch(message, place) ORDER BY batch.place RETURNING 1) "
            f"SELECT CASE WHEN count(*) = {count} THEN {count} "
            f"ELSE ('chathistory: the table took ' || count(*) || ' of {count} messages')::int END FROM stored"
        )


@lru_cache(maxsize=256)
def table_named(name: str) -> Table:
    """The table of that name; handles are opened by the thousand, its texts are made once."""
    return Table(name)


def layout_of(result: PGresult) -> Layout:
    """What a table looks like, from the answer to `Table.look`.

    Raises:
        UnknownLayoutError: if its columns would not keep what they are given.
    """
    place, session, message = result.ftype(0), result.ftype(1), result.ftype(2)
    if place not in (_INT2, _INT4, _INT8):
        raise UnknownLayoutError('its column "id" is no integer, and would not keep the order of messages')
    if session not in (_UUID, _TEXT, _VARCHAR) or (session == _VARCHAR and result.fmod(1) != _NO_LIMIT):
        raise UnknownLayoutError('its column "session_id" is neither TEXT nor UUID, and would not keep ids as they are')
    if message not in (_JSON, _JSONB):
        raise UnknownLayoutError('its column "message" is neither JSON nor JSONB')
    return Layout(uuid_ids=session == _UUID, binary=message == _JSONB)


def stored_id(session_id: str, layout: Layout) -> str:
    """The session id as the table keeps it, different for different ids (ISO-2).

    Texts keep ids as they are, but for those that PostgreSQL can't hold (NUL, lone surrogates) or can't index
    (of more than 1,024 bytes), and for those that look as if they stood for one of these: of them, the hash.

    Raises:
        UnstorableValueError: if ids are UUIDs there, and this is not the canonical text of one.
    """
    if layout.uuid_ids:
        return _checked_uuid(session_id)
    encoded = session_id.encode("utf-8", "surrogatepass")
    is_plain = len(encoded) <= _LONGEST_PLAIN_ID and "\0" not in session_id and not session_id.startswith(_HASHED)
    if is_plain and (session_id.isascii() or not _SURROGATE.search(session_id)):
        return session_id
    return _HASHED + hashlib.sha256(encoded).hexdigest()


_SURROGATE = re.compile("[\ud800-\udfff]")


def _checked_uuid(session_id: str) -> str:
    """Refuse what is no UUID, and what PostgreSQL would take for the same as another text."""
    try:
        canonical = str(uuid.UUID(session_id))
    except ValueError:
        raise UnstorableValueError(
            "the session ids of this table are of type UUID: pass one as text, or make a table of your own by "
            "create_tables, which takes any text"
        ) from None
    if canonical != session_id:
        raise UnstorableValueError(
            f"the session ids of this table are of type UUID, in which it is the same as {canonical!r}: pass that text"
        )
    return session_id


def _hexadecimal(encoded: bytes) -> str:
    """An SQL expression of a text, in which no character has a meaning of its own."""
    return f"convert_from(decode('{encoded.hex()}', 'hex'), 'UTF8')"


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"table_name must be a str, got {type(name).__name__}")
    if not name or "\0" in name:
        raise ValueError(f"table_name: PostgreSQL has no empty names and no NUL in names, got {name!r}")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"table_name: {name!r} holds a lone surrogate, which PostgreSQL can't store") from None
    if length > _LONGEST_NAME:
        raise ValueError(
            f"table_name: {name!r} has {length} bytes; PostgreSQL would cut it after {_LONGEST_NAME}, "
            "and take it for other tables'"
        )


def _quoted(name: str) -> str:
    """The name as one identifier, in ASCII."""
    doubled = name.replace('"', '""')
    if name.isascii():
        return f'"{doubled}"'
    escaped = (f"\\+{ord(letter):06x}" if ord(letter) > 126 else letter for letter in doubled.replace("\\", "\\\\"))
    return f'U&"{"".join(escaped)}"'
