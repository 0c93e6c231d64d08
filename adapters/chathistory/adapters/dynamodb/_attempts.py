"""The ways in which a batch gets into a log: each one write of the head, refused if the head is not as it must be.

The plain append needs to know nothing: its conditions are that the head is in order. Where they don't hold, the
refusal brings the head, and that says which of the other ways is the one: renew the chunks, begin anew after expiry,
move an old list, or make a segment of a full tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chathistory.adapters.dynamodb._batch import Batch, Settings
from chathistory.adapters.dynamodb._calls import Change, Steps, call
from chathistory.adapters.dynamodb._chunks import (
    PIECE_BYTES,
    get_segments,
    put_chunks,
    segment_value,
    set_expiry,
)
from chathistory.adapters.dynamodb._failures import MissingChunkError, Patience, RefusedError
from chathistory.adapters.dynamodb._head import ATTRIBUTES, SEGMENT_BYTES, Head, Segment, require_shared_ours
from chathistory.adapters.dynamodb._log import NOTHING, Entry, parse, remaining, shortened
from chathistory.adapters.dynamodb._old import old_texts
from chathistory.adapters.dynamodb._place import Item, new_id
from chathistory.reference import DamagedMessageError

_NEVER_TWICE = ["NOT contains(#tail, :token)", "NOT contains(#fenced, :token)"]
_MOST_FENCED = 32
# A session's expiry is counted from the write, which may come as much later than the look at its chunks.
_SECONDS_OF_AN_OPERATION = 60


@dataclass(slots=True)
class Attempt:
    """A write of the head that adds a batch.

    Attributes:
        change: the write.
        written: chunks that are in vain if it is refused.
        garbage: chunks that nobody needs once it is carried out.
    """

    change: Change
    written: list[str] = field(default_factory=list)
    garbage: list[str] = field(default_factory=list)


def attempt(settings: Settings, patience: Patience, head: Head | None, batch: Batch, token: str) -> Steps[Attempt]:
    """The way for a head as it was seen last; None if it was not looked at yet, or there is none."""
    if head is not None:
        head.require_ours()
        if head.has_expired(settings.clock()):
            return (yield from _begun_anew_after_expiry(settings, patience, head, batch, token))
        if _needs_renewal(settings, head):
            yield from _renew(settings, patience, head)
            return _appended(settings, batch, token, None)
        if head.old is not None:
            return (yield from _moved(settings, patience, head, batch, token))
        if head.is_full:
            return (yield from _sealed(settings, patience, head, batch, token))
    return _appended(settings, batch, token, head)


def begun_anew(settings: Settings, head: Head | None, batch: Batch, token: str, epoch: str) -> Change:
    """The session with this batch alone, whatever it held, if it is still in the epoch that was seen."""
    change = Change(settings.place)
    (head or _NO_HEAD).require_same_epoch(change)
    require_shared_ours(change)
    change.sets += ["#tail = :pairs", "#bytes = :size", "#epoch = :epoch"]
    change.removes += ["#segments", "#old"]
    _set_pairs(change, [token, batch.entry])
    change.values[":epoch"] = {"S": epoch}
    _set_lifetime(settings, change, batch.until)
    return change


def emptied(settings: Settings, head: Head) -> Change:
    """The item without anything of ours but the ttl, if the session is still in the epoch that was seen."""
    change = Change(settings.place)
    head.require_same_epoch(change)
    require_shared_ours(change)
    change.removes += [name for name in ATTRIBUTES if name not in ("#expiry", "#until")]
    _set_lifetime(settings, change, None)
    return change


def chunks_named_by(settings: Settings, patience: Patience, head: Head, *, strictly: bool = False) -> Steps[list[str]]:
    """The chunks that a head names, itself and by its segments.

    Raises:
        DamagedMessageError, MissingChunkError: if a part of the log can't be read, if `strictly` all are wanted.
    """
    segments = head.parsed_segments()
    named = [segment.chunk for segment in segments]
    inner = [segment.chunk for segment in segments if segment.has_chunks]
    try:
        pairs = (yield from get_segments(settings.place, patience, inner)) if inner else []
        named += [chunk for entry in parse([*pairs, *head.tail]) for chunk in entry.chunks]
    except (DamagedMessageError, MissingChunkError):
        if strictly:
            raise
    return named


def _appended(settings: Settings, batch: Batch, token: str, head: Head | None) -> Attempt:
    """One write, with no look at the head before: what almost every add is."""
    change = Change(settings.place)
    change.sets += [
        "#tail = list_append(if_not_exists(#tail, :nothing), :pairs)",
        "#epoch = if_not_exists(#epoch, :epoch)",
    ]
    change.adds.append("#bytes :size")
    change.conditions += [
        "attribute_not_exists(#bytes) OR #bytes < :full",
        "attribute_not_exists(#old)",
        "attribute_not_exists(#expiry) OR #expiry > :now",
        *_NEVER_TWICE,
    ]
    _set_pairs(change, [token, batch.entry])
    change.values |= {
        ":nothing": {"L": []},
        ":epoch": {"S": new_id()},
        ":full": {"N": str(SEGMENT_BYTES)},
        ":now": {"N": str(int(settings.clock()))},
        ":token": {"S": token},
    }
    _keep_lifetime(settings, change, batch, head)
    return Attempt(change)


def _keep_lifetime(settings: Settings, change: Change, batch: Batch, head: Head | None) -> None:
    """Renew the session's expiry, provided that no chunk of it is deleted before."""
    expiry = settings.expiry()
    if expiry is None:
        change.removes.append("#expiry")
        change.conditions.append("attribute_not_exists(#until)")
        return
    change.sets.append("#expiry = :expiry")
    change.values |= {":expiry": {"N": str(expiry)}}
    if batch.until is None:
        change.conditions.append("attribute_not_exists(#until) OR #until >= :expiry")
    elif head is None or head.until is None:
        change.sets.append("#until = if_not_exists(#until, :until)")
        change.conditions.append("attribute_not_exists(#until) OR (#until >= :expiry AND #until <= :until)")
        change.values[":until"] = {"N": str(batch.until)}
    else:
        change.sets.append("#until = :until")
        change.conditions.append("#until = :seen_until")
        change.values |= {":until": {"N": str(min(batch.until, head.until))}, ":seen_until": {"N": str(head.until)}}


