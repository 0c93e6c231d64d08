"""The semantics of a chat message history as one pure function.

`step` is three things at once: the in-memory history (a lock and copies around it), the oracle of every
random program, and the sequential specification of the linearizability checker. Change a rule here and all
three change together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from langchain_core.messages import BaseMessage

Messages: TypeAlias = tuple[BaseMessage, ...]


@dataclass(frozen=True, slots=True)
class Add:
    """Append a batch to a session; an empty batch changes nothing (ORD-2, ORD-4)."""

    session_id: str
    messages: Messages


@dataclass(frozen=True, slots=True)
class Read:
    """Read the whole of a session (ORD-1)."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Start a session anew (CLR-1)."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Assign to `messages`: clear and add as one operation (SNP-5)."""

    session_id: str
    messages: Messages


Operation: TypeAlias = Add | Read | Clear | Replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a history was configured to do beside keeping everything for ever.

    Attributes:
        history_size: how many of the last messages are kept (BND-1); None keeps all.
        ttl: seconds after the last add at which a session reads as empty (EXP-1); None is never.
    """

    history_size: int | None = None
    ttl: float | None = None

    def __post_init__(self) -> None:
        if self.history_size is not None and self.history_size < 1:
            raise ValueError(f"history_size must be at least 1 or None, got {self.history_size!r}")
        if self.ttl is not None and not self.ttl > 0:
            raise ValueError(f"ttl must be more than 0 seconds or None, got {self.ttl!r}")


@dataclass(frozen=True, slots=True)
class Session:
    """The state of one session: its messages, and the time at which they are gone."""

    messages: Messages = ()
    expires_at: float | None = None


UNWRITTEN = Session()
KEEP_EVERYTHING = Rules()

State: TypeAlias = Mapping[str, Session]


def step_session(
    session: Session, operation: Operation, *, rules: Rules = KEEP_EVERYTHING, now: float = 0.0
) -> tuple[Session, Messages | None]:
    """Apply one operation to the state of its session.

    Args:
        session: the state before.
        operation: what is done.
        rules: bound and time to live.
        now: the time of the operation, in seconds of any clock that doesn't go back.

    Returns:
        The state after, and what the operation returns (messages for a read, else None).
    """
    if session.expires_at is not None and now >= session.expires_at:
        session = UNWRITTEN
    match operation:
        case Read():
            return session, session.messages
        case Clear():
            return UNWRITTEN, None
        case Add(messages=messages):
            return (_written(session.messages + messages, rules, now) if messages else session), None
        case Replace(messages=messages):
            return (_written(messages, rules, now) if messages else UNWRITTEN), None


def step(
    state: State, operation: Operation, *, rules: Rules = KEEP_EVERYTHING, now: float = 0.0
) -> tuple[State, Messages | None]:
    """Apply one operation to the state of all sessions; other sessions keep everything (ISO-1).

    See `step_session` for the arguments. The state given is not changed.
    """
    after, result = step_session(state.get(operation.session_id, UNWRITTEN), operation, rules=rules, now=now)
    if isinstance(operation, Read):
        return state, result
    return {**state, operation.session_id: after}, result


def _written(messages: Messages, rules: Rules, now: float) -> Session:
    """The state after a write: only the last messages are kept (BND-1), and the ttl begins anew (EXP-2)."""
    if rules.history_size is not None:
        messages = messages[-rules.history_size :]
    expires_at = None if rules.ttl is None else now + rules.ttl
    return replace(UNWRITTEN, messages=messages, expires_at=expires_at)
