"""ASY: the async forms do what the sync forms do, leave the loop free, and survive cancellation and new loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from langchain_core.messages import AIMessage, HumanMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance._corpus import build, optional_fields
from chathistory.conformance._event_loop_probe import Stall, measure
from chathistory.conformance._judge import run_and_judge
from chathistory.conformance._lens import Lens
from chathistory.conformance._outcome import Divergence, Outcome
from chathistory.conformance._program import (
    Add,
    AddBack,
    Cancel,
    Clear,
    Mode,
    NewLoop,
    Open,
    Program,
    Read,
    Step,
    Together,
    Trial,
    in_mode,
    program,
)
from chathistory.conformance._report import Effort
from chathistory.conformance._script import Expectation
from chathistory.conformance._watchdog import OperationHungError
from chathistory.conformance.checks._check import (
    LATER_LOOPS,
    A,
    B,
    Check,
    fresh_read,
    numbered,
    observations_of,
    opened,
    singly,
)
from chathistory.conformance.checks._sequences import calls_through, every_sequence
from chathistory.conformance.strategies import programs
from chathistory.conformance.trials._one_coroutine import MIXED
from chathistory.reference import MESSAGE_CLASSES

_BOTH: frozenset[Mode] = frozenset({"sync", "async"})
_ALL = frozenset({"add", "read", "clear"})


def run_as_twin(backend: Backend, given: Program, lens: Lens, timeout: float, _baseline: bool) -> Outcome:
    """Run a program by sync calls, then by async ones, and expect of these what those did."""
    twin = observations_of(backend, in_mode(given, "sync"), timeout)
    if any(observation.outcome == "hung" for observation in twin):
        return Outcome(None, 0, len(twin))
    return run_and_judge(backend, in_mode(given, "async"), lens, timeout=timeout, parity_with=twin)


def _twins(_effort: Effort) -> Iterator[Program]:
    for given in _sync_twins():
        yield in_mode(given, "async")


def _sync_twins() -> Iterator[Program]:
    yield program(opened(A), Read(1), Add(1, numbered(1)), Read(1), fresh_read(2))
    yield program(opened(A), Add(1, numbered(5)), Read(1), Add(1, numbered(3, first=6)), Read(1), fresh_read(2))
    yield program(opened(A), singly(1, numbered(12)), Read(1))
    yield program(opened(A), Add(1, ()), Read(1), Add(1, numbered(2)), Add(1, ()), Read(1))
    yield program(
        opened(A),
        Add(1, numbered(3)),
        Clear(1),
        Read(1),
        Add(1, numbered(2, first=4)),
        Read(1),
        Clear(1),
        Clear(1),
        Read(1),
    )
    yield program(opened(A, A), Add(1, numbered(2)), Read(2), Clear(2), Read(1), Add(1, numbered(1, first=3)), Read(2))
    yield program(opened(A, B), Add(1, numbered(2)), Add(2, numbered(2, first=3)), Clear(1), Read(1), Read(2))
    for container in ("tuple", "deque", "generator"):
        yield program(opened(A), Add(1, numbered(3), container=container), Read(1))
    same = HumanMessage(content="m1", id="id-1")
    yield program(opened(A), Add(1, (same, same, AIMessage(content="m2", id="id-1"))), Add(1, (same,)), Read(1))
    yield program(opened(A), Add(1, numbered(2)), AddBack(1), Read(1))
    everything = [
        build(cls, **{name: values[0] for name, values in optional_fields(cls).items()}) for cls in MESSAGE_CLASSES
    ]
    yield program(opened(A), Add(1, tuple(everything)), Read(1), fresh_read(2))
    yield program(opened(A), singly(1, everything), Read(1))
    yield program(opened(A), Add(1, numbered(2_101)), Read(1), Clear(1), Read(1))
    yield program(opened(A), [Add(1, numbered(60, first=60 * n)) for n in range(5)], Read(1))


def _mixed(effort: Effort) -> Iterator[Program]:
    for write, read in (("sync", "async"), ("async", "sync")):
        first = Add(1, numbered(2), mode=write)  # type: ignore[arg-type]
        second = Add(2, numbered(2, first=3), mode=read)  # type: ignore[arg-type]
        yield program(opened(A), Read(1, read), first, Read(1, read), fresh_read(3, mode=read))  # type: ignore[arg-type]
        reads = [Read(1, "sync"), Read(1, "async"), Read(2, "sync"), Read(2, "async")]
        yield program(opened(A, A), first, reads, second, reads)
        clear = Clear(1, write)  # type: ignore[arg-type]
        again = Add(2, numbered(1, first=5), mode=write)  # type: ignore[arg-type]
        yield program(opened(A, A), first, reads, clear, reads, second, reads, again, reads)
    alternating: list[Step] = []
    for number in range(1, 21):
        mode: Mode = "async" if number % 2 else "sync"
        alternating.append(Add(1, numbered(1, first=number), mode=mode))
    yield program(opened(A), alternating, Read(1, "sync"), Read(1, "async"))
    for handle in (1, 2):
        yield from every_sequence((*calls_through(1), *calls_through(handle, "async")), effort)


def in_one_mode(failing: Program) -> Iterator[Program]:
    """The same program by sync calls only, and by async calls only."""
    yield in_mode(failing, "sync")
    yield in_mode(failing, "async")


def _sync_calls_in_a_loop(_effort: Effort) -> Iterator[Program]:
    yield program(Trial("sync calls in a loop"))


def _both_forms_in_a_coroutine(_effort: Effort) -> Iterator[Program]:
    yield program(Trial("both forms in a coroutine"))


def in_one_form(_failing: Program) -> Iterator[Program]:
    """The same calls as plain programs, by one form of them; and async ones in one coroutine."""
    modes: tuple[Mode, ...] = ("sync", "async")
    for mode in modes:
        yield program(opened(A, A), [_in_steps(call, handle, contents, mode) for _, call, handle, contents in MIXED])
    yield from _awaits_in_a_row("quick")


def _in_steps(call: str, handle: int, contents: tuple[str, ...], mode: Mode) -> Step:
    if call == "add":
        return Add(handle, tuple(HumanMessage(content=content) for content in contents), mode=mode)
    return Read(handle, mode) if call == "read" else Clear(handle, mode)


def _awaits_in_a_row(_effort: Effort) -> Iterator[Program]:
    yield program(Trial("awaits in a row", "async"))


def in_steps(failing: Program) -> Iterator[Program]:
    """The calls of these trials as a plain program: sync ones with no loop, async ones with turns of it in between."""
    for mode in dict.fromkeys(step.mode for step in failing.steps if isinstance(step, Trial)):
        reads = [Read(1, mode), Read(2, mode)]
        adds = [Add(handle, _humans(*numbers), mode=mode) for handle, numbers in ((1, (1,)), (1, (2, 3)), (2, (4,)))]
        added: list[Step] = [adds[0], *reads, adds[1], *reads, Clear(1, mode), *reads, adds[2], *reads]
        yield program(opened(A, A), added, Add(1, _humans(5), mode=mode), reads, fresh_read(3, mode=mode))


def _humans(*numbers: int) -> tuple[HumanMessage, ...]:
    return tuple(HumanMessage(content=f"m{number}") for number in numbers)


def probe_event_loop(backend: Backend, timeout: float) -> tuple[Program, Outcome]:
    """Whether any async call holds up the event loop.

    Calls that raise are no measurement, nor is one that does not return: that is for other clauses to judge.
    """
    try:
        stalls = measure(backend, timeout=timeout)
    except OperationHungError:
        return _EACH_CALL, Outcome(None, 0, 1, remarks=frozenset({"a call did not return while it was measured"}))
    blocking = next((stall for stall in stalls if stall.is_blocking), None)
    shown, index = _shown(blocking) if blocking else (_EACH_CALL, 0)
    divergence = _blocking(index, blocking) if blocking else None
    returned = sum(not stall.raised for stall in stalls)
    return shown, Outcome(divergence, returned, 3 * len(stalls))


def seems_to_block(backend: Backend, timeout: float) -> bool:
    """Whether a measurement of half the length blames a call, so that `probe_event_loop` is worth its time."""
    try:
        return any(stall.is_blocking for stall in measure(backend, timeout=timeout, at_a_glance=True))
    except OperationHungError:
        return False


_EACH_CALL = program(opened(A), Add(1, numbered(1), mode="async"), Read(1, "async"), Clear(1, "async"))
_STEP_OF = {"aadd_messages": 1, "aget_messages": 2, "aclear": 3}


def _shown(stall: Stall) -> tuple[Program, int]:
    """A program that makes the call, and the index of the call in it."""
    step = _EACH_CALL.steps[_STEP_OF[stall.call.partition("(")[0]]]
    if not stall.held:
        return _EACH_CALL, _EACH_CALL.steps.index(step)
    # A message that was there before a batch was that of the warm-up.
    held = [Add(1, numbered(stall.held), mode="async")] if stall.held > 1 else []
    if isinstance(step, Add):
        step = replace(step, messages=numbered(stall.added, first=stall.held + 1 if held else 1))
    shown = program(opened(A), held, step)
    return shown, len(shown.steps) - 1


def _blocking(index: int, stall: Stall) -> Divergence:
    return Divergence(
        index,
        "the event loop turns while the call waits for the store",
        f"it stood still for {stall.waited * 1000:.0f} ms of the {stall.took * 1000:.0f} ms that {stall.call} took",
        f"{stall.call} waits in the thread of the event loop; all other tasks of the process wait with it.",
        Expectation(kind="free-loop"),
    )


def _cancelled(effort: Effort) -> Iterator[Program]:
    turns = (0, 1, 2, 3, 5, 8) if effort == "quick" else (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 21, 30)
    for turn in turns:
        for count in (1, 2, 5, 40):
            after: list[Step] = [
                Read(1, "async"),
                Add(1, numbered(2, first=101), mode="async"),
                Read(1, "async"),
            ]
            before = Add(1, numbered(1), mode="async")
            cancel = Cancel(1, numbered(count, first=11), turn)
            yield program(opened(A), before, cancel, after, fresh_read(2, mode="async"))
        beside = Cancel(1, numbered(3, first=11), turn, beside=numbered(2, first=51))
        yield program(
            opened(A),
            beside,
            Read(1, "async"),
            Add(1, numbered(1), mode="async"),
            fresh_read(2, mode="async"),
        )
        yield _cancelled_clear(3, Cancel(1, (), turn))
        reads: list[Step] = [Cancel(1, (), turn, reads=True), Read(1, "async")]
        yield program(opened(A), before, reads, Add(1, numbered(1, first=2), mode="async"), Read(1, "async"))
    yield from _cancelled_often()
    # So long that a call which waits for its store several times has come past some of those waits.
    for seconds in _MOMENTS[effort]:
        yield _cancelled_clear(12, Cancel(1, (), 0, seconds=seconds))
        yield program(
            opened(A),
            Add(1, numbered(1), mode="async"),
            Cancel(1, numbered(12, first=11), 0, seconds=seconds),
            Read(1, "async"),
            fresh_read(2, mode="async"),
        )


def _cancelled_often() -> Iterator[Program]:
    """More cancelled calls of one kind than a store may have connections, or places for them."""
    opens, add, turns = opened(A, B), Add(1, numbered(1), mode="async"), [1, 2, 1, 3, 1, 5] * 8
    ends: list[Step] = [Read(1, "async"), Read(2, "async"), *fresh_read(3, mode="async")]
    yield program(opens, add, [Cancel(1, (), turn, reads=True) for turn in turns], ends)
    yield program(opens, add, [Cancel(2, (), turn, seconds=0.0002, reads=True) for turn in turns], ends)
    # Each on a session of its own: of several on one nobody could say which of them are still to take effect.
    others: list[Step] = [Open(10 + number, f"{A}-{number}") for number, _ in enumerate(turns)]
    for messages in (numbered(2, first=11), ()):
        cancels = [Cancel(10 + number, messages, turn) for number, turn in enumerate(turns)]
        yield program(opens, add, others, cancels, ends)


_MOMENTS: Mapping[Effort, tuple[float, ...]] = {
    "quick": (0.0003, 0.001, 0.003),
    "full": (0.0001, 0.0003, 0.0006, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01),
    "thorough": tuple(0.0003 * 1.1**step for step in range(40)),
}


def _cancelled_clear(count: int, clear: Cancel) -> Program:
    return program(
        opened(A),
        Add(1, numbered(count), mode="async"),
        clear,
        Read(1, "async"),
        Add(1, numbered(1, first=count + 1), mode="async"),
        Read(1, "async"),
    )


def without_cancels(failing: Program) -> Iterator[Program]:
    """The same program without its cancelled calls, with whole calls in their place, and the same calls at once."""
    for step in failing.steps:
        if isinstance(step, Cancel) and step.beside:
            whole = len(step.messages) or "clear"
            yield program(Together(A, ((len(step.beside),), (whole,)), how="tasks", shared=True, attempts=2))
    yield Program(tuple(step for step in failing.steps if not isinstance(step, Cancel)))
    yield program(*(_uncancelled(step) if isinstance(step, Cancel) else step for step in failing.steps))


def _uncancelled(step: Cancel) -> list[Step]:
    call: Step = Read(step.handle, "async") if step.reads else Clear(step.handle, "async")
    whole = Add(step.handle, step.messages, mode="async") if step.messages else call
    return [Add(step.handle, step.beside, mode="async"), whole] if step.beside else [whole]


def _several_loops(_effort: Effort) -> Iterator[Program]:
    first, second = Add(1, numbered(2), mode="async"), Add(1, numbered(2, first=3), mode="async")
    third = Add(1, numbered(1, first=5), mode="async")
    yield program(opened(A), first, NewLoop(), Read(1, "async"))
    yield program(opened(A), first, Read(1, "async"), NewLoop(), second, Read(1, "async"), fresh_read(2, mode="async"))
    yield program(
        opened(A),
        first,
        NewLoop(),
        second,
        NewLoop(),
        third,
        Read(1, "async"),
        NewLoop(),
        fresh_read(2, mode="async"),
    )
    yield program(opened(A), Read(1, "async"), NewLoop(), first, Clear(1, "async"), NewLoop(), second, Read(1, "async"))
    # A later loop may stand where an earlier one stood.
    many = [(Add(1, numbered(1, first=number), mode="async"), NewLoop()) for number in range(1, 7)]
    yield program(opened(A), *many, Read(1, "async"))
    yield program(
        opened(A, A),
        first,
        NewLoop(),
        Add(2, numbered(1, first=3), mode="async"),
        Read(1, "async"),
        Read(2, "async"),
    )


def _tasks_in_later_loops(_effort: Effort) -> Iterator[Program]:
    yield LATER_LOOPS


def in_one_loop(failing: Program) -> Iterable[Program]:
    """The same program in a single event loop."""
    yield Program(tuple(step for step in failing.steps if not isinstance(step, NewLoop)))


CHECKS = (
    Check(
        clause="ASY-1",
        name="async calls have the effects of their sync forms",
        lens=Lens(view="full"),
        cases=_twins,
        draws=programs(sessions=2, handles=3, steps=10, operations=_ALL, modes=("async",)),
        run=run_as_twin,
        by_twins=True,
        modes=_BOTH,
    ),
    Check(
        clause="ASY-1",
        name="async calls have taken effect when they have been awaited",
        cases=_awaits_in_a_row,
        controls=in_steps,
        modes=frozenset({"async"}),
        baseline=False,
    ),
    Check(
        clause="ASY-2",
        name="sync and async calls see each other at once",
        cases=_mixed,
        draws=programs(sessions=1, handles=3, steps=14, operations=_ALL, modes=("sync", "async")),
        controls=in_one_mode,
        modes=_BOTH,
    ),
    Check(
        clause="ASY-2",
        name="sync calls see each other in a running event loop, or raise",
        cases=_sync_calls_in_a_loop,
        controls=in_steps,
        modes=_BOTH,
        baseline=False,
    ),
    Check(
        clause="ASY-2",
        name="sync and async calls in one coroutine see each other, or raise",
        cases=_both_forms_in_a_coroutine,
        controls=in_one_form,
        modes=_BOTH,
        baseline=False,
    ),
    Check(
        clause="ASY-3",
        name="async calls leave the event loop free",
        probe=probe_event_loop,
        suspects=seems_to_block,
        modes=frozenset({"async"}),
    ),
    Check(
        clause="ASY-4",
        name="a cancelled call took effect wholly or not at all",
        lens=Lens(recovery=True),
        cases=_cancelled,
        controls=without_cancels,
        control_lens=Lens(recovery=True, aspect="cancelled"),
        modes=frozenset({"async"}),
    ),
    Check(
        clause="ASY-6",
        name="a handle works in a later event loop, or says that it does not",
        lens=Lens(loop_errors=True, recovery=True),
        cases=_several_loops,
        controls=in_one_loop,
        modes=frozenset({"async"}),
    ),
    Check(
        clause="ASY-6",
        name="several tasks may use a handle in a later event loop, if one may",
        cases=_tasks_in_later_loops,
        modes=frozenset({"async"}),
        baseline=False,
    ),
)
