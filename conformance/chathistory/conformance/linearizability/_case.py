"""A session under investigation: the questions that every explanation asks, and the words it answers in."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from chathistory.conformance.linearizability._append import Run, run_of
from chathistory.conformance.linearizability._epochs import readers_of
from chathistory.conformance.linearizability._events import Prefix, common_length
from chathistory.conformance.linearizability._session import INITIAL, Session
from chathistory.conformance.linearizability._verdict import Anomaly, Violation

_LONGEST_QUOTE = 48
# Observations that begin alike are compared with so many groups before they make their own.
_GROUPS_TRIED = 4


@dataclass(slots=True)
class Group:
    """Reads of which each observed a prefix of the same content, so that it is looked through once for all.

    Attributes:
        content: the longest observation.
        reads: the reads, by growing length of what they observed.
        lengths: these lengths.
    """

    content: tuple[str, ...]
    reads: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def showing(self, place: int) -> int:
        """The shortest read that saw the message at this place of the content."""
        return self.reads[bisect_right(self.lengths, place)]

    def all_showing(self, place: int) -> list[int]:
        """All reads that saw it."""
        return self.reads[bisect_right(self.lengths, place) :]


class Case:
    """One session, as the detectors of anomalies see it.

    Args:
        session: the session, of which at least one read or write is suspected.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.calls = session.calls
        self.starts = session.starts
        self.ends = session.ends
        self._agreed: dict[tuple[int, int], int] = {}

    @cached_property
    def groups(self) -> list[Group]:
        """All reads of anything, grouped."""
        by_log: dict[int, list[int]] = {}
        plain: list[int] = []
        for read in self.session.reads:
            observed = self.session.observed(read)
            if type(observed) is Prefix:
                by_log.setdefault(id(observed.log), []).append(read)
            else:
                plain.append(read)
        logs = [self._group(reads) for reads in by_log.values()]
        return [group for group in [*logs, *self._plain_groups(plain)] if group.content]

    def _plain_groups(self, reads: list[int]) -> Iterator[Group]:
        """Groups of observations that share no log: found by comparison, the longest first."""
        groups: dict[str, list[list[int]]] = {}
        for read in sorted(reads, key=lambda read: len(self.observed(read)), reverse=True):
            observed = self.observed(read)
            alike = groups.setdefault(observed[0], []) if observed else []
            for members in alike[-_GROUPS_TRIED:]:
                if self.observed(members[0])[: len(observed)] == observed:
                    members.append(read)
                    break
            else:
                alike.append([read])
        return (self._group(members) for alike in groups.values() for members in alike)

    def _group(self, reads: list[int]) -> Group:
        in_order = sorted(reads, key=lambda read: len(self.observed(read)))
        lengths = [len(self.observed(read)) for read in in_order]
        return Group(tuple(self.observed(in_order[-1])), in_order, lengths)

    @cached_property
    def runs(self) -> dict[int, Run]:
        """The runs that can be explained by themselves, by the write of their first message.

        Without resets all reads are of one run, which may begin with nothing.
        """
        session = self.session
        readers = (readers_of(session) or {}) if session.resets else {INITIAL: session.reads}
        bases = {first: session.initial if first == INITIAL else () for first in readers}
        runs = {first: run_of(session, bases[first], reads) for first, reads in readers.items()}
        return {first: run for first, run in runs.items() if run is not None}

    @cached_property
    def refused(self) -> dict[str, int]:
        """The writes that raised, by their messages; they had no effect."""
        failed = (number for number in self.session.numbers if self.calls[number].failed)
        return {
            message: number
            for number in failed
            if not self.calls[number].unknown
            for message in self.calls[number].added
        }

    @cached_property
    def place_in_batch(self) -> dict[str, int]:
        """For each message of a batch of several, and of the initial content, its place there."""
        batches = [self.session.messages_of(number) for number in self.session.writes]
        several = [batch for batch in batches if len(batch) > 1]
        return {each: place for batch in [*several, self.session.initial] for place, each in enumerate(batch)}

    def observed(self, read: int) -> Sequence[str]:
        """What a read returned."""
        return self.session.observed(read)

    def writer(self, message: str) -> int | None:
        """The one write of a message (or INITIAL), or None if there is none, or several."""
        return self.session.writer.get(message)

    def added_by(self, message: str) -> int | None:
        """The one call that wrote a message; None if there is none, or several, or it was there at first."""
        writer = self.session.writer.get(message)
        return None if writer == INITIAL else writer

    def batch_of(self, message: str) -> int | None:
        """The one call that wrote a message, if no other wrote anything of its batch."""
        number = self.added_by(message)
        if number is None or not self.session.repeated.isdisjoint(self.session.messages_of(number)):
            return None
        return number

    def batch(self, writer: int) -> tuple[str, ...]:
        """All that this write wrote."""
        return self.session.initial if writer == INITIAL else self.session.messages_of(writer)

    def extends(self, longer: int, shorter: int) -> bool:
        """Whether what one read observed begins with what another did. Two logs are compared once."""
        ours, theirs = self.observed(longer), self.observed(shorter)
        if len(theirs) > len(ours):
            return False
        if not isinstance(ours, Prefix) or not isinstance(theirs, Prefix):
            return tuple(ours[: len(theirs)]) == tuple(theirs)
        logs = id(ours.log), id(theirs.log)
        if logs not in self._agreed:
            self._agreed[logs] = common_length(ours.log, theirs.log)
        return self._agreed[logs] >= len(theirs)

    def holders(self, message: str) -> list[int]:
        """The reads that saw a message."""
        return [
            read
            for group in self.groups
            if message in group.content
            for read in group.all_showing(group.content.index(message))
        ]

    def holder_after(self, message: str, read: int) -> int | None:
        """A read that saw the message and did not return before another read began."""
        later = [number for number in self.holders(message) if not self.session.precedes(number, read)]
        return min(later, key=self.starts.__getitem__, default=None)

    @cached_property
    def gaps(self) -> list[tuple[float, float]]:
        """The times between resets: what lies within one has no reset before, beside or after it there."""
        gaps: list[tuple[float, float]] = []
        free_from = -math.inf
        for number in sorted(self.session.resets, key=self.starts.__getitem__):
            if free_from < self.starts[number]:
                gaps.append((free_from, self.starts[number]))
            free_from = max(free_from, self.ends[number])
        return [*gaps, (free_from, math.inf)]

    def by_gap(self, numbers: Iterable[int]) -> list[list[int]]:
        """For each gap the calls that lie wholly inside it."""
        within: list[list[int]] = [[] for _ in self.gaps]
        for number in numbers:
            place = bisect_left(self.gaps, (self.starts[number], -math.inf)) - 1
            if place >= 0 and self.ends[number] < self.gaps[place][1]:
                within[place].append(number)
        return within

    def missing(self, message: str, read: int, before: Iterable[int], text: str) -> Violation:
        """A read misses a message that must be there: "stale read" if it is read again, else "lost add".

        Args:
            message: the message.
            read: the read.
            before: the calls which show that the message was there before.
            text: the same in prose, without what became of the message afterwards.
        """
        again = self.holder_after(message, read)
        if again is None:
            if any(self.session.precedes(read, other) for other in self.session.reads):
                text += f" No later read holds {quote(message)} either."
            return self.violation("lost add", [*before, read], [message], text)
        text += f" {sentence(self.name(again))} holds it{' again' if self.session.precedes(read, again) else ''}."
        return self.violation("stale read", [*before, read, again], [message], text)

    def violation(
        self, anomaly: Anomaly, numbers: Iterable[int], messages: Iterable[str], explanation: str
    ) -> Violation:
        """A violation with these calls, in order of invocation."""
        involved = sorted({number for number in numbers if number != INITIAL}, key=self._when)
        return Violation(
            anomaly=anomaly,
            session=self.session.name,
            calls=tuple(self.calls[number] for number in involved),
            numbers=tuple(involved),
            messages=tuple(messages),
            explanation=sentence(explanation),
        )

    def _when(self, number: int) -> tuple[float, float]:
        return self.starts[number], self.ends[number]

    def name(self, number: int) -> str:
        """What prose calls a call."""
        call = self.calls[number]
        return f"{call.kind} {number} by worker {worker(call.process)}"


def sentence(text: str) -> str:
    """A text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def worker(process: int | str) -> str:
    """What a process is called."""
    text = str(process)
    return text if text.isprintable() and text and " " not in text else quote(text)


def quote(message: str) -> str:
    """A message's identity for prose: printable, and not too long."""
    text = repr(message)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 2]}…{text[-1]}"


def listing(messages: Sequence[str], most: int = 3) -> str:
    """A few messages for prose."""
    few = ", ".join(quote(message) for message in messages[:most])
    return few if len(messages) <= most else f"{few} and {len(messages) - most:,} more"
