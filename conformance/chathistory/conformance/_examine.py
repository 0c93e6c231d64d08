"""Looks for a violation of one clause: runs its programs, tells whose fault a failure is, makes it small."""

from __future__ import annotations

import random
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.database import ExampleDatabase
from langchain_core.messages import HumanMessage

from chathistory.conformance._backend import Backend, Deviation
from chathistory.conformance._errors import BackendError
from chathistory.conformance._first_use import FIRST_PROGRAM
from chathistory.conformance._known import KnownPrograms
from chathistory.conformance._lines import describe
from chathistory.conformance._outcome import NO_ANSWER, Divergence, Outcome
from chathistory.conformance._portable import program_from_json, program_to_json
from chathistory.conformance._program import Add, Cancel, Mode, Open, Program, Read, Step, Together, Trial, in_mode
from chathistory.conformance._program import Clear as ClearStep
from chathistory.conformance._report import ClauseResult, Configuration, Counterexample, Effort
from chathistory.conformance._script import Expectation, script_of
from chathistory.conformance._shrink import shrink
from chathistory.conformance._subject import Subject, pass_smoke_gate
from chathistory.conformance._trials import TRIALS
from chathistory.conformance.checks import Check, checks_of
from chathistory.conformance.checks.bounds import in_units_of
from chathistory.reference import Clause, clause

CLAUSE_OF_THE_DEAD = "ERR-3"
"""The clause of a backend that answers nobody any more after something has raised."""

# Stores whose every call goes over HTTP get fewer of them, or a run would take many minutes.
_SAMPLES: Mapping[Effort, tuple[int, int]] = {"quick": (3, 45), "full": (12, 400), "thorough": (10**9, 10**9)}
"""Of a check's cases, how many programs with how many calls in all are run on a store whose calls are costly."""
_HURRY_OF_SLOW_STORES = 20.0

_RUNS_OF_A_WITNESS = 3
# A race that the failing program showed may hide from the control, and must not then be taken for its cause.
_RUNS_OF_A_CONTROL = 6
_PINNED = "a pinned witness"
_UNSEARCHED = "not made smaller, and it may need what went before: the backend answers nobody any more"
_AT_FIRST_USE = "seen when the store was first used in this run; it shows itself on an empty store only"
_NOT_ALONE = "it needs what earlier programs have left: alone, over an empty store, it passes"

_SECONDS_FOR_A_HANGING_STEP = 1.0
_SECONDS_TO_ANSWER = 5.0
_SECONDS_BETWEEN_QUESTIONS = 5.0


class _FoundViolation(BaseException):
    """Ends hypothesis's drawing at the first violation; shrinking is done here."""

    def __init__(self, program: Program, divergence: Divergence) -> None:
        super().__init__()
        self.program = program
        self.divergence = divergence


@dataclass(slots=True)
class _Tally:
    """What a search has cost, and what it has seen."""

    programs: int = 0
    operations: int = 0
    judged: int = 0
    refused: set[str] = field(default_factory=set)
    remarks: set[str] = field(default_factory=set)
    hung: bool = False
    gave_up: bool = False
    cut: str = ""
    sample: str = ""
    chosen: str = ""
    suspect: Program | None = None

    def count(self, program: Program, outcome: Outcome) -> None:
        self._suspect(program, outcome)
        self.programs += 1
        self.operations += outcome.operations
        self.judged += outcome.judged
        self.refused |= outcome.refused
        self.remarks |= outcome.remarks

    def _suspect(self, program: Program, outcome: Outcome) -> None:
        """Keep the first program since which something has gone wrong in each, up to where it went wrong."""
        if outcome.divergence is None and not outcome.refused:
            self.suspect = None if outcome.judged else self.suspect
        elif self.suspect is None:
            self.suspect = program if outcome.divergence is None else _up_to(program, outcome.divergence)


@dataclass(frozen=True, slots=True)
class _Violation:
    check: Check
    program: Program
    divergence: Divergence
    search: str = "minimal"


