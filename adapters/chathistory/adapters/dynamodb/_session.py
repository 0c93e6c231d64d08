"""What a session can do - read, add, replace, clear - as steps that sync and async drivers carry out.

Every write takes effect by one conditional write of the head item, and what a read returns was the head's state at
one moment: so the operations on a session are linearizable, whatever other writers do (CON-4).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chathistory.adapters.dynamodb._attempts import Attempt, attempt, begun_anew, chunks_named_by, emptied
from chathistory.adapters.dynamodb._batch import Batch, Settings
from chathistory.adapters.dynamodb._calls import Answer, Change, Pause, Steps, call, deletion, never_denied, read_item
from chathistory.adapters.dynamodb._chunks import delete_chunks, get_batches, get_segments
from chathistory.adapters.dynamodb._failures import (
    ERRORS,
    MissingChunkError,
    Patience,
    RefusedError,
    UnknownOutcomeError,
)
from chathistory.adapters.dynamodb._head import Head, is_shared
from chathistory.adapters.dynamodb._log import Run, parse, remaining
from chathistory.adapters.dynamodb._old import plain
from chathistory.adapters.dynamodb._place import Item, new_id
from chathistory.reference import DamagedMessageError

_OLD: dict[str, Any] = {"ReturnValues": "ALL_OLD"}
_IF_REFUSED: dict[str, Any] = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
_POLITE_PAUSE, _POLITE_TRIES = 0.005, 200

_BEING_SEALED: set[str] = set()
"""The sessions whose full tail somebody in this process is moving: the others wait for a moment, to save writes."""


@dataclass(slots=True)
class Knowledge:
    """What a handle has seen of its session.

    Attributes:
        epoch: the one that it saw last, or "". An add whose answer is lost may be made again if this epoch still lasts:
            then nobody has cleared the session since, and the add would be there.
    """

    epoch: str = ""


def read(settings: Settings, knowledge: Knowledge) -> Steps[list[Any]]:
    """The messages of a session, as plain values, in two requests, or one where all is in the head.

    Where batches are large, a third request reads these.
    """
    patience = Patience()
    missing = ""
    while True:
        head = yield from _head(settings, patience)
        knowledge.epoch = head.epoch if head is not None else ""
        if head is None:
            return []
        head.require_ours(settings.place.old)
        if head.has_expired(settings.clock()):
            return []
        try:
            return (yield from _messages(settings, patience, head))
        except MissingChunkError as error:
            # A head read after the chunk was missing must not name it any more.
            if missing == str(error):
                raise
            missing = str(error)


def add(settings: Settings, knowledge: Knowledge, texts: Sequence[str]) -> Steps[None]:
    """Append a batch, wholly or not at all, in one request; in a few where it is large or a segment is to be made."""
    patience, batch = Patience(), Batch(settings, texts, settings.keep)
    try:
        yield from batch.write(patience)
        yield from _append(settings, knowledge, patience, batch)
    except (Exception, asyncio.CancelledError):
        yield from batch.withdraw(patience)
        raise


def replace(settings: Settings, knowledge: Knowledge, texts: Sequence[str]) -> Steps[None]:
    """Start a session anew with a batch, as one operation."""
    if settings.keep is not None:
        texts = texts[-settings.keep :]
    patience, batch = Patience(), Batch(settings, texts, None)
    if not texts:
        yield from never_denied(patience, _empty(settings, patience))
        return
    try:
        yield from batch.write(patience)
        knowledge.epoch = yield from never_denied(patience, _replace(settings, patience, batch))
    except (Exception, asyncio.CancelledError):
        yield from batch.withdraw(patience)
        raise


def clear(settings: Settings) -> Steps[None]:
    """Start a session anew: remove its item, and then the chunks that it names."""
    patience = Patience()
    yield from never_denied(patience, _clear(settings, patience))


def _clear(settings: Settings, patience: Patience) -> Steps[None]:
    tries = 0
    while True:
        item = yield from read_item(settings.place, patience)
        if item is None:
            return
        change = Change(settings.place)
        head = _understood(item, settings)
        if head is not None:
            head.require_same_epoch(change)
        try:
            arguments = deletion(settings.place, change.conditions, change.values)
            answer = yield from call(patience, "delete_item", decides=True, **arguments, **_OLD)
        except RefusedError:
            # In another epoch, or gone: then somebody has cleared it since we looked, and that was our clear, too.
            # That holds as well if our own delete was carried out, and only its answer lost.
            if head is None or head.epoch:
                yield from _tidy_up_after(settings, patience, item)
                return
        else:
            yield from _tidy_up_after(settings, patience, answer.get("Attributes") or item)
            return
        tries += 1
        yield Pause(patience.pause_after_change(tries))


def _empty(settings: Settings, patience: Patience) -> Steps[None]:
    """Start a session anew with nothing: unlike `clear`, leave what others keep in its item."""
    seen: tuple[Item, Head] | None = None
    tries = 0
    while True:
        item = yield from read_item(settings.place, patience)
        head = Head.of(item, settings.place) if item else None
        if seen is not None and seen[1].epoch and (head is None or head.epoch != seen[1].epoch):
            # Done, and only the answer lost; or somebody has started the session anew since, as if right after us.
            yield from _tidy_up_after(settings, patience, seen[0])
            return
        if item is None or head is None or head.holds_nothing:
            return
        head.require_ours()
        seen = item, head
        try:
            answer = yield from _emptied(settings, patience, item, head)
        except RefusedError:
            tries += 1
            yield Pause(patience.pause_after_change(tries))
        else:
            yield from _tidy_up_after(settings, patience, answer.get("Attributes") or item)
            return


def _emptied(settings: Settings, patience: Patience, item: Item, head: Head) -> Steps[Answer]:
    """Take out what is ours; or delete the item, if there is nothing else in it."""
    change = emptied(settings, head)
    if is_shared(item, settings.place):
        return (yield from call(patience, "update_item", decides=True, **change.arguments(), **_OLD))
    arguments = deletion(settings.place, change.conditions, change.values)
    return (yield from call(patience, "delete_item", decides=True, **arguments, **_OLD))


def _head(settings: Settings, patience: Patience) -> Steps[Head | None]:
    item = yield from read_item(settings.place, patience)
    return Head.of(item, settings.place) if item else None


def _understood(item: Item, settings: Settings) -> Head | None:
    """The head, or None for a damaged one: it can be cleared all the same."""
    try:
        return Head.of(item, settings.place)
    except DamagedMessageError:
        return None


def _messages(settings: Settings, patience: Patience, head: Head) -> Steps[list[Any]]:
    segments = [segment.chunk for segment in head.parsed_segments()]
    before = (yield from get_segments(settings.place, patience, segments)) if segments else []
    runs = remaining(parse([*before, *head.tail]))
    in_chunks = [run for run in runs if run.entry.chunks]
    texts = yield from get_batches(settings.place, patience, [run.entry.chunks for run in in_chunks])
    text_of = {run.entry.token: text for run, text in zip(in_chunks, texts, strict=True)}
    found = [message for run in runs for message in _batch_of(run, text_of)]
    return found + [plain(message) for message in head.old or []]


def _batch_of(run: Run, text_of: dict[str, str]) -> list[Any]:
    entry = run.entry
    if not entry.chunks:
        messages: list[Any] = entry.data["messages"]
        return messages[run.cut :]
    try:
        messages = json.loads(text_of[entry.token])
    except (ValueError, RecursionError) as error:
        raise DamagedMessageError(f"the chunks of the entry {entry.token!r} are not JSON: {error}") from None
    return messages[int(entry.data.get("cut", 0)) + run.cut :]


def _append(settings: Settings, knowledge: Knowledge, patience: Patience, batch: Batch) -> Steps[None]:
    head: Head | None = None
    tries = 0
    while True:
        if head is not None and head.is_full and (yield from _somebody_sealed(settings)):
            head = None
        with _sealing(settings, head):
            token, epoch = new_id(), knowledge.epoch
            step = yield from attempt(settings, patience, head, batch, token)
            is_done, item = yield from _carry_out(settings, patience, batch, token, step, epoch)
        if is_done:
            return
        tries += 1
        yield Pause(patience.pause_after_change(tries))
        if item is None:
            item = yield from read_item(settings.place, patience)
        head = Head.of(item, settings.place) if item else None
        knowledge.epoch = head.epoch if head is not None else ""


def _somebody_sealed(settings: Settings) -> Steps[bool]:
    """Wait while somebody else in this process moves the tail, for a moment; whether there was somebody."""
    name, waits = _name_of(settings), 0
    while name in _BEING_SEALED and waits < _POLITE_TRIES:
        waits += 1
        yield Pause(_POLITE_PAUSE)
    return waits > 0


@contextmanager
def _sealing(settings: Settings, head: Head | None) -> Iterator[None]:
    if head is None or not head.is_full:
        yield
        return
    name = _name_of(settings)
    _BEING_SEALED.add(name)
    try:
        yield
    finally:
        _BEING_SEALED.discard(name)


def _name_of(settings: Settings) -> str:
    return f"{settings.place.table}/{settings.place.key}"


def _carry_out(
    settings: Settings, patience: Patience, batch: Batch, token: str, step: Attempt, epoch: str
) -> Steps[tuple[bool, Item | None]]:
    """Whether the write was carried out; if not, the item as it is, where the store says so."""
    batch.is_settled = False
    item: Item | None = None
    try:
        yield from call(patience, "update_item", repeatable=False, **step.change.arguments(), **_IF_REFUSED)
        is_done = True
    except RefusedError as refused:
        # The token is there if the very request came twice, as it may on its way through proxies.
        item = refused.item
        is_done = _holds(item, settings, token)
    except UnknownOutcomeError as lost:
        is_done = yield from _was_added(settings, patience, token, lost, epoch)
        if not is_done and lost.__cause__ is not None:
            batch.is_settled = True
            yield Pause(patience.pause_after(lost.__cause__))
    except (*ERRORS, asyncio.CancelledError):  # refused for good; or cancelled before it was sent
        batch.is_settled = True
        yield from delete_chunks(settings.place, patience, step.written)
        raise
    batch.is_settled = not is_done
    yield from delete_chunks(settings.place, patience, step.garbage if is_done else step.written)
    return is_done, item


def _holds(item: Item | None, settings: Settings, token: str) -> bool:
    return item is not None and token in Head.of(item, settings.place).tail


def _was_added(
    settings: Settings, patience: Patience, token: str, lost: UnknownOutcomeError, epoch: str
) -> Steps[bool]:
    """Whether an add that got no answer was carried out, once it can't be any more if it was not.

    First the token is fenced off: a write that is still on its way will be refused. Then the log is looked through
    for it. So the batch can be added again, under another token, without ever being there twice (DUR-4).

    Raises:
        UnknownOutcomeError: if it isn't there, but may have been, and have been cleared since.
    """
    change = Change(settings.place, adds=["#fenced :tokens"], values={":tokens": {"SS": [token]}})
    change.conditions.append("attribute_exists(#epoch)")
    try:
        while True:
            answer = yield from call(patience, "update_item", **change.arguments(), ReturnValues="ALL_NEW")
            head = Head.of(answer["Attributes"], settings.place)
            try:
                segments = [segment.chunk for segment in head.parsed_segments()]
                before = yield from get_segments(settings.place, patience, segments)
            except MissingChunkError:
                yield Pause(patience.pause_after_change(2))  # cleared or shortened since: look again
                continue
            if token in head.tail or token in before:
                return True
            if head.epoch == epoch:
                return False
            raise lost
    except (*ERRORS, RefusedError) as error:
        raise lost from (lost.__cause__ if isinstance(error, RefusedError) else error)


def _replace(settings: Settings, patience: Patience, batch: Batch) -> Steps[str]:
    """Carry it out, and return the epoch in which the session is then."""
    token, epoch = new_id(), new_id()
    unsure_about: str | None = None
    lost = UnknownOutcomeError()
    tries = 0
    before: Item | None = None
    while True:
        item = yield from read_item(settings.place, patience)
        head = Head.of(item, settings.place) if item else None
        seen = head.epoch if head is not None else ""
        if unsure_about is not None and (unsure_about != seen or not seen):
            if seen != epoch and not unsure_about:
                raise lost  # it may have been carried out, and have been cleared since
            # Carried out; or somebody has started the session anew since, as if right after us.
            yield from _tidy_up_after(settings, patience, before)
            return epoch
        before = item
        if head is not None:
            head.require_ours()
        batch.is_settled = False
        change = begun_anew(settings, head, batch, token, epoch)
        try:
            arguments = {**change.arguments(), **_OLD}
            answer = yield from call(patience, "update_item", repeatable=False, decides=True, **arguments)
        except RefusedError:
            batch.is_settled = unsure_about is None
        except UnknownOutcomeError as error:
            lost, unsure_about = error, seen
            yield Pause(patience.pause_after(error.__cause__ or error))
        except (*ERRORS, asyncio.CancelledError):
            batch.is_settled = unsure_about is None
            raise
        else:
            yield from _tidy_up_after(settings, patience, answer.get("Attributes"))
            return epoch
        tries += 1
        yield Pause(patience.pause_after_change(tries))


def _tidy_up_after(settings: Settings, patience: Patience, item: Item | None) -> Steps[None]:
    """Remove the chunks of a session as it was before it was started anew, which has been done by now."""
    head = _understood(item, settings) if item else None
    if head is None:
        return
    try:
        named = yield from chunks_named_by(settings, patience, head)
    except (*ERRORS, DamagedMessageError):
        return  # left to `remove_orphans`
    yield from delete_chunks(settings.place, patience, named)
