"""Histories that break ASY: async forms that differ, block, or don't survive cancels, tasks and loops."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage
from tests.mutants._base import PLAIN, JsonHistory, Steps, TableHistory
from tests.mutants._planted import mutant
from typing_extensions import override

from chathistory.conformance.selfproof.asynchrony import RemembersItsLoop
from chathistory.conformance.selfproof.atomicity import OneWriter

T = TypeVar("T")

# ASY-1


@mutant("ASY-1", hardness="data", operations=2)
class ReversesAsyncBatches(JsonHistory):
    """Requests gathered in the wrong order."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        await self._arun(self._add(self._encode(messages)[::-1]))


@mutant("ASY-1", "ERR-2", hardness="data", operations=2)
class LosesTheLastOfAnAsyncBatch(JsonHistory):
    """Messages are sent when the next one comes, and nothing comes after the last."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        await self._arun(self._add(items[:-1] or items))


@mutant("ASY-1", "ORD-5", hardness="data", operations=1)
class CountsAsyncBatches(JsonHistory):
    """The async form asks for the length of what the sync form only goes through."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        if len(messages):  # type: ignore[arg-type]  # the defect
            await super().aadd_messages(messages)


@mutant("ASY-1", hardness="data", operations=2)
class ReadsAnAsyncPageOf100(JsonHistory):
    """The async driver pages, and the sync one doesn't."""

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        return (await self._arun(self._read()))[:100]


@mutant("ASY-1", "VAL-3", hardness="data", operations=2)
class DropsIdsInAsyncReads(JsonHistory):
    """The async form is a second implementation that has drifted from the first."""

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        messages = await self._arun(self._read())
        for message in messages:
            message.id = None
        return messages


@mutant("ASY-1", "ERR-1", hardness="data", operations=1)
class ChecksNothingInAsyncAdds(JsonHistory):
    """The check was added to the sync form only; the async one skips what it can't encode."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        good = [message for message in messages or () if isinstance(message, BaseMessage)]
        await self._arun(self._add(self._encode(good)))


@mutant("ASY-1", "ASY-2", "ERR-2", "CON-4", hardness="timing")
class ForgetsToAwaitAnAdd(JsonHistory):
    """create_task(...), and return."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        task = asyncio.create_task(self._later(items))
        self.store.notes[task] = None
        task.add_done_callback(self.store.notes.pop)

    async def _later(self, items: list[Any]) -> None:
        await asyncio.sleep(0.003)
        await self._arun(self._add(items))


class _AtOnce(JsonHistory):
    """Over a fast store an async call is over before the loop has turned; so it needs no lock."""

    async def _arun(self, steps: Steps[T]) -> T:
        return await super()._arun(steps) if self.store.latency else self._run(steps)

    def _begin(self, steps: Steps[None]) -> None:
        """Do it in a task, which begins in the next turn of the loop."""
        task = asyncio.ensure_future(self._arun(steps))
        self.store.notes[task] = None
        task.add_done_callback(self.store.notes.pop)


@mutant("ASY-1", "ERR-2", "CON-4", hardness="stateful", operations=2)
class AddsInTheNextTurn(_AtOnce):
    """create_task(...), and return: whoever goes on without a turn of the loop finds nothing."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        self._begin(self._add(self._encode(messages)))


@mutant("ASY-1", "CLR-1", "CON-4", hardness="stateful", operations=3)
class ClearsInTheNextTurn(_AtOnce):
    """What is no longer wanted is removed when there is time for it."""

    @override
    async def aclear(self) -> None:
        self._begin(self._clear())


# ASY-2


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@mutant("ASY-2", "ERR-2", hardness="stateful", operations=2)
class DefersSyncAddsInALoop(JsonHistory):
    """A sync add must not block a loop that runs, so it is handed to it, and done in its next turn."""

    @override
    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        if loop := _running_loop():
            loop.call_soon(self._run, self._add(self._encode(messages)))
        else:
            super().add_messages(messages)


@mutant("ASY-2", "ERR-2", hardness="stateful", operations=2)
class ReadsNothingInALoop(JsonHistory):
    """A sync read can't wait where a loop runs, and shows what has been fetched so far."""

    def _run(self, steps: Steps[T]) -> T:
        found = super()._run(steps)
        return [] if isinstance(found, list) and _running_loop() else found  # type: ignore[return-value]


