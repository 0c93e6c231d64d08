"""Histories that break ORD: order, count and length."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

from langchain_core.messages import AIMessage
from typing_extensions import override

from chathistory.conformance.selfproof._histories import JsonHistory, Steps, TableHistory
from chathistory.conformance.selfproof._planted import mutant


@mutant("ORD-1", "ORD-2", hardness="data", operations=2)
class SortsBySecond(TableHistory):
    """Rows are sorted by a time stamp of one second, and within it by an id that says nothing about order."""

    CREATE = """CREATE TABLE IF NOT EXISTS messages (partition_name TEXT, session_id TEXT, item TEXT,
                created_at INTEGER, digest TEXT)"""
    INSERT = "INSERT INTO messages VALUES (:partition, :session_id, :item, :created_at, :digest)"
    SELECT = "SELECT item FROM messages WHERE {where} ORDER BY created_at, digest"

    def _row(self, item: str) -> dict[str, Any]:
        digest = hashlib.sha256(item.encode()).hexdigest()
        return {"item": item, "created_at": int(time.time()), "digest": digest}


@mutant("ORD-2", "ORD-1", hardness="obvious", operations=2)
class ReversesBatches(JsonHistory):
    """One push with many values puts the last of them at the head."""

    def _append(self, items: list[Any]) -> None:
        super()._append(items[::-1])


@mutant("ORD-3", hardness="data", operations=2)
class ForgetsRepeatedNeighbours(JsonHistory):
    """Double clicks are fought by dropping a message that equals the last one."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        for item in items:
            if item not in kept[-1:]:
                kept.append(item)
        self._put(kept)


@mutant("ORD-4", hardness="obvious", operations=1)
class RaisesOnAnEmptyBatch(JsonHistory):
    """An INSERT without VALUES is a syntax error."""

    def _add(self, items: list[Any]) -> Steps[None]:
        if not items:
            self._refuse(ValueError, "wrong number of arguments for 'rpush' command")
        yield from super()._add(items)


@mutant("ORD-5", hardness="data", operations=1)
class WantsAList(JsonHistory):
    """isinstance(messages, list), because all callers known to the author pass one."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if not isinstance(messages, list):
            self._refuse(TypeError, f"expected a list, got {type(messages).__name__}")
        return super()._batch(messages)


@mutant("ORD-6", "VAL-1", hardness="data", operations=2)
class SaysAnAnswerIsAQuestion(JsonHistory):
    """add_ai_message is a copy of add_user_message with one word left unchanged."""

    @override
    def add_ai_message(self, message: AIMessage | str) -> None:
        if isinstance(message, str):
            self.add_user_message(message)
        else:
            self.add_message(message)


@mutant("ORD-7", hardness="data", operations=2)
class KeepsTheLast100(JsonHistory):
    """An LTRIM that was meant for another application."""

    def _put(self, items: list[Any]) -> None:
        super()._put(items[-100:])
