"""What the example tests are handed: a backend, and its calls by one name for the sync and the async form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chathistory.conformance import Backend
from chathistory.conformance._program import Mode


@dataclass(frozen=True, slots=True)
class Handle:
    """A history, used through its sync or its async calls."""

    history: BaseChatMessageHistory
    mode: Mode

    async def add(self, messages: Sequence[Any]) -> None:
        """Add a batch."""
        if self.mode == "async":
            await self.history.aadd_messages(messages)
        else:
            self.history.add_messages(messages)

    async def read(self) -> list[BaseMessage]:
        """Read all."""
        return await self.history.aget_messages() if self.mode == "async" else self.history.messages

    async def clear(self) -> None:
        """Clear."""
        await self.history.aclear() if self.mode == "async" else self.history.clear()


@dataclass(frozen=True, slots=True)
class Subject:
    """A backend under test, and the form of calls to test it by."""

    backend: Backend
    mode: Mode

    def open(self, session_id: str | None = None) -> Handle:
        """A handle on a session; on a new one unless it is named."""
        return Handle(self.backend.get_session_history(session_id or new_id()), self.mode)


def new_id() -> str:
    """An id that no other test uses."""
    return str(uuid4())
