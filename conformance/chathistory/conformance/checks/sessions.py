"""ISO: sessions don't touch each other, whatever they are called and whatever goes wrong in one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance._lens import Lens
from chathistory.conformance._payloads import UNSTORABLE
from chathistory.conformance._program import (
    FAILING,
    Add,
    Assign,
    Cancel,
    Clear,
    Forget,
    Open,
    Program,
    Read,
    Step,
    program,
)
from chathistory.conformance._report import Effort
from chathistory.conformance._session_ids import COLLIDING_SESSIONS, HOSTILE_SESSIONS, padded
from chathistory.conformance.checks._check import A, B, C, Check, async_twin, fresh_read, numbered, opened
from chathistory.conformance.strategies import programs

OTHERS = Lens(foreign_only=True, stable=True)


def rich(label: str) -> tuple[BaseMessage, ...]:
    """Messages with something in most fields, so that a change to any of them shows."""
    number = 1_000 * sum(map(ord, label))
    return (
        HumanMessage(
            content=f"m{number} asks", id=f"{{run}}-{label}", name="someone", additional_kwargs={"a": {"b": [1]}}
        ),
        AIMessage(
            content=f"m{number + 1} calls",
            tool_calls=[{"name": "look", "args": {"at": label}, "id": "call"}],
            response_metadata={"model": "m"},
        ),
        ToolMessage(content=f"m{number + 2} found", tool_call_id="call", artifact={"rows": [1, 2]}),
    )


_MANY: Mapping[Effort, int] = {"quick": 300, "full": 1_100, "thorough": 5_000}
"""More sessions than some stores keep, or can tell apart by a short hash."""


def _many_sessions(effort: Effort) -> Program:
    """One session while very many others are used, through few handles at a time: a store may have few connections."""
    others: list[Step] = []
    reads: list[Step] = []
    for number in range(_MANY[effort]):
        others += [Open(2, f"{{run}}-n{number}"), Add(2, (HumanMessage(content=f"m{number}"),))]
        reads += [Open(2, f"{{run}}-n{number}"), Read(2)]
    return program(opened(A), Add(1, rich("a")), Read(1), others, Read(1), fresh_read(3), reads)


def _handles_come_and_go() -> Program:
    """Handles on two sessions, each gone before the next is opened: it may stand where that one stood."""
    turns: list[Step] = []
    for _ in range(6):
        turns += [Open(1, A), Read(1), Open(1, B), Read(1)]
    return program(Open(1, A), Add(1, numbered(1)), Open(1, B), Add(1, numbered(1, first=2)), turns)


def _same_message_ids(_effort: Effort) -> Iterator[Program]:
    """Messages of two sessions that have an id in common, as those have that a caller copies, or numbers anew.

    A store may keep messages under their ids; then one session shows, changes or takes away what is another's.
    """
    identity = "id-{run}"
    ours, theirs = HumanMessage(content="m1", id=identity), AIMessage(content="m2", id=identity)
    alike = HumanMessage(content="m3", id=identity)
    sessions, reads = opened(A, B), [Read(1), Read(2)]
    for other in (theirs, alike, ours):
        yield program(sessions, Add(1, (ours,)), Read(1), Add(2, (other,)), reads, Clear(2), reads)
    yield program(sessions, Add(1, (ours,)), Read(1), Assign(2, (alike,)), reads, Assign(2, ()), reads)
    yield program(sessions, Add(2, (theirs,)), Add(1, (ours,)), reads, Clear(2), reads, Add(2, (alike,)), reads)


def _several_sessions(effort: Effort) -> Iterator[Program]:
    reads = [Read(1), Read(2), Read(3)]
    yield program(opened(A, B, C), Add(1, rich("a")), Read(1), Add(2, rich("b")), reads, Add(3, rich("c")), reads)
    yield program(
        opened(A, B, C),
        Add(1, rich("a")),
        Add(2, rich("b")),
        reads,
        Add(1, numbered(2)),
        reads,
        Add(2, ()),
        reads,
    )
    yield program(opened(A), Add(1, rich("a")), Read(1), Open(2, B), Read(2), Add(2, ()), Read(2), Read(1))
    yield program(
        opened(A, B),
        Add(1, numbered(3)),
        Read(1),
        Assign(2, numbered(2, first=4)),
        Read(1),
        Add(2, numbered(120, first=4)),
        Read(1),
        Read(2),
    )
    yield _handles_come_and_go()
    yield _many_sessions(effort)


def _colliding(ids: Iterable[str], *, clears_all: bool) -> Program:
    """Every session gets messages of its own, in turn and back; then all, or the first and the last, are cleared."""
    names = list(ids)
    handles = range(1, len(names) + 1)
    reads = [Read(handle) for handle in handles]
    adds = [Add(handle, (HumanMessage(content=f"m{handle}"),)) for handle in handles]
    again: list[Step] = []
    for handle in reversed(handles):
        again += [Add(handle, (HumanMessage(content=f"m{handle + 100}"),)), Read(handle)]
    clears: list[Step] = []
    for handle in handles if clears_all else (handles[0], handles[-1]):
        clears += [Clear(handle), *reads]
    return program(opened(*names), adds, again, reads, clears)


def _collisions(effort: Effort) -> Iterator[Program]:
    for collision in COLLIDING_SESSIONS:
        yield _colliding(collision.ids, clears_all=effort != "quick")


def each_session_alone(failing: Program) -> Iterator[Program]:
    """The steps of each session without those of the others: what fails so is no matter of two sessions."""
    now: dict[int, tuple[str, str | None]] = {}
    steps_of: dict[tuple[str, str | None], list[Step]] = {}
    for step in failing.steps:
        if isinstance(step, Open):
            now[step.handle] = (step.session, step.partition)
        if (session := now.get(getattr(step, "handle", 0))) is not None:
            steps_of.setdefault(session, []).append(step)
    for steps in steps_of.values():
        yield Program(tuple(steps))


def with_plain_ids_and_each_alone(failing: Program) -> Iterator[Program]:
    """What remains is a matter of these ids and of two sessions."""
    yield from with_plain_ids(failing)
    yield from each_session_alone(failing)


def with_plain_ids_and_again(failing: Program) -> Iterator[Program]:
    """The same program with plain ids, and once more on the same sessions after a clear of each.

    Ids that are the same in every program have been used before; what comes of that is for CLR-3 to judge.
    """
    plain = next(with_plain_ids(failing))
    yield plain
    last = {step.session: step for step in plain.steps if isinstance(step, Open)}
    cleared: list[Step] = [Clear(step.handle) for step in last.values()]
    yield program(plain.steps, cleared, plain.steps)


def with_plain_ids(failing: Program) -> Iterator[Program]:
    """The same program with ids that nothing could confuse."""
    plain = {
        name: f"{{run}}-plain-{'abcdefghijklmnopqrstuvwxyz'[n % 26]}{n}" for n, name in enumerate(failing.sessions())
    }
    yield Program(
        tuple(replace(step, session=plain[step.session]) if isinstance(step, Open) else step for step in failing.steps)
    )


def _many_handles(_effort: Effort) -> Iterator[Program]:
    early = [Open(1, A), Open(2, A), Open(3, A)]
    yield program(early, Add(1, numbered(1)), Read(2), Add(3, numbered(2, first=2)), Read(1), Read(2), fresh_read(4))
    yield program(early, [Read(1), Read(2), Read(3)], Add(2, numbered(2)), [Read(1), Read(2), Read(3)])
    yield program(
        Open(1, A),
        Add(1, numbered(2)),
        Open(2, A),
        Add(2, numbered(1, first=3)),
        Read(1),
        Read(2),
        fresh_read(3),
    )
    yield program(
        early,
        Add(1, numbered(1)),
        Add(2, numbered(1, first=2)),
        Add(3, numbered(1, first=3)),
        Read(3),
        Read(1),
    )
    yield program(
        early,
        Add(1, numbered(2)),
        Read(2),
        Read(3),
        Clear(1),
        Read(2),
        Read(3),
        Add(3, numbered(1, first=3)),
        Read(1),
        Read(2),
    )
    yield _looking_now_and_then()


def _without_handles(_effort: Effort) -> Iterator[Program]:
    """Sessions that nobody has a handle on any more: what was done through one stays done when it is gone."""
    write, again = Add(1, numbered(2)), Add(1, numbered(1, first=3))
    yield program(Open(1, A), write, Forget(1), fresh_read(2))
    yield program(Open(1, A), write, Read(1), Forget(1), Open(1, A), again, Read(1), Forget(1), fresh_read(2))
    yield program(
        opened(A, A), write, Read(2), Forget(1), Read(2), Add(2, numbered(1, first=3)), Forget(2), fresh_read(3)
    )
    # What one has done must not come back, nor go, with another that goes later.
    change: Step
    for change in (Clear(2), Assign(2, numbered(2, first=5))):
        yield program(opened(A, A), write, Read(1), change, Forget(2), Read(1), Forget(1), fresh_read(3))
        yield program(opened(A, A), write, Read(1), change, Forget(1), Read(2), Forget(2), fresh_read(3))


def _keeping_handles(failing: Program) -> Iterator[Program]:
    """The same program with nothing let go of, and through a single handle."""
    kept = tuple(step for step in _in_new_handles(failing.steps) if not isinstance(step, Forget))
    yield Program(kept)
    yield from through_one_handle(Program(kept))


def _in_new_handles(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps with a number of its own for each handle that is opened."""
    number_of: dict[int, int] = {}
    for count, step in enumerate(steps, start=1):
        if isinstance(step, Open):
            number_of[step.handle] = count
        handle = number_of.get(getattr(step, "handle", 0))
        yield step if handle is None else replace(step, handle=handle)  # type: ignore[arg-type]