def _set_lifetime(settings: Settings, change: Change, until: int | None) -> None:
    """The expiry, and how long the chunks last, of a session whose chunks are all known."""
    expiry = settings.expiry()
    if expiry is None:
        change.removes.append("#expiry")
    else:
        change.sets.append("#expiry = :expiry")
        change.values[":expiry"] = {"N": str(expiry)}
    if until is None:
        change.removes.append("#until")
    else:
        change.sets.append("#until = :until")
        change.values[":until"] = {"N": str(until)}


def _set_pairs(change: Change, pairs: Sequence[str]) -> None:
    change.values[":pairs"] = {"L": [{"S": text} for text in pairs]}
    change.values[":size"] = {"N": str(sum(map(len, pairs)))}


def _begun_anew_after_expiry(
    settings: Settings, patience: Patience, head: Head, batch: Batch, token: str
) -> Steps[Attempt]:
    change = begun_anew(settings, head, batch, token, new_id())
    change.conditions += ["#expiry = :seen_expiry", *_NEVER_TWICE]
    change.values |= {":seen_expiry": {"N": str(head.expiry)}, ":token": {"S": token}}
    return Attempt(change, garbage=(yield from chunks_named_by(settings, patience, head)))


def _moved(settings: Settings, patience: Patience, head: Head, batch: Batch, token: str) -> Steps[Attempt]:
    """The old class's list becomes the last entry before the batch, and is gone as a list.

    Only if it still is the very list that was seen: the old class may write at the same time.
    """
    seen = head.old or []
    change = Change(settings.place)
    head.require_same_log(change)
    change.conditions += ["#old = :seen_old", *_NEVER_TWICE]
    change.values |= {":seen_old": {"L": seen}, ":token": {"S": token}, ":nothing": {"L": []}}
    change.sets.append("#tail = list_append(if_not_exists(#tail, :nothing), :pairs)")
    change.adds.append("#bytes :size")
    change.removes.append("#old")
    old = Batch(settings, old_texts(seen), None)
    yield from old.write(patience)
    _set_pairs(change, [new_id(), old.entry, token, batch.entry])
    _set_lifetime(settings, change, _first(head.until, old.until, batch.until))
    if not head.epoch:
        change.sets.append("#epoch = :epoch")
        change.values[":epoch"] = {"S": new_id()}
    return Attempt(change, written=old.chunks)


