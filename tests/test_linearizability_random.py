"""The checker never calls a correct history wrong, and never passes a planted anomaly: ten thousand of each.

The correct histories are correct by construction: each call takes effect at a drawn moment between its
invocation and its return. The broken ones are made of these by changing one read in a way that no order can
explain; why it can't is said with each mutation.
"""

# ruff: noqa: S311 -- the histories are drawn by seed, nothing here is secret

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import pytest
from tests.test_linearizability_language import explained

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

HISTORIES = 10_000
SINGLE_CLAUSES = (lost_messages, writer_order_violations, prefix_violations, torn_batches)


@dataclass
class Drawn:
    """Draws calls that take effect one by one on one session, at moments within their calls."""

    rng: random.Random
    content: tuple[str, ...] = ()
    calls: list[Call] = field(default_factory=list)
    messages: int = 0
    now: float = 0.0

    def run(self, count: int, kinds: str, unknown: float = 0.0) -> None:
        """So many calls by several workers that overlap."""
        letters = {"+": "add", "r": "read", "!": "clear", "=": "replace"}
        for kind in self.rng.choices(kinds, k=count):
            self._call(letters[kind], unknown)  # type: ignore[arg-type] # the table above holds kinds only

    def alone(self, kind: CallKind) -> None:
        """A call that overlaps with nothing before it, nor with what follows."""
        self.now = self._end() + 3
        self._call(kind, 0.0)
        self.now = self._end() + 3

    def history(self) -> EventHistory:
        """What was drawn, in no particular order."""
        return EventHistory(self.rng.sample(self.calls, len(self.calls)), {"s": self._initial})

    def __post_init__(self) -> None:
        self._initial = self.content

    def _end(self) -> float:
        return max((call.returned or call.invoked for call in self.calls), default=0.0)

    def _call(self, kind: CallKind, unknown: float) -> None:
        rng = self.rng
        self.now += rng.random()
        invoked, returned = self.now - 2 * rng.random(), self.now + 2 * rng.random()
        size = rng.choice((0, 1, 1, 1, 2, 3)) if kind in ("add", "replace") else 0
        added = tuple(f"m{self.messages + index}" for index in range(size))
        self.messages += size
        fate = rng.random()
        if kind != "read" and fate >= unknown / 2:
            self.content = self.content + added if kind == "add" else added
        self.calls.append(
            Call(
                process=rng.randrange(4),
                session="s",
                kind=kind,
                invoked=invoked,
                returned=None if fate < unknown else returned,
                added=added,
                observed=self.content if kind == "read" and fate >= unknown else None,
                failed=fate < unknown and rng.random() < 0.5,
            )
        )


def correct_histories(count: int, seed: int) -> Iterator[EventHistory]:
    """Linearizable histories with all kinds of calls, half of them without clears."""
    for number in range(count):
        rng = random.Random(seed + number)
        drawn = Drawn(rng, content=rng.choice(((), (), ("old",), ("old", "older"))))
        drawn.run(rng.randrange(1, 25), rng.choice(("+r", "++r", "++rrr!", "+rr!=")), rng.choice((0.0, 0.0, 0.1)))
        yield drawn.history()


def test_ten_thousand_correct_histories_are_linearizable() -> None:
    """A correct history is never called wrong, nor undecided; and the order given as a proof is one."""
    for events in correct_histories(HISTORIES, seed=1):
        verdict = check(events, witness=True)
        assert isinstance(verdict, Linearizable), verdict
        _replay(events, verdict)


def _replay(events: EventHistory, verdict: Linearizable) -> None:
    """Follow the order of a verdict: true to real time, nothing certain left out, all reads explained."""
    assert verdict.order is not None
    content, latest = events.initial["s"], float("-inf")
    for number in verdict.order["s"]:
        call = events.calls[number]
        latest = max(latest, call.invoked)
        assert call.returned is None or latest <= call.returned
        if call.kind == "read":
            assert tuple(call.observed or ()) == content
        else:
            content = content + call.added if call.kind == "add" else call.added
    certain = {number for number, call in enumerate(events.calls) if call.acknowledged}
    empty_adds = {number for number in certain if events.calls[number].kind == "add" and not events.calls[number].added}
    assert certain - empty_adds <= set(verdict.order["s"])
    assert len(set(verdict.order["s"])) == len(verdict.order["s"])


def test_correct_histories_break_no_single_clause() -> None:
    """Each judge of a single clause is sound by itself."""
    for events in correct_histories(2_000, seed=2):
        assert [judge(events) for judge in SINGLE_CLAUSES] == [None] * len(SINGLE_CLAUSES)


def test_correct_histories_are_linearizable_by_the_weaker_specification_too() -> None:
    """What satisfies the whole specification satisfies a part of it."""
    for events in correct_histories(1_000, seed=3):
        assert isinstance(check(events, weaken=Weaken(batches_atomic=False)), Linearizable)


# Mutations. Each takes calls whose last one is a read that began after all others had returned, and returns
# what this read observes instead, or None if it can't be applied.

Mutation: TypeAlias = Callable[[list[Call], random.Random], "tuple[str, ...] | None"]


def drop(calls: list[Call], rng: random.Random) -> tuple[str, ...] | None:
    """Lost: it was there, all writes had returned, and nothing was called since."""
    seen = tuple(calls[-1].observed or ())
    gone = rng.randrange(len(seen)) if seen else 0
    return seen[:gone] + seen[gone + 1 :] if seen else None


def double(calls: list[Call], rng: random.Random) -> tuple[str, ...] | None:
    """Doubled: each message was added once."""
    seen = tuple(calls[-1].observed or ())
    place = rng.randrange(len(seen) + 1)
    return (*seen[:place], rng.choice(seen), *seen[place:]) if seen else None


