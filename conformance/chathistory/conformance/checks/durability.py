"""DUR: what is left after the end of a process, of a server, of a connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from chathistory.conformance._backend import Backend
from chathistory.conformance._program import Program, Trial, program
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import Check, async_twin
from chathistory.conformance.checks.costs import needs_wire
from chathistory.conformance.trials._writers import factory_elsewhere

# How often a run interferes: kills of a writer, kills of the server, moments of each message on the wire.
_KILLS: Mapping[Effort, int] = {"quick": 6, "full": 40, "thorough": 300}
_ASYNC_KILLS: Mapping[Effort, int] = {"quick": 1, "full": 12, "thorough": 100}
_KILLS_OF_ASSIGNERS: Mapping[Effort, int] = {"quick": 10, "full": 40, "thorough": 150}
_CRASHES: Mapping[Effort, int] = {"quick": 3, "full": 6, "thorough": 40}
_MOMENTS: Mapping[Effort, int] = {"quick": 1, "full": 4, "thorough": 4}
_ONCE: Mapping[Effort, int] = {"quick": 1, "full": 1, "thorough": 3}


def _trials(name: str, rounds: Mapping[Effort, int]) -> Callable[[Effort], Iterator[Program]]:
    def cases(effort: Effort) -> Iterator[Program]:
        yield program(Trial(name, rounds=rounds[effort]))

    return cases


def needs_processes(backend: Backend) -> str:
    """Why no other process can open the same store, or ""."""
    if not hasattr(os, "fork"):
        return "processes are forked off, which this system can't"
    if factory_elsewhere(backend) is None:
        return "the backend offers nothing that opens its store in another process (Backend.in_another_process)"
    return ""


def _needs_server(backend: Backend) -> str:
    if backend.crash_server is None:
        return "the backend offers no server to kill (Backend.crash_server)"
    return needs_processes(backend)


_CUTS = Check(
    clause="DUR-4",
    name="a cut connection loses and repeats nothing in silence",
    cases=_trials("cut connections", _MOMENTS),
    needs=needs_wire,
    baseline=False,
)

_OTHERS = Check(
    clause="DUR-1",
    name="a new process sees what was acknowledged",
    cases=_trials("another process", _ONCE),
    needs=needs_processes,
    baseline=False,
)

_KILLED = Check(
    clause="DUR-2",
    name="a killed writer leaves what was acknowledged, and whole batches",
    cases=_trials("killed writers", _KILLS),
    needs=needs_processes,
    baseline=False,
)

CHECKS = (
    _OTHERS,
    async_twin(_OTHERS),
    _KILLED,
    # What is torn by a kill is mostly so in both forms: the moments of the sync form are enough for that.
    async_twin(replace(_KILLED, cases=_trials("killed writers", _ASYNC_KILLS))),
    replace(
        _KILLED,
        name="a writer killed while it assigns leaves the old history or the new one",
        cases=_trials("killed assigners", _KILLS_OF_ASSIGNERS),
    ),
    Check(
        clause="DUR-3",
        name="a killed server loses nothing acknowledged",
        cases=_trials("crashed server", _CRASHES),
        needs=_needs_server,
        baseline=False,
    ),
    _CUTS,
    async_twin(_CUTS),
)
