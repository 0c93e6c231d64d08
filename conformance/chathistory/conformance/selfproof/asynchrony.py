"""Histories that break ASY: async forms that differ, block, or don't survive cancels, tasks and loops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage
from typing_extensions import override

from chathistory.conformance.selfproof._histories import PLAIN, JsonHistory, Steps, Store
from chathistory.conformance.selfproof._planted import mutant

T = TypeVar("T")


@mutant("ASY-1", "ERR-2", hardness="obvious", operations=3)
class ForgetsAnAsyncClear(JsonHistory):
    """An await is missing, so the statement is made and never sent."""

    @override
    async def aclear(self) -> None:
        await asyncio.sleep(0)


@mutant("ASY-2", "ASY-1", hardness="stateful", operations=2)
class KeepsAsyncMessagesApart(JsonHistory):
    """An in-memory database is opened once by each driver, so there are two of them."""

    claims = PLAIN

    def _other(self) -> JsonHistory:
        store = self.store.notes.setdefault("async", Store())
        store.latency = self.store.latency
        return JsonHistory(self.session_id, store, partition=self.partition)

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        await self._other().aadd_messages(messages)

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        return await self._other().aget_messages()

    @override
    async def aclear(self) -> None:
        await self._other().aclear()


@mutant("ASY-3", hardness="timing", operations=1)
class BlocksTheLoop(JsonHistory):
    """A sync driver, called in an async method: as slow as the store."""

    async def _arun(self, steps: Steps[T]) -> T:
        return self._run(steps)


@mutant("ASY-4", hardness="timing", operations=2)
class StoresHalfOfACancelledAdd(JsonHistory):
    """What was gathered is flushed in a finally, whatever it is by then."""

    def _add(self, items: list[Any]) -> Steps[None]:
        gathered: list[Any] = []
        try:
            for item in items:
                gathered.append(item)
                yield self.store.latency
        finally:
            with self._transaction():
                self._append(gathered)


@mutant("ASY-5", hardness="timing", operations=2)
class RefusesASecondTask(JsonHistory):
    """One connection per handle, and a driver that takes one operation at a time."""

    _busy = False

    async def _arun(self, steps: Steps[T]) -> T:
        if self._busy:
            raise RuntimeError(f"session {self.session_id!r}: another operation is in progress")
        self._busy = True
        try:
            return await super()._arun(steps)
        finally:
            self._busy = False


class RemembersItsLoop(JsonHistory):
    """Is bound to the event loop in which a handle is first used."""

    _loop: asyncio.AbstractEventLoop | None = None

    def _is_another_loop(self) -> bool:
        self._loop = self._loop or asyncio.get_running_loop()
        return self._loop is not asyncio.get_running_loop()


@mutant("ASY-6", "ERR-2", hardness="stateful", operations=3)
class LosesWritesOfAnotherLoop(RemembersItsLoop):
    """Writes go to a queue whose consumer runs in the first loop."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        await self._arun(self._add([] if self._is_another_loop() else items))
