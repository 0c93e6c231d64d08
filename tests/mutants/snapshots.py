"""Histories that break SNP: what the caller holds, and what is stored, are not kept apart."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import Future
from copy import copy, deepcopy
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from tests.mutants._base import PLAIN, CorrectHistory, JsonHistory, Steps
from tests.mutants._late import LateList
from tests.mutants._planted import mutant
from typing_extensions import override


class _Live(CorrectHistory):
    """Keeps one list per session, and hands it out."""

    claims = PLAIN

    def _list(self) -> list[Any]:
        return self.store.lists.setdefault(self._key(), [])  # type: ignore[no-any-return]

    def _read(self) -> Steps[list[BaseMessage]]:
        yield self.store.latency
        return self._list()

    def _append(self, items: list[Any]) -> None:
        self._list().extend(items)


# SNP-1


@mutant("SNP-1", "SNP-2", hardness="stateful", operations=2)
class HandsOutItsList(_Live):
    """return self._messages."""


@mutant("SNP-1", "SNP-2", "ASY-1", hardness="stateful", operations=2)
class HandsOutItsListToAsyncReaders(_Live):
    """Only the property was mended when it was reported."""

    def _read(self) -> Steps[list[BaseMessage]]:
        messages = yield from super()._read()
        return deepcopy(messages)

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        return await self._arun(super()._read())


@mutant("SNP-1", "ISO-1", hardness="stateful", operations=2)
class SharesItsListAmongReaders(JsonHistory):
    """Reads that find nothing all get one empty list."""

    def _read(self) -> Steps[list[BaseMessage]]:
        messages = yield from super()._read()
        return messages or self.store.notes.setdefault("nothing", [])


@mutant("SNP-1", "CON-4", hardness="stateful", operations=3)
class FetchesWhenLookedAt(JsonHistory):
    """Reads return a list that asks the store when it is first looked at, which may be after the next add."""

    def _read(self) -> Steps[list[BaseMessage]]:
        yield self.store.latency
        return LateList(self._fetched)

    def _fetched(self) -> list[BaseMessage]:
        with self._transaction():
            return [self._load(item) for item in self._shown(self._items())]


# SNP-2


@mutant("SNP-2", "SNP-1", hardness="data", operations=3)
class HandsOutShallowCopies(CorrectHistory):
    """message.model_copy(): the content list, the tool calls and the dicts are shared."""

    def _load(self, item: Any) -> BaseMessage:
        return item.model_copy()  # type: ignore[no-any-return]


@mutant("SNP-2", "SNP-1", hardness="data", operations=3)
class SharesWhatIsDeep(CorrectHistory):
    """A copy by hand reaches the lists and dicts of a message, and not what is inside those."""

    def _load(self, item: Any) -> BaseMessage:
        message: BaseMessage = item.model_copy()
        for name, value in message.__dict__.items():
            message.__dict__[name] = copy(value)
        return message


@mutant("SNP-2", "SNP-1", hardness="stateful", operations=3)
class CachesDecodedMessages(JsonHistory):
    """Decoding is slow, so decoded messages are kept, and put into a new list each time."""

    def _load(self, item: Any) -> BaseMessage:
        key = (self._key(), item)
        if key not in self.store.notes:
            self.store.notes[key] = super()._load(item)
        return self.store.notes[key]  # type: ignore[no-any-return]


@mutant("SNP-2", "SNP-1", hardness="data", operations=3)
class RemembersLargeMessagesDecoded(JsonHistory):
    """What is longer than 8 KB is decoded once, and handed out again, in whatever session it stands."""

    def _load(self, item: Any) -> BaseMessage:
        if len(item) < 8_192:
            return super()._load(item)
        return self.store.notes.setdefault(item, super()._load(item))  # type: ignore[no-any-return]


# SNP-3


@mutant("SNP-3", hardness="data", operations=2)
class KeepsShallowCopies(CorrectHistory):
    """message.model_copy() on the way in."""

    def _dump(self, message: BaseMessage) -> Any:
        super()._dump(message)
        return message.model_copy()


@mutant("SNP-3", hardness="data", operations=2)
class SharesToolArguments(CorrectHistory):
    """The dump copies everything but the arguments, which come from the parser as they are."""

    def _dump(self, message: BaseMessage) -> Any:
        item = super()._dump(message)
        for mine, theirs in zip(getattr(item, "tool_calls", []), getattr(message, "tool_calls", []), strict=True):
            mine["args"] = theirs["args"]
        return item


@mutant("SNP-3", hardness="stateful", operations=2)
class EncodesAtTheFirstRead(CorrectHistory):
    """Writes wait in memory as they are, until somebody reads."""

    def _dump(self, message: BaseMessage) -> Any:
        super()._dump(message)
        return message

    def _shown(self, items: list[Any]) -> list[Any]:
        if self._key() in self.store.lists:
            self.store.lists[self._key()] = deepcopy(items)
        return items


@mutant("SNP-3", hardness="stateful", operations=2)
class KeepsItsLastMessageOpen(CorrectHistory):
    """The last message may still be streaming, so it is encoded when the next one comes."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        batch = self._batch(messages)
        return [*super()._encode(batch)[:-1], *batch[-1:]]

    def _append(self, items: list[Any]) -> None:
        self._put([*deepcopy(self._items()), *items])


