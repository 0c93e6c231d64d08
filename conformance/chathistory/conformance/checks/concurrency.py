"""CON, ATM-2, ATM-3, ASY-4, ASY-5, ISO-1: what several workers do to one session, or to several, at once."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from langchain_core.messages import HumanMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance._concurrent import Aspect
from chathistory.conformance._lens import Lens
from chathistory.conformance._program import (
    Add,
    AddCall,
    Clear,
    Mode,
    Open,
    Program,
    Read,
    Step,
    Together,
    Trial,
    program,
)
from chathistory.conformance._report import Effort
from chathistory.conformance._together import CANCEL, CLEAR, LARGE, REFUSE, REOPEN, SINGLE, WATCH
from chathistory.conformance.checks._check import LATER_LOOPS, A, Check, async_twin, numbered
from chathistory.conformance.checks.durability import needs_processes

Worker = tuple[int | str, ...]
How = Literal["threads", "tasks", "processes"]

_ATTEMPTS: Mapping[Effort, int] = {"quick": 2, "full": 4, "thorough": 60}
_ONCE: Mapping[Effort, int] = {"quick": 1, "full": 2, "thorough": 60}
_ATTEMPTS_OF_PROCESSES: Mapping[Effort, int] = {"quick": 1, "full": 2, "thorough": 30}

_SEEDED: Mapping[Effort, int] = {"quick": 1, "full": 3, "thorough": 60}

_LARGEST_OF_MANY = 101
_ATTEMPTS_OF_A_CONTROL = 6

_ADDING: Worker = (1,) * 12
_READING: Worker = ("read",) * 12
_BOTH: Worker = (1, "read") * 6
_REOPENING: Worker = (1, REOPEN, "read", REOPEN) * 6
_BATCHES: Worker = (3, 2, 5, 2, 4, 3)


def _programs(
    how: How,
    sets: Iterable[tuple[Worker, ...]],
    *,
    opens: bool = False,
    shares: bool = True,
    attempts: Mapping[Effort, int],
) -> Callable[[Effort], Iterator[Program]]:
    """Each set of workers through one handle and through several, as often as the effort allows."""

    def cases(effort: Effort) -> Iterator[Program]:
        for _ in range((_ATTEMPTS_OF_PROCESSES if how == "processes" else attempts)[effort]):
            for workers in sets:
                for shared in (False,) if opens or not shares or how == "processes" else (True, False):
                    yield program(
                        Together(
                            A,
                            workers,
                            how=how,
                            shared=shared,
                            opens=opens,
                            partition="{run}_t" if opens and how != "processes" else None,
                        )
                    )

    return cases


def _seeded_programs(name: str, how: How, calls: Worker) -> Callable[[Effort, int], Iterator[Program]]:
    """Workers who make calls of these kinds, as the seed chooses them."""

    def programs(effort: Effort, seed: int) -> Iterator[Program]:
        chance = random.Random(f"{seed} {name} {how}")  # noqa: S311 -- no secret
        for _ in range(_SEEDED[effort]):
            workers = tuple(
                tuple(chance.choice(calls) for _ in range(chance.randint(3, 14))) for _ in range(chance.randint(2, 5))
            )
            yield program(Together(A, workers, how=how, shared=how != "processes" and chance.random() < 0.5))

    return programs


def one_after_another(failing: Program) -> Iterator[Program]:
    """The same calls with nobody else at work: in turn, each kind of them, each size of a batch, and as many messages.

    In turn, since what is lost may be that of a certain call at a certain length; as it is to be done by the workers
    together, each makes its next call when all others have, and worker after worker.
    """
    for step in failing.steps:
        if isinstance(step, Together):
            mode: Mode = "async" if step.is_async else "sync"
            rounds = [call for calls in itertools.zip_longest(*step.workers) for call in calls if call is not None]
            for calls in (rounds, [call for worker in step.workers for call in worker]):
                yield program(Open(1, A), list(_in_turn(calls, mode)), Read(1, mode))
            single = Add(1, numbered(1, first=4), call="add_message") if mode == "sync" else Read(1, mode)
            kinds = [Add(1, numbered(3), mode=mode), single, Read(1, mode), Clear(1, mode)]
            yield program(Open(1, A), kinds, Read(1, mode))
            sizes = [call for worker in step.workers for call in worker if isinstance(call, int)]
            for size in dict.fromkeys((*sizes, sum(sizes))):
                if size > 1:
                    yield program(Open(1, A), Add(1, numbered(size), mode=mode), Read(1, mode))


def _in_turn(calls: Iterable[int | str], mode: Mode) -> Iterator[Step]:
    """The adds and clears among the calls of workers, through one handle; what they leave is read at the end."""
    count = 0
    for call in calls:
        if isinstance(call, int):
            yield Add(1, numbered(call, first=count + 1), mode=mode)
            count += call
        elif call == SINGLE:
            method: AddCall = "add_message" if mode == "sync" else "add_messages"
            yield Add(1, numbered(1, first=count + 1), call=method, mode=mode)
            count += 1
        elif call == CLEAR:
            yield Clear(1, mode)


def one_after_another_or_alone(failing: Program) -> Iterator[Program]:
    """The same calls with nobody else at work, and some of them by a worker who is alone.

    What fails so is no matter of several: what another process does not see is DUR-1's business, what is lost when a
    process is killed is DUR-2's, and what goes with its handle is ISO-3's.
    """
    yield from one_after_another(failing)
    for step in failing.steps:
        if isinstance(step, Together):
            yield program(replace(step, workers=((1, "read", 2, "read", 1),)))


def batch_after_batch(failing: Program) -> Iterator[Program]:
    """The same with nobody else at work, and each batch read when it is there: pages are no matter of several."""
    yield from one_after_another(failing)
    for step in failing.steps:
        if isinstance(step, Together):
            calls = [call for worker in step.workers for call in worker]
            batches = [call for call in calls if isinstance(call, int) or call.startswith(LARGE)]
            yield program(replace(step, workers=(tuple(call for batch in batches for call in (batch, "read")),)))


def without_cancels(failing: Program) -> Iterator[Program]:
    """The same work with nothing cancelled, and as many messages one after another, each read when it is there.

    Which lengths the session has had while others were cancelled nobody knows: what is lost at one of them is ORD-7's.
    """
    for step in failing.steps:
        if isinstance(step, Together):
            workers = tuple(tuple(_uncancelled(call) for call in worker) for worker in step.workers)
            yield program(replace(step, workers=workers))
            mode: Mode = "async" if step.is_async else "sync"
            adds = (Add(1, (message,), mode=mode) for message in numbered(_messages_of(workers)))
            yield program(Open(1, A), [step for add in adds for step in (add, Read(1, mode))])


def refused_alone(failing: Program) -> Iterator[Program]:
    """The same work without what may be refused, and that alone: what becomes of it is ERR-2's business."""
    for step in failing.steps:
        if isinstance(step, Together):
            mode: Mode = "async" if step.is_async else "sync"
            good = tuple(tuple(call for call in worker if not _may_be_refused(call)) for worker in step.workers)
            if any(good):
                again = program(replace(step, workers=tuple(filter(None, good))))
                yield from [again] * _ATTEMPTS_OF_A_CONTROL
            refused = HumanMessage(content="m9", additional_kwargs={"value": math.nan})
            adds = [
                step
                for first in (1, 4, 7)
                for step in (
                    Add(1, numbered(1, first=first), mode=mode),
                    Add(1, (*numbered(1, first=first + 10), refused), mode=mode),
                )
            ]
            yield program(Open(1, A), adds, Add(1, numbered(2, first=20), mode=mode), Read(1, mode))