def examine(
    subject: Subject, clause_id: str, configuration: Configuration, database: ExampleDatabase | None = None
) -> ClauseResult:
    """Check one clause: programs known from earlier runs, those it holds for certain, then drawn ones, until one fails.

    If the backend answers nobody any more at the end, the result is not this clause's but that of ERR-3, unless it
    is a cancelled call, this clause's own business, that killed it: then no program could have been blamed for
    anything, since what it is compared with fails, too.
    """
    rule = clause(clause_id)
    began = time.monotonic()
    checks, reason = _applicable(subject, rule)
    if not checks:
        return ClauseResult(id=rule.id, level=rule.level, outcome="not-claimed", reason=reason)
    if witnessed := _by_witness(subject, rule, checks, configuration, began):
        return witnessed
    tally, known = _Tally(), KnownPrograms(database, subject.backend.name)
    with _quiet():
        found = (_search(subject, check, configuration, tally, known) for check in checks)
        violation = next(filter(None, found), None)
        if violation is None and (dead := _dead(subject, checks[0], configuration, tally)):
            rule, violation = clause(dead.check.clause), dead
        counterexample = _counterexample(subject, rule, violation) if violation else None
    tally.remarks |= {known.problem} - {""}
    return _result(subject, rule, counterexample, tally, time.monotonic() - began)


def examine_again(
    subject: Subject, clause_id: str, check_name: str, recorded: Program, timeout: float
) -> Counterexample | None:
    """Run a recorded program again under the check that found it: a counterexample, or None when it passes."""
    check = next((check for check in checks_of(clause_id) if check.name == check_name), None)
    if check is None:
        raise LookupError(f"{clause_id} has no check named {check_name!r} in this version")
    shown, outcome = _run_again(subject, check, recorded, timeout)
    if outcome.divergence is None:
        return None
    return _counterexample(subject, clause(clause_id), _Violation(check, shown, outcome.divergence))


def _run_again(subject: Subject, check: Check, recorded: Program, timeout: float) -> tuple[Program, Outcome]:
    """What a recorded program, or the probe that recorded it, shows now."""
    with _quiet():
        if check.probe is not None:
            return check.probe(subject.backend, timeout)
        if check.at_first_use and subject.first_use is not None:
            return FIRST_PROGRAM, subject.first_use.judged(subject.backend, check.lens)
        return recorded, check.run(subject.backend, recorded, check.lens, timeout, False)


def _by_witness(
    subject: Subject, rule: Clause, checks: list[Check], configuration: Configuration, began: float
) -> ClauseResult | None:
    """The result of a clause whose deviation has a witness, without a search.

    None where a search must tell: without a witness; where its check can't be run on this backend, or no answer
    could be judged; and in full runs where it depends on chance and has passed for as long as a clause may take.
    """
    deviation = _deviation_from(subject, rule)
    if deviation is None or deviation.witness is None:
        return None
    check = next((check for check in checks if check.name == deviation.witness.get("check")), None)
    if check is None:
        return None
    recorded, tally = program_from_json(deviation.witness), _Tally()
    by_chance = _depends_on_chance(recorded)
    deadline = began + (configuration.clause_seconds if by_chance else 0.0)
    while tally.programs < _RUNS_OF_A_WITNESS or time.monotonic() < deadline:
        shown, outcome = _run_again(subject, check, recorded, configuration.timeout)
        tally.count(shown, outcome)
        if outcome.divergence is not None:
            found = _counterexample(subject, rule, _Violation(check, shown, outcome.divergence, _PINNED))
            return _result(subject, rule, found, tally, time.monotonic() - began)
    passed = _result(subject, rule, None, tally, time.monotonic() - began)
    if not tally.judged or (by_chance and configuration.effort != "quick"):
        return None
    return _not_seen(passed, deviation) if by_chance else replace(passed, reason=_passes_now(deviation))


def _depends_on_chance(recorded: Program) -> bool:
    return any(isinstance(step, Together | Trial | Cancel) for step in recorded.steps)


def _is_race(program: Program) -> bool:
    return any(isinstance(step, Together) for step in program.steps)


def _not_seen(passed: ClauseResult, deviation: Deviation) -> ClauseResult:
    """What a quick run makes of a witness that fails at times and did not: too little to call it stale."""
    note = f"its witness, which depends on chance, passed {passed.programs} times; a full run tells whether it is stale"
    return replace(passed, outcome="declared", reason=deviation.remark, notes=(*passed.notes, note))


def _passes_now(deviation: Deviation) -> str:
    place = f" of {deviation.source}" if deviation.source else ""
    return f"declared ({deviation.remark}), but its recorded counterexample passes now; remove the entry{place}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of the backend and of langchain-core's deprecations are nothing that this run's user can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _applicable(subject: Subject, rule: Clause) -> tuple[list[Check], str]:
    """The checks of a clause that this backend can be held to, or why there are none."""
    checks = checks_of(rule.id)
    if not checks:
        return [], "this version has no check for it"
    if not set(rule.profiles) & set(subject.backend.claims):
        return [], f"needs the claim {' or '.join(rule.profiles)}"
    possible = [check for check in checks if check.modes <= subject.modes or _runs_async(subject, check)]
    if not possible:
        missing = "sync" if "sync" not in subject.modes else "async"
        return [], f"its {missing} calls are not {'implemented' if missing == 'sync' else 'claimed'}"
    needs = [check.needs(subject.backend) for check in possible]
    runnable = [check for check, need in zip(possible, needs, strict=True) if not need]
    return runnable, "; ".join(dict.fromkeys(filter(None, needs)))


