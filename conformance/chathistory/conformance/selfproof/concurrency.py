"""Histories that break CON: races, with windows from 0.2 to 20 milliseconds."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import Any

from chathistory.conformance.selfproof._histories import PLAIN, JsonHistory, Steps
from chathistory.conformance.selfproof._planted import mutant


class WritesEverythingBack(JsonHistory):
    """Reads all, appends in memory, and writes all, without a lock."""

    window: float

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        if items:
            before = self._items()
            yield self.window
            self._put([*before, *items])


@mutant("CON-1", "ASY-5", "CON-3", hardness="timing")
class WritesEverythingBackIn2Ms(WritesEverythingBack):
    """The same over a network: a window of 2 ms."""

    window = 0.002


class Contended(JsonHistory):
    """Knows how many adds are on their way, and notes when there is more than one."""

    claims = PLAIN
    window = 0.0005

    def _add(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        if not items:
            return
        with self._on_the_way() as others:
            yield self.window
            with self._transaction():
                self._place(items, contended=others > 0)

    @contextmanager
    def _on_the_way(self) -> Any:
        key = ("on the way", self._key())
        with self.store.lock:
            others = self.store.notes.get(key, 0)
            self.store.notes[key] = others + 1
        try:
            yield others
        finally:
            with self.store.lock:
                self.store.notes[key] -= 1

    def _place(self, items: list[Any], *, contended: bool) -> None:
        self._append(items)


@mutant("CON-2", "CON-3", "ASY-5", hardness="timing")
class PushesToTheFrontUnderLoad(Contended):
    """Under load writes take another path, which pushes at the other end of the list."""

    def _place(self, items: list[Any], *, contended: bool) -> None:
        self._put([*items, *self._items()] if contended else [*self._items(), *items])


@mutant("CON-3", "CON-4", hardness="timing")
class HidesTheLastBatchUnderLoad(Contended):
    """While a write is under way reads go to a replica, which is one batch behind."""

    def _place(self, items: list[Any], *, contended: bool) -> None:
        self.store.notes["last", self._key()] = len(items)
        self._append(items)

    def _shown(self, items: list[Any]) -> list[Any]:
        if not self.store.notes.get(("on the way", self._key())):
            return items
        return items[: -self.store.notes.get(("last", self._key()), 0) or None]

    def _erase(self) -> None:
        super()._erase()
        self.store.notes.pop(("last", self._key()), None)


@mutant("CON-4", hardness="timing")
class ClearsWhatItSaw(JsonHistory):
    """A clear lists the keys, and deletes them a little later; what came in between stays."""

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        seen = len(self._items())
        yield 0.002
        with self._transaction():
            left = self._items()[seen:]
            self._erase()
            if left:
                self._put(left)


class SetsUp(JsonHistory):
    """Sets up each partition when the first handle on it is opened."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if ("table", self.partition) not in self.store.notes:
            self._set_up()

    def _set_up(self) -> None:
        raise NotImplementedError


@mutant("CON-5", hardness="timing")
class MakesATableTwice(SetsUp):
    """Look whether the table is there, then create it."""

    def _set_up(self) -> None:
        time.sleep(0.002)
        with self.store.lock:
            if ("table", self.partition) in self.store.notes:
                raise sqlite3.OperationalError(f"session {self.session_id!r}: table messages already exists")
            self.store.notes["table", self.partition] = True