def _in_any_loop(controls: Callable[[Program], Iterable[Program]]) -> Callable[[Program], Iterable[Program]]:
    """These controls, and tasks in several loops: each program has a loop of its own, and its errors are ASY-6's."""

    def and_in_later_loops(failing: Program) -> Iterator[Program]:
        yield from controls(failing)
        yield LATER_LOOPS

    return and_in_later_loops


def _may_be_refused(call: int | str) -> bool:
    return isinstance(call, str) and call.startswith(REFUSE)


def _messages_of(workers: Iterable[Worker]) -> int:
    """How many messages workers add by batches, and a task before them if each has a handle of its own."""
    return 1 + sum(call for worker in workers for call in worker if isinstance(call, int))


def _uncancelled(call: int | str) -> int | str:
    if not (isinstance(call, str) and call.startswith(CANCEL)):
        return call
    word = call.removeprefix(CANCEL)
    return int(word) if word.isdigit() else word


def _check(
    clause: str,
    name: str,
    aspect: Aspect,
    how: How,
    sets: tuple[tuple[Worker, ...], ...],
    *,
    opens: bool = False,
    shares: bool = True,
    controls: Callable[[Program], Iterable[Program]] | None = None,
    attempts: Mapping[Effort, int] = _ATTEMPTS,
) -> Check:
    controls = controls or (one_after_another_or_alone if how == "processes" or opens else one_after_another)
    calls = tuple(dict.fromkeys(call for workers in sets for worker in workers for call in worker if _is_small(call)))
    return Check(
        clause=clause,
        name=f"{name} ({how})",
        lens=Lens(aspect=aspect),
        cases=_programs(how, sets, opens=opens, shares=shares, attempts=attempts),
        seeded=_no_more if opens or not shares or not calls else _seeded_programs(clause, how, calls),
        controls=_in_any_loop(controls) if how == "tasks" else controls,
        needs={"threads": needs_threads, "processes": _needs_processes, "tasks": _needs_nothing}[how],
        modes=frozenset({"async" if how == "tasks" else "sync"}),
        baseline=False,
    )


