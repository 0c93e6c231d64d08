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
        self._changed = threading.Condition()
        self._mine = threading.local()
        self._at_work = 0
        self._forking = 0

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Use SQLite, also inside such a use; a fork waits until that is over, and the use until a fork is."""
        if self._is_mine():
            yield
            return
        changed = self._changed
        with changed:
            changed.wait_for(lambda: not self._forking)
            self._at_work += 1
            self._mine.is_at_work = True
        try:
            yield
        finally:
            if changed is self._changed:  # else this is a child, forked from inside
                with changed:
                    self._at_work -= 1
                    self._mine.is_at_work = False
                    changed.notify_all()

    def before(self) -> None:
        """Let nobody begin, and wait until those at work are done."""
        with self._changed:
            self._forking += 1
            self._changed.wait_for(lambda: self._at_work == self._is_mine(), _SECONDS_TO_FINISH)

    def _is_mine(self) -> bool:
        """Whether this thread is at work."""
        return getattr(self._mine, "is_at_work", False)

    def after(self) -> None:
        """Let them go on."""
        with self._changed:
            self._forking -= 1
            self._changed.notify_all()


FORKS = Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=FORKS.before, after_in_parent=FORKS.after, after_in_child=FORKS.begin_anew)
