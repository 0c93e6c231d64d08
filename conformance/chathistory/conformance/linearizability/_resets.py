"""Anomalies around clears and assignments: what was cleared is back, or never went.

A run of messages (see `_epochs`) is one epoch: nothing else can stand between its first call and its last.
A call that real time puts there is a proof that the history is not linearizable, and its kind says what
happened.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from chathistory.conformance.linearizability._append import members
from chathistory.conformance.linearizability._case import Case, quote, sentence
from chathistory.conformance.linearizability._epochs import Effect, Unit, run_unit
from chathistory.conformance.linearizability._session import INITIAL
from chathistory.conformance.linearizability._verdict import Violation


def returned(case: Case) -> Violation | None:
    """A read of a message that had been written before a clear began which was over when the read began."""
    resets = sorted(_resets(case), key=lambda unit: unit.end)
    ends = [unit.end for unit in resets]
    latest = list(accumulate(resets, _later))
    for group in case.groups if resets else ():
        oldest, oldest_end, place = "", math.inf, 0
        for read, length in zip(group.reads, group.lengths, strict=True):
            for message in group.content[place:length]:
                if _written_by(case, message) < oldest_end:
                    oldest, oldest_end = message, _written_by(case, message)
            place = length
            over = bisect_left(ends, case.starts[read])
            if over and oldest_end < latest[over - 1].start:
                first = case.session.writer[oldest]
                return _Scene(case, first, read, read, oldest).reset(latest[over - 1].call)
    return None


def _later(one: Unit, other: Unit) -> Unit:
    """The unit that started later."""
    return one if one.start > other.start else other


def _written_by(case: Case, message: str) -> float:
    """The time by which a message had been written; infinity if that isn't known."""
    writer = case.writer(message)
    return math.inf if writer is None else -math.inf if writer == INITIAL else case.ends[writer]


def interleaved(case: Case) -> Violation | None:
    """A run of messages with a clear, another write, an empty read or another run in its midst."""
    runs = [run_unit(case.session, first, run) for first, run in case.runs.items()]
    for intruders in (_resets(case), _calls_alone(case), runs):
        index = _Interval(intruders)
        for unit in runs:
            intruder = index.inside(unit)
            if intruder is not None:
                return _intrusion(case, unit, intruder)
    return None


def _resets(case: Case) -> list[Unit]:
    """All certain clears and assignments, each by itself, be it the first of a run or not."""
    certain = (number for number in case.session.resets if case.session.certain(number))
    return [Unit(Effect.CLEAR, case.starts[number], case.ends[number], number) for number in certain]


def _calls_alone(case: Case) -> list[Unit]:
    """The certain writes of which no run saw anything, and the reads of nothing."""
    seen = {number for run in case.runs.values() for number in run.steps}
    unread = [n for n in case.session.writes if n not in seen and case.session.certain(n)]
    empty = [read for read in case.session.reads if not case.observed(read)]
    units = [Unit(Effect.WRITE, case.starts[number], case.ends[number], number) for number in unread]
    return units + [Unit(Effect.EMPTY_READ, case.starts[read], case.ends[read], read) for read in empty]