def _is_small(call: int | str) -> bool:
    """Whether there may be many of its kind in one program."""
    return call <= _LARGEST_OF_MANY if isinstance(call, int) else not call.startswith((LARGE, WATCH))


def _no_more(_effort: Effort, _seed: int) -> Iterable[Program]:
    return ()


def needs_threads(backend: Backend) -> str:
    """Why its histories can't be used by several threads at once, or ""."""
    return "" if "threads" in set(backend.claims) else "it does not claim threads"


def _needs_processes(backend: Backend) -> str:
    return needs_processes(backend) if "processes" in set(backend.claims) else "it does not claim processes"


def _needs_processes_without_durability(backend: Backend) -> str:
    return "DUR-1 looks at it" if "durable" in set(backend.claims) else _needs_processes(backend)


def _needs_to_be_without_threads(backend: Backend) -> str:
    return "CON-4 looks at it" if "threads" in set(backend.claims) else ""


def _needs_nothing(_backend: Backend) -> str:
    return ""


_ADDERS = ((_ADDING,) * 4, (_ADDING, _ADDING))
# More at once than a pool of any ordinary size has places.
_CROWD = (((2, 1, "read"),) * 20,)
_SINGLE_ADDERS = ((SINGLE,) * 12,) * 3
_ADDERS_AND_READERS = ((_BOTH, _BOTH, _ADDING), (_ADDING, _READING))
# Past the items that stores take at once: 10, 25 and 100.
_LARGE_BATCHES: Worker = (11, 30, 101, 26)
_BATCH_ADDERS = ((_BATCHES, _BATCHES, _BATCHES, (1,) * 12), (_LARGE_BATCHES, _LARGE_BATCHES, (1,) * 12))
_BATCHES_AND_READERS = (
    (_BATCHES * 2, _READING * 3),
    (_BATCHES, _BATCHES, _READING * 2),
    (_LARGE_BATCHES, _READING * 2),
)
_LARGER_BATCHES_AND_READERS = (
    ((130, 520), _READING * 2),
    ((1_300, 1_300), (WATCH,)),
    ((f"{LARGE}8",), _READING * 2),
    ((f"{LARGE}1",) * 12, (WATCH,), (WATCH,)),
)
_PROCESSES = ((_BOTH * 2, _BOTH * 2, _ADDING * 2),)
_CLEARERS = (
    ((1, 1, "clear", 1, 1, "read"), (1, "read", 1, 1, "read", 1)),
    ((1, "clear", 1, "read"), (1, 1, "clear", 1), (1, "read", "read", 1)),
    (((1,) * 6 + ("read", "clear")) * 4 + (1,) * 6, ("read",) * 24),
    (_REOPENING, _REOPENING, (REOPEN, 3) * 6),
)
# So that a watcher begins to read when all has been added, and has not done when it is cleared.
_AFTER_A_WHILE: Worker = ("read", "read", "clear")
# Longer than a page of any size, so that what reads or clears by pages is seen between two of them.
_LONG_HISTORIES = (
    ((100,) * 12 + _AFTER_A_WHILE + ((100,) * 5 + _AFTER_A_WHILE) * 3, (WATCH,), (WATCH,)),
    ((100,) * 8 + (1, "read") * 8, (WATCH,), ("read", 1) * 4),
)
# Where adds wait for one another, the clear comes while the other's next add is at work.
_BUSY_CLEARERS = ((1, 1, "read") * 10, (1, "clear") * 10)
_CANCELLERS = (
    ((1, "cancel 3", 1, "cancel 2", "cancel 5", 1), (2, "read", 1, 2, "read", 1), ("cancel 1", 1, "read", 1, "read")),
    (("cancel read",) * 9, ("read", "read", 1) * 3, (1, "read", "cancel read", "read")),
)
_REFUSERS = (
    (_ADDING, _ADDING, ("refuse 2", "refuse 1", 1) * 4),
    (_BOTH, ("refuse 3", "read") * 6, ("refuse 1", 2) * 5),
)
_ROUNDS: Mapping[Effort, int] = {"quick": 1, "full": 4, "thorough": 60}


