"""COST-2: An add, a batch, a read of up to 1,000 messages and a clear SHOULD take a constant
number of round trips.

peer:redis: A batch of 5 messages took 5 round trips, and of 450 messages 450.

Run it:  python THIS_FILE.py [TARGET]

TARGET is module:attribute or path/to/file.py:attribute: a get_session_history(session_id), an object
that has one, or a function that yields either. The script needs langchain-core and nothing else.
It prints STILL FAILING and exits with 1 while the violation is there, else FIXED, and exits with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import operator
import socket
import struct
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage

TARGET = sys.argv[1] if len(sys.argv) > 1 else "chathistory.adapters.peers.redis:redis"

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


@dataclass
class Finding:
    """The problem in a sentence, or None; and how many calls were made to look for it."""

    problem: str | None
    calls: int


def loops_over_batches(history: Any) -> bool:
    """Whether it has only `add_message`: then its batches can't be whole, which is left to ATM-1 to ATM-3."""
    return type(history).add_messages is BaseChatMessageHistory.add_messages


_TEXT = "a message of an ordinary length, as people write them to one another every day, no more. " * 2
_SHORT, _LONG = 20, 520
_FEW, _MANY = 5, 450
_SHORT_READ, _LONG_READ = 50, 1_000
# Numbers get longer by a few bytes; a part of 500 messages would be more than a hundred times this.
_GROWTH_IN_BYTES = 1_000


def cost_of_an_add(backend: Any, *, mode: str, **_: int) -> Finding:
    """Whether what one add sends and receives grows with the length of the history (COST-1)."""
    with _measured(backend, mode) as meter:
        sizes = {}
        for length in (_SHORT, _LONG):
            meter.open()
            meter.fill(length)
            sizes[length] = sorted((meter.cost_of_add(1) for _ in range(5)), key=_size)
        # The least to many messages and the most to few: what chance adds to some is no growth.
        short, long = sizes[_SHORT][-1], sizes[_LONG][0]
        if _size(long) - _size(short) <= _GROWTH_IN_BYTES:
            return Finding(None, meter.calls)
        return Finding(
            f"one add to {_SHORT} messages sent {short.sent:,} bytes and received {short.received:,}; "
            f"to {_LONG} messages it sent {long.sent:,} and received {long.received:,}",
            meter.calls,
        )


def round_trips(backend: Any, *, mode: str, **_: int) -> Finding:
    """Whether a batch, a read or a clear takes more round trips when there are more messages (COST-2)."""
    with _measured(backend, mode) as meter:
        found = {}
        for size in (_FEW, _MANY):
            meter.open()
            meter.fill(2)
            found["a batch", size] = min(meter.cost_of_add(size).round_trips for _ in range(3))
        for length in (_SHORT_READ, _LONG_READ):
            meter.open()
            meter.fill(length)
            found["a read", length] = min(meter.cost_of_read().round_trips for _ in range(3))
            found["a clear", length] = meter.cost_of_clear().round_trips
        return Finding(_growth(found), meter.calls)


def _growth(found: dict[tuple[str, int], int]) -> str | None:
    for what in dict.fromkeys(name for name, _ in found):
        (few, less), (many, more) = [(size, trips) for (name, size), trips in found.items() if name == what]
        if more > 2 * less + 2:
            return f"{what} of {few} messages took {less} round trips, and of {many} messages {more}"
    return None


def _size(traffic: Traffic) -> int:
    return traffic.sent + traffic.received


@contextmanager
def _measured(backend: Any, mode: str) -> Iterator[_Meter]:
    wire = backend.wire
    loop = asyncio.new_event_loop()
    try:
        with Proxy(wire.address) as proxy, wire.connect(proxy.host, proxy.port) as get_session_history:
            yield _Meter(proxy, get_session_history, mode, loop)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class _Meter:
    """Makes calls of one kind, and measures what each of them costs."""

    def __init__(self, proxy: Proxy, get_session_history: Callable[[str], Any], mode: str, loop: Any) -> None:
        self._proxy, self._get_session_history, self._mode, self._loop = proxy, get_session_history, mode, loop
        self._history: Any = None
        self.calls = 0

    def open(self) -> None:
        """Turn to a new session, by a handle that has its connection."""
        self._history = self._get_session_history(f"{uuid.uuid4().hex}-cost")
        self._read()

    def fill(self, length: int) -> None:
        """Add so many messages."""
        for begin in range(0, length, 100):
            self._add(min(100, length - begin))

    def cost_of_add(self, size: int) -> Traffic:
        return self._cost(lambda: self._add(size))

    def cost_of_read(self) -> Traffic:
        return self._cost(self._read)

    def cost_of_clear(self) -> Traffic:
        return self._cost(self._clear)

    def _cost(self, call: Callable[[], object]) -> Traffic:
        before = self._proxy.settled()
        call()
        return self._proxy.settled().since(before)

    def _add(self, size: int) -> None:
        batch = [(HumanMessage, AIMessage)[number % 2](f"{number} {_TEXT}") for number in range(size)]
        self._called(self._history.add_messages, self._history.aadd_messages, batch)

    def _read(self) -> None:
        self._called(lambda: self._history.messages, self._history.aget_messages)

    def _clear(self) -> None:
        self._called(self._history.clear, self._history.aclear)

    def _called(self, call: Callable[..., object], acall: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        self.calls += 1
        if self._mode == "async":
            self._loop.run_until_complete(acall(*arguments))
        else:
            call(*arguments)


@contextlib.contextmanager
def opened(target):
    """Open what `module:attribute` or `file.py:attribute` names, and close it at the end."""
    sys.path.insert(0, "")
    warnings.simplefilter("ignore")
    place, _, attribute = target.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location("target", place)
        sys.modules["target"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    warnings.simplefilter("ignore")  # some imports turn warnings on again
    found = operator.attrgetter(attribute)(module)
    if inspect.isgeneratorfunction(inspect.unwrap(found)):
        backends = inspect.unwrap(found)()
        try:
            yield next(backends)
        finally:
            next(backends, None)
    elif inspect.isfunction(found) and not inspect.signature(found).parameters:
        yield found()
    else:
        yield found


def short(value):
    """A value as text, cut when it is long."""
    text = ascii(value)
    count = f"{len(value)} in all: " if isinstance(value, list) else ""
    return count + (text if len(text) <= 1000 else f"{text[:1000]}... {len(text)} characters")


with opened(TARGET) as backend:
    get_session_history = getattr(backend, "get_session_history", backend)
    # Step 1, at which the violation showed.
    try:
        observed = round_trips(backend, mode="sync", seed=0, rounds=1, target=TARGET).problem
    except Exception as error:
        observed = repr(error)

if observed is None:
    print("FIXED: COST-2 at step 1")
else:
    print("STILL FAILING: COST-2 at step 1")
    print("  expected:", "more messages take no more round trips")
    print("  observed:", observed)
    sys.exit(1)
