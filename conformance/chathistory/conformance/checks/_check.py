"""What a check is: the programs that look for violations of one clause, and how their outcomes are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeAlias

from hypothesis.strategies import SearchStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance._interpreter import Execution, Observation, copy_of
from chathistory.conformance._judge import run_and_judge
from chathistory.conformance._lens import Lens
from chathistory.conformance._outcome import Outcome
from chathistory.conformance._program import Add, Assign, Mode, Open, Program, Read, Step, Trial, in_mode
from chathistory.conformance._report import Effort

RunProgram: TypeAlias = Callable[[Backend, Program, Lens, float, bool], Outcome]
Probe: TypeAlias = Callable[[Backend, float], tuple[Program, Outcome]]


def run_plainly(backend: Backend, program: Program, lens: Lens, timeout: float, baseline: bool) -> Outcome:
    """Run a program and judge it against the reference."""
    return run_and_judge(backend, program, lens, timeout=timeout, baseline=baseline)


def _no_programs(_effort: Effort) -> Iterable[Program]:
    return ()


def _no_seeded_programs(_effort: Effort, _seed: int) -> Iterable[Program]:
    return ()


def _no_fitted_programs(_backend: Backend) -> Iterable[Program]:
    return ()


def _no_controls(_program: Program) -> Iterable[Program]:
    return ()


def _suspects_everyone(_backend: Backend, _timeout: float) -> bool:
    return True


def _needs_nothing(_backend: Backend) -> str:
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A search for violations of one clause.

    Attributes:
        clause: the clause's id.
        name: the promise, as a phrase.
        lens: what of an outcome is judged.
        cases: the programs that every run holds; what must occur for certain stands here.
        seeded: more programs for certain, chosen by the run's seed.
        fitted: more programs for certain, made to what the backend declares.
        draws: where further programs come from.
        controls: programs that must *not* fail for a failure to be this clause's: the same without what the
            clause is about. A failure that its control shares is left to the clause it belongs to.
        control_lens: what of the controls is judged, if it is not the same.
        needs: why a backend can't be checked for this clause, or "".
        modes: the modes its programs need: a check of "async" ones is left out for backends without.
        baseline: whether what sessions hold at first may be their beginning; False where it must be nothing.
        mixes_modes: whether its programs say of each call in which mode it is, whatever modes it needs.
        by_twins: whether it runs its programs by sync calls, too, to compare; they say what the async ones are.
        in_resolution: whether the times of its programs are in units of the backend's ttl_resolution.
        at_first_use: whether it judges the first use of the store in this run, and runs no programs but controls.
        run: how a program is run and judged.
        probe: measures the backend in a way of its own, in place of running programs.
        suspects: whether the probe is worth its time at a glance, by a shorter measurement.
        at_first: how many of its short cases are tried before anything else by a run that stops at the first violation:
            more where others would be blamed for what it has not seen, none where they take long.
        at_a_glance: how many are tried before it looks at anything closely: fewer where they take long.
    """

    clause: str
    name: str
    lens: Lens = field(default_factory=Lens)
    cases: Callable[[Effort], Iterable[Program]] = _no_programs
    seeded: Callable[[Effort, int], Iterable[Program]] = _no_seeded_programs
    fitted: Callable[[Backend], Iterable[Program]] = _no_fitted_programs
    draws: SearchStrategy[Program] | None = None
    controls: Callable[[Program], Iterable[Program]] = _no_controls
    control_lens: Lens | None = None
    needs: Callable[[Backend], str] = _needs_nothing
    modes: frozenset[Mode] = frozenset({"sync"})
    baseline: bool = True
    mixes_modes: bool = False
    by_twins: bool = False
    in_resolution: bool = False
    at_first_use: bool = False
    run: RunProgram = run_plainly
    probe: Probe | None = None
    suspects: Callable[[Backend, float], bool] = _suspects_everyone
    at_first: int = 6
    at_a_glance: int = 200


def async_twin(check: Check) -> Check:
    """The same check by async calls."""

    def cases(effort: Effort) -> Iterator[Program]:
        for case in check.cases(effort):
            yield in_mode(case, "async")

    return replace(check, name=f"{check.name} (async)", cases=cases, draws=None, modes=frozenset({"async"}))


