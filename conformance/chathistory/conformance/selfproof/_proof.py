"""Runs the suite on the histories that ship with it: does it fail what it should, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from chathistory.conformance._report import EFFORTS
from chathistory.conformance.selfproof._catalogue import MUTANTS, ODD
from chathistory.conformance.selfproof._planted import Mutant, Odd
from chathistory.conformance.selfproof._processes import Lost, in_processes
from chathistory.conformance.selfproof._verdicts import SHIPPED, Job, Verdict, own_search, run
from chathistory.reference import CLAUSES, select

SECONDS_OF_A_RUN = 300.0
"""After which a run on one history is given up."""

_PRELOAD = (SHIPPED, "chathistory.conformance._runner")

Outcome: TypeAlias = Literal["caught", "missed", "kept", "blamed", "lost"]
"""Of a mutant: its clause found it, or did not. Of an odd history: it was left in peace, or blamed for what it does
not break. Of either: there was no run to speak of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What to run.

    Attributes:
        clauses: ids of clauses or families: only the mutants of these, and odd histories held to these; all by default.
        seed: chooses the programs.
        whole: find out, too, which clause a run over all of them names first for each mutant.
        exitfirst: stop at the first history that the suite gets wrong.
        processes: how many histories at a time.
    """

    clauses: tuple[str, ...] = ()
    seed: int = 0
    whole: bool = False
    exitfirst: bool = False
    processes: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What the suite made of one history.

    Attributes:
        name: of the history.
        clause: the clause that must find the mutant; empty for an odd history.
        expected: all clauses that may rightly be named, or that an odd history is known to fail.
        story: how it comes about in real life.
        outcome: see `Outcome`.
        named: the clause that was named first, or those that an odd history was blamed for.
        seconds: until its clause found the mutant, or that the run on an odd history took.
        reason: why there was no run to speak of.
    """

    name: str
    clause: str
    expected: tuple[str, ...]
    story: str
    outcome: Outcome
    named: tuple[str, ...] = ()
    seconds: float = 0.0
    reason: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the suite did what it should."""
        return self.outcome in ("caught", "kept")

    @property
    def is_named_rightly(self) -> bool:
        """Whether the clause named first may rightly be."""
        return bool(self.named) and self.named[0] in self.expected

    def to_json(self) -> dict[str, Any]:
        """The line as JSON data."""
        return {
            "name": self.name,
            "clause": self.clause or None,
            "expected": list(self.expected),
            "story": self.story,
            "outcome": self.outcome,
            "named": list(self.named),
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
        }


def subjects(settings: Settings) -> tuple[Mutant | Odd, ...]:
    """The histories that the settings choose: mutants in the order of their clauses, then the odd ones.

    Raises:
        UnknownClauseError: there is no such clause or family.
    """
    chosen = _share(settings, [clause.id for clause in CLAUSES])
    mutants = [mutant for mutant in MUTANTS if mutant.clauses[0] in chosen]
    return (*sorted(mutants, key=lambda mutant: chosen.index(mutant.clauses[0])), *ODD)


def prove(settings: Settings) -> Iterator[Line]:
    """Hold every chosen history to the suite, several at a time, and yield what came of each as it ends.

    Raises:
        UnknownClauseError: there is no such clause or family.
    """
    chosen = {subject.name: subject for subject in subjects(settings)}
    waiting = {name: len(_jobs(subject, settings)) for name, subject in chosen.items()}
    verdicts: dict[str, dict[str, Verdict | Lost]] = {name: {} for name in chosen}
    # The odd ones first, since they take longest.
    ordered = sorted(chosen.values(), key=lambda subject: isinstance(subject, Mutant))
    jobs = [job for subject in ordered for job in _jobs(subject, settings)]
    for job, result in in_processes(
        run, jobs, processes=settings.processes, seconds=SECONDS_OF_A_RUN, preload=_PRELOAD
    ):
        verdicts[job.name][job.extent] = result
        if len(verdicts[job.name]) == waiting[job.name]:
            line = _line(settings, chosen[job.name], verdicts[job.name])
            yield line
            if settings.exitfirst and not line.is_right:
                return


def _jobs(subject: Mutant | Odd, settings: Settings) -> list[Job]:
    quick = replace(EFFORTS["quick"], seed=settings.seed)
    if isinstance(subject, Odd):
        return [Job(name=subject.name, extent="whole", configuration=quick, clauses=settings.clauses)]
    own = Job(
        name=subject.name,
        extent="own",
        configuration=own_search(subject, settings.seed),
        clauses=subject.clauses[:1],
    )
    return [own, Job(name=subject.name, extent="first", configuration=quick)] if settings.whole else [own]


def _line(settings: Settings, subject: Mutant | Odd, verdicts: dict[str, Verdict | Lost]) -> Line:
    is_mutant = isinstance(subject, Mutant)
    line = Line(
        name=subject.name,
        clause=subject.clauses[0] if isinstance(subject, Mutant) else "",
        expected=subject.clauses if isinstance(subject, Mutant) else subject.expected_failures,
        story=" ".join(subject.story.split()),
        outcome="lost",
        reason=next(filter(None, map(_problem, verdicts.values())), ""),
    )
    found = {extent: verdict for extent, verdict in verdicts.items() if isinstance(verdict, Verdict)}
    if line.reason:
        return line
    last = found["whole" if not is_mutant else "first" if settings.whole else "own"]
    if is_mutant:
        outcome: Outcome = "caught" if found["own"].violations else "missed"
        return replace(line, outcome=outcome, named=last.violated[:1], seconds=last.seconds)
    named = (*last.violated, *last.undecided)
    known = _share(settings, line.expected)
    return replace(line, outcome="kept" if set(named) == set(known) else "blamed", named=named, seconds=last.seconds)


def _share(settings: Settings, clauses: Iterable[str]) -> list[str]:
    """Those of the clauses that the settings choose."""
    chosen = {clause.id for clause in (select(settings.clauses) if settings.clauses else CLAUSES)}
    return [clause for clause in clauses if clause in chosen]


def _problem(verdict: Verdict | Lost) -> str:
    return verdict.reason if isinstance(verdict, Lost) else verdict.error


def counts(lines: Iterable[Line]) -> dict[str, int]:
    """How many mutants there are, were caught and named rightly, and how many odd histories, and were kept."""
    listed = list(lines)
    mutants = [line for line in listed if line.clause]
    odd = [line for line in listed if not line.clause]
    return {
        "mutants": len(mutants),
        "caught": sum(line.is_right for line in mutants),
        "named rightly": sum(line.is_named_rightly for line in mutants),
        "odd": len(odd),
        "kept": sum(line.is_right for line in odd),
    }
