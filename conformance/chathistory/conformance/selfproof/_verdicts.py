"""Holds one history of a catalogue to the suite, and notes what the suite made of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Literal, TypeAlias

from chathistory.conformance._errors import BackendError
from chathistory.conformance._report import EFFORTS, ClauseFinished, ClauseResult, Configuration, Event
from chathistory.conformance._runner import check
from chathistory.conformance._text import error_line
from chathistory.conformance.selfproof._planted import Mutant, Odd

SHIPPED = "chathistory.conformance.selfproof"
"""The catalogue that comes with the suite: a module with `MUTANTS` and `ODD`."""

Extent: TypeAlias = Literal["own", "first", "whole"]
"""How far a run goes: over the mutant's best clause alone; over all clauses up to the first violation, as with
`--exitfirst`, a SHOULD included; or over all clauses to their end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run of the suite on one history.

    Attributes:
        name: of the history.
        catalogue: the module that holds it.
        extent: how far the run goes.
        configuration: how hard it looks.
        clauses: only these; all that are claimed if empty.
    """

    name: str
    catalogue: str = SHIPPED
    extent: Extent = "whole"
    configuration: Configuration = EFFORTS["quick"]
    clauses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A clause that a run found violated, and the seconds since the beginning of the run until it said so."""

    clause: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What came of a job.

    Attributes:
        name: of the history.
        violations: in the order in which they were found.
        undecided: the clauses that could not be judged.
        seconds: how long the run took.
        error: why there was no run; empty if there was.
    """

    name: str
    violations: tuple[Violation, ...] = ()
    undecided: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""

    @property
    def named_first(self) -> str:
        """The clause that is blamed first; empty if none is."""
        return self.violations[0].clause if self.violations else ""

    @property
    def violated(self) -> tuple[str, ...]:
        """The clauses that are blamed."""
        return tuple(violation.clause for violation in self.violations)


def find(name: str, catalogue: str = SHIPPED) -> Mutant | Odd:
    """The history of this name.

    Raises:
        LookupError: the catalogue has none.
    """
    module = import_module(catalogue)
    known: Iterable[Mutant | Odd] = (*module.MUTANTS, *module.ODD)
    for one in known:
        if one.name == name:
            return one
    raise LookupError(f"{catalogue} has no history named {name!r}")


def own_search(mutant: Mutant, seed: int = 0) -> Configuration:
    """How hard a mutant is looked at under its own clause alone: a race longer than a quick run looks for one."""
    effort = EFFORTS["quick"].effort if mutant.hardness != "timing" else EFFORTS["full"].effort
    return replace(EFFORTS["quick"], effort=effort, examples=20, seed=seed, shrink_seconds=0.2, timeout=4.0)


def run(job: Job) -> Verdict:
    """Do a job, in this process."""
    logging.disable(logging.CRITICAL)
    subject = find(job.name, job.catalogue)
    watch = Watch(stop=job.extent != "whole")
    try:
        configuration = replace(job.configuration, exitfirst=job.extent == "first")
        check(subject.make(), clauses=job.clauses, configuration=configuration, listener=watch)
    except _EnoughError:
        pass
    except BackendError as error:
        return watch.verdict(job.name, error_line(error))
    finally:
        logging.disable(logging.NOTSET)
    return watch.verdict(job.name)


class _EnoughError(Exception):
    """Ends a run that has found what it was to find."""


class Watch:
    """Listens to a run, and ends it at the first violation if it is to stop there."""

    def __init__(self, *, stop: bool) -> None:
        self._stop = stop
        self._began = time.monotonic()
        self._violations: list[Violation] = []
        self._undecided: list[str] = []

    def __call__(self, event: Event) -> None:
        """Note what a clause came to."""
        if isinstance(event, ClauseFinished):
            self._note(event.result)

    def _note(self, result: ClauseResult) -> None:
        if result.outcome == "undecided":
            self._undecided.append(result.id)
        if result.counterexample is not None:
            self._violations.append(Violation(clause=result.id, seconds=self._elapsed()))
            if self._stop:
                raise _EnoughError

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def verdict(self, name: str, error: str = "") -> Verdict:
        """What came of the run so far."""
        return Verdict(
            name=name,
            violations=tuple(self._violations),
            undecided=tuple(self._undecided),
            seconds=self._elapsed(),
            error=error,
        )
