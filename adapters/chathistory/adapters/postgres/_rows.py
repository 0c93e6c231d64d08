"""Messages to rows and back, exactly, whatever PostgreSQL's JSON types can't hold or would alter.

A row is the JSON of langchain-core's `message_to_dict`, `{"type": …, "data": {…}}`. Where the type of the
column would not give that back as it is, the row is what comes nearest to it, for SQL and for
langchain-postgres, and carries the exact text under a third key, `exact`, which those leave alone:

* both `json` and `jsonb` fail on NUL and on lone surrogates, `json` as soon as somebody looks inside;
* `jsonb` makes numbers of its own (1e22 becomes an integer, -0.0 becomes 0.0), and sorts keys (VAL-4, VAL-8).

Rows of langchain-postgres carry no exact text. What it reads from them has been through langchain-core's validators,
which put the keys of tool calls and of usage_metadata back into the order of their types; so that is done here, too.
"""

from __future__ import annotations

import json
import re
from typing import Any

from langchain_core.messages import BaseMessage, InvalidToolCall, ToolCall, ToolCallChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from chathistory.reference import MESSAGE_CLASSES, DamagedMessageError, decode, from_plain

_UNHELD = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_NEGATIVE_ZERO = "-0.0"
_FIELDS = frozenset(name for cls in MESSAGE_CLASSES for name in cls.model_fields)
# The keys of langchain-core's own types, in order: of the values of these fields, or of the items of their lists.
_KEYS = {
    "tool_calls": tuple(ToolCall.__annotations__),
    "invalid_tool_calls": tuple(InvalidToolCall.__annotations__),
    "tool_call_chunks": tuple(ToolCallChunk.__annotations__),
    "usage_metadata": tuple(UsageMetadata.__annotations__),
}
_KEYS_OF_DETAILS = {
    "input_token_details": tuple(InputTokenDetails.__annotations__),
    "output_token_details": tuple(OutputTokenDetails.__annotations__),
}


def row_text(text: str, *, binary: bool) -> str:
    """The JSON to store for a message.

    Args:
        text: the message as `chathistory.reference.encode` writes it.
        binary: whether the column is `jsonb`, and not `json`.
    """
    if not binary and "\\u0000" not in text and "\\ud" not in text:
        return text
    plain = json.loads(text)
    if not (_is_message_altered if binary else _is_unheld)(plain["data"]):
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
    if isinstance(exact, str):
        return decode(exact)
    # Only `jsonb` has "data" before "type": shorter keys first, then by their bytes.
    if isinstance(stored, dict) and next(iter(stored), "") == "data" and isinstance(stored["data"], dict):
        _restore_order(stored["data"])
    return from_plain(stored)


def _restore_order(data: dict[str, Any]) -> None:
    """Put the keys of langchain-core's types in their order, as its validators do."""
    for field, keys in _KEYS.items():
        value = data.get(field)
        if isinstance(value, list):
            data[field] = [_in_order(item, keys) for item in value]
        elif value:
            data[field] = _in_order(value, keys)
    usage = data.get("usage_metadata")
    if isinstance(usage, dict):
        usage.update({name: _in_order(usage[name], keys) for name, keys in _KEYS_OF_DETAILS.items() if name in usage})


def _in_order(value: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: value[key] for key in keys if key in value} | value


def _is_unheld(value: Any) -> bool:
    """Whether a text in it is not a text of PostgreSQL."""
    if isinstance(value, str):
        return _UNHELD.search(value) is not None
    if isinstance(value, dict):
        return any(map(_is_unheld, value)) or any(map(_is_unheld, value.values()))
    return isinstance(value, list) and any(map(_is_unheld, value))


def _is_message_altered(data: dict[str, Any]) -> bool:
    """Whether `jsonb`, and what is done to the rows of others, would not give the fields of a message back."""
    if any(data.get(field) for field in _KEYS):
        return True
    # The order of the fields that classes declare is nobody's: they are read by name.
    extra = {name: value for name, value in data.items() if name not in _FIELDS}
    return _is_altered(extra) or any(map(_is_altered, data.values()))


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
