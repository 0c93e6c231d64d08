"""ERR-2: a call of a form that is not claimed does what it says, or raises and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chathistory.conformance._backend import Backend
from chathistory.conformance._error_text import is_refusal_of_sync
from chathistory.conformance._lens import Lens
from chathistory.conformance._outcome import Outcome
from chathistory.conformance._program import Add, Clear, Mode, Program, Read, program
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import (
    A,
    B,
    Check,
    fresh_read,
    numbered,
    observations_of,
    opened,
    run_plainly,
)


def _calls(claimed: Mode, other: Mode) -> Callable[[Effort], Iterator[Program]]:
    """Each call of the other form, and what those of the claimed one read before and after it."""

    def programs(_effort: Effort) -> Iterator[Program]:
        before = [*opened(A, B), Add(2, numbered(2, first=51), mode=claimed), Add(1, numbered(2), mode=claimed)]
        after = [
            Read(1, claimed),
            Add(1, numbered(1, first=3), mode=claimed),
            Read(2, claimed),
            *fresh_read(3, mode=claimed),
        ]
        yield program(before, Add(1, numbered(3, first=11), mode=other), after)
        yield program(before, Read(1, other), after)
        yield program(before, Clear(1, other), after)
        yield program(opened(A), Add(1, numbered(3), mode=other), Read(1, claimed), Read(1, other), Read(1, claimed))

    return programs


def _without(mode: Mode) -> Callable[[Program], Iterator[Program]]:
    """The same program without the calls of a form."""

    def control(failing: Program) -> Iterator[Program]:
        yield Program(tuple(step for step in failing.steps if getattr(step, "mode", None) != mode))

    return control


def _needs_async_unclaimed(backend: Backend) -> str:
    return "it claims async" if "async" in set(backend.claims) else ""


def run_without_sync(backend: Backend, given: Program, lens: Lens, timeout: float, baseline: bool) -> Outcome:
    """Run a program on a backend whose sync calls are not implemented; any other is held to them elsewhere."""
    tried = observations_of(backend, program(opened(A), Add(1, numbered(1)), Read(1)), timeout)
    if not any(observation.error and is_refusal_of_sync(observation.error) for observation in tried):
        return Outcome(None, 0, len(tried))
    return run_plainly(backend, given, lens, timeout, baseline)


CHECKS = (
    Check(
        clause="ERR-2",
        name="async calls that are not claimed work or raise",
        lens=Lens(disclaimed="async"),
        cases=_calls("sync", "async"),
        controls=_without("async"),
        needs=_needs_async_unclaimed,
        mixes_modes=True,
    ),
    Check(
        clause="ERR-2",
        name="sync calls that are not implemented work or raise",
        lens=Lens(disclaimed="sync"),
        cases=_calls("async", "sync"),
        controls=_without("sync"),
        modes=frozenset({"async"}),
        mixes_modes=True,
        run=run_without_sync,
    ),
)
