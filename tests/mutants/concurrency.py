"""Histories that break CON: races, with windows from 0.2 to 20 milliseconds."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Hashable, Iterable
from typing import Any

from langchain_core.messages import BaseMessage
from tests.mutants._base import PLAIN, JsonHistory, RecordHistory, Steps
from tests.mutants._network import NetworkHistory
from tests.mutants._planted import mutant, network_mutant
from typing_extensions import override

from chathistory.conformance.selfproof.atomicity import OneWriter
from chathistory.conformance.selfproof.concurrency import Contended, SetsUp, WritesEverythingBack

# CON-1


@mutant("CON-1", "ASY-5", "CON-3", hardness="timing")
class WritesEverythingBackIn200Us(WritesEverythingBack):
    """One item per session, read and written back: a window of 0.2 ms."""

    window = 0.0002


@mutant("CON-1", "ASY-5", "CON-3", hardness="timing")
class WritesEverythingBackIn20Ms(WritesEverythingBack):
    """The same over a slow network: a window of 20 ms."""

    window = 0.02


@mutant("CON-1", "CON-3", "ASY-5", hardness="timing")
class LocksEachHandleForItself(JsonHistory):
    """The lock belongs to the handle, so it protects the handle from itself only."""

    _busy = False

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        while not self._take():
            yield 0.0002
        try:
            before = self._items()
            yield 0.001
            self._put([*before, *items])
        finally:
            self._busy = False

    def _take(self) -> bool:
        with self.store.lock:
            taken, self._busy = not self._busy, True
        return taken


@mutant("CON-1", "ASY-5", hardness="timing")
class KeepsACallOnTheHandle(JsonHistory):
    """What is about to be written waits on the handle, where the next caller overwrites it."""

    _about_to_write: tuple[Any, ...] = ()

    def _add(self, items: list[Any]) -> Steps[None]:
        self._about_to_write = tuple(items)
        yield 0.001
        yield from super()._add(list(self._about_to_write))


@mutant("CON-1", "ASY-5", "CON-3", "ATM-2", hardness="timing")
class OverwritesANumber(RecordHistory):
    """MAX(number) + 1, and a put that doesn't mind what is there."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        first = self._next_number()
        yield 0.001
        with self._transaction():
            self._records().update(enumerate(items, first))


class _Optimistic(JsonHistory):
    """Writes only if nobody else has since it read; else tries again, at most so many times."""

    attempts: int

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        for _ in range(self.attempts if items else 0):
            before = self._items()
            yield 0.001
            with self._transaction():
                if self._items() == before:
                    self._append(items)
                    return


@mutant("CON-1", "ERR-2", "ASY-5", hardness="timing")
class DropsConflicts(_Optimistic):
    """A conditional write, whose failure nobody looks at."""

    attempts = 1


@mutant("CON-1", "ERR-2", "ASY-5", hardness="timing")
class GivesUpAfterThreeConflicts(_Optimistic):
    """A conditional write with three attempts, the last of which fails in silence."""

    attempts = 3


@mutant("CON-1", "ISO-3", "ASY-2", hardness="timing")
class KeepsSessionsPerThread(JsonHistory):
    """A client that must not be shared by threads is kept in a threading.local, and it is in-memory."""

    def _key(self) -> Hashable:
        local = self.store.notes.setdefault("local", threading.local())
        if not hasattr(local, "token"):
            local.token = object()
        return (self.partition, self.session_id, local.token)


@mutant("CON-1", "CON-4", "CON-3", "ORD-6", hardness="timing")
class AddsSinglesWithoutTheLock(JsonHistory):
    """add_message reads and writes back by itself, for speed, and knows nothing of the lock."""

    def add_message(self, message: BaseMessage) -> None:
        """Append one message."""
        items = self._encode([message])
        kept = self._items()
        time.sleep(0.0005)
        self._put([*kept, *items])


