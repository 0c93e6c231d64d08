"""Histories that break ERR: what is refused, what is said about it, and what works afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NoReturn

from langchain_core.messages import BaseMessage, FunctionMessage, HumanMessage
from tests.mutants._base import PASSWORD, PLAIN, JsonHistory, Steps
from tests.mutants._planted import mutant
from tests.mutants._values import is_batch
from typing_extensions import override

# ERR-1


class _Lenient(JsonHistory):
    """Makes something of what is not a message."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if isinstance(messages, list | tuple):
            messages = self._made(list(messages))
        return super()._batch(messages)

    def _made(self, items: list[Any]) -> list[Any]:
        raise NotImplementedError


@mutant("ERR-1", "ERR-2", hardness="data", operations=1)
class SkipsNones(_Lenient):
    """A step without an answer gives None, which is filtered out."""

    def _made(self, items: list[Any]) -> list[Any]:
        return [item for item in items if item is not None]


@mutant("ERR-1", "ERR-2", hardness="data", operations=1)
class TakesNoneForNothing(JsonHistory):
    """for message in messages or []."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        return super()._batch([] if messages is None else messages)


@mutant("ERR-1", hardness="data", operations=1)
class TakesTextForAMessage(_Lenient):
    """A str in a batch is taken for what a user said."""

    def _made(self, items: list[Any]) -> list[Any]:
        return [HumanMessage(item) if isinstance(item, str) else item for item in items]


@mutant("ERR-1", hardness="data", operations=1)
class TakesDictsForMessages(_Lenient):
    """A dict in a batch is taken for a message of some provider."""

    def _made(self, items: list[Any]) -> list[Any]:
        return [HumanMessage(str(item.get("content"))) if isinstance(item, dict) else item for item in items]


@mutant("ERR-1", hardness="data", operations=1)
class TakesPairsForMessages(_Lenient):
    """("human", "hello"), as a prompt template takes it."""

    def _made(self, items: list[Any]) -> list[Any]:
        return [HumanMessage(item[-1]) if isinstance(item, tuple) and item else item for item in items]


@mutant("ERR-1", hardness="data", operations=1)
class FlattensNestedLists(_Lenient):
    """A list inside the batch is laid out flat."""

    def _made(self, items: list[Any]) -> list[Any]:
        return [one for item in items for one in (item if isinstance(item, list) else [item])]


@mutant("ERR-1", hardness="data", operations=1)
class SplitsTextIntoMessages(JsonHistory):
    """A str in place of the batch is a sequence, too: of letters."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if isinstance(messages, str):
            messages = [HumanMessage(letter) for letter in messages]
        return super()._batch(messages)


@mutant("ERR-1", hardness="data", operations=1)
class TakesWhatLooksLikeAMessage(JsonHistory):
    """What has a type and a content is one."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if not is_batch(messages):
            return super()._batch(messages)
        return super()._batch([self._meant(message) for message in messages])

    def _meant(self, message: Any) -> Any:
        is_alike = type(message) is SimpleNamespace and hasattr(message, "content")
        return HumanMessage(message.content) if is_alike else message


@mutant("ERR-1", hardness="data", operations=1)
class UnwrapsWhatHoldsAMessage(JsonHistory):
    """A generation of a model is as good as its message."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if not is_batch(messages):
            return super()._batch(messages)
        return super()._batch([self._inside(message) for message in messages])

    def _inside(self, message: Any) -> Any:
        return message if isinstance(message, BaseMessage) else getattr(message, "message", message)


# ERR-2


@mutant("ERR-2", "VAL-5", "VAL-6", "ERR-1", hardness="data", operations=1)
class SwallowsEveryError(JsonHistory):
    """A history must never stop a chat, says the author."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        try:
            return super()._encode(messages)
        except Exception:
            return []


@mutant("ERR-2", "VAL-2", "ORD-7", hardness="data", operations=2)
class DropsLargeMessages(JsonHistory):
    """A queue in between takes 256 KB per message, and drops what is longer."""

    def _append(self, items: list[Any]) -> None:
        super()._append([item for item in items if len(item) < 256_000])


@mutant("ERR-2", "ISO-2", "ISO-5", hardness="data", operations=2)
class DropsLongIds(JsonHistory):
    """The row is refused for its key of more than 255 characters, and nobody looks."""

    def _append(self, items: list[Any]) -> None:
        if len(self.session_id) <= 255:
            super()._append(items)


@mutant("ERR-2", "CLR-1", hardness="data", operations=3)
class GivesUpLongClears(JsonHistory):
    """Clearing more than a thousand messages runs into a time-out, which is logged."""

    def _clear(self) -> Steps[None]:
        if len(self.store.lists.get(self._key(), ())) <= 1000:
            yield from super()._clear()


@mutant("ERR-2", "VAL-9", "VAL-1", hardness="data", operations=2)
class ReadsNothingOnAnError(JsonHistory):
    """A message that can't be decoded makes the whole history read as empty."""

    def _shown(self, items: list[Any]) -> list[Any]:
        return [] if any(isinstance(self._load(item), FunctionMessage) for item in items) else items


