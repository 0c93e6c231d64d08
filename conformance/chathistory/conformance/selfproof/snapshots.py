"""Histories that break SNP: what the caller holds, and what is stored, are not kept apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import BaseMessage

from chathistory.conformance.selfproof._histories import CorrectHistory, JsonHistory, Steps
from chathistory.conformance.selfproof._planted import mutant


@mutant("SNP-1", "SNP-2", hardness="stateful", operations=2)
class HandsOutOneCachedList(JsonHistory):
    """Reads are cached until the next write, and every reader gets the same list."""

    def _read(self) -> Steps[list[BaseMessage]]:
        yield self.store.latency
        with self._transaction():
            items = self._items()
            before, cached = self.store.notes.get(("cached", self._key()), (None, []))
            if before != items:
                cached = [self._load(item) for item in items]
                self.store.notes["cached", self._key()] = (items, cached)
        return cached  # type: ignore[no-any-return]


@mutant("SNP-2", "SNP-1", hardness="stateful", operations=3)
class HandsOutItsMessages(CorrectHistory):
    """return list(self._messages)."""

    def _load(self, item: Any) -> BaseMessage:
        return item  # type: ignore[no-any-return]


@mutant("SNP-3", hardness="stateful", operations=2)
class KeepsTheCallersMessages(CorrectHistory):
    """self._messages.extend(messages)."""

    def _dump(self, message: BaseMessage) -> Any:
        super()._dump(message)
        return message


@mutant("SNP-4", hardness="obvious", operations=1)
class AssignsIdsToTheArgument(JsonHistory):
    """The id of the row is noted on the message, for later updates."""

    def _encode_one(self, message: BaseMessage) -> Any:
        item = super()._encode_one(message)
        message.id = message.id or f"row-{len(item)}"
        return item


@mutant("SNP-5", hardness="stateful", operations=3)
class AppendsAnAssignment(JsonHistory):
    """The setter calls add_messages."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield from self._add(items)


@mutant("SNP-6", "ORD-3", hardness="stateful", operations=3)
class SkipsWhatItHandedOut(JsonHistory):
    """Messages that came from the store are known to it, and not stored again."""

    _handed_out: tuple[BaseMessage, ...] = ()

    def _read(self) -> Steps[list[BaseMessage]]:
        messages = yield from super()._read()
        self._handed_out = tuple(messages)
        return messages

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        known = set(map(id, self._handed_out))
        return [message for message in super()._batch(messages) if id(message) not in known]
