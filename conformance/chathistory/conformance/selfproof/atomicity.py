"""Histories that break ATM: batches and assignments that take effect in part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import BaseMessage

from chathistory.conformance.selfproof._histories import JsonHistory, Steps
from chathistory.conformance.selfproof._planted import mutant


@mutant("ATM-1", "SNP-5", hardness="stateful", operations=3)
class ClearsBeforeAnAssignmentFails(JsonHistory):
    """The setter is clear and add_messages, in this order."""

    def _assign(self, messages: Iterable[BaseMessage]) -> None:
        self.clear()
        self.add_messages(messages)


class OneByOne(JsonHistory):
    """Stores a batch message by message, with a pause after the first."""

    window: float

    def _add(self, items: list[Any]) -> Steps[None]:
        for place, item in enumerate(items):
            yield from super()._add([item])
            yield 0 if place else self.window


@mutant("ATM-2", "ATM-3", "ASY-4", hardness="timing")
class WritesOneByOneIn2Ms(OneByOne):
    """A loop of inserts, each committed, in a store next door."""

    window = 0.002


class OneWriter(JsonHistory):
    """Lets one writer at a time into a session, over several steps."""

    def _turn(self) -> Steps[None]:
        while True:
            with self.store.lock:
                if ("writer", self._key()) not in self.store.notes:
                    self.store.notes["writer", self._key()] = self
                    return
            yield 0.0003

    def _done(self) -> None:
        del self.store.notes["writer", self._key()]

    def _in_turn(self, steps: Steps[None]) -> Steps[None]:
        yield from self._turn()
        try:
            yield from steps
        finally:
            self._done()

    def _clear(self) -> Steps[None]:
        yield from self._in_turn(super()._clear())

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield from self._in_turn(super()._replace(items))


@mutant("ATM-3", "CON-4", "ASY-4", hardness="timing")
class ShowsABatchAsItGrows(OneWriter):
    """Writers wait for one another, and readers for nobody."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._in_turn(self._grow(items))

    def _grow(self, items: list[Any]) -> Steps[None]:
        for place, item in enumerate(items):
            yield from super()._add([item])
            yield 0 if place else 0.001
