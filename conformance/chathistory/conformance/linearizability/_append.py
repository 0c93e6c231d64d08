"""Judges sessions without a clear in near-linear time, by the order that the longest read shows.

This is the idea of Elle (Kingsbury & Alvaro, VLDB 2020) for lists to which unique elements are appended: a
read of the whole list tells the order of all writes before it. Here that order doesn't only rule out some
histories, it decides: `judge_appends` is exact. The proof, for a session of unique messages, no clear and
no replace:

Let I be the initial content and L the longest of I and all observations.

(1) Necessary. In a linearization the content only ever grows at its end, and each read returns the content at
    its place. So I and every observation are prefixes of L; L is I followed by whole batches, each once; and
    every observation ends where a batch ends. As messages are unique, L names its writes w1 … wk in one way
    only, and a read that sees the first p of them stands after wp and before wp+1. A write not in L stands
    after every read, as a read after it would have seen it. An unknown write not in L may be left out: no
    read saw it, so none changes its result without it. An acknowledged one may not.
(2) So every call that counts has a *level*: 2p for a read of the first p writes, 2p - 1 for wp, 2k + 1 for
    the acknowledged writes that nobody read; and an order of the calls returns what was observed if and
    only if it is sorted by level. (Within a level calls do not influence one another: they are reads of the
    same content, one single write, or writes that nobody reads.)
(3) Real time allows such an order if and only if no call of a higher level returned before one of a lower
    level was invoked. "Only if" is plain. "If": sort by level, and by invocation within a level. Let x
    return before y is invoked. If their levels are equal, x was invoked first and so stands first; if they
    differ, x's level is the lower one by assumption, and x stands first again.

The condition of (3) needs no pairs: walk down the levels with the earliest return seen so far, and compare
it with the latest invocation of each level. All of it takes time and memory linear in calls plus messages
(only a witness, if one is asked for, is sorted).

With batches not atomic (`Weaken`) each message is a write with its batch's times, and L must hold the
messages of each batch as a prefix of it, in order. A batch of which only a part was read has its rest at
the last level if it was acknowledged. Sorting by level, invocation and place in the batch is then a
linearization for the same reasons: messages of one batch have equal times, so real time never sets them
against each other.

With clears the same is done for each run of messages between two of them; `_epochs` puts the runs in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chathistory.conformance.linearizability._events import Prefix, common_length
from chathistory.conformance.linearizability._session import INITIAL, Session

_INSIDE = -1


@dataclass(slots=True)
class Run:
    """Messages that were read one after the other with no clear between, and the calls that tell so.

    Attributes:
        base: what stood there before the first write: the initial content, or nothing.
        content: the longest observation.
        steps: the writes in the order of their messages; if not atomic, once for each message.
        ranks: for each length, how many steps an observation of that length has seen; -1 inside a batch.
        reads: the reads of the run.
    """

    base: tuple[str, ...]
    content: tuple[str, ...]
    steps: list[int]
    ranks: list[int]
    reads: list[int]

    def rank(self, session: Session, read: int) -> int:
        """How many steps a read has seen."""
        return self.ranks[len(session.observed(read))]


def judge_appends(session: Session, *, witness: bool) -> Sequence[int] | None:
    """A linearization of a session without resets, or None if there is none.

    The linearization is left empty unless a witness is asked for.
    """
    run = run_of(session, session.initial, session.reads)
    if run is None:
        return None
    rest = unread(session, run.steps)
    if contradiction(session, run, rest) is not None:
        return None
    return [*members(session, run), *sorted(rest, key=session.starts.__getitem__)] if witness else ()


def run_of(session: Session, base: tuple[str, ...], reads: list[int]) -> Run | None:
    """The run that these reads observed, or None if no order of whole batches explains what they returned."""
    longest = max((session.observed(read) for read in reads), key=len, default=base)
    content = tuple(longest) if len(longest) > len(base) else base
    if content[: len(base)] != base or not _are_prefixes(session, reads, content):
        return None
    run = Run(base, content, [], [_INSIDE] * (len(content) + 1), reads)
    run.ranks[len(base)] = 0
    walk = _walk_batches if session.atomic else _walk_messages
    if not walk(session, run) or any(run.rank(session, read) == _INSIDE for read in reads):
        return None
    return run


def _are_prefixes(session: Session, reads: list[int], content: tuple[str, ...]) -> bool:
    """Whether each observation is a prefix of the content; a shared log is compared once."""
    agreed: dict[int, int] = {}
    for read in reads:
        observed = session.observed(read)
        if type(observed) is Prefix:
            if id(observed.log) not in agreed:
                agreed[id(observed.log)] = common_length(observed.log, content)
            if observed.length > agreed[id(observed.log)]:
                return False
        elif content[: len(observed)] != observed:
            return False
    return True


def _walk_batches(session: Session, run: Run) -> bool:
    """Fill in the steps, a batch each; False if the content isn't made of whole batches, each once."""
    content, steps, ranks = run.content, run.steps, run.ranks
    calls, writer, place = session.calls, session.writer, len(run.base)
    while place < len(content):
        number = writer.get(content[place], INITIAL)
        if number == INITIAL or (place and calls[number].kind == "replace"):
            return False
        batch = calls[number].added
        end = place + len(batch)
        if content[place:end] != batch:
            return False
        steps.append(number)
        place = end
        ranks[place] = len(steps)
    return len(set(steps)) == len(steps)


