"""Histories that break ISO: ids that fold into one another, handles and partitions that do not keep apart."""

from __future__ import annotations

import asyncio
import itertools
import posixpath
import re
import threading
import time
import unicodedata
import weakref
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, ClassVar, NoReturn, TypeVar
from urllib.parse import unquote

from langchain_core.messages import BaseMessage, SystemMessage
from tests.mutants._base import PLAIN, JsonHistory, Steps, TableHistory
from tests.mutants._planted import mutant
from typing_extensions import override

T = TypeVar("T")

# ISO-1


@mutant("ISO-1", "ISO-3", "RUN-2", hardness="stateful", operations=2)
class UsesTheSessionOpenedLast(JsonHistory):
    """The client keeps a current session, which opening a handle sets."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.store.notes["current"] = (self.partition, self.session_id)

    def _key(self) -> Hashable:
        return self.store.notes.get("current")  # type: ignore[no-any-return]


@mutant("ISO-1", "ISO-4", "CLR-1", hardness="stateful", operations=2)
class ShowsAnotherWhenEmpty(JsonHistory):
    """A condition that is left out when a lookup finds nothing, so that the newest session answers."""

    def _shown(self, items: list[Any]) -> list[Any]:
        return items or next((list(kept) for kept in reversed(self.store.lists.values()) if kept), [])


@mutant("ISO-1", "CLR-4", hardness="stateful", operations=3)
class AssignsToEverybody(JsonHistory):
    """The UPDATE of an assignment lacks its WHERE clause."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield from super()._replace(items)
        for key in self.store.lists:
            self.store.lists[key] = list(items)


# ISO-2


class _Scanning(JsonHistory):
    """Reads every session of its partition whose id it takes for its own."""

    def _takes(self, other: str) -> bool:
        raise NotImplementedError

    def _shown(self, items: list[Any]) -> list[Any]:
        return [
            item
            for (partition, other), kept in self.store.lists.items()
            if partition == self.partition and self._takes(other)
            for item in kept
        ]


@mutant("ISO-2", "ISO-1", hardness="data", operations=2)
class ReadsByPrefix(_Scanning):
    """Keys are ids with a number behind them, and a range query finds all that begin alike."""

    def _takes(self, other: str) -> bool:
        return other.startswith(self.session_id)


@mutant("ISO-2", hardness="data", operations=2)
class ReadsByLike(TableHistory):
    """WHERE session_id LIKE ?, with nothing escaped, and blind to case besides."""

    SELECT = TableHistory.SELECT.format(where="partition_name = :partition AND session_id LIKE :session_id")


@mutant("ISO-2", hardness="data", operations=2)
class IgnoresAccents(JsonHistory):
    """A collation that ends in _ai."""

    def _key(self) -> Hashable:
        decomposed = unicodedata.normalize("NFD", self.session_id)
        return (self.partition, "".join(char for char in decomposed if not unicodedata.combining(char)))


@mutant("ISO-2", hardness="data", operations=2)
class NormalisesIds(JsonHistory):
    """A file system, or a framework, that composes what it is given."""

    def _key(self) -> Hashable:
        return (self.partition, unicodedata.normalize("NFC", self.session_id))


@mutant("ISO-2", hardness="data", operations=2)
class StripsIds(JsonHistory):
    """Ids are tidied as form fields are."""

    def _key(self) -> Hashable:
        return (self.partition, self.session_id.strip())


@mutant("ISO-2", hardness="data", operations=2)
class PadsIds(JsonHistory):
    """A CHAR column, which knows nothing of trailing spaces."""

    def _key(self) -> Hashable:
        return (self.partition, self.session_id.rstrip(" "))


@mutant("ISO-2", hardness="data", operations=2)
class ReadsIdsAsNumbers(TableHistory):
    """A column with numeric affinity, in which 01, 1.0 and 1 are one."""

    CREATE = TableHistory.CREATE.replace("session_id TEXT", "session_id NUMERIC")


class _CutsIds(JsonHistory):
    length: int

    def _key(self) -> Hashable:
        return (self.partition, self.session_id[: self.length])


@mutant("ISO-2", hardness="data", operations=2)
class CutsIdsAt64(_CutsIds):
    """A column made for hashes, in a database that truncates and warns nobody."""

    length = 64


@mutant("ISO-2", hardness="data", operations=2)
class CutsIdsAt255(_CutsIds):
    """VARCHAR(255)."""

    length = 255