@mutant("ASY-2", "ERR-2", hardness="stateful", operations=2)
class BuffersAsyncAdds(JsonHistory):
    """Async adds are gathered, and sent before the next async read or clear."""

    claims = PLAIN

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        await asyncio.sleep(self.store.latency)
        with self.store.lock:
            self.store.notes.setdefault(self._key(), []).extend(items)

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        self._flush()
        return await super().aget_messages()

    @override
    async def aclear(self) -> None:
        self._flush()
        await super().aclear()

    def _flush(self) -> None:
        with self.store.lock:
            if self._key() in self.store.notes:
                self._append(self.store.notes.pop(self._key()))


@mutant("ASY-2", "ISO-3", hardness="stateful", operations=3)
class CachesAsyncReads(JsonHistory):
    """The cache of the async path is emptied by the writes of the async path only."""

    claims = PLAIN
    _cached: list[BaseMessage] | None = None

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        if self._cached is None:
            self._cached = await super().aget_messages()
        return deepcopy(self._cached)

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        await super().aadd_messages(messages)
        self._cached = None

    @override
    async def aclear(self) -> None:
        await super().aclear()
        self._cached = None


@mutant("ASY-2", "ISO-3", hardness="stateful", operations=3)
class ReadsAnOldSnapshotAsynchronously(TableHistory):
    """The async connection stays in the transaction of its first read until it writes."""

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        await asyncio.sleep(self.store.latency)
        with self.store.lock:
            reader = self._reader()
            if not reader.in_transaction:
                reader.execute("BEGIN")
            values = {"partition": self.partition, "session_id": self.session_id}
            rows = reader.execute(self.SELECT.format(where=self.WHERE), values).fetchall()
        return [self._load(item) for (item,) in rows]

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        await super().aadd_messages(messages)
        self._commit()

    @override
    async def aclear(self) -> None:
        await super().aclear()
        self._commit()

    def _commit(self) -> None:
        with self.store.lock:
            self._reader().commit()

    def _reader(self) -> sqlite3.Connection:
        if "reader" not in self.store.notes:
            self.store.notes["reader"] = self.store.connect()
        return self.store.notes["reader"]  # type: ignore[no-any-return]


@mutant("ASY-2", "ASY-1", "ERR-2", "CON-4", hardness="stateful", operations=2)
class AddsAsyncBatchesInTheNextTurn(_AtOnce):
    """A batch is left to a task; an async read gives it its turn, and a sync one in the same coroutine doesn't."""

    claims = PLAIN

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        if len(items) > 1:
            self._begin(self._add(items))
        else:
            await self._arun(self._add(items))

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        await asyncio.sleep(0.001)
        return await super().aget_messages()


# ASY-3


