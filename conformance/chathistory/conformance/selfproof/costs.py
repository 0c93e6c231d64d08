"""Histories that break COST: right in what they keep, and dear on the wire."""

from __future__ import annotations

from chathistory.conformance.selfproof._network import NetworkHistory
from chathistory.conformance.selfproof._planted import network_mutant


@network_mutant("COST-1", hardness="stateful", operations=2)
class ReadsBeforeEachAdd(NetworkHistory):
    """Reads the whole session before it appends, to number the messages."""

    def _add(self, texts: list[str]) -> None:
        self._read()
        super()._add(texts)


@network_mutant("COST-2", hardness="stateful", operations=1)
class AsksForEachMessage(NetworkHistory):
    """Asks the store for the state of each message of a batch before it sends the batch."""

    def _add(self, texts: list[str]) -> None:
        for _ in texts:
            self._ask(op="length")
        super()._add(texts)