@mutant("SNP-3", "SNP-5", "SNP-2", hardness="stateful", operations=2)
class KeepsWhatWasAssigned(CorrectHistory):
    """An assignment keeps the caller's messages."""

    claims = PLAIN

    def _assign(self, messages: Iterable[BaseMessage]) -> None:
        batch = self._batch(messages)
        self._encode(batch)
        self._run(self._replace(batch))


@mutant("SNP-3", "ORD-6", hardness="stateful", operations=2)
class KeepsWhatAUserSaid(CorrectHistory):
    """add_user_message takes a message as it is."""

    claims = PLAIN

    def add_user_message(self, message: HumanMessage | str) -> None:
        """Append a human message."""
        if isinstance(message, HumanMessage):
            self._encode([message])
            self._run(self._add([message]))
        else:
            super().add_user_message(message)


# SNP-4


@mutant("SNP-4", hardness="obvious", operations=1)
class StampsTheArgument(JsonHistory):
    """response_metadata is a handy place for a time stamp."""

    def _encode_one(self, message: BaseMessage) -> Any:
        item = super()._encode_one(message)
        message.response_metadata["stored_at"] = 0
        return item


@mutant("SNP-4", hardness="obvious", operations=1)
class EmptiesTheBatch(JsonHistory):
    """while messages: messages.pop(0)."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        batch = super()._batch(messages)
        if isinstance(messages, list):
            messages.clear()
        return batch


@mutant("SNP-4", hardness="data", operations=1)
class ReversesTheBatch(JsonHistory):
    """messages.reverse(), for a store that is pushed at its head."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        batch = super()._batch(messages)
        if isinstance(messages, list):
            messages.reverse()
        return batch


@mutant("SNP-4", hardness="data", operations=1)
class TakesTheArgumentApart(JsonHistory):
    """tool_calls go to a table of their own, and are popped from the message on the way."""

    def _encode_one(self, message: BaseMessage) -> Any:
        item = super()._encode_one(message)
        getattr(message, "tool_calls", []).clear()
        return item


@mutant("SNP-4", "ATM-1", hardness="data", operations=1)
class LeavesItsMarksInWhatItRefuses(JsonHistory):
    """Messages get a number while they are encoded, which is taken away at the end, if that is reached."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        batch = self._batch(messages)
        items = []
        for number, message in enumerate(batch):
            items.append(self._encode_one(message))
            message.response_metadata["number"] = number
        for message in batch:
            message.response_metadata.pop("number", None)
        return items


# SNP-5


@mutant("SNP-5", hardness="obvious", operations=2)
class IgnoresAssignment(JsonHistory):
    """The base class declares an attribute, so there is a setter, and nothing in it."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency


@mutant("SNP-5", hardness="stateful", operations=3)
class AddsWhatAnAssignmentHasNew(JsonHistory):
    """The setter writes what the store hasn't got yet, and deletes nothing."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            kept = self._items()
            self._append([item for item in items if item not in kept])


@mutant("SNP-5", hardness="stateful", operations=3)
class IgnoresAnEmptyAssignment(JsonHistory):
    """if messages: in the setter."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        if items:
            yield from super()._replace(items)


@mutant("SNP-5", "ISO-3", hardness="stateful", operations=2)
class KeepsAnAssignmentToItself(JsonHistory):
    """The setter sets what the handle shows, and the store never hears of it."""

    claims = PLAIN
    _own: list[Any] | None = None

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        self._own = items

    def _shown(self, items: list[Any]) -> list[Any]:
        return items if self._own is None else self._own

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self._own = None if self._own is None else [*self._own, *items]

    def _erase(self) -> None:
        super()._erase()
        self._own = None


@mutant("SNP-5", "ISO-3", hardness="stateful", operations=4)
class ComparesLengthAndEnds(JsonHistory):
    """A handle's cache is thought to be good while the number of messages, the first and the last are the same."""

    _known: tuple[Any, list[Any]] | None = None

    def _shown(self, items: list[Any]) -> list[Any]:
        stamp = (len(items), items[:1], items[-1:])
        if self._known is None or self._known[0] != stamp:
            self._known = (stamp, items)
        return list(self._known[1])


@mutant("SNP-5", "ISO-3", "CON-1", hardness="stateful", operations=4)
class AddsToTheListThatWasReplaced(JsonHistory):
    """A handle holds on to the list it has added to; an assignment through another makes a new one."""

    claims = PLAIN
    _list: list[Any] | None = None

    def _append(self, items: list[Any]) -> None:
        if self._list is None:
            self._list = self.store.lists.setdefault(self._key(), [])
        self._list.extend(items)

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            self._list = self.store.lists[self._key()] = list(items)

    def _clear(self) -> Steps[None]:
        yield self.store.latency
        with self._transaction():
            self.store.lists.setdefault(self._key(), []).clear()


@mutant("SNP-5", "CLR-3", "ISO-3", hardness="stateful", operations=3)
class ArchivesByAnEmptyAssignment(JsonHistory):
    """What is replaced by nothing is marked as archived, and a later add doesn't take the mark away."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield from super()._replace(items)
        self.store.notes["archived", self._key()] = not items

    def _clear(self) -> Steps[None]:
        yield from super()._clear()
        self.store.notes.pop(("archived", self._key()), None)

    def _shown(self, items: list[Any]) -> list[Any]:
        return [] if self.store.notes.get(("archived", self._key())) else items


# SNP-6


@mutant("SNP-6", "SNP-1", "SNP-2", hardness="stateful", operations=2)
class GrowsWhileItIsWalked(_Live):
    """for message in messages: self._messages.append(message), given its own list. Gives up at 5,000."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if messages is not self._list():
            return super()._batch(messages)
        for message in messages:
            self._list().append(message)
            if len(self._list()) > 5000:
                raise MemoryError(f"session {self.session_id!r}: out of memory")
        return []


class _Lazy(list[BaseMessage]):
    """Takes the store's lock whenever it is walked."""

    lock: Any

    def __iter__(self) -> Iterator[BaseMessage]:
        if not self.lock.acquire(timeout=0.3):
            raise TimeoutError("the lock of the store was not to be had")
        self.lock.release()
        return super().__iter__()


@mutant("SNP-6", hardness="stateful", operations=1)
class LocksItselfOut(JsonHistory):
    """A lazy list takes the lock when it is walked, and an add that walks it holds the lock already."""

    def _read(self) -> Steps[list[BaseMessage]]:
        messages = yield from super()._read()
        lazy = _Lazy(messages)
        lazy.lock = self.store.lock
        return lazy

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        with self._transaction():
            return super()._encode(messages)


# The mutants below were missed when the suite first met them.


@mutant("SNP-4", "VAL-3", hardness="data", operations=1)
class TakesTheParsedOut(JsonHistory):
    """What a structured output was parsed to can't be stored, so it is popped from the message, the caller's."""

    def _encode_one(self, message: BaseMessage) -> Any:
        message.additional_kwargs.pop("parsed", None)
        return super()._encode_one(message)


