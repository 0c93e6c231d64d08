"""ERR: what can't be done raises, says why, and leaves the handle usable; ATM-1: and the history as it was."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeGuard

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.conformance._lens import Lens
from chathistory.conformance._odd_messages import OddMessage
from chathistory.conformance._payloads import NOT_MESSAGES, NUMBERS, TEXTS, UNSTORABLE, filled
from chathistory.conformance._program import FAILING, Add, Assign, Clear, Program, Read, Step, program
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import (
    A,
    B,
    Check,
    async_twin,
    fresh_read,
    numbered,
    opened,
    with_plain_messages,
)
from chathistory.conformance.checks._sequences import Call, every_sequence
from chathistory.conformance.checks.fidelity import with_plain_or_refused
from chathistory.conformance.checks.sessions import bad_adds


def _not_messages(_effort: Effort) -> Iterator[Program]:
    for case in NOT_MESSAGES:
        bad = Add(1, case.messages, container=case.container, call=case.call)
        yield program(opened(A), Add(1, numbered(2)), bad, Read(1), fresh_read(2))
    yield program(opened(A), Add(1, (None,), call="add_user_message"), Read(1))
    yield program(opened(A), Add(1, (None,), call="add_ai_message"), Read(1))
    for case in NOT_MESSAGES:
        if case.container == "list" and case.call == "add_messages":
            among = (*numbered(1, first=11), *case.messages, *numbered(1, first=12))
            yield program(opened(A), Add(1, numbered(2)), Add(1, among), Read(1), fresh_read(2))


def _not_messages_assigned(_effort: Effort) -> Iterator[Program]:
    for case in NOT_MESSAGES:
        if case.container == "list" and case.call == "add_messages":
            assigned = Assign(1, (*numbered(1, first=11), *case.messages))
            yield program(opened(A), Add(1, numbered(2)), assigned, Read(1), fresh_read(2))


def _hard_messages() -> Iterator[BaseMessage]:
    for value in (*UNSTORABLE, *(number for number in NUMBERS if number.hard)):
        yield HumanMessage(content="m1", additional_kwargs={"value": value.value})
    yield from (HumanMessage(content=text.value) for text in TEXTS if text.hard)
    yield OddMessage(content="m1")


def _carried_out(_effort: Effort) -> Iterator[Program]:
    for message in _hard_messages():
        yield program(opened(A), Add(1, numbered(1)), Add(1, (message,)), Read(1))
    yield program(opened(A), Add(1, numbered(2)), Clear(1), Read(1))
    yield program(opened(A), Add(1, (HumanMessage(content=filled(3_000_000)),)), Read(1))
    # Among others, too: what is too large for a place of its own, or for a batch, may be left out of one.
    for size in (70_000, 450_000, 1_100_000):
        large = HumanMessage(content=filled(size))
        for batch in ((large, *numbered(1)), (*numbered(1), large), (*numbered(1), large, *numbered(1, first=2))):
            yield program(opened(A), Add(1, batch), Read(1))


def _recovered(_effort: Effort) -> Iterator[Program]:
    for bad in bad_adds(1):
        yield program(opened(A), Add(1, numbered(1)), bad, Add(1, numbered(1, first=2)), Read(1), fresh_read(2))
        yield program(
            opened(A), bad, bad, Read(1), Add(1, numbered(2)), Clear(1), Add(1, numbered(1, first=3)), Read(1)
        )
    # What was added before, once more: an add that follows a refusal may be taken for a second try.
    for bad in bad_adds(1):
        yield program(opened(A), Add(1, numbered(1)), bad, Add(1, numbered(1)), Add(1, numbered(1)), Read(1))
    every: list[Step] = [step for bad in bad_adds(1) for step in (bad, Read(1))]
    yield program(opened(A), Add(1, numbered(1)), every, Add(1, numbered(1, first=2)), Read(1))
    yield program(opened(A), Add(1, numbered(2)), Assign(1, (None,)), Add(1, numbered(1, first=3)), Read(1))
    for container in FAILING:
        failing = Add(1, numbered(1, first=11), container=container)
        yield program(opened(A), Add(1, numbered(1)), failing, Add(1, numbered(1, first=2)), Read(1), fresh_read(2))


def _recovered_async(_effort: Effort) -> Iterator[Program]:
    for bad in bad_adds(1):
        if bad.call == "add_messages":
            refused = Add(1, bad.messages, mode="async")
            good = Add(1, numbered(1), mode="async")
            yield program(opened(A), refused, good, Read(1, "async"), fresh_read(2, mode="async"))


def without_bad_adds(failing: Program) -> Iterator[Program]:
    """The same program without what is refused."""
    bad = bad_adds(1)
    refused = {
        id(step)
        for step in failing.steps
        if isinstance(step, Add | Assign) and (_is_bad(step, bad) or _is_failing(step))
    }
    yield Program(tuple(step for step in failing.steps if id(step) not in refused))
    steps = (replace(step, container="list") if _is_failing(step) else step for step in failing.steps)
    yield from with_plain_messages(Program(tuple(steps)))


def with_nothing_afterwards(failing: Program) -> Iterator[Program]:
    """The same program without what is written after the first refusal: what has changed by then is ATM-1's."""
    bad = bad_adds(1)
    refused = [
        place
        for place, step in enumerate(failing.steps)
        if isinstance(step, Add | Assign) and (_is_bad(step, bad) or _is_failing(step))
    ]
    first = refused[0] if refused else len(failing.steps)
    yield Program(
        tuple(
            step
            for place, step in enumerate(failing.steps)
            if place <= first or not isinstance(step, Add | Assign | Clear)
        )
    )


