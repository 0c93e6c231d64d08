"""What messages and session ids demand of a store: to be kept, to be refused, or either of the two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.conformance._backend import Limits
from chathistory.conformance._hardness import SIZE, hard_reasons, size_of
from chathistory.conformance._program import FAILING, Add, Assign
from chathistory.conformance._session_ids import is_hard_session_id
from chathistory.reference import Messages

_BEYOND = "beyond the declared limit"

# A batch may be refused for its size where none of its messages may, as by a store whose transactions are bounded.
_MOST_BYTES = 2**18
_MOST_MESSAGES = 100
# So may an add to a history that is then longer than all must be able to hold (ORD-7).
_LONG_HISTORY = 2_000
_LONG_HISTORY_BYTES = 2**20
_PLAIN_PARTITION = re.compile(r"[a-z][a-z0-9_]{0,47}")


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a store.

    Attributes:
        kind: whether it must "store" what it is given, must "refuse" it, or may do either.
        reasons: why it may refuse.
    """

    kind: Literal["store", "store or refuse", "refuse"]
    reasons: frozenset[str] = frozenset()

    @property
    def is_beyond(self) -> bool:
        """Whether it is more than the backend declares that it takes."""
        return _BEYOND in self.reasons


MUST_STORE = Demand("store")
_MUST_REFUSE = Demand("refuse")
_BEYOND_THE_LIMIT = Demand("store or refuse", frozenset({_BEYOND}))


def demand_of_write(step: Add | Assign, limits: Limits | None, before: Sequence[Any] = ()) -> Demand:
    """What the messages of a write demand.

    Args:
        step: the write.
        limits: what the backend declares, where that decides what must be stored.
        before: what was added to the session before.
    """
    demand = _demand_of_messages(step)
    if demand.kind == "store" and _is_long([*before, *step.messages]):
        demand = Demand("store or refuse", frozenset({SIZE}))
    limit = limits.message_bytes if limits else None
    if limit is None or demand.kind == "refuse":
        return demand
    if any(_bytes_of(message) > limit for message in step.messages):
        return _BEYOND_THE_LIMIT
    # The limit is one of a message: with others, or after others, it may still be too much together.
    may_be_too_much = len(step.messages) > 1 or (bool(before) and _is_long([*before, *step.messages]))
    return demand if demand.reasons - {SIZE} or may_be_too_much else MUST_STORE


def demand_of_ids(session_id: str, partition: str | None, limits: Limits | None) -> Demand:
    """What the id of a session demands, and the name of the partition it is in, if any.

    Args:
        session_id: the id as it is handed to the backend.
        partition: the name of a partition of the store.
        limits: what the backend declares, where that decides which ids must work.
    """
    is_odd = partition is not None and _PLAIN_PARTITION.fullmatch(partition) is None
    if limits and limits.session_id_bytes is not None:
        if size_of(session_id) > limits.session_id_bytes:
            return _BEYOND_THE_LIMIT
    elif is_hard_session_id(session_id):
        is_odd = True
    return Demand("store or refuse") if is_odd else MUST_STORE


def remark_on_limits(limits: Limits | None, of_id: Demand, of_messages: Demand) -> str | None:
    """What to say of an add that was accepted: that a declared limit is not where the store ends, if so."""
    if limits is None or not (of_id.is_beyond or of_messages.is_beyond):
        return None
    what, limit = ("a session id", limits.session_id_bytes) if of_id.is_beyond else ("a message", limits.message_bytes)
    return f"the declared limit of {limit:,} bytes for {what} is not where it ends: one more was accepted"


def meant_by(step: Add | Assign) -> Messages:
    """The messages that a write is meant to store."""
    if isinstance(step, Add) and step.text:
        cls = HumanMessage if step.call == "add_user_message" else AIMessage
        return (cls(content=step.messages[0].content),)
    return tuple(step.messages)


def _demand_of_messages(step: Add | Assign) -> Demand:
    """What the messages of a write demand of a store that declares no limits."""
    if isinstance(step, Add) and step.container in {"bare", *FAILING} and step.call == "add_messages":
        return _MUST_REFUSE
    if any(not isinstance(message, BaseMessage) for message in step.messages):
        return _MUST_REFUSE
    reasons = frozenset().union(*(hard_reasons(message) for message in step.messages))
    if isinstance(step, Add) and step.container == "generator":
        reasons |= {"iterable"}
    if _is_large(step.messages):
        reasons |= {SIZE}
    return Demand("store or refuse" if reasons else "store", reasons)


def _is_long(history: Sequence[Any]) -> bool:
    """Whether a history is so long that an add to it may be refused."""
    return len(history) > _LONG_HISTORY or sum(map(_bytes_of, history)) > _LONG_HISTORY_BYTES


def _is_large(messages: Sequence[BaseMessage]) -> bool:
    return sum(_bytes_of(message) for message in messages) > _MOST_BYTES or len(messages) > _MOST_MESSAGES


def _bytes_of(message: Any) -> int:
    """How many bytes of UTF-8 the text of a message has."""
    content = getattr(message, "content", None)
    return size_of(content) if isinstance(content, str) else 0
