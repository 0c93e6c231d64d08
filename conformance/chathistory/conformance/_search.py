"""Looks for a violation by one check: programs known from earlier runs, those it holds for certain, drawn ones."""

from __future__ import annotations

import math
import random
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from langchain_core.messages import HumanMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance._errors import BackendError
from chathistory.conformance._experiment import SECONDS_TO_ANSWER, Experiment, is_hanging, runs_async
from chathistory.conformance._first_use import FIRST_PROGRAM
from chathistory.conformance._known import KnownPrograms
from chathistory.conformance._outcome import Divergence
from chathistory.conformance._program import Add, Assign, Cancel, Mode, Open, Program, Read, Step, Together, Trial, Wait
from chathistory.conformance._program import Clear as ClearStep
from chathistory.conformance._report import Configuration, Effort
from chathistory.conformance._script import Expectation
from chathistory.conformance._shrink import shrink
from chathistory.conformance._subject import Subject, pass_smoke_gate
from chathistory.conformance._tally import Tally
from chathistory.conformance._together import LARGE
from chathistory.conformance._trials import TRIALS
from chathistory.conformance.checks import Check, checks_of
from chathistory.conformance.checks._check import Probe

CLAUSE_OF_THE_DEAD = "ERR-3"
"""The clause of a backend that answers nobody any more after something has raised."""

RUNS_OF_A_WITNESS = 3
"""How often a program that depends on chance is tried again before it is taken to pass."""

# Stores whose every call goes over HTTP get fewer of them, or a run would take many minutes.
_SAMPLES: Mapping[Effort, tuple[int, int]] = {"quick": (3, 45), "full": (12, 400), "thorough": (10**9, 10**9)}
"""Of a check's cases, how many programs with how many calls in all are run on a store whose calls are costly."""
_HURRY_OF_SLOW_STORES = 20.0

_SECONDS_OF_WAITING: Mapping[Effort, float] = {"quick": 8.0, "full": 120.0, "thorough": math.inf}
"""How long the cases of a check may wait in all, where time passes by the clock on the wall alone."""
_SECONDS_OF_ONE_CASE = 15.0
"""How long a case may wait in a quick run where another check of the clause does the same more plainly."""
_IT_WAITS = "it waits by the clock on the wall: of the programs that every run holds"

Glance: TypeAlias = Literal["first", "second", "long"]
"""At a few short programs of each check, at the others, or at those with long histories."""

_OF_THE_CANCELLED = "ASY-4"
_FEW_CALLS, _FEW_MESSAGES = 100, 300
"""What a program may have that is tried at a first or a second glance."""
_MANY_CALLS, _MANY_MESSAGES = 110, 3_000
"""What it may have at a glance at long histories."""
_SECONDS_OF_A_GLANCE = 3.0
"""After which a check's glance is over: what waits for time-outs of its own is looked at closely later."""

_UNSEARCHED = "not made smaller, and it may need what went before: the backend answers nobody any more"
_AT_FIRST_USE = "seen when the store was first used in this run; it shows itself on an empty store only"
_NOT_ALONE = "it needs what earlier programs have left: alone, over an empty store, it passes"

_SECONDS_BETWEEN_QUESTIONS = 5.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A program that fails through the fault of a check's clause, and how it was come by."""

    check: Check
    program: Program
    divergence: Divergence
    search: str = "minimal"


def search_with(
    subject: Subject, check: Check, configuration: Configuration, tally: Tally, known: KnownPrograms
) -> Violation | None:
    """The violation that a check finds, by a small program; None if it finds none.

    Args:
        subject: the backend.
        check: the check, one that can be run on it.
        configuration: how hard to look.
        tally: counts what it costs.
        known: the programs that earlier runs have found; told what this one finds.
    """
    if check.probe is not None:
        return _measured(check.probe, subject, check, configuration, tally)
    search = _Search(subject, check, configuration, tally)
    if check.at_first_use:
        return search.judge_first_use()
    remembered = search.run_known(known)
    violation = search.smallest(remembered or search.run_cases() or search.run_draws())
    if violation is None:
        return None
    if remembered is not None and violation.program != remembered[0]:
        known.drop(check.name, remembered[0])
    known.keep(check.name, violation.program)
    return violation