def swap(calls: list[Call], rng: random.Random) -> tuple[str, ...] | None:
    """Out of order: one had been acknowledged before the other was added, or they are of one batch."""
    seen = list(calls[-1].observed or ())
    writer = {message: call for call in calls for message in call.added}
    pairs = [
        (one, other)
        for one in range(len(seen))
        for other in range(one + 1, len(seen))
        if seen[one] in writer and seen[other] in writer
        if writer[seen[one]] is writer[seen[other]] or (writer[seen[one]].returned or 0) < writer[seen[other]].invoked
    ]
    if not pairs:
        return None
    one, other = rng.choice(pairs)
    seen[one], seen[other] = seen[other], seen[one]
    return tuple(seen)


def tear(calls: list[Call], rng: random.Random) -> tuple[str, ...] | None:
    """Torn: a part of a batch is missing."""
    seen = tuple(calls[-1].observed or ())
    batches = [call.added for call in calls if len(call.added) > 1 and set(call.added) <= set(seen)]
    torn = set(rng.choice(batches)[1:]) if batches else set()
    return tuple(message for message in seen if message not in torn) if batches else None


def invent(calls: list[Call], rng: random.Random) -> tuple[str, ...] | None:
    """From nowhere: nobody added it."""
    seen = tuple(calls[-1].observed or ())
    place = rng.randrange(len(seen) + 1)
    return (*seen[:place], "nobody's", *seen[place:])


def resurrect(calls: list[Call], rng: random.Random) -> tuple[str, ...] | None:
    """Resurrected: it had been acknowledged before a clear that is over."""
    seen = tuple(calls[-1].observed or ())
    clear = next((call for call in calls if call.kind == "clear"), None)
    old = [
        message
        for call in calls
        if clear and call.returned is not None and call.returned < clear.invoked
        for message in call.added
    ]
    return (rng.choice(old), *seen) if old else None


MUTATIONS: dict[str, tuple[Mutation, set[str]]] = {
    "drop": (drop, {"lost add", "torn batch", "message inserted in the middle", "stale read"}),
    "double": (double, {"duplicated add"}),
    "swap": (swap, {"read out of order", "torn batch"}),
    "tear": (tear, {"torn batch"}),
    "invent": (invent, {"message from nowhere"}),
    "resurrect": (resurrect, {"resurrected after clear", "clear undone", "torn batch", "lost add"}),
}


def broken_histories(mutation: Mutation, count: int, seed: int) -> Iterator[EventHistory]:
    """Histories with an anomaly planted in their last read."""
    rng = random.Random(seed)
    while count:
        drawn = Drawn(rng)
        drawn.run(rng.randrange(2, 16), "++r")
        if mutation is resurrect:
            drawn.alone("clear")
            drawn.run(rng.randrange(6), "++r")
        drawn.alone("read")
        observed = mutation(drawn.calls, rng)
        if observed is not None:
            drawn.calls[-1] = replace(drawn.calls[-1], observed=observed)
            yield drawn.history()
            count -= 1


@pytest.mark.parametrize("name", MUTATIONS)
def test_ten_thousand_broken_histories_are_violations(name: str) -> None:
    """A planted anomaly is never passed, and is called by a name that fits."""
    mutation, names = MUTATIONS[name]
    for events in broken_histories(mutation, HISTORIES // len(MUTATIONS) + 1, seed=4):
        verdict = check(events)
        assert isinstance(verdict, Violation), events
        assert verdict.anomaly in names
        assert 0 < len(verdict.calls) <= 8


def shuffled_results(
    rng: random.Random,
    kinds: Sequence[str] = ("+r", "+rr!", "+rr!="),
    contents: Sequence[tuple[str, ...]] = ((), ("old",)),
) -> EventHistory:
    """A small history, of which some reads return what other moments or other orders would have shown."""
    drawn = Drawn(rng, content=rng.choice(contents))
    drawn.run(rng.randrange(4, 7), rng.choice(kinds), rng.choice((0.0, 0.2)))
    seen = [tuple(call.observed) for call in drawn.calls if call.observed is not None] or [()]
    for index, call in enumerate(drawn.calls):
        if call.observed is not None and rng.random() < 0.6:
            other = list(rng.choice(seen))
            if rng.random() < 0.4:
                other = rng.sample(other, rng.randrange(len(other) + 1))
            drawn.calls[index] = replace(call, observed=tuple(other))
    return drawn.history()


def test_any_small_history_is_judged_as_brute_force_does() -> None:
    """Nor does it matter how the history was broken, or whether it is at all."""
    verdicts: Counter[bool] = Counter()
    for number in range(3_000):
        events = shuffled_results(random.Random(number))
        linearizable = isinstance(check(events), Linearizable)
        assert linearizable is explained(events), events
        verdicts[linearizable] += 1
    assert min(verdicts.values()) > 300, "the draw has become one-sided"


def repeating(rng: random.Random) -> EventHistory:
    """A small history in which few messages are written again and again."""
    names = {f"m{number}": rng.choice("ab") for number in range(20)}
    return EventHistory(
        [
            replace(
                call,
                added=tuple(names.get(each, each) for each in call.added),
                observed=None if call.observed is None else tuple(names.get(each, each) for each in call.observed),
            )
            for call in shuffled_results(rng).calls
        ]
    )


@pytest.mark.parametrize("atomic", [True, False])
def test_the_search_judges_repeated_messages_as_brute_force_does(atomic: bool) -> None:
    """A retry writes the same message again; only the search can judge that."""
    for number in range(1_000):
        events = repeating(random.Random(number))
        linearizable = isinstance(check(events, weaken=Weaken(batches_atomic=atomic)), Linearizable)
        assert linearizable is explained(events, batches_atomic=atomic), events
