"""What each way of testing makes of one history: whether anything fails, and what."""

from __future__ import annotations

import asyncio
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.comparison._subject import Subject
from tests.comparison.examples import TESTS, Test
from tests.comparison.machine import machine_over
from tests.mutants import MUTANTS, ODD, Mutant, Odd
from tests.separately import Line

from chathistory.conformance import Backend, check
from chathistory.conformance._program import Mode
from chathistory.conformance._report import EFFORTS

SUBJECTS: Mapping[str, Mutant | Odd] = {one.name: one for one in (*MUTANTS, *ODD)}

# The defaults of Hypothesis but for what makes its run the same every time, and for shrinking, which finds nothing new.
_SETTINGS = settings(
    max_examples=100,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def by_examples(name: str) -> Line:
    """The example tests, by sync and by async calls; all of them, so that it is known which fail."""
    failed = [
        f"{test.__name__} ({mode})"
        for mode, backend in _forms(name)
        for test in TESTS
        if not _passes(test, Subject(backend, mode))
    ]
    return {"caught": bool(failed), "failed": failed}


def _passes(test: Test, subject: Subject) -> bool:
    async def run() -> None:
        await test(subject)

    try:
        asyncio.run(run())
    except (Exception, pytest.fail.Exception):
        return False
    return True


def by_machine(name: str) -> Line:
    """The state machine, by sync calls and, if they find nothing, by async ones."""
    for mode, backend in _forms(name):
        machine = machine_over(backend.get_session_history, use_async=mode == "async")
        try:
            run_state_machine_as_test(machine, settings=_SETTINGS)
        except Exception as error:
            return {"caught": True, "failed": [f"{mode}: {traceback.format_exception_only(error)[0].strip()[:200]}"]}
    return {"caught": False, "failed": []}


def _forms(name: str) -> Iterator[tuple[Mode, Backend]]:
    """The forms of calls that its author would test, each on a store of its own."""
    warnings.simplefilter("ignore")
    backend = SUBJECTS[name].make()
    if _has_sync_calls(backend):
        yield "sync", backend
    if "async" in backend.claims:
        yield "async", SUBJECTS[name].make()


def _has_sync_calls(backend: Backend) -> bool:
    try:
        _ = backend.get_session_history("is there anybody").messages
    except NotImplementedError:
        return False
    except Exception:
        return True
    return True


def by_quick_check(name: str) -> Line:
    """`chathistory check --quick -x`: the clauses that fail, up to the first that must hold."""
    subject = SUBJECTS[name]
    report = check(subject.make(), configuration=replace(EFFORTS["quick"], exitfirst=True))
    found = [result.id for result in report.clauses if result.counterexample is not None]
    if isinstance(subject, Odd):
        found = [clause for clause in found if clause not in subject.expected_failures]
        return {"caught": bool(found), "failed": found}
    return {"caught": bool(found), "failed": found}


WAYS: Mapping[str, Callable[[str], Line]] = {
    "examples": by_examples,
    "machine": by_machine,
    "quick": by_quick_check,
}


def timed(way: str, name: str) -> Line:
    """The line of one way about one history, and how long it took."""
    began = time.monotonic()
    return {**WAYS[way](name), "seconds": round(time.monotonic() - began, 2)}
