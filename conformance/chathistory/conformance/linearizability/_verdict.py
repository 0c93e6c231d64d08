"""What the checker can say of a history, and the names of all anomalies, defined once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from chathistory.conformance.linearizability._events import Call

Anomaly: TypeAlias = Literal[
    "lost add",
    "duplicated add",
    "torn batch",
    "read out of order",
    "message inserted in the middle",
    "stale read",
    "resurrected after clear",
    "message from nowhere",
    "clear undone",
    "not linearizable",
]

ANOMALIES: Mapping[Anomaly, str] = MappingProxyType(
    {
        "lost add": "A message that had been acknowledged or read is missing, and is not seen again.",
        "duplicated add": "A message was added once and is read more than once.",
        "torn batch": "A read holds a part of a batch, or another message stands inside the batch.",
        "read out of order": "Messages are read in an order in which they can't have been added.",
        "message inserted in the middle": "A message appeared before others that had been read without it.",
        "stale read": "A read misses a message that was there before it began, and is read again later.",
        "resurrected after clear": "Messages that had been cleared are back, in a session that had moved on.",
        "message from nowhere": "A read holds a message that nobody had added to the session.",
        "clear undone": "Everything reads as if an acknowledged clear had never happened.",
        "not linearizable": "No order of the calls explains what they returned, and no simpler name fits.",
    }
)
"""The anomalies the checker names, each with its meaning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much work the search may do before the verdict is `Undecided`.

    Only the search is bounded; histories of unique messages, with batches taken as atomic, need none.

    Attributes:
        seconds: how long all searches of one check may take together.
        states: how many states they may visit together.
    """

    seconds: float = 10.0
    states: int = 1_000_000

    def __post_init__(self) -> None:
        if not self.seconds >= 0 or self.states < 0:
            raise ValueError(f"a budget can't be negative, got {self.seconds!r} s, {self.states!r} states")


@dataclass(frozen=True, kw_only=True, slots=True)
class Weaken:
    """Clauses left out of the specification, so that others can be judged alone.

    Attributes:
        batches_atomic: False takes an add of several messages as that many adds in a row, as the loop of the
            base class does: others may write or read in between, and one that raised may have stored all but
            its last message (ATM-1 to ATM-3 are not judged).
    """

    batches_atomic: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Linearizable:
    """Every session has an order of its calls, true to real time, that explains all that was returned.

    Attributes:
        calls: how many calls were judged.
        sessions: how many sessions they went to.
        order: for each session the numbers of its calls in such an order, if it was asked for. Calls without
            effect are left out. With batches not atomic a batch appears once for each message stored.
    """

    calls: int
    sessions: int
    order: Mapping[str, tuple[int, ...]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """Proof that a session was not linearizable (or broke the one clause that was asked about).

    Attributes:
        anomaly: what it is called; `ANOMALIES` says what that means.
        session: where it happened.
        calls: the few calls involved, in order of invocation.
        numbers: the places of these calls in `EventHistory.calls`.
        messages: the messages at fault.
        explanation: what happened, in prose.
    """

    anomaly: Anomaly
    session: str
    calls: tuple[Call, ...]
    numbers: tuple[int, ...]
    messages: tuple[str, ...]
    explanation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Undecided:
    """The budget ran out before a proof of either kind was found. Never a pass.

    Attributes:
        reason: what was too much.
        sessions: the sessions that are not decided; all others are linearizable.
    """

    reason: str
    sessions: tuple[str, ...]


Verdict: TypeAlias = Linearizable | Violation | Undecided
