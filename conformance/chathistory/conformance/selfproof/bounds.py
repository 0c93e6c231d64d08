"""Histories that break BND: they keep too many, too few, or the wrong messages."""

from __future__ import annotations

from typing import Any

from chathistory.conformance.selfproof._histories import JsonHistory
from chathistory.conformance.selfproof._planted import mutant


@mutant("BND-1", hardness="obvious", operations=2)
class KeepsTheOldest(JsonHistory):
    """A full history takes no more."""

    def _trimmed(self, items: list[Any]) -> list[Any]:
        return items[: self.history_size]
