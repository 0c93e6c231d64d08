"""Judges sessions with clears and replaces, still in O(n log n), by putting whole runs of messages in order.

Deciding linearizability is NP-complete in general (Gibbons & Korach 1997); whole reads of unique messages
make it tractable. `judge_epochs` is exact for a session of unique messages and atomic batches. The proof:

(1) *What nobody read may go.* An unknown add or replace that no read saw can be left out of a linearization:
    while its messages stand, nothing is read. So all writes left are acknowledged or were read.
(2) *Runs are solid.* Take all reads that begin with one message. It was written once, so they belong to one
    epoch, the time between two resets; they and the writes they saw are a run, and `_append` shows what its
    levels are. Between the first and the last call of a run nothing else can stand in a linearization:
    another write would be read by the run's later reads, an empty read would not be empty, a reset would
    end the epoch. So a run is one *unit*. All other calls are units alone.
(3) *A unit is two numbers.* One unit must precede another if some call of the first returned before some
    call of the other was invoked: if the first's earliest return (`end`) lies before the other's latest
    invocation (`start`). If two units must precede each other there is no linearization.
(4) *All that is left of the content is whether there is any.* By its effect every unit is one of
        empty read   needs no content, leaves none
        fresh run    needs no content, leaves some     (its first write is an add)
        write        needs nothing, leaves some        (an unread write; a run whose first write is a replace)
        clear        needs nothing, leaves none        (a clear; a replace with nothing)
        first run    stands before all else            (it begins with the initial content)
    Content that is left is never looked at again: what was read of it is within its unit.
(5) *Greedy is enough.* A unit is ready when no unit left must precede it. Say that a rest of units can be
    done from some content; then it can be done from none, too, unit by unit (every unit allowed with
    content is allowed without, and leaves the same). Call this (*). Let S be any order that does all that
    is left. We move one ready unit u to the front of S. That breaks no precedence, and after its old place
    (*) helps. What is between must still be allowed:
      with no content left
        u an empty read: nothing changes.
        else u a ready fresh run: S begins with a write, a clear or another ready fresh run (other units are
            not ready or not there). After a write or a clear, u at the front makes no difference. Another
            fresh run changes places with u (see below).
        else u a ready write: S begins with a clear, after which u makes no difference, or with another
            write, likewise.
        else only clears are ready.
      with content left
        u a ready write: it leaves what it found.
        else only clears are ready: nothing else is allowed.
    Units of one kind change places at no cost if the one that ends first is taken first: all that must wait
    for the one that ends later must wait for the one that ends first, too, as waiting means to start after
    the end; so nothing that stands between the two in S waits for either. Clears of unknown outcome end at
    infinity, so nothing waits for them; they are taken only where content is left and no other clear is
    ready, since without content they do nothing.

The loop below does just this. Both its moves and the readiness of units cost O(log n) each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heappop, heappush

from chathistory.conformance.linearizability._append import Run, contradiction, members, run_of
from chathistory.conformance.linearizability._session import INITIAL, Session


class Effect(IntEnum):
    """What a unit needs and leaves: see (4) above. In the order in which they are preferred."""

    FIRST_RUN = 0
    EMPTY_READ = 1
    FRESH_RUN = 2
    WRITE = 3
    CLEAR = 4
    MAYBE_CLEAR = 5


_FIRST = (Effect.FIRST_RUN,)
_WITHOUT_CONTENT = (Effect.EMPTY_READ, Effect.FRESH_RUN, Effect.WRITE, Effect.CLEAR)
_WITH_CONTENT = (Effect.WRITE, Effect.CLEAR, Effect.MAYBE_CLEAR)
_LEAVES_NOTHING = frozenset({Effect.EMPTY_READ, Effect.CLEAR, Effect.MAYBE_CLEAR})


@dataclass(slots=True)
class Unit:
    """Calls that stand together in every linearization.

    Attributes:
        effect: what they need and leave.
        start: the latest invocation among them.
        end: the earliest return among them.
        run: the run that they are, or None for a call alone.
        call: the call alone, or the first of the run.
    """

    effect: Effect
    start: float
    end: float
    call: int
    run: Run | None = None


def judge_epochs(session: Session, *, witness: bool) -> Sequence[int] | None:
    """A linearization of a session of unique messages and atomic batches, or None if there is none.

    The linearization is left empty unless a witness is asked for.
    """
    units = units_of(session)
    if units is None:
        return None
    order = _Schedule(units).order(content=bool(session.initial))
    if order is None:
        return None
    return [number for unit in order for number in _calls_of(session, unit)] if witness else ()


def _calls_of(session: Session, unit: Unit) -> list[int]:
    """The calls of a unit in an order that explains them."""
    return [unit.call] if unit.run is None else members(session, unit.run)


def units_of(session: Session) -> list[Unit] | None:
    """The units of a session, or None if some run can't be explained by itself."""
    runs = runs_of(session)
    if runs is None:
        return None
    units = [run_unit(session, first, run) for first, run in runs.items()]
    read = {number for run in runs.values() for number in run.steps}
    units += [_unit(session, Effect.EMPTY_READ, n) for n in session.reads if not session.observed(n)]
    units += [_unit(session, Effect.WRITE, n) for n in session.writes if n not in read and session.certain(n)]
    return units + [_clear_unit(session, number) for number in session.resets if not session.calls[number].added]


