"""When two messages are the same: exact class and all fields, compared type for type.

Python's `==` says that `1`, `1.0`, `True` and `Decimal(1)` are equal, and so hides the commonest defects of
chat stores. Here they differ, as `-0.0` and `0.0` do; NaN is the same as NaN. The order of the keys of an
object is free (VAL-4) unless asked for (VAL-8).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which two values differ.

    Attributes:
        path: where, as one would write it in Python, for example `[3].additional_kwargs['a']`.
        expected: the value that was stored.
        observed: the value that was read.
        reason: "value", "type", "missing", "unexpected", "length" or "key order".
    """

    path: str
    expected: Any
    observed: Any
    reason: str


def fields_of(message: BaseMessage) -> dict[str, Any]:
    """All fields of a message by name, extra fields included, without validation or conversion."""
    return {**message.__dict__, **(message.__pydantic_extra__ or {})}


def same_value(expected: Any, observed: Any, *, key_order: bool = False) -> bool:
    """Whether two values are the same, type for type (see the module's text)."""
    return first_difference(expected, observed, key_order=key_order) is None


def first_difference(expected: Any, observed: Any, *, key_order: bool = False, path: str = "") -> Difference | None:
    """The first difference between two values, or None when they are the same.

    Args:
        expected: a message, a sequence of messages, or any value a field can hold.
        observed: what it is compared with.
        key_order: whether the order of the keys of a dict counts.
        path: the place of the two values, the beginning of every path reported.
    """
    return next(_differences(expected, observed, key_order, path), None)


def _differences(expected: Any, observed: Any, key_order: bool, path: str) -> Iterator[Difference]:
    if type(expected) is not type(observed):
        yield Difference(path, expected, observed, "type")
    elif isinstance(expected, BaseMessage):
        yield from _mapping_differences(fields_of(expected), fields_of(observed), key_order, path, ".{}")
    elif isinstance(expected, dict):
        yield from _mapping_differences(expected, observed, key_order, path, "[{!r}]")
    elif isinstance(expected, list | tuple):
        yield from _sequence_differences(expected, observed, key_order, path)
    elif not _same_scalar(expected, observed):
        yield Difference(path, expected, observed, "value")


def _mapping_differences(
    expected: Mapping[Any, Any], observed: Mapping[Any, Any], key_order: bool, path: str, place: str
) -> Iterator[Difference]:
    theirs = {(type(key), key): value for key, value in observed.items()}
    for key, value in expected.items():
        found = theirs.pop((type(key), key), _MISSING)
        if found is _MISSING:
            yield Difference(path + place.format(key), value, None, "missing")
        elif not _plainly_same(value, found):
            yield from _differences(value, found, key_order, path + place.format(key))
    for (_, key), value in theirs.items():
        yield Difference(path + place.format(key), None, value, "unexpected")
    if key_order and place != ".{}" and list(expected) != list(observed):
        yield Difference(path, list(expected), list(observed), "key order")


def _plainly_same(expected: Any, observed: Any) -> bool:
    """Whether two values are seen to be the same without a closer look, as most are."""
    kind = type(expected)
    if expected is observed or kind is not type(observed):
        return expected is observed
    if kind is str or kind is int:
        return bool(expected == observed)
    return (kind is list or kind is dict) and not expected and not observed


def _sequence_differences(
    expected: Sequence[Any], observed: Sequence[Any], key_order: bool, path: str
) -> Iterator[Difference]:
    for index, (ours, theirs) in enumerate(zip(expected, observed, strict=False)):
        yield from _differences(ours, theirs, key_order, f"{path}[{index}]")
    if len(expected) != len(observed):
        yield Difference(path, len(expected), len(observed), "length")


def _same_scalar(expected: Any, observed: Any) -> bool:
    if isinstance(expected, float):
        if math.isnan(expected) or math.isnan(observed):
            return math.isnan(expected) and math.isnan(observed)
        return bool(expected == observed) and math.copysign(1, expected) == math.copysign(1, observed)
    return bool(expected == observed)
