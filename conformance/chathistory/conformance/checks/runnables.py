"""RUN: over the history, RunnableWithMessageHistory stores and shows what it does over the reference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from langchain_core.messages import AIMessage, HumanMessage

from chathistory.conformance._lens import Lens
from chathistory.conformance._program import Add, Mode, Open, Program, Read, Step, Turn, program
from chathistory.conformance._report import Effort
from chathistory.conformance._runnables import CALLS, SHAPES, session_of_turn
from chathistory.conformance.checks._check import A, B, Check, varied

_USERS = "{run}-ann", "{run}-bob"


def _calls(mode: Mode) -> tuple[str, ...]:
    return tuple(call for call in CALLS if call.startswith("a") == (mode == "async"))


def _turn(shape: str, call: str, text: str, *, session: str = A, user: int = 0, fails: bool = False) -> Turn:
    user_id = _USERS[user] if shape == "user and conversation" else ""
    return Turn(session, shape, call, text, user=user_id, fails=fails)


def _read(handle: int, turn: Turn, mode: Mode) -> list[Open | Read]:
    return [Open(handle, session_of_turn(turn.session, turn.user)), Read(handle, mode)]


def _one_turn(mode: Mode) -> Callable[[Effort], Iterator[Program]]:
    def cases(_effort: Effort) -> Iterator[Program]:
        for shape in SHAPES:
            for call in _calls(mode):
                turn = _turn(shape, call, "m1")
                yield program(turn, _read(1, turn, mode))

    return cases


def _next_turns(mode: Mode) -> Callable[[Effort], Iterator[Program]]:
    def cases(_effort: Effort) -> Iterator[Program]:
        for shape in SHAPES:
            for call in _calls(mode):
                first = _turn(shape, call, "m1")
                second = _turn(shape, call, "m2")
                other = _turn(shape, call, "m3", session=B)
                yield program(
                    first,
                    other,
                    second,
                    _turn(shape, call, "m4"),
                    _read(1, first, mode),
                    _read(2, other, mode),
                )
        # After a talk of some length, in which everybody has spoken.
        for shape, call in itertools.zip_longest(SHAPES, _calls(mode), fillvalue=_calls(mode)[0]):
            turn = _turn(shape, call, "m90")
            before: list[Step] = [Open(1, session_of_turn(turn.session, turn.user)), Add(1, varied(24), mode=mode)]
            yield program(before, turn, _turn(shape, call, "m91"), _read(2, turn, mode))
        for call in _calls(mode):
            shape = "user and conversation"
            ann, bob = _turn(shape, call, "m1"), _turn(shape, call, "m2", user=1)
            again = _turn(shape, call, "m3")
            yield program(ann, bob, again, _read(1, ann, mode), _read(2, bob, mode))

    return cases


def _failing_turns(mode: Mode) -> Callable[[Effort], Iterator[Program]]:
    def cases(_effort: Effort) -> Iterator[Program]:
        for shape in SHAPES:
            for call in _calls(mode):
                good, bad = _turn(shape, call, "m1"), _turn(shape, call, "m2", fails=True)
                yield program(good, bad, _read(1, good, mode))
                yield program(bad, _read(1, bad, mode))

    return cases


def with_adds_for_turns(failing: Program) -> Iterator[Program]:
    """Reads and batches of two in place of the turns, through handles of their own."""
    steps: list[Step] = []
    for number, step in enumerate(failing.steps):
        if isinstance(step, Turn):
            mode: Mode = "async" if step.call.startswith("a") else "sync"
            handle = 100 + number
            said = (HumanMessage(content=step.text), AIMessage(content=f"{step.text} too", id="answer"))
            steps += [Open(handle, session_of_turn(step.session, step.user)), Read(handle, mode)]
            steps += [] if step.fails else [Add(handle, said, mode=mode)]
        else:
            steps.append(step)
    yield Program(tuple(steps))


CHECKS = tuple(
    Check(
        clause=clause,
        name=f"{name} ({mode})",
        lens=lens,
        cases=cases(mode),
        modes=frozenset({mode}),
        controls=with_adds_for_turns,
        at_first=3,
        at_a_glance=12,  # a turn takes as long as dozens of calls
    )
    for clause, name, lens, cases in (
        ("RUN-1", "a turn stores its input and its output", Lens(view="full"), _one_turn),
        ("RUN-2", "the next turn is shown the turns before", Lens(), _next_turns),
        ("RUN-3", "a turn that fails stores nothing", Lens(), _failing_turns),
    )
    for mode in ("sync", "async")
)