def _runs_async(subject: Subject, check: Check) -> bool:
    """Whether a check of sync calls is to be run by async ones, since the backend has no others."""
    return "sync" not in subject.modes and check.modes == {"sync"}


def _search(
    subject: Subject, check: Check, configuration: Configuration, tally: _Tally, known: KnownPrograms
) -> _Violation | None:
    if check.probe is not None:
        shown, outcome = check.probe(subject.backend, configuration.timeout)
        tally.count(shown, outcome)
        return _Violation(check, shown, outcome.divergence) if outcome.divergence else None
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


def _up_to(program: Program, divergence: Divergence) -> Program:
    """What was done before a step failed that should not have; with that step, if nothing was refused before it."""
    was_refused = any(index < divergence.index for index in divergence.expectation.may_raise)
    return Program(program.steps[: divergence.index + (not was_refused)])


def _dead(subject: Subject, check: Check, configuration: Configuration, tally: _Tally) -> _Violation | None:
    """The violation of a backend that, since something raised, answers nobody."""
    if tally.suspect is None or tally.gave_up:
        return None
    try:
        pass_smoke_gate(subject.backend, timeout=max(configuration.timeout, _SECONDS_TO_ANSWER))
    except BackendError as error:
        mode: Mode = "async" if check.modes == {"async"} or _runs_async(subject, check) else "sync"
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
        was_cancelled = any(isinstance(step, Cancel) for step in tally.suspect.steps)
        blamed = check.clause if was_cancelled else CLAUSE_OF_THE_DEAD
        own = next((own for own in checks_of(blamed) if own.modes == {mode}), check)
        return _Violation(own, program, divergence, _UNSEARCHED)
    return None


