"""Histories that break CLR: clears that clear too little, too much, or not for good."""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from typing import Any

from langchain_core.messages import BaseMessage, SystemMessage
from tests.mutants._base import PLAIN, JsonHistory, RecordHistory, Steps
from tests.mutants._planted import mutant
from tests.mutants._values import from_json

from chathistory.conformance.selfproof.clearing import ClearsMore

# CLR-1


class _LeavesSome(JsonHistory):
    def _left(self, items: list[Any]) -> list[Any]:
        raise NotImplementedError

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            left = self._left(self._items())
            self._erase()
            if left:
                self._put(left)


@mutant("CLR-1", hardness="obvious", operations=3)
class LeavesTheFirstMessage(_LeavesSome):
    """LTRIM 1 -1 instead of DEL, or a range that begins one too late."""

    def _left(self, items: list[Any]) -> list[Any]:
        return items[:1]


@mutant("CLR-1", hardness="data", operations=3)
class ClearsTheFirst100(_LeavesSome):
    """The keys to delete come from a query, of which only the first page is read."""

    def _left(self, items: list[Any]) -> list[Any]:
        return items[100:]


@mutant("CLR-1", "ERR-2", hardness="data", operations=3)
class Clears25(_LeavesSome):
    """A batch delete takes 25 items, and only one is sent."""

    def _left(self, items: list[Any]) -> list[Any]:
        return items[25:]


@mutant("CLR-1", hardness="data", operations=3)
class KeepsTheSystemPrompt(_LeavesSome):
    """An agent needs its instructions after a reset, too, so clear spares them."""

    def _left(self, items: list[Any]) -> list[Any]:
        return [item for item in items if isinstance(self._load(item), SystemMessage)]


@mutant("CLR-1", "ISO-3", hardness="stateful", operations=4)
class LeavesOtherCachesFull(JsonHistory):
    """A cache in the handle is refreshed when the store has grown; a clear makes it shrink."""

    claims = PLAIN
    _cached: tuple[Any, ...] = ()

    def _shown(self, items: list[Any]) -> list[Any]:
        if len(items) >= len(self._cached):
            self._cached = tuple(items)
        return list(self._cached)

    def _erase(self) -> None:
        super()._erase()
        self._cached = ()


# CLR-2


@mutant("CLR-2", "ISO-4", hardness="obvious", operations=1)
class RaisesOnClearingNothing(JsonHistory):
    """The file is removed, and was never there."""

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes["written", self._key()] = True

    def _clear(self) -> Steps[None]:
        if ("written", self._key()) not in self.store.notes:
            raise FileNotFoundError(f"session {self.session_id!r}: no such file")
        yield from super()._clear()


@mutant("CLR-2", "CLR-1", "CLR-3", hardness="stateful", operations=4)
class UndoesAClearByTheSecond(JsonHistory):
    """A clear moves the history to the bin and the bin to the history: both are swapped."""

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            items = self._items()
            self._erase()
            if back := self.store.notes.pop(("bin", self._key()), []):
                self._put(back)
            self.store.notes["bin", self._key()] = items

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes.pop(("bin", self._key()), None)


# CLR-3


@mutant("CLR-3", hardness="stateful", operations=4)
class ResetsTheCounterOnly(RecordHistory):
    """A clear sets the counter to zero; a read goes on until a number is missing."""

    def _items(self) -> list[Any]:
        records = self._records()
        shown: list[Any] = []
        while self._next_number() and len(shown) in records:
            shown.append(records[len(shown)])
        return shown

    def _next_number(self) -> int:
        return self.store.notes.get(("next", self._key()), 0)  # type: ignore[no-any-return]

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self.store.notes["next", self._key()] = self._next_number() + len(items)

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        self.store.notes["next", self._key()] = 0

    def _erase(self) -> None:
        super()._erase()
        self.store.notes["next", self._key()] = 0