@mutant("CON-1", "CON-4", hardness="timing")
class LocksEachFormForItself(JsonHistory):
    """Sync adds take a lock of threads; async ones read, give way and write back under one of their loop."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        await asyncio.sleep(self.store.latency)
        async with self._lock():
            before = self._items()
            await asyncio.sleep(0)
            with self._transaction():
                self._put([*before, *items])

    @override
    async def aclear(self) -> None:
        async with self._lock():
            await super().aclear()

    def _lock(self) -> asyncio.Lock:
        locks = self.store.notes.setdefault("locks", weakref.WeakKeyDictionary())
        return locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())  # type: ignore[no-any-return]


# CON-2 and CON-3


@mutant("CON-2", "CON-3", "CON-4", "ASY-5", hardness="timing")
class TakesTheTimeFromTwoClocks(Contended):
    """Messages are sorted by time; under load a second server stamps them, and it is 5 ms behind."""

    def _place(self, items: list[Any], *, contended: bool) -> None:
        stamp = time.monotonic() - (0.005 if contended else 0)
        self._put(sorted([*self._items(), *((stamp, item) for item in items)], key=lambda pair: pair[0]))

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield from super()._replace([(time.monotonic(), item) for item in items])

    def _load(self, item: Any) -> BaseMessage:
        return super()._load(item[1])


@mutant("CON-2", "CON-3", "CON-4", "ATM-2", hardness="timing")
class StepsInFront(Contended):
    """Under load a batch is put before the last one, whose place was reserved and not yet known."""

    def _place(self, items: list[Any], *, contended: bool) -> None:
        kept = self._items()
        split = len(kept) - 1 if contended and kept else len(kept)
        self._put([*kept[:split], *items, *kept[split:]])


@mutant("CON-2", "CON-4", hardness="timing")
class TakesFromTheTopOfAPile(Contended):
    """What threads add under load is put on a pile, from which the next call takes the topmost first."""

    def _place(self, items: list[Any], *, contended: bool) -> None:
        if contended and threading.current_thread() is not threading.main_thread():
            self.store.notes.setdefault(("pile", self._key()), []).append(items)
        else:
            self._append(items)

    def _items(self) -> list[Any]:
        pile = self.store.notes.pop(("pile", self._key()), [])
        while pile:
            self._append(pile.pop())
        return super()._items()

    def _erase(self) -> None:
        super()._erase()
        self.store.notes.pop(("pile", self._key()), None)


@mutant("CON-3", "CON-4", hardness="timing")
class ShowsLateCommitsInFront(RecordHistory):
    """A serial number is given when a write begins, and seen when it ends; readers sort by number."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        with self.store.lock:
            first = self.store.notes.get(self._key(), 0)
            self.store.notes[self._key()] = first + len(items)
        yield 0.0005 if first % 3 else 0.002
        with self._transaction():
            self._records().update(enumerate(items, first))

    def _append(self, items: list[Any]) -> None:
        first = self.store.notes.get(self._key(), 0)
        self.store.notes[self._key()] = first + len(items)
        self._records().update(enumerate(items, first))