@mutant("ISO-2", hardness="data", operations=2)
class CutsIdsAt1024(_CutsIds):
    """The longest key that an index holds."""

    length = 1024


@mutant("ISO-2", hardness="data", operations=2)
class DropsTheFragment(JsonHistory):
    """Ids become part of a URL, and what follows a # never reaches the server."""

    def _key(self) -> Hashable:
        return (self.partition, self.session_id.split("#")[0])


@mutant("ISO-2", hardness="data", operations=2)
class DecodesPercentSigns(JsonHistory):
    """Ids become part of a URL, and the server decodes what the client never encoded."""

    def _key(self) -> Hashable:
        return (self.partition, unquote(self.session_id))


@mutant("ISO-2", "ISO-5", hardness="data", operations=2)
class SlugsIds(JsonHistory):
    """Ids are file names, so everything odd becomes an underscore."""

    def _key(self) -> Hashable:
        return (self.partition, re.sub(r"[^\w.-]", "_", self.session_id))


@mutant("ISO-2", "ISO-1", "ISO-5", hardness="data", operations=2)
class ReadsThroughAWildcard(_Scanning):
    """KEYS with the session id as its pattern: a * in it finds everybody's messages."""

    def _takes(self, other: str) -> bool:
        pattern = ".*".join(map(re.escape, self.session_id.split("*")))
        return re.fullmatch(pattern, other, re.DOTALL) is not None


@mutant("ISO-2", hardness="data", operations=2)
class ComparesTheEndsOfLongIds(JsonHistory):
    """Ids of more than 512 characters keep 200 at each end, and their length."""

    def _key(self) -> Hashable:
        long = len(self.session_id) > 512
        return (
            (self.partition, self.session_id[:200], self.session_id[-200:], len(self.session_id))
            if long
            else (
                self.partition,
                self.session_id,
            )
        )


@mutant("ISO-2", hardness="data", operations=2)
class DropsLeadingDots(JsonHistory):
    """So that no session becomes a hidden file."""

    def _key(self) -> Hashable:
        return (self.partition, self.session_id.lstrip("."))


@mutant("ISO-2", "ISO-1", "CLR-4", "ISO-4", hardness="data", operations=3)
class WritesBesideAndRenames(JsonHistory):
    """A session is written under its name with ".tmp" first, whoever has that name."""

    def _put(self, items: list[Any]) -> None:
        beside = (self.partition, f"{self.session_id}.tmp")
        self.store.lists[beside] = items
        super()._put(self.store.lists.pop(beside))


# ISO-3


@mutant("ISO-3", hardness="stateful", operations=2)
class LoadsOnceWhenOpened(JsonHistory):
    """The constructor reads the history, and the property serves it from then on."""

    claims = PLAIN

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._loaded = self._items()

    def _shown(self, items: list[Any]) -> list[Any]:
        return self._loaded

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self._loaded = [*self._loaded, *items]

    def _erase(self) -> None:
        super()._erase()
        self._loaded = []


@mutant("ISO-3", hardness="stateful", operations=2)
class LeavesTheThirdHandleBehind(JsonHistory):
    """Two connections go to the primary; the third goes to a replica that follows only when written to."""

    claims = PLAIN
    _replica: list[Any] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        opened = self.store.notes.get(("opened", self._key()), 0) + 1
        self.store.notes["opened", self._key()] = opened
        self._replica = self._items() if opened == 3 else None

    def _shown(self, items: list[Any]) -> list[Any]:
        return items if self._replica is None else self._replica

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self._follow()

    def _erase(self) -> None:
        super()._erase()
        self._follow()

    def _follow(self) -> None:
        if self._replica is not None:
            self._replica = self._items()


@mutant("ISO-3", "ERR-2", "RUN-2", hardness="stateful", operations=2)
class BuffersItsLastBatch(JsonHistory):
    """Writes are gathered in the handle, and sent when it is used next."""

    claims = PLAIN
    _buffer: tuple[Any, ...] = ()

    def _items(self) -> list[Any]:
        buffered, self._buffer = self._buffer, ()
        if buffered:
            super()._append(list(buffered))
        return super()._items()

    def _append(self, items: list[Any]) -> None:
        self._items()
        self._buffer = tuple(items)

    def _erase(self) -> None:
        self._buffer = ()
        super()._erase()