@mutant("CLR-3", "CLR-1", "CLR-2", hardness="stateful", operations=5)
class ReusesOldGenerations(JsonHistory):
    """A clear moves on to the next of three generations, and nobody empties the old ones."""

    def _key(self) -> Any:
        generation = self.store.notes.get(("generation", self.partition, self.session_id), 0)
        return (self.partition, self.session_id, generation)

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            generation = (self._key()[2] + 1) % 3
            self.store.notes["generation", self.partition, self.session_id] = generation


@mutant("CLR-3", "ERR-2", hardness="stateful", operations=3)
class LosesTheFirstAddAfterAClear(JsonHistory):
    """What is not younger than the clear counts as cleared, and the clock ticks slowly."""

    def _clear(self) -> Steps[None]:
        yield from super()._clear()
        self.store.notes["cleared", self._key()] = True

    def _append(self, items: list[Any]) -> None:
        if not self.store.notes.pop(("cleared", self._key()), False):
            super()._append(items)


@mutant("CLR-3", hardness="stateful", operations=4)
class SendsItsLastBatchAgain(JsonHistory):
    """A handle that finds its last batch missing believes in a lost write; it was another handle's clear."""

    claims = PLAIN
    _last: tuple[Any, ...] = ()

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        missing = [item for item in self._last if item not in kept]
        super()._append([*missing, *items])
        self._last = tuple(items)

    def _erase(self) -> None:
        super()._erase()
        self._last = ()


@mutant("CLR-3", "ORD-3", "ISO-3", "CLR-1", hardness="stateful", operations=4)
class TakesWhatFollowsAClearForARetry(JsonHistory):
    """What was sent at a place is remembered, so that a retry is not stored twice; a clear doesn't forget it."""

    def _append(self, items: list[Any]) -> None:
        sent = self.store.notes.setdefault(("sent", self._key()), set())
        if (mark := (len(self._items()), tuple(items))) not in sent:
            sent.add(mark)
            super()._append(items)


# CLR-4


@mutant("CLR-4", "ISO-2", "ISO-1", hardness="data", operations=3)
class ClearsByPrefix(ClearsMore):
    """A prefix delete, because the chunks of a session are its id with a number behind it."""

    def _takes(self, other: str) -> bool:
        return other.startswith(self.session_id)


@mutant("CLR-4", "ISO-2", "ISO-5", hardness="data", operations=3)
class ClearsByPattern(ClearsMore):
    """KEYS with the session id as its pattern, and DEL of what it finds."""

    def _takes(self, other: str) -> bool:
        return fnmatchcase(other, self.session_id)


@mutant("CLR-4", "ISO-2", hardness="data", operations=3)
class ClearsWithoutRegardToCase(ClearsMore):
    """The delete runs on another column than the read, with another collation."""

    def _takes(self, other: str) -> bool:
        return other.casefold() == self.session_id.casefold()


@mutant("CLR-4", "ISO-5", "ISO-1", hardness="data", operations=3)
class ClearsAllByAnEmptyId(ClearsMore):
    """A delete whose filter is left out where it is false."""

    def _takes(self, other: str) -> bool:
        return not self.session_id


@mutant("CLR-4", "ISO-1", "CLR-2", "ISO-4", hardness="stateful", operations=3)
class ClearsItsNeighbour(JsonHistory):
    """A delete by position, where the position of what isn't there is -1."""

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            if self._key() in self.store.lists:
                self._erase()
            elif self.store.lists:
                self.store.lists.popitem()


# Nobody had thought of the mutants below, and the suite missed them, until somebody who didn't know it planted them.


@mutant("CLR-1", "CLR-2", "CLR-3", hardness="data", operations=3)
class KeepsThePrompt(JsonHistory):
    """A conversation begins anew with its system prompt, if it had one."""

    def _erase(self) -> None:
        prompt = [item for item in self._items()[:1] if isinstance(self._load(item), SystemMessage)]
        super()._erase()
        if prompt:
            self._put(prompt)


