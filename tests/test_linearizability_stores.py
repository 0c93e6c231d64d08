"""Simulated stores of known anomalies are found out, and called what they are; a correct one never is.

Each store is a few lines with one famous defect. Its workers are coroutines that give way wherever a real
store may be interrupted; a seed chooses who goes on, so every run can be repeated.
"""

# ruff: noqa: S311 -- schedules are drawn by seed, nothing here is secret

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator
from typing import TypeAlias

import pytest

from chathistory.conformance.linearizability import (
    Call,
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

Steps: TypeAlias = "Generator[None, None, tuple[str, ...]]"


class Store:
    """A store without a defect: each operation takes effect at once, between its begin and its end."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.sessions: dict[str, tuple[str, ...]] = {}

    def add(self, session: str, messages: tuple[str, ...]) -> Steps:
        """Append a batch."""
        yield
        self.sessions[session] = self.sessions.get(session, ()) + messages
        yield
        return ()

    def read(self, session: str) -> Steps:
        """Return everything."""
        yield
        content = self.sessions.get(session, ())
        yield
        return content

    def clear(self, session: str) -> Steps:
        """Forget everything."""
        yield
        self.sessions.pop(session, None)
        yield
        return ()


class LosesUpdates(Store):
    """Reads, appends and writes back: two at once, and one of them is gone. A clear in between is undone."""

    def add(self, session: str, messages: tuple[str, ...]) -> Steps:
        """Append a batch to a copy, and put the copy back."""
        content = self.sessions.get(session, ())
        yield
        self.sessions[session] = content + messages
        return ()


class TearsBatches(Store):
    """Adds message by message, as the loop of the base class does."""

    def add(self, session: str, messages: tuple[str, ...]) -> Steps:
        """Append a batch, giving way after each message."""
        for message in messages:
            yield from super().add(session, (message,))
        return ()


class ReadsStale(Store):
    """Reads come from a replica that lags behind."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.replica: dict[str, tuple[str, ...]] = {}

    def read(self, session: str) -> Steps:
        """Return what the replica has, which now and then catches up."""
        if self.rng.random() < 0.5:
            self.replica = dict(self.sessions)
        yield
        return self.replica.get(session, ())


class RetriesBlindly(Store):
    """Takes a lost acknowledgement for a failure, and sends the batch again."""

    def add(self, session: str, messages: tuple[str, ...]) -> Steps:
        """Append a batch, sometimes twice."""
        yield from super().add(session, messages)
        if self.rng.random() < 0.2:
            yield from super().add(session, messages)
        return ()


class SortsByClock(Store):
    """Orders messages by the clocks of its clients, which disagree."""

    def add(self, session: str, messages: tuple[str, ...]) -> Steps:
        """Insert a batch at about the end."""
        yield
        content = self.sessions.get(session, ())
        place = max(0, len(content) - self.rng.choice((0, 0, 0, 2)))
        self.sessions[session] = content[:place] + messages + content[place:]
        return ()


class MixesUpSessions(Store):
    """Compares session ids by their first letter only."""

    def add(self, session: str, messages: tuple[str, ...]) -> Steps:
        """Append a batch to the wrong session."""
        yield from super().add(session[0], messages)
        return ()

    def read(self, session: str) -> Steps:
        """Return everything of all sessions that begin alike."""
        return (yield from super().read(session[0]))


class ForgetsToClear(Store):
    """Acknowledges every other clear without doing it."""

    def clear(self, session: str) -> Steps:
        """Forget everything, perhaps."""
        if self.rng.random() < 0.5:
            return (yield from super().clear(session))
        yield
        return ()


Make: TypeAlias = Callable[[random.Random], Store]


def run(make: Make, seed: int, kinds: str, sessions: tuple[str, ...] = ("s",)) -> EventHistory:
    """Four workers of five operations each, then a read of each session when all is quiet."""
    rng = random.Random(seed)
    store, calls = make(rng), list[Call]()
    clock = iter(range(10**6))
    workers = {worker: _worker(worker, store, rng, kinds, sessions, calls, clock) for worker in range(4)}
    while workers:
        worker = rng.choice(list(workers))
        try:
            next(workers[worker])
        except StopIteration:
            del workers[worker]
    for session in sessions:
        for _ in _worker(9, store, rng, "r", (session,), calls, clock, operations=1):
            pass
    return EventHistory(calls)


def _worker(
    worker: int,
    store: Store,
    rng: random.Random,
    kinds: str,
    sessions: tuple[str, ...],
    calls: list[Call],
    clock: object,
    operations: int = 5,
) -> Generator[None, None, None]:
    """The operations of one worker, one after the other, recorded as calls."""
    for number in range(operations):
        session, kind = rng.choice(sessions), rng.choice(kinds)
        batch = tuple(f"w{worker}-{number}{letter}" for letter in "abc"[: rng.randint(1, 3)])
        invoked = next(clock)  # type: ignore[call-overload] # an iterator of times
        if kind == "+":
            yield from store.add(session, batch)
        elif kind == "!":
            yield from store.clear(session)
        else:
            observed = yield from store.read(session)
        calls.append(
            Call(
                process=worker,
                session=session,
                kind="add" if kind == "+" else "clear" if kind == "!" else "read",
                invoked=invoked,
                returned=next(clock),  # type: ignore[call-overload] # likewise
                added=batch if kind == "+" else (),
                observed=observed if kind == "r" else None,
            )
        )


RUNS = 150
SESSIONS = ("s", "s2", "t")


def anomalies(make: Make, kinds: str, sessions: tuple[str, ...] = ("s",)) -> Counter[str]:
    """The verdicts on so many runs."""
    verdicts = (check(run(make, seed, kinds, sessions)) for seed in range(RUNS))
    return Counter(each.anomaly if isinstance(each, Violation) else type(each).__name__ for each in verdicts)


@pytest.mark.parametrize("kinds", ["+r", "++rr!"])
def test_a_correct_store_is_never_called_wrong(kinds: str) -> None:
    """Whatever the schedule."""
    assert anomalies(Store, kinds, SESSIONS) == {"Linearizable": RUNS}


@pytest.mark.parametrize(
    ("make", "kinds", "names"),
    [
        (LosesUpdates, "++r", {"lost add", "message inserted in the middle", "stale read"}),
        (LosesUpdates, "++r!", {"lost add", "resurrected after clear", "clear undone"}),
        (TearsBatches, "+r", {"torn batch"}),
        (TearsBatches, "++rr!", {"torn batch"}),
        (ReadsStale, "+r", {"stale read", "lost add"}),
        (RetriesBlindly, "+r", {"duplicated add"}),
        (RetriesBlindly, "++rr!", {"duplicated add"}),
        (SortsByClock, "+r", {"read out of order", "message inserted in the middle", "torn batch"}),
        (ForgetsToClear, "++rr!", {"clear undone", "resurrected after clear"}),
    ],
)
def test_a_defect_is_found_and_called_what_it_is(make: type[Store], kinds: str, names: set[str]) -> None:
    """In many of the short runs, and rarely by a name that says less than it could."""
    found = anomalies(make, kinds)
    violations = RUNS - found["Linearizable"]
    assert violations > RUNS * 0.4, found
    assert sum(found[name] for name in names) > violations * 0.85, found


def test_a_leak_between_sessions_is_a_message_from_nowhere() -> None:
    """And the explanation says where it came from."""
    assert anomalies(MixesUpSessions, "+r", SESSIONS)["message from nowhere"] > RUNS * 0.9
    leaks = (check(run(MixesUpSessions, seed, "+r", SESSIONS)) for seed in range(RUNS))
    assert any("another session" in leak.explanation for leak in leaks if isinstance(leak, Violation))


def test_a_loop_of_adds_breaks_the_clauses_of_batches_and_no_others() -> None:
    """A history that only implements add_message breaks ATM-2 and ATM-3, and must not be blamed for CON."""
    torn = 0
    for seed in range(RUNS):
        events = run(TearsBatches, seed, "+r")
        torn += torn_batches(events) is not None
        for judge in (lost_messages, writer_order_violations, prefix_violations):
            assert judge(events) is None
        assert isinstance(check(events, weaken=Weaken(batches_atomic=False)), Linearizable)
    assert torn > RUNS * 0.6


def test_a_loop_of_adds_is_judged_by_the_weaker_specification_among_clears() -> None:
    """Then the search has to do it."""
    for seed in range(RUNS):
        events = run(TearsBatches, seed, "++rr!")
        assert isinstance(check(events, weaken=Weaken(batches_atomic=False)), Linearizable)
