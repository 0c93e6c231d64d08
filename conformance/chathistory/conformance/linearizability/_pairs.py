"""Anomalies that two calls show: reads that contradict each other, and reads that miss what was there.

As in `_single`, each detector is a proof by itself. They rest on two facts. Two reads that hold the same
message (written once) saw the same epoch, and an epoch only grows at its end. And in a *gap*, a time
without any clear or replace under way, all that was there stays there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chathistory.conformance.linearizability._append import Run, contradiction, unread
from chathistory.conformance.linearizability._case import Case, Group, quote
from chathistory.conformance.linearizability._verdict import Violation


def diverging(case: Case) -> Violation | None:
    """Two reads of one epoch of which neither begins with the other."""
    found = _fork(case.groups, common_start=not case.session.resets)
    if found is None:
        return None
    first, second = found
    place = _first_difference(first.content, second.content)
    return contradicting(case, first.showing(place), second.showing(place))


def _fork(groups: Iterable[Group], *, common_start: bool) -> tuple[Group, Group] | None:
    """Two groups that share a message, and differ in what comes before or after it.

    Args:
        groups: groups of reads, no message twice in one of them.
        common_start: whether all reads are of one epoch, whatever they hold.
    """
    before: dict[str, tuple[str | None, Group]] = {}
    after: dict[str | None, tuple[str, Group]] = {}
    for group in groups:
        previous: str | None = None
        for message in group.content:
            known, other = before.setdefault(message, (previous, group))
            if known != previous:
                return other, group
            if previous is not None or common_start:
                follower, other = after.setdefault(previous, (message, group))
                if follower != message:
                    return other, group
            previous = message
    return None


def _first_difference(one: Sequence[str], other: Sequence[str]) -> int:
    """The first place at which two observations differ, of which neither begins with the other."""
    return next(place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])


def contradicting(case: Case, one: int, other: int) -> Violation:
    """Two reads of one epoch of which neither begins with the other, put in words."""
    first, second = (other, one) if case.session.precedes(other, one) else (one, other)
    place = _first_difference(case.observed(first), case.observed(second))
    ours, theirs = case.observed(first)[place], case.observed(second)[place]
    ours_is_there, theirs_was_there = ours in case.observed(second), theirs in case.observed(first)
    if ours_is_there and theirs_was_there:
        return _moved(case, first, second, ours, theirs)
    if ours_is_there:
        return _inserted(case, first, second, theirs, ours)
    again = case.holder_after(ours, second)
    if again is not None and theirs in case.observed(again):
        return _both(case, (first, second), again, (ours, theirs))
    return _vanished(case, first, second, ours, theirs)


def _both(case: Case, pair: tuple[int, int], having: int, messages: tuple[str, str]) -> Violation:
    """Two messages at one place of two reads, and a read that holds both of them.

    Whichever stands in front there was inserted before the other, or moved.
    """
    seen = list(case.observed(having))
    new, old = sorted(messages, key=seen.index)
    without = pair[1] if new == messages[0] else pair[0]
    if new in case.observed(without):
        return _moved(case, without, having, old, new)
    return _inserted(case, without, having, new, old)


def _moved(case: Case, first: int, second: int, ours: str, theirs: str) -> Violation:
    """Two reads with the same two messages in different orders."""
    text = f"{case.name(first)} holds {quote(ours)} before {quote(theirs)}, {case.name(second)} holds them the "
    text += "other way round; one order of the adds can't explain both."
    return case.violation("read out of order", [first, second, *_writers(case, ours, theirs)], [ours, theirs], text)


def _inserted(case: Case, without: int, having: int, new: str, old: str) -> Violation:
    """A message that stands before another one which was once read without it."""
    text = f"{case.name(without)} holds {quote(old)} and not {quote(new)}, so {quote(new)} can only have been "
    text += f"added behind; yet in {case.name(having)} it stands before {quote(old)}."
    calls = [without, having, *_writers(case, new)]
    return case.violation("message inserted in the middle", calls, [new, old], text)


def _vanished(case: Case, first: int, second: int, ours: str, theirs: str) -> Violation:
    """A message that was read, and isn't there in another read, which has something else in its place."""
    text = f"{case.name(first)} holds {quote(ours)}, {case.name(second)} holds {quote(theirs)} in its place. "
    theirs_too = set(case.observed(second))
    shared = next((message for message in case.observed(first) if message in theirs_too), None)
    text += _one_epoch(case) if shared is None else f"Both hold {quote(shared)}, so they saw one epoch"
    lost = theirs if case.holder_after(ours, second) is not None else ours
    text += f": {quote(lost)} is lost to one of them." if lost == theirs else f": {quote(lost)} was lost."
    messages = [lost, ours if lost == theirs else theirs]
    return case.violation("lost add", [first, second, *_writers(case, ours, theirs)], messages, text)


def _one_epoch(case: Case) -> str:
    """Why two reads that hold nothing in common saw one epoch all the same."""
    if not case.session.resets:
        return "The session was never cleared"
    return "No clear can have taken effect between the first of them and the second"


