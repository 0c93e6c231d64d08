"""BND and EXP: a history that is told to forget forgets exactly what it was told to, and when."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance._lens import Lens
from chathistory.conformance._program import (
    Add,
    Assign,
    Clear,
    Mode,
    Open,
    Program,
    Read,
    Step,
    Together,
    Wait,
    program,
)
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import A, B, Check, async_twin, fresh_read, numbered, singly, varied
from chathistory.conformance.checks.concurrency import How, needs_threads


def _bounded(_effort: Effort) -> Iterator[Program]:
    for size in (1, 2, 3, 5, 10):
        bounded = [Open(1, A, history_size=size)]
        for count in (size - 1, size, size + 1, 3 * size + 1):
            yield program(bounded, Add(1, numbered(count)), Read(1))
        yield program(bounded, singly(1, numbered(2 * size + 1)), Read(1))
        yield program(bounded, Add(1, varied(size + 6)), Read(1))
        prompt = SystemMessage(content="m90")
        yield program(bounded, Add(1, (prompt, *numbered(size + 2))), Read(1))
        yield program(bounded, Add(1, (prompt,)), Read(1), singly(1, numbered(size + 2)), Read(1))
        steps: list[Step] = [Add(1, numbered(size)), Read(1), Add(1, numbered(1, first=size + 1)), Read(1)]
        yield program(bounded, steps, Open(2, A, history_size=size), Read(2))
        yield program(bounded, steps, Clear(1), Read(1), Add(1, numbered(size + 2, first=50)), Read(1))
        yield program(bounded, Add(1, numbered(1)), Assign(1, numbered(size + 2, first=50)), Read(1))
        # What is beyond the bound is gone, and not only hidden from handles that have it.
        wider = Open(2, A, history_size=3 * size + 5)
        yield program(
            bounded, Add(1, numbered(2 * size + 1)), wider, Read(2), singly(1, numbered(2, first=60)), Read(2)
        )
    yield program(
        Open(1, A, history_size=100), Add(1, numbered(250)), Read(1), Add(1, numbered(60, first=251)), Read(1)
    )
    for size in (2, 5):
        both = [Open(1, A, history_size=size), Open(2, A, history_size=size)]
        adds = [Add(1, numbered(size)), Add(2, numbered(1, first=size + 1)), Add(1, numbered(1, first=size + 2))]
        yield program(both, adds, Read(1), Read(2))
        yield program(both, adds, Open(3, A, history_size=size), Add(3, numbered(1, first=90)), Read(3), Read(1))
    yield from _bounded_by_two(3)
    # What is refused makes no room for itself (ATM-1).
    full: list[Step] = [Open(1, A, history_size=3), Add(1, numbered(3))]
    for refused in (Add(1, (None,)), Add(1, (*numbered(2, first=50), None)), Assign(1, (None,))):
        yield program(full, refused, Read(1), Add(1, numbered(1, first=60)), Read(1))
    yield program(full, Add(1, ()), Read(1), Add(1, (), container="tuple"), Add(1, numbered(1, first=60)), Read(1))
    apart = [Open(1, A, history_size=2), Open(2, B, history_size=2)]
    yield program(apart, Add(1, numbered(3)), Add(2, numbered(3, first=4)), Read(1), Read(2))
    # In turn: what counts the messages of all sessions forgets too much of each.
    for size in (2, 5):
        turns: list[Step] = [Open(1, A, history_size=size), Open(2, B, history_size=size)]
        for number in range(1, 2 * size + 2):
            turns += [Add(1, numbered(1, first=number)), Add(2, numbered(2, first=50 + 2 * number)), Read(1), Read(2)]
        yield program(turns)


def _bounded_by_two(size: int) -> Iterator[Program]:
    """Four adds by two handles in every order, without a read: each may count for itself how many there are."""
    both = [Open(1, A, history_size=size), Open(2, A, history_size=size)]
    for handles in itertools.product((1, 2), repeat=4):
        for counts in ((1, size, 1, 1), (1, 1, size - 1, 1), (size - 1, 1, 1, size + 1)):
            adds: list[Step] = []
            for number, (handle, count) in enumerate(zip(handles, counts, strict=True)):
                adds.append(Add(handle, numbered(count, first=10 * number)))
            yield program(both, adds, Open(3, A, history_size=size), Read(3))


@st.composite
def _bounded_programs(draw: st.DrawFn) -> Program:
    size = draw(st.integers(1, 6))
    steps: list[Step] = [Open(1, A, history_size=size), Open(2, A, history_size=size)]
    count = 0
    for batch in draw(st.lists(st.integers(0, 9), min_size=1, max_size=6)):
        handle = draw(st.integers(1, 2))
        steps.append(Add(handle, numbered(batch, first=count + 1)))
        count += batch
        steps.append(Read(draw(st.integers(1, 2))))
    return program(steps)


def _needs_bound(backend: Backend) -> str:
    return "" if backend.with_history_size else "the backend offers no bound (Backend.with_history_size)"


def _needs_ttl(backend: Backend) -> str:
    return "" if backend.with_ttl else "the backend offers no ttl (Backend.with_ttl)"


def _needs_ttl_and_threads(backend: Backend) -> str:
    return _needs_ttl(backend) or needs_threads(backend)


# The times of a program in units of the ttl's resolution, which the engine fills in: 4 units of ttl leave
# room on both sides of the moment of expiry.
TTL = 4.0
_PAST = 5.5
_WITHIN = 2.0
_EXPIRED_SESSIONS = 6
_DAY = 86_400.0
_FOREVER = 400_000_000.0  # more than ten years, by a clock that can be moved


def _expired(_effort: Effort) -> Iterator[Program]:
    expiring = [Open(1, A, ttl=TTL)]
    # Read at once or at the end: whether a read in between renews the ttl is EXP-3's business.
    yield program(expiring, Add(1, numbered(2)), Wait(_WITHIN), Read(1))
    yield program(expiring, Add(1, numbered(2)), Read(1), Read(1), Wait(_PAST), Read(1), Open(2, A), Read(2))
    yield program(expiring, Add(1, numbered(1)), Wait(_PAST), Add(1, numbered(1, first=2)), Read(1))
    apart = [Open(1, A, ttl=TTL), Open(2, B, ttl=TTL)]
    yield program(apart, Add(1, numbered(1)), Wait(_PAST), Add(2, numbered(1, first=2)), Read(1), Read(2))
    shortest = [Open(1, A, ttl=1.0)]
    yield program(shortest, Add(1, numbered(2)), Wait(0.5), Read(1))
    yield program(shortest, Add(1, numbered(2)), Read(1), Wait(2.5), Read(1), fresh_read(2))
    # What a handle has read it may remember, and what it adds to that.
    yield program(shortest, Add(1, numbered(1)), Read(1), Wait(2.5), Add(1, numbered(1, first=2)), Read(1))


def _added_while_found_expired(how: How) -> Callable[[Effort], Iterator[Program]]:
    """What is added beside the reads that find a session expired: one that deletes it then must look again."""

    def cases(_effort: Effort) -> Iterator[Program]:
        mode: Mode = "async" if how == "tasks" else "sync"
        sessions = [f"{A}-{number}" for number in range(_EXPIRED_SESSIONS)]
        opened = [Open(number, session, ttl=TTL) for number, session in enumerate(sessions, start=1)]
        added = [Add(step.handle, numbered(1), mode=mode) for step in opened]
        readers_and_adders = (("read",) * 4, (1, "read"), ("read", 1))
        yield program(
            opened, added, Wait(_PAST), [Together(session, readers_and_adders, how=how) for session in sessions]
        )

    return cases


def _without_a_ttl(failing: Program) -> Iterator[Program]:
    """The same work on sessions that were empty before: what is lost then is CON-1's business; and EXP-1 at rest."""
    yield program([step for step in failing.steps if isinstance(step, Together)])
    modes: set[Mode] = {step.mode for step in failing.steps if isinstance(step, Add)}
    for mode in modes:
        steps: list[Step] = [Open(1, A, ttl=TTL), Add(1, numbered(1), mode=mode)]
        waits: list[Step] = [step for step in failing.steps if isinstance(step, Wait)]
        yield program(steps, waits, Open(2, A), Add(2, numbered(1, first=2), mode=mode), Read(2, mode))