def refused_to_no_harm(failing: Program) -> Iterator[Program]:
    """What remains is a matter of what comes after a refusal."""
    yield from without_bad_adds(failing)
    yield from with_nothing_afterwards(failing)


def _is_bad(step: Add | Assign, bad: list[Add]) -> bool:
    return (
        any(
            not isinstance(message, BaseMessage) or message.content in ("bad", "a\x00b", "a\ud800b")
            for message in step.messages
        )
        or step in bad
    )


def _named(_effort: Effort) -> Iterator[Program]:
    for bad in bad_adds(1):
        yield program(opened(A), bad, Read(1))
    # The second of two errors, so that a name that was kept from the first shows.
    for bad in bad_adds(1):
        yield program(opened(A, B), bad, replace(bad, handle=2), Read(2))


def _bad_items() -> Iterator[object]:
    """Items that a batch can't be stored with, each for another reason; only the first is refused by all."""
    values = {value.name: value.value for value in UNSTORABLE}
    yield None
    for name in ("nan", "bytes", "set", "object", "datetime"):
        yield HumanMessage(content="bad", additional_kwargs={"value": values[name]})
    yield HumanMessage(content="a\x00b")
    yield HumanMessage(content="a\ud800b")
    yield OddMessage(content="bad")
    yield {"role": "user", "content": "x"}
    yield AIMessage(content="bad", additional_kwargs={"big": 10**400})


_CALLS: tuple[Call, ...] = (
    lambda batch: Add(1, batch),
    lambda batch: Add(1, (*batch, None)),
    lambda batch: Add(2, (*batch, HumanMessage(content="bad", additional_kwargs={"value": math.nan}))),
    lambda _: Add(1, ()),
    lambda _: Read(1),
    lambda _: Clear(2),
)


def _torn(effort: Effort) -> Iterator[Program]:
    for bad in _bad_items():
        for before, after in ((1, 0), (0, 1), (2, 2), (30, 1)):
            batch = (*numbered(before, first=11), bad, *numbered(after, first=101))
            yield program(opened(A), Add(1, numbered(2)), Read(1), Add(1, batch), Read(1), fresh_read(2))
        refused = Add(1, (*numbered(3, first=11), bad))
        yield program(opened(A), refused, Read(1), Add(1, numbered(1)), Read(1))
        # Some of it has been stored before, as a question may be that is asked again.
        yield program(opened(A), Add(1, numbered(3)), Add(1, (*numbered(2), bad)), Read(1), fresh_read(2))
        # What a refused batch has left may come with the next one, though that be empty.
        yield program(opened(A), Add(1, numbered(1)), refused, Add(1, ()), Read(1), fresh_read(2))
    for count in (3, 12, 120):
        for container in FAILING:
            failing = Add(1, numbered(count, first=11), container=container)
            yield program(opened(A), Add(1, numbered(2)), Read(1), failing, Read(1), fresh_read(2))
        generated = Add(1, (*numbered(count, first=11), None), container="generator")
        yield program(opened(A), Add(1, numbered(2)), Read(1), generated, Read(1), fresh_read(2))
    yield from every_sequence(_CALLS, effort)
    sizes = (130,) if effort == "quick" else (130, 1_100)
    for size in sizes:
        for bad in itertools.islice(_bad_items(), 3):
            yield program(opened(A), Add(1, numbered(2)), Add(1, (*numbered(size, first=11), bad)), Read(1))