def readers_of(session: Session) -> dict[int, list[int]] | None:
    """The reads of anything, by the write of their first message; None if one of these has no write."""
    readers: dict[int, list[int]] = {}
    for read in session.reads:
        observed = session.observed(read)
        if observed:
            first = session.writer.get(observed[0])
            if first is None:
                return None
            readers.setdefault(first, []).append(read)
    return readers


def runs_of(session: Session) -> dict[int, Run] | None:
    """The runs of a session by the write of their first message; None if one can't be explained by itself."""
    readers = readers_of(session)
    if readers is None:
        return None
    runs: dict[int, Run] = {}
    read: set[int] = set()
    for first, reads in readers.items():
        run = run_of(session, session.initial if first == INITIAL else (), reads)
        if run is None or not read.isdisjoint(run.steps) or contradiction(session, run) is not None:
            return None
        read.update(run.steps)
        runs[first] = run
    return runs


def run_unit(session: Session, first: int, run: Run) -> Unit:
    """A run as a unit."""
    calls = [*run.steps, *run.reads]
    start = max(session.starts[number] for number in calls)
    end = min(session.ends[number] for number in calls)
    if first == INITIAL:
        return Unit(Effect.FIRST_RUN, start, end, calls[0], run)
    effect = Effect.FRESH_RUN if session.calls[first].kind == "add" else Effect.WRITE
    return Unit(effect, start, end, first, run)


def _clear_unit(session: Session, number: int) -> Unit:
    """A clear as a unit."""
    return _unit(session, Effect.CLEAR if session.certain(number) else Effect.MAYBE_CLEAR, number)


def _unit(session: Session, effect: Effect, number: int) -> Unit:
    """A call alone as a unit."""
    return Unit(effect, session.starts[number], session.ends[number], number)


@dataclass(slots=True)
class _Schedule:
    """Puts units in order, greedily: see (5) above.

    `by_end` and `by_start` are the units' indices in these orders. `first` is the place in `by_end` of the
    first unit not done, `second` of the second; units that must be done hold others up until they are.
    """

    units: list[Unit]
    by_start: list[int] = field(init=False)
    by_end: list[int] = field(init=False)
    done: list[bool] = field(init=False)
    listed: list[bool] = field(init=False)
    ready: dict[Effect, list[tuple[float, int]]] = field(init=False)
    first: int = 0
    second: int = 1
    next_start: int = 0

    def __post_init__(self) -> None:
        indices = range(len(self.units))
        self.by_start = sorted(indices, key=lambda index: self.units[index].start)
        self.by_end = sorted(indices, key=lambda index: self.units[index].end)
        self.done = [False] * len(self.units)
        self.listed = [False] * len(self.units)
        self.ready = {effect: [] for effect in Effect}

    def order(self, *, content: bool) -> list[Unit] | None:
        """The units in an order that explains them, or None; the session begins with content or without."""
        order: list[Unit] = []
        left = sum(unit.effect is not Effect.MAYBE_CLEAR for unit in self.units)
        first_run = any(unit.effect is Effect.FIRST_RUN for unit in self.units)
        while left:
            self._list_ready()
            unit = self._take(_FIRST if first_run else _WITH_CONTENT if content else _WITHOUT_CONTENT)
            if unit is None:
                return None
            first_run = False
            content = unit.effect not in _LEAVES_NOTHING
            left -= unit.effect is not Effect.MAYBE_CLEAR
            order.append(unit)
        return order

    def _take(self, allowed: tuple[Effect, ...]) -> Unit | None:
        """The ready unit to do next: the first allowed effect, and of these the unit that ends first."""
        for effect in allowed:
            if self.ready[effect]:
                _, index = heappop(self.ready[effect])
                self.done[index] = True
                return self.units[index]
        return None

    def _list_ready(self) -> None:
        """List the units that have become ready: those that start no later than all units left end.

        A unit never waits for itself: a run may end (its first return) before it starts (its last
        invocation). It can be the only one to end that early, so it is held against the second unit left.
        """
        self.first = self._skip_done(self.first)
        self.second = self._skip_done(max(self.second, self.first + 1))
        bound = self._end_at(self.first)
        while self.next_start < len(self.units) and self.units[self.by_start[self.next_start]].start <= bound:
            self._list(self.by_start[self.next_start])
            self.next_start += 1
        if self.first < len(self.units):
            earliest = self.by_end[self.first]
            if self.units[earliest].start <= self._end_at(self.second):
                self._list(earliest)

    def _list(self, index: int) -> None:
        """Put a unit on the list of its effect, once."""
        if not self.listed[index]:
            self.listed[index] = True
            unit = self.units[index]
            heappush(self.ready[unit.effect], (unit.end, index))

    def _skip_done(self, place: int) -> int:
        """The first place from here on, in the order of ends, of a unit that isn't done."""
        while place < len(self.units) and self.done[self.by_end[place]]:
            place += 1
        return place

    def _end_at(self, place: int) -> float:
        """The end of the unit at a place in the order of ends; infinity past the last."""
        return self.units[self.by_end[place]].end if place < len(self.units) else math.inf
