"""A correct history over a real TCP connection, for defects of the wire, of crashes and of processes.

The server is a thread of this process: it takes a JSON object a line and answers with one. `disk` is what a
crash leaves; a correct server writes to it before it answers. Each handle has a connection of its own, opened
at its first call, closed and forgotten when a call fails.

The hooks: `_ask` (one round trip), `_send` (a request that has been encoded), `_line` (its answer), and the operations
`_add`, `_put`, `_read` and `_clear`; of the server `answer` (one request) and `sync` (memory to disk).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chathistory.conformance import Backend, Wire
from chathistory.reference import Profile, decode, encode_batch

CLAIMS: frozenset[Profile] = frozenset({"core", "async", "threads", "processes", "durable"})


class ToyServer:
    """Keeps a list of texts under each key, exactly and durably."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.memory: dict[str, list[str]] = {}
        self.disk: dict[str, list[str]] = {}
        self.connections: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address: tuple[str, int] = self.listener.getsockname()[:2]
        threading.Thread(target=_accept, args=(weakref.ref(self), self.listener), daemon=True).start()
        weakref.finalize(self, _close, self.listener, self.connections)

    def crash(self) -> None:
        """Lose what is in memory alone, and every connection."""
        with self.lock:
            self.memory = {key: list(items) for key, items in self.disk.items()}
            for connection in list(self.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def answer(self, request: dict[str, Any]) -> Any:
        """Carry out one request, atomically."""
        with self.lock:
            items = self.memory.get(request["key"], [])
            match request["op"]:
                case "read":
                    return items[request.get("from", 0) : request.get("to")]
                case "length":
                    return len(items)
                case "add":
                    self.memory[request["key"]] = [*items, *request["items"]]
                case "put":
                    self.memory[request["key"]] = list(request["items"])
                case "clear":
                    self.memory.pop(request["key"], None)
            self.sync(request["key"])
            return None

    def sync(self, key: str) -> None:
        """Write a list to the disk."""
        if key in self.memory:
            self.disk[key] = list(self.memory[key])
        else:
            self.disk.pop(key, None)


def _accept(server: weakref.ref[ToyServer], listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if (alive := server()) is None:
            connection.close()
            return
        alive.connections.add(connection)
        threading.Thread(target=_serve, args=(server, connection), daemon=True).start()
        del alive


def _serve(server: weakref.ref[ToyServer], connection: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rwb") as stream:
        for line in stream:
            if (alive := server()) is None or not line.endswith(b"\n"):
                return
            reply = alive.answer(json.loads(line))
            del alive
            stream.write(json.dumps(reply).encode() + b"\n")
            stream.flush()
    if (alive := server()) is not None:
        alive.connections.discard(connection)


def _close(listener: socket.socket, connections: set[socket.socket]) -> None:
    for each in (listener, *connections):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


class NetworkHistory(BaseChatMessageHistory):
    """A handle on a session of a toy server; keeps every clause of the profiles it claims."""

    claims: ClassVar[frozenset[Profile]] = CLAIMS
    planted: ClassVar[Any] = None

    def __init__(self, session_id: str, address: tuple[str, int], *, partition: str = "") -> None:
        self.session_id, self.address = session_id, address
        self.key = json.dumps([partition, session_id])
        self._lock = threading.RLock()
        self._connection: Any = None
        self.server: ToyServer | None = None

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session."""
        with self._lock:
            return [decode(text) for text in self._read()]

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        texts = encode_batch(messages, self.session_id)
        with self._lock:
            self._put(texts)

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        texts = encode_batch(messages, self.session_id)
        with self._lock:
            if texts:
                self._add(texts)

    def clear(self) -> None:
        """Start the session anew."""
        with self._lock:
            self._clear()

    async def aget_messages(self) -> list[BaseMessage]:
        """The messages of the session."""
        return await asyncio.to_thread(lambda: self.messages)

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        await asyncio.to_thread(self.add_messages, list(messages) if isinstance(messages, Iterator) else messages)

    async def aclear(self) -> None:
        """Start the session anew."""
        await asyncio.to_thread(self.clear)

    def _read(self) -> list[str]:
        return self._ask(op="read")  # type: ignore[no-any-return]

    def _add(self, texts: list[str]) -> None:
        self._ask(op="add", items=texts)

    def _put(self, texts: list[str]) -> None:
        self._ask(op="put", items=texts)

    def _clear(self) -> None:
        self._ask(op="clear")

    def _ask(self, **request: Any) -> Any:
        """One round trip."""
        return self._send(json.dumps({"key": self.key, **request}).encode() + b"\n")

    def _send(self, line: bytes) -> Any:
        try:
            if self._connection is None:
                with socket.create_connection(self.address, timeout=5) as connection:
                    self._connection = connection.makefile("rwb")  # which is now the only one that keeps it open
            self._connection.write(line)
            self._connection.flush()
            answer = self._line()
            if not answer.endswith(b"\n"):
                raise ConnectionError("the server closed the connection")
        except OSError as error:
            self._forget()
            raise ConnectionError(f"session {self.session_id!r}: the connection was lost: {error}") from error
        return json.loads(answer)

    def _line(self) -> bytes:
        """The answer, or as much of it as has come before the connection ended."""
        line: bytes = self._connection.readline()
        return line

    def __del__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        if getattr(self, "_connection", None) is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


def network_backend(name: str, history: type[NetworkHistory], server: ToyServer | None = None) -> Backend:
    """A history class as a subject of the suite, over a fresh server unless one is given."""
    kept = ToyServer() if server is None else server

    @contextmanager
    def connect(host: str, port: int) -> Iterator[Callable[[str], NetworkHistory]]:
        yield lambda session_id: history(session_id, (host, port))

    return Backend(
        name=name,
        get_session_history=lambda session_id: _keeping(kept, history(session_id, kept.address)),
        claims=history.claims,
        in_partition=lambda partition, session_id: _keeping(
            kept, history(session_id, kept.address, partition=partition)
        ),
        wire=Wire(address=kept.address, connect=connect),
        in_another_process=partial(_opened, history, kept.address),
        crash_server=kept.crash,
        disposable=True,
    )


def _keeping(server: ToyServer, history: NetworkHistory) -> NetworkHistory:
    """The handle, which keeps its server from being closed."""
    history.server = server
    return history


def _opened(history: type[NetworkHistory], address: tuple[str, int], session_id: str) -> NetworkHistory:
    return history(session_id, address)
