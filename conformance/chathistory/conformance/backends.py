"""Backends that need no store: the reference itself, which the suite must never fail."""

from __future__ import annotations

from collections.abc import Iterator

from chathistory.conformance._backend import Backend
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory


class _Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def reference() -> Iterator[Backend]:
    """The in-memory reference: the clauses as code."""
    clock = _Clock()
    store = InMemoryChatHistoryStore(clock=clock)
    partitions: dict[str, InMemoryChatHistoryStore] = {}

    def in_partition(name: str, session_id: str) -> InMemoryChatMessageHistory:
        return partitions.setdefault(name, InMemoryChatHistoryStore()).get_session_history(session_id)

    def with_history_size(session_id: str, size: int) -> InMemoryChatMessageHistory:
        return store.get_session_history(session_id, history_size=size)

    def with_ttl(session_id: str, seconds: float) -> InMemoryChatMessageHistory:
        return store.get_session_history(session_id, ttl=seconds)

    yield Backend(
        name="reference",
        get_session_history=store.get_session_history,
        claims={"core", "async", "threads", "bounded", "expiry"},
        with_history_size=with_history_size,
        with_ttl=with_ttl,
        advance=clock.advance,
        in_partition=in_partition,
        slow=store.delay,
        disposable=True,
        isolated=True,
        import_path="chathistory.conformance.backends:reference",
    )
