"""A TCP proxy between a client and its server, which counts, delays and cuts what passes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_CHUNK = 1 << 16
_QUIET_SECONDS = 0.015
_SETTLING_SECONDS = 2.0
# A status line of HTTP has 15 to 30, with its first header.
_BYTES_OF_A_HEAD = 24


@dataclass(frozen=True)
class Traffic:
    """What has passed.

    Attributes:
        sent: bytes from the client.
        received: bytes from the server.
        round_trips: how often, on any connection, the client sent again after it had received, or for the first time.
        messages: runs of bytes in one direction on one connection.
        connections: connections opened.
    """

    sent: int = 0
    received: int = 0
    round_trips: int = 0
    messages: int = 0
    connections: int = 0

    def since(self, earlier: Traffic) -> Traffic:
        """What has passed since then."""
        return Traffic(
            self.sent - earlier.sent,
            self.received - earlier.received,
            self.round_trips - earlier.round_trips,
            self.messages - earlier.messages,
            self.connections - earlier.connections,
        )


@dataclass(eq=False)
class _Link:
    """One connection of the client, and its own to the server."""

    client: socket.socket
    server: socket.socket
    direction: str = ""
    closed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def cut(self, *, reset: bool) -> None:
        """Close both ends, by a reset if so wished."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes whoever reads from it
            with contextlib.suppress(OSError):
                end.close()


class Proxy:
    """Passes connections to 127.0.0.1:`port` on to a server.

    Args:
        address: the server's host and port.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._traffic = [0, 0, 0, 0, 0]
        self._last = time.monotonic()
        self._delay = 0.0
        self._cut_at: tuple[int, str] | None = None
        self._cut_done = False
        self._links: list[_Link] = []
        self._over = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host, self.port = "127.0.0.1", int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="chathistory-proxy", daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close everything."""
        self._over = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Cut every connection there is; new ones can be made."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.cut(reset=False)

    @property
    def traffic(self) -> Traffic:
        """What has passed so far."""
        with self._lock:
            return Traffic(*self._traffic)

    def settled(self) -> Traffic:
        """What has passed, once nothing has for some time: a pool may still tidy up after a call."""
        deadline = time.monotonic() + _SETTLING_SECONDS
        while time.monotonic() < deadline:
            with self._lock:
                quiet = time.monotonic() - self._last
            if quiet >= _QUIET_SECONDS:
                break
            time.sleep(_QUIET_SECONDS - quiet)
        return self.traffic

    @contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Let the server's every answer take so much longer."""
        earlier, self._delay = self._delay, seconds
        try:
            yield
        finally:
            self._delay = earlier

    def cut_at(self, message: int, moment: str) -> None:
        """Cut a connection once, at the message with this number, counted from now, from 1.

        Args:
            message: the number; requests and answers both count.
            moment: "before" it is passed on, "within" it, when a half has been, "after" it, or "early in" it, when so
                little has passed that a protocol with a head knows how the call ended, and not how long its answer is.
        """
        with self._lock:
            self._cut_at, self._cut_done = (self._traffic[3] + message, moment), False

    def spare(self) -> bool:
        """Take back `cut_at`; whether the cut has been made."""
        with self._lock:
            self._cut_at = None
            return self._cut_done

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._address, timeout=5)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server)
        with self._lock:
            self._links.append(link)
            self._traffic[4] += 1
        threading.Thread(target=self._pump, args=(link, server, client, "received"), daemon=True).start()
        self._pump(link, client, server, "sent")

    def _pump(self, link: _Link, source: socket.socket, target: socket.socket, direction: str) -> None:
        """Pass on what comes from one end until it ends."""
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                moment, is_first = self._noted(link, direction, len(chunk))
                if moment == "before":
                    break
                if direction == "received" and is_first and self._delay:
                    time.sleep(self._delay)
                target.sendall(chunk[: _part_of(len(chunk), moment)])
                if moment:
                    break
        link.cut(reset=False)
        with self._lock:
            if link in self._links:
                self._links.remove(link)

    def _noted(self, link: _Link, direction: str, size: int) -> tuple[str, bool]:
        """Count a chunk; the moment at which to cut, or "", and whether a new message begins with it."""
        with self._lock:
            self._last = time.monotonic()
            is_first = link.direction != direction
            link.direction = direction
            self._traffic[0 if direction == "sent" else 1] += size
            if is_first:
                self._traffic[3] += 1
                self._traffic[2] += direction == "sent"
                if self._cut_at is not None and self._traffic[3] >= self._cut_at[0]:
                    moment, self._cut_at, self._cut_done = self._cut_at[1], None, True
                    return moment, True
            return "", is_first


def _part_of(size: int, moment: str) -> int:
    """How many bytes of a message are passed on that is cut at this moment."""
    return {"within": size // 2, "early in": min(size // 2, _BYTES_OF_A_HEAD)}.get(moment, size)
