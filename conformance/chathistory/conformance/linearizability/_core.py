"""Finds the few calls that make a history not linearizable, when no anomaly has a simpler name.

A call is *relaxed* by taking away what it proves: a read is forgotten, a write may have happened at any
time or never. What could be explained before can still be explained then, so as long as the rest can't be
explained, the relaxed calls had no part in it. What is left in the end is a core: relax any one of its
calls, and the rest can be explained.

Clears come last. A relaxed clear may happen at any time, and so may explain a contradiction elsewhere; many
are needed to keep each other in place. But once few other calls are left, all clears that were over before
these calls began can be left out but for the last to end, and all that began after they had returned,
without making a difference to them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeAlias

from chathistory.conformance.linearizability._events import Call, EventHistory
from chathistory.conformance.linearizability._search import OutOfBudgetError
from chathistory.conformance.linearizability._session import Session, sessions_of
from chathistory.conformance.linearizability._verdict import Weaken

Judge: TypeAlias = Callable[[Session], bool]
"""Whether a session is linearizable."""

_SECONDS = 5.0


class Suspects:
    """A session by itself, its calls numbered from 0, of which calls can be relaxed.

    Args:
        session: the session.
        judge: decides whether a session is linearizable.

    Attributes:
        in_time: whether all questions asked so far were answered in time.
        clears: the clears that are near the core: those in it, and those that don't help either.
    """

    def __init__(self, session: Session, judge: Judge) -> None:
        self._numbers = sorted({*session.reads, *session.writes, *session.resets})
        self._calls = [session.calls[number] for number in self._numbers]
        self._session = session
        self._judge = judge
        self._dawn = min((call.invoked for call in self._calls), default=0.0)
        self._deadline = time.monotonic() + _SECONDS
        self.in_time = True
        self.clears: list[int] = []

    def core(self) -> list[int]:
        """Calls that can't be explained, of which none can be left out; more than that if not in time."""
        clears = [place for place, call in enumerate(self._calls) if _is_clear(call)]
        others = [place for place, call in enumerate(self._calls) if not _is_clear(call)]
        kept = self._needed(others, strict=clears)
        loose = set(others).difference(kept)
        near = self._near(clears, kept)
        self.clears = [self._numbers[place] for place in near]
        near = self._needed(near, strict=kept, loose=loose)
        return [self._numbers[place] for place in sorted([*kept, *near])]

    def explained_without(self, number: int) -> bool:
        """Whether the session would be linearizable if this call had never been."""
        place = self._numbers.index(number)
        return self._explained([*self._calls[:place], *self._calls[place + 1 :]])

    def _needed(self, places: list[int], strict: list[int], loose: Collection[int] = ()) -> list[int]:
        """Which of the calls at these places can't be relaxed, others being strict or relaxed already.

        Larger parts are tried before smaller ones. One try for each call is enough in the end: where less
        is left, a call that was needed is needed all the more.
        """
        needed = list(places)
        relaxed = set(loose)
        size = len(needed)
        while size:
            start = 0
            while start < len(needed) and self._has_time():
                part = needed[start : start + size]
                rest = [*strict, *needed[:start], *needed[start + size :]]
                if self._explained(self._with_relaxed(rest, relaxed.union(part))):
                    start += size
                else:
                    relaxed.update(part)
                    del needed[start : start + size]
            size //= 2
        return needed

    def _near(self, clears: list[int], others: list[int]) -> list[int]:
        """The clears that make a difference to these calls."""
        calls = [self._calls[place] for place in others]
        begin = min((call.invoked for call in calls), default=self._dawn)
        end = max((_end(call) for call in calls), default=math.inf)
        before = [place for place in clears if _end(self._calls[place]) < begin]
        last = max(before, key=lambda place: _end(self._calls[place]), default=None)
        return [
            place
            for place in clears
            if place == last or (_end(self._calls[place]) >= begin and self._calls[place].invoked <= end)
        ]

    def _with_relaxed(self, strict: list[int], relaxed: Collection[int]) -> list[Call]:
        """The strict calls and the relaxed ones, but for writes of what nobody reads any more."""
        calls = [self._calls[place] for place in strict]
        seen: set[str] = set()
        seen.update(*(call.observed for call in calls if call.observed is not None))
        weak = [self._calls[place] for place in relaxed if self._calls[place].kind != "read"]
        weak = [call for call in weak if not call.added or not seen.isdisjoint(call.added)]
        return calls + [replace(call, invoked=self._dawn, returned=None) for call in weak]

    def _explained(self, calls: list[Call]) -> bool:
        """Whether these calls are linearizable; yes if that can't be decided."""
        history = EventHistory(calls, {self._session.name: self._session.initial})
        weaken = Weaken(batches_atomic=self._session.atomic)
        try:
            return all(self._judge(session) for session in sessions_of(history, weaken))
        except OutOfBudgetError:
            self.in_time = False
            return True

    def _has_time(self) -> bool:
        """Whether there is time for another question."""
        self.in_time &= time.monotonic() < self._deadline
        return self.in_time


def _is_clear(call: Call) -> bool:
    """Whether a call takes away everything and adds nothing."""
    return call.kind != "read" and not call.added


def _end(call: Call) -> float:
    """When a call returned, infinity if that is unknown."""
    return math.inf if call.returned is None else call.returned
