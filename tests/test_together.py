"""What workers do together is written down whole: also what a watcher sees, and handles that can't be opened."""

# ruff: noqa: D103 -- the names of the tests say it

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from chathistory.conformance._together import Event, run_together
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

_BOTH = pytest.mark.parametrize("tasks", [False, True], ids=["threads", "tasks"])


def _opener() -> Callable[[], InMemoryChatMessageHistory]:
    store = InMemoryChatHistoryStore()
    return lambda: store.get_session_history("a")


def _of(events: list[Event], worker: int, kind: str) -> list[Event]:
    return [event for event in events if (event.worker, event.kind) == (worker, kind)]


class _Waits(InMemoryChatMessageHistory):
    """Returns from an add only when somebody has read what it added."""

    seen = 0

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        super().add_messages(messages)
        stored, deadline = len(super().messages), time.monotonic() + 5
        while self.seen < stored:
            assert time.monotonic() < deadline, "nobody reads"
            time.sleep(0.0005)

    @property
    def messages(self) -> list[BaseMessage]:
        found = super().messages
        self.seen = len(found)
        return found

    @messages.setter
    def messages(self, messages: list[BaseMessage]) -> None:
        raise NotImplementedError

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        await asyncio.to_thread(self.add_messages, messages)

    async def aget_messages(self) -> list[BaseMessage]:
        return self.messages


@_BOTH
def test_a_watcher_reads_as_long_as_the_others_work(tasks: bool) -> None:
    store = InMemoryChatHistoryStore()
    events = run_together(lambda: _Waits("a", store=store), ((1,) * 20, ("watch",)), tasks=tasks, shared=True)
    assert [event.error for event in _of(events, 0, "add")] == [None] * 20
    assert len(_of(events, 1, "read")) >= 20


@_BOTH
def test_looks_in_a_row_that_show_the_same_count_once(tasks: bool) -> None:
    events = run_together(_opener(), ((1, "read") * 20, ("watch",)), tasks=tasks, shared=True)
    *looks, _last = _of(events, 1, "read")  # without what the handle shows when all is over
    assert all(a.observed != b.observed for a, b in itertools.pairwise(looks))


@_BOTH
def test_a_watcher_alone_ends(tasks: bool) -> None:
    began = time.monotonic()
    events = run_together(_opener(), (("watch",), ("watch",)), tasks=tasks, shared=True)
    assert not _of(events, -2, "hung")
    assert time.monotonic() - began < 10


@_BOTH
def test_a_watcher_ends_at_an_error_and_tells_it(tasks: bool) -> None:
    class Unreadable(InMemoryChatMessageHistory):
        @property
        def messages(self) -> Any:
            raise RuntimeError("not now")

        async def aget_messages(self) -> Any:
            raise RuntimeError("not now")

    store = InMemoryChatHistoryStore()
    opened: Callable[[], Any] = itertools.chain([Unreadable("a", store=store)], itertools.repeat(store)).__next__

    def open_history() -> Any:
        found = opened()
        return found.get_session_history("a") if found is store else found

    events = run_together(open_history, ((1,) * 5, ("watch",)), tasks=tasks, shared=True)
    assert str(_of(events, 1, "read")[0].error) == "not now"


@_BOTH
def test_a_worker_whose_handle_is_not_opened_anew_goes_on_with_the_old_one(tasks: bool) -> None:
    open_history, count = _opener(), itertools.count()

    def fails_the_third_time() -> Any:
        if next(count) == 2:
            raise RuntimeError("too many")
        return open_history()

    workers = ((1, "reopen", 1), (1,))
    events = run_together(fails_the_third_time, workers, tasks=tasks, shared=False)
    assert [str(event.error) for event in _of(events, 0, "open")] == ["too many"]
    assert len(_of(events, 0, "add")) == 2
    assert {"w0-0-0", "w0-2-0", "w1-0-0"} <= set(events[-1].observed or ())


def test_a_watcher_does_not_wait_for_a_worker_who_has_no_handle() -> None:
    open_history, count = _opener(), itertools.count()

    def fails_the_first_time() -> Any:
        if next(count) == 0:
            raise RuntimeError("too many")
        return open_history()

    events = run_together(fails_the_first_time, ((1,), ("watch",), (1,)), tasks=False, shared=False, opens=True)
    assert not _of(events, -2, "hung")
    assert [event.kind for event in events if event.error] == ["open"]
