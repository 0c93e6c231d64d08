"""Uses a session by sync calls of a thread and by async calls of an event loop at the same time (CON-1)."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import HumanMessage

from chathistory.conformance.trials._finding import Finding, opener_of
from chathistory.conformance.trials._later_loops import in_a_loop

_ADDS, _MOST_ADDS = 8, 40
_SECONDS_OF_A_ROUND = 0.06
"""For how long a round goes on with new sessions: over a fast store adds seldom meet."""
_SECONDS_TO_END = 5.0


def losses_between_forms(backend: Any, *, rounds: int, **_: Any) -> Finding:
    """Whether an acknowledged message is missing when both forms were used at once (CON-1)."""
    opens, calls, enough = opener_of(backend), 0, time.monotonic() + rounds * _SECONDS_OF_A_ROUND
    number = 0
    while number < rounds or time.monotonic() < enough:
        session, number = uuid.uuid4().hex, number + 1
        first = opens(session)
        acknowledged = _added_at_once(first, opens(session) if number % 2 else first)
        calls += len(acknowledged)
        held = acknowledged
        with contextlib.suppress(Exception):  # what is raised is for other checks
            held = [str(message.content) for message in opens(session).messages]
        with contextlib.suppress(Exception):
            opens(session).clear()
        if missing := [content for content in acknowledged if content not in held]:
            how = f"a thread and an event loop at once through {'two handles' if number % 2 else 'one handle'}"
            return Finding(
                f"of {len(acknowledged)} messages added by {how}, all acknowledged, {len(missing)} are missing: "
                f"{', '.join(missing[:3])}{' and more' if missing[3:] else ''}",
                calls,
            )
    return Finding(None, calls)


class _Adds:
    """What two who add at once have been told is stored; each goes on until both have added enough."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self._left = {"sync": _ADDS, "async": _ADDS}

    def contents(self, form: str) -> Iterator[str]:
        """What one of them is to add, each once."""
        for number in range(_MOST_ADDS):
            if max(self._left.values()) <= 0:
                return
            self._left[form] -= 1
            yield f"{form} {number}"

    def by_sync_calls(self, history: Any) -> None:
        """Add in this thread."""
        for content in self.contents("sync"):
            with contextlib.suppress(Exception):  # what is raised is for other checks
                history.add_messages([HumanMessage(content=content)])
                self.acknowledged.append(content)

    async def by_async_calls(self, history: Any) -> None:
        """Add in this loop."""
        for content in self.contents("async"):
            with contextlib.suppress(Exception):
                await history.aadd_messages([HumanMessage(content=content)])
                self.acknowledged.append(content)


def _added_at_once(by_thread: Any, by_loop: Any) -> list[str]:
    """The contents of the messages whose adds have returned."""
    adds = _Adds()

    async def in_time() -> None:
        await asyncio.wait([asyncio.ensure_future(adds.by_async_calls(by_loop))], timeout=_SECONDS_TO_END)

    thread = threading.Thread(target=adds.by_sync_calls, args=(by_thread,), daemon=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        thread.start()
        in_a_loop(in_time())
        thread.join(_SECONDS_TO_END)
    finally:
        sys.setswitchinterval(interval)
    return list(adds.acknowledged)  # by now: a thread of a slow store may still run
