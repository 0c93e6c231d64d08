"""A proxy before a Redis server that cuts connections at a chosen moment, and counts what passes."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

Moment: TypeAlias = Literal["before the request", "before the answer"]


class Proxy:
    """Passes everything on, until it is told to cut.

    Attributes:
        connections: how many have been opened.
        requests: how many times a client has written something since it was opened.
        silent: while it is set, answers are lost.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 6379)
        self._listener = socket.create_server(("127.0.0.1", 0))
        account, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=f"{account}{at}127.0.0.1:{self._listener.getsockname()[1]}"))
        self.connections = 0
        self.requests = 0
        self.silent = threading.Event()
        self._answering = threading.Event()
        self._answering.set()
        self._sockets: list[socket.socket] = []
        self._word = b""
        self._moment: Moment = "before the request"
        self._times = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, word: bytes, moment: Moment, times: int = 1) -> None:
        """Cut the next connections on which a request with this word is sent."""
        self._word, self._moment, self._times = word, moment, times

    @contextmanager
    def holding(self) -> Iterator[Callable[[], None]]:
        """Keep answers back within the block, or until its value is called."""
        self._answering.clear()
        try:
            yield self._answering.set
        finally:
            self._answering.set()

    def cut_all(self) -> None:
        """Cut every connection now."""
        while self._sockets:
            _cut(self._sockets.pop())

    def close(self) -> None:
        """Cut everything, and take no more."""
        _cut(self._listener)
        self.cut_all()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                cutting = threading.Event()
                threading.Thread(target=self._requests, args=(client, server, cutting), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server, cutting), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, cutting: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self.requests += 1
                if self._times and self._word in data:
                    self._times -= 1
                    if self._moment == "before the request":
                        break
                    cutting.set()
                server.sendall(data)
        _cut(client)
        _cut(server)

    def _answers(self, client: socket.socket, server: socket.socket, cutting: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                self._answering.wait()
                if self.silent.is_set():
                    continue
                if cutting.is_set():
                    break
                client.sendall(data)
        _cut(client)
        _cut(server)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def proxy_to(url: str) -> Iterator[Proxy]:
    """A proxy before the server at a URL."""
    with closing(Proxy(url)) as proxy:
        yield proxy


@contextmanager
def tls_before(host: str, port: int, context: ssl.SSLContext) -> Iterator[int]:
    """The port on which a server without TLS is reached by TLS."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    def serve(client: socket.socket) -> None:
        # One thread for both directions: a connection of OpenSSL can't be used by two at once.
        with (
            suppress(OSError),
            client,
            socket.create_connection((host, port)) as server,
            context.wrap_socket(client, server_side=True) as opened,
        ):
            other = {opened: server, server: opened}
            while True:
                for one in [opened] if opened.pending() else select.select([opened, server], [], [])[0]:
                    if not (data := one.recv(65536)):
                        return
                    other[one].sendall(data)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        _cut(listener)
