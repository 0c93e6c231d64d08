"""Histories that break RUN: they do well alone, and not under RunnableWithMessageHistory."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any, overload

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.utils import message_chunk_to_message
from tests.mutants._base import PLAIN, JsonHistory, Steps
from tests.mutants._planted import mutant

from chathistory.conformance.selfproof.runnable import current_run

# RUN-1


@mutant("RUN-1", hardness="stateful", operations=2)
class StampsTheRunOnMessages(JsonHistory):
    """A tracing integration adds to each message that is stored inside a run."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        batch = super()._batch(messages)
        if not current_run():
            return batch
        return [message.model_copy(update={"response_metadata": {"traced": True}}) for message in batch]


@mutant("RUN-1", "VAL-1", hardness="stateful", operations=2)
class ConvertsStreamsOfARun(JsonHistory):
    """A streamed answer is stored as the message it amounts to, says the author."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        batch = super()._batch(messages)
        if not current_run():
            return batch
        return [message_chunk_to_message(one) if isinstance(one, AIMessageChunk) else one for one in batch]


@mutant("RUN-1", "ORD-1", "SNP-1", hardness="obvious", operations=1)
class ReturnsATuple(JsonHistory):
    """Immutable, and without the copy() that the runnable calls."""

    def _read(self) -> Steps[Any]:
        return tuple((yield from super()._read()))


@mutant("RUN-1", "ORD-1", "SNP-1", hardness="obvious", operations=1)
class ReturnsAnIterator(JsonHistory):
    """The rows of a cursor, decoded as they come."""

    def _read(self) -> Steps[Any]:
        return iter((yield from super()._read()))


class _View(Sequence[BaseMessage]):
    """A sequence that is not a list."""

    def __init__(self, messages: list[BaseMessage]) -> None:
        self._messages = messages

    @overload
    def __getitem__(self, index: int) -> BaseMessage: ...
    @overload
    def __getitem__(self, index: slice) -> list[BaseMessage]: ...
    def __getitem__(self, index: int | slice) -> BaseMessage | list[BaseMessage]:
        return self._messages[index]

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[BaseMessage]:
        return iter(self._messages)


@mutant("RUN-1", "ORD-1", "SNP-1", hardness="data", operations=1)
class ReturnsASequence(JsonHistory):
    """A sequence of its own that has everything but copy()."""

    def _read(self) -> Steps[Any]:
        return _View((yield from super()._read()))


# RUN-2


@mutant("RUN-2", "RUN-1", "ISO-3", "CON-1", hardness="stateful", operations=2)
class KeepsSessionsWhileTheyAreHeld(JsonHistory):
    """Sessions live in a weak dictionary, that is, for as long as somebody holds a handle."""

    claims = PLAIN

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        with self.store.lock:
            held = self.store.notes.setdefault("held", weakref.WeakValueDictionary())
            self._held = held.setdefault(self._key(), _Held())

    def _items(self) -> list[Any]:
        return list(self._held)

    def _put(self, items: list[Any]) -> None:
        self._held[:] = items

    def _erase(self) -> None:
        self._held.clear()


class _Held(list[Any]):
    """A list that can be referred to weakly."""


@mutant("RUN-2", "ISO-3", hardness="stateful", operations=2)
class OpensAFreshStoreEachTime(JsonHistory):
    """The factory opens ":memory:", and gets a new database with each call."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._token = object()

    def _key(self) -> Hashable:
        return (self.partition, self.session_id, self._token)


@mutant("RUN-2", "ISO-2", "ISO-6", hardness="data", operations=2)
class TakesTheLastPartOfAnId(JsonHistory):
    """An id of user and conversation is split, and the conversation is what is kept."""

    def _key(self) -> Hashable:
        parts = self.session_id.replace(":", "/").replace("|", "/").replace("#", "/").split("/")
        return (self.partition, parts[-1])


# RUN-3


class _Tied(list[BaseMessage]):
    """A list whose copies write to the history what is added to them."""

    history: JsonHistory

    def copy(self) -> _Tied:
        copied = _Tied(self)
        copied.history = self.history
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> list[BaseMessage]:
        return deepcopy(list(self), memo)

    def __iadd__(self, more: Iterable[BaseMessage]) -> _Tied:  # type: ignore[override,misc]
        batch = list(more)
        self.history.add_messages(batch)
        self.extend(batch)
        return self


@mutant("RUN-3", "SNP-1", hardness="stateful", operations=2)
class TiesCopiesToTheStore(JsonHistory):
    """A list of an object-relational mapper: adding to a copy of it adds a row."""

    def _read(self) -> Steps[list[BaseMessage]]:
        tied = _Tied((yield from super()._read()))
        tied.history = self
        return tied


class _InARun(JsonHistory):
    """Shows to a run something else than to everybody."""

    def _read(self) -> Steps[list[BaseMessage]]:
        messages = yield from super()._read()
        return self._window(messages) if current_run() else messages

    def _window(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        raise NotImplementedError


@mutant("RUN-2", "RUN-1", hardness="data", operations=2)
class ShowsARunTheLastTen(_InARun):
    """That is what the model takes."""

    def _window(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        return messages[-10:]


@mutant("RUN-2", "RUN-1", hardness="data", operations=2)
class HidesSystemMessagesFromARun(_InARun):
    """The prompt has one of its own."""

    def _window(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        return [message for message in messages if message.type != "system"]
