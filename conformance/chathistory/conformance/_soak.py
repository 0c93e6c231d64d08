"""A long run: rounds of many writers at once, with kills, crashes and cuts, each round judged by the checker.

A round uses sessions of its own and ends with a read of each, so that memory is bounded by one round however long the
run is. Every call of every round is kept on disk.
"""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from langchain_core.messages import HumanMessage

from chathistory.conformance._backend import Backend, SessionFactory
from chathistory.conformance._errors import UsageError
from chathistory.conformance._program import new_token
from chathistory.conformance.checks.durability import needs_processes
from chathistory.conformance.linearizability import (
    Call,
    EventHistory,
    Undecided,
    Violation,
    Weaken,
    check,
    render_text,
)
from chathistory.conformance.trials._finding import loops_over_batches
from chathistory.conformance.trials._proxy import Proxy
from chathistory.conformance.trials._writers import Call as NotedCall
from chathistory.conformance.trials._writers import Nursery, Worker, factory_elsewhere, nursery_of

Fault: TypeAlias = Literal["none", "kill", "crash", "cut"]
Plan: TypeAlias = list[tuple[str, Any]]

_CALLS_OF_A_THREAD = 40
_THREADS_PER_SESSION = 4
_SECONDS_OF_A_ROUND = 60.0
_FAULTS: tuple[Fault, ...] = ("none", "kill", "none", "cut", "none", "kill", "crash", "cut")


@dataclass(frozen=True, kw_only=True, slots=True)
class SoakSettings:
    """How long and how hard.

    Attributes:
        seconds: how long to begin new rounds.
        processes: writing processes.
        writers: threads in each of them.
        seed: chooses the calls and the faults.
        faults: whether writers and servers are killed and connections cut, where the backend offers it.
        folder: where the events are kept.
    """

    seconds: float
    processes: int = 2
    writers: int = 4
    seed: int = 0
    faults: bool = True
    folder: Path


@dataclass(slots=True)
class Tally:
    """What has happened so far.

    Attributes:
        rounds: rounds ended.
        operations: calls made.
        acknowledged: messages whose add returned.
        unknown: calls of which nobody knows whether they took effect.
        kills: writers killed.
        crashes: times the server was killed.
        cuts: times the connections were cut.
        seconds: how long it took.
        undecided: rounds that the checker could not decide.
        anomalies: what was wrong, explained.
    """

    rounds: int = 0
    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0
    kills: int = 0
    crashes: int = 0
    cuts: int = 0
    seconds: float = 0.0
    undecided: int = 0
    anomalies: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """As in a report: "conformant", "violations" or "undecided"."""
        if self.anomalies:
            return "violations"
        return "undecided" if self.undecided or not self.rounds else "conformant"


def soak(backend: Backend, settings: SoakSettings, progress: Callable[[Tally], None]) -> Tally:
    """Run rounds until the time is over or something is wrong.

    Raises:
        UsageError: if no other process can open the store.
        KeyboardInterrupt: after the events have been written.
    """
    if why := needs_processes(backend):
        raise UsageError(f"{backend.name} can't be soaked: {why}")
    factory = factory_elsewhere(backend)
    assert factory is not None  # noqa: S101 -- needs_processes has seen it
    tally, began = Tally(), time.monotonic()
    with nursery_of(factory) as nursery, gzip.open(settings.folder / "events.jsonl.gz", "wt") as events:
        run = _Soak(backend, settings, nursery, tally)
        while time.monotonic() - began < settings.seconds and not tally.anomalies:
            for call in run.round():
                events.write(json.dumps({"round": tally.rounds, **call.to_json()}) + "\n")
            tally.seconds = time.monotonic() - began
            progress(tally)
    return tally


