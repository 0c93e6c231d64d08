"""Which key a session has: by langchain-community's rule, or by one that never gives two sessions the same key."""

from __future__ import annotations

from typing import Literal, TypeAlias

Layout: TypeAlias = Literal["plain", "exact"]
LAYOUTS: tuple[Layout, ...] = ("plain", "exact")


def key_of(key_prefix: str, session_id: str, layout: Layout) -> str:
    """The key of a session.

    `plain` joins prefix and session id, as langchain-community does: "a" + "bc" and "ab" + "c" are one key, so
    prefixes of which one begins another don't isolate. `exact` puts `|` between them, and a backslash before each
    `|` and backslash of the prefix: the first bare `|` ends the prefix, so no two pairs share a key (ISO-6).
    """
    if layout == "plain":
        return key_prefix + session_id
    escaped = key_prefix.replace("\\", "\\\\").replace("|", "\\|")
    return f"{escaped}|{session_id}"


def key_bytes(key: str) -> bytes:
    """The key as Redis gets it; lone surrogates, which UTF-8 has no form for, keep one of their own (ISO-2)."""
    return key.encode("utf-8", "surrogatepass")
