"""The result of a run as frozen data with one schema, from which every renderer works.

A run is a stream of events; its report is the last of them. Renderers (terminal, JSON, JUnit, Markdown,
pytest) listen and never compute a verdict of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from chathistory.reference import Level, Profile

SCHEMA_VERSION = 1

Outcome: TypeAlias = Literal["passed", "failed", "warned", "declared", "stale", "undecided", "not-claimed"]
Verdict: TypeAlias = Literal["conformant", "violations", "undecided"]
Effort: TypeAlias = Literal["quick", "full", "thorough"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """How hard a run looks.

    Attributes:
        effort: "quick", "full" or "thorough".
        examples: how many programs are drawn for each clause, beyond those that every run holds.
        seed: chooses the programs; the same seed and version choose the same ones.
        exitfirst: stop after the first clause that fails. A few short programs of every MUST come before anything
            that takes long, so that what is plain to see is told early; docs/scorecard.md holds the times measured.
        timeout: seconds after which an operation that has not returned counts as hanging.
        shrink_seconds: how long the search for a smaller counterexample may take, per clause.
        clause_seconds: how long drawing further programs may take, per clause.
    """

    effort: Effort = "full"
    examples: int = 40
    seed: int = 0
    exitfirst: bool = False
    timeout: float = 10.0
    shrink_seconds: float = 8.0
    clause_seconds: float = 20.0


EFFORTS: Mapping[Effort, Configuration] = {
    "quick": Configuration(effort="quick", examples=4, shrink_seconds=3.0, clause_seconds=3.0),
    "full": Configuration(),
    "thorough": Configuration(effort="thorough", examples=400, shrink_seconds=30.0, clause_seconds=300.0),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the user asked for beside a target and a configuration: what it takes to repeat the run.

    Attributes:
        command: the command that repeats it; empty for a run that no command began.
        server: where the store's server was to be; without the credentials of a URL.
        claims: the profiles to check in place of those that the backend claims; none is the backend's own.
        clauses: the clauses and families to check; none is all.
        deviations: the file of deviations.
    """

    command: str = ""
    server: str = ""
    claims: tuple[Profile, ...] = ()
    clauses: tuple[str, ...] = ()
    deviations: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counterexample:
    """The smallest program found that shows a violation.

    Attributes:
        program: the program as JSON data, for `chathistory replay`.
        lines: the program in Python, a line per step, for people.
        step: the index of the step that diverged.
        expected: what the reference returns at that step, as text.
        observed: what the backend did, as text.
        explanation: what differs, in a sentence.
        script: a stand-alone script that shows it without this library.
        search: "minimal", or why the search for a smaller one was cut.
        timeline_svg: of a violation by calls that overlapped, their drawing; empty otherwise.
    """

    program: Mapping[str, Any]
    lines: tuple[str, ...]
    step: int
    expected: str
    observed: str
    explanation: str
    script: str
    search: str = "minimal"
    timeline_svg: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClauseResult:
    """What became of one clause.

    Attributes:
        id: the clause's id.
        level: "MUST" or "SHOULD".
        outcome: see `Outcome`.
        seconds: how long it took.
        programs: how many programs were run.
        operations: how many calls of the backend they made.
        counterexample: for outcomes "failed", "warned" and "declared".
        reason: why it is not claimed, undecided, declared or stale; empty otherwise.
        notes: what else a reader should know, such as values the backend refused.
    """

    id: str
    level: Level
    outcome: Outcome
    seconds: float = 0.0
    programs: int = 0
    operations: int = 0
    counterexample: Counterexample | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What became of a run; `to_json` is the stable outside of it."""

    backend: str
    claims: tuple[Profile, ...]
    configuration: Configuration
    versions: Mapping[str, str]
    clauses: tuple[ClauseResult, ...]
    complete: bool
    seconds: float
    started: str
    target: str = ""
    notes: tuple[str, ...] = ()
    asked: Asked = field(default_factory=Asked)
    limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """One word for the whole run; never stronger than the facts."""
        outcomes = {result.outcome for result in self.clauses}
        if outcomes & {"failed", "stale"}:
            return "violations"
        if not self.complete or "undecided" in outcomes or not outcomes & {"passed", "declared", "warned"}:
            return "undecided"
        return "conformant"

    def with_outcome(self, *outcomes: Outcome) -> tuple[ClauseResult, ...]:
        """The results with one of these outcomes, in the order of the clauses."""
        return tuple(result for result in self.clauses if result.outcome in outcomes)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON data, after the schema shipped as `report.schema.json`."""
        return {
            "schema": SCHEMA_VERSION,
            "complete": self.complete,
            "backend": self.backend,
            "target": self.target,
            "verdict": self.verdict,
            "claims": list(self.claims),
            "limits": dict(self.limits),
            "asked": {name: _listed(value) for name, value in _fields(self.asked).items()},
            "seed": self.configuration.seed,
            "configuration": _fields(self.configuration),
            "versions": dict(self.versions),
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "clauses": [_result_to_json(result) for result in self.clauses],
        }


def _result_to_json(result: ClauseResult) -> dict[str, Any]:
    data = _fields(result)
    data["seconds"] = round(result.seconds, 4)
    data["notes"] = list(result.notes)
    if result.counterexample is not None:
        data["counterexample"] = {
            **_fields(result.counterexample),
            "lines": list(result.counterexample.lines),
        }
    return data


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _fields(instance: Any) -> dict[str, Any]:
    return {name: getattr(instance, name) for name in instance.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The backend opened and answered; these clauses will be checked, which may need the user's patience."""

    backend: str
    target: str
    claims: tuple[Profile, ...]
    configuration: Configuration
    versions: Mapping[str, str]
    clauses: tuple[str, ...]
    patience: str = ""


@dataclass(frozen=True, slots=True)
class ClauseStarted:
    """The check of a clause begins."""

    id: str


@dataclass(frozen=True, slots=True)
class ClauseFinished:
    """The check of a clause ended."""

    result: ClauseResult


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run ended, or was interrupted."""

    report: Report


Event: TypeAlias = RunStarted | ClauseStarted | ClauseFinished | RunFinished
Listener: TypeAlias = Callable[[Event], None]


@dataclass(slots=True)
class Broadcast:
    """A listener that tells several others."""

    listeners: list[Listener] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def broadcast(listeners: Iterable[Listener]) -> Broadcast:
    """One listener that hands each event to all of these, in order."""
    return Broadcast(list(listeners))
