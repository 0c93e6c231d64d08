"""A chat message history in a folder, a file of JSON lines for each session."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chathistory.reference import decode, encode_batch

LARGEST = 1_000_000
LONGEST_ID = 1_024

_lock = threading.Lock()


class TooLargeError(ValueError):
    """A message of more than 1,000,000 bytes, or a session id of more than 1,024; nothing was stored."""


class JotterChatMessageHistory(BaseChatMessageHistory):
    """Keeps what it is told; processes must not share a folder."""

    def __init__(self, session_id: str, folder: str | os.PathLike[str]) -> None:
        name = session_id.encode("utf-8", "surrogatepass")
        self.session_id = session_id
        if len(name) > LONGEST_ID:
            raise TooLargeError(f"session {session_id!r}: an id has at most {LONGEST_ID:,} bytes")
        self._path = Path(folder, f"{sha256(name).hexdigest()}.jsonl")

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session, in order; the list is the caller's."""
        return [decode(line) for line in self._lines()]

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        self._write(messages, anew=True)

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch, wholly or not at all."""
        self._write(messages)

    def clear(self) -> None:
        """Start the session anew."""
        with _lock:
            self._path.unlink(missing_ok=True)

    def _write(self, messages: Iterable[BaseMessage], *, anew: bool = False) -> None:
        batch = list(messages) if not isinstance(messages, (str, dict, BaseMessage)) else messages
        lines = encode_batch(batch, self.session_id)
        if any(_size(message) > LARGEST for message in batch):
            raise TooLargeError(f"session {self.session_id!r}: a message has at most {LARGEST:,} bytes")
        with _lock:
            kept = [] if anew else self._lines()
            beside = self._path.with_suffix(".new")
            beside.write_text("".join(f"{line}\n" for line in [*kept, *lines]), encoding="ascii")
            beside.replace(self._path)

    def _lines(self) -> list[str]:
        try:
            return self._path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return []


def _size(message: BaseMessage) -> int:
    content = message.content
    return len(content.encode("utf-8", "surrogatepass")) if isinstance(content, str) else 0