class _Interval:
    """Finds units that real time puts inside another: after one of its calls, and before another of them.

    For each place in the order of ends it knows the two units up to there that start last; two, as a run
    isn't inside itself.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        in_order = sorted(units, key=lambda unit: unit.end)
        self._ends = [unit.end for unit in in_order]
        self._last: list[list[Unit]] = [[]]
        for unit in in_order:
            last = sorted([*self._last[-1], unit], key=lambda unit: unit.start)
            self._last.append(last[-2:])

    def inside(self, outer: Unit) -> Unit | None:
        """A unit that must stand inside this one, or None."""
        candidates = self._last[bisect_left(self._ends, outer.start)]
        inside = (unit for unit in candidates if unit.start > outer.end and unit.call != outer.call)
        return next(inside, None)


def _intrusion(case: Case, outer: Unit, inner: Unit) -> Violation:
    """A run with something in its midst, put in words by the kind of this something."""
    calls = members(case.session, outer.run) if outer.run else [outer.call]
    first = min(calls, key=case.ends.__getitem__)
    after = [number for number in calls if case.starts[number] > inner.end]
    last = min(after, key=lambda number: (case.calls[number].kind != "read", case.starts[number]))
    witness = last if case.calls[last].kind == "read" else _reader_of(case, outer, last)
    scene = _Scene(case, first, last, witness, _shared(case, first, witness))
    if inner.run is not None:
        return scene.another_run(inner)
    if inner.effect is Effect.EMPTY_READ:
        return scene.empty_read(inner.call)
    return scene.reset(inner.call) if inner.effect is Effect.CLEAR else scene.write(inner.call)


def _reader_of(case: Case, unit: Unit, writer: int) -> int:
    """A read of a run that holds the messages of one of its writes."""
    reads = unit.run.reads if unit.run else []
    wrote = set(case.batch(writer))
    return next(read for read in reads if not wrote.isdisjoint(case.observed(read)))


def _shared(case: Case, number: int, witness: int) -> str:
    """The first message of a call that a read holds."""
    seen = set(case.observed(witness))
    content = case.calls[number].added or case.observed(number)
    return next(message for message in content if message in seen)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A run of messages in the midst of which something happened.

    Attributes:
        case: the session.
        first: a call of the run that returned before, or INITIAL.
        last: a call of the run that began after.
        witness: a read that saw both: `last` itself, or one that holds what it wrote.
        message: a message that the first call wrote or found, and the witness holds.
    """

    case: Case
    first: int
    last: int
    witness: int
    message: str

    def reset(self, reset: int) -> Violation:
        """A clear or assignment in the midst: the old messages should be gone."""
        case, kind = self.case, self.case.calls[reset].kind
        newer = [each for each in case.observed(self.witness) if not self._was_there_before(each, reset)]
        gone = self._found_gone()
        text = f"{self._before(reset)}. {self._after(reset)}"
        text += f", together with {quote(newer[0])}, which is newer." if newer else "."
        text += f" {sentence(case.name(gone))} had found it gone." if gone is not None else ""
        if newer or gone is not None:
            calls = [reset, *self._calls(), *([] if gone is None else [gone])]
            return case.violation("resurrected after clear", calls, [self.message], text)
        text += f" It is as if the {kind} had never happened."
        return case.violation("clear undone", [reset, *self._calls()], [self.message], text)

    def _was_there_before(self, message: str, reset: int) -> bool:
        """Whether the message was written before the reset began."""
        return _written_by(self.case, message) < self.case.starts[reset]

    def _found_gone(self) -> int | None:
        """A read between that didn't see the message."""
        case, precedes = self.case, self.case.session.precedes
        since = -math.inf if self.first == INITIAL else case.ends[self.first]
        between = (n for n in case.session.reads if since < case.starts[n] and precedes(n, self.witness))
        return next((read for read in between if self.message not in case.observed(read)), None)

    def another_run(self, inner: Unit) -> Violation:
        """Messages of another epoch were there in the midst."""
        case = self.case
        calls = members(case.session, inner.run) if inner.run else [inner.call]
        begun = max(calls, key=case.starts.__getitem__)
        ended = min(calls, key=case.ends.__getitem__)
        other = inner.run.content[0] if inner.run else ""
        text = f"{self._before(begun)}. {self._after(ended)}. In between, the session held {quote(other)} and "
        text += f"not {quote(self.message)}: it had been cleared, and what was cleared is back."
        return case.violation("resurrected after clear", [begun, ended, *self._calls()], [self.message], text)

    def empty_read(self, read: int) -> Violation:
        """The session was empty in the midst."""
        text = f"{self._before(read)}. {self._after(read)}. But {self.case.name(read)}, in between, found "
        text += "nothing: the session had been cleared, and what was cleared is back."
        return self.case.violation("resurrected after clear", [read, *self._calls()], [self.message], text)

    def write(self, writer: int) -> Violation:
        """Something was written in the midst that isn't there."""
        case, lost = self.case, self.case.batch(writer)[0]
        text = f"{self._before(writer)}. {self._after(writer)}, so there was no clear between; yet it "
        text += f"doesn't hold {quote(lost)} of {case.name(writer)}."
        return case.missing(lost, self.witness, [writer, *self._calls()], text)

    def _calls(self) -> list[int]:
        return [self.first, self.last, self.witness]

    def _before(self, inner: int) -> str:
        """What was before."""
        if self.first == INITIAL:
            return f"{quote(self.message)} was there before {self.case.name(inner)} began"
        did = "had returned with" if self.case.calls[self.first].kind == "read" else "had written"
        return f"{self.case.name(self.first)} {did} {quote(self.message)} before {self.case.name(inner)} began"

    def _after(self, inner: int) -> str:
        """What was after."""
        case, held = self.case, quote(self.message)
        reader = sentence(case.name(self.witness))
        if self.last == self.witness:
            return f"{reader} began after {case.name(inner)} had returned, and holds {held}"
        added = quote(_shared(case, self.last, self.witness))
        return (
            f"{reader} holds {held}, and also {added}, whose {case.name(self.last)} began after "
            f"{case.name(inner)} had returned"
        )