def _expired_at_once(backend: Backend) -> Iterator[Program]:
    """Just before the end of a ttl and a unit after it; in real time nobody can tell what is just before.

    Each through a session of its own: whether a read renews the ttl is EXP-3's business.
    """
    if backend.advance is None:
        return
    # Long ones, too, of which some part may be thought to be the whole.
    for ttl in (1.0, TTL, 1.5 * _DAY, 31 * _DAY):
        for before, after in ((ttl - 0.5, 1.75), (ttl - 0.25, 1.5)):
            steps: list[Step] = [Open(1, A, ttl=ttl), Add(1, numbered(2)), Read(1)]
            yield program(steps, Wait(before), Read(1))
            yield program(steps, Wait(before + after), Read(1), fresh_read(2))
        # An add to another session sweeps what has expired, and nothing that is about to.
        other: list[Step] = [Open(3, B, ttl=ttl), Add(3, numbered(1, first=3))]
        yield program(Open(1, A, ttl=ttl), Add(1, numbered(2)), Wait(ttl - 0.25), other, Read(1), Read(3))


def _renewed(_effort: Effort) -> Iterator[Program]:
    expiring = [Open(1, A, ttl=TTL)]
    again: list[Step] = [
        Wait(_WITHIN),
        Add(1, numbered(1, first=2)),
        Wait(_WITHIN),
        Add(1, numbered(1, first=3)),
        Wait(_WITHIN),
    ]
    # Read once each: whether a read renews the ttl is EXP-3's business.
    yield program(expiring, Add(1, numbered(1)), again, Read(1))
    yield program(expiring, Add(1, numbered(1)), again, Wait(_PAST), Read(1))
    # By another handle, of which the first may not know.
    other: list[Step] = [Open(2, A, ttl=TTL), Wait(_WITHIN), Add(2, numbered(1, first=2)), Wait(0.75 * TTL)]
    yield program(expiring, Add(1, numbered(1)), other, Read(1), fresh_read(3))
    human, ai = (HumanMessage(content="m2"),), (AIMessage(content="m2"),)
    singles = [
        Add(1, human, call="add_message"),
        Add(1, human, call="add_user_message"),
        Add(1, ai, call="add_ai_message"),
    ]
    opens = [Open(handle, f"{A}-{handle}", ttl=TTL) for handle in (1, 2, 3)]
    handles = [step.handle for step in opens]
    yield program(
        opens,
        [Add(handle, numbered(1)) for handle in handles],
        Wait(0.625 * TTL),
        [replace(single, handle=handle) for handle, single in zip(handles, singles, strict=True)],
        Wait(0.625 * TTL),
        [Read(handle) for handle in handles],
    )


