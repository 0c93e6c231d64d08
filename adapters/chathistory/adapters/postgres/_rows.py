"""Messages to rows and back, exactly, whatever PostgreSQL's JSON types can't hold or would alter.

A row is the JSON of langchain-core's `message_to_dict`, `{"type": …, "data": {…}}`. Where the type of the
column would not give that back as it is, the row is what comes nearest to it, for SQL and for
langchain-postgres, and carries the exact text under a third key, `exact`, which those leave alone:

* both `json` and `jsonb` fail on NUL and on lone surrogates, `json` as soon as somebody looks inside;
* `jsonb` makes numbers of its own (1e22 becomes an integer, -0.0 becomes 0.0), and sorts keys (VAL-4, VAL-8).
"""

from __future__ import annotations

import json
import re
from typing import Any

from langchain_core.messages import BaseMessage

from chathistory.reference import DamagedMessageError, decode, from_plain

_UNHELD = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_NEGATIVE_ZERO = "-0.0"


def row_text(text: str, *, binary: bool) -> str:
    """The JSON to store for a message.

    Args:
        text: the message as `chathistory.reference.encode` writes it.
        binary: whether the column is `jsonb`, and not `json`.
    """
    if not binary and "\\u0000" not in text and "\\ud" not in text:
        return text
    plain = json.loads(text)
    # The order of the message's own fields is nobody's: they are read by name.
    if not any(map(_is_altered if binary else _is_unheld, plain["data"].values())):
        return text
    return json.dumps({"type": plain["type"], "data": _nearest(plain["data"]), "exact": text})


def message_of(row: bytes) -> BaseMessage:
    """The message in a row, written by this class or by langchain-postgres.

    Raises:
        DamagedMessageError: if it is none.
    """
    try:
        stored = json.loads(row)
    except (ValueError, RecursionError) as error:
        raise DamagedMessageError(f"its JSON can't be read: {error}") from None
    exact = stored.get("exact") if isinstance(stored, dict) else None
    return decode(exact) if isinstance(exact, str) else from_plain(stored)


def _is_unheld(value: Any) -> bool:
    """Whether a text in it is not a text of PostgreSQL."""
    if isinstance(value, str):
        return _UNHELD.search(value) is not None
    if isinstance(value, dict):
        return any(map(_is_unheld, value)) or any(map(_is_unheld, value.values()))
    return isinstance(value, list) and any(map(_is_unheld, value))


def _is_altered(value: Any) -> bool:
    """Whether `jsonb` would not give it back as it is."""
    if isinstance(value, float):
        written = repr(value)
        return "e+" in written or written == _NEGATIVE_ZERO
    if isinstance(value, dict):
        return _is_reordered(value) or any(map(_is_unheld, value)) or any(map(_is_altered, value.values()))
    if isinstance(value, list):
        return any(map(_is_altered, value))
    return _is_unheld(value)


def _is_reordered(value: dict[str, Any]) -> bool:
    """Whether the keys are in another order than that of `jsonb`: the shortest first, then by their bytes."""
    if len(value) < 2:
        return False
    keys = [key.encode("utf-8", "surrogatepass") for key in value]
    return keys != sorted(keys, key=lambda key: (len(key), key))


def _nearest(value: Any) -> Any:
    """The value with a replacement character for whatever is not a text of PostgreSQL."""
    if isinstance(value, str):
        return _UNHELD.sub(_REPLACEMENT, value)
    if isinstance(value, dict):
        return {_nearest(key): _nearest(item) for key, item in value.items()}
    return [_nearest(item) for item in value] if isinstance(value, list) else value