def glance_with(
    subject: Subject, check: Check, configuration: Configuration, tally: Tally, which: Glance
) -> Violation | None:
    """The violation that a check sees at a glance; None if it takes a longer look.

    What is measured is a matter of a second glance.
    """
    if check.probe is not None:
        is_worth_it = which == "second" and check.suspects(subject.backend, configuration.timeout)
        return _measured(check.probe, subject, check, configuration, tally) if is_worth_it else None
    return _Search(subject, check, configuration, tally).glance(which)


def _measured(
    probe: Probe, subject: Subject, check: Check, configuration: Configuration, tally: Tally
) -> Violation | None:
    shown, outcome = probe(subject.backend, configuration.timeout)
    tally.count(shown, outcome)
    return Violation(check, shown, outcome.divergence) if outcome.divergence else None


def seconds_of_waiting(subject: Subject, check: Check, configuration: Configuration) -> float:
    """How long a check's programs wait in all for a ttl to pass; nothing where the suite moves the backend's clock."""
    if subject.backend.advance is not None or not check.in_resolution:
        return 0.0
    return _Search(subject, check, configuration, Tally()).seconds_of_waiting()


def depends_on_chance(recorded: Program) -> bool:
    """Whether a program may pass at one time and fail at another."""
    return any(isinstance(step, Together | Trial | Cancel) for step in recorded.steps)


def death(subject: Subject, check: Check, configuration: Configuration, tally: Tally) -> Violation | None:
    """The violation of a backend that, since something raised, answers nobody."""
    if tally.suspect is None or tally.gave_up:
        return None
    mode: Mode = "async" if check.modes == {"async"} or runs_async(subject, check) else "sync"
    try:
        pass_smoke_gate(
            subject.backend, timeout=max(configuration.timeout, SECONDS_TO_ANSWER), by_both_forms=mode == "async"
        )
    except BackendError as error:
        handle = 1 + max((step.handle for step in tally.suspect.steps if isinstance(step, Open)), default=0)
        greeting = HumanMessage(content="m1")
        program = Program((*tally.suspect.steps, Open(handle, "{run}-z"), Add(handle, (greeting,), mode=mode)))
        divergence = Divergence(
            len(program.steps) - 1,
            "the message is stored",
            str(error),
            "Since an earlier step the backend answers nobody, on any session, through any handle.",
            Expectation(kind="returns", may_raise=frozenset(range(len(tally.suspect.steps)))),
        )
        # Recorded as a check of that clause, which can run it again.
        # What an earlier program has cancelled may be to blame as well.
        was_cancelled = check.clause == _OF_THE_CANCELLED or any(
            isinstance(step, Cancel) for step in tally.suspect.steps
        )
        blamed = check.clause if was_cancelled else CLAUSE_OF_THE_DEAD
        own = next((own for own in checks_of(blamed) if own.modes == {mode}), check)
        return Violation(own, program, divergence, _UNSEARCHED)
    return None


class _Found(BaseException):
    """Ends hypothesis's drawing at the first violation; shrinking is done here."""

    def __init__(self, program: Program, divergence: Divergence) -> None:
        super().__init__()
        self.program = program
        self.divergence = divergence


