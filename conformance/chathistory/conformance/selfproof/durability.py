"""Histories that break DUR: what was acknowledged is gone, torn or repeated after a crash or a lost connection."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any, ClassVar

from chathistory.conformance.selfproof._network import NetworkHistory, ToyServer
from chathistory.conformance.selfproof._planted import network_mutant, server_mutant


@network_mutant("DUR-1", hardness="stateful", operations=2)
class KeepsThePathOfItsProcess(NetworkHistory):
    """The key holds the process id, as a default file name does: another process finds nothing."""

    def __init__(self, session_id: str, address: tuple[str, int], *, partition: str = "") -> None:
        import os

        super().__init__(session_id, address, partition=partition)
        self.key = json.dumps([partition, session_id, os.getpid()])


@network_mutant("DUR-2", "DUR-1", hardness="timing")
class WritesBehind(NetworkHistory):
    """A background thread sends adds 3 ms after they were acknowledged; reads wait for it."""

    def __init__(self, session_id: str, address: tuple[str, int], *, partition: str = "") -> None:
        super().__init__(session_id, address, partition=partition)
        self._sent = _Sent.of(f"{address}{self.key}")

    def _add(self, texts: list[str]) -> None:
        def send() -> None:
            time.sleep(0.003)
            try:
                with contextlib.suppress(OSError):
                    super(WritesBehind, self)._add(texts)
            finally:
                self._sent.release()

        self._sent.acquire()
        threading.Thread(target=send).start()

    def _read(self) -> list[str]:
        with self._sent:
            return super()._read()

    def _put(self, texts: list[str]) -> None:
        with self._sent:
            super()._put(texts)

    def _clear(self) -> None:
        with self._sent:
            super()._clear()


class _Sent:
    """A lock for each session of the process, held while something of it is on its way."""

    locks: ClassVar[dict[str, Any]] = {}

    @classmethod
    def of(cls, key: str) -> Any:
        return cls.locks.setdefault(key, threading.Lock())


@server_mutant("DUR-3", hardness="stateful", operations=2)
class KeepsAllInMemory(ToyServer):
    """Unlogged tables, or a server without persistence."""

    def sync(self, key: str) -> None:
        pass


class Retrying(NetworkHistory):
    """Sends again what may have been carried out."""

    times = 1

    def _send(self, line: bytes) -> Any:
        for _ in range(self.times):
            with contextlib.suppress(OSError):
                return super()._send(line)
        return super()._send(line)


@network_mutant("DUR-4", "DUR-3", hardness="stateful", operations=2)
class RetriesAnAppend(Retrying):
    """A client whose default is to send again after a lost connection, adds included."""
