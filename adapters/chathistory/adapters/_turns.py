"""Locks and slots that are not lost when a signal handler raises: Ctrl-C, or the soft time limit of a task queue.

Such an exception comes between two instructions of Python code, so also when a lock has been taken and nobody has noted
it yet; `threading.Semaphore` is Python code, too. But it never comes inside a call of C code. So here a single one
takes and notes, and whoever gives back does it by the first call after looking at the note.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue


def take(lock: threading.Lock, seconds: float, held: list[bool]) -> bool:
    """Wait for a lock; whether it came in time.

    Args:
        lock: to be released by the caller, in a `finally` around this call, if `held` is not empty.
        seconds: how long to wait, as for the lock's `acquire`.
        held: empty; holds something as soon as the lock is taken.
    """
    held.extend(filter(None, map(lock.acquire, (True,), (seconds,))))
    return bool(held)


class Slots(SimpleQueue[bool]):
    """A number of slots for threads; whoever took one gives it back by `put(True)`, which is C code.

    Args:
        count: how many may be taken at once.
    """

    def __init__(self, count: int) -> None:
        for _ in range(count):
            self.put(True)

    def take(self, seconds: float, held: list[bool]) -> bool:
        """Wait for a slot; whether one came free in time. See `take` for `held`."""
        try:
            held.extend(map(self.get, (True,), (seconds,)))
        except Empty:
            return False
        return True