def _looking_now_and_then() -> Program:
    """A handle that reads after so many writes by another, since it may tell by some count whether there were any."""
    steps: list[Step] = [Read(1)]
    count = 0
    for writes in (2, 3, 4, 8, 16, 32, 100, 256):
        steps += [Add(2, numbered(1, first=number)) for number in range(count + 1, count + writes + 1)]
        steps.append(Read(1))
        count += writes
    return program(opened(A, A), steps)


def through_one_handle(failing: Program) -> Iterator[Program]:
    """The same program with a single handle for each session."""
    first: dict[str, int] = {}
    handle_of: dict[int, int] = {}
    steps: list[Step] = []
    for step in failing.steps:
        if isinstance(step, Open):
            handle_of[step.handle] = first.setdefault(step.session, step.handle)
            if handle_of[step.handle] == step.handle:
                steps.append(step)
        elif isinstance(step, Add | Read | Clear | Assign):
            steps.append(replace(step, handle=handle_of[step.handle]))
        else:
            steps.append(step)
    yield Program(tuple(steps))


def _unwritten(_effort: Effort) -> Iterator[Program]:
    yield program(opened(A), Read(1), Read(1), fresh_read(2))
    yield program(opened(A), Clear(1), Read(1), Clear(1), Read(1))
    yield program(opened(A), Read(1), Clear(1), Read(1), Add(1, numbered(1)), Read(1), fresh_read(2))
    yield program(
        opened(A, "{run}-ab", "{run}"),
        Read(2),
        Read(3),
        Clear(3),
        Add(1, numbered(1)),
        Read(2),
        Read(3),
        Read(1),
    )


