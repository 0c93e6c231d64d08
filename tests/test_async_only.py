"""A history without sync calls is judged by its async ones, also where it claims threads and processes."""

# ruff: noqa: D103 -- the names of the tests say it

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from chathistory.adapters.sqlite import SQLiteChatMessageHistory
from chathistory.conformance import Backend, Configuration, check
from chathistory.reference import Profile

CLAIMS: set[Profile] = {"core", "async", "threads", "processes"}
QUICK = Configuration(effort="quick", examples=1, shrink_seconds=0.0)


class AsyncOnly(SQLiteChatMessageHistory):
    """The adapter as somebody might offer it who has no use for its sync calls."""

    def _refuse(self, *_: object) -> NoReturn:
        raise NotImplementedError("this history has async methods only")

    messages = property(_refuse, _refuse)  # type: ignore[assignment]
    add_messages = clear = _refuse


class Rewriting(BaseChatMessageHistory):
    """Writes the whole file anew for each add, without a lock."""

    def __init__(self, session_id: str, folder: Path) -> None:
        self.path = folder / session_id.encode().hex()

    async def aget_messages(self) -> list[BaseMessage]:
        return messages_from_dict(json.loads(self.path.read_text())) if self.path.exists() else []

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        known = await self.aget_messages()
        await asyncio.sleep(0.001)
        new = self.path.with_suffix(f".{id(known)}")
        new.write_text(json.dumps([message_to_dict(message) for message in (*known, *messages)]))
        new.replace(self.path)

    async def aclear(self) -> None:
        self.path.unlink(missing_ok=True)

    def clear(self) -> None:
        raise NotImplementedError("this history has async methods only")


def test_a_correct_one_keeps_every_clause_of_threads_and_processes(tmp_path: Path) -> None:
    factory = partial(AsyncOnly, connection=str(tmp_path / "history.db"))
    backend = Backend(name="async only", get_session_history=factory, claims=CLAIMS)
    report = check(backend, clauses=["ATM-2", "CON-1", "CON-5"], configuration=QUICK)
    assert [result.outcome for result in report.clauses] == ["passed"] * 3


def test_one_that_loses_what_processes_add_is_caught(tmp_path: Path) -> None:
    """By the claim of processes alone, which no task or thread can stand in for."""
    factory = partial(Rewriting, folder=tmp_path)
    backend = Backend(name="rewriting", get_session_history=factory, claims=CLAIMS - {"threads"})
    (result,) = check(backend, clauses=["CON-1"], configuration=QUICK).clauses
    assert result.outcome == "failed"
    assert result.counterexample is not None
    assert 'how="processes", mode="async"' in result.counterexample.lines[0]
    assert 'mode="async"' in result.counterexample.script
