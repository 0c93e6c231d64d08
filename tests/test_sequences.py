"""Rows of calls in which every short sequence occurs: none is missing, and none is there twice."""

# ruff: noqa: D103 -- the names of the tests say it

from __future__ import annotations

import itertools

import pytest

from chathistory.conformance._program import Add, Clear, Open, Read, Step
from chathistory.conformance.checks._sequences import calls_through, de_bruijn, every_sequence


@pytest.mark.parametrize(("symbols", "length"), [(2, 1), (2, 5), (6, 3), (6, 4), (10, 3)])
def test_a_ring_holds_every_sequence_once(symbols: int, length: int) -> None:
    ring = list(de_bruijn(symbols, length))
    around = ring + ring[: length - 1]
    held = [tuple(around[place : place + length]) for place in range(len(ring))]
    assert sorted(held) == sorted(itertools.product(range(symbols), repeat=length))


def _kind(step: Step) -> tuple[type[Step], int]:
    assert isinstance(step, Add | Read | Clear)
    return type(step), step.handle


def test_every_sequence_of_calls_stands_whole_in_a_program() -> None:
    calls = [*calls_through(1), *calls_through(2)]
    wanted = set(itertools.product([_kind(call(())) for call in calls], repeat=3))
    for drawn in every_sequence(calls, "quick"):
        kinds = [_kind(step) for step in drawn.steps if not isinstance(step, Open)]
        wanted -= set(zip(kinds, kinds[1:], kinds[2:], strict=False))
    assert not wanted


def test_each_message_of_a_program_is_written_once() -> None:
    for drawn in every_sequence([*calls_through(1), *calls_through(2, "async")], "quick"):
        contents = [message.content for step in drawn.steps if isinstance(step, Add) for message in step.messages]
        assert len(contents) == len(set(contents))
