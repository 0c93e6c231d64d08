"""Histories that break ERR: what is refused, what is said about it, and what works afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from chathistory.conformance.selfproof._histories import PASSWORD, JsonHistory
from chathistory.conformance.selfproof._planted import mutant


@mutant("ERR-1", hardness="data", operations=1)
class RaisesAttributeErrors(JsonHistory):
    """Nobody checks, and the serialiser stumbles."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        super()._refuse(AttributeError if kind is TypeError else kind, cause)


@mutant("ERR-2", "VAL-5", "VAL-6", hardness="data", operations=1)
class LogsWhatItCannotStore(JsonHistory):
    """except ValueError: logger.error(...)."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        try:
            return super()._encode(messages)
        except ValueError:
            return []


@mutant("ERR-3", hardness="stateful", operations=2)
class DiesOfARefusal(JsonHistory):
    """One connection for all handles, left in a failed transaction by the first refusal, and never rolled back."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        self.store.notes["failed"] = True
        super()._refuse(kind, cause)

    def _transaction(self) -> Any:
        if self.store.notes.get("failed"):
            raise RuntimeError(f"session {self.session_id!r}: current transaction is aborted")
        return super()._transaction()


@mutant("ERR-4", hardness="data", operations=1)
class LeaksThePassword(JsonHistory):
    """The connection URL is part of the error."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        super()._refuse(kind, f"postgresql://chat:{PASSWORD}@db/chat: {cause}")
