"""How fast the checker of event histories is, and whether its memory grows with the history and no faster.

Run it from the root of the repository::

    PYTHONPATH=reference:conformance:adapters python benchmarks/linearizability.py [--rounds 5] [--quick]

Histories are drawn by seed: eight workers whose calls overlap, each taking effect at a drawn moment. They
are correct, which is the most expensive verdict: nothing can be cut short. One of a kind is broken, to show
what an explanation costs.
"""

# ruff: noqa: S311 -- the histories are drawn by seed, nothing here is secret

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace

from chathistory.conformance.linearizability import (
    Call,
    CallKind,
    EventHistory,
    Linearizable,
    Prefix,
    Undecided,
    Violation,
    Weaken,
    check,
)

WORKERS = 8
WHOLE = Weaken()


def draw(
    size: int,
    *,
    sessions: int = 1,
    clears: float = 0.0,
    unknown: float = 0.0,
    batch: int = 1,
    plain: bool = False,
) -> EventHistory:
    """A linearizable history.

    Args:
        size: how many calls.
        sessions: over how many sessions they are spread.
        clears: which share of them are clears.
        unknown: which share has an unknown outcome.
        batch: how many messages an add has at most.
        plain: whether reads observe tuples in place of prefixes of shared logs.
    """
    rng = random.Random(size)
    moments = [sorted(rng.random() * size for _ in range(size // WORKERS)) for _ in range(WORKERS)]
    ahead = [iter([*row[1:], float(size)]) for row in moments]
    before = [0.0] * WORKERS
    contents: list[list[str]] = [[] for _ in range(sessions)]
    calls: list[Call] = []
    for moment, worker in sorted((moment, who) for who, row in enumerate(moments) for moment in row):
        after = next(ahead[worker])
        session, fate, lost = rng.randrange(sessions), rng.random(), rng.random() < unknown
        kind: CallKind = "clear" if fate < clears else "read" if fate < 0.5 + clears / 2 else "add"
        count = rng.randint(1, batch) if kind == "add" else 0
        added = tuple(f"{worker}-{len(calls)}-{index}" for index in range(count))
        if kind != "read" and not (lost and rng.random() < 0.5):
            contents[session] = contents[session] if kind == "add" else []
            contents[session].extend(added)
        content = contents[session]
        observed = tuple(content) if plain else Prefix(content, len(content))
        calls.append(
            Call(
                process=worker,
                session=f"session {session}",
                kind=kind,
                invoked=moment - rng.random() * (moment - before[worker]) / 2,
                returned=None if lost else moment + rng.random() * (after - moment) / 2,
                added=added,
                observed=observed if kind == "read" and not lost else None,
            )
        )
        before[worker] = moment
    return EventHistory(calls)


def broken(history: EventHistory) -> EventHistory:
    """The same history with a message missing from one of its last reads."""
    calls = list(history.calls)
    for number in range(len(calls) - len(calls) // 10, len(calls)):
        observed = calls[number].observed
        if observed:
            content = tuple(observed)
            middle = len(content) // 2
            calls[number] = replace(calls[number], observed=content[:middle] + content[middle + 1 :])
            break
    return EventHistory(calls)


@dataclass(frozen=True)
class Measurement:
    """One line of the table."""

    name: str
    history: Callable[[], EventHistory]
    expected: type
    limit: float | None = None
    weaken: Weaken = WHOLE
    large: bool = False


MEASUREMENTS = [
    Measurement("100,000 calls, no clear", lambda: draw(100_000, batch=3), Linearizable, 2.0),
    Measurement("1,000,000 calls, no clear", lambda: draw(1_000_000), Linearizable, 25.0, large=True),
    Measurement(
        "10,000 calls, 100 sessions, 5 % clears, 1 % unknown",
        lambda: draw(10_000, sessions=100, clears=0.05, unknown=0.01, batch=3),
        Linearizable,
        5.0,
    ),
    Measurement(
        "100,000 calls, 5 % clears, 1 % unknown",
        lambda: draw(100_000, clears=0.05, unknown=0.01),
        Linearizable,
    ),
    Measurement("10,000 calls, reads as plain tuples", lambda: draw(10_000, plain=True), Linearizable),
    Measurement(
        "10,000 calls, 100 sessions, the same, batches not atomic",
        lambda: draw(10_000, sessions=100, clears=0.05, unknown=0.01, batch=3),
        Linearizable,
        weaken=Weaken(batches_atomic=False),
    ),
    Measurement(
        "100,000 calls, 5 % clears, one message lost, explained",
        lambda: broken(draw(100_000, clears=0.05, unknown=0.01)),
        Violation,
    ),
    Measurement("100,000 calls, one message lost, explained", lambda: broken(draw(100_000)), Violation),
    Measurement("1,000,000 calls, one message lost, explained", lambda: broken(draw(1_000_000)), Violation, large=True),
]


def measure(measurement: Measurement, rounds: int) -> bool:
    """Print one line of the table; whether it keeps its limit."""
    history = measurement.history()
    seconds: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        verdict = check(history, weaken=measurement.weaken)
        seconds.append(time.perf_counter() - start)
    assert isinstance(verdict, measurement.expected | Undecided), verdict
    median = statistics.median(seconds)
    limit = "" if measurement.limit is None else f"limit {measurement.limit:g} s"
    times = f"{median:8.3f} s  ({min(seconds):.3f} to {max(seconds):.3f})"
    print(f"{measurement.name:58} {times}  {type(verdict).__name__:12} {limit}".rstrip())
    return measurement.limit is None or median <= measurement.limit


def print_memory() -> None:
    """Print what the checker itself allocates at most, per call, for growing histories."""
    for size in (10_000, 100_000, 400_000):
        history = draw(size)
        tracemalloc.start()
        check(history)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"{size:>9,} calls: {peak / size:5.0f} bytes per call at the peak, beside the history itself")


def main() -> int:
    """Measure everything; 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is taken (default 5)")
    parser.add_argument("--quick", action="store_true", help="leave out the histories of a million calls")
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, median of {arguments.rounds} rounds (fastest to slowest)")
    chosen = [each for each in MEASUREMENTS if not (each.large and arguments.quick)]
    kept = [measure(each, arguments.rounds) for each in chosen]
    print_memory()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
