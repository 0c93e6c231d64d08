"""Histories that break EXP: sessions that live too long, or not long enough."""

from __future__ import annotations

from typing import Any

from chathistory.conformance.selfproof._histories import JsonHistory
from chathistory.conformance.selfproof._planted import mutant


@mutant("EXP-1", hardness="obvious", operations=2)
class NeverExpires(JsonHistory):
    """The ttl is stored beside the messages, and nobody looks at it."""

    def _renew(self) -> None:
        pass


@mutant("EXP-2", hardness="stateful", operations=3)
class SetsTheTtlOnce(JsonHistory):
    """The ttl is set when the session is created."""

    def _renew(self) -> None:
        deadline = self.store.deadlines.get(self._key())
        super()._renew()
        if self.ttl is not None and deadline is not None:
            self.store.deadlines[self._key()] = deadline


@mutant("EXP-3", hardness="stateful", operations=3)
class RenewsOnReads(JsonHistory):
    """A sliding expiry, as a web session has."""

    def _shown(self, items: list[Any]) -> list[Any]:
        if items and self.ttl is not None:
            self._renew()
        return items
