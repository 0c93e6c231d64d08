"""Uses several sessions at once, each by two workers, and looks at what each session holds (ISO-1, CON-1)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import HumanMessage

from chathistory.conformance.trials._finding import Finding, opener_of

_SESSIONS, _WORKERS, _ADDS = 4, 8, 10
_SECONDS_TO_END = 30.0
_LABEL = re.compile(r"s\d w\d \d+")


def leaks_between_sessions(backend: Any, *, mode: str, rounds: int, **_: int) -> Finding:
    """Whether a session shows what was added to another at the same time (ISO-1)."""
    return _first(backend, mode, rounds, _leaked)


def losses_beside_sessions(backend: Any, *, mode: str, rounds: int, **_: int) -> Finding:
    """Whether an acknowledged message is missing when several sessions were written at the same time (CON-1)."""
    return _first(backend, mode, rounds, _lost)


def _first(backend: Any, mode: str, rounds: int, problem_of: Callable[[Any], str | None]) -> Finding:
    calls = 0
    for _ in range(rounds):
        round_ = _Round(backend, uuid.uuid4().hex)
        if mode == "async":
            asyncio.run(round_.run_tasks())
        else:
            round_.run_threads()
        calls += round_.calls
        if problem := problem_of(round_):
            return Finding(problem, calls)
    return Finding(None, calls)


class _Round:
    """Workers 0 to 7 on sessions 0 to 3, each through a handle of its own, which add and read in turn.

    A message says whose it is and where it belongs: "s2 w6 0" is the first of worker 6, in session 2.
    """

    def __init__(self, backend: Any, token: str) -> None:
        self._open, self._token = opener_of(backend), token
        self._heard: list[list[str]] = [[] for _ in range(_SESSIONS)]
        self.acknowledged: list[list[str]] = []
        self.reads: list[tuple[int, list[str]]] = []
        self.final: dict[int, list[str]] = {}
        self.calls = 0

    def run_threads(self) -> None:
        """Work in threads that change places as often as the interpreter lets them, then read."""
        barrier = threading.Barrier(_WORKERS)

        def work(worker: int) -> None:
            try:
                history = self._handle(worker % _SESSIONS)
                barrier.wait(_SECONDS_TO_END)
            except Exception:  # noqa: BLE001 -- what is raised is for other checks
                barrier.abort()
                return
            for number in range(_ADDS):
                with contextlib.suppress(Exception):
                    history.add_messages([HumanMessage(content=_label(worker, number))])
                    self._acknowledge(worker, number)
                    self._note(worker, history.messages)

        threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(_WORKERS)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        deadline = time.monotonic() + _SECONDS_TO_END
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(max(deadline - time.monotonic(), 0))
        finally:
            sys.setswitchinterval(interval)
        self._stop()
        for session in range(_SESSIONS):
            with contextlib.suppress(Exception):  # what is raised is for other checks
                self.final[session] = _contents(self._handle(session).messages)
            with contextlib.suppress(Exception):
                self._handle(session).clear()

    async def run_tasks(self) -> None:
        """Work in tasks of one event loop, then read."""

        async def work(worker: int) -> None:
            history = self._handle(worker % _SESSIONS)
            for number in range(_ADDS):
                with contextlib.suppress(Exception):
                    await history.aadd_messages([HumanMessage(content=_label(worker, number))])
                    self._acknowledge(worker, number)
                    self._note(worker, await history.aget_messages())

        with contextlib.suppress(asyncio.TimeoutError):  # a slow store has done less by then
            await asyncio.wait_for(asyncio.gather(*(work(worker) for worker in range(_WORKERS))), _SECONDS_TO_END)
        self._stop()
        for session in range(_SESSIONS):
            with contextlib.suppress(Exception):
                self.final[session] = _contents(await self._handle(session).aget_messages())
            with contextlib.suppress(Exception):
                await self._handle(session).aclear()

    def _stop(self) -> None:
        """Take no account of what is acknowledged from now on, as by threads of a slow store that still run."""
        self.acknowledged = [list(contents) for contents in self._heard]

    def _handle(self, session: int) -> Any:
        return self._open(f"{self._token}-s{session}")

    def _acknowledge(self, worker: int, number: int) -> None:
        self.calls += 2
        self._heard[worker % _SESSIONS].append(_label(worker, number))

    def _note(self, worker: int, messages: Sequence[Any]) -> None:
        self.reads.append((worker % _SESSIONS, _contents(messages)))


def _label(worker: int, number: int) -> str:
    return f"s{worker % _SESSIONS} w{worker} {number}"


def _contents(messages: Sequence[Any]) -> list[str]:
    return [str(message.content) for message in messages]


def _leaked(round_: Any) -> str | None:
    """A message of another session, as it was added: what is read altered is no matter of sessions."""
    for session, read in (*round_.reads, *round_.final.items()):
        for content in read:
            if _LABEL.fullmatch(content) and not content.startswith(f"s{session} "):
                return f"a read of session s{session} showed {content!r}, while several sessions were used at once"
    return None


def _lost(round_: Any) -> str | None:
    """A message that is missing: fewer are there than were acknowledged, however they may be altered."""
    for session, read in round_.final.items():
        missing = [content for content in round_.acknowledged[session] if content not in read]
        if missing and len(read) < len(round_.acknowledged[session]):
            return (
                f"session s{session} lacks {missing[0]!r} and {len(missing) - 1} more of the "
                f"{len(round_.acknowledged[session])} messages that were acknowledged while several sessions were used"
            )
    return None
