"""Where a session's items are: the table, the keys and the attribute names, exact for every session id.

A session has one *head* item, under the key that langchain-community's class uses, and any number of *chunk*
items under keys that no session id can have: they begin with a reserved word, and a session id that begins with it
is stored under another key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

Attribute: TypeAlias = dict[str, Any]
"""A value as DynamoDB's API has it, such as {"S": "text"}."""

Item: TypeAlias = dict[str, Attribute]

RESERVED = "__chathistory__/"
"""What the keys begin with that are not session ids as they are."""

LONGEST_KEY = 2048
"""The bytes that a partition key may have; a sort key may have half of them."""

CHUNK = RESERVED + "chunk/"
"""What the key of a chunk begins with."""

_HASHED_SESSION = RESERVED + "session/"
_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")


def new_id() -> str:
    """Sixteen characters that nobody can guess and that are never drawn twice (96 random bits)."""
    return secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one session is stored.

    Attributes:
        table: the name of the table.
        key: the key of the session's head item.
        old: the attribute in which langchain-community's class keeps its list; those of ours begin with it.
        expiry: the attribute by which DynamoDB's time to live deletes items, in seconds since 1970.
    """

    table: str
    key: Item
    old: str
    expiry: str

    @property
    def names(self) -> dict[str, str]:
        """What the placeholders of expressions stand for. Names never stand in an expression themselves."""
        return {
            "#key": next(iter(self.key)),
            "#old": self.old,
            "#expiry": self.expiry,
            "#tail": self.old + "/tail",
            "#bytes": self.old + "/bytes",
            "#segments": self.old + "/segments",
            "#epoch": self.old + "/epoch",
            "#fenced": self.old + "/fenced",
            "#until": self.old + "/chunks_until",
            "#text": self.old + "/text",
            "#head": self.old + "/head",
            "#written": self.old + "/written",
        }

    def chunk_key(self, chunk: str) -> Item:
        """The key of a chunk: the head's, with its last text replaced.

        In a table with a sort key the chunks so stay in the partition of their session, where rules of IAM on
        partition keys hold for them, too.
        """
        last = [name for name, value in self.key.items() if "S" in value][-1]
        return {**self.key, last: {"S": CHUNK + chunk}}


def key_of_session(primary_key_name: str, session_id: str) -> Item:
    """The head's key of a session id: the id itself, or its SHA-256 where DynamoDB can't have it as a key.

    That is so for an empty id, for one of more than 2,048 bytes, one with lone surrogates, and one that begins
    with the reserved word. Different ids have different keys (ISO-2).
    """
    encoded = session_id.encode("utf-8", "surrogatepass")
    fits = 0 < len(encoded) <= LONGEST_KEY and _is_unicode(session_id)
    if fits and not session_id.startswith(RESERVED):
        return {primary_key_name: {"S": session_id}}
    return {primary_key_name: {"S": _HASHED_SESSION + hashlib.sha256(encoded).hexdigest()}}


def id_of_chunk(text: str) -> str:
    """The id of the chunk whose key this is."""
    return text.removeprefix(CHUNK)


def key_given(key: Mapping[str, Any]) -> Item:
    """The head's key that a caller gave as a dict of one or two attributes.

    Raises:
        TypeError, ValueError: if it can be no key, or leaves no room for the chunks.
    """
    if not isinstance(key, Mapping):
        raise TypeError(f"key must be a dict of the key's attributes, got {type(key).__name__}")
    if not 1 <= len(key) <= 2:
        raise ValueError(f"key must hold the table's partition key, and its sort key if it has one, got {len(key)}")
    given = {checked_name(name, "a name in key"): _key_value(name, value) for name, value in key.items()}
    if not any("S" in value for value in given.values()):
        raise ValueError("key: at least one of its values must be a str, since further items need keys of their own")
    return given


def _key_value(name: str, value: Any) -> Attribute:
    if isinstance(value, str):
        if not value or value.startswith(RESERVED) or not _is_unicode(value) or len(value.encode()) > LONGEST_KEY:
            raise ValueError(
                f"key: the value of {name!r} is empty, longer than {LONGEST_KEY} bytes, no valid Unicode, or begins "
                f"with the reserved {RESERVED!r}"
            )
        return {"S": str.__str__(value)}
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return {"N": str(value)}
    if isinstance(value, bytes | bytearray) and value:
        return {"B": bytes(value)}
    raise TypeError(f"key: the value of {name!r} must be a str, an int, a Decimal or bytes, got {type(value).__name__}")


def checked_table(name: str) -> str:
    """The name, if DynamoDB has tables of such names.

    Raises:
        TypeError, ValueError: if not.
    """
    if not isinstance(name, str):
        raise TypeError(f"table_name must be a str, got {type(name).__name__}")
    if not _TABLE_NAME.fullmatch(name):
        raise ValueError(f"table_name: DynamoDB has 3 to 255 characters of A-Z a-z 0-9 _ . -, got {name[:300]!r}")
    return name


def checked_name(name: str, argument: str) -> str:
    """The name, if an attribute can have it.

    Raises:
        TypeError, ValueError: if not.
    """
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a str, got {type(name).__name__}")
    if not name or not _is_unicode(name) or len(name.encode()) > 200:
        raise ValueError(f"{argument} must have 1 to 200 bytes of valid Unicode, got {name[:300]!r}")
    return name


def checked_place(place: Place) -> Place:
    """The place, if its attributes don't stand in each other's way.

    Raises:
        ValueError: if two of them have one name.
    """
    ours = [name for placeholder, name in place.names.items() if placeholder != "#key"]
    names = [*place.key, *ours]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"the attribute {twice!r} would have two meanings: primary_key_name (or the names in key), ttl_key_name "
            "and history_messages_key must differ"
        )
    return place


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
