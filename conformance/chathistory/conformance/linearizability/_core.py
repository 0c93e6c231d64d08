"""Finds the few calls that make a history not linearizable, when no anomaly has a simpler name.

A call is *relaxed* by taking away what it proves: a read is forgotten, a write may have happened at any
time or never. What could be explained before can still be explained then, so as long as the rest can't be
explained, the relaxed calls had no part in it. What is left in the end is a core: relax any one of its
calls, and the rest can be explained.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from chathistory.conformance.linearizability._events import Call, EventHistory
from chathistory.conformance.linearizability._search import OutOfBudgetError
from chathistory.conformance.linearizability._session import Session, sessions_of
from chathistory.conformance.linearizability._verdict import Weaken

Judge: TypeAlias = Callable[[Session], bool]
"""Whether a session is linearizable."""

_SECONDS = 3.0


class Suspects:
    """A session by itself, its calls numbered from 0, of which calls can be relaxed.

    Args:
        session: the session.
        judge: decides whether a session is linearizable.

    Attributes:
        in_time: whether all questions asked so far were answered in time.
    """

    def __init__(self, session: Session, judge: Judge) -> None:
        self._numbers = sorted({*session.reads, *session.writes, *session.resets})
        self._calls = [session.calls[number] for number in self._numbers]
        self._session = session
        self._judge = judge
        self.in_time = True
        self._dawn = min((call.invoked for call in self._calls), default=0.0)

    def core(self) -> list[int]:
        """Calls that can't be explained, of which none can be left out; more than that if not in time.

        One try for each call is enough: where less is left, a call that was needed is needed all the more.
        """
        deadline = time.monotonic() + _SECONDS
        kept = list(range(len(self._calls)))
        relaxed: set[int] = set()
        size = len(kept)
        while size:
            place = 0
            while place < len(kept) and time.monotonic() < deadline:
                part = kept[place : place + size]
                if self._explained({each: self._relaxed(each) for each in relaxed.union(part)}):
                    place += size
                else:
                    relaxed.update(part)
                    del kept[place : place + size]
            size //= 2
        self.in_time &= time.monotonic() < deadline
        return [self._numbers[each] for each in kept]

    def explained_without(self, number: int) -> bool:
        """Whether the session would be linearizable if this write might not have happened."""
        place = self._numbers.index(number)
        return self._explained({place: replace(self._calls[place], returned=None)})

    def _relaxed(self, place: int) -> Call:
        """A call that proves nothing any more."""
        call = self._calls[place]
        if call.kind == "read":
            return replace(call, returned=None, observed=None)
        return replace(call, invoked=self._dawn, returned=None)

    def _explained(self, changed: dict[int, Call]) -> bool:
        """Whether the session with some calls changed is linearizable; yes if that can't be decided."""
        calls = [changed.get(place, call) for place, call in enumerate(self._calls)]
        history = EventHistory(calls, {self._session.name: self._session.initial})
        weaken = Weaken(batches_atomic=self._session.atomic)
        try:
            return all(self._judge(session) for session in sessions_of(history, weaken))
        except OutOfBudgetError:
            self.in_time = False
            return True