@mutant("ISO-3", "RUN-2", hardness="stateful", operations=2)
class ReadsFromWhenItWasOpened(JsonHistory):
    """A stream read from $, that is, from now on."""

    claims = PLAIN

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._skipped = self._items()

    def _shown(self, items: list[Any]) -> list[Any]:
        known = len(self._skipped)
        return items[known:] if known and items[:known] == self._skipped else items


# ISO-4


@mutant("ISO-4", hardness="obvious", operations=1)
class ReturnsNoneForAnUnwrittenSession(JsonHistory):
    """A get without a default."""

    def _read(self) -> Steps[Any]:
        messages = yield from super()._read()
        return messages if self._key() in self.store.lists or self._cleared() else None

    def _cleared(self) -> bool:
        return ("cleared", self._key()) in self.store.notes

    def _erase(self) -> None:
        super()._erase()
        self.store.notes["cleared", self._key()] = True


@mutant("ISO-4", "RUN-1", "RUN-3", hardness="obvious", operations=1)
class GreetsANewSession(JsonHistory):
    """The first look at a session writes its system prompt."""

    def _shown(self, items: list[Any]) -> list[Any]:
        if not items and ("greeted", self._key()) not in self.store.notes:
            items = [self._dump(SystemMessage("You are a helpful assistant."))]
            self._put(items)
        return items

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes["greeted", self._key()] = True

    def _erase(self) -> None:
        super()._erase()
        self.store.notes["greeted", self._key()] = True


@mutant("ISO-4", "ISO-3", hardness="stateful", operations=3)
class RemembersThatItWasEmpty(JsonHistory):
    """A handle that found nothing doesn't look again: a negative cache."""

    claims = PLAIN
    _empty = False

    def _shown(self, items: list[Any]) -> list[Any]:
        self._empty = self._empty or not items
        return [] if self._empty else items

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self._empty = False


@mutant("ISO-4", "CLR-2", "CLR-1", hardness="stateful", operations=2)
class MarksAClearOfNothing(JsonHistory):
    """A clear updates the row, and makes one where there is none."""

    def _clear(self) -> Steps[None]:
        unwritten = self._key() not in self.store.lists
        yield from super()._clear()
        if unwritten:
            self._put([self._dump(SystemMessage(""))])


# ISO-5


@mutant("ISO-5", "ISO-2", "ISO-6", hardness="data", operations=2)
class ClimbsOutOfItsFolder(JsonHistory):
    """Partition and id become a path, which is resolved."""

    def _key(self) -> Hashable:
        return posixpath.normpath(f"/data/{self.partition}/{self.session_id}")


@mutant("ISO-5", "ISO-2", hardness="data", operations=2)
class CutsIdsAtNul(JsonHistory):
    """A client in C takes the id for a string that ends at its first NUL."""

    def _key(self) -> Hashable:
        return (self.partition, self.session_id.split("\0")[0])


@mutant("ISO-5", "ISO-2", hardness="data", operations=2)
class CutsIdsAtANewline(JsonHistory):
    """A protocol of lines, and an id that is two of them."""

    def _key(self) -> Hashable:
        return (self.partition, re.split(r"[\r\n]", self.session_id)[0])


@mutant("ISO-5", "ISO-1", hardness="data", operations=2)
class TakesAnEmptyIdForAll(_Scanning):
    """An empty id is no filter."""

    def _takes(self, other: str) -> bool:
        return self.session_id in ("", other)


@mutant("ISO-5", "ISO-1", hardness="data", operations=2)
class TakesAnEmptyIdForDefault(JsonHistory):
    """session_id or "default"."""

    def _key(self) -> Hashable:
        return (self.partition, self.session_id or "default")


