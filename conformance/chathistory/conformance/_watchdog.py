"""Ends an operation that does not return, so that a deadlock is a finding and not the end of the run.

A signal is used because it reaches the main thread while it waits for a lock, a socket or a sleep, and because
the operation then runs in the user's own thread: some correct histories are bound to the thread they were
opened in. Where there is no such signal (Windows, other threads) there is no limit.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

try:
    import resource
except ImportError:  # where there are no signals either
    resource = None  # type: ignore[assignment]

_SWALLOWERS = frozenset({"__del__", "_remove", "gc_callback"})
"""Finalizers, and callbacks of a WeakSet and of hypothesis: what is raised in them is lost, and printed."""


class OperationHungError(BaseException):
    """Raised inside an operation that has used up its time; no `except Exception` of a backend catches it."""


def is_available() -> bool:
    """Whether operations can be ended here."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


def most_memory_used() -> int:
    """The most bytes of memory that this process has held at once; 0 where nothing tells."""
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def time_limit(seconds: float, *, again: Callable[[], bool] | None = None) -> Iterator[None]:
    """Raise OperationHungError in the block once it has taken so many seconds, and again every second after.

    A timer that somebody else had set is set again at the end, less the time that has passed.

    Args:
        seconds: the time.
        again: asked when that has passed: whether the block may have another second; None never lets it.
    """
    if not is_available():
        yield
        return

    def on_time(number: int, frame: FrameType | None) -> None:
        if again is None or not again():
            _raise_hung(number, frame)

    earlier = signal.signal(signal.SIGALRM, on_time)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        rest, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (seconds - rest), 0.001), interval)


def _raise_hung(_signal: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_name in _SWALLOWERS:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 1.0)  # in a moment it has returned
        return
    raise OperationHungError
