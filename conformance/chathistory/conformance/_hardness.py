"""Why a store may refuse a message cleanly: what is beyond the plain domain of JSON values and texts.

"Exact or refused" leaves stores two ways to be right about such values, and only one about all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import BaseMessage

from chathistory.reference import MESSAGE_CLASSES, fields_of

NUL = "NUL"
LONE_SURROGATE = "lone surrogate"
LARGE_INT = "int beyond 64 bits"
SIZE = "size"
DEEP_NESTING = "deep nesting"
NOT_JSON = "not JSON"
MESSAGE_CLASS = "message class"

MAX_TEXT_BYTES = 256 * 1024
"""How much text one message may hold before a store may refuse it."""
MAX_NESTING = 64
"""How many lists and dicts may stand inside each other before a store may refuse them."""

_SHORT = 1024

_NO_JSON = object()
"""Stands for a key that is no str."""


def hard_reasons(value: Any) -> frozenset[str]:
    """Why a store may refuse this message or value cleanly; empty if it must keep it.

    Args:
        value: a message, or a value that one of its fields holds. A message inside a value is "not JSON".

    Returns:
        Any of "NUL", "lone surrogate", "int beyond 64 bits", "size" (more than 256 KiB of text), "deep
        nesting" (more than 64 levels), "not JSON" and "message class" (none of langchain-core's).
    """
    if _is_plainly_plain(value):
        return frozenset()
    reasons: set[str] = set()
    size = 0
    for part, level in _parts(value):
        reason = _reason(part, level)
        if reason:
            reasons.add(reason)
        if isinstance(part, str):
            size += _check_text(part, reasons)
    if isinstance(value, BaseMessage) and type(value) not in MESSAGE_CLASSES:
        reasons.add(MESSAGE_CLASS)
    if size > MAX_TEXT_BYTES:
        reasons.add(SIZE)
    return frozenset(reasons)


def _is_plainly_plain(value: Any) -> bool:
    """Whether a message has short texts in ASCII and nothing else, as most have; it saves looking inside."""
    if type(value) not in MESSAGE_CLASSES or value.__pydantic_extra__:
        return False
    for held in value.__dict__.values():
        if type(held) is str:
            if len(held) > _SHORT or not held.isascii() or "\x00" in held:
                return False
        elif held is not None and held is not False and (held or type(held) not in (list, dict)):
            return False
    return True


def size_of(text: str) -> int:
    """How many bytes a text has in UTF-8, a lone surrogate counted as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _parts(value: Any) -> Iterator[tuple[Any, int]]:
    """Each value inside, keys included, with the number of containers it stands in or, as one, makes."""
    pending: list[tuple[Any, int]] = [(value, 0)]
    if isinstance(value, BaseMessage):
        fields = fields_of(value)
        pending = [(part, 0) for part in (*fields, *fields.values())]
    while pending:
        part, level = pending.pop()
        inside = level + 1 if isinstance(part, dict | list | tuple) else level
        yield part, inside
        if isinstance(part, dict):
            for key in part:
                yield (key, level) if type(key) is str else (_NO_JSON, level)
            pending.extend((item, inside) for item in part.values())
        elif isinstance(part, list | tuple):
            pending.extend((item, inside) for item in part)


def _reason(part: Any, level: int) -> str:
    kind = type(part)
    if kind is int:
        return "" if -(2**63) <= part < 2**63 else LARGE_INT
    if kind is float:
        return "" if math.isfinite(part) else NOT_JSON
    if kind is dict or kind is list:
        return DEEP_NESTING if level > MAX_NESTING else ""
    return "" if part is None or kind is bool or kind is str else NOT_JSON


def _check_text(text: str, reasons: set[str]) -> int:
    """Note what is hard about a text; its length in bytes."""
    if "\x00" in text:
        reasons.add(NUL)
    if text.isascii():
        return len(text)
    encoded = text.encode("utf-8", "surrogatepass")
    if len(text.encode("utf-8", "ignore")) < len(encoded):
        reasons.add(LONE_SURROGATE)
    return len(encoded)
