"""Factories for the scripts of counterexamples: the reference, and histories broken in one way each."""


# mypy: disable-error-code="misc, override"

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

store = InMemoryChatHistoryStore()
good = store.get_session_history
_clock = SimpleNamespace(now=0.0)
_expiring = InMemoryChatHistoryStore(ttl=1.0, clock=lambda: float(_clock.now))
_bounded = InMemoryChatHistoryStore(history_size=1)


def _advance(seconds: float) -> None:
    _clock.now += seconds


good_backend = SimpleNamespace(
    get_session_history=good,
    advance=_advance,
    with_ttl=lambda session_id, _ttl: _expiring.get_session_history(session_id),
    with_history_size=lambda session_id, _size: _bounded.get_session_history(session_id),
    in_partition=lambda partition, session_id: good(f"{partition}/{session_id}"),
)
bad_backend = SimpleNamespace(
    get_session_history=good,
    advance=None,
    with_ttl=lambda session_id, _ttl: good(session_id),
    with_history_size=lambda session_id, _size: good(session_id),
    in_partition=lambda _partition, session_id: good(session_id),
)


def yielded() -> Iterator[Any]:
    """Yield a backend, as fixtures do."""
    yield good_backend
    print("closed")  # noqa: T201 -- seen by the test


@contextlib.contextmanager
def managed() -> Iterator[Callable[[str], BaseChatMessageHistory]]:
    """Open a factory."""
    yield good
    print("closed")  # noqa: T201 -- seen by the test


def returned() -> Any:
    """Return a backend."""
    return good_backend


@functools.lru_cache
def cached(session_id: str) -> BaseChatMessageHistory:
    """Return the same handle each time."""
    return good(session_id)


class _OverStore(InMemoryChatMessageHistory):
    def __init__(self, session_id: str) -> None:
        super().__init__(session_id, store=store)


class Loses(_OverStore):
    """Loses the last message of a batch."""

    def add_messages(self, messages: Any) -> None:
        super().add_messages(list(messages)[:-1])

    async def aadd_messages(self, messages: Any) -> None:
        await super().aadd_messages(list(messages)[:-1])


class Distinct(_OverStore):
    """Takes the same object twice for a mistake."""

    def add_messages(self, messages: Any) -> None:
        super().add_messages(list({id(message): message for message in messages}.values()))


class Downcasts(_OverStore):
    """Stores every message as one of a human."""

    def add_messages(self, messages: Any) -> None:
        super().add_messages([HumanMessage(message.content) for message in messages])


class _Changes(_OverStore):
    def change(self, message: Any) -> BaseMessage:
        raise NotImplementedError

    @property
    def messages(self) -> list[BaseMessage]:
        return [self.change(message) for message in super().messages]


class OtherClass(_Changes):
    """Reads every message as one of an AI."""

    def change(self, message: Any) -> BaseMessage:
        return AIMessage(message.content)


class OtherFields(_Changes):
    """Reads nothing but contents."""

    def change(self, message: Any) -> BaseMessage:
        copied: BaseMessage = type(message)(message.content)
        return copied


class OtherTypes(_Changes):
    """Reads floats and booleans as integers."""

    def change(self, message: Any) -> BaseMessage:
        message.additional_kwargs = {key: int(value) for key, value in message.additional_kwargs.items()}
        return message  # type: ignore[no-any-return]


class OtherOrder(_Changes):
    """Reads the keys of objects in another order."""

    def change(self, message: Any) -> BaseMessage:
        message.additional_kwargs = dict(sorted(message.additional_kwargs.items()))
        return message  # type: ignore[no-any-return]


class Raises(_OverStore):
    """Raises with credentials in the text."""

    @property
    def messages(self) -> list[BaseMessage]:
        raise RuntimeError("postgres://user:secret@host is down")

    def clear(self) -> None:
        raise RuntimeError("postgres://user:secret@host is down")


class Hangs(_OverStore):
    """Never comes back from a clear."""

    def clear(self) -> None:
        time.sleep(60)


class Accepts(_OverStore):
    """Says that it stored what it did not."""

    def add_messages(self, messages: Any) -> None:
        with contextlib.suppress(Exception):
            super().add_messages(messages)


class Shy(_OverStore):
    """Raises errors that say nothing."""

    def add_messages(self, messages: Any) -> None:
        try:
            super().add_messages(messages)
        except Exception:
            raise ValueError("no") from None


class Tuples(_OverStore):
    """Reads tuples."""

    @property
    def messages(self) -> Any:
        return tuple(super().messages)


class Marks(_OverStore):
    """Changes what it is given."""

    def add_messages(self, messages: Any) -> None:
        super().add_messages(messages)
        for message in messages:
            message.id = "stored"


class Keeps(BaseChatMessageHistory):
    """Hands out the list that it keeps."""

    lists: dict[str, list[BaseMessage]] = {}  # noqa: RUF012 -- shared on purpose

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.messages = self.lists.setdefault(session_id, [])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.messages.extend(messages)

    def clear(self) -> None:
        self.messages.clear()


class KeepsArgument(Keeps):
    """Keeps the list that it is handed."""

    def add_messages(self, messages: Any) -> None:
        self.messages = messages


class Forgets(_OverStore):
    """Reads as empty."""

    @property
    def messages(self) -> list[BaseMessage]:
        return []

    async def aget_messages(self) -> list[BaseMessage]:
        return []


