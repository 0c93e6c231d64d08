"""What the correct histories agree to keep: the values themselves, and messages as JSON text and back.

Written apart from `chathistory.reference` on purpose: a mistake there must not hide in the subjects, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_core import messages as core
from langchain_core.messages import BaseMessage

JSON_KINDS: frozenset[type] = frozenset({str, int, float, bool, type(None), list, dict})
PYTHON_KINDS: frozenset[type] = JSON_KINDS | {bytes, tuple, set, frozenset}
MAX_DEPTH = 200

MESSAGE_CLASSES: dict[str, type[BaseMessage]] = {
    f"{kind}Message{suffix}": getattr(core, f"{kind}Message{suffix}")
    for kind in ("Human", "AI", "System", "Tool", "Function", "Chat")
    for suffix in ("", "Chunk")
} | {"RemoveMessage": core.RemoveMessage}


def objection(value: Any, kinds: frozenset[type], depth: int = 0) -> str:
    """Why a store that keeps values of these kinds can't keep this one exactly; empty if it can."""
    kind = type(value)
    if kind not in kinds:
        return f"it holds a value of type {kind.__name__}"
    if depth > MAX_DEPTH:
        return f"it nests deeper than {MAX_DEPTH} levels"
    if kinds is JSON_KINDS and kind is float and not math.isfinite(value):
        return f"it holds {value!r}"
    if kinds is JSON_KINDS and kind is dict and any(type(key) is not str for key in value):
        return "it holds a dict key that is no str"
    for child in _children(value):
        if child is None or type(child) is str:
            continue  # which all stores keep, and most values are
        if reason := objection(child, kinds, depth + 1):
            return reason
    return ""


def to_json(message: BaseMessage) -> str:
    """A message as JSON text.

    Raises:
        ValueError: It can't be stored exactly.
    """
    if MESSAGE_CLASSES.get(type(message).__name__) is not type(message):
        raise ValueError(f"{type(message).__name__} is not a message class of langchain-core")
    plain = [type(message).__name__, message.__dict__, message.__pydantic_extra__ or {}]
    if reason := objection(plain, JSON_KINDS):
        raise ValueError(reason)
    text = json.dumps(plain)
    if json.loads(text) != plain:
        raise ValueError("it holds text that JSON would change")
    return text


def from_json(text: str) -> BaseMessage:
    """The message that `to_json` made this text of."""
    return build(*json.loads(text))


def build(class_name: str, fields: dict[str, Any], extra: dict[str, Any]) -> BaseMessage:
    """A message with exactly these fields, past all validators (what unpickling does)."""
    message = MESSAGE_CLASSES[class_name].__new__(MESSAGE_CLASSES[class_name])
    message.__setstate__(
        {
            "__dict__": fields,
            "__pydantic_extra__": extra,
            "__pydantic_fields_set__": set(fields) | set(extra),
            "__pydantic_private__": None,
        }
    )
    return message


def with_values(message: BaseMessage, change: Callable[[Any], Any]) -> BaseMessage:
    """The message with every value inside its fields changed, from the inside out, in place."""
    for fields in (message.__dict__, message.__pydantic_extra__ or {}):
        for name in [name for name in fields if name != "type"]:
            fields[name] = changed(fields[name], change)
    return message


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value with every value inside it, and then itself, changed; dict keys stay."""
    if type(value) is dict:
        value = {key: changed(child, change) for key, child in value.items()}
    elif type(value) is list:
        value = [changed(child, change) for child in value]
    return change(value)


def is_batch(messages: Any) -> bool:
    """Whether an argument can be a sequence of messages at all."""
    return isinstance(messages, Iterable) and not isinstance(messages, str | bytes | Mapping | BaseMessage)


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list | tuple | set | frozenset) else ()