@mutant("ISO-5", "ERR-2", hardness="data", operations=2)
class RefusesAnIdTooLate(JsonHistory):
    """Ids with control characters are found out only by the audit log, after the write."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from super()._add(items)
        if any(char < " " for char in self.session_id):
            raise ValueError(f"session {self.session_id!r}: control characters are not allowed in ids")


# ISO-6


@mutant("ISO-6", hardness="data", operations=2)
class IgnoresPartitions(JsonHistory):
    """The table name is accepted, and the default one is used."""

    def _key(self) -> Hashable:
        return ("", self.session_id)


@mutant("ISO-6", "ISO-2", hardness="data", operations=2)
class JoinsPartitionAndIdByAColon(JsonHistory):
    """f"{prefix}:{session_id}", and both may hold a colon."""

    def _key(self) -> Hashable:
        return f"{self.partition}:{self.session_id}"


@mutant("ISO-6", hardness="data", operations=2)
class FoldsPartitionCase(JsonHistory):
    """Names of tables are not case-sensitive."""

    def _key(self) -> Hashable:
        return (self.partition.lower(), self.session_id)


@mutant("ISO-6", "CLR-4", hardness="stateful", operations=3)
class ClearsEveryPartition(JsonHistory):
    """Clear is the one statement that forgot the table name."""

    def _clear(self) -> Steps[None]:
        yield from super()._clear()
        for key in list(self.store.lists):
            if key[1] == self.session_id:
                del self.store.lists[key]


@mutant("ISO-6", hardness="stateful", operations=2)
class RemembersTheFirstPartitionOfASession(JsonHistory):
    """The table object is cached under the session alone."""

    def _key(self) -> Hashable:
        first = self.store.notes.setdefault(("partition", self.session_id), self.partition)
        return (first, self.session_id)


@mutant("ISO-6", hardness="data", operations=2)
class CutsTableNames(JsonHistory):
    """A server that takes 63 bytes of a name, and says nothing of the rest."""

    def _key(self) -> Hashable:
        return (self.partition.encode("utf-8", "surrogatepass")[:63], self.session_id)


@mutant("ISO-6", "ASY-1", hardness="data", operations=3)
class ClearsTheDefaultTableInAsync(JsonHistory):
    """aclear makes a handle of its own, and forgets to name the table."""

    @override
    async def aclear(self) -> None:
        self.partition, partition = "", self.partition
        try:
            await super().aclear()
        finally:
            self.partition = partition


# ISO-7


@mutant("ISO-7", "ATM-1", hardness="stateful", operations=3)
class RollsBackOthers(TableHistory):
    """One connection, committed only by reads, and rolled back whole when a message is refused."""

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.store.lock:
            if not self.store.connection.in_transaction:
                self.store.connection.execute("BEGIN")
            yield

    def _read(self) -> Steps[list[BaseMessage]]:
        messages = yield from super()._read()
        with self.store.lock:
            self.store.connection.commit()
        return messages

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        with self.store.lock:
            self.store.connection.rollback()
        super()._refuse(kind, cause)


@mutant("ISO-7", "ISO-1", hardness="stateful", operations=3)
class SendsARefusedBatchToTheNext(JsonHistory):
    """The good part of a refused batch stays in the shared pipeline, and leaves with another's command."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        items: list[Any] = []
        try:
            items.extend(self._encode_one(message) for message in self._batch(messages))
        except ValueError:
            self.store.notes["left"] = (self.session_id, items)
            raise
        return items

    def _append(self, items: list[Any]) -> None:
        owner, left = self.store.notes.pop("left", ("", []))
        super()._append([*(left if owner != self.session_id else []), *items])


@mutant("ISO-7", "ASY-4", hardness="stateful", operations=3)
class LosesALockThatTimesOut(JsonHistory):
    """A cancelled call passes by `except Exception`, which gives back the lock; others wait for it and give up."""

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._alone(super()._add(items))

    def _read(self) -> Steps[list[BaseMessage]]:
        return (yield from self._alone(super()._read()))

    def _clear(self) -> Steps[None]:
        yield from self._alone(super()._clear())

    def _alone(self, steps: Steps[T]) -> Steps[T]:
        lock = self.store.notes.setdefault("lock", threading.Lock())
        deadline = time.monotonic() + 1.5
        while not lock.acquire(blocking=False):
            if time.monotonic() > deadline:
                raise TimeoutError(f"session {self.session_id!r}: the store is locked")
            yield 0.0005
        try:
            result = yield from steps
        except Exception:
            lock.release()
            raise
        lock.release()
        return result


# Nobody had thought of the mutants below, and the suite missed them, until somebody who didn't know it planted them.


@mutant("ISO-1", "ISO-3", "CON-1", "RUN-2", hardness="stateful", operations=102)
class ForgetsTheLeastUsedSession(JsonHistory):
    """A cache of the hundred sessions used last, taken for the store."""

    def _items(self) -> list[Any]:
        used = self.store.notes.setdefault("used", [])
        used[:] = [*(key for key in used if key != self._key()), self._key()]
        for key in used[:-100]:
            self.store.lists.pop(key, None)
        return super()._items()


@mutant("ISO-1", "ISO-2", "ISO-4", "RUN-2", hardness="data", operations=3)
class NamesPlacesByAShortHash(JsonHistory):
    """Sessions are spread over 256 places, and each is the only one in its own."""

    def _key(self) -> Hashable:
        return self.partition, sha256(self.session_id.encode("utf-8", "surrogatepass")).digest()[0]