class Partly(_OverStore):
    """Stores a batch message by message."""

    def add_messages(self, messages: Any) -> None:
        for message in messages:
            super().add_messages([message])

    async def aadd_messages(self, messages: Any) -> None:
        for message in messages:
            await super().aadd_messages([message])
            await asyncio.sleep(0)


class _InLists(BaseChatMessageHistory):
    """Keeps lists, and guards nothing."""

    lists: dict[str, list[BaseMessage]] = {}  # noqa: RUF012 -- shared on purpose
    messages: list[BaseMessage]

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id

    def __getattr__(self, name: str) -> Any:
        if name == "messages":
            return list(self.lists.get(self.session_id, []))
        raise AttributeError(name)

    async def aget_messages(self) -> list[BaseMessage]:
        return self.messages

    def clear(self) -> None:
        self.lists.pop(self.session_id, None)


class Races(_InLists):
    """Reads, waits and writes."""

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        before = self.messages
        time.sleep(0.001)
        self.lists[self.session_id] = [*before, *messages]

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        before = self.messages
        await asyncio.sleep(0)
        self.lists[self.session_id] = [*before, *messages]


class Reverses(_InLists):
    """Puts what is new first."""

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.lists[self.session_id] = [*messages, *self.messages]


class Lags(_InLists):
    """Reads what each handle saw when it last wrote."""

    seen: list[BaseMessage] | None = None

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        return found if self.seen is None else self.seen

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.lists.setdefault(self.session_id, []).extend(messages)
        self.seen = list(self.lists[self.session_id])


class Crowded(_OverStore):
    """Has room for one at a time."""

    busy = False

    def add_messages(self, messages: Any) -> None:
        if Crowded.busy:
            raise RuntimeError("busy")
        Crowded.busy = True
        time.sleep(0.001)
        super().add_messages(messages)
        Crowded.busy = False


class Flattens(_InLists):
    """Keeps nothing but contents, and takes anything."""

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        flat = [HumanMessage(message.content) for message in messages]
        self.lists.setdefault(self.session_id, []).extend(flat)


class Nulls(_InLists):
    """Keeps the texts without NUL of a batch that it refuses."""

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.lists.setdefault(self.session_id, []).extend(messages)
        if any("\0" in str(message.content) for message in messages):
            raise ValueError("there is a NUL in it")


class Visited(_InLists):
    """Holds messages of others when it is first opened."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.lists.setdefault(session_id, [HumanMessage("of yet others"), AIMessage("and more")])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.lists[self.session_id].extend(messages)


class Blocks(_OverStore):
    """Holds up the event loop while it waits."""

    async def aget_messages(self) -> list[BaseMessage]:
        time.sleep(0.05)  # noqa: ASYNC251 -- the defect
        return self.messages


class BlocksForMany(_OverStore):
    """Holds up the event loop to add more than one message, and to clear them."""

    async def aadd_messages(self, messages: Any) -> None:
        time.sleep(0.02 * (len(messages) > 1))  # noqa: ASYNC251 -- the defect
        self.add_messages(messages)

    async def aclear(self) -> None:
        time.sleep(0.02 * (len(self.messages) > 1))  # noqa: ASYNC251 -- the defect
        self.clear()


class Defers(_OverStore):
    """Adds in the next turn of the event loop, where one runs."""

    def add_messages(self, messages: Any) -> None:
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_soon(super().add_messages, messages)
            return
        super().add_messages(messages)

    async def aadd_messages(self, messages: Any) -> None:
        self.add_messages(messages)

    async def aget_messages(self) -> list[BaseMessage]:
        return self.messages


class OneLoop(_OverStore):
    """Works in the event loop in which it was first used, and in no other."""

    loop: asyncio.AbstractEventLoop | None = None

    async def aget_messages(self) -> list[BaseMessage]:
        OneLoop.loop = OneLoop.loop or asyncio.get_running_loop()
        if OneLoop.loop is not asyncio.get_running_loop():
            raise RuntimeError("bound to a different event loop")
        return self.messages


class Picky(_OverStore):
    """Refuses some session ids."""

    def __init__(self, session_id: str) -> None:
        if "/" in session_id:
            raise ValueError("no slashes")
        super().__init__(session_id)


class Piecemeal(_OverStore):
    """Clears one half after the other."""

    def clear(self) -> None:
        half = self.messages[len(self.messages) // 2 :]
        super().clear()
        super().add_messages(half)
        time.sleep(0.005)
        super().clear()


class Hollow(_OverStore):
    """Stores messages without their contents at first."""

    def add_messages(self, messages: Any) -> None:
        before = self.messages
        super().add_messages([HumanMessage("") for _ in messages])
        time.sleep(0.001)
        super().clear()
        super().add_messages([*before, *messages])


class Limited(_InLists):
    """Can't be opened by more than three."""

    opened = 0

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        Limited.opened += 1
        if Limited.opened % 4 == 0:
            raise RuntimeError("too many handles")

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.lists.setdefault(self.session_id, []).extend(messages)


class Misled(_OverStore):
    """Writes to the session that was last used."""

    session = ""

    def add_messages(self, messages: Any) -> None:
        Misled.session = self.session_id
        time.sleep(0.0005)
        good(Misled.session).add_messages(messages)

    async def aadd_messages(self, messages: Any) -> None:
        Misled.session = self.session_id
        await asyncio.sleep(0)
        await good(Misled.session).aadd_messages(messages)
