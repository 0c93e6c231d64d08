"""The checker agrees with brute force on every small history.

Linearizability depends on two things only: which calls precede which, and what they returned. So "every
history" is every interval order (the relation "returned before the other was invoked" of some intervals) of
up to six calls, with every assignment of kinds of calls, and every result of the reads that the kinds
allow. There are 1, 2, 5, 15, 53 and 217 interval orders of one to six calls (Fishburn's numbers), which the
first test checks.

Set CHATHISTORY_EXHAUSTIVE=1 to use the whole alphabet up to five calls, and adds, reads and clears up to
six (an hour).
"""

# ruff: noqa: S311 -- the histories are drawn by seed, nothing here is secret

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import combinations_with_replacement, permutations, product
from typing import TypeAlias

import pytest
from tests.test_linearizability_language import results, steps_of

from chathistory.conformance.linearizability import (
    Call,
    CallKind,
    EventHistory,
    Linearizable,
    Violation,
    Weaken,
    check,
    lost_messages,
    prefix_violations,
    torn_batches,
    writer_order_violations,
)

Interval: TypeAlias = "tuple[int, int]"
Content: TypeAlias = "tuple[str, ...]"

EVERYTHING = os.environ.get("CHATHISTORY_EXHAUSTIVE") == "1"
SINGLE_CLAUSES = (lost_messages, writer_order_violations, prefix_violations, torn_batches)
FISHBURN = {1: 1, 2: 2, 3: 5, 4: 15, 5: 53, 6: 217}

# A kind of call: what it is, how many messages it adds, whether its outcome is known, whether it raises.
KINDS: dict[str, tuple[CallKind, int, bool, bool]] = {
    "r": ("read", 0, True, False),
    "1": ("add", 1, True, False),
    "2": ("add", 2, True, False),
    "!": ("clear", 0, True, False),
    "=": ("replace", 1, True, False),
    "+": ("add", 1, False, False),
    "?": ("clear", 0, False, False),
    "~": ("add", 2, True, True),
}


def interval_orders(size: int) -> Iterator[tuple[Interval, ...]]:
    """Every interval order of so many calls, once, as intervals with the fewest different ends.

    In this canonical form each moment is the start of an interval and the end of one.
    """
    for moments in range(1, size + 1):
        intervals = [(start, end) for start in range(moments) for end in range(start, moments)]
        for chosen in combinations_with_replacement(intervals, size):
            starts, ends = zip(*chosen, strict=True)
            if len(set(starts)) == len(set(ends)) == moments:
                yield chosen


def programs(size: int, alphabet: str) -> Iterator[tuple[Call, ...]]:
    """Every history of so many calls, but for what the reads return."""
    for intervals in interval_orders(size):
        for kinds in product(sorted(alphabet), repeat=size):
            same = zip(zip(intervals, kinds, strict=True), list(zip(intervals, kinds, strict=True))[1:], strict=False)
            if all(one[0] != other[0] or one[1] <= other[1] for one, other in same):
                yield _program(intervals, kinds)


def sampled_programs(size: int, alphabet: str, count: int, rng: random.Random) -> Iterator[tuple[Call, ...]]:
    """Some of these histories."""
    orders = list(interval_orders(size))
    for _ in range(count):
        yield _program(rng.choice(orders), tuple(rng.choices(alphabet, k=size)))


def _program(intervals: tuple[Interval, ...], kinds: tuple[str, ...]) -> tuple[Call, ...]:
    messages = iter("abcdefghijkl")
    return tuple(
        Call(
            process=number,
            session="s",
            kind=KINDS[kind][0],
            invoked=start,
            returned=end if KINDS[kind][2] else None,
            added=tuple(next(messages) for _ in range(KINDS[kind][1])),
            observed=() if kind == "r" else None,
            failed=KINDS[kind][3],
        )
        for number, ((start, end), kind) in enumerate(zip(intervals, kinds, strict=True))
    )


def contents(calls: tuple[Call, ...], *, atomic: bool) -> list[Content]:
    """All that a session can hold, whatever the order of the writes; if not atomic, up to three messages."""
    batches = [call.added for call in calls if call.added]
    parts = batches if atomic else [(message,) for batch in batches for message in batch]
    rows = (row for count in range(len(parts) + 1 if atomic else 4) for row in permutations(parts, count))
    return sorted({sum(row, ()) for row in rows})