@dataclass(slots=True)
class _Search:
    subject: Subject
    check: Check
    configuration: Configuration
    tally: _Tally
    is_alone: bool = False
    is_dead: bool = False
    ask_again: float = field(default_factory=lambda: time.monotonic() + _SECONDS_BETWEEN_QUESTIONS)

    def smallest(self, found: tuple[Program, Divergence] | None) -> _Violation | None:
        """The violation that was found, by a small program; over an empty store, where the backend offers one."""
        if self.subject.backend.another is None:
            return self.make_small(*found) if found else None
        if found or self._seems_dead():
            return self._alone(found)
        return None

    def _seems_dead(self) -> bool:
        return self.tally.suspect is not None and not self.tally.gave_up and not self.answers(self.subject.backend)

    def _alone(self, found: tuple[Program, Divergence] | None) -> _Violation | None:
        """The violation by a program that fails over an empty store, too, so that it fails for others.

        Where there is none, the program found; it must have needed what earlier ones left in the store.
        """
        self.is_alone, suspect = True, self.tally.suspect
        divergence = self._fails(found[0]) if found else None
        lonely = (found[0], divergence) if found and divergence else self.run_cases() or self.run_draws()
        if lonely:
            return self.make_small(*lonely)
        self.is_alone, self.tally.suspect = False, suspect
        return replace(self.make_small(*found), search=_NOT_ALONE) if found else None

    @contextmanager
    def _store(self) -> Iterator[Backend]:
        """The store to run a program on: the one that is checked, or an empty one."""
        if not self.is_alone or self.subject.backend.another is None:
            yield self.subject.backend
        else:
            with self.subject.backend.another() as backend:
                yield backend

    def judge_first_use(self) -> _Violation | None:
        """The violation that was seen at the first use of the store, unless its controls fail, too."""
        first_use = self.subject.first_use
        if first_use is None or first_use.is_unimplemented:
            return None
        outcome = first_use.judged(self.subject.backend, self.check.lens)
        self.tally.count(FIRST_PROGRAM, outcome)
        if outcome.divergence is None or any(
            self._run_control(control, self.configuration.timeout).divergence
            for control in self.check.controls(FIRST_PROGRAM)
        ):
            return None
        return _Violation(self.check, FIRST_PROGRAM, outcome.divergence, _AT_FIRST_USE)

    def run_known(self, known: KnownPrograms) -> tuple[Program, Divergence] | None:
        """The first of the programs known from earlier runs that still fails through this clause's fault."""
        for program in known.of(self.check.name):
            by_chance = _depends_on_chance(program)
            for _ in range(_RUNS_OF_A_WITNESS if by_chance else 1):
                if divergence := self._fails(program):
                    self.tally.remarks.add("found at once, by a program that hypothesis's database of examples held")
                    return program, divergence
            if not by_chance:
                known.drop(self.check.name, program)
        return None

    def run_cases(self) -> tuple[Program, Divergence] | None:
        """The first of the certain programs that fails through this clause's fault."""
        for case in (*self._cases(), *self.check.fitted(self.subject.backend)):
            program = self._prepared(case)
            self._note_sample(program)
            if divergence := self._fails(program):
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
        cases = [*self.check.cases(effort), *self.check.seeded(effort, self.configuration.seed)]
        if not self.subject.is_slow:
            return cases
        chosen = _sample(cases, _SAMPLES[effort], random.Random(f"{self.configuration.seed} {self.check.name}"))  # noqa: S311
        if len(chosen) < len(cases):
            self.tally.chosen = "each call is costly: of the programs that every run holds, a sample was run"
        return chosen

    def _note_sample(self, program: Program) -> None:
        """Say what a quick run leaves out of the trials that interfere at chosen moments."""
        for step in program.steps:
            if isinstance(step, Trial) and self.configuration.effort == "quick" and TRIALS[step.name].rounds:
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
            program = self._prepared(given_program)
            if divergence := self._fails(program):
                raise _FoundViolation(program, divergence)

        try:
            draw()
        except _FoundViolation as found:
            return found.program, found.divergence
        return None

    def make_small(self, program: Program, divergence: Divergence) -> _Violation:
        """The violation with the smallest program that the time allows."""
        self.tally.hung = is_hanging(divergence)
        smallest = divergence

        def still_fails(candidate: Program) -> bool:
            nonlocal smallest
            if self._is_async() and _has_sync_calls(candidate):
                return False
            found = self._fails(candidate, shrinking=True)
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
            confirmed = self._run(small, self.configuration.timeout)
            small, smallest = (small, confirmed.divergence) if confirmed.divergence else (program, divergence)
        return _Violation(self.check, small, smallest, search)

    def _prepared(self, program: Program) -> Program:
        if self.check.in_resolution:
            program = in_units_of(self.subject.backend.ttl_resolution, self.subject.backend.advance is not None)(
                program
            )
        program = Program(tuple(self._seeded(step) for step in program.steps))
        return in_mode(program, "async") if self._is_async() else program

    def _seeded(self, step: Step) -> Step:
        """The step, by the run's seed if it chooses moments."""
        return replace(step, seed=self.configuration.seed) if isinstance(step, Trial) else step

    def _is_async(self) -> bool:
        """Whether its programs make async calls only."""
        if self.check.mixes_modes:
            return False
        return self.check.modes == {"async"} or _runs_async(self.subject, self.check)

    def _fails(self, program: Program, *, shrinking: bool = False) -> Divergence | None:
        """The divergence, if there is one and it is this clause's fault."""
        timeout = self.configuration.timeout
        if shrinking and self.tally.hung:
            timeout = min(timeout, _SECONDS_FOR_A_HANGING_STEP)
        with self._store() as backend:
            outcome = self._run_on(backend, program, timeout)
            if outcome.hung_after_refusal is not None:
                if not self.answers(backend):
                    return outcome.hung_after_refusal
                self.tally.gave_up = not shrinking
        if outcome.divergence is None or is_hanging(outcome.divergence):
            return outcome.divergence
        return outcome.divergence if self._is_to_blame(program, timeout, shrinking) else None

    def answers(self, backend: Backend) -> bool:
        """Whether a backend still answers anybody."""
        try:
            pass_smoke_gate(backend, timeout=min(self.configuration.timeout, _SECONDS_TO_ANSWER))
        except BackendError:
            return False
        return True

    def _run(self, program: Program, timeout: float, *, baseline: bool = False) -> Outcome:
        with self._store() as backend:
            return self._run_on(backend, program, timeout, baseline=baseline)

    def _run_on(self, backend: Backend, program: Program, timeout: float, *, baseline: bool = False) -> Outcome:
        outcome = self.check.run(backend, program, self.check.lens, timeout, baseline)
        self.tally.count(program, outcome)
        return outcome

    def _run_control(self, program: Program, timeout: float) -> Outcome:
        lens = self.check.control_lens or self.check.lens
        program = in_mode(program, "async") if self._is_async() else program
        with self._store() as backend:
            outcome = self.check.run(backend, program, lens, timeout, self.check.baseline)
        self.tally.count(program, outcome)
        return outcome

    def _is_to_blame(self, program: Program, timeout: float, shrinking: bool) -> bool:
        """Whether a failing program fails by what this clause is about.

        It must fail when what the session holds at first is taken for its beginning, and its controls must
        pass. A failure that doesn't come again at all is taken for one that depends on chance, or on what a
        session with a fixed id held; its controls must pass as any other's.
        """
        comes_again = not self.check.baseline or bool(self._run(program, timeout, baseline=True).divergence)
        if not comes_again and (shrinking or self._run(program, timeout).divergence):
            return False
        controls = self.check.controls(program)
        return not any(
            self._run_control(control, timeout).divergence
            for control in controls
            for _ in range(_RUNS_OF_A_CONTROL if _is_race(control) and not shrinking else 1)
        )


