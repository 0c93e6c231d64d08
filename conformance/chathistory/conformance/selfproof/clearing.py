"""Histories that break CLR: clears that clear too little, too much, or not for good."""

from __future__ import annotations

from typing import Any

from chathistory.conformance.selfproof._histories import PLAIN, CorrectHistory, JsonHistory, Steps
from chathistory.conformance.selfproof._planted import mutant


@mutant("CLR-1", "ISO-3", hardness="stateful", operations=3)
class ClearsItsOwnViewOnly(JsonHistory):
    """The handle remembers where the cleared part ends; the others do not."""

    claims = PLAIN
    _hidden = 0

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            self._hidden = len(self._items())

    def _shown(self, items: list[Any]) -> list[Any]:
        return items[self._hidden :]

    def _erase(self) -> None:
        super()._erase()
        self._hidden = 0


@mutant("CLR-2", hardness="stateful", operations=2)
class RaisesOnTheSecondClear(JsonHistory):
    """The first clear removes the entry from an index, and the second doesn't find it."""

    def _clear(self) -> Steps[None]:
        if self.store.notes.get(("cleared", self._key())):
            raise KeyError(f"session {self.session_id!r} is not in the index")
        yield from super()._clear()
        self.store.notes["cleared", self._key()] = True

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes["cleared", self._key()] = False


@mutant("CLR-3", hardness="stateful", operations=4)
class BringsOldMessagesBack(JsonHistory):
    """A clear sets a flag on the session, and the next add resets it."""

    claims = PLAIN

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        self.store.notes["deleted", self._key()] = True

    def _shown(self, items: list[Any]) -> list[Any]:
        return [] if self.store.notes.get(("deleted", self._key())) else items

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes["deleted", self._key()] = False


class ClearsMore(CorrectHistory):
    """Clears each session of its partition whose id it takes for its own."""

    def _takes(self, other: str) -> bool:
        raise NotImplementedError

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            self._erase()
            for partition, other in list(self.store.lists):
                if partition == self.partition and self._takes(other):
                    del self.store.lists[partition, other]


@mutant("CLR-4", "ISO-1", hardness="obvious", operations=3)
class ClearsEverything(ClearsMore):
    """FLUSHDB."""

    def _takes(self, other: str) -> bool:
        return True