def _renewed_at_once(backend: Backend) -> Iterator[Program]:
    """Renewed soon after it began, by a clock that can be moved."""
    if backend.advance is None:
        return
    for ttl in (100.0, 1.5 * _DAY):
        once: list[Step] = [Open(1, A, ttl=ttl), Add(1, numbered(1)), Wait(0.09 * ttl), Add(1, numbered(1, first=2))]
        yield program(once, Wait(0.95 * ttl), Read(1))
        yield program(once, Wait(1.15 * ttl), Read(1))


def _kept(_effort: Effort) -> Iterator[Program]:
    yield program(Open(1, A), Add(1, numbered(2)), Wait(_FOREVER), Read(1))
    steps: list[Step] = [Open(1, A), Add(1, numbered(2)), Wait(_PAST), Read(1)]
    yield program(steps, Open(2, A, ttl=TTL), Read(2), Wait(_PAST), Read(1), Read(2))
    beside: list[Step] = [Open(1, B, ttl=TTL), Open(2, A), Add(1, numbered(1)), Add(2, numbered(1, first=2))]
    yield program(beside, Wait(_PAST), Read(2))
    anew: list[Step] = [Open(1, A, ttl=TTL), Open(2, A), Add(1, numbered(1)), Clear(1), Add(2, numbered(2, first=2))]
    yield program(anew, Wait(_PAST), Read(2))
    emptied: list[Step] = [Assign(step.handle, ()) if isinstance(step, Clear) else step for step in anew]
    yield program(emptied, Wait(_PAST), Read(2))
    # What is swept with a session that has expired: none whose name begins with that one's, or ends with it.
    opens: list[Step] = [Open(1, "{run}-a", ttl=TTL), Open(2, "{run}-ab"), Open(3, "{run}-a:b"), Open(4, "{run}-A")]
    longer: list[Step] = [Open(5, "x-{run}-a"), Open(6, "{run}")]
    handles = range(1, 7)
    adds: list[Step] = [Add(handle, numbered(1, first=handle)) for handle in handles]
    sweeps: list[Step] = [Open(8, B), Add(8, numbered(1, first=8)), Open(9, B, ttl=TTL), Add(9, numbered(1, first=9))]
    # What has expired itself is not read: that is EXP-1's business.
    yield program(opens, longer, adds, Wait(_PAST), sweeps, [Read(handle) for handle in handles if handle > 1])


