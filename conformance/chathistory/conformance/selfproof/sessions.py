"""Histories that break ISO: ids that fold into one another, handles and partitions that do not keep apart."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from chathistory.conformance.selfproof._histories import PLAIN, JsonHistory, TableHistory
from chathistory.conformance.selfproof._planted import mutant


@mutant("ISO-1", "ISO-2", "CLR-4", "RUN-2", hardness="obvious", operations=2)
class SharesOneList(JsonHistory):
    """The list is a class attribute, or a default argument."""

    def _key(self) -> Hashable:
        return "shared"


@mutant("ISO-2", hardness="data", operations=2)
class IgnoresCase(TableHistory):
    """The database's default collation."""

    WHERE = f"{TableHistory.WHERE} COLLATE NOCASE"


@mutant("ISO-3", hardness="stateful", operations=3)
class CachesWhatItRead(JsonHistory):
    """Each handle keeps what it read, until it writes itself."""

    claims = PLAIN
    _cached: list[Any] | None = None

    def _shown(self, items: list[Any]) -> list[Any]:
        if self._cached is None:
            self._cached = items
        return self._cached

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self._cached = None

    def _erase(self) -> None:
        super()._erase()
        self._cached = None


@mutant("ISO-4", hardness="obvious", operations=1)
class RaisesOnAnUnwrittenSession(JsonHistory):
    """The row is looked up, and not there."""

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes["written", self._key()] = True

    def _erase(self) -> None:
        super()._erase()
        self.store.notes["written", self._key()] = True

    def _shown(self, items: list[Any]) -> list[Any]:
        if not items and ("written", self._key()) not in self.store.notes:
            raise KeyError(f"session {self.session_id!r} does not exist")
        return items


@mutant("ISO-5", hardness="data", operations=1)
class PastesIdsIntoSql(TableHistory):
    """One of the statements is an f-string."""

    def _items(self) -> list[Any]:
        sql = f"""SELECT item FROM messages WHERE partition_name = '{self.partition}'
                  AND session_id = '{self.session_id}' ORDER BY position"""  # noqa: S608 -- the defect
        return [item for (item,) in self.store.connection.execute(sql)]


@mutant("ISO-6", hardness="data", operations=2)
class RunsPartitionAndIdTogether(JsonHistory):
    """key_prefix + session_id: "a" and "bc" are "ab" and "c"."""

    def _key(self) -> Hashable:
        return self.partition + self.session_id


@mutant("ISO-7", hardness="stateful", operations=2)
class LeavesAFailedTransactionToOthers(JsonHistory):
    """A refused statement aborts the transaction, and whoever comes next on the connection finds out."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        self.store.notes["refused"] = self.session_id
        super()._refuse(kind, cause)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self.store.notes.pop("refused", self.session_id) != self.session_id:
            raise RuntimeError(f"session {self.session_id!r}: current transaction is aborted, commands ignored")
        with self.store.lock:
            yield
