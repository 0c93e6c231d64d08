"""Histories that break DUR: what was acknowledged is gone, torn or repeated after a crash or a lost connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from langchain_core.messages import BaseMessage
from tests.mutants._network import NetworkHistory, ToyServer
from tests.mutants._planted import network_mutant, server_mutant

from chathistory.conformance.selfproof.durability import Retrying
from chathistory.reference import encode_batch

# DUR-1


class _Buffer:
    """What a process has not sent yet, by key."""

    texts: ClassVar[dict[str, list[str]]] = {}
    lock = threading.Lock()


@network_mutant("DUR-1", hardness="stateful", operations=2)
class SendsWhenTheBufferIsFull(NetworkHistory):
    """Adds wait in the process until there are eight of them; its own reads show them."""

    def _add(self, texts: list[str]) -> None:
        with _Buffer.lock:
            waiting = _Buffer.texts.setdefault(self._place(), [])
            waiting += texts
            if len(waiting) >= 8:
                self._flush()

    def _flush(self) -> None:
        if waiting := _Buffer.texts.pop(self._place(), None):
            super()._add(waiting)

    def _place(self) -> str:
        return f"{self.address}{self.key}"

    def _read(self) -> list[str]:
        with _Buffer.lock:
            return [*super()._read(), *_Buffer.texts.get(self._place(), [])]

    def _clear(self) -> None:
        with _Buffer.lock:
            _Buffer.texts.pop(self._place(), None)
            super()._clear()

    def _put(self, texts: list[str]) -> None:
        with _Buffer.lock:
            _Buffer.texts.pop(self._place(), None)
            super()._put(texts)


@network_mutant("DUR-1", hardness="stateful", operations=3)
class CachesForTheProcess(NetworkHistory):
    """Reads are answered from a cache that only this process's own adds renew."""

    cache: ClassVar[dict[str, list[str]]] = {}

    def _read(self) -> list[str]:
        place = f"{self.address}{self.key}"
        if place not in self.cache:
            self.cache[place] = super()._read()
        return list(self.cache[place])

    def _add(self, texts: list[str]) -> None:
        with _Buffer.lock:
            known = self._read()
            super()._add(texts)
            self.cache[f"{self.address}{self.key}"] = [*known, *texts]

    def _put(self, texts: list[str]) -> None:
        with _Buffer.lock:
            super()._put(texts)
            self.cache[f"{self.address}{self.key}"] = list(texts)

    def _clear(self) -> None:
        with _Buffer.lock:
            super()._clear()
            self.cache[f"{self.address}{self.key}"] = []


# DUR-2


class _OnlyWhole(ToyServer):
    """Readers see a batch once it is marked as complete, so that only a crash shows that it comes in parts."""

    def answer(self, request: dict[str, Any]) -> Any:
        with self.lock:
            if request["op"] == "read" and request["key"] in self.busy:
                return super().answer({**request, "to": self.busy[request["key"]][1]})
            if request["op"] == "begin":
                holder = self.busy.get(request["key"])
                if holder and time.monotonic() - holder[0] < 0.02:
                    return "busy"
                self.busy[request["key"]] = (time.monotonic(), len(self.memory.get(request["key"], [])))
                return None
            if request["op"] == "end":
                self.busy.pop(request["key"], None)
                return None
            return super().answer(request)

    def __init__(self) -> None:
        super().__init__()
        self.busy: dict[str, tuple[float, int]] = {}


@network_mutant("DUR-2", "DUR-4", hardness="timing", server=_OnlyWhole)
class SendsOneByOneUnderALease(NetworkHistory):
    """A batch is sent message by message under a lease that hides it; after a kill the lease runs out, a part shows."""

    def _add(self, texts: list[str]) -> None:
        while self._ask(op="begin"):
            time.sleep(0.002)
        for text in texts:
            self._ask(op="add", items=[text])
            time.sleep(0.001)
        self._ask(op="end")

    def _put(self, texts: list[str]) -> None:
        while self._ask(op="begin"):
            time.sleep(0.002)
        super()._put(texts)
        self._ask(op="end")

    def _clear(self) -> None:
        while self._ask(op="begin"):
            time.sleep(0.002)
        super()._clear()
        self._ask(op="end")


class _Waiting:
    """The threads that still have something to send, by what they send it for."""

    threads: ClassVar[dict[str, threading.Thread]] = {}


