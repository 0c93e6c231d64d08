"""Histories that break RUN: they do well alone, and not under RunnableWithMessageHistory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables.config import var_child_runnable_config

from chathistory.conformance.selfproof._histories import JsonHistory
from chathistory.conformance.selfproof._planted import mutant


def current_run() -> Mapping[str, Any]:
    """The configuration of the run that this call is part of; empty outside of one."""
    return var_child_runnable_config.get() or {}


@mutant("RUN-1", hardness="stateful", operations=2)
class LeavesTheQuestionToTheRunnable(JsonHistory):
    """An application once stored questions itself, so a run's own are left out."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        batch = super()._batch(messages)
        if not current_run():
            return batch
        return [message for message in batch if not isinstance(message, HumanMessage)]


@mutant("RUN-2", "RUN-1", hardness="stateful", operations=2)
class TrustsTheConfiguration(JsonHistory):
    """Inside a run the conversation is taken from the run's configuration, and the user is forgotten."""

    def _key(self) -> Hashable:
        configurable = current_run().get("configurable", {})
        return (self.partition, configurable.get("conversation_id", self.session_id))


@mutant("RUN-3", hardness="stateful", operations=2)
class NotesThatARunBegan(JsonHistory):
    """A read inside a run leaves a note, which the write at its end takes away; a failed run has no end."""

    def _shown(self, items: list[Any]) -> list[Any]:
        if current_run():
            self.store.notes["began", self._key()] = True
        elif ("began", self._key()) in self.store.notes:
            return [*items, self._dump(SystemMessage("a run began"))]
        return items

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes.pop(("began", self._key()), None)

    def _erase(self) -> None:
        super()._erase()
        self.store.notes.pop(("began", self._key()), None)