@mutant("ISO-1", "ISO-3", "ISO-4", "ISO-2", hardness="stateful", operations=4)
class RemembersHandlesByTheirAddress(JsonHistory):
    """What a handle has read is remembered under its id() until something is written; the next may stand there."""

    def _items(self) -> list[Any]:
        written, items = self.store.notes.setdefault("remembered", {}).get(id(self), (None, []))
        if written != self.store.notes.get("written", 0):
            items = super()._items()
            self.store.notes["remembered"][id(self)] = self.store.notes.get("written", 0), items
        return list(items)

    def _append(self, items: list[Any]) -> None:
        self._put([*super()._items(), *items])

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes["written"] = self.store.notes.get("written", 0) + 1

    def _erase(self) -> None:
        super()._erase()
        self.store.notes["written"] = self.store.notes.get("written", 0) + 1


@mutant("ISO-2", "ISO-1", "ISO-5", hardness="data", operations=2)
class EncodesDelimitersOnly(JsonHistory):
    """Slashes are percent-encoded, percent signs are not."""

    def _key(self) -> Hashable:
        return self.partition, self.session_id.replace("/", "%2F")


@mutant("ISO-2", "ISO-1", "ISO-5", hardness="data", operations=2)
class ReplacesSurrogatesInIds(JsonHistory):
    """Ids are encoded with errors="replace"."""

    def _key(self) -> Hashable:
        return self.partition, self.session_id.encode("utf-8", "replace")


@mutant("ISO-1", "ATM-2", "CON-1", "CON-2", "CON-3", "ASY-5", "ISO-7", hardness="timing", operations=1)
class SharesTheSessionOfItsClient(JsonHistory):
    """All handles share a client, which is told the session of each call; another call may tell it another."""

    claims = PLAIN

    def _add(self, items: list[Any]) -> Steps[None]:
        self.store.notes["current"] = (self.partition, self.session_id)
        yield 0.0005
        with self._transaction():
            self._put([*self.store.lists.get(self._key(), ()), *items])

    def _key(self) -> Hashable:
        return self.store.notes.get("current", (self.partition, self.session_id))  # type: ignore[no-any-return]

    def _read(self) -> Steps[list[BaseMessage]]:
        self.store.notes["current"] = (self.partition, self.session_id)
        return (yield from super()._read())

    def _clear(self) -> Steps[None]:
        self.store.notes["current"] = (self.partition, self.session_id)
        yield from super()._clear()

    def _replace(self, items: list[Any]) -> Steps[None]:
        self.store.notes["current"] = (self.partition, self.session_id)
        yield from super()._replace(items)


@mutant("ISO-1", "ISO-7", "ASY-4", hardness="timing", operations=1)
class SharesTheSessionOfItsAsyncClient(JsonHistory):
    """The same in async adds alone: the session is noted before the first await, and looked up after it."""

    claims = PLAIN

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        items = self._encode(messages)
        self.store.notes["current"] = self.session_id
        await asyncio.sleep(0)
        meant = type(self)(self.store.notes["current"], self.store, partition=self.partition)
        await meant._arun(meant._add(items))


@mutant("CON-1", "CON-2", "CON-3", "CON-4", hardness="timing", operations=1)
class ForgetsLocksThatAreInUse(JsonHistory):
    """A lock for each session, of which the two used last are kept, whoever may hold the others."""

    claims = PLAIN

    def _add(self, items: list[Any]) -> Steps[None]:
        with self._lock_of_the_session():
            before = self._items()
            time.sleep(0.0003)
            self._put([*before, *items])
        yield 0.0

    def _lock_of_the_session(self) -> Any:
        with self.store.lock:
            locks = self.store.notes.setdefault("locks", {})
            lock = locks.pop(self._key(), None) or threading.RLock()
            locks[self._key()] = lock
            for key in list(locks)[:-2]:
                del locks[key]
            return lock