@mutant("SNP-5", hardness="stateful", operations=4)
class BringsBackTheArchive(JsonHistory):
    """clear moves the session to an archive, and an empty assignment after it reads `new or archived`."""

    def _clear(self) -> Steps[None]:
        self.store.notes[self._key()] = self._items() or self.store.notes.get(self._key(), [])
        yield from super()._clear()

    def _replace(self, items: list[Any]) -> Steps[None]:
        cleared = not self._items()
        yield from super()._replace(items or (self.store.notes.get(self._key(), []) if cleared else []))


@mutant("SNP-5", "ORD-3", hardness="data", operations=3)
class AssignsWhatIsNewOnly(JsonHistory):
    """An assignment is INSERT … ON CONFLICT DO NOTHING by message id: what has a known id stays as it was."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        known = {identity: item for item in self._items() if (identity := self._load(item).id)}
        yield from super()._replace([known.get(self._load(item).id or "", item) for item in items])


@mutant("SNP-4", hardness="data", operations=1)
class MarksTheLastChunk(JsonHistory):
    """The last chunk of a batch is marked as the last of its message: in the hands of the caller."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        items = super()._encode(messages)
        last = messages[-1] if items and isinstance(messages, list) else None
        if isinstance(last, AIMessageChunk) and not last.additional_kwargs:
            last.additional_kwargs["is_last"] = True
        return items


@mutant("SNP-5", "VAL-4", hardness="data", operations=3)
class SkipsEqualAssignments(JsonHistory):
    """What is there already need not be written; and 1 is True."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        if [self._load(item) for item in items] != [self._load(item) for item in self._items()]:
            yield from super()._replace(items)


@mutant("SNP-5", "ORD-7", hardness="data", operations=2)
class AssignsOnePage(JsonHistory):
    """An assignment is one request, and a request takes 500 items."""

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield from super()._replace(items[:500])


@mutant("SNP-5", "CLR-3", "ISO-3", hardness="stateful", operations=3)
class AssignsToAnOldGeneration(JsonHistory):
    """A clear begins a new generation; adds and reads look it up, an assignment takes the one it knows."""

    _generation = 0

    def _newest(self) -> int:
        self._generation = self.store.notes.get(("generation", self.partition, self.session_id), 0)
        return self._generation

    def _key(self) -> Hashable:
        return (self.partition, self.session_id, self._generation)

    def _read(self) -> Steps[list[BaseMessage]]:
        known = self._generation
        self._newest()
        messages = yield from super()._read()
        self._generation = known
        return messages

    def _add(self, items: list[Any]) -> Steps[None]:
        self._newest()
        yield from super()._add(items)

    def _clear(self) -> Steps[None]:
        self.store.notes["generation", self.partition, self.session_id] = self._newest() + 1
        self._newest()
        yield from super()._clear()


@mutant("SNP-1", "SNP-2", hardness="timing", operations=2)
class SharesAListAmongReaders(JsonHistory):
    """Reads of a session that come at once are answered by one look at the store, and by one list."""

    @property
    @override
    def messages(self) -> list[BaseMessage]:
        looks, mine = self.store.notes.setdefault("looks", {}), Future[list[BaseMessage]]()
        look = looks.setdefault(self._key(), mine)
        if look is mine:
            time.sleep(0.0005)
            looks.pop(self._key())
            look.set_result(self._run(self._read()))
        return look.result(5.0)  # type: ignore[no-any-return]

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        self._assign(messages)


@mutant("SNP-2", "SNP-5", hardness="stateful", operations=3)
class HandsOutWhatWasAssigned(JsonHistory):
    """What has just been assigned is known, and need not be decoded for each read."""

    def _assign(self, messages: Iterable[BaseMessage]) -> None:
        super()._assign(messages)
        items = self._items()
        self.store.notes[self._key()] = (items, [self._load(item) for item in items])

    def _read(self) -> Steps[list[BaseMessage]]:
        items, known = self.store.notes.get(self._key(), (None, []))
        messages = yield from super()._read()
        return list(known) if items == self._items() else messages
