"""Anomalies that a single read shows: messages from nowhere, twice, out of order, and torn batches.

Each detector returns the first violation it finds, or None. Each is a proof by itself, whatever else is
wrong with the history: a session only ever holds messages that were written to it, a batch stands in it
whole and in order, and messages that stand in it together stand in an order in which they can have been
added.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from chathistory.conformance.linearizability._case import Case, Group, listing, quote
from chathistory.conformance.linearizability._session import INITIAL
from chathistory.conformance.linearizability._verdict import Violation


def from_nowhere(case: Case) -> Violation | None:
    """A read of a message that nobody had written to this session by then."""
    for group in case.groups:
        for place, message in enumerate(group.content):
            if message not in case.session.writer and message not in case.session.repeated:
                return _unwritten(case, group.showing(place), message)
        ahead = _read_ahead(case, group)
        if ahead:
            return ahead
    return None


def made_up(case: Case) -> Violation | None:
    """A read of a message that no call, on any session, ever tried to write, such as a part of one."""
    known = {message for call in case.calls for message in call.added}
    for group in case.groups:
        for place, message in enumerate(group.content):
            if message not in known and message not in case.session.initial:
                return _unwritten(case, group.showing(place), message)
    return None


def _unwritten(case: Case, read: int, message: str) -> Violation:
    """A read of a message without a writer: refused, another session's, or made up."""
    start = f"{case.name(read)} holds {quote(message)}, "
    refused = case.refused.get(message)
    if refused is not None:
        text = f"{start}but {case.name(refused)} had raised, so it can't have been stored."
        return case.violation("message from nowhere", [read, refused], [message], text)
    leak = next((number for number, call in enumerate(case.calls) if message in call.added), None)
    if leak is not None and case.calls[leak].session != case.session.name:
        text = f"{start}which {case.name(leak)} wrote to another session, {quote(case.calls[leak].session)}."
        return case.violation("message from nowhere", [read, leak], [message], text)
    return case.violation("message from nowhere", [read], [message], f"{start}which no call ever wrote.")


def _read_ahead(case: Case, group: Group) -> Violation | None:
    """A read that returned before one of its messages was written."""
    newest, writer, newest_start, place = "", INITIAL, -math.inf, 0
    for read, length in zip(group.reads, group.lengths, strict=True):
        for message in group.content[place:length]:
            number = case.added_by(message)
            if number is not None and case.starts[number] > newest_start:
                newest, writer, newest_start = message, number, case.starts[number]
        place = length
        if newest_start > case.ends[read]:
            text = f"{case.name(read)} holds {quote(newest)}, but had returned before {case.name(writer)} began."
            return case.violation("message from nowhere", [read, writer], [newest], text)
    return None


def duplicated(case: Case) -> Violation | None:
    """A read that holds a message more often than it was written."""
    for group in case.groups:
        if len(set(group.content)) == len(group.content):
            continue
        written = _times_written(case)
        counts: Counter[str] = Counter()
        for place, message in enumerate(group.content):
            counts[message] += 1
            if counts[message] > written.get(message, 1):
                return _duplicate(case, group.showing(place), message, counts[message])
    return None


def _times_written(case: Case) -> Counter[str]:
    """How often each message that was written repeatedly was written."""
    batches = [case.batch(INITIAL), *(case.batch(number) for number in case.session.writes)]
    return Counter(each for batch in batches for each in batch if each in case.session.repeated)


def _duplicate(case: Case, read: int, message: str, count: int) -> Violation:
    """A read that holds a message so many times."""
    held = f"{case.name(read)} holds {quote(message)} {'twice' if count == 2 else f'{count} times'}"
    number = case.added_by(message)
    if number is not None:
        text = f"{held}, which {case.name(number)} added once."
        return case.violation("duplicated add", [read, number], [message], text)
    return case.violation("duplicated add", [read], [message], f"{held}, more often than it was written.")


def disordered(case: Case, *, same_process: bool = False) -> Violation | None:
    """A read in which a message stands before one that was added earlier.

    Args:
        case: the session.
        same_process: look only at the messages of one process at a time (CON-2).
    """
    for group in case.groups:
        found = _in_wrong_order(case, group, same_process) or _against_real_time(case, group, same_process)
        if found:
            return _disorder(case, group, *found)
    return None


