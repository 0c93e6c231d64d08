"""Histories that break ATM: batches and assignments that take effect in part."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, NoReturn

from langchain_core.messages import BaseMessage
from tests.mutants._base import JsonHistory, RecordHistory, Steps
from tests.mutants._planted import mutant
from tests.mutants._values import is_batch
from typing_extensions import override

from chathistory.conformance.selfproof.atomicity import OneByOne, OneWriter

# ATM-1


@mutant("ATM-1", "VAL-6", hardness="data", operations=2)
class StoresUpToTheBadOne(JsonHistory):
    """Messages are encoded one by one while they are written."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        return self._batch(messages)

    def _append(self, items: list[Any]) -> None:
        for message in items:
            super()._append([self._encode_one(message)])


@mutant("ATM-1", "ERR-1", hardness="data", operations=2)
class StoresUpToWhatIsNoMessage(JsonHistory):
    """Each item is checked when its turn comes, and stored at once."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        good: list[Any] = []
        try:
            for message in messages if is_batch(messages) else super()._batch(messages):
                good += super()._batch([message])
        except TypeError:
            self._run(self._add(self._encode(good)))
            raise
        return good


@mutant("ATM-1", hardness="data", operations=2)
class StoresChunksOf25UpToTheBadOne(JsonHistory):
    """A long batch is sent in pieces of 25, each of which is checked when it is sent."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        return self._batch(messages)

    def _append(self, items: list[Any]) -> None:
        for start in range(0, len(items), 25):
            super()._append([self._encode_one(message) for message in items[start : start + 25]])


@mutant("ATM-1", hardness="stateful", operations=3)
class RollsBackTooFar(JsonHistory):
    """A refusal rolls back to the last savepoint, which lies before the previous batch."""

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self.store.notes["last", self._key()] = len(items)

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        with self._transaction():
            if count := self.store.notes.pop(("last", self._key()), 0):
                self._put(self._items()[:-count])
        super()._refuse(kind, cause)


@mutant("ATM-1", "ASY-1", hardness="data", operations=2)
class StoresAnAsyncBatchUpToTheBadOne(JsonHistory):
    """The async form is a loop over the messages."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items: list[Any] = []
        try:
            items.extend(self._encode_one(message) for message in self._batch(messages))
        finally:
            await self._arun(self._add(items))


@mutant("ATM-1", "ATM-3", "ATM-2", "CON-4", hardness="data", operations=1)
class EncodesByThe64(JsonHistory):
    """Messages are encoded and stored in chunks of 64: what is refused further back leaves the chunks before it."""

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        batch = self._batch(messages)
        with self.store.notes.setdefault("writers", threading.RLock()):
            for begin in range(0, max(len(batch), 1), 64):
                super().add_messages(batch[begin : begin + 64])


# ATM-2 and ATM-3


@mutant("ATM-2", "ATM-3", "ASY-4", hardness="timing")
class WritesOneByOneIn200Us(OneByOne):
    """A loop of inserts, each committed, in a store on the same machine."""

    window = 0.0002


@mutant("ATM-2", "ATM-3", "ASY-4", hardness="timing")
class WritesOneByOneIn20Ms(OneByOne):
    """A loop of inserts, each committed, in a store overseas."""

    window = 0.02


@mutant("ATM-2", "CON-3", "CON-4", hardness="timing")
class TakesNumbersOneByOne(RecordHistory):
    """Each message of a batch draws its number from a sequence; the rows appear together."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        numbers = []
        for _ in items:
            with self.store.lock:
                numbers.append(self.store.notes.get(self._key(), 0))
                self.store.notes[self._key()] = numbers[-1] + 1
            yield 0 if len(numbers) > 1 else 0.001
        with self._transaction():
            self._records().update(zip(numbers, items, strict=True))

    def _append(self, items: list[Any]) -> None:
        first = self.store.notes.get(self._key(), 0)
        self._records().update(enumerate(items, first))
        self.store.notes[self._key()] = first + len(items)


@mutant("ATM-3", "CON-3", "CON-4", hardness="timing")
class ShowsABatchFromItsEnd(OneWriter):
    """Rows are written from the last to the first, so a reader may see an answer before its question."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._in_turn(self._grow(items))

    def _grow(self, items: list[Any]) -> Steps[None]:
        before = len(self._items())
        for place, item in enumerate(reversed(items)):
            with self._transaction():
                kept = self._items()
                self._put([*kept[:before], item, *kept[before:]])
            yield 0 if place else 0.001


@mutant("ATM-3", "ATM-2", hardness="timing")
class TakesTwoTransactionsForMany(JsonHistory):
    """A transaction takes ten items, so a longer batch gets one more, and somebody may read in between."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from super()._add(items[:10])
        if items[10:]:
            yield 0.0005
            yield from super()._add(items[10:])


@mutant("ATM-3", "ATM-2", "CON-4", "ASY-4", hardness="timing")
class TakesTwoTransactionsFor129(JsonHistory):
    """128 messages go into a transaction."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from super()._add(items[:128])
        if items[128:]:
            yield 0.002
            yield from super()._add(items[128:])


@mutant("ATM-3", "ATM-2", "CON-4", "ASY-4", hardness="timing")
class TakesTwoTransactionsForManyBytes(JsonHistory):
    """A transaction ends with the message that makes it larger than 256 KB."""

    def _add(self, items: list[Any]) -> Steps[None]:
        size = place = 0
        for place, item in enumerate(items, start=1):  # noqa: B007 -- where the loop ends
            size += len(item)
            if size > 2**18:
                break
        yield from super()._add(items[:place])
        if items[place:]:
            yield 0.002
            yield from super()._add(items[place:])


@mutant("ATM-3", "CON-3", "CON-4", "CON-1", hardness="timing")
class WritesKindByKind(OneWriter):
    """Questions, answers and results have a table each; a batch that has several is written to one after another."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._in_turn(self._grow(items))

    def _grow(self, items: list[Any]) -> Steps[None]:
        kinds = [self._load(item).type for item in items]
        before = len(self._items())
        for number, _ in enumerate(dict.fromkeys(kinds), start=1):
            with self._transaction():
                written = list(dict.fromkeys(kinds))[:number]
                self._put(
                    [
                        *self._items()[:before],
                        *(item for item, kind in zip(items, kinds, strict=True) if kind in written),
                    ]
                )
            yield 0.0005


@mutant("ATM-3", "CON-4", "CON-3", "CON-1", "VAL-2", hardness="timing")
class WritesLargeContentsLater(OneWriter):
    """A row is written, and its content, if that is large, half a millisecond later."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._in_turn(self._grow(items))

    def _grow(self, items: list[Any]) -> Steps[None]:
        before = self._items()
        hollow = [self._hollow(item) for item in items]
        if hollow != items:
            with self._transaction():
                self._put([*before, *hollow])
            yield 0.0005
        with self._transaction():
            self._put([*before, *items])

    def _hollow(self, item: Any) -> Any:
        return self._dump(self._load(item).model_copy(update={"content": ""})) if len(item) > 4_096 else item