def written_before(failing: Program) -> Iterator[Program]:
    """The same program over sessions that were written to at first."""
    before: list[Step] = []
    for number, session in enumerate(dict.fromkeys(failing.sessions()), start=900):
        before += [Open(number, session), Add(number, numbered(1, first=number))]
    yield program(before, failing.steps)


def _hostile(_effort: Effort) -> Iterator[Program]:
    for hostile in HOSTILE_SESSIONS:
        first: list[Step] = [Open(2, hostile.session), Read(2)]
        bystander: list[Step] = [Open(1, "{run}-bystander"), Add(1, rich("bystander")), Read(1), Read(2)]
        hostile_steps: list[Step] = [Add(2, numbered(2)), Read(2), Read(1)]
        again: list[Step] = [Open(3, hostile.session), Read(3), Add(3, numbered(1, first=3)), Read(2)]
        ending: list[Step] = [Clear(3), Read(2), Read(3), Read(1)]
        yield program(first, bystander, hostile_steps, again, ending, fresh_read(4, "{run}-bystander"))


_DEFAULTS = ("default", "None", "null", "0", "session", "session_id", "*", "_", "message_store")


def _empty_ids(_effort: Effort) -> Iterator[Program]:
    """What an empty id does, to sessions with names that a store may give to a session without one."""
    others: list[Step] = [Open(handle, name) for handle, name in enumerate(_DEFAULTS, start=10)]
    reads: list[Step] = [Read(step.handle) for step in others if isinstance(step, Open)]
    steps: list[Step] = [Open(1, ""), Read(1), Open(2, A), Add(2, rich("a")), Read(2)]
    yield program(others, steps, reads, Add(1, numbered(2)), Read(2), reads, Clear(1), Read(2), reads)


