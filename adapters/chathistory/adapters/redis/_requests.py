"""What the history asks of Redis: one command for each operation, so that each is atomic and one round trip.

A session is a list with the newest message at its head, as langchain-community lays it out: a batch is one
variadic LPUSH, a read one LRANGE that is turned round. Where a ttl belongs to it, or a replacement, one small
script does it: MULTI would set the ttl also where the push fails, on a key that isn't ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

Command: TypeAlias = tuple[bytes, ...]

MOST_MESSAGES = 1_000_000
"""How many messages one command may carry: Redis before 7.0 refuses commands of more than 1,048,576 words."""

# ARGV: whether to remove what was there, the ttl in milliseconds or nothing, the messages. Lua can hand over some
# 8,000 values at once. The push comes first, because it fails, on what is no list and without memory, before
# anything is changed; after the first change Redis lets a script go on. The user may not be allowed to set a ttl:
# then the push is undone.
_WRITE = b"""local key, replaces, ttl, count, lasts = KEYS[1], ARGV[1] == '1', ARGV[2], #ARGV - 2, nil
for first = 3, #ARGV, 4000 do redis.call('LPUSH', key, unpack(ARGV, first, math.min(first + 3999, #ARGV))) end
if ttl ~= '' then lasts = redis.pcall('PEXPIRE', key, ttl)
elseif replaces then lasts = redis.pcall('PERSIST', key) end
if type(lasts) == 'table' and lasts.err then redis.call('LTRIM', key, count, -1) return lasts end
if replaces then redis.call('LTRIM', key, 0, count - 1) end"""


@dataclass(frozen=True, slots=True)
class Request:
    """One operation on one session.

    Attributes:
        verb: what it does to the key, for errors.
        key: the key of the session.
        command: the words of the command.
        repeatable: whether it may be sent again when it is not known whether it was carried out.
    """

    verb: str
    key: bytes
    command: Command
    repeatable: bool = False


def read(key: bytes) -> Request:
    """The entries, the newest first."""
    return Request("read", key, (b"LRANGE", key, b"0", b"-1"), repeatable=True)


def add(key: bytes, texts: Sequence[str], ttl: int | None) -> Request:
    """Append a batch, and let the session live so many milliseconds from now if there is a ttl."""
    if ttl is None:
        return Request("add to", key, (b"LPUSH", key, *_encoded(texts)))
    return _written("add to", key, b"0", texts, ttl)


def clear(key: bytes) -> Request:
    """Remove everything of the session; unlike DEL, LTRIM removes nothing that is no list."""
    return Request("clear", key, (b"LTRIM", key, b"1", b"0"))


def replace(key: bytes, texts: Sequence[str], ttl: int | None) -> Request:
    """Remove everything of the session and append a batch, as one; it lives on by the ttl given, or for good."""
    return _written("replace", key, b"1", texts, ttl) if texts else clear(key)


def _written(verb: str, key: bytes, empties: bytes, texts: Sequence[str], ttl: int | None) -> Request:
    lifetime = b"" if ttl is None else b"%d" % ttl
    return Request(verb, key, (b"EVAL", _WRITE, b"1", key, empties, lifetime, *_encoded(texts)))


def _encoded(texts: Sequence[str]) -> list[bytes]:
    return [text.encode("ascii") for text in texts]