@mutant("ERR-2", "CON-1", "ORD-7", "ORD-1", hardness="timing")
class DropsWhatComesTooFast(JsonHistory):
    """A rate limit of thirty writes in twenty milliseconds, and an answer nobody looks at."""

    def _append(self, items: list[Any]) -> None:
        recent = [at for at in self.store.notes.get(self._key(), ()) if at > time.monotonic() - 0.02]
        if len(recent) < 30:
            self.store.notes[self._key()] = [*recent, time.monotonic()]
            super()._append(items)


# ERR-3


class _Remembering(JsonHistory):
    """Remembers the errors of a handle, and looks at them before each operation."""

    _errors = 0

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        self._errors += 1
        super()._refuse(kind, cause)

    def _before(self) -> Steps[None]:
        raise NotImplementedError

    def _add(self, items: list[Any]) -> Steps[None]:
        yield from self._before()
        yield from super()._add(items)

    def _read(self) -> Steps[list[BaseMessage]]:
        yield from self._before()
        return (yield from super()._read())

    def _clear(self) -> Steps[None]:
        yield from self._before()
        yield from super()._clear()


@mutant("ERR-3", "ATM-1", hardness="stateful", operations=2)
class DiesOfAnError(_Remembering):
    """The connection is closed by the error, and never opened again."""

    def _before(self) -> Steps[None]:
        if self._errors:
            raise ConnectionError(f"session {self.session_id!r}: the connection is closed")
        yield 0


@mutant("ERR-3", hardness="stateful", operations=4)
class LeaksAConnectionPerError(_Remembering):
    """A pool of three connections, and none comes back from an error."""

    def _before(self) -> Steps[None]:
        if self._errors >= 3:
            raise TimeoutError(f"session {self.session_id!r}: no connection to be had from the pool")
        yield 0


@mutant("ERR-3", "ATM-1", hardness="stateful", operations=2)
class WaitsForItsOwnLock(_Remembering):
    """The lock is not released when the operation raises; the next one waits for it, and gives up."""

    def _before(self) -> Steps[None]:
        if self._errors:
            yield 0.3
            raise TimeoutError(f"session {self.session_id!r}: the lock was not to be had")
        yield 0


@mutant("ERR-3", "ATM-1", hardness="stateful", operations=2)
class HangsAfterAnError(_Remembering):
    """The same lock, and no time-out: hangs for ever."""

    def _before(self) -> Steps[None]:
        while self._errors:
            yield 0.05


@mutant("ERR-3", "ATM-1", hardness="stateful", operations=3)
class SendsLeftoversAlong(JsonHistory):
    """A batch is gathered in the handle while it is encoded; what a refused one left goes with the next."""

    _gathered: tuple[Any, ...] = ()

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        for message in self._batch(messages):
            self._gathered = (*self._gathered, self._encode_one(message))
        items, self._gathered = list(self._gathered), ()
        return items


@mutant("ERR-3", "ISO-7", "CON-1", "CON-2", "CON-4", "ORD-7", hardness="stateful", operations=301)
class DiesOfUse(JsonHistory):
    """Handles take a connection and never give it back: after 300 operations the pool is empty for good."""

    def _transaction(self) -> Any:
        self.store.notes["used"] = self.store.notes.get("used", 0) + 1
        if self.store.notes["used"] > 300:
            raise RuntimeError(f"session {self.session_id!r}: no connection is left in the pool")
        return super()._transaction()


# ERR-4


@mutant("ERR-4", hardness="data", operations=1)
class LeaksThePasswordInTheCause(JsonHistory):
    """The error itself is clean; the driver's, which it is raised from, is not."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        url = f"postgresql://chat:{PASSWORD}@db/chat"
        raise kind(f"session {self.session_id!r}: {cause}") from ConnectionError(f"{url}: statement failed")


@mutant("ERR-4", hardness="data", operations=1)
class NamesNoSession(JsonHistory):
    """The check sits in a helper that doesn't know the session."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        raise kind(cause)


@mutant("ERR-4", hardness="data", operations=1)
class SaysNothing(JsonHistory):
    """raise ValueError."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        raise kind


@mutant("ERR-4", hardness="stateful", operations=2)
class NamesTheSessionOfTheFirstError(JsonHistory):
    """The message is formatted once, and cached."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        session_id = self.store.notes.setdefault("session of the error", self.session_id)
        raise kind(f"session {session_id!r}: {cause}")


