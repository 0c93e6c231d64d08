"""Runs the checks of all claimed clauses against a backend, after the smoke gate, as one stream of events."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from hypothesis.database import ExampleDatabase

from chathistory.conformance._backend import Backend, SessionFactory
from chathistory.conformance._deviations import in_force
from chathistory.conformance._division import Division
from chathistory.conformance._errors import BackendError, UsageError
from chathistory.conformance._examine import examine, examine_again, glance, seconds_of_waiting_for
from chathistory.conformance._experiment import is_hanging
from chathistory.conformance._first_use import FirstUse, use_first
from chathistory.conformance._garbage import old_objects_left_alone
from chathistory.conformance._portable import program_from_json
from chathistory.conformance._report import (
    Asked,
    ClauseFinished,
    ClauseResult,
    ClauseStarted,
    Configuration,
    Event,
    Listener,
    Report,
    RunFinished,
    RunStarted,
)
from chathistory.conformance._search import CLAUSE_OF_THE_DEAD, Glance
from chathistory.conformance._subject import Subject, pass_smoke_gate
from chathistory.conformance.checks import checks_of
from chathistory.conformance.checks.durability import needs_processes
from chathistory.conformance.checks.limits import LARGEST_PROBED
from chathistory.conformance.trials._writers import close_nurseries
from chathistory.reference import CLAUSES, PROFILES, Clause, clause, select

_SECONDS_OF_GLANCES = 15.0
"""After which a run no longer glances at clauses again: over a slow store a close look is not much longer."""

_SECONDS_WORTH_A_WORD = 90.0
"""Of waiting, from which on the user is told at the start how long it will take."""

_GROUND = "ASY-6"
"""Glanced at first: each program has an event loop of its own, so what knows only its first one fails everywhere."""

_LOOKED_AT_AFTER: Mapping[str, str] = {"ASY-4": "CON-3", "ASY-5": "CON-3"}
"""Where only the first violation is told: behind which clause another is looked at, which the same defect breaks.

