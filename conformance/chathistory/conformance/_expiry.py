"""Tells whether a session has expired when it is read: by the backend's clock, or in real time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from chathistory.conformance._outcome import StopJudging


@dataclass(slots=True)
class Clock:
    """The time by which sessions live.

    Attributes:
        is_moved: whether the suite moves the backend's clock on; else it is real, monotonic time.
        resolution: how long a session may live beyond its ttl, in seconds.
        now: when the step that is judged began, in seconds.
    """

    is_moved: bool
    resolution: float
    now: float = 0.0

    def begin_step(self, began: float) -> None:
        """Note when a step began, in seconds of the monotonic clock."""
        if not self.is_moved:
            self.now = began

    def wait(self, seconds: float) -> None:
        """Move on; real time does so by itself."""
        if self.is_moved:
            self.now += seconds

    def has_expired(self, expires_at: float, *, write_began: float, write_took: float) -> bool:
        """Whether a read that has just ended must find the session expired, or must find it alive.

        A session lives for its ttl, and at most one unit of the ttl's resolution longer. A read near the moment of
        expiry may see either, and is not judged: in real time, and where real time was added to what passed.

        Args:
            expires_at: when the session expires by the model.
            write_began: when its last write began, in seconds of the monotonic clock.
            write_took: how many seconds that write took.

        Raises:
            StopJudging: it may be either.
        """
        if self.is_moved:
            if self.now + (time.monotonic() - write_began) < expires_at:
                return False
            if self.now >= expires_at + self.resolution:
                return True
            raise StopJudging
        if time.monotonic() < expires_at - self.resolution:
            return False
        if self.now > expires_at + write_took + self.resolution:
            return True
        raise StopJudging