@network_mutant("DUR-2", "DUR-1", hardness="timing")
class WritesAsyncAddsBehind(NetworkHistory):
    """An async add is answered at once and sent 20 ms later; whatever else this process does waits until it is."""

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        texts = encode_batch(messages, self.session_id)
        self._wait()

        def send() -> None:
            time.sleep(0.02)
            behind = NetworkHistory(self.session_id, self.address)
            behind.key = self.key
            with suppress(OSError):
                behind._add(texts)

        if texts:
            _Waiting.threads[self._place()] = threading.Thread(target=send, daemon=True)
            _Waiting.threads[self._place()].start()

    def _ask(self, **request: Any) -> Any:
        self._wait()
        return super()._ask(**request)

    def _wait(self) -> None:
        if thread := _Waiting.threads.get(self._place()):
            thread.join()

    def _place(self) -> str:
        return f"{self.address}{self.key}"


# DUR-3


@server_mutant("DUR-3", hardness="stateful", operations=2)
class SyncsEverySeventhWrite(ToyServer):
    """synchronous_commit off, or appendfsync no."""

    every = 7

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def sync(self, key: str) -> None:
        self.writes += 1
        if self.writes % self.every == 0:
            for each in {*self.memory, *self.disk}:
                super().sync(each)


@server_mutant("DUR-3", hardness="timing")
class SyncsAfter10Ms(ToyServer):
    """A write concern that does not wait for the log: the disk is written 10 ms after the answer."""

    def sync(self, key: str) -> None:
        timer = threading.Timer(0.01, self._written, (key, list(self.memory.get(key, []))))
        timer.daemon = True
        timer.start()

    def _written(self, key: str, items: list[str]) -> None:
        self.disk[key] = items


# DUR-4


@network_mutant("DUR-4", "DUR-3", hardness="stateful", operations=2)
class RetriesThreeTimes(Retrying):
    """The same with three tries."""

    times = 3


@network_mutant("DUR-4", "ERR-2", "DUR-3", hardness="stateful", operations=2)
class TakesALostConnectionForDone(NetworkHistory):
    """The error is logged and swallowed."""

    def _send(self, line: bytes) -> Any:
        try:
            return super()._send(line)
        except OSError:
            return []


@network_mutant("DUR-4", "ERR-2", "SNP-5", hardness="stateful", operations=2)
class TakesALostAssignmentForDone(NetworkHistory):
    """An assignment is thought to matter less than an add: its errors are logged."""

    def _put(self, texts: list[str]) -> None:
        with suppress(OSError):
            super()._put(texts)


@network_mutant("DUR-4", "ERR-2", hardness="stateful", operations=2)
class ReadsNothingAfterALostConnection(NetworkHistory):
    """Reads as empty what can't be reached."""

    def _read(self) -> list[str]:
        try:
            return super()._read()
        except OSError:
            return []


@network_mutant("DUR-4", hardness="stateful", operations=2)
class TakesTheHeadForTheAnswer(NetworkHistory):
    """An answer of which no more than the head has come says nothing of a length, and is taken for an empty one."""

    def _read(self) -> list[str]:
        try:
            return super()._read()
        except OSError:
            if 0 < self._received < 32:
                return []
            raise

    def _send(self, line: bytes) -> Any:
        self._received = 0
        return super()._send(line)

    def _line(self) -> bytes:
        line = super()._line()
        self._received = len(line)
        return line


@network_mutant("DUR-4", hardness="stateful", operations=2)
class WaitsForEver(NetworkHistory):
    """No time-out and no look at the socket: it waits for an answer that never comes."""

    def _send(self, line: bytes) -> Any:
        try:
            return super()._send(line)
        except OSError:
            threading.Event().wait(60)
            raise


@network_mutant("DUR-4", "ATM-3", "ATM-2", "DUR-2", "COST-2", hardness="stateful", operations=2)
class SendsEachMessageByItself(NetworkHistory):
    """A request for each message of a batch: a cut leaves a part of it."""

    def _add(self, texts: list[str]) -> None:
        for text in texts:
            self._ask(op="add", items=[text])


@network_mutant("DUR-4", hardness="stateful", operations=3)
class SendsLaterWhatWasLost(NetworkHistory):
    """Says that it failed, keeps the batch, and sends it with the next one, though the caller has added it again."""

    def __init__(self, session_id: str, address: tuple[str, int], *, partition: str = "") -> None:
        super().__init__(session_id, address, partition=partition)
        self._kept: list[str] = []

    def _add(self, texts: list[str]) -> None:
        batch = [*self._kept, *texts]
        try:
            super()._add(batch)
        except OSError:
            self._kept = batch
            raise
        self._kept = []


@network_mutant("DUR-2", "ATM-1", "DUR-4", hardness="timing")
class AssignsInTwoSteps(NetworkHistory):
    """An assignment is a clear and an add, and the process may end between them."""

    def _put(self, texts: list[str]) -> None:
        self._clear()
        self._add(texts)
