"""Whether the event loop is blocked is told from what computes, also on a machine that is busy with other work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage

from chathistory.conformance import Backend
from chathistory.conformance._event_loop_probe import measure
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

HOG = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"


class Computing(InMemoryChatMessageHistory):
    """Computes for 30 ms in the event loop, and waits for nothing."""

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        began = time.thread_time()
        while time.thread_time() < began + 0.03:
            pass
        await super().aadd_messages(messages)


@contextmanager
def other_work(processes: int) -> Iterator[None]:
    """Processes that compute all the while, on the one processor that this one may use, too."""
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, before)
        os.sched_setaffinity(0, {min(before)})
        for _ in range(processes):
            hog = stack.enter_context(subprocess.Popen([sys.executable, "-c", HOG]))  # noqa: S603 -- our own loop
            stack.callback(hog.kill)
        yield


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="only Linux tells who waits")
def test_computing_is_no_blocking_however_busy_the_machine_is() -> None:
    """The thread gets a processor for a third of the time, and is not to blame for the rest."""
    factory = partial(Computing, store=InMemoryChatHistoryStore())
    with other_work(2):
        stalls = measure(Backend(name="computing", get_session_history=factory), timeout=60)
    assert [stall for stall in stalls if stall.is_blocking] == []