def _torn_assignments(_effort: Effort) -> Iterator[Program]:
    for bad in _bad_items():
        for before in (2, 0):
            assigned = Assign(1, (*numbered(before, first=11), bad))
            yield program(opened(A), Add(1, numbered(2)), Read(1), assigned, Read(1), fresh_read(2))


def _torn_async(_effort: Effort) -> Iterator[Program]:
    for bad in _bad_items():
        batch = (*numbered(2, first=11), bad, *numbered(1, first=101))
        refused = Add(1, batch, mode="async")
        yield program(
            opened(A),
            Add(1, numbered(2), mode="async"),
            refused,
            Read(1, "async"),
            fresh_read(2, mode="async"),
        )


def without_bad_items(failing: Program) -> Iterator[Program]:
    """The same program with the batches that are refused left out."""
    yield Program(
        tuple(
            step
            for step in failing.steps
            if not (isinstance(step, Add | Assign) and (_is_bad(step, []) or _is_failing(step)))
        )
    )


def _is_failing(step: Step) -> TypeGuard[Add]:
    return isinstance(step, Add) and step.container in FAILING


def with_good_items(failing: Program) -> Iterator[Program]:
    """The same program without what is refused, and with something good in the place of each refused item."""
    yield from without_bad_items(failing)
    steps = (
        replace(step, container="list") if isinstance(step, Add) and step.container != "tuple" else step
        for step in failing.steps
    )
    yield from with_plain_messages(Program(tuple(steps)))


def with_good_or_harmless_items(failing: Program) -> Iterator[Program]:
    """With something good in place of what is refused; and the same program, with nobody looking at the refusals.

    What fails so is what a refusal did to the history: ATM-1's business.
    """
    yield from with_good_items(failing)
    yield failing


_CHECKS = (
    Check(
        clause="ERR-1",
        name="add refuses what is no message",
        lens=Lens(refusal=True),
        cases=_not_messages,
        controls=with_good_or_harmless_items,
        control_lens=Lens(),
    ),
    Check(
        clause="ERR-1",
        name="assignment refuses what is no message",
        lens=Lens(refusal=True),
        cases=_not_messages_assigned,
        controls=with_good_or_harmless_items,
        control_lens=Lens(),
    ),
    Check(
        clause="ERR-2",
        name="what returned was carried out",
        cases=_carried_out,
        controls=with_plain_or_refused,
        at_first=0,  # what can't be read is VAL-9's, and seen by VAL-4 at a second glance
        at_a_glance=12,
    ),
    Check(
        clause="ERR-3",
        name="a handle stays usable after a refusal",
        lens=Lens(recovery=True),
        cases=_recovered,
        controls=refused_to_no_harm,
        control_lens=Lens(),
    ),
    Check(
        clause="ERR-3",
        name="a handle stays usable after a refusal in async",
        lens=Lens(recovery=True),
        cases=_recovered_async,
        controls=refused_to_no_harm,
        control_lens=Lens(),
        modes=frozenset({"async"}),
    ),
    Check(
        clause="ERR-4",
        name="errors name their session",
        lens=Lens(view="readable", error_text=True),
        cases=_named,
    ),
    Check(
        clause="ATM-1",
        name="a batch that raises stores nothing",
        lens=Lens(after_refusal_only=True),
        cases=_torn,
        controls=with_good_items,
        control_lens=Lens(),
    ),
    Check(
        clause="ATM-1",
        name="an assignment that raises changes nothing",
        lens=Lens(after_refusal_only=True),
        cases=_torn_assignments,
        controls=with_good_items,
        control_lens=Lens(),
    ),
    Check(
        clause="ATM-1",
        name="a batch that raises stores nothing in async",
        lens=Lens(after_refusal_only=True),
        cases=_torn_async,
        controls=with_good_items,
        control_lens=Lens(),
        modes=frozenset({"async"}),
    ),
)

CHECKS = (*_CHECKS, async_twin(_CHECKS[0]), async_twin(_CHECKS[2]))