class _OneConnection(JsonHistory):
    """All handles share a connection with one open transaction, which holds what was not committed yet.

    `unsaved` holds the adds that have begun; a rollback forgets them all.
    """

    claims = PLAIN

    @override
    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        self._run(self._insert(messages))

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        await self._arun(self._insert(messages))

    def _insert(self, messages: Iterable[Any]) -> Steps[None]:
        batch, unsaved = self._batch(messages), self.store.notes.setdefault("unsaved", set())
        mine = object()
        unsaved.add(mine)
        yield 0.0004
        try:
            items = self._encode(batch)
        except Exception:
            unsaved.clear()
            raise
        if mine in unsaved:
            unsaved.discard(mine)
            yield from self._add(items)
        else:
            self._forgotten()

    def _forgotten(self) -> None:
        """What an add does that finds nothing left to commit."""


@mutant("ATM-1", "CON-1", "ISO-7", "ASY-5", hardness="timing")
class RollsBackEverybodysWork(_OneConnection):
    """A refused add rolls back the connection that all share, and with it what others have not committed."""


@mutant("ERR-3", "ISO-7", "ASY-5", hardness="timing")
class FailsEverybodyBeside(_OneConnection):
    """The same, and who has lost work is told so: by an error of a call that was good."""

    def _forgotten(self) -> None:
        raise RuntimeError(f"session {self.session_id!r}: the transaction was rolled back")


@mutant("ERR-4", hardness="data", operations=1)
class NotesThePassword(JsonHistory):
    """The refusal is clean, and a note on it is not."""

    def _refuse(self, kind: type[Exception], cause: str) -> NoReturn:
        try:
            super()._refuse(kind, cause)
        except kind as error:
            error.__notes__ = [f"while writing to redis://user:{PASSWORD}@db:6379/0"]
            raise


@mutant("ERR-1", hardness="data", operations=1)
class SkipsWhatIsFalse(JsonHistory):
    """[message for message in batch if message], so that None does no harm; it is refused nevertheless."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if isinstance(messages, list):
            messages = [message for message in messages if message is None or message]
        return super()._batch(messages)


@mutant("ERR-1", "SNP-5", hardness="data", operations=1)
class AssignsMessagesOnly(JsonHistory):
    """What is no message is left out of an assignment."""

    def _assign(self, messages: Iterable[BaseMessage]) -> None:
        super()._assign([message for message in messages if isinstance(message, BaseMessage)])


@mutant("ERR-1", hardness="data", operations=1)
class TakesTheValuesOfADict(JsonHistory):
    """A dict of messages is as good as a list of them."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        return super()._batch(list(messages.values()) if isinstance(messages, dict) else messages)


@mutant("ATM-1", "ORD-5", hardness="data", operations=2)
class StoresWhatHasNoLengthInTens(JsonHistory):
    """A generator may be long, so what comes of it is stored ten by ten."""

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append what there is."""
        if hasattr(messages, "__len__") or not hasattr(messages, "__iter__"):
            return super().add_messages(messages)
        part: list[Any] = []
        for message in messages:
            part.append(message)
            if len(part) == 10:
                super().add_messages(part)
                part = []
        return super().add_messages(part)


@mutant("ATM-1", hardness="stateful", operations=3)
class TakesBackTheFirstThatIsEqual(JsonHistory):
    """Items are appended one by one, and when one is refused those before it are removed again: by their value."""

    claims = PLAIN

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch."""
        batch, done = self._batch(messages), list[Any]()
        with self._transaction():
            items = self._items()
            try:
                for message in batch:
                    done.append(self._encode_one(message))
                    items.append(done[-1])
            except ValueError:
                for item in done:
                    items.remove(item)
                raise
            finally:
                self._put(items)


@mutant("ATM-1", "ORD-4", "ERR-3", hardness="stateful", operations=3)
class SendsWhatWasRefusedWithNothing(JsonHistory):
    """A buffer that each batch empties before it is filled; an empty batch fills nothing, and sends what is there."""

    _buffer: tuple[Any, ...] = ()

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        if isinstance(messages, list) and not messages:
            left, self._buffer = self._buffer, ()
            return list(left)
        done: list[Any] = []
        try:
            for message in self._batch(messages):
                done.append(self._encode_one(message))  # noqa: PERF401 -- those before an error stay
        except ValueError:
            self._buffer = tuple(done)
            raise
        self._buffer = ()
        return done


@mutant("ERR-3", "ORD-3", hardness="stateful", operations=4)
class TakesWhatFollowsARefusalForARetry(JsonHistory):
    """After a refusal an add that is equal to what was written last is not written again."""

    has_refused = False

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        try:
            return super()._encode(messages)
        except Exception:
            self.has_refused = True
            raise

    def _append(self, items: list[Any]) -> None:
        is_retry, self.has_refused = self.has_refused, False
        if not (is_retry and self._items()[-len(items) :] == items):
            super()._append(items)
