"""What operations cost on the wire, and whether that grows with the history (COST)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from chathistory.conformance.trials._finding import Finding
from chathistory.conformance.trials._proxy import Proxy, Traffic

_TEXT = "a message of an ordinary length, as people write them to one another every day, no more. " * 2
_SHORT, _LONG = 20, 520
_FEW, _MANY = 5, 450
_MANY_IN_ANY_BATCH = 100
_SHORT_READ, _LONG_READ = 5, 1_000
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
        for size in (_FEW, _many_at_once(meter)):
            meter.open()
            meter.fill(2)
            found["a batch", size] = min(meter.cost_of_add(size).round_trips for _ in range(3))
        for length in (_SHORT_READ, _LONG_READ):
            meter.open()
            meter.fill(length)
            found["a read", length] = min(meter.cost_of_read().round_trips for _ in range(3))
            found["a clear", length] = meter.cost_of_clear().round_trips
        return Finding(_growth(found), meter.calls)


def _many_at_once(meter: _Meter) -> int:
    """How many messages a large batch may have: one of more than a hundred may be refused."""
    meter.open()
    try:
        meter.cost_of_add(_MANY)
    except Exception:  # noqa: BLE001 -- whatever a backend raises
        return _MANY_IN_ANY_BATCH
    return _MANY


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
