"""SNP: what callers hold is theirs, what is stored is the store's; neither changes the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from chathistory.conformance._corpus import build, optional_fields
from chathistory.conformance._lens import Lens
from chathistory.conformance._payloads import filled
from chathistory.conformance._program import (
    Add,
    AddBack,
    Assign,
    Clear,
    Edit,
    EditKind,
    Program,
    Read,
    Step,
    Trial,
    program,
)
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import (
    EVERY_COUNT,
    A,
    B,
    Check,
    async_twin,
    fresh_read,
    numbered,
    opened,
    singly,
)
from chathistory.conformance.checks._sequences import Call, calls_through, every_sequence
from chathistory.conformance.checks.concurrency import by_tasks, needs_threads
from chathistory.reference import MESSAGE_CLASSES

_LIST_EDITS: tuple[EditKind, ...] = ("append", "pop", "reverse", "clear")
_MESSAGE_EDITS: tuple[EditKind, ...] = ("content", "field", "nested", "deep")


def _deep_messages() -> tuple[BaseMessage, ...]:
    """Messages with lists and dicts in every place that may hold them; each also alone comes first once."""
    return (
        HumanMessage(content="m1", additional_kwargs={"outer": {"inner": "kept", "list": [{"a": 1}]}}),
        AIMessage(
            content=[{"type": "text", "text": "m2", "extras": {"a": [1]}}],
            tool_calls=[{"name": "f", "args": {"a": {"b": [1]}}, "id": "1", "type": "tool_call"}],
            response_metadata={"a": {"b": [1]}},
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        ),
        ToolMessage(content="m3", tool_call_id="1", artifact={"rows": [[1], {"a": 2}]}),
        HumanMessage(content="m4", note={"a": [{"b": 1}]}),
    )


def _edited_lists(_effort: Effort) -> Iterator[Program]:
    for edit in _LIST_EDITS:
        yield program(opened(A), Add(1, numbered(3)), Read(1), Edit(1, "result", edit), Read(1), fresh_read(2))
        yield program(
            opened(A, A),
            Add(1, numbered(2)),
            Read(2),
            Read(1),
            Edit(1, "result", edit),
            Read(2),
            Add(2, numbered(1, first=3)),
            Read(1),
        )
    yield program(opened(A), Read(1), Edit(1, "result", "append"), Read(1), Add(1, numbered(1)), Read(1))
    yield program(opened(A, B), Read(1), Edit(1, "result", "append"), Read(2), Read(1))
    yield program(opened(A), Add(1, numbered(1)), Read(1), Add(1, numbered(1, first=2)), Read(1))


def _edited_results(_effort: Effort) -> Iterator[Program]:
    for edit in _MESSAGE_EDITS:
        for first in range(4):
            batch = _deep_messages()[first:]
            yield program(opened(A), Add(1, batch), Read(1), Edit(1, "result", edit), Read(1), fresh_read(2))
        # What was written by another call may be kept, and handed out, in another way.
        for write in (Assign(1, _deep_messages()), Add(1, _deep_messages()[:1], call="add_message")):
            yield program(opened(A), write, Read(1), Edit(1, "result", edit), Read(1), fresh_read(2))
    yield program(opened(A, A), Add(1, _deep_messages()), Read(1), Read(2), Edit(2, "result", "deep"), Read(1))
    # What is large may be kept decoded.
    large = AIMessage(content=filled(70_000), additional_kwargs={"outer": {"inner": "kept"}})
    yield program(opened(A), Add(1, (large,)), Read(1), Edit(1, "result", "nested"), Read(1), fresh_read(2))


def _edited_arguments(_effort: Effort) -> Iterator[Program]:
    for edit in (*_LIST_EDITS, *_MESSAGE_EDITS):
        for first in range(4):
            batch = _deep_messages()[first:]
            yield program(opened(A), Add(1, batch), Edit(1, "argument", edit), Read(1), fresh_read(2))
    yield program(opened(A), Add(1, numbered(1)), Add(1, _deep_messages()), Edit(1, "argument", "deep"), Read(1))
    for call in ("add_message", "add_user_message"):
        single = Add(1, (_deep_messages()[0],), call=call)
        yield program(opened(A), single, Edit(1, "argument", "deep"), Read(1))
    single = Add(1, (_deep_messages()[1],), call="add_ai_message")
    yield program(opened(A), single, Edit(1, "argument", "deep"), Read(1))


def _edited_assignments(_effort: Effort) -> Iterator[Program]:
    for edit in (*_LIST_EDITS, *_MESSAGE_EDITS):
        assigned: list[Step] = [Assign(1, _deep_messages()), Edit(1, "argument", edit)]
        yield program(opened(A), Add(1, numbered(1)), assigned, Read(1), Add(1, numbered(1)), fresh_read(2))


def without_edits(failing: Program) -> Iterator[Program]:
    """The same program without its edits, and with other contents: those that were edited may be remembered."""
    if not any(isinstance(step, Edit) for step in failing.steps):
        yield failing
    yield Program(tuple(_with_other_contents(step) for step in failing.steps if not isinstance(step, Edit)))


def _with_other_contents(step: Step) -> Step:
    if not isinstance(step, Add | Assign):
        return step
    return replace(step, messages=tuple(_with_another_content(message) for message in step.messages))


def _with_another_content(message: BaseMessage) -> BaseMessage:
    added: Any = " again" if isinstance(message.content, str) else ["again"]
    return message.model_copy(update={"content": message.content + added}, deep=True)


def _arguments(_effort: Effort) -> Iterator[Program]:
    unsorted = (*reversed(numbered(4)), HumanMessage(content="m1", id="id"), *_deep_messages())
    yield program(opened(A), Add(1, numbered(1)), Add(1, unsorted), Add(1, numbered(3)), Read(1))
    yield program(opened(A), Add(1, ()), Add(1, numbered(2), container="tuple"), Read(1))
    for bad in (None, HumanMessage(content="m9", additional_kwargs={"value": b"bytes"})):
        yield program(opened(A), Add(1, numbered(1)), Add(1, (*_deep_messages(), bad)), Read(1))
    for call in ("add_message", "add_user_message"):
        yield program(opened(A), Add(1, (_deep_messages()[0],), call=call), Read(1))
    yield program(opened(A), Add(1, (AIMessage(content="m1"),), call="add_ai_message"), Read(1))
    # With something in every field, since some stores take just one entry of one of them out.
    for cls in MESSAGE_CLASSES:
        fields = optional_fields(cls)
        full = [build(cls, **{name: values[n % len(values)] for name, values in fields.items()}) for n in range(2)]
        yield program(opened(A), Add(1, (build(cls), *full)), Add(1, (*full, build(cls))), Read(1))
    known = {
        "parsed": {"a": 1},
        "refusal": "m1",
        "function_call": {"name": "f", "arguments": "{}"},
        "lc": 1,
        "id": "m1",
    }
    yield program(opened(A), Add(1, (AIMessage(content="m1", additional_kwargs=known),)), Read(1))


def the_same(failing: Program) -> Iterator[Program]:
    """The same program, with nobody looking at the arguments: a call that raises is no matter of those."""
    yield failing


_CALLS: tuple[Call, ...] = (
    *calls_through(1),
    *calls_through(2),
    lambda batch: Assign(1, batch),
    lambda batch: Assign(2, batch),
)


def _assigned(effort: Effort) -> Iterator[Program]:
    for old, new in ((3, 2), (2, 3), (2, 0), (0, 2), (2, 2), (40, 130)):
        fresh = Assign(1, numbered(new, first=101))
        yield program(opened(A), Add(1, numbered(old)), fresh, Read(1), fresh_read(2))
    yield program(
        opened(A), Add(1, numbered(2)), Assign(1, numbered(1, first=3)), Add(1, numbered(1, first=4)), Read(1)
    )
    yield program(opened(A, A), Add(1, numbered(2)), Read(2), Assign(2, numbered(1, first=3)), Read(1), Read(2))
    yield program(opened(A, B), Add(1, numbered(2)), Add(2, numbered(2, first=3)), Assign(1, ()), Read(2), Read(1))
    known = (HumanMessage(content="m1", id="id-1"), AIMessage(content="m2", id="id-2"))
    anew = (AIMessage(content="m3", id="id-2"), HumanMessage(content="m4", id="id-1"))
    yield program(opened(A), Add(1, known), Assign(1, anew), Read(1), fresh_read(2))
    # Where only the middle changes, or the first or the last, and when somebody has looked before.
    for middle in ("m0", "m2", "m3"):
        changed = tuple(HumanMessage(content="m9") if one.content == middle else one for one in numbered(4, first=0))
        looks = [Read(1), Read(2)]
        yield program(opened(A, A), Add(1, numbered(4, first=0)), looks, Assign(1, changed), looks, fresh_read(3))
    # What is equal to what is there, to Python's mind.
    for pair in itertools.permutations((1, 1.0, True), 2):
        before, after = (HumanMessage(content="m1", additional_kwargs={"value": value}) for value in pair)
        yield program(opened(A), Add(1, (before,)), Assign(1, (after,)), Read(1), fresh_read(2))
    # Those who had added before, by another handle.
    for new in (0, 2):
        fresh, reads = Assign(2, numbered(new, first=101)), [Read(1), Read(2)]
        adds = [Add(1, numbered(1, first=3)), Add(2, numbered(1, first=4))]
        yield program(opened(A, A), Add(1, numbered(2)), reads, fresh, adds, reads, fresh_read(3))
    for new in (0, 1, 2, 3):
        fresh, later = Assign(1, numbered(new, first=101)), Add(1, numbered(1, first=3))
        yield program(opened(A), Add(1, numbered(2)), fresh, later, Read(1), fresh_read(2))
        yield program(opened(A), Add(1, numbered(2)), Clear(1), fresh, Read(1), fresh_read(2))
        yield program(opened(A), Add(1, numbered(2)), fresh, Clear(1), Add(1, numbered(1, first=3)), Read(1))
        yield program(opened(A), Add(1, numbered(2)), fresh, fresh, Read(1), Assign(1, numbered(2)), Read(1))
    yield program(opened(A), Add(1, numbered(2)), Assign(1, numbered(1_101)), Read(1), fresh_read(2))
    if effort != "quick":
        yield program(opened(A), Assign(1, numbered(4_201)), Read(1))
    # What is long may be kept in parts, in other places, of which one is left.
    long = [HumanMessage(content=f"m{number} {filled(2_000)}") for number in range(40)]
    for fresh in (Assign(1, numbered(2)), Assign(2, (long[0], long[-1]))):
        reads = [Read(1), Read(2)]
        yield program(opened(A, A), singly(1, long), Read(1), fresh, reads, Add(1, numbered(1, first=50)), reads)
    # After any number of adds: every so many of them may be put somewhere else.
    for count in EVERY_COUNT:
        yield program(opened(A), singly(1, numbered(count)), Assign(1, numbered(1, first=101)), Read(1), fresh_read(2))
    for count in (1, 2, 8, 20, 101):
        looks = [Read(1), Read(2)]
        for more in (0, 1):
            fresh = Assign(2, numbered(count + more, first=200))
            yield program(opened(A, A), Add(1, numbered(count)), looks, fresh, looks, fresh_read(3))
    yield from every_sequence(_CALLS, effort)


def _doubled(_effort: Effort) -> Iterator[Program]:
    for count in (1, 2, 3, 60):
        yield program(opened(A), Add(1, numbered(count)), AddBack(1), Read(1), fresh_read(2))
    yield program(opened(A), AddBack(1), Read(1))
    yield program(opened(A), Add(1, numbered(2)), AddBack(1), AddBack(1), Read(1))


def without_adding_back(failing: Program) -> Iterator[Program]:
    """The same program without adding what was read, and with equal messages added in its place."""
    yield Program(tuple(step for step in failing.steps if not isinstance(step, AddBack)))
    steps: list[Step] = []
    added: tuple[BaseMessage, ...] = ()
    for step in failing.steps:
        adding = Add(step.handle, added) if isinstance(step, AddBack) else step
        added += adding.messages if isinstance(adding, Add) else ()
        steps.append(adding)
    yield Program(tuple(steps))


def without_assignments(failing: Program) -> Iterator[Program]:
    """The same program without its assignments, and with adds in their place."""
    yield Program(tuple(step for step in failing.steps if not isinstance(step, Assign)))
    yield Program(
        tuple(Add(step.handle, step.messages) if isinstance(step, Assign) else step for step in failing.steps)
    )


def _looked_at_later(_effort: Effort) -> Iterator[Program]:
    yield program(Trial("late looks"))


def _read_at_once(_effort: Effort) -> Iterator[Program]:
    yield program(Trial("reads at once"))


_AT_ONCE = Check(
    clause="SNP-1",
    name="lists read at once are their readers' own",
    cases=_read_at_once,
    needs=needs_threads,
    baseline=False,
)

_SYNC = (
    Check(
        clause="SNP-1",
        name="read returns a list of the caller's own",
        lens=Lens(results=True),
        cases=_edited_lists,
        controls=without_edits,
    ),
    Check(clause="SNP-1", name="read returns what is there when it is read", cases=_looked_at_later, baseline=False),
    Check(
        clause="SNP-2",
        name="read returns messages of the caller's own",
        lens=Lens(view="full"),
        cases=_edited_results,
        controls=without_edits,
    ),
    Check(
        clause="SNP-3",
        name="what is stored is not what was handed in",
        lens=Lens(view="full"),
        cases=_edited_arguments,
        controls=without_edits,
    ),
    Check(
        clause="SNP-3",
        name="what is stored is not what was assigned",
        lens=Lens(view="full"),
        cases=_edited_assignments,
        controls=without_edits,
    ),
    Check(
        clause="SNP-4",
        name="add leaves its argument as it was",
        lens=Lens(view="readable", arguments=True),
        cases=_arguments,
        controls=the_same,
        control_lens=Lens(view="readable"),
    ),
    Check(
        clause="SNP-5",
        name="assignment replaces or raises",
        lens=Lens(view="full"),
        cases=_assigned,
        controls=without_assignments,
    ),
    Check(clause="SNP-6", name="adding what was read doubles", cases=_doubled, controls=without_adding_back),
)

# Assignment has no async form.
CHECKS = (
    *_SYNC,
    _AT_ONCE,
    *(async_twin(check) for check in _SYNC if "assign" not in check.name),
    by_tasks(_AT_ONCE),
)

assert set(get_args(EditKind)) == {*_LIST_EDITS, *_MESSAGE_EDITS}  # noqa: S101 -- a new kind needs a case here
