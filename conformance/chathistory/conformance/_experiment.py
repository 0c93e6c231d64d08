"""Runs the programs of a check against a backend, and tells whether a failure is this clause's fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from chathistory.conformance._backend import Backend
from chathistory.conformance._errors import BackendError
from chathistory.conformance._outcome import NO_ANSWER, Divergence, Outcome
from chathistory.conformance._program import Program, Step, Together, Trial, in_mode
from chathistory.conformance._report import Configuration, Counterexample
from chathistory.conformance._subject import Subject, pass_smoke_gate
from chathistory.conformance._tally import Tally
from chathistory.conformance.checks import Check
from chathistory.conformance.checks.bounds import in_units_of

SECONDS_TO_ANSWER = 5.0
# A race that the failing program showed may hide from the control, and must not then be taken for its cause.
_RUNS_OF_A_CONTROL = 6
_SECONDS_FOR_A_HANGING_STEP = 1.0


@dataclass(slots=True)
class Experiment:
    """A check, the backend it is tried on, and what that has come to so far.

    Attributes:
        subject: the backend.
        check: the check.
        configuration: how hard to look.
        tally: what the search has cost and seen.
        is_alone: whether each program runs over an empty store, where the backend offers one.
        left: what removes what programs have left in the store, until `tidy` calls it.
    """

    subject: Subject
    check: Check
    configuration: Configuration
    tally: Tally
    is_alone: bool = False
    left: list[Callable[[], None]] = field(default_factory=list)

    def prepared(self, program: Program) -> Program:
        if self.check.in_resolution:
            program = in_units_of(self.subject.backend.ttl_resolution, self.subject.backend.advance is not None)(
                program
            )
        program = Program(tuple(self._seeded(step) for step in program.steps))
        return in_mode(program, "async") if self.is_async else program

    def _seeded(self, step: Step) -> Step:
        """The step, by the run's seed if it chooses moments."""
        return replace(step, seed=self.configuration.seed) if isinstance(step, Trial) else step

    @property
    def is_async(self) -> bool:
        """Whether its programs make async calls only."""
        if self.check.mixes_modes:
            return False
        return self.check.by_twins or self.check.modes == {"async"} or runs_async(self.subject, self.check)

    def fails(self, program: Program, *, shrinking: bool = False) -> Divergence | None:
        """The divergence, if there is one and it is this clause's fault; then what was run is removed."""
        try:
            return self._failure_of(program, shrinking)
        finally:
            self.tidy()

    def tidy(self) -> None:
        """Remove what the programs run since the last time have left in the store."""
        while self.left:
            self.left.pop()()

    def _failure_of(self, program: Program, shrinking: bool) -> Divergence | None:
        timeout = self.configuration.timeout
        if shrinking and self.tally.hung:
            timeout = min(timeout, _SECONDS_FOR_A_HANGING_STEP)
        with self.store() as backend:
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
            pass_smoke_gate(
                backend,
                timeout=min(self.configuration.timeout, SECONDS_TO_ANSWER),
                by_both_forms=self.is_async,
            )
        except BackendError:
            return False
        return True

    def run(self, program: Program, timeout: float, *, baseline: bool = False) -> Outcome:
        with self.store() as backend:
            return self._run_on(backend, program, timeout, baseline=baseline)

    def _run_on(self, backend: Backend, program: Program, timeout: float, *, baseline: bool = False) -> Outcome:
        return self._counted(program, self.check.run(backend, program, self.check.lens, timeout, baseline))

    def run_control(self, program: Program, timeout: float) -> Outcome:
        lens = self.check.control_lens or self.check.lens
        program = in_mode(program, "async") if self.is_async else program
        with self.store() as backend:
            return self._counted(program, self.check.run(backend, program, lens, timeout, self.check.baseline))

    def _counted(self, program: Program, outcome: Outcome) -> Outcome:
        self.tally.count(program, outcome)
        if outcome.tidy is not None and not self.is_alone:
            self.left.append(outcome.tidy)
        return outcome

    def _is_to_blame(self, program: Program, timeout: float, shrinking: bool) -> bool:
        """Whether a failing program fails by what this clause is about.

        It must fail when what the session holds at first is taken for its beginning, and its controls must
        pass. A failure that doesn't come again at all is taken for one that depends on chance, or on what a
        session with a fixed id held; its controls must pass as any other's.
        """
        comes_again = not self.check.baseline or bool(self.run(program, timeout, baseline=True).divergence)
        if not comes_again and (shrinking or self.run(program, timeout).divergence):
            return False
        controls = self.check.controls(program)
        return not any(
            self.run_control(control, timeout).divergence
            for control in controls
            for _ in range(_RUNS_OF_A_CONTROL if _is_race(control) and not shrinking else 1)
        )

    @contextmanager
    def store(self) -> Iterator[Backend]:
        """The store to run a program on: the one that is checked, or an empty one."""
        if not self.is_alone or self.subject.backend.another is None:
            yield self.subject.backend
        else:
            with self.subject.backend.another() as backend:
                yield backend


def runs_async(subject: Subject, check: Check) -> bool:
    """Whether a check of sync calls is to be run by async ones, since the backend has no others."""
    return "sync" not in subject.modes and check.modes == {"sync"}


def is_hanging(divergence: Divergence | Counterexample) -> bool:
    """Whether a violation is a call that did not return."""
    return divergence.observed.startswith(NO_ANSWER)


def _is_race(program: Program) -> bool:
    return any(isinstance(step, Together) for step in program.steps)
