"""ORD: what is added is read in the order of adding, whole, at every length."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from chathistory.conformance._corpus import build
from chathistory.conformance._lens import Lens
from chathistory.conformance._payloads import filled
from chathistory.conformance._program import Add, Program, Read, Step, program
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import A, Check, fresh_read, numbered, opened, singly, varied
from chathistory.conformance.checks.sessions import through_one_handle
from chathistory.conformance.strategies import programs
from chathistory.reference import MESSAGE_CLASSES

_ADD_AND_READ = frozenset({"add", "read"})
_ID = "id-{run}"
"""A message id that occurs in no other execution."""


def _plain_course(drawn: Program) -> Program:
    """The same program through one handle, and without the reads before the first add: of one session.

    What other handles see is ISO-3's business, and what a session shows that was never written is ISO-4's.
    """
    steps = list(next(through_one_handle(drawn)).steps)
    first = next((place for place, step in enumerate(steps) if isinstance(step, Add)), len(steps))
    return Program(tuple(step for place, step in enumerate(steps) if place > first or not isinstance(step, Read)))


def _single_adds(_effort: Effort) -> Iterator[Program]:
    # Twelve, since text ids sort 10 before 9; at once, since timestamps may be equal.
    yield program(opened(A), singly(1, numbered(12)), Read(1))
    yield program(opened(A), singly(1, numbered(3)), Read(1), singly(1, numbered(2, first=4)), Read(1))
    yield program(opened(A), singly(1, varied(24)), Read(1))
    yield program(opened(A), singly(1, reversed(varied(24))), Read(1))


def _batches(_effort: Effort) -> Iterator[Program]:
    yield program(opened(A), Add(1, numbered(2)), Read(1))
    yield program(opened(A), Add(1, numbered(12)), Read(1))
    yield program(opened(A), Add(1, numbered(5)), Add(1, numbered(7, first=6)), Read(1))
    yield program(opened(A), Add(1, numbered(1)), Add(1, numbered(3, first=2)), Add(1, numbered(1, first=5)), Read(1))
    yield program(opened(A), Add(1, varied(24)), Read(1))
    yield program(opened(A), Add(1, tuple(reversed(varied(24)))), Read(1))
    yield program(opened(A), Add(1, numbered(10)), Add(1, numbered(10, first=11)), Read(1))


def _repeated(_effort: Effort) -> Iterator[Program]:
    same = HumanMessage(content="m1")
    shared = (
        HumanMessage(content="m1", id=_ID),
        AIMessage(content="m2", id=_ID),
        HumanMessage(content="m3", id=_ID),
    )
    yield program(opened(A), Add(1, (HumanMessage(content="m1"), HumanMessage(content="m1"))), Read(1))
    yield program(opened(A), Add(1, (same, same, same)), Read(1))
    yield program(opened(A), singly(1, (same, same)), Read(1))
    yield program(opened(A), Add(1, numbered(2)), Add(1, numbered(2)), Read(1))
    yield program(opened(A), Add(1, shared), Read(1))
    yield program(opened(A), singly(1, shared), Read(1))
    yield program(opened(A), Add(1, (same, AIMessage(content="m2"), same)), Read(1), Add(1, (same,)), Read(1))
    # A question that is asked again gets another answer, and a call may have two results.
    asked, answered = (same, AIMessage(content="m2")), (same, AIMessage(content="m3"))
    yield program(opened(A), Add(1, asked), Add(1, answered), Read(1))
    yield program(opened(A), singly(1, asked), Add(1, answered), Add(1, answered), Read(1))
    results = tuple(ToolMessage(content=f"m{number}", tool_call_id="call-1") for number in (1, 2))
    yield program(opened(A), Add(1, asked), singly(1, results), Read(1))
    yield program(opened(A), Add(1, results), Read(1))
    with_id = HumanMessage(content="m1", id=_ID)
    yield program(opened(A), singly(1, (with_id, with_id)), Read(1))


def _alike_of_every_class(_effort: Effort) -> Iterator[Program]:
    """A stream gives all its chunks one id; and what removes a message elsewhere is an entry like any other here."""
    for cls in MESSAGE_CLASSES:
        alike = [build(cls, id=_ID) for _ in range(2)]
        yield program(opened(A), Add(1, numbered(2)), singly(1, alike), Read(1))
        yield program(opened(A), Add(1, (HumanMessage(content="m1", id=_ID), *alike)), Read(1))


def _repeated_by_others(_effort: Effort) -> Iterator[Program]:
    """The same message by several handles, one straight after the other, as two who say the same."""
    for same in (HumanMessage(content="m1"), AIMessage(content="m1", id=_ID)):
        for count in (1, 2):
            batch = (same,) * count
            yield program(opened(A, A), Add(1, batch), Add(2, batch), Read(1), fresh_read(3))
            yield program(opened(A, A), Add(1, batch), Add(2, batch), Add(1, batch), Add(2, batch), Read(2))
        asked = (same, AIMessage(content="m2"))
        yield program(opened(A, A, A), Add(1, asked), Add(2, asked), Add(3, asked), Read(1))
        calls: list[Step] = [Add(handle, (same,), call="add_message") for handle in (1, 2, 1)]
        yield program(opened(A, A), calls, Read(1))


def _by_different_messages(failing: Program) -> Iterator[Program]:
    """The same program with messages that differ: what fails then is no matter of equal ones."""
    count = itertools.count(1)
    yield Program(
        tuple(
            replace(step, messages=tuple(HumanMessage(content=f"m{next(count)}") for _ in step.messages))
            if isinstance(step, Add)
            else step
            for step in failing.steps
        )
    )


def _with_ids_apart(failing: Program) -> Iterator[Program]:
    """The same program with another id for each message, and each result's call: then it is the message's fault."""
    yield Program(
        tuple(
            replace(
                step,
                messages=tuple(
                    message.model_copy(update=dict.fromkeys(_ids_of(message), f"{_ID}-{place}-{number}"))
                    for number, message in enumerate(step.messages)
                ),
            )
            if isinstance(step, Add)
            else step
            for place, step in enumerate(failing.steps)
        )
    )


def _ids_of(message: BaseMessage) -> tuple[str, ...]:
    return ("id", "tool_call_id") if hasattr(message, "tool_call_id") else ("id",)


def _elements_that_repeat() -> st.SearchStrategy[BaseMessage]:
    return st.builds(
        lambda cls, text, identity: cls(content=text, id=identity),
        st.sampled_from((HumanMessage, AIMessage)),
        st.sampled_from(("m1", "m2")),
        st.sampled_from((None, _ID, f"{_ID}-2")),
    )


def _empty_batches(_effort: Effort) -> Iterator[Program]:
    yield program(opened(A), Add(1, ()), Read(1))
    yield program(opened(A), Add(1, numbered(3)), Add(1, ()), Read(1))
    yield program(opened(A), Add(1, numbered(1)), Add(1, (), container="tuple"), Add(1, numbered(1, first=2)), Read(1))
    yield program(opened(A, A), Add(1, numbered(2)), Add(2, ()), Add(2, ()), Read(1), Read(2))


def _without_empty_batches(failing: Program) -> Iterator[Program]:
    """The same program without its empty batches, and with a message in each."""
    yield Program(tuple(step for step in failing.steps if not isinstance(step, Add) or step.messages))
    yield Program(
        tuple(
            replace(step, messages=numbered(1, first=900 + place))
            if isinstance(step, Add) and not step.messages
            else step
            for place, step in enumerate(failing.steps)
        )
    )


def _containers(_effort: Effort) -> Iterator[Program]:
    for container in ("tuple", "deque", "generator"):
        for count in (1, 3, 20):
            batch = Add(1, numbered(count, first=2), container=container)
            yield program(opened(A), Add(1, numbered(1)), batch, Read(1), fresh_read(2))


def _as_lists(failing: Program) -> Iterator[Program]:
    """The same program with each batch in a list."""
    yield Program(tuple(replace(step, container="list") if isinstance(step, Add) else step for step in failing.steps))


def _convenience_calls(_effort: Effort) -> Iterator[Program]:
    human, ai = HumanMessage(content="m1"), AIMessage(content="m2")
    yield program(opened(A), Add(1, (human,), call="add_message"), Read(1))
    yield program(opened(A), Add(1, (ai,), call="add_message"), Add(1, (human,), call="add_message"), Read(1))
    yield program(opened(A), Add(1, (human,), call="add_user_message"), Read(1))
    yield program(opened(A), Add(1, (ai,), call="add_ai_message"), Read(1))
    yield program(opened(A), Add(1, (human,), call="add_user_message", text=True), Read(1))
    yield program(opened(A), Add(1, (ai,), call="add_ai_message", text=True), Read(1))
    for call in ("add_message", "add_user_message"):
        yield program(opened(A), [Add(1, (HumanMessage(content=f"m{n}"),), call=call) for n in (1, 2)], Read(1))
    # After a read, of which a handle may remember something.
    for single in (
        Add(1, (human,), call="add_message"),
        Add(1, (human,), call="add_user_message"),
        Add(1, (ai,), call="add_ai_message"),
    ):
        yield program(opened(A), Add(1, numbered(2, first=3)), Read(1), single, Read(1), fresh_read(2))
    yield program(opened(A), [Add(1, (AIMessage(content=f"m{n}"),), call="add_ai_message") for n in (1, 2)], Read(1))
    yield program(
        opened(A),
        Add(1, (human,), call="add_user_message", text=True),
        Add(1, (ai,), call="add_ai_message", text=True),
        Add(1, numbered(2, first=3)),
        Add(1, (HumanMessage(content="m5"),), call="add_message"),
        Read(1),
    )


def _whole_messages_by_convenience(_effort: Effort) -> Iterator[Program]:
    """Messages with something in each field, and texts that a kind helper would put right."""
    filled = {"name": "Ann", "id": _ID, "additional_kwargs": {"key": "m1"}, "response_metadata": {"key": "m1"}}
    call = {"name": "f", "args": {"key": "m1"}, "id": "call-1", "type": "tool_call"}
    human, ai = HumanMessage(content="m1", **filled), AIMessage(content="m2", tool_calls=[call], **filled)
    yield program(opened(A), Add(1, (human,), call="add_user_message"), Read(1))
    yield program(opened(A), Add(1, (ai,), call="add_ai_message"), Read(1))
    for message in (human, ai):
        yield program(opened(A), Add(1, (message,), call="add_message"), Read(1))
    for text in ("", " m1 ", "m1\n", "/m1", "m1: {m1}"):
        yield program(opened(A), Add(1, (HumanMessage(content=text),), call="add_user_message", text=True), Read(1))
        yield program(opened(A), Add(1, (AIMessage(content=text),), call="add_ai_message", text=True), Read(1))


def _as_batches(failing: Program) -> Iterator[Program]:
    """The same messages by `add_messages`."""
    yield Program(
        tuple(
            replace(step, call="add_messages", text=False) if isinstance(step, Add) else step for step in failing.steps
        )
    )


_THRESHOLDS = (64, 128, 256, 500, 1_000, 2_000)
_PAGES = (10, 20, 25, 50, 100, 128, 200, 250, 256, 500, 512, 1_000)
# The first hold a multiple of each number up to 64, the others one of each up to 130: the size of any page or chunk.
_MULTIPLES = (37, 41, 43, 46, 47, 49, 53, 55, 58, 59, 61, 62, 64, 102, 114, 132, 156, 336, 350, 360, 378)
_MORE_MULTIPLES = (
    *(67, 71, 73, 77, 79, 80, 83, 85, 89, 91, 94, 95, 97, 99, 101, 103, 105, 106, 107, 109, 110, 113, 115, 117, 118),
    *(
        119,
        121,
        122,
        125,
        126,
        127,
        130,
        204,
        222,
        228,
        246,
        258,
        264,
        276,
        300,
        312,
        324,
        336,
        348,
        360,
        372,
        384,
        490,
    ),
)
_SHORT = 6


def _grown(batch: int) -> Program:
    """A history read just past each common limit of pages and chunks."""
    steps: list[Add | Read] = []
    count = 0
    for threshold in _THRESHOLDS:
        while count <= threshold:
            steps.append(Add(1, numbered(batch, first=count + 1)))
            count += batch
        steps.append(Read(1))
    return program(opened(A), steps, fresh_read(2))


def _multiples(effort: Effort) -> tuple[int, ...]:
    return _MULTIPLES if effort == "quick" else _MORE_MULTIPLES


def _filling_pages(lengths: Iterable[int]) -> Program:
    """A history read when its last page is just full, whatever the size of the pages."""
    steps: list[Add | Read] = []
    for before, length in itertools.pairwise((0, *lengths)):
        steps += [Add(1, numbered(length - before, first=before + 1)), Read(1)]
    return program(opened(A), steps)


def _leaving_one_over(multiples: Iterable[int]) -> Iterator[Program]:
    """Batches of which one message is left over, whatever the size of the chunks that they are stored in."""
    for multiple in multiples:
        yield program(opened(A), Add(1, numbered(multiple + 1)), Read(1))


def _lengths(effort: Effort) -> Iterator[Program]:
    yield program(opened(A), Add(1, numbered(2_101)), Read(1), Add(1, numbered(2, first=2_102)), Read(1))
    yield _grown(25 if effort == "quick" else 7)
    yield _filling_pages(_PAGES)
    yield _filling_pages(_multiples(effort))
    for count in (26, 65, 101, 129, 257, 1_001):
        yield program(opened(A), Add(1, numbered(count)), Read(1))
    yield program(opened(A), singly(1, numbered(101)), Read(1))
    large = tuple(HumanMessage(content=f"m{number} {filled(40_000)}") for number in range(1, 33))
    yield program(opened(A), singly(1, large), Read(1))
    yield program(opened(A), Add(1, large), Add(1, numbered(1)), Read(1))
    yield from _leaving_one_over(_multiples(effort))
    if effort != "quick":
        yield program(opened(A), singly(1, numbered(1_001)), Read(1))


def _in_short(failing: Program) -> Iterator[Program]:
    """The same program with its first adds only, each of at most two plain messages."""
    steps: list[Step] = []
    count = 0
    for step in failing.steps:
        if not isinstance(step, Add):
            steps.append(step)
        elif count < _SHORT:
            steps.append(replace(step, messages=numbered(min(len(step.messages), 2), first=count + 1)))
            count += 2
    yield Program(tuple(steps))


CHECKS = (
    Check(
        clause="ORD-1",
        name="read returns messages in the order of adding",
        cases=_single_adds,
        draws=programs(sessions=1, handles=1, steps=12, operations=_ADD_AND_READ, batch_sizes=(1,)).map(_plain_course),
    ),
    Check(
        clause="ORD-2",
        name="add_messages keeps the order of a batch",
        cases=_batches,
        draws=programs(sessions=1, handles=1, steps=8, operations=_ADD_AND_READ, batch_sizes=(1, 2, 3, 5, 8)).map(
            _plain_course
        ),
    ),
    Check(
        clause="ORD-3",
        name="add counts every message, equal or not",
        cases=_repeated,
        draws=programs(
            sessions=1,
            handles=1,
            steps=6,
            operations=_ADD_AND_READ,
            batch_sizes=(1, 2, 4),
            elements=_elements_that_repeat(),
        ).map(_plain_course),
    ),
    Check(
        clause="ORD-3",
        name="add counts messages of every class that share an id",
        cases=_alike_of_every_class,
        controls=_with_ids_apart,
    ),
    Check(
        clause="ORD-3",
        name="add counts equal messages of several handles",
        cases=_repeated_by_others,
        controls=_by_different_messages,
    ),
    Check(
        clause="ORD-4",
        name="add of an empty batch changes nothing",
        cases=_empty_batches,
        controls=_without_empty_batches,
    ),
    Check(clause="ORD-5", name="add reads any sequence once", cases=_containers, controls=_as_lists),
    Check(
        clause="ORD-6",
        name="convenience calls append exactly one message",
        lens=Lens(view="content"),
        cases=_convenience_calls,
        controls=_as_batches,
    ),
    Check(
        clause="ORD-6",
        name="convenience calls make the right class of a text",
        lens=Lens(view="class"),
        cases=_convenience_calls,
        controls=_as_batches,
    ),
    Check(
        clause="ORD-6",
        name="convenience calls keep all of what they are given",
        lens=Lens(view="full"),
        cases=_whole_messages_by_convenience,
        controls=_as_batches,
    ),
    Check(clause="ORD-7", name="read returns everything at every length", cases=_lengths, controls=_in_short),
)
