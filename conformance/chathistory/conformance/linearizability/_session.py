"""One session of an event history, sorted for the judges: writes, reads, resets, and who wrote what.

Linearizability is a local property (Herlihy & Wing 1990): a history is linearizable if and only if each of
its sessions is, so everything after this module looks at one session at a time.

Calls are numbers here, places in `EventHistory.calls`; their times are in two lists, `starts` and `ends`,
where an unknown outcome ends at infinity. Left out are the calls that say nothing: reads without a result,
adds of nothing, and calls that raised, which had no effect (ATM-1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chathistory.conformance.linearizability._events import Call, EventHistory
from chathistory.conformance.linearizability._verdict import Weaken

INITIAL = -1
"""Stands for the writer of what the session held before the first call."""


@dataclass(slots=True, kw_only=True)
class Session:
    """The calls of one session.

    Attributes:
        name: the session's id.
        initial: what it held before the first call.
        calls: all calls of the history.
        starts: when each of them was invoked.
        ends: when each of them returned, infinity if that is unknown.
        atomic: whether a batch takes effect at once; False only where that makes a difference.
        numbers: the calls of this session that count, in the order given.
        writes: the adds and replaces of something that may have taken effect.
        reads: the reads that returned something, be it an empty list.
        resets: the clears and replaces that may have taken effect.
        writer: who wrote a message: the number of a call, or INITIAL. Only messages written once.
        repeated: the messages that more than one write holds, or one of them twice.
    """

    name: str
    initial: tuple[str, ...]
    calls: Sequence[Call]
    starts: Sequence[float]
    ends: Sequence[float]
    atomic: bool
    numbers: list[int]
    writes: list[int] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    writer: dict[str, int] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)

    def certain(self, number: int) -> bool:
        """Whether the call certainly took effect, as a whole."""
        return self.calls[number].acknowledged

    def messages_of(self, number: int) -> tuple[str, ...]:
        """What a write may have stored: all, or all but the last if it raised half-way (not atomic only)."""
        call = self.calls[number]
        return call.added[:-1] if call.failed and not call.unknown else call.added

    def observed(self, number: int) -> Sequence[str]:
        """What a read returned."""
        return self.calls[number].observed or ()

    def precedes(self, earlier: int, later: int) -> bool:
        """Whether one call had returned before the other was invoked."""
        return self.ends[earlier] < self.starts[later]


def sessions_of(history: EventHistory, weaken: Weaken) -> Iterator[Session]:
    """The sessions of a history that were called, in the order of their first calls."""
    starts = [call.invoked for call in history.calls]
    ends = [math.inf if call.returned is None else call.returned for call in history.calls]
    numbers: dict[str, list[int]] = {}
    for number, call in enumerate(history.calls):
        numbers.setdefault(call.session, []).append(number)
    for name, own in numbers.items():
        session = Session(
            name=name,
            initial=history.initial.get(name, ()),
            calls=history.calls,
            starts=starts,
            ends=ends,
            atomic=weaken.batches_atomic or all(len(history.calls[number].added) < 2 for number in own),
            numbers=own,
        )
        _sort_calls(session)
        _note_writers(session)
        yield session


def _sort_calls(session: Session) -> None:
    """Fill the lists of writes, reads and resets."""
    for number in session.numbers:
        call = session.calls[number]
        if call.kind == "read":
            if call.observed is not None:
                session.reads.append(number)
        elif _may_have_happened(session, call):
            if call.added:
                session.writes.append(number)
            if call.kind != "add":
                session.resets.append(number)


def _may_have_happened(session: Session, call: Call) -> bool:
    """Whether a write may have left anything: one that raised did not, unless it was a loop of adds."""
    in_part = not session.atomic and call.kind == "add" and len(call.added) > 1
    return not call.failed or call.unknown or in_part


def _note_writers(session: Session) -> None:
    """Fill `writer` and `repeated`."""
    writer, repeated = session.writer, session.repeated
    for message in session.initial:
        if message in writer:
            repeated.add(message)
        writer[message] = INITIAL
    for number in session.writes:
        for message in session.messages_of(number):
            if message in writer:
                repeated.add(message)
            writer[message] = number
    for message in repeated:
        del writer[message]