@mutant("ASY-3", hardness="timing", operations=1)
class BlocksTheLoopFor20Ms(JsonHistory):
    """time.sleep between two attempts."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        time.sleep(0.02)  # noqa: ASYNC251 -- the defect
        await super().aadd_messages(messages)


@mutant("ASY-3", hardness="timing", operations=1)
class BlocksTheLoopFor200Ms(JsonHistory):
    """The first async call of a handle resolves a name and connects, synchronously."""

    _connected = False

    async def _arun(self, steps: Steps[T]) -> T:
        if not self._connected:
            time.sleep(0.2)  # noqa: ASYNC251 -- the defect
            self._connected = True
        return await super()._arun(steps)


@mutant("ASY-3", hardness="timing", operations=1)
class BlocksTheLoopToClear(JsonHistory):
    """Adds and reads are async; clear was forgotten."""

    @override
    async def aclear(self) -> None:
        self.clear()


@mutant("ASY-3", hardness="timing", operations=2)
class BlocksTheLoopWhileAThreadWrites(JsonHistory):
    """One threading lock for both forms, which a sync call holds for as long as its store takes."""

    def _run(self, steps: Steps[T]) -> T:
        with self._mutex():
            return super()._run(steps)

    async def _arun(self, steps: Steps[T]) -> T:
        with self._mutex():
            pass
        return await super()._arun(steps)

    def _mutex(self) -> threading.Lock:
        return self.store.notes.setdefault("mutex", threading.Lock())  # type: ignore[no-any-return]


@mutant("ASY-3", hardness="timing", operations=2)
class BlocksTheLoopWhileATaskWrites(JsonHistory):
    """An add holds a threading lock in its thread for as long as the store takes, and a read takes it in the loop."""

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        await asyncio.to_thread(self._add_slowly, items)

    def _add_slowly(self, items: list[Any]) -> None:
        with self._mutex():
            self._run(self._add(items))

    async def aget_messages(self) -> list[BaseMessage]:
        with self._mutex():
            pass
        return await super().aget_messages()

    def _mutex(self) -> threading.Lock:
        return self.store.notes.setdefault("mutex", threading.Lock())  # type: ignore[no-any-return]


@mutant("ASY-3", hardness="timing")
class BlocksInItsFirstCall(JsonHistory):
    """The first async call of a handle connects, by the client for sync calls."""

    _is_connected = False

    async def _arun(self, steps: Steps[T]) -> T:
        if not self._is_connected:
            self._is_connected = True
            time.sleep(self.store.latency)  # noqa: ASYNC251 -- the defect
        return await super()._arun(steps)


@mutant("ASY-3", hardness="timing")
class BlocksForBatches(JsonHistory):
    """A single message is written in a thread; several are written at once, and by the blocking client."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        if len(items) > 1:
            self._run(self._add(items))
        else:
            await self._arun(self._add(items))


@mutant("ASY-3", hardness="timing")
class BlocksForLargeBatches(JsonHistory):
    """What fits into one request is sent by the async client; a bulk load goes through the blocking one."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        if len(items) > 100:
            self._run(self._add(items))
        else:
            await self._arun(self._add(items))


@mutant("ASY-3", hardness="timing", operations=2)
class BlocksForLongReads(JsonHistory):
    """The next page is asked for after a pause, so as not to be throttled, and the pause is a time.sleep."""

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        messages = await super().aget_messages()
        if len(messages) > 20:
            time.sleep(0.05)  # noqa: ASYNC251 -- the defect
        return messages


@mutant("ASY-3", hardness="timing", operations=2)
class BlocksToCompact(JsonHistory):
    """An add to a session that has grown long rewrites it, and waits for that in the loop."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        await super().aadd_messages(messages)
        if len(self.store.lists.get(self._key(), ())) > 200:
            time.sleep(0.05)  # noqa: ASYNC251 -- the defect


# ASY-4


