"""Subjects over a network for scripts, commands and replays: a correct one, and some with a defect of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.mutants.concurrency import LocksInItsProcessOnly
from tests.mutants.durability import WritesAsyncAddsBehind

from chathistory.conformance import Backend
from chathistory.conformance.selfproof._network import NetworkHistory, network_backend
from chathistory.conformance.selfproof.costs import ReadsBeforeEachAdd
from chathistory.conformance.selfproof.durability import KeepsThePathOfItsProcess, RetriesAnAppend


def _subject(name: str, history: type[NetworkHistory]) -> Backend:
    return replace(network_backend(name, history), import_path=f"{__name__}:{name}")


def correct() -> Iterator[Backend]:
    """Keeps every clause that it claims."""
    yield _subject("correct", NetworkHistory)


def retries() -> Iterator[Backend]:
    """Breaks DUR-4."""
    yield _subject("retries", RetriesAnAppend)


def reads_first() -> Iterator[Backend]:
    """Breaks COST-1."""
    yield _subject("reads_first", ReadsBeforeEachAdd)


def forgets() -> Iterator[Backend]:
    """Breaks DUR-1."""
    yield _subject("forgets", KeepsThePathOfItsProcess)


def races() -> Iterator[Backend]:
    """Breaks CON-1 with processes."""
    yield _subject("races", LocksInItsProcessOnly)


def answers_early() -> Iterator[Backend]:
    """Breaks DUR-2 by async calls."""
    yield _subject("answers_early", WritesAsyncAddsBehind)
