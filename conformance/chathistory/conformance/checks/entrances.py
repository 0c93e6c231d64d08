"""The same values, ids and refusals by every other way in and out: assignment, single adds, async calls.

What a store makes of a message or an id may depend on the call that brings it. The checks of VAL and ISO-2 go by
`add_messages` and `messages`; here a sample of what they try goes by the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.conformance._lens import Lens
from chathistory.conformance._payloads import UNSTORABLE
from chathistory.conformance._program import Add, AddCall, Assign, Clear, Mode, Program, Read, Step, in_mode, program
from chathistory.conformance._report import Effort
from chathistory.conformance._session_ids import COLLIDING_SESSIONS
from chathistory.conformance.checks._check import A, Check, fresh_read, numbered, opened
from chathistory.conformance.checks.fidelity import in_kwargs, sample_of_texts, sample_of_values, with_plain_or_refused
from chathistory.conformance.checks.sessions import OTHERS, with_plain_ids_and_each_alone
from chathistory.conformance.checks.snapshots import without_assignments

_BOTH: frozenset[Mode] = frozenset({"sync", "async"})
_BATCH = 30
_SINGLES: tuple[AddCall, ...] = ("add_message", "add_user_message", "add_ai_message")


def _batches() -> Iterator[tuple[BaseMessage, ...]]:
    """What must be kept, a few dozen messages at a time."""
    for sample in (sample_of_values(), sample_of_texts()):
        for first in range(0, len(sample), _BATCH):
            yield sample[first : first + _BATCH]


def _assigned(_effort: Effort) -> Iterator[Program]:
    for batch in _batches():
        yield program(opened(A), Add(1, numbered(1)), Assign(1, batch), Read(1), fresh_read(2))
    yield from _assigned_by_id()
    for container in ("tuple", "generator"):
        assigned = Assign(1, numbered(3, first=3), container=container)
        yield program(opened(A), Add(1, numbered(2)), assigned, Read(1), fresh_read(2))


def _assigned_by_id() -> Iterator[Program]:
    """What was read, changed and assigned: messages stand where they stood, and keep the ids that they had."""
    known = tuple(HumanMessage(content=f"m{number}", id=f"id-{number}-{{run}}", name="Ann") for number in (1, 2, 3))
    first, second, third = known
    for anew in (
        (first.model_copy(update={"content": "m4"}), second, third),
        (first, second.model_copy(update={"name": "Bob"}), third),
        (first, AIMessage(content="m2", id=second.id), third),
        (first, second, third.model_copy(update={"additional_kwargs": {"key": "value"}})),
        (second, first, third),
        (first, third),
        (second, third),
        (first, first, third),
        (first, second, second, third),
        (first, second, third, first),
    ):
        fresh = Assign(1, anew)
        yield program(opened(A), Add(1, known), fresh, Read(1), fresh_read(2))
        yield program(opened(A, A), Add(2, known), Read(1), Read(2), fresh, Read(1), Read(2))
    yield program(opened(A), Assign(1, (first, first)), Read(1), fresh_read(2))


def _refused(_effort: Effort) -> Iterator[Program]:
    for value in UNSTORABLE:
        message = in_kwargs(value.value)
        # On a session that holds nothing: what a refusal does to the rest is ATM-1's.
        for write in (Assign(1, (message,)), Add(1, (message,), call="add_message")):
            yield program(opened(A), write, Read(1), fresh_read(2))


def _texts_by_single_adds(_effort: Effort) -> Iterator[Program]:
    texts = sample_of_texts()
    for call in _SINGLES:
        cls = AIMessage if call == "add_ai_message" else HumanMessage
        mine = [message for message in texts if call == "add_message" or type(message) is cls]
        yield program(opened(A), [Add(1, (message,), call=call) for message in mine], Read(1), fresh_read(2))
        if call != "add_message":
            words = [Add(1, (cls(content=message.content),), call=call, text=True) for message in mine]
            yield program(opened(A), words, Read(1), fresh_read(2))


def _values_by_single_adds(_effort: Effort) -> Iterator[Program]:
    adds = [Add(1, (message,), call="add_message") for message in sample_of_values()]
    for first in range(0, len(adds), 2 * _BATCH):
        yield program(opened(A), adds[first : first + 2 * _BATCH], Read(1), fresh_read(2))


def _async_values(_effort: Effort) -> Iterator[Program]:
    for batch in _batches():
        yield program(opened(A), Add(1, batch, mode="async"), Read(1, "async"), Read(1), fresh_read(2, mode="async"))
    for value in UNSTORABLE:
        refused = Add(1, (in_kwargs(value.value),), mode="async")
        yield program(opened(A), Add(1, numbered(1), mode="async"), refused, Read(1, "async"), Read(1))


def _every_call_on(ids: Sequence[str], modes: Sequence[Mode]) -> Program:
    """Each session gets messages of its own by each of the calls, and the first of them is cleared."""
    handles = range(1, len(ids) + 1)
    reads: list[Step] = [Read(handle, mode) for mode in modes for handle in handles]
    adds: list[Step] = [Add(handle, _named(handle), mode=modes[0]) for handle in handles]
    return program(opened(*ids), adds, reads, Clear(1, modes[0]), reads)


def _async_ids(_effort: Effort) -> Iterator[Program]:
    for collision in COLLIDING_SESSIONS:
        yield _every_call_on(collision.ids, ("async", "sync"))


def _assigned_ids(_effort: Effort) -> Iterator[Program]:
    for collision in COLLIDING_SESSIONS:
        handles = range(1, len(collision.ids) + 1)
        reads = [Read(handle) for handle in handles]
        singles = [Add(handle, _named(handle), call="add_message") for handle in handles]
        assigned = [Assign(handle, _named(100 + handle)) for handle in handles]
        yield program(opened(*collision.ids), singles, reads, assigned, reads)


def _named(number: int) -> tuple[BaseMessage, ...]:
    return (HumanMessage(content=f"m{number}"),)


def by_sync_calls(failing: Program) -> Iterator[Program]:
    """The same program by sync calls."""
    yield in_mode(failing, "sync")


def by_batches_or_with_plain_messages(failing: Program) -> Iterator[Program]:
    """The same messages by `add_messages`; and plain ones by single adds, of which those that lose any are ORD-6's."""
    yield Program(tuple(_by(step, "add_messages") for step in failing.steps))
    yield from with_plain_or_refused(Program(tuple(_by(step, "add_message") for step in failing.steps)))


