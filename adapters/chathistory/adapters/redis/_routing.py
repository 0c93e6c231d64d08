"""Where a request goes, and what follows from the answer: the rules of Redis Cluster, and when to try again.

A plain server answers every request; a member of a cluster answers MOVED for keys that others keep, and then all
slots are looked up and remembered. So one URL serves both, and nothing is asked at the start. Only what was
certainly not carried out, and reads, are sent again: a push is never applied twice (DUR-4).

The rules are a generator that yields attempts and is sent replies, or thrown errors: sync and async stores share it.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import redis
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from chathistory.adapters.redis._failures import AnswerLostError, NotSentError, is_passing, is_refusal
from chathistory.adapters.redis._requests import Command, Request

Address: TypeAlias = tuple[str, int]

_ASKING: Command = (b"ASKING",)
_SLOTS: Command = (b"CLUSTER", b"SLOTS")
_MOST_ATTEMPTS = 16  # redis-py's number of redirections
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.4, 0.4)  # seconds; for what passes, see is_passing


@dataclass(frozen=True, slots=True)
class Attempt:
    """Commands to send in one write.

    Attributes:
        address: of which member of the cluster; None is the server that was named.
        commands: the reply to the last one is wanted.
        pause: seconds to wait before.
    """

    address: Address | None
    commands: tuple[Command, ...]
    pause: float = 0.0


Steps: TypeAlias = Generator[Attempt, Any, Any]


class Routing:
    """What is known about where keys are; shared by all threads and event loops of a store.

    Args:
        members: addresses of a cluster's members, if it is known to be one.
    """

    def __init__(self, members: Sequence[Address] = ()) -> None:
        self._members: tuple[Address | None, ...] = tuple(members) or (None,)
        self._keepers: dict[int, Address] = {}
        self._lock = threading.Lock()

    def steps(self, request: Request) -> Steps:
        """Carry out a request; returns the reply.

        Raises:
            redis.RedisError: if it was not carried out, or nobody knows (`AnswerLostError`).
        """
        course = _Course(request, self._place_of(request))
        for _ in range(_MOST_ATTEMPTS):
            try:
                return (yield course.attempt())
            except AskError as answer:  # MOVED is one, too
                told_by = course.redirected(answer)
                if isinstance(answer, MovedError):
                    yield from self._learn(int(answer.slot_id), course.place, told_by)
            except redis.RedisError as error:
                if isinstance(error, NotSentError | AnswerLostError):
                    self._forget(course.place)
                course.failed(error, self._members)
        raise redis.RedisError(f"gave up after {_MOST_ATTEMPTS} redirections within the cluster")

    def _place_of(self, request: Request) -> Address | None:
        if not self._keepers:
            return self._members[0]
        return self._keepers.get(key_slot(request.key)) or self._members[0]

    def _learn(self, slot: int, address: Address | None, told_by: Address | None) -> Steps:
        """Remember where a slot is, and look up all others; whoever may not ask learns slot by slot."""
        assert address is not None  # noqa: S101 -- it is what MOVED named
        with self._lock:
            self._keepers[slot] = address
        try:
            rows = yield Attempt(told_by, (_SLOTS,))
            found = list(_keepers_in(rows, address[0]))
        except (redis.RedisError, TypeError, ValueError, LookupError) as error:
            if not is_refusal(error) and isinstance(error, redis.RedisError):
                self._forget(told_by)
            return
        with self._lock:
            for first, last, keeper in found:
                self._keepers.update(dict.fromkeys(range(first, last + 1), keeper))
            self._keepers[slot] = address
            others = dict.fromkeys(keeper for _, _, keeper in found)
            self._members = (self._members[0], *(other for other in others if other != self._members[0]))

    def _forget(self, address: Address | None) -> None:
        """What was learnt of a member that doesn't answer may be out of date."""
        if address is not None and self._keepers:
            with self._lock:
                self._keepers = {slot: keeper for slot, keeper in self._keepers.items() if keeper != address}


class _Course:
    """How one request fares: where it goes next, and whether it may go at all."""

    def __init__(self, request: Request, place: Address | None) -> None:
        self.place = place
        self._request = request
        self._asking = False
        self._may_repeat = request.repeatable
        self._tried: list[Address | None] = []
        self._pause, self._pauses = 0.0, iter(_PAUSES)

    def attempt(self) -> Attempt:
        """The next one."""
        command = self._request.command
        return Attempt(self.place, (_ASKING, command) if self._asking else (command,), self._pause)

    def redirected(self, answer: AskError) -> Address | None:
        """Go where a member says; returns which one it was."""
        told_by = self.place
        host = answer.host or ("" if told_by is None else told_by[0])
        self.place, self._asking, self._pause = (host, int(answer.port)), not isinstance(answer, MovedError), 0.0
        return told_by

    def failed(self, error: redis.RedisError, members: Sequence[Address | None]) -> None:
        """Go on, if that can help and applies nothing twice; raises the error if not."""
        self._asking, self._pause = False, 0.0
        if is_passing(error):
            self._pause = next(self._pauses, 0.0)
            again = bool(self._pause)
        elif isinstance(error, AnswerLostError):
            again, self._may_repeat = self._may_repeat, False
        else:
            # Another member knows who took over, if it was the member that failed.
            self._tried.append(self.place)
            others = [member for member in members if member not in self._tried]
            again = isinstance(error, NotSentError) and bool(others)
            self.place = others[0] if others else self.place
        if not again:
            raise error


def _keepers_in(rows: Any, host: str) -> Iterator[tuple[int, int, Address]]:
    """First slot, last slot and primary of each row of CLUSTER SLOTS."""
    for first, last, primary, *_replicas in rows:
        name = primary[0].decode() if isinstance(primary[0], bytes) else primary[0]
        yield int(first), int(last), (name or host, int(primary[1]))