@dataclass(slots=True)
class _Search(Experiment):
    """An experiment that goes on until a program fails, and then makes that program small."""

    is_dead: bool = False
    ask_again: float = field(default_factory=lambda: time.monotonic() + _SECONDS_BETWEEN_QUESTIONS)

    def smallest(self, found: tuple[Program, Divergence] | None) -> Violation | None:
        """The violation that was found, by a small program; over an empty store, where the backend offers one."""
        if self.subject.backend.another is None:
            return self.make_small(*found) if found else None
        if found or self._seems_dead():
            return self._alone(found)
        return None

    def _seems_dead(self) -> bool:
        return self.tally.suspect is not None and not self.tally.gave_up and not self.answers(self.subject.backend)

    def _alone(self, found: tuple[Program, Divergence] | None) -> Violation | None:
        """The violation by a program that fails over an empty store, too, so that it fails for others.

        Where there is none, the program found; it must have needed what earlier ones left in the store.
        """
        self.is_alone, suspect = True, self.tally.suspect
        divergence = self.fails(found[0]) if found else None
        lonely = (found[0], divergence) if found and divergence else self.run_cases() or self.run_draws()
        if lonely:
            return self.make_small(*lonely)
        self.is_alone, self.tally.suspect = False, suspect
        return replace(self.make_small(*found), search=_NOT_ALONE) if found else None

    def judge_first_use(self) -> Violation | None:
        """The violation that was seen at the first use of the store, unless its controls fail, too."""
        first_use = self.subject.first_use
        if first_use is None or "sync" not in self.subject.modes:  # threads have no use for async calls
            return None
        outcome = first_use.judged(self.subject.backend, self.check.lens)
        self.tally.count(FIRST_PROGRAM, outcome)
        if outcome.divergence is None:
            return None
        controls = [self.run_control(each, self.configuration.timeout) for each in self.check.controls(FIRST_PROGRAM)]
        self.tidy()
        if any(control.divergence for control in controls):
            return None
        return Violation(self.check, FIRST_PROGRAM, outcome.divergence, _AT_FIRST_USE)

    def glance(self, which: Glance) -> Violation | None:
        """The violation that those of the certain programs show which this glance is at, if they do."""
        if self.check.at_first_use:
            return self.judge_first_use() if which == "second" else None
        deadline = time.monotonic() + _SECONDS_OF_A_GLANCE
        for case in self._cases_at(which):
            program = self.prepared(case)
            if divergence := self.fails(program):
                return self.smallest((program, divergence))
            if self.tally.gave_up or self._is_dead_by_now() or time.monotonic() > deadline:
                break
        return None

    def _cases_at(self, which: Glance) -> Sequence[Program]:
        cases = (*self._cases(), *self.check.fitted(self.subject.backend))
        short = [case for case in cases if _is_short(case, self.subject.backend)]
        if which == "long":
            taken = set(map(id, short))
            return [case for case in cases if id(case) not in taken and _is_long(case, self.subject.backend)]
        first = _evenly(short, self.check.at_first)
        if which == "first":
            return first
        taken = set(map(id, first))
        return [case for case in _evenly(short, self.check.at_a_glance) if id(case) not in taken]

    def run_known(self, known: KnownPrograms) -> tuple[Program, Divergence] | None:
        """The first of the programs known from earlier runs that still fails through this clause's fault."""
        for program in known.of(self.check.name):
            by_chance = depends_on_chance(program)
            for _ in range(RUNS_OF_A_WITNESS if by_chance else 1):
                if divergence := self.fails(program):
                    self.tally.remarks.add("found at once, by a program that hypothesis's database of examples held")
                    return program, divergence
            if not by_chance:
                known.drop(self.check.name, program)
        return None

    def run_cases(self) -> tuple[Program, Divergence] | None:
        """The first of the certain programs that fails through this clause's fault."""
        for case in (*self._cases(), *self.check.fitted(self.subject.backend)):
            program = self.prepared(case)
            self._note_sample(program)
            if divergence := self.fails(program):
                return program, divergence
            if self.tally.gave_up or self._is_dead_by_now():
                break
        return None

    def _is_dead_by_now(self) -> bool:
        """Whether the backend answers nobody, asked now and then: no further program could tell more than that."""
        if self.is_dead or self.tally.suspect is None or time.monotonic() < self.ask_again:
            return self.is_dead
        self.is_dead = self._seems_dead()
        self.ask_again = time.monotonic() + _SECONDS_BETWEEN_QUESTIONS
        return self.is_dead

    def _cases(self) -> Sequence[Program]:
        """Its cases; of a store whose calls are costly a sample, so that the run ends in good time."""
        effort = self.configuration.effort
        cases = [
            *self.check.cases(effort),
            *self.check.seeded(effort, self.configuration.seed),
        ]
        if self.subject.backend.advance is None:
            cases = self._in_good_time(cases)
        if not self.subject.is_slow:
            return cases
        chosen = _sample(cases, _SAMPLES[effort], random.Random(f"{self.configuration.seed} {self.check.name}"))  # noqa: S311 -- no secret
        if len(chosen) < len(cases):
            self.tally.chosen = "each call is costly: of the programs that every run holds, a sample was run"
        return chosen

    def seconds_of_waiting(self) -> float:
        """How long its cases wait in all."""
        return sum(_seconds_of_waiting(self.prepared(case)) for case in self._cases())

    def _in_good_time(self, cases: list[Program]) -> list[Program]:
        """The cases; as many of them, as the seed chooses, as wait no longer in all than the effort allows.

        One of them at least, however long it waits, and one that sees a ttl pass; but in a quick run none where another
        check of the clause does the same more plainly and each case waits long.
        """
        waits = [_seconds_of_waiting(self.prepared(case)) for case in cases]
        left = _SECONDS_OF_WAITING[self.configuration.effort]
        if sum(waits) <= left:
            return cases
        self.tally.chosen = f"{_IT_WAITS}, a sample was run"
        chance = random.Random(f"{self.configuration.seed} {self.check.name}")  # noqa: S311 -- no secret
        places = chance.sample(range(len(cases)), len(cases))
        telling = [place for place in places if _outlives_its_ttl(cases[place])] or places
        first = next((place for place in telling if waits[place] <= left), min(telling, key=waits.__getitem__))
        if self._is_spared(cases[first], waits[first]):
            self.tally.chosen = f"{_IT_WAITS}, only the plainest were run"
            return []
        chosen = {first}
        for place in places:
            if place != first and sum(waits[each] for each in chosen) + waits[place] <= left:
                chosen.add(place)
        return [case for place, case in enumerate(cases) if place in chosen]

    def _is_spared(self, case: Program, wait: float) -> bool:
        """Whether a case waits too long for a quick run, which makes the same calls plainly: by sync calls, in turn."""
        if self.configuration.effort != "quick" or wait <= _SECONDS_OF_ONE_CASE:
            return False
        return self.check.modes == {"async"} or any(isinstance(step, Together) for step in case.steps)

    def _note_sample(self, program: Program) -> None:
        """Say what a quick run leaves out of the trials that interfere at chosen moments."""
        for step in program.steps:
            if self.tally.sample or self.configuration.effort != "quick":  # of two forms, what the first one does
                return
            if isinstance(step, Trial) and TRIALS[step.name].rounds:
                self.tally.sample = f"a small sample, as in every quick run: {step.rounds} {TRIALS[step.name].rounds}"

    def run_draws(self) -> tuple[Program, Divergence] | None:
        """The first drawn program that fails through this clause's fault."""
        if self.check.draws is None or self.configuration.examples < 1 or self.tally.gave_up or self._is_dead_by_now():
            return None
        seconds = self.configuration.clause_seconds / (_HURRY_OF_SLOW_STORES if self.subject.is_slow else 1)
        deadline = time.monotonic() + seconds
        drawn = 0

        @seed(self.configuration.seed + zlib.crc32(self.check.name.encode()))
        @settings(
            max_examples=self.configuration.examples,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(self.check.draws)
        def draw(given_program: Program) -> None:
            nonlocal drawn
            if time.monotonic() > deadline:
                self.tally.cut = (
                    f"drawing was cut after {drawn} of {self.configuration.examples} programs, "
                    f"when {seconds:g} s were used up"
                )
                return
            drawn += 1
            program = self.prepared(given_program)
            if divergence := self.fails(program):
                raise _Found(program, divergence)

        try:
            draw()
        except _Found as found:
            return found.program, found.divergence
        return None

    def make_small(self, program: Program, divergence: Divergence) -> Violation:
        """The violation with the smallest program that the time allows."""
        self.tally.hung = is_hanging(divergence)
        smallest = divergence

        def still_fails(candidate: Program) -> bool:
            nonlocal smallest
            if self.is_async and _has_sync_calls(candidate):
                return False
            found = self.fails(candidate, shrinking=True)
            smallest = found or smallest
            return found is not None

        small, complete = shrink(
            program,
            still_fails,
            seconds=self.configuration.shrink_seconds,
            diverged_at=divergence.index,
            values=self.check.lens.view != "label",
        )
        search = "minimal" if complete else f"cut after {self.configuration.shrink_seconds:g} s"
        if self.tally.hung:
            # Smaller programs were given less time: one that only takes long is no counterexample.
            confirmed = self.run(small, self.configuration.timeout)
            self.tidy()
            small, smallest = (small, confirmed.divergence) if confirmed.divergence else (program, divergence)
        return Violation(self.check, small, smallest, search)


def _seconds_of_waiting(program: Program) -> float:
    return sum(step.seconds for step in program.steps if isinstance(step, Wait))


def _outlives_its_ttl(program: Program) -> bool:
    """Whether it waits, in all, for longer than any session that it opens is to live."""
    longest = max((step.ttl or 0.0 for step in program.steps if isinstance(step, Open)), default=0.0)
    return _seconds_of_waiting(program) > longest


def _sample(cases: Sequence[Program], most: tuple[int, int], chance: random.Random) -> Sequence[Program]:
    """One program from each stretch of the list, as chance will have it, until that makes too many calls."""
    programs, calls = most
    stretches = min(programs, len(cases))
    chosen = [cases[int((number + chance.random()) * len(cases) / stretches)] for number in range(stretches)]
    while len(chosen) > 1 and sum(program.operations for program in chosen) > calls:
        chosen.remove(max(chosen, key=lambda program: program.operations))
    return chosen


def _is_long(program: Program, backend: Backend) -> bool:
    """Whether it would be short, one call after another, if it had not so many messages."""
    return not any(isinstance(step, Together) for step in program.steps) and _is_short(
        program, backend, _MANY_CALLS, _MANY_MESSAGES
    )


def _is_short(
    program: Program, backend: Backend, most_calls: int = _FEW_CALLS, most_messages: int = _FEW_MESSAGES
) -> bool:
    """Whether it is a few calls with few messages, in this process, and no wait that takes time."""
    messages = sum(map(_messages_of, program.steps))
    calls = sum(not isinstance(step, Open | Together) for step in program.steps)
    is_small = messages <= most_messages and calls <= most_calls
    return is_small and not any(_takes_long(step, backend) for step in program.steps)


def _messages_of(step: Step) -> int:
    """How many messages a step adds; long ones count as many."""
    if isinstance(step, Together):
        calls = [call for worker in step.workers for call in worker]
        large = sum(isinstance(call, str) and call.startswith(LARGE) for call in calls)
        return sum(call for call in calls if isinstance(call, int)) + large * _FEW_MESSAGES
    return len(step.messages) if isinstance(step, Add | Assign) else 0


def _takes_long(step: Step, backend: Backend) -> bool:
    if isinstance(step, Wait):
        return backend.advance is None
    return (isinstance(step, Trial) and not TRIALS[step.name].is_brief) or (
        isinstance(step, Together) and step.how == "processes"
    )


def _evenly(cases: Sequence[Program], count: int) -> Sequence[Program]:
    """So many of the programs, from everywhere in the list."""
    count = min(count, len(cases))
    return [cases[number * len(cases) // count] for number in range(count)]


def _has_sync_calls(program: Program) -> bool:
    return any(isinstance(step, Add | Read | ClearStep) and step.mode == "sync" for step in program.steps)
