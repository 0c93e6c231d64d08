"""What langchain-community's class has written: a list of maps, with numbers as DynamoDB has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from chathistory.adapters.dynamodb._failures import OldItemError
from chathistory.adapters.dynamodb._place import Attribute

_LARGEST_INT_OF_DYNAMODB = Decimal("1E+38")  # its numbers have 38 digits: what is larger was a float


def plain(value: Attribute) -> Any:
    """The Python value of an attribute; numbers become int where they are whole, and else float.

    The old class refuses floats, or turns them into decimals if `coerce_float_to_decimal` is set, and DynamoDB
    writes 1.0 as 1: so what was a whole float comes back as an int. That was lost when it was written. A number with
    more digits than a float has was no float, and comes back as the Decimal that it was.
    """
    ((kind, held),) = value.items()
    return _PLAIN[kind](held)


def old_texts(messages: list[Attribute]) -> list[str]:
    """The messages of an old list as JSON texts.

    Raises:
        OldItemError: if one holds what JSON has no words for.
    """
    return [_text(number, message) for number, message in enumerate(messages)]


def _text(number: int, message: Attribute) -> str:
    try:
        return json.dumps(plain(message))
    except TypeError:
        raise OldItemError(
            f"message {number} of the list that the old class wrote holds bytes, a set, or a Decimal with more digits "
            "than a float has, which can be read but not moved; read it, clear the session, and add it again without "
            "them"
        ) from None


def _number(text: str) -> int | float | Decimal:
    number = Decimal(text)
    is_whole = number == number.to_integral_value()
    if is_whole and abs(number) < _LARGEST_INT_OF_DYNAMODB:
        return int(number)
    nearest = float(number)
    if Decimal(repr(nearest)) == number:
        return nearest
    return int(number) if is_whole else number


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "S": lambda text: text,
    "N": _number,
    "BOOL": lambda truth: truth,
    "NULL": lambda _: None,
    "L": lambda items: [plain(item) for item in items],
    "M": lambda items: {name: plain(item) for name, item in items.items()},
    "B": bytes,
    "SS": set,
    "NS": lambda numbers: {_number(number) for number in numbers},
    "BS": lambda items: {bytes(item) for item in items},
}