def _several_sessions(clause: str, name: str, trial: str) -> Check:
    """A check of what becomes of sessions that are used at once, by threads."""

    def cases(effort: Effort) -> Iterator[Program]:
        yield program(Trial(trial, rounds=_ROUNDS[effort]))

    return Check(clause=clause, name=name, cases=cases, needs=needs_threads, baseline=False)


def _both_forms(effort: Effort) -> Iterator[Program]:
    yield program(Trial("both forms at once", rounds=_ROUNDS[effort]))


def one_form_at_a_time(_failing: Program) -> Iterator[Program]:
    """Adds of both forms, one after another, and those of tasks alone, which are ASY-5's business."""
    modes: tuple[Mode, ...] = ("sync", "async")
    adds = [Add(number % 2 + 1, numbered(1, first=number), mode=modes[number // 2 % 2]) for number in range(1, 13)]
    yield program(Open(1, A), Open(2, A), adds, Read(1), Open(3, A), Read(3))
    for shared in (True, False):
        yield program(Together(A, (_ADDING,) * 2, how="tasks", shared=shared))


def by_tasks(check: Check) -> Check:
    """The same by tasks, which any history that claims async is used by."""
    return replace(async_twin(check), needs=_needs_nothing)


_APART = _several_sessions("ISO-1", "sessions used at once are kept apart", "sessions at once")
_KEPT = _several_sessions("CON-1", "no acknowledged message is lost beside other sessions", "losses beside sessions")

_ONE_PROCESS: tuple[How, ...] = ("threads", "tasks")
_OPENERS = (((1, "read"),) * 8,)

CHECKS = (
    _check("ATM-2", "nothing stands inside a batch", "torn", "threads", _BATCH_ADDERS),
    _check("ATM-2", "nothing stands inside a batch", "torn", "tasks", _BATCH_ADDERS),
    _check(
        "ATM-3", "nobody reads a part of a batch", "torn", "threads", _BATCHES_AND_READERS, controls=batch_after_batch
    ),
    _check(
        "ATM-3", "nobody reads a part of a batch", "torn", "tasks", _BATCHES_AND_READERS, controls=batch_after_batch
    ),
    *(
        _check(
            "ATM-3",
            "nobody reads a part of a large batch",
            "torn",
            how,
            _LARGER_BATCHES_AND_READERS,
            controls=batch_after_batch,
            attempts=_ONCE,
        )
        for how in _ONE_PROCESS
    ),
    _check(
        "ASY-4",
        "calls beside cancelled ones are left alone",
        "cancelled",
        "tasks",
        _CANCELLERS,
        controls=without_cancels,
    ),
    *(
        _check("ATM-1", "a refused add undoes nothing", "lost", how, _REFUSERS, controls=refused_alone)
        for how in _ONE_PROCESS
    ),
    *(
        _check("ERR-3", "adds beside refused ones return", "errors", how, _REFUSERS, controls=refused_alone)
        for how in _ONE_PROCESS
    ),
    _check("ASY-5", "concurrent tasks may share a handle", "works", "tasks", (*_ADDERS_AND_READERS, *_CROWD)),
    # CON-4 is for those who claim threads; what they see by tasks is its business, too.
    replace(
        _check(
            "ASY-5",
            "what concurrent tasks see is linearizable",
            "linearizable",
            "tasks",
            (*_CLEARERS, *_ADDERS_AND_READERS),
            attempts=_ONCE,
        ),
        needs=_needs_to_be_without_threads,
    ),
    _check("CON-1", "no acknowledged message is lost", "lost", "threads", (*_ADDERS, _SINGLE_ADDERS, *_CROWD)),
    _check("CON-2", "each writer's messages keep their order", "order", "threads", _ADDERS_AND_READERS),
    _check("CON-3", "a later read extends an earlier one", "prefix", "threads", _ADDERS_AND_READERS),
    _check("CON-4", "adds, reads and clears are linearizable", "linearizable", "threads", (*_CLEARERS, _BUSY_CLEARERS)),
    _check("CON-4", "adds, reads and clears are linearizable", "linearizable", "tasks", _CLEARERS, attempts=_ONCE),
    *(
        _check(
            "CON-4",
            "long histories are linearizable",
            "linearizable",
            how,
            _LONG_HISTORIES,
            shares=False,
            attempts=_ONCE,
        )
        for how in _ONE_PROCESS
    ),
    _check("CON-5", "first use is safe", "works", "threads", _OPENERS, opens=True),
    Check(
        clause="CON-5",
        name="the first use of the store is safe",
        lens=Lens(aspect="works"),
        controls=one_after_another_or_alone,
        needs=needs_threads,
        baseline=False,
        at_first_use=True,
    ),
    _APART,
    by_tasks(_APART),
    _KEPT,
    # Who is not durable is not asked by DUR-1 whether others see it.
    replace(
        _check(
            "CON-1",
            "a message that another process has added is there",
            "lost",
            "processes",
            (((1, 2, 1),), ((1, 2, 1), (1, 2, 1))),
            controls=one_after_another,
        ),
        needs=_needs_processes_without_durability,
    ),
    Check(
        clause="CON-1",
        name="no acknowledged message is lost between sync and async calls",
        lens=Lens(aspect="lost"),
        cases=_both_forms,
        controls=one_form_at_a_time,
        needs=needs_threads,
        modes=frozenset({"sync", "async"}),
        mixes_modes=True,
        baseline=False,
    ),
    _check("CON-1", "no acknowledged message is lost", "lost", "processes", _ADDERS),
    _check("CON-2", "each writer's messages keep their order", "order", "processes", _PROCESSES),
    _check("CON-3", "a later read extends an earlier one", "prefix", "processes", _PROCESSES),
    _check("CON-4", "adds, reads and clears are linearizable", "linearizable", "processes", _CLEARERS[:-1]),
)