def _sample(cases: Sequence[Program], most: tuple[int, int], chance: random.Random) -> Sequence[Program]:
    """One program from each stretch of the list, as chance will have it, until that makes too many calls."""
    programs, calls = most
    stretches = min(programs, len(cases))
    chosen = [cases[int((number + chance.random()) * len(cases) / stretches)] for number in range(stretches)]
    while len(chosen) > 1 and sum(program.operations for program in chosen) > calls:
        chosen.remove(max(chosen, key=lambda program: program.operations))
    return chosen


def is_hanging(divergence: Divergence | Counterexample) -> bool:
    """Whether a violation is a call that did not return."""
    return divergence.observed.startswith(NO_ANSWER)


def _has_sync_calls(program: Program) -> bool:
    return any(isinstance(step, Add | Read | ClearStep) and step.mode == "sync" for step in program.steps)


def _counterexample(subject: Subject, rule: Clause, violation: _Violation) -> Counterexample:
    program, divergence = violation.program, violation.divergence
    script = script_of(
        program,
        clause_id=rule.id,
        sentence=rule.sentence,
        explanation=divergence.explanation,
        step=divergence.index,
        expectation=divergence.expectation,
        import_path=subject.backend.import_path,
        backend_name=subject.backend.name,
    )
    data: dict[str, Any] = {"check": violation.check.name, **program_to_json(program)}
    return Counterexample(
        program=data,
        lines=tuple(describe(step) for step in program.steps),
        step=divergence.index,
        expected=divergence.expected,
        observed=divergence.observed,
        explanation=divergence.explanation,
        script=script,
        search=violation.search,
        timeline_svg=divergence.timeline_svg,
    )


def _result(
    subject: Subject, rule: Clause, counterexample: Counterexample | None, tally: _Tally, seconds: float
) -> ClauseResult:
    deviation = _deviation_from(subject, rule)
    result = ClauseResult(
        id=rule.id,
        level=rule.level,
        outcome="passed",
        seconds=seconds,
        programs=tally.programs,
        operations=tally.operations,
        counterexample=counterexample,
        notes=tuple(_notes(tally)),
    )
    if counterexample is not None:
        if deviation is not None:
            return replace(result, outcome="declared", reason=deviation.remark)
        return replace(result, outcome="failed" if rule.level == "MUST" else "warned")
    if tally.gave_up:
        return replace(result, outcome="undecided", reason="a call did not return after a refusal; see ERR-3")
    if tally.judged == 0:
        return replace(result, outcome="undecided", reason="nothing was exercised: no answer could be judged")
    if deviation is not None:
        return replace(result, outcome="stale", reason=_is_gone(deviation))
    return result


def _deviation_from(subject: Subject, rule: Clause) -> Deviation | None:
    return next((item for item in subject.backend.deviations if item.clause == rule.id), None)


def _is_gone(deviation: Deviation) -> str:
    place = f"; remove the entry of {deviation.source}" if deviation.source else ""
    return f"declared ({deviation.remark}), but it no longer occurs{place}"


def _notes(tally: _Tally) -> Iterable[str]:
    if tally.refused:
        yield f"refused, as it may be: {', '.join(sorted(tally.refused))}"
    yield from sorted(tally.remarks)
    if tally.cut:
        yield tally.cut
    if tally.sample:
        yield tally.sample
    if tally.chosen:
        yield tally.chosen
