"""Copies of messages, nothing of which is shared with the originals: most of what a run makes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from chathistory.reference import MESSAGE_CLASSES

_IMMUTABLE = frozenset({str, int, float, bool, type(None)})


def copies_of(values: Iterable[Any]) -> list[Any]:
    """A deep copy of each value; what is one object among them, or inside them, is one among the copies.

    It is `copy.deepcopy`, but that goes through messages field by field, where almost all hold a text, and empty lists.
    """
    memo: dict[int, Any] = {}
    kept = list(values)  # while they live, no other object has their identity
    return [_copy(value, memo) for value in kept]


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    if type(value) not in MESSAGE_CLASSES or getattr(value, "__pydantic_private__", None) is not None:
        return copy.deepcopy(value, memo)
    if id(value) in memo:
        return memo[id(value)]
    cls: type[BaseMessage] = type(value)
    copied = memo[id(value)] = cls.__new__(cls)
    extra = value.__pydantic_extra__
    copied.__setstate__(
        {
            "__dict__": _copy_of_fields(value.__dict__, memo),
            "__pydantic_extra__": None if extra is None else _copy_of_fields(extra, memo),
            "__pydantic_fields_set__": set(value.__pydantic_fields_set__),
            "__pydantic_private__": None,
        }
    )
    return copied


def _copy_of_fields(fields: Mapping[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
    return {name: held if type(held) in _IMMUTABLE else _copy_of_field(held, memo) for name, held in fields.items()}


def _copy_of_field(held: Any, memo: dict[int, Any]) -> Any:
    if held or type(held) not in (list, dict) or id(held) in memo:
        return copy.deepcopy(held, memo)
    copied = memo[id(held)] = type(held)()
    return copied