def _walk_messages(session: Session, run: Run) -> bool:
    """The same where a batch is so many adds in a row: each batch's messages must come in order."""
    progress: dict[int, int] = {}
    place = len(run.base)
    while place < len(run.content):
        message = run.content[place]
        number = session.writer.get(message, INITIAL)
        if number == INITIAL:
            return False
        index = progress.get(number, 0)
        part: tuple[str, ...] = session.messages_of(number)[index : index + 1]
        if session.calls[number].kind == "replace":
            part = session.calls[number].added if place == 0 else ()
        if not part or run.content[place : place + len(part)] != part:
            return False
        place += len(part)
        progress[number] = index + len(part)
        run.steps.append(number)
        run.ranks[place] = len(run.steps)
    return True


def unread(session: Session, steps: Sequence[int]) -> list[int]:
    """The acknowledged writes that nobody read; if not atomic, once for each message that nobody read."""
    if session.atomic:
        seen = set(steps)
        return [number for number in session.writes if number not in seen and session.certain(number)]
    missing = {number: len(session.messages_of(number)) for number in session.writes if session.certain(number)}
    for number in steps:
        if number in missing:
            missing[number] -= 1
    return [number for number, count in missing.items() for _ in range(count)]


def contradiction(session: Session, run: Run, rest: Sequence[int] = ()) -> tuple[int, int] | None:
    """Two calls in the order of real time whose levels are the other way round, or None: step (3) above.

    Args:
        session: the session.
        run: the run.
        rest: the writes of the last level.
    """
    levels = 2 * len(run.steps) + 2
    latest_start, first_end = [-math.inf] * levels, [math.inf] * levels
    starts, ends = session.starts, session.ends
    for level, number in _levels(session, run, rest):
        if starts[number] > latest_start[level]:
            latest_start[level] = starts[number]
        if ends[number] < first_end[level]:
            first_end[level] = ends[number]
    bound, at = math.inf, levels
    for level in range(levels - 1, -1, -1):
        if latest_start[level] > bound:
            return _pair(session, run, rest, (at, level))
        if first_end[level] < bound:
            bound, at = first_end[level], level
    return None


def _levels(session: Session, run: Run, rest: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Each call of the run with its level."""
    for index, number in enumerate(run.steps):
        yield 2 * index + 1, number
    for number in run.reads:
        yield 2 * run.ranks[len(session.observed(number))], number
    for number in rest:
        yield 2 * len(run.steps) + 1, number


def _pair(session: Session, run: Run, rest: Sequence[int], levels: tuple[int, int]) -> tuple[int, int]:
    """The call that ends first on the upper level, and the one that starts last on the lower."""
    upper = [number for level, number in _levels(session, run, rest) if level == levels[0]]
    lower = [number for level, number in _levels(session, run, rest) if level == levels[1]]
    return min(upper, key=session.ends.__getitem__), max(lower, key=session.starts.__getitem__)


def members(session: Session, run: Run) -> list[int]:
    """The calls of a run, sorted by level, and by invocation within a level."""
    readers: list[list[int]] = [[] for _ in range(len(run.steps) + 1)]
    for read in run.reads:
        readers[run.rank(session, read)].append(read)
    for same in readers:
        same.sort(key=session.starts.__getitem__)
    in_order = list(readers[0])
    for step, after in zip(run.steps, readers[1:], strict=True):
        in_order.append(step)
        in_order.extend(after)
    return in_order
