"""Programs in which every short sequence of calls occurs: what needs three calls in one order is found for certain.

What is wrong with a history that keeps something in mind shows itself after few calls, in one order of all those that
are possible. Testing "every t-way sequence of events" is that of sequence covering arrays (Kuhn, Higdon, Lawrence,
Kacker and Lei, 2012); a de Bruijn sequence holds each once, by calls that stand side by side.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from chathistory.conformance._program import Add, Clear, Mode, Program, Read, Step, program
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import A, fresh_read, numbered, opened
from chathistory.reference import Messages

Call: TypeAlias = Callable[[Messages], Step]
"""Makes the step of a call, out of the messages that it is to write if it writes."""

_LENGTHS: Mapping[Effort, int] = {"quick": 3, "full": 4, "thorough": 5}
_CALLS_OF_A_PROGRAM = 48
_SIZES = (1, 2, 1, 3)


def calls_through(handle: int, mode: Mode = "sync") -> tuple[Call, ...]:
    """An add, a read and a clear through a handle."""
    return (
        lambda batch: Add(handle, batch, mode=mode),
        lambda _: Read(handle, mode),
        lambda _: Clear(handle, mode),
    )


def every_sequence(calls: Sequence[Call], effort: Effort) -> Iterator[Program]:
    """Programs over one session, through handles 1 and 2, in which every sequence of so many of the calls occurs.

    Args:
        calls: makes each of the calls.
        effort: says how many there are to a sequence: 3, 4 or 5.
    """
    length = _LENGTHS[effort]
    sequence = list(de_bruijn(len(calls), length))
    sequence += sequence[: length - 1]  # it closes in a ring
    # Each program begins with the last calls of the one before, so that no sequence is cut in two.
    for first in range(0, len(sequence) - length + 1, _CALLS_OF_A_PROGRAM):
        part = sequence[first : first + _CALLS_OF_A_PROGRAM + length - 1]
        yield program(opened(A, A), list(_steps(calls[number] for number in part)), fresh_read(3))


def _steps(calls: Iterator[Call]) -> Iterator[Step]:
    """The steps of these calls; each writes messages of its own."""
    first = 1
    for call, size in zip(calls, itertools.cycle(_SIZES), strict=False):
        yield call(numbered(size, first=first))
        first += size


def de_bruijn(symbols: int, length: int) -> Iterator[int]:
    """A ring of numbers below `symbols` in which every sequence of so many occurs once.

    It is the Lyndon words whose lengths divide `length`, one after another (Fredricksen and Maiorana, 1978).
    """
    word = [0]
    while word:
        if length % len(word) == 0:
            yield from word
        word = list(itertools.islice(itertools.cycle(word), length))
        while word and word[-1] == symbols - 1:
            word.pop()
        if word:
            word[-1] += 1
