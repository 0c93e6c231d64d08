"""Checks one clause: which of its checks can be run, what they find, and what is reported of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hypothesis.database import ExampleDatabase

from chathistory.conformance._backend import Deviation
from chathistory.conformance._experiment import runs_async
from chathistory.conformance._first_use import FIRST_PROGRAM
from chathistory.conformance._known import KnownPrograms
from chathistory.conformance._lines import describe
from chathistory.conformance._outcome import Outcome
from chathistory.conformance._portable import program_from_json, program_to_json
from chathistory.conformance._program import Program, Trial
from chathistory.conformance._report import ClauseResult, Configuration, Counterexample
from chathistory.conformance._script import script_of
from chathistory.conformance._search import (
    CLAUSE_OF_THE_DEAD,
    RUNS_OF_A_WITNESS,
    Glance,
    Violation,
    death,
    depends_on_chance,
    glance_with,
    search_with,
    seconds_of_waiting,
)
from chathistory.conformance._subject import Subject
from chathistory.conformance._tally import Tally
from chathistory.conformance.checks import Check, checks_of
from chathistory.reference import Clause, clause

_SECONDS_OF_A_REPLAY = 10.0
"""For how long a recorded program that depends on chance is run again before it counts as mended."""

_PINNED = "a pinned witness"


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
    tally, known = Tally(), KnownPrograms(database, subject.backend.name)
    with _quiet():
        found = (search_with(subject, check, configuration, tally, known) for check in checks)
        violation = next(filter(None, found), None)
        if violation is None and (dead := death(subject, checks[0], configuration, tally)):
            rule, violation = clause(dead.check.clause), dead
        counterexample = _counterexample(subject, rule, violation) if violation else None
    tally.remarks |= {known.problem} - {""}
    return _result(subject, rule, counterexample, tally, time.monotonic() - began)


def glance(subject: Subject, clause_id: str, configuration: Configuration, which: Glance) -> ClauseResult | None:
    """The result of a clause whose violation shows at once, by a few short programs; None of all others.

    At a second glance more of them are tried, which takes longer, and at the last those with long histories. It tells
    what a run that stops at the first violation is to report before it looks at anything closely. The result is that
    of ERR-3 if a call did not return after a refusal: all other clauses would wait for such calls, too.
    """
    rule, began, tally = clause(clause_id), time.monotonic(), Tally()
    checks, _ = _applicable(subject, rule)
    if _deviation_from(subject, rule) is not None:
        return None
    with _quiet():
        found = (glance_with(subject, check, configuration, tally, which) for check in checks)
        violation = next(filter(None, found), None)
        if violation is None and checks and (dead := death(subject, checks[0], configuration, tally)):
            if subject.backend.another is not None:  # over an empty store it is shown by a smaller program
                return examine(subject, dead.check.clause, configuration)
            rule, violation = clause(dead.check.clause), dead
        counterexample = _counterexample(subject, rule, violation) if violation else None
    if counterexample is None and tally.gave_up and rule.id != CLAUSE_OF_THE_DEAD:
        return glance(subject, CLAUSE_OF_THE_DEAD, configuration, which)
    return _result(subject, rule, counterexample, tally, time.monotonic() - began) if counterexample else None


def seconds_of_waiting_for(subject: Subject, clause_id: str, configuration: Configuration) -> float:
    """How long the check of a clause will wait for a ttl to pass by the clock on the wall."""
    checks, _ = _applicable(subject, clause(clause_id))
    return sum(seconds_of_waiting(subject, check, configuration) for check in checks)


def examine_again(
    subject: Subject, clause_id: str, check_name: str, recorded: Program, timeout: float
) -> Counterexample | None:
    """Run a recorded program again under the check that found it: a counterexample, or None when it passes.

    One that depends on chance is run again and again, for some seconds.
    """
    check = next((check for check in checks_of(clause_id) if check.name == check_name), None)
    if check is None:
        raise LookupError(f"{clause_id} has no check named {check_name!r} in this version")
    by_chance = depends_on_chance(recorded) and check.probe is None and not check.at_first_use
    runs, deadline = 0, time.monotonic() + _SECONDS_OF_A_REPLAY
    while runs < (RUNS_OF_A_WITNESS if by_chance else 1) or (by_chance and time.monotonic() < deadline):
        shown, outcome = _run_again(subject, check, recorded, timeout)
        if outcome.divergence is not None:
            return _counterexample(subject, clause(clause_id), Violation(check, shown, outcome.divergence))
        runs, recorded = runs + 1, _at_other_moments(recorded)
    return None


def _at_other_moments(recorded: Program) -> Program:
    """The same program, whose trials choose other moments."""
    return Program(
        tuple(replace(step, seed=step.seed + 1) if isinstance(step, Trial) else step for step in recorded.steps)
    )


def _run_again(subject: Subject, check: Check, recorded: Program, timeout: float) -> tuple[Program, Outcome]:
    """What a recorded program, or the probe that recorded it, shows now."""
    with _quiet():
        if check.probe is not None:
            return check.probe(subject.backend, timeout)
        if check.at_first_use and subject.first_use is not None:
            return FIRST_PROGRAM, subject.first_use.judged(subject.backend, check.lens)
        outcome = check.run(subject.backend, recorded, check.lens, timeout, False)
        if outcome.tidy is not None:
            outcome.tidy()
        return recorded, outcome


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
    recorded, tally = program_from_json(deviation.witness), Tally()
    by_chance = depends_on_chance(recorded)
    deadline = began + (configuration.clause_seconds if by_chance else 0.0)
    while tally.programs < RUNS_OF_A_WITNESS or time.monotonic() < deadline:
        shown, outcome = _run_again(subject, check, recorded, configuration.timeout)
        tally.count(shown, outcome)
        if outcome.divergence is not None:
            found = _counterexample(subject, rule, Violation(check, shown, outcome.divergence, _PINNED))
            return _result(subject, rule, found, tally, time.monotonic() - began)
    passed = _result(subject, rule, None, tally, time.monotonic() - began)
    if not tally.judged or (by_chance and configuration.effort != "quick"):
        return None
    return _not_seen(passed, deviation) if by_chance else replace(passed, reason=_passes_now(deviation))


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
    possible = [check for check in checks if check.modes <= subject.modes or runs_async(subject, check)]
    if not possible:
        missing = "sync" if "sync" not in subject.modes else "async"
        return [], f"its {missing} calls are not {'implemented' if missing == 'sync' else 'claimed'}"
    needs = [check.needs(subject.backend) for check in possible]
    runnable = [check for check, need in zip(possible, needs, strict=True) if not need]
    return runnable, "; ".join(dict.fromkeys(filter(None, needs)))


def _counterexample(subject: Subject, rule: Clause, violation: Violation) -> Counterexample:
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
    subject: Subject, rule: Clause, counterexample: Counterexample | None, tally: Tally, seconds: float
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
        notes=tuple(tally.notes()),
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
