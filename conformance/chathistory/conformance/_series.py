"""Finds runs of like items in lists: numbered messages, texts that repeat, classes that take turns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from langchain_core.messages import RemoveMessage

from chathistory.conformance._layout import Block, Tree
from chathistory.conformance._literals import literal, text_source
from chathistory.conformance._portable import given_fields, repetition
from chathistory.reference import MESSAGE_CLASSES

_SHORTEST = 5
_LONGEST_NUMBER = 15
_NUMBER_LAST = re.compile(r"(?:0|[1-9][0-9]*)\Z")
_NUMBER_FIRST = re.compile(r"([^0-9]*)(0|[1-9][0-9]{0,14})([^0-9].*)", re.DOTALL)

_Pattern: TypeAlias = tuple[Callable[[int], str], Callable[[], str], int]


@dataclass(frozen=True, slots=True)
class Series:
    """A run of items of a list that one comprehension builds."""

    tree: Tree
    length: int
    names: frozenset[str] = frozenset()


def series_at(items: Sequence[Any], start: int, counts: Mapping[int, int]) -> Series | None:
    """The longest series that begins at an item, if it is long enough to be worth a comprehension."""
    first = _plain_text(items[start], counts)
    second = _plain_text(items[start + 1], counts) if start + 1 < len(items) else None
    if first is None or second is None or (first[0] is str) != (second[0] is str):
        return None
    kinds = (first[0], second[0])
    best: Series | None = None
    for text_at, source, begin in _patterns(first[1]):
        length = 0
        while start + length < len(items) and _plain_text(items[start + length], counts) == (
            kinds[length % 2],
            text_at(length),
        ):
            length += 1
        if length >= _SHORTEST and (best is None or length > best.length):
            best = _series_of(kinds, source(), begin, length)
    return best


def _series_of(kinds: tuple[type, type], source: str, begin: int, length: int) -> Series:
    """The comprehension; classes that alternate are told by the parity of the number."""
    if kinds == (str, str) and not source.startswith("f"):
        return Series(f"[{source}] * {length}", length)
    numbers = f"range({begin}, {begin + length})" if begin else f"range({length})"
    even, odd = kinds if begin % 2 == 0 else kinds[::-1]
    uses_number = even is not odd or source.startswith("f")
    loop = f"for {'i' if uses_number else '_'} in {numbers}"
    if kinds == (str, str):
        return Series(Block("[", (source, loop), "]", ""), length)
    call = even.__name__ if even is odd else f"({even.__name__} if i % 2 == 0 else {odd.__name__})"
    tree = Block("[", (f"{call}({source})", loop), "]", "")
    return Series(tree, length, frozenset({even.__name__, odd.__name__}))


def unpacked(item: Tree) -> Tree | None:
    """The list of which an item is the unpacking, if it is one."""
    opening = item if isinstance(item, str) else item.opening
    if not opening.startswith("*["):
        return None
    return item[1:] if isinstance(item, str) else replace(item, opening=item.opening[1:])


def _patterns(text: str) -> Iterator[_Pattern]:
    """The ways in which a text may go on: what the k-th would be, its source, and the number in the first."""
    yield (lambda _: text), (lambda: text_source(text)), 0
    last = _NUMBER_LAST.search(text[-_LONGEST_NUMBER:])
    if last:
        yield _numbered(text[: -len(last[0])], int(last[0]), "")
    first = _NUMBER_FIRST.fullmatch(text)
    if first:
        yield _numbered(first[1], int(first[2]), first[3])


def _numbered(before: str, number: int, after: str) -> _Pattern:
    def source() -> str:
        repeated = repetition(after)
        if not repeated:
            return literal([before, None, after], formatted=True)
        product = text_source(after.removeprefix(repeated.head))
        return f"{literal([before, None, repeated.head], formatted=True)} + {product}"

    return (lambda index: f"{before}{number + index}{after}"), source, number


def _plain_text(item: Any, counts: Mapping[int, int]) -> tuple[type, str] | None:
    """The class and text of a str or of a message of text alone; None for anything else."""
    if type(item) is str:
        return str, item
    if type(item) not in MESSAGE_CLASSES or type(item) is RemoveMessage or counts[id(item)] > 1:
        return None
    given = given_fields(item)
    if list(given) != ["content"] or type(given["content"]) is not str:
        return None
    return type(item), given["content"]
