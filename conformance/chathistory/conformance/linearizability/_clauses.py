"""Judges single clauses of a concurrent history, each alone, and each sound whatever else is wrong with it.

A history whose adds are no atomic batches breaks ATM-2 and ATM-3, but need not break CON-1; one check for
all would blame it for everything. Each function returns the first violation of its one clause, or None.
None is no proof that the history is linearizable: `check` gives that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from chathistory.conformance.linearizability._case import Case, quote
from chathistory.conformance.linearizability._events import Call, EventHistory
from chathistory.conformance.linearizability._pairs import shrunk
from chathistory.conformance.linearizability._session import sessions_of
from chathistory.conformance.linearizability._single import disordered, made_up, torn
from chathistory.conformance.linearizability._verdict import Violation, Weaken

FINAL_READER = "final read"
"""The process of the reads that `lost_messages` is given."""


def lost_messages(history: EventHistory, final_reads: Mapping[str, Iterable[str]] | None = None) -> Violation | None:
    """An acknowledged message that is missing at the end (CON-1).

    A message is not judged if a clear or replace may have come after it.

    Args:
        history: what was called.
        final_reads: what each session held after all calls had returned; sessions not named are not judged.
            In the violation these reads have the numbers after those of the history. Without it the read of
            each session that began last is taken, and judges what was acknowledged before it began.
    """
    names = {call.session for call in history.calls} if final_reads is None else set(final_reads)
    for case in _cases(history if final_reads is None else _with_final_reads(history, final_reads)):
        if case.session.name in names and case.session.reads:
            found = _lost(case, max(case.session.reads, key=case.starts.__getitem__))
            if found:
                return found
    return None


def writer_order_violations(history: EventHistory) -> Violation | None:
    """A read in which messages of one process stand in another order than it added them (CON-2).

    The order of two adds of one process counts if the first had returned before the second was invoked.
    """
    return _first(disordered(case, same_process=True) for case in _cases(history))


def prefix_violations(history: EventHistory) -> Violation | None:
    """A read that doesn't extend one that returned before it began, with no clear in reach (CON-3)."""
    return _first(shrunk(case) for case in _cases(history))


def torn_batches(history: EventHistory) -> Violation | None:
    """A read of a part of a batch, or with something else inside one (ATM-2, ATM-3)."""
    return _first(torn(case) for case in _cases(history))


def half_written_messages(history: EventHistory) -> Violation | None:
    """A read of a message that nobody wrote as it was read, so that it may be a part of one (ATM-3)."""
    return _first(made_up(case) for case in _cases(history))


def _cases(history: EventHistory) -> Iterator[Case]:
    """The sessions of a history."""
    return (Case(session) for session in sessions_of(history, Weaken()))


def _first(found: Iterable[Violation | None]) -> Violation | None:
    """The first violation."""
    return next((violation for violation in found if violation), None)


def _with_final_reads(history: EventHistory, final_reads: Mapping[str, Iterable[str]]) -> EventHistory:
    """The history with these reads at its end."""
    times = (time for call in history.calls for time in (call.invoked, call.returned) if time is not None)
    end = max(times, default=0) + 1
    reads = (
        Call(
            process=FINAL_READER,
            session=name,
            kind="read",
            invoked=end,
            returned=end,
            observed=tuple(content),
        )
        for name, content in final_reads.items()
    )
    return EventHistory([*history.calls, *reads], history.initial)


def _lost(case: Case, read: int) -> Violation | None:
    """A message that this read lacks, though it was acknowledged before and no reset can have taken it."""
    observed = set(case.observed(read))
    resets = [number for number in case.session.resets if case.starts[number] <= case.ends[read]]
    if not resets and not observed.issuperset(case.session.initial):
        lost = next(message for message in case.session.initial if message not in observed)
        text = f"{_reader(case, read)} doesn't hold {quote(lost)}, which was there before the first call."
        return case.violation("lost add", [read], [lost], text)
    for number in sorted(case.session.writes, key=case.ends.__getitem__):
        judged = case.session.certain(number) and case.session.precedes(number, read)
        if judged and not observed.issuperset(case.batch(number)) and _stays(case, number, resets):
            return _lost_add(case, number, read, observed)
    return None


def _stays(case: Case, number: int, resets: list[int]) -> bool:
    """Whether all resets but the write itself were over when it began."""
    latest = max((case.ends[reset] for reset in resets if reset != number), default=-math.inf)
    return latest < case.starts[number]


def _lost_add(case: Case, number: int, read: int, observed: set[str]) -> Violation:
    """A read that lacks a message of an acknowledged write."""
    lost = next(message for message in case.batch(number) if message not in observed)
    text = f"{case.name(number)} was acknowledged before {_reader(case, read)} began, which doesn't hold its "
    text += f"message {quote(lost)}"
    text += "; no clear can have taken it." if case.session.resets else "; the session was never cleared."
    return case.violation("lost add", [number, read], [lost], text)


def _reader(case: Case, read: int) -> str:
    """What prose calls the last read."""
    return "the final read" if case.calls[read].process == FINAL_READER else case.name(read)