def _in_wrong_order(case: Case, group: Group, same_process: bool) -> tuple[int, int] | None:
    """The places of two messages of one batch, or of the initial content, that stand the wrong way round."""
    last_of_batch: dict[int, int] = {}
    for place, message in _first_occurrences(group):
        writer = case.writer(message)
        if writer is None or message not in case.place_in_batch or (same_process and writer == INITIAL):
            continue
        before = last_of_batch.setdefault(writer, place)
        if case.place_in_batch[group.content[before]] > case.place_in_batch[message]:
            return before, place
        last_of_batch[writer] = place
    return None


def _against_real_time(case: Case, group: Group, same_process: bool) -> tuple[int, int] | None:
    """The places of two messages of which the second was added before the first's call began."""
    latest: dict[object, tuple[float, int]] = {}
    for place, message in _first_occurrences(group):
        writer = case.writer(message)
        if writer is None or (same_process and writer == INITIAL):
            continue
        start, end = _times(case, writer)
        process = case.calls[writer].process if same_process else None
        known_start, known_place = latest.get(process, (-math.inf, 0))
        if end < known_start:
            return known_place, place
        if start > known_start:
            latest[process] = start, place
    return None


def _first_occurrences(group: Group) -> Iterator[tuple[int, str]]:
    """Each message of the content with its first place."""
    first: dict[str, int] = {}
    for place, message in enumerate(group.content):
        first.setdefault(message, place)
    return ((place, message) for message, place in first.items())


def _times(case: Case, writer: int) -> tuple[float, float]:
    """When a write began and ended; the initial content was there before everything."""
    return (-math.inf, -math.inf) if writer == INITIAL else (case.starts[writer], case.ends[writer])


def _disorder(case: Case, group: Group, first: int, second: int) -> Violation:
    """A read that holds two messages the wrong way round."""
    before, after = group.content[first], group.content[second]
    later, earlier = case.session.writer[before], case.session.writer[after]
    text = f"{case.name(group.showing(second))} holds {quote(before)} before {quote(after)}, but "
    text += _why_disorder(case, later, earlier)
    return case.violation("read out of order", [group.showing(second), earlier, later], [before, after], text)


def _why_disorder(case: Case, later: int, earlier: int) -> str:
    """Why messages of these two writes can't stand in the order later, earlier."""
    if earlier == later:
        by = "the initial content" if later == INITIAL else case.name(later)
        return f"{by} has them the other way round."
    if earlier == INITIAL:
        return "the latter was there before anything was added."
    text = f"{case.name(earlier)}, which added the latter, had returned before {case.name(later)} began."
    if case.calls[earlier].process == case.calls[later].process:
        text += " Both are by the same worker, whose messages must keep their order."
    return text


def torn(case: Case) -> Violation | None:
    """A read that holds a part of a batch, or something else inside it."""
    for group in case.groups:
        found = _torn_inside(case, group) or _torn_at_the_end(case, group)
        if found:
            return found
    return None


def _torn_inside(case: Case, group: Group) -> Violation | None:
    """A batch that isn't whole in the longest of the reads."""
    content, place, looked_at = group.content, 0, set[int]()
    while place < len(content):
        number = case.batch_of(content[place])
        batch = (content[place],) if number is None else case.batch(number)
        if content[place : place + len(batch)] == batch:
            place += len(batch)
            continue
        if number is not None and number not in looked_at:
            looked_at.add(number)
            found = _tear(case, group, number)
            if found:
                return found
        place += 1
    return None


def _tear(case: Case, group: Group, writer: int) -> Violation | None:
    """How a batch is torn in the longest of the reads; None if it is only in the wrong order, or doubled."""
    batch = case.batch(writer)
    places = [place for place, message in enumerate(group.content) if case.writer(message) == writer]
    held = [group.content[place] for place in places]
    if len(held) > len(set(held)):
        return None
    if len(held) < len(batch):
        return _part(case, group.showing(places[0]), writer, held)
    gap = next((index for index, place in enumerate(places[1:]) if place != places[index] + 1), None)
    return None if gap is None else _intrusion(case, group, writer, places[gap : gap + 2])


