"""Calls as data: what an operation asks of DynamoDB, written once and carried out by sync and async drivers alike.

An operation is a generator. It yields a `Request`, and gets its answer or has its error raised inside; it yields a
`Pause`, and goes on when it is over; what it returns is its result.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from chathistory.adapters.dynamodb._failures import ERRORS, OWN_ERRORS, Patience, UnknownOutcomeError
from chathistory.adapters.dynamodb._place import Attribute, Item, Place

T = TypeVar("T")
Answer: TypeAlias = Mapping[str, Any]

_PLACEHOLDER = re.compile(r"[#:]\w+")


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a client.

    Attributes:
        method: the client's method.
        arguments: its arguments.
        may_be_left: whether a cancelled operation stops before it; not so where it removes what would be left over.
    """

    method: str
    arguments: Mapping[str, Any]
    may_be_left: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


Steps: TypeAlias = Generator[Request | Pause, Any, T]


def call(
    patience: Patience,
    method: str,
    *,
    repeatable: bool = True,
    decides: bool = False,
    may_be_left: bool = True,
    **arguments: Any,
) -> Steps[Answer]:
    """Make a call, and make it again after what passes: throttling, and lost connections where it is `repeatable`.

    Where it `decides` an operation, the patience remembers that it got no answer: see `never_denied`.

    Raises:
        RefusedError: if its condition does not hold.
        UnknownOutcomeError: if it isn't repeatable, and may have been carried out without our being told.
        botocore's errors: what doesn't pass, or has not passed in time.
    """
    request = Request(method, arguments, may_be_left)
    while True:
        try:
            answer: Answer = yield request
            return answer
        except ERRORS as error:
            pause = patience.pause_after(error, repeatable=repeatable, decides=decides)
        yield Pause(pause)


def never_denied(patience: Patience, steps: Steps[T]) -> Steps[T]:
    """Carry out the steps of an operation; whatever fails after its write was lost leaves open whether it is done.

    Raises:
        UnknownOutcomeError: if that is so.
    """
    try:
        return (yield from steps)
    except (*ERRORS, *OWN_ERRORS, ValueError) as error:
        if not patience.may_be_done or isinstance(error, UnknownOutcomeError):
            raise
        raise UnknownOutcomeError from error


def read_item(place: Place, patience: Patience) -> Steps[Item | None]:
    """The head item of a session as it is now, or None."""
    answer = yield from call(patience, "get_item", TableName=place.table, Key=place.key, ConsistentRead=True)
    item: Item | None = answer.get("Item")
    return item


@dataclass(slots=True)
class Change:
    """A change of one item under conditions, put together piece by piece."""

    place: Place
    sets: list[str] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)
    adds: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    values: dict[str, Attribute] = field(default_factory=dict)

    def arguments(self, key: Item | None = None) -> dict[str, Any]:
        """The arguments of `update_item`."""
        clauses = (("SET", self.sets), ("REMOVE", self.removes), ("ADD", self.adds))
        expressions = {
            "UpdateExpression": " ".join(f"{word} {', '.join(parts)}" for word, parts in clauses if parts),
            **conditioned(self.conditions),
        }
        return {
            "TableName": self.place.table,
            "Key": key or self.place.key,
            **expressions,
            **_substitutions(self.place, expressions.values(), self.values),
        }


def conditioned(conditions: Iterable[str]) -> dict[str, str]:
    """The argument for conditions, all of which must hold; if one does not, the refusal brings the item as it is."""
    joined = " AND ".join(f"({condition})" for condition in conditions)
    return {"ConditionExpression": joined} if joined else {}


def deletion(place: Place, conditions: Iterable[str], values: Mapping[str, Attribute]) -> dict[str, Any]:
    """The arguments of `delete_item` for a head item."""
    expressions = conditioned(conditions)
    return {"TableName": place.table, "Key": place.key, **expressions} | _substitutions(
        place, expressions.values(), values
    )


def _substitutions(place: Place, expressions: Iterable[str], values: Mapping[str, Attribute]) -> dict[str, Any]:
    """What placeholders stand for: just those that occur, since DynamoDB refuses others."""
    used = set(_PLACEHOLDER.findall(" ".join(expressions)))
    names = {placeholder: name for placeholder, name in place.names.items() if placeholder in used}
    needed = {placeholder: value for placeholder, value in values.items() if placeholder in used}
    return ({"ExpressionAttributeNames": names} if names else {}) | (
        {"ExpressionAttributeValues": needed} if needed else {}
    )