def _by(step: Step, call: AddCall) -> Step:
    return replace(step, call=call, text=False) if isinstance(step, Add) else step


_FULL = Lens(view="full")

CHECKS = (
    Check(
        clause="ISO-2",
        name="session ids are compared exactly by assignments and single adds",
        lens=OTHERS,
        cases=_assigned_ids,
        controls=with_plain_ids_and_each_alone,
    ),
    Check(
        clause="VAL-4",
        name="single adds keep every value with its type",
        lens=_FULL,
        cases=_values_by_single_adds,
        controls=by_batches_or_with_plain_messages,
    ),
    Check(
        clause="VAL-5",
        name="single adds keep every text as it was",
        lens=_FULL,
        cases=_texts_by_single_adds,
        controls=by_batches_or_with_plain_messages,
    ),
    Check(
        clause="VAL-6",
        name="assignments and single adds refuse what they can't keep",
        lens=_FULL,
        cases=_refused,
        controls=with_plain_or_refused,
        control_lens=Lens(),
    ),
    Check(
        clause="SNP-5",
        name="assignment keeps every value",
        lens=_FULL,
        cases=_assigned,
        controls=without_assignments,
    ),
    Check(
        clause="ASY-1",
        name="async calls keep every value that sync calls keep",
        lens=_FULL,
        cases=_async_values,
        controls=by_sync_calls,
        modes=_BOTH,
    ),
    Check(
        clause="ASY-1",
        name="async calls tell apart the session ids that sync calls tell apart",
        lens=OTHERS,
        cases=_async_ids,
        controls=by_sync_calls,
        modes=_BOTH,
    ),
)
