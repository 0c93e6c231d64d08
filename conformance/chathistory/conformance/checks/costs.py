"""COST: what operations send and receive, measured on the wire through a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chathistory.conformance._backend import Backend
from chathistory.conformance._program import Program, Trial, program
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import Check, async_twin


def _once(name: str) -> Callable[[Effort], Iterator[Program]]:
    def cases(_effort: Effort) -> Iterator[Program]:
        yield program(Trial(name))

    return cases


def needs_wire(backend: Backend) -> str:
    """Why nothing can be put between the handles and their server, or ""."""
    return "" if backend.wire else "the backend offers no way to its server's wire (Backend.wire)"


_SYNC = (
    Check(
        clause="COST-1",
        name="an add costs the same on a long history",
        cases=_once("cost of an add"),
        needs=needs_wire,
        baseline=False,
    ),
    Check(
        clause="COST-2",
        name="round trips don't grow with the number of messages",
        cases=_once("round trips"),
        needs=needs_wire,
        baseline=False,
    ),
)

CHECKS = (*_SYNC, *map(async_twin, _SYNC))