@mutant("CLR-3", "CON-1", "CON-4", "ORD-1", hardness="timing", operations=4)
class DeletesALittleLater(JsonHistory):
    """clear hides what there is, and a thread deletes the session soon, with what has been added since."""

    claims = PLAIN

    def _clear(self) -> Steps[None]:
        yield from super()._clear()
        timer = threading.Timer(0.004, self._delete)
        timer.daemon = True
        timer.start()

    def _delete(self) -> None:
        with self._transaction():
            self._erase()


@mutant("CLR-1", "CLR-3", "ORD-1", hardness="timing", operations=3)
class WritesALittleLater(JsonHistory):
    """A buffer shows what was added at once; it reaches the store soon, though the session be cleared by then."""

    claims = PLAIN

    def _clear(self) -> Steps[None]:
        items = self._items()
        yield from super()._clear()
        timer = threading.Timer(0.004, self._flush, [items])
        timer.daemon = True
        timer.start()

    def _flush(self, items: list[Any]) -> None:
        with self._transaction():
            if items and not self._items():
                self._put(items)


@mutant("CLR-4", "ISO-1", hardness="data", operations=4)
class SharesLongTexts(JsonHistory):
    """Long texts are kept once under their hash, and deleted with the first session that has them."""

    def _encode_one(self, message: BaseMessage) -> Any:
        text = super()._encode_one(message)
        return ("text", hash(text), text) if len(text) > 2_000 else text

    def _put(self, items: list[Any]) -> None:
        kept = self.store.notes.setdefault("texts", {})
        kept.update((item[1], item[2]) for item in items if isinstance(item, tuple))
        super()._put([item[:2] if isinstance(item, tuple) else item for item in items])

    def _shown(self, items: list[Any]) -> list[Any]:
        kept = self.store.notes.get("texts", {})
        return [kept[item[1]] if isinstance(item, tuple) else item for item in items if _is_kept(item, kept)]

    def _append(self, items: list[Any]) -> None:
        self._put([*self._items(), *items])

    def _erase(self) -> None:
        for item in self.store.lists.get(self._key(), ()):
            if isinstance(item, tuple):
                self.store.notes["texts"].pop(item[1], None)
        super()._erase()


def _is_kept(item: Any, kept: dict[int, str]) -> bool:
    return not isinstance(item, tuple) or item[1] in kept


@mutant("CLR-3", "ISO-3", "SNP-5", "CLR-1", hardness="stateful", operations=5)
class KeepsFullPages(JsonHistory):
    """A handle keeps the pages that are full, since what is full does not change any more."""

    _pages: tuple[Any, ...] = ()

    def _shown(self, items: list[Any]) -> list[Any]:
        kept = self._pages if len(self._pages) <= len(items) else ()
        shown = [*kept, *items[len(kept) :]]
        self._pages = tuple(shown[: len(shown) // 8 * 8])
        return shown

    def _erase(self) -> None:
        super()._erase()
        self._pages = ()


@mutant("CLR-3", "SNP-5", hardness="data", operations=4)
class KeepsLargeTextsByTheirPlace(JsonHistory):
    """Large texts overflow into a table by session and place, INSERT OR IGNORE; clear does not know of it."""

    def _put(self, items: list[Any]) -> None:
        overflow = self.store.notes.setdefault(("overflow", self._key()), {})
        for place, item in enumerate(items):
            if len(item) > 2_500:
                overflow.setdefault(place, item)
        super()._put(["" if len(item) > 2_500 else item for item in items])

    def _items(self) -> list[Any]:
        overflow = self.store.notes.get(("overflow", self._key()), {})
        return [item or overflow[place] for place, item in enumerate(super()._items())]


@mutant("CLR-3", "ORD-3", hardness="stateful", operations=4)
class TakesWhatWasClearedForARetry(JsonHistory):
    """A batch of messages that were all there before the clear is a late retry of somebody who has not seen it."""

    def _erase(self) -> None:
        cleared = {from_json(item).id for item in self._items()} - {None}
        self.store.notes.setdefault(self._key(), set()).update(cleared)
        super()._erase()

    def _append(self, items: list[Any]) -> None:
        old = self.store.notes.get(self._key(), set())
        if not all(from_json(item).id in old for item in items):
            super()._append(items)