def _intrusion(case: Case, group: Group, writer: int, around: Sequence[int]) -> Violation:
    """A batch with something else between two of its messages, which stand at these places."""
    first, second = around
    read, stranger = group.showing(second), group.content[first + 1]
    text = f"{case.name(read)} holds {quote(stranger)} inside the batch of {case.name(writer)}, between "
    text += f"{quote(group.content[first])} and {quote(group.content[second])}."
    origin = case.writer(stranger)
    calls = [read, writer, INITIAL if origin is None else origin]
    return case.violation("torn batch", calls, [stranger, *case.batch(writer)], text)


def _part(case: Case, read: int, writer: int, candidates: list[str]) -> Violation:
    """A read of a part of a batch: of some of the candidates."""
    observed, batch = set(case.observed(read)), case.batch(writer)
    held = [message for message in candidates if message in observed]
    missing = [message for message in batch if message not in observed]
    text = f"{case.name(read)} holds {len(held)} of the {len(batch)} messages that {case.name(writer)} "
    text += f"wrote as one batch: {listing(held)}, but not {listing(missing)}."
    return case.violation("torn batch", [read, writer], [*held, *missing], text)


def _torn_at_the_end(case: Case, group: Group) -> Violation | None:
    """A read that ends inside a batch which a longer read has whole."""
    for read, length in zip(group.reads, group.lengths, strict=True):
        last = group.content[length - 1]
        number = case.batch_of(last)
        if number is None or case.batch(number)[-1] == last:
            continue
        batch = case.batch(number)
        tail = set(group.content[max(0, length - len(batch)) : length])
        if not tail.issuperset(batch):
            return _part(case, read, number, [message for message in batch if message in tail])
    return None


def survived(case: Case) -> Violation | None:
    """A read with something before the messages that an assignment put in place of all there was."""
    for group in case.groups if case.session.resets else ():
        for place, message in enumerate(group.content):
            number = case.added_by(message)
            if number is None or case.calls[number].kind != "replace":
                continue
            if place > case.place_in_batch.get(message, 0):
                return _survivor(case, group.showing(place), number, group.content[0])
    return None


def _survivor(case: Case, read: int, writer: int, survivor: str) -> Violation:
    """A read in which a message survived an assignment."""
    text = f"{case.name(read)} holds {quote(survivor)} before the messages of {case.name(writer)}, "
    text += "which take the place of all that was there."
    origin = case.writer(survivor)
    calls = [read, writer, INITIAL if origin is None else origin]
    return case.violation("resurrected after clear", calls, [survivor], text)


def without_initial(case: Case) -> Violation | None:
    """A read that lacks some of the initial content, though it holds a part of it or no reset was before."""
    initial = case.session.initial
    suspects = set(case.by_gap(case.session.reads)[0] if case.gaps[0][0] == -math.inf else ())
    known = [message for message in initial if case.writer(message) == INITIAL]
    suspects.update(read for message in known[:1] + known[-1:] for read in case.holders(message))
    for read in sorted(suspects, key=case.starts.__getitem__):
        if tuple(case.observed(read)[: len(initial)]) != initial:
            observed = set(case.observed(read))
            lost = next((message for message in initial if message not in observed), None)
            if lost is not None:
                text = f"{case.name(read)} doesn't hold {quote(lost)}, which was there before the first call."
                return case.missing(lost, read, [], text)
    return None


def headless(case: Case) -> Violation | None:
    """A read that holds a later message of a batch and not an earlier one, with no reset that explains it.

    For batches that are not atomic; where they are, such a batch is torn.
    """
    for group in () if case.session.resets else case.groups:
        last_of_batch: dict[int, int] = {}
        for place, message in enumerate(group.content):
            number = case.added_by(message)
            if number is not None and message in case.place_in_batch:
                last_of_batch[number] = place
        present = set(group.content)
        for number, place in last_of_batch.items():
            ahead = case.batch(number)[: case.place_in_batch[group.content[place]]]
            lost = next((message for message in ahead if message not in present), None)
            if lost is not None:
                return _without_head(case, group.showing(place), number, lost, group.content[place])
    return None


def _without_head(case: Case, read: int, writer: int, lost: str, held: str) -> Violation:
    """A read that holds one message of a batch, and not another which comes before it there."""
    text = f"{case.name(read)} holds {quote(held)} of {case.name(writer)}, and not {quote(lost)}, "
    text += "which comes before it there."
    return case.missing(lost, read, [writer], text)