def with_results(calls: tuple[Call, ...], observed: tuple[Content, ...]) -> EventHistory:
    """The program with these results of its reads."""
    result = iter(observed)
    return EventHistory(
        Call(
            process=call.process,
            session="s",
            kind="read",
            invoked=call.invoked,
            returned=call.returned,
            observed=next(result),
        )
        if call.kind == "read"
        else call
        for call in calls
    )


def disagreements(calls: tuple[Call, ...], most: int, rng: random.Random, *, atomic: bool) -> Iterator[EventHistory]:
    """The results for which the checker says something else than brute force."""
    everything = possible = results(steps_of(calls, batches_atomic=atomic))
    count = sum(call.kind == "read" for call in calls)
    universe = contents(calls, atomic=atomic)
    if len(universe) ** count <= most:
        others = set(product(universe, repeat=count))
    else:
        others = {tuple(rng.choice(universe) for _ in range(count)) for _ in range(most)}
        possible = set(rng.sample(sorted(possible), most)) if len(possible) > most else possible
    for observed in possible | others:
        events = with_results(calls, observed)
        verdict = check(events, weaken=Weaken(batches_atomic=atomic))
        if not isinstance(verdict, Linearizable if observed in everything else Violation):
            yield events


@pytest.mark.parametrize("size", FISHBURN)
def test_there_are_as_many_interval_orders_as_fishburn_says(size: int) -> None:
    """The enumeration below misses nothing and repeats nothing."""
    orders = list(interval_orders(size))
    assert len(orders) == len(set(orders)) == FISHBURN[size]


# The size of the histories, the alphabet, how many programs (None: every one), and how many results of each.
SCOPES = [
    pytest.param(1, "r12!=+?", None, 1000, id="1 call"),
    pytest.param(2, "r12!=+?", None, 1000, id="2 calls"),
    pytest.param(3, "r12!=+?", None, 100, id="3 calls"),
    pytest.param(4, "r1!", None, 40, id="4 calls: add, read, clear"),
    pytest.param(4, "r12!=+?", 1500, 40, id="4 calls"),
    pytest.param(5, "r1!", 1000, 20, id="5 calls: add, read, clear"),
    pytest.param(5, "r12!=+?", 1000, 20, id="5 calls"),
    pytest.param(6, "r1", 1000, 20, id="6 calls: add, read"),
    pytest.param(6, "r1!", 1000, 20, id="6 calls: add, read, clear"),
    pytest.param(6, "r12!=+?", 500, 20, id="6 calls"),
]


@pytest.mark.parametrize(("size", "alphabet", "count", "most"), SCOPES)
def test_the_checker_agrees_with_brute_force(size: int, alphabet: str, count: int | None, most: int) -> None:
    """No small history is judged wrongly, in either direction."""
    rng = random.Random(size)
    every = count is None or (EVERYTHING and (size, alphabet) != (6, "r12!=+?"))
    for calls in programs(size, alphabet) if every else sampled_programs(size, alphabet, count or 0, rng):
        assert not list(disagreements(calls, most, rng, atomic=True))


@pytest.mark.parametrize(("size", "count"), [(2, None), (3, 600), (4, 600)])
def test_it_does_so_where_batches_are_not_atomic(size: int, count: int | None) -> None:
    """The weaker specification is judged exactly, too."""
    rng = random.Random(size)
    alphabet = "r2!1+~"
    every = count is None or (EVERYTHING and size < 5)
    for calls in programs(size, alphabet) if every else sampled_programs(size, alphabet, count or 0, rng):
        assert not list(disagreements(calls, 40, rng, atomic=False))


def test_single_clauses_are_never_broken_by_what_brute_force_allows() -> None:
    """Calls that only touch in time are concurrent for the judges of single clauses, too."""
    for calls in programs(3, "r12!=+?"):
        for observed in results(steps_of(calls)):
            events = with_results(calls, observed)
            assert not [judge for judge in SINGLE_CLAUSES if judge(events)]