_PARTITIONS = (
    ("{run}_a", "{run}_b", "{run}"),
    ("{run}_a", "{run}_A"),
    ("{run}_ab", "{run}_Ab", "{run}_aB", "{run}_AB"),
    ("{run}_a", "{run}_ab", "{run}_"),
    ("{run}:", "{run}"),
    ("{run}%", "{run}_", "{run}*"),
    (padded(64, end="a"), padded(64, end="b"), padded(63)),
    # Beyond 63 bytes, and not beyond 63 characters.
    tuple(f"{{run}}{chr(233) * 24}{end}" for end in ("", "a", "b")),
)


def _partitions(_effort: Effort) -> Iterator[Program]:
    for names in _PARTITIONS:
        opens = [Open(number, "{run}-a", partition=name) for number, name in enumerate(names, start=1)]
        yield _in_partitions(opens)
    # What belongs to no partition stands in one by default.
    yield _in_partitions([Open(1, "{run}-a", partition="{run}_a"), Open(2, "{run}-a")])
    # A clear where there is nothing, of a session that there is elsewhere.
    elsewhere: list[Step] = [Open(1, "{run}-a", partition="{run}_a"), Open(2, "{run}-a", partition="{run}_b")]
    for nothing in (Clear(2), Assign(2, ())):
        yield program(elsewhere, Add(1, numbered(2)), Read(1), nothing, Read(1), nothing, Read(1), Read(2))
    shifted = [
        Open(1, "b{run}", partition="{run}a"),
        Open(2, "{run}", partition="{run}ab"),
        Open(3, ":b{run}", partition="{run}a"),
        Open(4, "b{run}", partition="{run}a:"),
    ]
    yield _in_partitions(shifted)
    # Whose name ends with the delimiter, and whose ends with what the delimiter is escaped by.
    for delimiter in ":|/":
        for escape in "\\%_" + delimiter:
            pair = [
                Open(1, "b{run}", partition=f"{{run}}{delimiter}"),
                Open(2, f"{delimiter}b{{run}}", partition=f"{{run}}{escape}"),
                Open(3, f"{delimiter}{delimiter}b{{run}}", partition="{run}"),
            ]
            yield _in_partitions(pair)


def _in_partitions(opens: list[Open]) -> Program:
    reads = [Read(step.handle) for step in opens]
    adds = [Add(step.handle, (HumanMessage(content=f"m{step.handle}"),)) for step in opens]
    return program(opens, adds, reads, Add(1, rich("first")), reads, Clear(1), reads)


def _in_sessions(failing: Program) -> Iterator[Program]:
    """The same with a session of its own for each partition: what comes of that is no matter of partitions."""
    steps = (
        Open(step.handle, f"{{run}}-{step.handle}") if isinstance(step, Open) and step.partition is not None else step
        for step in failing.steps
    )
    yield Program(tuple(steps))


def _needs_partitions(backend: Backend) -> str:
    return "" if backend.in_partition else "the backend offers no partitions (Backend.in_partition)"


def bad_adds(handle: int) -> list[Add]:
    """Adds of single items that a store refuses, each for another reason."""
    values = {value.name: value.value for value in UNSTORABLE}
    texts = ("a\x00b", "a\ud800b")
    return [
        Add(handle, (None,)),
        *(
            Add(handle, (HumanMessage(content="bad", additional_kwargs={"value": values[name]}),))
            for name in ("nan", "bytes", "set", "object", "datetime", "colliding keys 1")
        ),
        *(Add(handle, (HumanMessage(content=text),)) for text in texts),
        Add(handle, ("text",), call="add_message"),
    ]