def _writers(case: Case, *messages: str) -> list[int]:
    """The writes of these messages."""
    writers = (case.added_by(message) for message in messages)
    return [number for number in writers if number is not None]


def shrunk(case: Case) -> Violation | None:
    """A read that doesn't extend an earlier one in the same gap (CON-3)."""
    found = (_shrunk_within(case, reads) for reads in case.by_gap(case.session.reads))
    return next((violation for violation in found if violation), None)


def _shrunk_within(case: Case, reads: list[int]) -> Violation | None:
    """Of reads in one gap: one that doesn't extend all that returned before it began.

    It is enough to hold each read against the longest that returned before, and against one read that this
    longest doesn't extend, if there is one: no read extends both.
    """
    returned = iter(sorted(reads, key=case.ends.__getitem__))
    nearest = next(returned, None)
    known: list[int] = []
    for read in sorted(reads, key=case.starts.__getitem__):
        while nearest is not None and case.ends[nearest] < case.starts[read]:
            _remember(case, known, nearest)
            nearest = next(returned, None)
        for earlier in known:
            if not case.extends(read, earlier):
                return _not_extending(case, earlier, read)
    return None


def _remember(case: Case, known: list[int], read: int) -> None:
    """Keep the longest read in front, and behind it at most one that it doesn't extend."""
    if not known or case.extends(read, known[0]):
        known[:1] = [read]
    elif len(known) == 1 and not case.extends(known[0], read):
        known.append(read)


def _not_extending(case: Case, earlier: int, later: int) -> Violation:
    """A read that doesn't extend an earlier one, put in words."""
    if not case.extends(earlier, later):
        return contradicting(case, earlier, later)
    lost = case.observed(earlier)[len(case.observed(later))]
    return _lost_from_sight(case, lost, earlier, later)


def _lost_from_sight(case: Case, lost: str, earlier: int, later: int) -> Violation:
    """A read without a message that an earlier read holds."""
    text = f"{case.name(later)} began after {case.name(earlier)} had returned with {quote(lost)}, "
    text += "and doesn't hold it."
    return case.missing(lost, later, [earlier, *_writers(case, lost)], text)


def overtaken(case: Case) -> Violation | None:
    """Calls of one run of messages that real time and what was read put in opposite orders.

    In a session without resets the acknowledged writes that nobody read belong to the run.
    """
    for run in case.runs.values():
        rest = () if case.session.resets else unread(case.session, run.steps)
        found = contradiction(case.session, run, rest)
        if found:
            return _overtaking(case, run, *found)
    return None


def _overtaking(case: Case, run: Run, earlier: int, later: int) -> Violation:
    """A call that returned before another began, and stands behind it by what was read."""
    if case.calls[earlier].kind == "read" and case.calls[later].kind == "read":
        lost = case.observed(earlier)[len(case.observed(later))]
        return _lost_from_sight(case, lost, earlier, later)
    read = later if case.calls[later].kind == "read" else _first_reader(case, run, later)
    return missing_add(case, earlier, read, later)


def _first_reader(case: Case, run: Run, writer: int) -> int:
    """The shortest read of a run that saw a write."""
    seen = [read for read in run.reads if run.rank(case.session, read) > run.steps.index(writer)]
    return min(seen, key=lambda read: len(case.observed(read)))


def missing_add(case: Case, writer: int, read: int, later: int) -> Violation:
    """A read without a message of a write acknowledged before `later`: the read, or a write that it saw."""
    observed = set(case.observed(read))
    lost = next(message for message in case.batch(writer) if message not in observed)
    if later == read:
        text = f"{case.name(read)} began after {case.name(writer)} had been acknowledged, and doesn't hold its "
        return case.missing(lost, read, [writer], f"{text}message {quote(lost)}.")
    text = f"{case.name(writer)} had been acknowledged before {case.name(later)} began, yet {case.name(read)} "
    text += f"holds {quote(case.batch(later)[0])} of the latter, and not {quote(lost)} of the former."
    return case.missing(lost, read, [writer, later], text)


def unseen(case: Case) -> Violation | None:
    """A read that lacks a message which was acknowledged before in the same gap, and isn't in its run."""
    runs = [(run.reads, set(run.steps)) for run in case.runs.values()]
    runs.append(([read for read in case.session.reads if not case.observed(read)], set()))
    run_of_read = {read: index for index, (reads, _) in enumerate(runs) for read in reads}
    writes_by_gap = case.by_gap(sorted(case.session.writes, key=case.ends.__getitem__))
    for reads, writes in zip(case.by_gap(run_of_read), writes_by_gap, strict=True):
        last = {run_of_read[read]: read for read in sorted(reads, key=case.starts.__getitem__)}
        for index, read in last.items():
            certain = (number for number in writes if case.session.certain(number))
            lost = next((number for number in certain if number not in runs[index][1]), None)
            if lost is not None and case.session.precedes(lost, read):
                return missing_add(case, lost, read, read)
    return None