@mutant("ASY-4", "CLR-1", hardness="timing", operations=3)
class ClearsHalfWhenCancelled(JsonHistory):
    """A clear deletes page by page, and stops where it is cancelled."""

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        try:
            yield 0
        except GeneratorExit:
            with self._transaction():
                items = self._items()
                self._put(items[len(items) // 2 :])
            raise
        with self._transaction():
            self._erase()


@mutant("ASY-4", "ISO-7", hardness="timing", operations=2)
class KeepsItsLockWhenCancelled(OneWriter):
    """The lock is released after the await, and not in a finally; others give up after a second."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._turn()
        yield from super()._add(items)
        self._done()

    def _turn(self) -> Steps[None]:
        patience = time.monotonic() + 1
        for pause in super()._turn():
            if time.monotonic() > patience:
                raise TimeoutError(f"session {self.session_id!r}: the lock was not to be had")
            yield pause


@mutant("ASY-4", "CON-4", hardness="timing", operations=3)
class KeepsThePlaceOfACancelledWaiter(JsonHistory):
    """Writers queue up by tickets; the ticket of one that was cancelled in the queue is never called."""

    def _add(self, items: list[Any]) -> Steps[None]:
        with self.store.lock:
            queue = self.store.notes.setdefault(self._key(), {"next": 0, "called": 0})
            ticket = queue["next"]
            queue["next"] += 1
        patience = time.monotonic() + 1
        while queue["called"] < ticket:
            yield 0.0005
            if time.monotonic() > patience:
                raise TimeoutError(f"session {self.session_id!r}: the lock was not to be had")
        try:
            yield 0.001
            yield from super()._add(items)
        finally:
            queue["called"] += 1


@mutant("ASY-4", hardness="timing", operations=2)
class BreaksAHandleWhenCancelled(JsonHistory):
    """The connection is closed in the middle of a reply, and the handle doesn't open another."""

    _broken = False

    async def _arun(self, steps: Steps[T]) -> T:
        if self._broken:
            raise ConnectionError(f"session {self.session_id!r}: the connection is closed")
        try:
            return await super()._arun(steps)
        except asyncio.CancelledError:
            self._broken = True
            raise


@mutant("ASY-4", hardness="timing", operations=2)
class ReadsTheReplyToACancelledCall(JsonHistory):
    """The reply to a cancelled add is still on its way, and the next read takes it for its own."""

    _replies = 0

    async def _arun(self, steps: Steps[T]) -> T:
        try:
            return await super()._arun(steps)
        except asyncio.CancelledError:
            self._replies += 1
            raise

    def _shown(self, items: list[Any]) -> list[Any]:
        if self._replies:
            self._replies -= 1
            return []
        return items


@mutant("ASY-4", hardness="timing", operations=3)
class UndoesMoreThanWasCancelled(JsonHistory):
    """A cancelled add puts back the list as it was when the add began, without what others have added since."""

    def _add(self, items: list[Any]) -> Steps[None]:
        with self._transaction():
            before = self._items()
            self._append(items)
        try:
            yield max(self.store.latency, 0.001)
        except GeneratorExit:
            with self._transaction():
                self._put(before)
            raise


@mutant("ASY-4", "ERR-2", "CON-1", hardness="stateful", operations=1)
class SwallowsCancellation(JsonHistory):
    """CancelledError is caught with the other errors of a bad network, and the add returns as if it were done."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        try:
            await asyncio.sleep(0.0005)
        except asyncio.CancelledError:
            return
        await self._arun(self._add(items))


@mutant("ASY-4", "CLR-1", "CON-4", hardness="stateful", operations=3)
class ClearsTwoAtATime(JsonHistory):
    """A clear asks for the keys and deletes two by each request: cancelled, it leaves the rest."""

    @override
    async def aclear(self) -> None:
        await asyncio.sleep(0.0006)
        while True:
            with self._transaction():
                kept = self._items()[2:]
                self._erase()
                if not kept:
                    return
                self.store.lists[self._key()] = kept
            await asyncio.sleep(0.0004)


# ASY-5


@mutant("ASY-5", "CON-1", hardness="timing", operations=3)
class MixesUpTasks(JsonHistory):
    """What a task is about to write waits on the handle, where the next task overwrites it."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        self._about_to_write = self._encode(messages)
        await asyncio.sleep(self.store.latency)
        await self._arun(self._add(self._about_to_write))


@mutant("ASY-5", "CON-1", hardness="timing", operations=3)
class LosesGatheredAdds(JsonHistory):
    """Read, await, and write everything back; the sync form takes a lock."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        await asyncio.sleep(self.store.latency)
        if items:
            before = self._items()
            await asyncio.sleep(0.0005)
            with self.store.lock:
                self._put([*before, *items])


@mutant("ASY-5", "CON-5", "CON-1", hardness="timing", operations=3)
class SetsUpOncePerTask(JsonHistory):
    """The first call of a handle makes the table, unless there is one; two tasks both find none."""

    _set_ups = 0

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        if self._key() not in self.store.lists:
            self._set_ups += 1
            await asyncio.sleep(0.001 * self._set_ups)
            with self.store.lock:
                self._put([])
        await self._arun(self._add(items))


# ASY-6


@mutant("ASY-6", hardness="stateful", operations=2)
class CallsAClosedLoop(RemembersItsLoop):
    """The driver's transport belongs to the first loop: "Event loop is closed"."""

    async def _arun(self, steps: Steps[T]) -> T:
        if self._is_another_loop() and self._loop:
            self._loop.call_soon(lambda: None)
        return await super()._arun(steps)


@mutant("ASY-6", hardness="stateful", operations=2)
class AwaitsAFutureOfAnotherLoop(RemembersItsLoop):
    """A lock made in the first loop: "attached to a different loop"."""

    async def _arun(self, steps: Steps[T]) -> T:
        if self._is_another_loop() and self._loop:
            await self._loop.create_future()
        return await super()._arun(steps)


@mutant("ASY-6", hardness="stateful", operations=2)
class HangsInAnotherLoop(RemembersItsLoop):
    """The reply is awaited, and the loop that would bring it is gone: for ever."""

    async def _arun(self, steps: Steps[T]) -> T:
        while self._is_another_loop():  # noqa: ASYNC110 -- nothing will ever set an event
            await asyncio.sleep(0.05)
        return await super()._arun(steps)


@mutant("ASY-6", hardness="timing")
class WaitsForALockOfTheFirstLoop(JsonHistory):
    """One asyncio.Lock for the store: it belongs to the first loop in which somebody had to wait for it."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        async with self.store.notes.setdefault("lock", asyncio.Lock()):
            await self._arun(self._add(items))


# Nobody had thought of the mutants below, and the suite missed them, until somebody who didn't know it planted them.


@mutant("ASY-1", "SNP-1", hardness="obvious", operations=1)
class AnswersATupleInAsync(JsonHistory):
    """The rows as the driver gives them."""

    async def aget_messages(self) -> Any:
        return tuple(await super().aget_messages())


@mutant("ASY-4", "ASY-5", "ISO-7", hardness="timing", operations=2)
class SharesAReadAmongTasks(JsonHistory):
    """Reads of a handle that overlap wait for one task, and end with whoever of them is cancelled."""

    _shared: Any = None

    async def aget_messages(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._shared is None or self._shared.done() or self._shared.get_loop() is not loop:
            self._shared = loop.create_task(self._fetched())
        return deepcopy(await self._shared)

    async def _fetched(self) -> Any:
        await asyncio.sleep(0.001)
        return await super().aget_messages()


@mutant("ASY-5", "CON-1", "ISO-7", hardness="timing", operations=1)
class WaitsInItsOwnPool(JsonHistory):
    """Async adds run in a pool of eight threads, and have their messages encoded in the same pool."""

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        pool = self.store.notes.setdefault("pool", ThreadPoolExecutor(8))
        await asyncio.get_running_loop().run_in_executor(pool, self._encode_and_add, pool, messages)

    def _encode_and_add(self, pool: ThreadPoolExecutor, messages: Iterable[BaseMessage]) -> None:
        self._run(self._add(pool.submit(self._encode, messages).result(1.0)))


@mutant("ASY-3", "ASY-4", hardness="stateful", operations=1)
class BlocksTheLoopWhenCancelled(JsonHistory):
    """A cancelled add waits for its thread, so as to leave nothing behind: with the event loop in its hands."""

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        with ThreadPoolExecutor(1) as pool:  # whose end waits
            call = pool.submit(self._run, self._add(self._encode(messages)))
            await asyncio.wrap_future(call)


@mutant("ASY-4", "ASY-5", "ERR-3", "ISO-7", hardness="stateful", operations=3)
class LosesAPlacePerCancelledRead(JsonHistory):
    """There are 16 connections, and a read that is cancelled gives none back."""

    def _read(self) -> Steps[list[BaseMessage]]:
        if self.store.notes.get("lost", 0) >= 16:
            raise TimeoutError(f"session {self.session_id!r}: no connection has become free")
        done = False
        try:
            messages = yield from super()._read()
            done = True
        finally:
            self.store.notes["lost"] = self.store.notes.get("lost", 0) + (not done)
        return messages