def _not_renewed(_effort: Effort) -> Iterator[Program]:
    # What is refused is no add (ATM-1).
    refused: list[Step] = [Wait(_WITHIN), Add(1, (None,)), Wait(_PAST - _WITHIN)]
    yield program(Open(1, A, ttl=TTL), Add(1, numbered(1)), refused, Read(1), fresh_read(2))
    # Nor is one of nothing (ORD-4), nor an assignment that is refused.
    for nothing in (Assign(1, (None,)), Add(1, ())):
        refused[1] = nothing
        yield program(Open(1, A, ttl=TTL), Add(1, numbered(1)), refused, Read(1), fresh_read(2))
    expiring = [Open(1, A, ttl=TTL), Open(2, A, ttl=TTL)]
    # Late in its life.
    yield program(expiring, Add(1, numbered(1)), Wait(0.8 * TTL), Read(1), Wait(_PAST - 0.8 * TTL), Read(1), Read(2))
    yield program(
        expiring,
        Add(1, numbered(1)),
        Wait(_WITHIN),
        Read(1),
        Read(2),
        Wait(_WITHIN / 2),
        Read(2),
        Wait(_PAST - 1.5 * _WITHIN),
        Read(1),
    )


def in_units_of(resolution: float, can_advance: bool) -> Callable[[Program], Program]:
    """Programs with their times in seconds: all are given in units of the ttl's resolution.

    Nobody waits for ever in real time.
    """

    def scaled(step: Step) -> Step:
        if isinstance(step, Open) and step.ttl is not None:
            return Open(step.handle, step.session, step.partition, step.history_size, step.ttl * resolution)
        if isinstance(step, Wait):
            return Wait((step.seconds if can_advance else min(step.seconds, _PAST)) * resolution)
        return step

    return lambda given: Program(tuple(scaled(step) for step in given.steps))


def without_bounds(failing: Program) -> Iterator[Program]:
    """The same program over a history that keeps everything, for ever."""
    yield Program(
        tuple(
            Open(step.handle, step.session, step.partition) if isinstance(step, Open) else step
            for step in failing.steps
            if not isinstance(step, Wait)
        )
    )


def without_renewal(failing: Program) -> Iterator[Program]:
    """The same program over a history that keeps everything, and each read of it after a single add.

    What lives too long, or not long enough, after one add and with nothing else in between is EXP-1's business.
    """
    yield from without_bounds(failing)
    for number, step in enumerate(failing.steps):
        if isinstance(step, Read):
            yield Program((*_with_one_add(failing.steps[:number]), step))


def _with_one_add(steps: Sequence[Step]) -> list[Step]:
    """Without reads, without what is refused or empty, and without all adds but the last."""
    adds = [
        number
        for number, step in enumerate(steps)
        if isinstance(step, Add) and step.messages and None not in step.messages
    ]
    return [
        step for number, step in enumerate(steps) if number in adds[-1:] or not isinstance(step, (Add, Assign, Read))
    ]


_SYNC = (
    Check(
        clause="BND-1",
        name="read returns the last messages up to the bound",
        cases=_bounded,
        draws=_bounded_programs(),
        needs=_needs_bound,
        controls=without_bounds,
    ),
    Check(
        clause="EXP-1",
        name="read returns nothing once the ttl has passed",
        cases=_expired,
        fitted=_expired_at_once,
        needs=_needs_ttl,
        controls=without_bounds,
        in_resolution=True,
    ),
    Check(
        clause="EXP-2",
        name="each add renews the ttl",
        cases=_renewed,
        fitted=_renewed_at_once,
        needs=_needs_ttl,
        controls=without_renewal,
        in_resolution=True,
    ),
    Check(
        clause="EXP-3",
        name="nothing but an add begins a ttl",
        cases=_kept,
        needs=_needs_ttl,
        controls=without_bounds,
        in_resolution=True,
    ),
    Check(
        clause="EXP-3",
        name="nothing but an add renews a ttl",
        cases=_not_renewed,
        needs=_needs_ttl,
        controls=without_renewal,
        in_resolution=True,
    ),
)


def _race(how: How) -> Check:
    return Check(
        clause="EXP-1",
        name=f"what is added while a session is found expired stays ({how})",
        lens=Lens(aspect="lost"),
        cases=_added_while_found_expired(how),
        needs=_needs_ttl_and_threads if how == "threads" else _needs_ttl,
        controls=_without_a_ttl,
        modes=frozenset({"async" if how == "tasks" else "sync"}),
        in_resolution=True,
    )


CHECKS = (*_SYNC, *map(async_twin, _SYNC), _race("threads"), _race("tasks"))