@mutant("ISO-7", "ERR-3", "ORD-5", "ATM-1", hardness="data", operations=3)
class KeepsTheLockOfABrokenIterable(JsonHistory):
    """The store's lock is taken before the argument is read, and is not given back by every error of that."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if self.store.notes.get("locked"):
            raise TimeoutError(f"session {self.session_id!r}: the store is locked")
        try:
            return super()._batch(messages)
        except (TypeError, ValueError):
            raise
        except Exception:
            self.store.notes["locked"] = True
            raise


class _CountsVersions(JsonHistory):
    """A handle keeps what it has read while the number of the session's version is the same."""

    numbers: ClassVar[int]
    _kept: tuple[int, list[Any]] | None = None

    def _version(self) -> int:
        return self.store.notes.get(("version", self._key()), 0)  # type: ignore[no-any-return]

    def _shown(self, items: list[Any]) -> list[Any]:
        if self._kept is None or self._kept[0] != self._version():
            self._kept = (self._version(), items)
        return self._kept[1]

    def _has_changed(self) -> None:
        self.store.notes["version", self._key()] = (self._version() + 1) % self.numbers
        self._kept = None

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self._has_changed()

    def _erase(self) -> None:
        super()._erase()
        self._has_changed()


@mutant("ISO-3", "CLR-3", "CLR-1", "CON-1", "SNP-5", "CON-3", hardness="stateful", operations=6)
class CountsVersionsInTwoBits(_CountsVersions):
    """Four writes by another handle are none."""

    numbers = 4


@mutant("ISO-3", "CLR-3", "CON-1", "CON-3", "ORD-7", hardness="stateful", operations=258)
class CountsVersionsInAByte(_CountsVersions):
    """256 writes by another handle are none."""

    numbers = 256


@mutant("ISO-6", hardness="data", operations=4)
class CountsCapitals(JsonHistory):
    """Names of tables have no case, so the number of capitals is added to each."""

    def _key(self) -> Hashable:
        capitals = sum(letter.isupper() for letter in self.partition)
        return (f"{self.partition.lower()}{capitals}", self.session_id)


class _Held(list[Any]):
    """The items of a session, to which weak references can be had."""


@mutant("ISO-3", "CON-1", "CON-3", "RUN-2", hardness="stateful", operations=2)
class LivesAsLongAsAHandle(JsonHistory):
    """The items are in the handles; the store finds them there, by weak references, while there is one."""

    claims = PLAIN

    def __init__(self, session_id: str, store: Any, **options: Any) -> None:
        super().__init__(session_id, store, **options)
        with store.lock:
            sessions = store.notes.setdefault("sessions", weakref.WeakValueDictionary())
            self._held = sessions.setdefault(self._key(), _Held())

    def _items(self) -> list[Any]:
        return list(self._held)

    def _put(self, items: list[Any]) -> None:
        self._held[:] = items

    def _erase(self) -> None:
        self._held.clear()


@mutant("ISO-1", "ORD-3", hardness="data", operations=3)
class HasOneOwnerForEachMessageId(JsonHistory):
    """The id of a message is the primary key over all sessions; what is another's already is skipped."""

    def _append(self, items: list[Any]) -> None:
        owners = self.store.notes.setdefault("owners", {})
        ids = [self._load(item).id for item in items]
        free = [identity is None or owners.setdefault(identity, self._key()) == self._key() for identity in ids]
        super()._append(list(itertools.compress(items, free)))


@mutant("ORD-3", "ISO-1", hardness="data", operations=2)
class KeepsTextsByMessageId(JsonHistory):
    """What is stored of a message is cached by its class and id, for all sessions: "it can't have changed"."""

    def _append(self, items: list[Any]) -> None:
        texts = self.store.notes.setdefault("texts", {})
        super()._append([self._cached(texts, item) for item in items])

    def _cached(self, texts: dict[Any, Any], item: Any) -> Any:
        message = self._load(item)
        return texts.setdefault((message.type, message.id), item) if message.id else item


@mutant("ISO-1", hardness="stateful", operations=258)
class KeepsThe256SessionsWrittenLast(JsonHistory):
    """Whoever writes to one session more takes away the one that nobody has written to for longest."""

    def _put(self, items: list[Any]) -> None:
        self.store.lists.pop(self._key(), None)
        super()._put(items)
        if len(self.store.lists) > 256:
            del self.store.lists[next(iter(self.store.lists))]


@mutant("ISO-6", "CLR-4", hardness="stateful", operations=3)
class ClearsEverywhereIfThereIsNothing(JsonHistory):
    """A clear that finds nothing in its partition takes the id for one of all partitions."""

    def _erase(self) -> None:
        if self._key() not in self.store.lists:
            for key in [key for key in self.store.lists if key[1] == self.session_id]:
                del self.store.lists[key]
        super()._erase()