A, B, C = "{run}-a", "{run}-b", "{run}-c"
"""Templates of three ordinary sessions."""

LATER_LOOPS = Program((Trial("tasks in later loops", "async"),))
"""What shows, by tasks at once in several event loops, what is no more than a matter of loops (ASY-6)."""


def numbered(count: int, first: int = 1) -> tuple[BaseMessage, ...]:
    """So many plain messages with the contents m1, m2, …: humans' are even, the AI's odd."""
    return tuple(map(_numbered, range(first, first + count)))


@cache
def _numbered(number: int) -> BaseMessage:
    """One of them, made once: a backend is only ever given copies."""
    return (AIMessage if number % 2 else HumanMessage)(content=f"m{number}")


def varied(count: int) -> tuple[BaseMessage, ...]:
    """Messages m1, m2, … of all kinds, which no field but their place puts in order."""
    batch: list[BaseMessage] = []
    for number in range(1, count + 1):
        content, identity = f"m{number}", (None, f"id-{{run}}-{97 * number % 89}")[number % 2]
        match number % 6:
            case 0:
                batch.append(SystemMessage(content=content, id=identity))
            case 1:
                call = {"name": "f", "args": {}, "id": f"call-{number}", "type": "tool_call"}
                batch.append(AIMessage(content=content, id=identity, tool_calls=[call]))
            case 2:
                batch.append(
                    HumanMessage(content=content, name=f"n{89 - number}", response_metadata={"at": 89 - number})
                )
            case 3:
                batch.append(ToolMessage(content=content, tool_call_id=f"call-{number - 2}", id=identity))
            case 4:
                batch.append(HumanMessage(content=content, additional_kwargs={"timestamp": 1_000 - number}))
            case _:
                batch.append(AIMessage(content=content, id=f"run-{{run}}-{89 - number}"))
    return tuple(batch)


def singly(handle: int, messages: Iterable[BaseMessage], mode: Mode = "sync") -> list[Step]:
    """Each message by an add of its own."""
    return [Add(handle, (message,), mode=mode) for message in messages]


def opened(*sessions: str) -> list[Step]:
    """Handles 1, 2, … on these sessions."""
    return [Open(number, session) for number, session in enumerate(sessions, start=1)]


EVERY_COUNT = (13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 48)
"""Of these numbers one is a multiple of each number up to 24: after so many adds, each of any so many has been made."""


def fresh_read(handle: int, session: str = A, mode: Mode = "sync") -> list[Step]:
    """A read through a handle opened for it."""
    return [Open(handle, session), Read(handle, mode)]


def observations_of(backend: Backend, program: Program, timeout: float) -> list[Observation]:
    """What a program observes when nothing is judged: each read as it was when it returned."""
    execution = Execution(backend, program, timeout=timeout)
    return [replace(observation, value=_copied(observation.value)) for observation in execution.run()]


def _copied(value: Any) -> Any:
    """The value as it is now; what was read in place of a list does not become one."""
    copied = copy_of(value)
    return tuple(copied) if isinstance(copied, list) and not isinstance(value, list) else copied


def with_plain_messages(failing: Program) -> Iterator[Program]:
    """The same program with plain messages, of which those are equal that have equal contents.

    What still fails then is no matter of values: it is left to order, sessions and the rest.
    """
    contents: list[object] = []
    yield Program(
        tuple(
            replace(step, messages=tuple(_plain(message, contents) for message in step.messages), text=False)
            if isinstance(step, Add)
            else replace(step, messages=tuple(_plain(message, contents) for message in step.messages))
            if isinstance(step, Assign)
            else step
            for step in failing.steps
        )
    )


def _plain(message: object, contents: list[object]) -> BaseMessage:
    content = message.content if isinstance(message, BaseMessage) else repr(message)
    if content not in contents:
        contents.append(content)
    number = contents.index(content) + 1
    return (AIMessage if number % 2 else HumanMessage)(content=f"m{number}", id=getattr(message, "id", None))