@mutant("CON-3", "CON-4", "ATM-3", "ASY-4", hardness="timing")
class RewritesInTheOpen(OneWriter):
    """Writers wait for one another; each deletes the session and writes it anew, and readers may look."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._in_turn(self._rewrite(items))

    def _rewrite(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        if items:
            before = self._items()
            self._erase()
            yield 0.0003
            self._put([*before, *items])


# CON-4


@mutant("CON-4", "CLR-3", "CLR-1", hardness="timing")
class UndoesAConcurrentClear(OneWriter):
    """Adds wait for one another, and write everything back; a clear waits for nobody."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._in_turn(self._write_back(items))

    def _write_back(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        if items:
            before = self._items()
            yield 0.001
            self._put([*before, *items])

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            self._erase()


@mutant("CON-4", "CON-3", "CON-1", "ISO-3", "ASY-5", hardness="timing")
class FillsItsCacheTooLate(JsonHistory):
    """A reader fills the shared cache after a writer has emptied it."""

    claims = PLAIN

    def _read(self) -> Steps[list[BaseMessage]]:
        yield self.store.latency
        items = self.store.notes.get(self._key())
        if items is None:
            items = self._items()
            yield 0.001
            self.store.notes[self._key()] = items
        return [self._load(item) for item in items]

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes.pop(self._key(), None)

    def _erase(self) -> None:
        super()._erase()
        self.store.notes.pop(self._key(), None)


@mutant("CON-4", hardness="timing")
class ReadsPagesAcrossAClear(JsonHistory):
    """A read takes pages of four by their offsets, and the session may start anew in between."""

    def _read(self) -> Steps[list[BaseMessage]]:
        yield self.store.latency
        items: list[Any] = []
        while page := self._page(len(items)):
            items += page
            yield 0.0005 if len(items) <= 8 else 0
        return [self._load(item) for item in items]

    def _page(self, start: int) -> list[Any]:
        with self._transaction():
            return self._items()[start : start + 4]


@mutant("CON-4", "ISO-3", "ERR-2", "ORD-1", hardness="timing")
class AcknowledgesTooEarly(JsonHistory):
    """A background thread writes, some milliseconds after the call has returned."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        timer = threading.Timer(0.003, self._late, [items])
        timer.daemon = True
        timer.start()

    def _late(self, items: list[Any]) -> None:
        if items:
            with self._transaction():
                self._append(items)


# CON-5


@mutant("CON-5", "CON-1", hardness="timing")
class MakesATableAnew(SetsUp):
    """Look whether the table is there, then DROP TABLE IF EXISTS and create it."""

    def _set_up(self) -> None:
        time.sleep(0.002)
        with self.store.lock:
            for key in [key for key in self.store.lists if key[0] == self.partition]:
                del self.store.lists[key]
            self.store.notes["table", self.partition] = True


class SetsUpOnce(JsonHistory):
    """Sets up the whole store, with all its partitions, when the first of all handles is opened."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if "table" not in self.store.notes:
            self._set_up()

    def _set_up(self) -> None:
        raise NotImplementedError


@mutant("CON-5", hardness="timing")
class MakesTheOnlyTableTwice(SetsUpOnce):
    """Look whether there is a table, then create it: nobody sees that but the first handles of all."""

    def _set_up(self) -> None:
        time.sleep(0.001)
        with self.store.lock:
            if "table" in self.store.notes:
                raise sqlite3.OperationalError(f"session {self.session_id!r}: table messages already exists")
            self.store.notes["table"] = True


@mutant("CON-5", hardness="timing")
class MakesTheOnlyTableAnew(SetsUpOnce):
    """Look whether there is a table, then drop what there is and create it; some take longer than others."""

    def _set_up(self) -> None:
        time.sleep(random.uniform(0.0, 0.008))  # noqa: S311 -- no secret
        with self.store.lock:
            self.store.lists.clear()
            self.store.notes["table"] = True


@mutant("CON-5", hardness="timing")
class SaysTooSoonThatItIsSetUp(SetsUp):
    """The flag of the set-up is set before the set-up is done, and who trusts it finds no table."""

    def _set_up(self) -> None:
        self.store.notes["table", self.partition] = False
        time.sleep(0.002)
        self.store.notes["table", self.partition] = True

    def _transaction(self) -> Any:
        if not self.store.notes["table", self.partition]:
            raise sqlite3.OperationalError(f"session {self.session_id!r}: no such table: messages")
        return super()._transaction()


@mutant("CON-5", "CON-1", "ASY-5", hardness="timing")
class MakesASessionAnew(JsonHistory):
    """The first add to a session makes its row, unless there is one; two writers both find none."""

    def _add(self, items: list[Any]) -> Steps[None]:
        if items and self._key() not in self.store.lists:
            yield 0.001
            with self._transaction():
                self._put([])
        yield from super()._add(items)


@mutant("CON-5", "ASY-5", hardness="timing")
class MakesASessionTwice(JsonHistory):
    """The first add to a session inserts its row, and finds that another has."""

    def _add(self, items: list[Any]) -> Steps[None]:
        if items and self._key() not in self.store.lists:
            yield 0.001
            with self._transaction():
                if self._key() in self.store.lists:
                    raise sqlite3.IntegrityError(f"session {self.session_id!r}: UNIQUE constraint failed")
                self._put([])
        yield from super()._add(items)


# Between processes


_OF_THE_PROCESS = threading.RLock()


@network_mutant("CON-1", "CON-3", "CON-4", "COST-1", hardness="timing")
class LocksInItsProcessOnly(NetworkHistory):
    """Reads, appends and writes back under a lock of the process; another process has a lock of its own."""

    def _add(self, texts: list[str]) -> None:
        with _OF_THE_PROCESS:
            self._ask(op="put", items=[*super()._read(), *texts])

    def _put(self, texts: list[str]) -> None:
        with _OF_THE_PROCESS:
            super()._put(texts)

    def _clear(self) -> None:
        with _OF_THE_PROCESS:
            super()._clear()


_IN_THE_PROCESS: dict[Any, list[str]] = {}


@network_mutant("CON-1", "CON-3", "CON-4", "ISO-3", hardness="timing")
class KeepsSessionsInItsProcess(NetworkHistory):
    """The sessions of a process are kept in its memory, and it is taken for granted that nobody else has them."""

    claims = frozenset({"core", "threads", "processes"})

    def _read(self) -> list[str]:
        with _OF_THE_PROCESS:
            return list(_IN_THE_PROCESS.get((self.address, self.key), ()))

    def _add(self, texts: list[str]) -> None:
        with _OF_THE_PROCESS:
            _IN_THE_PROCESS.setdefault((self.address, self.key), []).extend(texts)

    def _put(self, texts: list[str]) -> None:
        with _OF_THE_PROCESS:
            _IN_THE_PROCESS[self.address, self.key] = list(texts)

    def _clear(self) -> None:
        with _OF_THE_PROCESS:
            _IN_THE_PROCESS.pop((self.address, self.key), None)


@network_mutant("CON-3", "CON-4", "CON-2", "DUR-1", hardness="timing")
class NumbersByTheProcess(NetworkHistory):
    """Messages are ordered by a number that each process counts for itself, beginning with what it finds."""

    def _add(self, texts: list[str]) -> None:
        with _OF_THE_PROCESS:
            first = _next_number(self)
            super()._add([f"{first + place:09d} {text}" for place, text in enumerate(texts)])
            _NEXT[self._place()] = first + len(texts)

    def _put(self, texts: list[str]) -> None:
        with _OF_THE_PROCESS:
            super()._put([f"{place:09d} {text}" for place, text in enumerate(texts)])
            _NEXT[self._place()] = len(texts)

    def _read(self) -> list[str]:
        return [text.partition(" ")[2] for text in sorted(super()._read(), key=lambda text: text.partition(" ")[0])]

    def _place(self) -> str:
        return f"{self.address}{self.key}"


_NEXT: dict[str, int] = {}


def _next_number(history: NumbersByTheProcess) -> int:
    place = history._place()
    if place not in _NEXT:
        _NEXT[place] = history._ask(op="length")
    return _NEXT[place]


@mutant("CON-4", "CON-3", "CLR-1", hardness="timing")
class ClearsAThousandAtATime(JsonHistory):
    """DELETE … LIMIT 1000, until nothing is left."""

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        while True:
            with self._transaction():
                rest = self._items()[1_000:]
                if not rest:
                    self._erase()
                    return
                self._put(rest)
            yield 0.001


@mutant("CON-4", "ATM-3", "CON-3", "ASY-5", hardness="timing")
class ReadsPagesOf200(JsonHistory):
    """A read takes pages by the number of messages seen, and somebody may clear and write between two of them."""

    def _read(self) -> Steps[list[BaseMessage]]:
        yield self.store.latency
        items: list[Any] = []
        while True:
            with self._transaction():
                page = self._items()[len(items) : len(items) + 200]
            items += page
            if len(page) < 200:
                return [self._load(item) for item in items]
            yield 0.0005
