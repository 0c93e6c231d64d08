"""Keeps a fork and the use of SQLite apart: a child inherits SQLite's record of the locks that its process holds.

That record knows nothing of threads that are not in the child. A lock that one of them held would stay held there for
good, and nobody in the child could write again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS_TO_FINISH = 5.0
"""For so long a fork waits for calls under way; it may have come from inside one of them, by a signal."""


class Forks:
    """Lets any number of threads use SQLite, or one fork."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget who is at work: in a child, nobody is."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._at_work: set[int] = set()  # the threads that are
        self._forking = 0

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Use SQLite, also inside such a use; a fork waits until that is over, and the use until a fork is."""
        at_work, me = self._at_work, threading.get_ident()
        if me in at_work:
            yield
            return
        try:
            # The lock itself, since a condition's `with` is Python code, in which a signal's exception may lose it.
            with self._lock:
                self._changed.wait_for(lambda: not self._forking)
                at_work.add(me)
            yield
        finally:
            at_work.discard(me)
            if self._forking:
                with self._lock:
                    self._changed.notify_all()

    def before(self) -> None:
        """Let nobody begin, and wait until those at work are done."""
        mine = {threading.get_ident()}
        with self._lock:
            self._forking += 1
            self._changed.wait_for(lambda: self._at_work <= mine, _SECONDS_TO_FINISH)

    def after(self) -> None:
        """Let them go on."""
        with self._lock:
            self._forking -= 1
            self._changed.notify_all()


FORKS = Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=FORKS.before, after_in_parent=FORKS.after, after_in_child=FORKS.begin_anew)