def _refused_beside(_effort: Effort) -> Iterator[Program]:
    for bad in bad_adds(2):
        beside: list[Step] = [Add(1, numbered(1)), bad, Read(1), Add(1, numbered(1, first=2)), Read(1)]
        yield program(opened(A, B), Add(2, rich("b")), beside, fresh_read(3))
    for container in FAILING:
        broken = Add(2, numbered(1, first=50), container=container)
        yield program(
            opened(A, B), Add(1, numbered(1)), broken, Read(1), Add(1, numbered(1, first=2)), Read(1), fresh_read(3)
        )
    for bad in bad_adds(2):
        if bad.call == "add_messages":
            batch = replace(bad, messages=(*numbered(2, first=50), *bad.messages))
            yield program(
                opened(A, B), Add(1, numbered(1)), batch, Add(1, numbered(1, first=2)), Read(1), fresh_read(3)
            )
    # Each through a handle of its own: what becomes of a handle after an error is ERR-3's business.
    every_bad: list[Step] = []
    for handle in range(2, 2 + len(bad_adds(2))):
        every_bad += [Open(handle, B), bad_adds(handle)[handle - 2], Read(1)]
    yield program(opened(A), Add(1, numbered(1)), Read(1), every_bad, Add(1, numbered(1, first=2)), Read(1))


def _cancelled_beside(_effort: Effort) -> Iterator[Program]:
    for turns in (0, 1, 2, 3, 5, 8):
        cancels = [Cancel(2, numbered(count, first=10), turns) for count in (1, 3)]
        cancels += [Cancel(2, (), turns), Cancel(2, (), turns, reads=True)]
        for cancel in cancels:
            add, again = Add(1, numbered(1), mode="async"), Add(1, numbered(1, first=2), mode="async")
            yield program(
                opened(A, B),
                Add(2, numbered(1, first=30), mode="async"),  # a clear of nothing is CLR-2's
                add,
                cancel,
                Read(1, "async"),
                again,
                Read(1, "async"),
                fresh_read(3, mode="async"),
            )


_BAD_ENDS = tuple(bad.messages for bad in bad_adds(2))


def without_refusals(failing: Program) -> Iterator[Program]:
    """The same program without the adds that are refused or cancelled."""
    bad = [
        step
        for step in failing.steps
        if isinstance(step, Add) and (step.messages[-1:] in _BAD_ENDS or step.container in FAILING)
    ]
    yield Program(tuple(step for step in failing.steps if step not in bad and not isinstance(step, Cancel)))


_PARTITIONS_APART = Check(
    clause="ISO-6",
    name="partitions isolate as sessions do",
    lens=OTHERS,
    cases=_partitions,
    controls=_in_sessions,
    needs=_needs_partitions,
)

CHECKS = (
    Check(
        clause="ISO-1",
        name="operations leave other sessions as they are",
        lens=OTHERS,
        cases=_several_sessions,
        draws=programs(sessions=3, handles=4, steps=14, operations=frozenset({"add", "read"}), batch_sizes=(1, 2, 3)),
        controls=each_session_alone,
    ),
    Check(
        clause="ISO-1",
        name="sessions may hold messages with the same id",
        lens=Lens(view="full", stable=True),
        cases=_same_message_ids,
        controls=each_session_alone,
    ),
    Check(
        clause="ISO-2",
        name="session ids are compared exactly",
        lens=OTHERS,
        cases=_collisions,
        controls=with_plain_ids_and_each_alone,
    ),
    Check(
        clause="ISO-3",
        name="all handles on a session see one history",
        cases=_many_handles,
        draws=programs(sessions=1, handles=5, steps=14, operations=frozenset({"add", "read"}), batch_sizes=(1, 2, 3)),
        controls=through_one_handle,
    ),
    Check(
        clause="ISO-3",
        name="a session outlives the handles on it",
        cases=_without_handles,
        controls=_keeping_handles,
        at_first=10,
    ),
    Check(
        clause="ISO-4",
        name="unwritten sessions are empty and stay so",
        cases=_unwritten,
        controls=written_before,
        baseline=False,
    ),
    Check(
        clause="ISO-5",
        name="hostile ids work exactly or are refused",
        lens=Lens(stable=True),
        cases=_hostile,
        controls=with_plain_ids_and_again,
    ),
    Check(
        clause="ISO-5",
        name="an empty id stands for no other session",
        lens=OTHERS,
        cases=_empty_ids,
        controls=with_plain_ids_and_again,
    ),
    _PARTITIONS_APART,
    async_twin(_PARTITIONS_APART),
    Check(
        clause="ISO-7",
        name="a refused operation leaves other sessions alone",
        lens=Lens(stable=True, recovery=True),
        cases=_refused_beside,
        controls=without_refusals,
    ),
    Check(
        clause="ISO-7",
        name="a cancelled operation leaves other sessions alone",
        lens=Lens(stable=True, recovery=True),
        cases=_cancelled_beside,
        controls=without_refusals,
        modes=frozenset({"async"}),
    ),
)
