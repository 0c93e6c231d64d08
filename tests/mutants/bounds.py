"""Histories that break BND: they keep too many, too few, or the wrong messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import BaseMessage, SystemMessage
from tests.mutants._base import JsonHistory, Steps
from tests.mutants._planted import mutant
from typing_extensions import override


@mutant("BND-1", hardness="obvious", operations=2)
class IgnoresTheBound(JsonHistory):
    """The argument is accepted, and that was all."""

    def _trimmed(self, items: list[Any]) -> list[Any]:
        return items


@mutant("BND-1", hardness="obvious", operations=2)
class KeepsOneTooMany(JsonHistory):
    """LTRIM's range includes its end."""

    def _trimmed(self, items: list[Any]) -> list[Any]:
        return items if self.history_size is None else items[-self.history_size - 1 :]


@mutant("BND-1", hardness="obvious", operations=2)
class KeepsOneTooFew(JsonHistory):
    """while len(messages) >= size: drop one. Below the bound nothing is amiss."""

    def _trimmed(self, items: list[Any]) -> list[Any]:
        if self.history_size is None or len(items) < self.history_size:
            return items
        return items[len(items) - self.history_size + 1 :]


@mutant("BND-1", hardness="stateful", operations=3)
class TrimsTheBatchOnly(JsonHistory):
    """The bound is applied to what is added, and not to what is there."""

    def _append(self, items: list[Any]) -> None:
        self.store.lists[self._key()] = [*self._items(), *self._trimmed(items)]
        self._renew()


@mutant("BND-1", hardness="data", operations=2)
class DropsOnePerAdd(JsonHistory):
    """Each add that exceeds the bound removes one message, however many it brings."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        full = self.history_size is not None and len(kept) >= self.history_size
        self.store.lists[self._key()] = [*kept[full:], *items]
        self._renew()


@mutant("BND-1", hardness="data", operations=2)
class LeavesABatchBeyondTheBoundWhole(JsonHistory):
    """Room is made among the old messages; a batch that needs more room than there is keeps all of itself."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        if self.history_size is not None:
            room = max(self.history_size - len(items), 0)
            kept = kept[-room:] if room else []
        self.store.lists[self._key()] = [*kept, *items]
        self._renew()


@mutant("BND-1", hardness="data", operations=2)
class KeepsEverythingAtABoundOfOne(JsonHistory):
    """messages[-(size - 1):] before the last is added: with a size of one that is messages[-0:]."""

    def _append(self, items: list[Any]) -> None:
        for item in items:
            kept = self._items()
            super()._put([*(kept if self.history_size is None else kept[-(self.history_size - 1) :]), item])

    def _trimmed(self, items: list[Any]) -> list[Any]:
        return items


@mutant("BND-1", hardness="data", operations=2)
class SparesTheSystemPromptFromTheBound(JsonHistory):
    """The first system message stays whatever the bound says."""

    def _trimmed(self, items: list[Any]) -> list[Any]:
        kept = super()._trimmed(items)
        prompt = items[:1] if items and isinstance(self._load(items[0]), SystemMessage) else []
        return kept if len(kept) == len(items) else [*prompt, *kept]


@mutant("BND-1", "ASY-1", hardness="data", operations=2)
class IgnoresTheBoundInAsyncAdds(JsonHistory):
    """Trimming was added to the sync form only."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        size, self.history_size = self.history_size, None
        try:
            await super().aadd_messages(messages)
        finally:
            self.history_size = size


@mutant("BND-1", hardness="stateful", operations=3)
class ForgetsTheBoundAfterAClear(JsonHistory):
    """The bound is a property of the stored list, and goes with it."""

    def _clear(self) -> Steps[None]:
        yield from super()._clear()
        self.store.notes["cleared", self._key()] = True

    def _trimmed(self, items: list[Any]) -> list[Any]:
        return items if ("cleared", self._key()) in self.store.notes else super()._trimmed(items)


@mutant("BND-1", hardness="data", operations=3)
class HidesWhatItShouldTrim(JsonHistory):
    """The bound is a LIMIT of the query; the store keeps everything, and shows it to whoever asks for more."""

    def _trimmed(self, items: list[Any]) -> list[Any]:
        return items

    def _shown(self, items: list[Any]) -> list[Any]:
        return super()._trimmed(items)


@mutant("BND-1", "SNP-5", hardness="data", operations=2)
class LeavesAnAssignmentUntrimmed(JsonHistory):
    """Adds trim; the setter writes the list as it is."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        size, self.history_size = self.history_size, None
        try:
            yield from super()._replace(items)
        finally:
            self.history_size = size


@mutant("BND-1", hardness="stateful", operations=3)
class CountsItsOwnAddsOnly(JsonHistory):
    """A handle looks whether there is too much once it has filled the bound by itself."""

    _added = 0

    def _append(self, items: list[Any]) -> None:
        self._added += len(items)
        super()._append(items)

    def _trimmed(self, items: list[Any]) -> list[Any]:
        is_due = self.history_size is not None and self._added >= self.history_size
        return super()._trimmed(items) if is_due else items


@mutant("BND-1", "ISO-1", hardness="data", operations=4)
class CountsTheMessagesOfAllSessions(JsonHistory):
    """DELETE … WHERE id <= last - bound, and the ids are those of one table for all sessions."""

    def _append(self, items: list[Any]) -> None:
        last = self.store.notes.get("last", 0)
        numbers = [*self.store.notes.get(self._key(), ()), *range(last + 1, last + len(items) + 1)]
        self.store.notes["last"] = last + len(items)
        kept = [*self._items(), *items]
        numbers = numbers[-len(kept) :]
        if self.history_size is not None and items:
            oldest = self.store.notes["last"] - self.history_size
            kept = [item for item, number in zip(kept, numbers, strict=True) if number > oldest]
            numbers = [number for number in numbers if number > oldest]
        self.store.notes[self._key()] = numbers
        self._put(kept)


@mutant("BND-1", "ATM-1", hardness="stateful", operations=3)
class MakesRoomBeforeItRefuses(JsonHistory):
    """A session that is full makes room for a batch before the batch is looked at."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        batch = list(messages) if isinstance(messages, list | tuple) else messages
        if self.history_size is not None and isinstance(batch, list):
            with self._transaction():
                excess = len(self._items()) + len(batch) - self.history_size
                if excess > 0:
                    self.store.lists[self._key()] = self._items()[excess:]
        return super()._encode(batch)


@mutant("BND-1", hardness="stateful", operations=4)
class TrimsByACountOfItsOwn(JsonHistory):
    """Each handle counts what it has read and added, and trims by that."""

    counted: int | None = None

    def _trimmed(self, items: list[Any]) -> list[Any]:
        if self.history_size is None:
            return items
        known = len(items) if self.counted is None else self.counted + len(items) - len(self._items())
        self.counted = min(known, self.history_size)
        return items[max(known - self.history_size, 0) :]

    def _shown(self, items: list[Any]) -> list[Any]:
        self.counted = len(items)
        return items

    def _erase(self) -> None:
        self.counted = None
        super()._erase()
