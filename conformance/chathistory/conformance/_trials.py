"""Which trials there are, what each promises, and the files that a script needs to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from chathistory.conformance._backend import Backend

SECONDS_OF_A_TRIAL = 240.0
"""How long one may take, unless it is a few calls, before it counts as hanging."""
_SECONDS_OF_A_ROW = 15.0


class Finding(Protocol):
    """What a trial has found: the problem in a sentence, or None, and how many calls it made."""

    @property
    def problem(self) -> str | None: ...

    @property
    def calls(self) -> int: ...


@dataclass(frozen=True, slots=True)
class TrialDefinition:
    """One trial.

    Attributes:
        name: as programs name it.
        function: the function that carries it out, `function(backend, mode=…, seed=…, rounds=…)`.
        promise: what is so when it finds no problem.
        modules: the files under `trials` that it consists of, each after those that it needs.
        rounds: what its rounds count, if it interferes at chosen moments.
        is_brief: whether it takes no longer than a few programs.
        persistence: how many times as many rounds its script makes, where what it looks for depends on chance.
        seconds: how long it may take before it counts as hanging.
    """

    name: str
    function: str
    promise: str
    modules: tuple[str, ...]
    rounds: str = ""
    is_brief: bool = False
    persistence: int = 1
    seconds: float = SECONDS_OF_A_TRIAL

    def load(self) -> Callable[..., Finding]:
        """The function itself."""
        module = self.modules[-1].removesuffix(".py").replace("/", ".")
        return cast(Callable[..., Finding], getattr(import_module(f"{__package__}.{module}"), self.function))


_WIRE = ("trials/_proxy.py", "trials/_finding.py")
_CRASHES = ("trials/_writers.py", "trials/_finding.py", "trials/_crashes.py")

_AT_ONCE = ("trials/_finding.py", "trials/_sessions_at_once.py")
_ROWS = ("trials/_finding.py", "trials/_one_coroutine.py")

TRIALS: Mapping[str, TrialDefinition] = {
    trial.name: trial
    for trial in (
        TrialDefinition(
            "cost of an add",
            "cost_of_an_add",
            "one add sends and receives as much on a long history as on a short one",
            (*_WIRE, "trials/_costs.py"),
        ),
        TrialDefinition(
            "round trips",
            "round_trips",
            "more messages take no more round trips",
            (*_WIRE, "trials/_costs.py"),
        ),
        TrialDefinition(
            "late looks",
            "looked_at_later",
            "a list shows what was there when it was read, whenever it is looked at",
            ("trials/_finding.py", "trials/_late_looks.py"),
            is_brief=True,
        ),
        TrialDefinition(
            "reads at once",
            "read_at_once",
            "of lists that were read at the same time each is its reader's own",
            ("trials/_finding.py", "trials/_late_looks.py"),
            is_brief=True,
        ),
        TrialDefinition(
            "sessions at once",
            "leaks_between_sessions",
            "each session shows its own messages, whatever else is used at the same time",
            _AT_ONCE,
            is_brief=True,
            persistence=10,
        ),
        TrialDefinition(
            "losses beside sessions",
            "losses_beside_sessions",
            "every acknowledged message is there, however many sessions are written at the same time",
            _AT_ONCE,
            is_brief=True,
            persistence=10,
        ),
        TrialDefinition(
            "sync calls in a loop",
            "synced_in_a_loop",
            "sync calls in a running event loop see each other at once, or raise and change nothing",
            _ROWS,
            is_brief=True,
            seconds=_SECONDS_OF_A_ROW,
        ),
        TrialDefinition(
            "awaits in a row",
            "awaited_in_a_row",
            "what an async call does is done when it has been awaited",
            _ROWS,
            is_brief=True,
            seconds=_SECONDS_OF_A_ROW,
        ),
        TrialDefinition(
            "both forms in a coroutine",
            "mixed_in_a_coroutine",
            "sync calls and awaited async calls see each other at once, or raise",
            _ROWS,
            is_brief=True,
            seconds=_SECONDS_OF_A_ROW,
        ),
        TrialDefinition(
            "tasks in later loops",
            "contended_in_later_loops",
            "in every event loop in which one task may use the session, several may",
            ("trials/_finding.py", "trials/_later_loops.py"),
            is_brief=True,
            seconds=_SECONDS_OF_A_ROW,
        ),
        TrialDefinition(
            "both forms at once",
            "losses_between_forms",
            "every acknowledged message is there, if sync and async calls were made at the same time",
            ("trials/_finding.py", "trials/_later_loops.py", "trials/_both_forms.py"),
            is_brief=True,
            persistence=10,
        ),
        TrialDefinition(
            "another process",
            "another_process",
            "every process reads every acknowledged message",
            _CRASHES,
        ),
        TrialDefinition(
            "killed writers",
            "killed_writers",
            "what was acknowledged is there, and of each batch all or nothing",
            _CRASHES,
            "kills of a writer",
            persistence=10,
        ),
        TrialDefinition(
            "killed assigners",
            "killed_assigners",
            "of a history that was being replaced the old one is there, or the new one",
            _CRASHES,
            "kills of a writer",
            persistence=10,
        ),
        TrialDefinition(
            "crashed server",
            "crashed_server",
            "what was acknowledged is there once, and of each batch all or nothing",
            _CRASHES,
            "kills of the server",
            persistence=10,
        ),
        TrialDefinition(
            "cut connections",
            "cut_connections",
            "each call returns or raises, and took effect wholly and once, or, if it raised, not at all",
            (*_WIRE, "trials/_cuts.py"),
            "of 4 moments of each message on the wire",
        ),
    )
}


def run_trial(name: str, backend: Backend, **settings: Any) -> Finding:
    """Carry out the trial of this name on a backend."""
    return TRIALS[name].load()(backend, **settings)