What tasks lose of a history whose async calls run in threads, threads lose, and that is what is to be mended. CON-4
stays behind these, for it looks at tasks, too.
"""

_AT_A_GLANCE = "seen at a glance over all clauses, before any was looked at closely"


def smoke(backend: Backend, *, timeout: float = 10.0) -> FirstUse | None:
    """Use the store for the first time in this run, and pass the smoke gate, or raise.

    Returns:
        What was seen at the first use, for `check` and `replay`.

    Raises:
        BackendError: one line, unless a handle opens and one message goes in and out without an error.
    """
    first_use = use_first(backend, timeout)
    pass_smoke_gate(backend, timeout=timeout)
    return first_use


def check(
    backend: Backend | SessionFactory,
    *,
    clauses: Iterable[str] = (),
    configuration: Configuration | None = None,
    listener: Listener | None = None,
    target: str = "",
    asked: Asked | None = None,
    database: ExampleDatabase | None = None,
    first_use: FirstUse | None = None,
    division: Division | None = None,
) -> Report:
    """Check every clause that a backend claims, or those named, and report.

    ::

        report = check(get_session_history)
        assert report.verdict == "conformant"

    Args:
        backend: a `Backend`, or a bare `get_session_history(session_id)`.
        clauses: ids of clauses or families; all by default.
        configuration: how hard to look.
        listener: told each event as it happens; the last is `RunFinished`, of an interrupted run, too.
        target: how the user named the backend, for the report.
        asked: what else the user asked for, for the report.
        database: hypothesis's, in which programs that showed a violation are kept, and from which those of earlier
            runs are tried first; pytest items use that of the user's settings.
        first_use: what `smoke` returned, if it has been called; else the check begins with it.
        division: of the same clauses, between this process and its helpers.

    Raises:
        BackendError: if the backend does not pass the smoke gate.
        UnknownClauseError: if there is no such clause or family.
        KeyboardInterrupt: if the user interrupts; the report of what ran has then been announced.
    """
    if not isinstance(backend, Backend):
        backend = Backend(name=getattr(backend, "__name__", type(backend).__name__), get_session_history=backend)
    configuration = configuration or Configuration()
    chosen = select(clauses) if (clauses := list(clauses)) else CLAUSES
    subject = prepared(backend, [rule.id for rule in chosen], configuration, first_use)
    run = _Run(subject, configuration, chosen, listener or _ignore, target, asked or Asked(), database, division)
    with old_objects_left_alone():
        return run.run()


def prepared(
    backend: Backend, clause_ids: Iterable[str], configuration: Configuration, first_use: FirstUse | None = None
) -> Subject:
    """A backend that has been used for the first time and has answered, ready to be held to these clauses.

    Raises:
        BackendError: if the backend does not pass the smoke gate.
    """
    if first_use is None and any(check.at_first_use for name in clause_ids for check in checks_of(name)):
        first_use = use_first(backend, configuration.timeout)
    subject = pass_smoke_gate(backend, timeout=configuration.timeout)
    in_this_version = in_force(subject.backend, _versions(subject.backend))
    return replace(subject, backend=in_this_version, first_use=first_use)


def replay(
    backend: Backend, recorded: Mapping[str, Any], *, timeout: float = 10.0, first_use: FirstUse | None = None
) -> ClauseResult | None:
    """Run the counterexample of a clause's entry in a JSON report again.

    Args:
        backend: the subject.
        recorded: the entry.
        timeout: seconds an operation may take.
        first_use: what `smoke` returned, if it has been called.

    Returns:
        A result with the outcome "failed" and a new counterexample, or None when it no longer fails.

    Raises:
        UsageError: if the entry can't be read, or was recorded by a check this version does not have.
        BackendError: if the backend does not pass the smoke gate.
    """
    program = program_from_json(recorded["counterexample"]["program"])
    subject = replace(pass_smoke_gate(backend, timeout=timeout), first_use=first_use)
    name = str(recorded["counterexample"]["program"].get("check", ""))
    try:
        found = examine_again(subject, recorded["id"], name, program, timeout)
    except LookupError as error:
        raise UsageError(f"the recorded counterexample can't be run: {error}") from None
    rule = clause(recorded["id"])
    return ClauseResult(id=rule.id, level=rule.level, outcome="failed", counterexample=found) if found else None


def _is_measured(clause_id: str) -> bool:
    return any(check.probe is not None for check in checks_of(clause_id))


def _ignore(_event: Event) -> None:
    """The listener of a run that nobody listens to."""


@dataclass(slots=True)
class _Run:
    subject: Subject
    configuration: Configuration
    chosen: tuple[Clause, ...]
    listener: Listener
    target: str
    asked: Asked
    database: ExampleDatabase | None = None
    division: Division | None = None
    results: list[ClauseResult] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    started: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    patience: str = ""
    stopped: str = ""
    dead: ClauseResult | None = None

    def run(self) -> Report:
        name, ids = self.subject.backend.name, tuple(rule.id for rule in self.chosen)
        self.patience = self._patience()
        self.listener(
            RunStarted(
                name, self.target, self._claims(), self.configuration, self._versions(), ids, patience=self.patience
            )
        )
        try:
            if not self._glanced():
                told = {result.id for result in self.results}
                for rule in (rule for rule in self._in_order() if rule.id not in told):
                    self._run_clause(rule)
                    if self._is_over():
                        break
        except KeyboardInterrupt:
            self.results += self.division.finished_beside(self.results) if self.division else ()
            self._finish(complete=False)
            raise
        finally:
            close_nurseries()
        return self._finish(complete=len(self.results) == len(self.chosen))

    def _glanced(self) -> bool:
        """Whether a run that stops at the first violation has found one at a glance over all clauses.

        The SHOULDs that are seen to be broken are told, too; the run goes on, but doesn't look at them again.
        """
        if not self.configuration.exitfirst:
            return False
        measured = [rule.id for rule in self.chosen if _is_measured(rule.id)]
        required = [rule.id for rule in self._in_order() if rule.level == "MUST" and rule.id not in measured]
        required.sort(key=lambda name: name != _GROUND)
        wished = [rule.id for rule in self.chosen if rule.level != "MUST" and rule.id not in measured]
        rounds: tuple[tuple[list[str], Glance], ...] = (
            (required, "first"),
            (wished, "first"),
            (wished, "second"),
            (measured, "second"),
            (required, "second"),
            (required, "long"),
        )
        for names, which in rounds:
            for result in self._seen(names, which):
                self._tell_glanced(result)
                if result.level == "MUST":
                    return True
        return False

    def _in_order(self) -> Sequence[Clause]:
        """The clauses in the order in which they are looked at."""
        if not self.configuration.exitfirst:
            return self.chosen
        places = {rule.id: place for place, rule in enumerate(CLAUSES)}
        return sorted(
            self.chosen,
            key=lambda rule: (places[_LOOKED_AT_AFTER.get(rule.id, rule.id)], rule.id in _LOOKED_AT_AFTER),
        )

    def _seen(self, clause_ids: Sequence[str], which: Glance) -> Iterator[ClauseResult]:
        """The violations that a glance at these clauses shows, but for those already told.

        That of ERR-3, which a glance at any clause may show, is told if it was asked for.
        """
        for clause_id in clause_ids:
            is_late = time.monotonic() - self.began > _SECONDS_OF_GLANCES
            # Whether the loop is blocked is measured anyway: it may be what made the glances late.
            is_skipped = is_late and which != "first" and not _is_measured(clause_id)
            if not is_skipped and clause_id not in [told.id for told in self.results]:
                result = glance(self.subject, clause_id, self.configuration, which)
                if result is not None and result.id in [rule.id for rule in self.chosen]:
                    yield result

    def _tell_glanced(self, result: ClauseResult) -> None:
        self.listener(ClauseStarted(result.id))
        self.results.append(replace(result, notes=(*result.notes, _AT_A_GLANCE)))
        self.listener(ClauseFinished(self.results[-1]))

    def _run_clause(self, rule: Clause) -> None:
        self.listener(ClauseStarted(rule.id))
        if rule.id == CLAUSE_OF_THE_DEAD and self.dead is not None:
            result = self.dead
        elif self.stopped:
            result = ClauseResult(id=rule.id, level=rule.level, outcome="undecided", reason=self.stopped)
        else:
            result = self._examined(rule)
            if result.id != rule.id:
                result = self._died(rule, result)
            self._see_whether_it_still_answers(result)
        self.results.append(result)
        self.listener(ClauseFinished(result))

    def _examined(self, rule: Clause) -> ClauseResult:
        theirs = self.division.result_of(rule.id) if self.division else None
        return theirs or examine(self.subject, rule.id, self.configuration, self.database)

    def _died(self, rule: Clause, result: ClauseResult) -> ClauseResult:
        """What becomes of the clause during which the backend ceased to answer, which is another one's fault."""
        self.stopped = f"the backend has answered nobody since {rule.id}; see {result.id}"
        if result.id not in [later.id for later in self.chosen[self.chosen.index(rule) + 1 :]]:
            if rule.level != result.level:
                return ClauseResult(id=rule.id, level=rule.level, outcome="undecided", reason=self.stopped)
            return replace(result, id=rule.id)
        self.dead = result
        return ClauseResult(id=rule.id, level=rule.level, outcome="undecided", reason=self.stopped)

    def _see_whether_it_still_answers(self, result: ClauseResult) -> None:
        """After a hanging call, go on only if the backend answers."""
        if result.counterexample is None or not is_hanging(result.counterexample):
            return
        try:
            pass_smoke_gate(self.subject.backend, timeout=min(self.configuration.timeout, 5.0))
        except BackendError:
            self.stopped = f"the backend has not answered since the counterexample of {result.id}"

    def _is_over(self) -> bool:
        return self.configuration.exitfirst and self.results[-1].outcome in ("failed", "stale")

    def _finish(self, *, complete: bool) -> Report:
        backend = self.subject.backend
        places = {rule.id: place for place, rule in enumerate(self.chosen)}
        report = Report(
            backend=backend.name,
            claims=self._claims(),
            configuration=self.configuration,
            versions=self._versions(),
            clauses=tuple(sorted(self.results, key=lambda result: places[result.id])),
            complete=complete,
            seconds=time.monotonic() - self.began,
            started=self.started,
            target=self.target,
            notes=(*backend.notes, *self._notes()),
            asked=self.asked,
            limits={} if backend.limits is None else backend.limits.sizes,
        )
        self.listener(RunFinished(report))
        return report

    def _claims(self) -> tuple[Any, ...]:
        return tuple(profile for profile in PROFILES if profile in set(self.subject.backend.claims))

    def _patience(self) -> str:
        """What the user should know who waits for the end of the run."""
        seconds = sum(seconds_of_waiting_for(self.subject, rule.id, self.configuration) for rule in self.chosen)
        if seconds < _SECONDS_WORTH_A_WORD:
            return ""
        return (
            f"EXP waits by the clock on the wall, about {seconds / 60:.0f} minutes in all: "
            "give the Backend `advance`, or a smaller ttl_resolution if it keeps one, to be quicker."
        )

    def _notes(self) -> Iterable[str]:
        if self.patience:
            yield self.patience
        if "sync" not in self.subject.modes:
            yield "Its sync calls are not implemented; everything was checked through the async calls."
        if "processes" in set(self.subject.backend.claims) and (why := needs_processes(self.subject.backend)):
            yield f"It claims processes, but CON was not checked with them: {why}."
        limits = self.subject.backend.limits
        if limits is not None and max(limits.sizes.values()) > LARGEST_PROBED:
            yield f"Its declared limits of more than {LARGEST_PROBED:,} bytes were not probed: they are too large."
        if self.subject.loops_over_batches:
            yield "It implements add_message only; the loop it inherits can't keep ATM-1 to ATM-3."

    def _versions(self) -> dict[str, str]:
        return _versions(self.subject.backend)


def versions() -> dict[str, str]:
    """The versions of what takes part in every run."""
    libraries = {name: _version(name) for name in ("chathistory", "langchain-core", "hypothesis")}
    return {**libraries, "python": platform.python_version()}


def _versions(backend: Backend) -> dict[str, str]:
    return {**versions(), **backend.versions}


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
