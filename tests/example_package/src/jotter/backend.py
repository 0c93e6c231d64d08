"""How chathistory opens it, and what it claims."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from chathistory.conformance import Backend, Limits
from jotter import LARGEST, LONGEST_ID, JotterChatMessageHistory, TooLargeError


def jotter() -> Iterator[Backend]:
    """Files of JSON lines in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Backend(
            name="jotter",
            get_session_history=lambda session_id: JotterChatMessageHistory(session_id, folder),
            claims={"core", "async", "threads"},
            limits=Limits(message_bytes=LARGEST, session_id_bytes=LONGEST_ID, error=TooLargeError),
            disposable=True,
        )
