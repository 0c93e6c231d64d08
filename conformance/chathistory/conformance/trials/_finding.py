"""What a trial has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory


@dataclass
class Finding:
    """The problem in a sentence, or None; and how many calls were made to look for it."""

    problem: str | None
    calls: int


def opener_of(backend: Any) -> Callable[[str], Any]:
    """Its get_session_history; a script may have been given nothing but that."""
    return getattr(backend, "get_session_history", backend)  # type: ignore[no-any-return]


def loops_over_batches(history: Any) -> bool:
    """Whether it has only `add_message`: then its batches can't be whole, which is left to ATM-1 to ATM-3."""
    method = getattr(history.__class__, "add_messages", None)  # of a proxy, the class that it stands for
    return method is BaseChatMessageHistory.add_messages