def _sealed(settings: Settings, patience: Patience, head: Head, batch: Batch, token: str) -> Steps[Attempt]:
    """The full tail becomes a segment, and the batch begins the next tail."""
    change = Change(settings.place)
    head.require_same_log(change)
    change.conditions += _NEVER_TWICE
    change.values |= {":token": {"S": token}, ":nothing": {"L": []}}
    change.sets += ["#tail = :pairs", "#bytes = :size"]
    _set_pairs(change, [token, batch.entry])
    if head.fenced > _MOST_FENCED:
        change.removes.append("#fenced")
    entries = head.entries()
    if _is_worth_shortening(head, entries):
        segments, garbage = yield from _shortened(settings, patience, head, entries)
        change.sets.append("#segments = :segments")
    else:
        segments, garbage = [list(head.tail)], []
        change.sets.append("#segments = list_append(if_not_exists(#segments, :nothing), :segments)")
    values, named = _as_chunks(segments)
    until = settings.chunks_until()
    yield from put_chunks(settings.place, patience, values, until, settings.clock())
    change.values[":segments"] = {"L": [{"S": str(segment)} for segment in named]}
    _set_lifetime(settings, change, _first(head.until, until, batch.until))
    return Attempt(change, written=list(values), garbage=garbage)


def _is_worth_shortening(head: Head, entries: Sequence[Entry]) -> bool:
    """Whether at least half of a bounded log is there no more: then writing the rest anew pays."""
    bounds = [int(entry.data["keep"]) for entry in entries if "keep" in entry.data]
    total = sum(segment.count for segment in head.parsed_segments()) + sum(entry.count for entry in entries)
    return bool(bounds) and total >= 2 * bounds[-1]


def _shortened(
    settings: Settings, patience: Patience, head: Head, tail: Sequence[Entry]
) -> Steps[tuple[list[list[str]], list[str]]]:
    """What is left of a bounded log, as segments, and the chunks that are not needed for it.

    The tokens of the tail stay, also of what is gone: who asks whether an add was carried out, asks soon.
    """
    old_segments = [segment.chunk for segment in head.parsed_segments()]
    pairs = yield from get_segments(settings.place, patience, old_segments)
    before = parse(pairs)
    left = {run.entry.token: run for run in remaining([*before, *tail])}
    kept = [entry for entry in before if entry.token in left] + list(tail)
    texts = [(entry.token, shortened(left[entry.token]) if entry.token in left else NOTHING) for entry in kept]
    gone = [chunk for entry in (*before, *tail) if entry.token not in left for chunk in entry.chunks]
    segments: list[list[str]] = [[]]
    for pair in texts:
        if sum(map(len, segments[-1])) + len(pair[1]) > PIECE_BYTES:
            segments.append([])
        segments[-1] += pair
    return segments, [*old_segments, *gone]


def _as_chunks(segments: Sequence[list[str]]) -> tuple[dict[str, Item], list[Segment]]:
    values: dict[str, Item] = {}
    named = []
    for pairs in segments:
        entries, chunk = parse(pairs), new_id()
        values[chunk] = segment_value(pairs)
        count = sum(entry.count for entry in entries)
        named.append(Segment(chunk, count, any(entry.chunks for entry in entries)))
    return values, named


def _needs_renewal(settings: Settings, head: Head) -> bool:
    """Whether chunks would be deleted before the session expires."""
    if head.until is None:
        return False
    expiry = settings.expiry()
    return expiry is None or head.until < expiry + _SECONDS_OF_AN_OPERATION


def _renew(settings: Settings, patience: Patience, head: Head) -> Steps[None]:
    """Let all chunks last for longer, and then say so in the head, if it names no others by now."""
    until = settings.chunks_until()
    try:
        named = yield from chunks_named_by(settings, patience, head, strictly=True)
        for chunk in named:
            yield from set_expiry(settings.place, patience, chunk, until)
    except MissingChunkError:
        return  # the session was cleared or shortened meanwhile; the next refusal says how it is now
    change = Change(settings.place)
    head.require_same_log(change)
    if until is None:
        change.removes.append("#until")
    else:
        change.sets.append("#until = :until")
        change.values[":until"] = {"N": str(until)}
    try:
        yield from call(patience, "update_item", **change.arguments())
    except RefusedError:
        return  # likewise


def _first(*seconds: int | None) -> int | None:
    return min((second for second in seconds if second is not None), default=None)


_NO_HEAD = Head("", [], 0, [], None, None, None, "", 0)
