"""CLR: a clear empties its session, all of it and nothing else, and what follows starts anew."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from chathistory.conformance._corpus import build
from chathistory.conformance._lens import Lens
from chathistory.conformance._payloads import filled
from chathistory.conformance._program import Add, Clear, Open, Program, Read, Step, Wait, program
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import (
    EVERY_COUNT,
    A,
    B,
    C,
    Check,
    fresh_read,
    numbered,
    opened,
    singly,
    varied,
)
from chathistory.conformance.checks._sequences import calls_through, every_sequence
from chathistory.conformance.checks.sessions import rich, written_before
from chathistory.conformance.strategies import programs
from chathistory.reference import MESSAGE_CLASSES

_A_WHILE = Wait(0.03)
"""Long enough for what a store puts off until it has time."""


def _cleared(_effort: Effort) -> Iterator[Program]:
    yield program(opened(A), Add(1, numbered(1)), Clear(1), Read(1))
    yield program(opened(A), Add(1, numbered(3)), Read(1), Clear(1), Read(1), fresh_read(2))
    yield program(
        opened(A, A, A),
        Add(1, numbered(2)),
        [Read(1), Read(2), Read(3)],
        Clear(2),
        [Read(1), Read(2), Read(3)],
        fresh_read(4),
    )
    yield program(opened(A), singly(1, numbered(12)), Clear(1), Read(1))
    yield program(opened(A), Add(1, varied(12)), Clear(1), Read(1), fresh_read(2))
    for count in (26, 101, 257, 1_001, 2_101):
        yield program(opened(A), Add(1, numbered(count)), Clear(1), Read(1), fresh_read(2))
    for cls in MESSAGE_CLASSES:
        yield program(opened(A), Add(1, (build(cls), *numbered(2))), Clear(1), Read(1), fresh_read(2))
    yield program(opened(A), Add(1, numbered(3)), Clear(1), _A_WHILE, Read(1), fresh_read(2))
    yield program(opened(A), Add(1, numbered(600)), Add(1, numbered(600, first=601)), Clear(1), Read(1))


@st.composite
def _clears_at_the_end(draw: st.DrawFn) -> Program:
    """Adds and reads through some handles, one clear through any of them, reads through all."""
    handles = draw(st.integers(1, 4))
    steps: list[Step] = [Open(handle, A) for handle in range(1, handles + 1)]
    count = 0
    for _ in range(draw(st.integers(1, 6))):
        handle = draw(st.integers(1, handles))
        batch = draw(st.integers(0, 4))
        steps.append(Add(handle, numbered(batch, first=count + 1)) if batch else Read(handle))
        count += batch
    steps.append(Clear(draw(st.integers(1, handles))))
    steps += [Read(handle) for handle in range(1, handles + 1)]
    return program(steps, fresh_read(9))


def _cleared_twice(_effort: Effort) -> Iterator[Program]:
    yield program(opened(A), Clear(1), Read(1))
    yield program(opened(A), Clear(1), Clear(1), Add(1, numbered(1)), Read(1))
    yield program(opened(A), Add(1, numbered(2)), Clear(1), Clear(1), Clear(1), Read(1))
    yield program(opened(A, A), Add(1, numbered(2)), Clear(2), Clear(1), Read(2), Read(1), fresh_read(3))


def _started_anew(effort: Effort) -> Iterator[Program]:
    yield program(opened(A), Add(1, numbered(2)), Clear(1), Add(1, numbered(1, first=3)), Read(1), fresh_read(2))
    yield program(opened(A, A), Add(1, numbered(2)), Read(2), Clear(2), Add(1, numbered(1, first=3)), Read(1), Read(2))
    yield program(
        opened(A, A, A),
        Add(1, numbered(2)),
        [Read(1), Read(2), Read(3)],
        Clear(1),
        Add(2, numbered(2, first=3)),
        [Read(3), Read(2), Read(1)],
    )
    yield program(opened(A), Add(1, numbered(130)), Clear(1), Add(1, numbered(2, first=131)), Read(1), fresh_read(2))
    yield program(opened(A), Add(1, numbered(2)), Clear(1), Add(1, numbered(130, first=3)), Read(1))
    yield program(
        opened(A),
        Add(1, numbered(2)),
        Clear(1),
        Add(1, numbered(1, first=3)),
        _A_WHILE,
        Read(1),
        Add(1, numbered(1, first=4)),
        fresh_read(2),
    )
    steps: list[Step] = []
    for cycle in range(5):
        steps += [Add(1, numbered(cycle + 1, first=10 * cycle)), Read(1), Clear(1)]
    yield program(opened(A), steps, Add(1, numbered(2, first=90)), Read(1), fresh_read(2))
    yield program(opened(A), Add(1, numbered(2)), Clear(1), Add(1, numbered(2)), Read(1), Clear(1), Read(1))
    # The same messages, ids and all, as somebody sends them who has not seen the clear.
    known = (HumanMessage(content="m1", id="id-1-{run}"), AIMessage(content="m2", id="id-2-{run}"))
    for add in ([Add(1, known)], singly(1, known), [Add(2, known)]):
        yield program(opened(A, A), Add(1, known), Clear(1), add, Read(1), fresh_read(3))
    for count in EVERY_COUNT:
        added = singly(1, numbered(count))
        yield program(opened(A), added, Clear(1), Add(1, numbered(1, first=101)), Read(1), fresh_read(2))
    # By another handle, and as much as there was before, or a little more: what is as long may be taken for the same.
    for count in (1, 2, 3, 8, 20, 101):
        for more in (0, 1, 7):
            anew = Add(2, numbered(count + more, first=200))
            yield program(opened(A, A), Add(1, numbered(count)), Read(1), Clear(2), anew, Read(1), fresh_read(3))
    # What is large may be kept in another place.
    for size in (3_000, 70_000):
        old, new = (HumanMessage(content=filled(size, last)) for last in "12")
        yield program(opened(A), Add(1, (old,)), Clear(1), Add(1, (new,)), Read(1), fresh_read(2))
    yield from every_sequence((*calls_through(1), *calls_through(2)), effort)


def without_clears(failing: Program) -> Iterator[Program]:
    """The same program without its clears."""
    yield Program(tuple(step for step in failing.steps if not isinstance(step, Clear)))


def clearing_once(failing: Program) -> Iterator[Program]:
    """The same program without its clears, and with a single one of a session that has been written to."""
    yield from without_clears(failing)
    (before,) = written_before(failing)
    steps: list[Step] = []
    for step in before.steps:
        if not (isinstance(step, Clear) and any(isinstance(earlier, Clear) for earlier in steps)):
            steps.append(step)
    yield Program(tuple(steps))


def _clears_beside(_effort: Effort) -> Iterator[Program]:
    others = [Read(1), Read(3)]
    yield program(
        opened(A, B, C),
        Add(1, rich("a")),
        Add(2, rich("b")),
        Add(3, rich("c")),
        others,
        Clear(2),
        others,
        Read(2),
    )
    yield program(opened(A, B), Add(1, rich("a")), Read(1), Clear(2), Read(1), Clear(2), Read(1))
    yield program(Open(1, A), Add(1, rich("a")), Read(1), Open(2, ""), Read(2), Clear(2), Read(1))
    for size in (1, 300, 5_000, 70_000):
        same = (HumanMessage(content=filled(size)), AIMessage(content=filled(size)))
        yield program(opened(A, B), Add(1, same), Add(2, same), Read(1), Clear(2), Read(1), fresh_read(3))
    for first, second in (
        ("{run}", "{run}-a"),
        ("{run}-a", "{run}-ab"),
        ("{run}-ab", "{run}-b"),
        ("{run}-1", "{run}-10"),
    ):
        for cleared, kept in ((1, 2), (2, 1)):
            steps: list[Step] = [
                Add(1, rich("first")),
                Add(2, rich("second")),
                Read(kept),
                Clear(cleared),
                Read(kept),
            ]
            yield program(opened(first, second), steps, fresh_read(3, (first, second)[kept - 1]))
    yield program(opened(A, B), Add(1, numbered(300)), Read(1), Add(2, numbered(2, first=301)), Clear(2), Read(1))


CHECKS = (
    Check(
        clause="CLR-1",
        name="clear empties the session for every handle",
        cases=_cleared,
        draws=_clears_at_the_end(),
        controls=without_clears,
        at_first=30,
    ),
    Check(clause="CLR-2", name="clear may be repeated", cases=_cleared_twice, controls=clearing_once),
    Check(
        clause="CLR-3",
        name="clear lets nothing old come back",
        cases=_started_anew,
        draws=programs(
            sessions=1,
            handles=4,
            steps=14,
            operations=frozenset({"add", "read", "clear"}),
            batch_sizes=(1, 2, 3),
        ),
        controls=without_clears,
        at_first=14,
    ),
    Check(
        clause="CLR-4",
        name="clear leaves other sessions as they are",
        lens=Lens(foreign_only=True, stable=True),
        cases=_clears_beside,
        draws=programs(
            sessions=3,
            handles=4,
            steps=14,
            operations=frozenset({"add", "read", "clear"}),
            batch_sizes=(1, 2, 3),
        ),
        controls=without_clears,
    ),
)
