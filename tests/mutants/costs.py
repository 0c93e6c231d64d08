"""Histories that break COST: right in what they keep, and dear on the wire."""

from __future__ import annotations

from typing import Any

from tests.mutants._network import NetworkHistory
from tests.mutants._planted import network_mutant

# COST-1


@network_mutant("COST-1", hardness="stateful", operations=2)
class ReadsAfterEachAdd(NetworkHistory):
    """Reads the whole session after each add, to make sure."""

    def _add(self, texts: list[str]) -> None:
        super()._add(texts)
        self._read()


@network_mutant("COST-1", hardness="stateful", operations=2)
class SendsAMarkForEachMessage(NetworkHistory):
    """Sends the list of all places with each add: small, and growing."""

    def _add(self, texts: list[str]) -> None:
        length = self._ask(op="length")
        self._ask(op="add", items=texts, places=list(range(length)))


@network_mutant("COST-1", hardness="stateful", operations=2)
class LooksForDoubles(NetworkHistory):
    """Reads the last half of the session before an add, to look for doubles."""

    def _add(self, texts: list[str]) -> None:
        length: Any = self._ask(op="length")
        self._ask(op="read", **{"from": length // 2})
        super()._add(texts)


# COST-2


@network_mutant("COST-2", hardness="stateful", operations=2)
class ReadsPagesOf50(NetworkHistory):
    """Reads in pages of 50 messages."""

    def _read(self) -> list[str]:
        texts: list[str] = []
        while page := self._ask(op="read", **{"from": len(texts), "to": len(texts) + 50}):
            texts += page
        return texts


@network_mutant("COST-2", "CON-4", hardness="stateful", operations=2)
class ReadsOneByOne(NetworkHistory):
    """Reads the number of messages, then each by itself, and again if that number has changed."""

    def _read(self) -> list[str]:
        while True:
            length = self._ask(op="length")
            texts = [
                text for place in range(length) for text in self._ask(op="read", **{"from": place, "to": place + 1})
            ]
            if self._ask(op="length") == length == len(texts):
                return texts


@network_mutant("COST-2", hardness="stateful", operations=2)
class LooksAtAllItClears(NetworkHistory):
    """Reads each message before a clear, to log it."""

    def _clear(self) -> None:
        for place in range(self._ask(op="length")):
            self._ask(op="read", **{"from": place, "to": place + 1})
        super()._clear()