class _Soak:
    """Rounds on one backend."""

    def __init__(self, backend: Backend, settings: SoakSettings, nursery: Nursery, tally: Tally) -> None:
        self._backend, self._settings, self._nursery, self._tally = backend, settings, nursery, tally
        self._loops = loops_over_batches(backend.get_session_history(new_token().text))
        self._chance = random.Random(settings.seed)  # noqa: S311 -- no secret

    def round(self) -> list[Call]:
        """One round; what is wrong in it goes to the tally."""
        fault, plans, sessions = self._fault(), *self._plans()
        workers = [
            self._nursery.start_threads(plans[process], name=f"p{process}", waits=True, stays=True, pause=0.01)
            for process in range(self._settings.processes)
        ]
        here: list[Call] = []
        with self._cutting(fault, sessions, here):
            for worker in workers:
                worker.wait_for(bool, _SECONDS_OF_A_ROUND)
            self._nursery.begin()
            killed = self._interfere(fault, workers)
            for worker in workers:
                if worker is not killed and not worker.wait_for(_has_ended, _SECONDS_OF_A_ROUND):
                    self._tally.anomalies.append(f"round {self._tally.rounds}: a call did not return")
        calls = here + [
            call
            for process, worker in enumerate(workers)
            for noted in worker.calls()
            if (call := self._call(process, noted, fault)) is not None
        ]
        for worker in workers:
            worker.kill()
        calls += self._last_reads(sessions)
        self._judge(calls)
        return calls

    def _fault(self) -> Fault:
        fault = _FAULTS[self._tally.rounds % len(_FAULTS)] if self._settings.faults else "none"
        if (fault == "crash" and self._backend.crash_server is None) or (fault == "cut" and self._backend.wire is None):
            return "kill"
        return fault

    def _plans(self) -> tuple[list[list[Plan]], list[str]]:
        """What each thread of each process does, and the sessions of the round."""
        threads = self._settings.processes * self._settings.writers
        token = new_token().text
        sessions = [f"{token}-{number}" for number in range(max(1, threads // _THREADS_PER_SESSION))]
        plans = [
            [[self._step(sessions) for _ in range(_CALLS_OF_A_THREAD)] for _ in range(self._settings.writers)]
            for _ in range(self._settings.processes)
        ]
        return plans, sessions

    def _step(self, sessions: Sequence[str]) -> tuple[str, Any]:
        kind = self._chance.random()
        call = "read" if kind < 0.35 else "clear" if kind < 0.37 else self._chance.choice((1, 1, 2, 3))
        return self._chance.choice(sessions), call

    def _interfere(self, fault: Fault, workers: Sequence[Worker]) -> Worker | None:
        """Kill a worker, which is returned, or the server."""
        if fault in ("none", "cut"):
            return None
        time.sleep(self._chance.uniform(0, 0.1))
        if fault == "kill":
            killed = self._chance.choice(workers)
            killed.kill()
            self._tally.kills += 1
            return killed
        if self._backend.crash_server is not None:
            self._backend.crash_server()
            self._tally.crashes += 1
        return None

    @contextmanager
    def _cutting(self, fault: Fault, sessions: Sequence[str], calls: list[Call]) -> Iterator[None]:
        """Threads of this process that use the store through a proxy, which cuts them off again and again."""
        if fault != "cut" or self._backend.wire is None:
            yield
            return
        wire = self._backend.wire
        with Proxy(wire.address) as proxy, wire.connect(proxy.host, proxy.port) as opens:
            plans = [[self._step(sessions) for _ in range(_CALLS_OF_A_THREAD)] for _ in range(2)]
            threads = [
                threading.Thread(target=_use, args=(opens, plan, f"cut{number}", calls))
                for number, plan in enumerate(plans)
            ]
            chance = random.Random(self._chance.random())  # noqa: S311 -- no secret
            cutter = threading.Thread(target=self._cut, args=(proxy, threads, chance))
            for thread in (*threads, cutter):
                thread.start()
            yield
            cutter.join()

    def _cut(self, proxy: Proxy, threads: Sequence[threading.Thread], chance: random.Random) -> None:
        """Cut all connections again and again, as long as the threads are at work."""
        while any(thread.is_alive() for thread in threads):
            time.sleep(chance.uniform(0.005, 0.05))
            proxy.cut_all()
            self._tally.cuts += 1

    def _call(self, process: int, noted: NotedCall, fault: Fault) -> Call | None:
        """A call as the checker knows it: with faults about, one that raised may have taken effect."""
        if noted.kind == "open":
            self._tally.anomalies.append(f"round {self._tally.rounds}: a handle could not be opened: {noted.error}")
        if noted.kind not in ("add", "read", "clear"):
            return None
        if noted.error is not None and fault == "none":
            self._tally.anomalies.append(f"round {self._tally.rounds}: {noted.kind} raised {noted.error}")
        return Call(
            process=f"{process}.{noted.thread}",
            session=noted.session,
            kind=noted.kind,  # type: ignore[arg-type]
            invoked=noted.began,
            returned=noted.ended if noted.error is None else None,
            added=noted.added,
            observed=noted.observed,
        )

    def _last_reads(self, sessions: Sequence[str]) -> list[Call]:
        calls: list[Call] = []
        for session in sessions:
            _use(self._backend.get_session_history, [(session, "read")], "end", calls, tries=3)
            if calls[-1].observed is None:
                self._tally.anomalies.append(f"round {self._tally.rounds}: session {session!r} can't be read any more")
        return calls

    def _judge(self, calls: list[Call]) -> None:
        tally = self._tally
        tally.rounds += 1
        tally.operations += len(calls)
        tally.acknowledged += sum(len(call.added) for call in calls if call.acknowledged)
        tally.unknown += sum(call.unknown for call in calls)
        verdict = check(EventHistory(calls), weaken=Weaken(batches_atomic=not self._loops))
        if isinstance(verdict, Undecided):
            tally.undecided += 1
        elif isinstance(verdict, Violation):
            tally.anomalies.append(render_text(verdict))


def _has_ended(calls: Sequence[NotedCall]) -> bool:
    return any(call.kind in ("stays", "open") for call in calls)


def _use(opens: SessionFactory, plan: Sequence[tuple[str, Any]], name: str, calls: list[Call], tries: int = 1) -> None:
    """Make the calls of a plan in this process; what raises may have taken effect."""
    for number, (session, step) in enumerate(plan):
        added = tuple(f"{name}-{number}-{item}" for item in range(step)) if isinstance(step, int) else ()
        for attempt in range(tries):
            began, observed, returned = time.monotonic(), None, None
            try:
                history = opens(session)
                if step == "read":
                    observed = tuple(str(message.content) for message in history.messages)
                elif step == "clear":
                    history.clear()
                else:
                    history.add_messages([HumanMessage(content=content) for content in added])
                returned = time.monotonic()
            except Exception:  # noqa: BLE001 -- whatever a cut connection raises: its outcome is unknown
                returned = None
            if returned is not None or attempt == tries - 1:
                kind: Any = "add" if isinstance(step, int) else step
                calls.append(
                    Call(
                        process=name,
                        session=session,
                        kind=kind,
                        invoked=began,
                        returned=returned,
                        added=added,
                        observed=observed,
                    )
                )
                break
