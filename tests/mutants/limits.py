"""Histories whose declared limits are not what happens at them, and forms that are disclaimed and do harm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NoReturn

from langchain_core.messages import BaseMessage
from tests.mutants._base import JsonHistory, Steps, backend
from tests.mutants._planted import Mutant, mutant, odd
from typing_extensions import override

from chathistory.conformance import Limits
from chathistory.conformance._backend import Backend
from chathistory.reference import Profile

MESSAGE_BYTES = 300_000
SESSION_ID_BYTES = 255


class TooLargeError(ValueError):
    """What the documentation of these histories says that they raise."""


class LimitedHistory(JsonHistory):
    """Takes messages and session ids up to its limits, and refuses what is more."""

    limits: ClassVar[Limits] = Limits(
        message_bytes=MESSAGE_BYTES, session_id_bytes=SESSION_ID_BYTES, error=TooLargeError
    )
    claims: ClassVar[frozenset[Profile]] = frozenset({"core", "async", "expiry"})

    def __init__(self, session_id: str, *arguments: Any, **options: Any) -> None:
        super().__init__(self._taken(session_id), *arguments, **options)

    def _taken(self, session_id: str) -> str:
        self.session_id = session_id
        if _bytes(session_id) > SESSION_ID_BYTES:
            self._refuse(TooLargeError, f"an id has at most {SESSION_ID_BYTES} bytes")
        return session_id

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        return [self._measured(message) for message in super()._batch(messages)]

    def _measured(self, message: BaseMessage) -> BaseMessage:
        if self._is_too_large(message):
            self._too_large()
        return message

    def _is_too_large(self, message: BaseMessage) -> bool:
        return isinstance(message.content, str) and _bytes(message.content) > MESSAGE_BYTES

    def _too_large(self) -> NoReturn:
        self._refuse(TooLargeError, f"a message has at most {MESSAGE_BYTES} bytes")


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def limited(name: str, history: type[LimitedHistory]) -> Backend:
    """A history class that declares its limits, as a subject of the suite."""
    return replace(backend(name, history), limits=history.limits)


def _limited(planted: Mutant) -> Mutant:
    """The mutant with its limits declared."""
    history: Any = planted.make.args[1]  # type: ignore[attr-defined]
    return replace(planted, make=partial(limited, planted.name, history))


@odd()
def keeps_its_limits() -> Backend:
    """Refuses messages of more than 300,000 bytes and ids of more than 255, as it declares."""
    return limited("keeps_its_limits", LimitedHistory)


class _TakesMore(LimitedHistory):
    limits = Limits(message_bytes=1_000, session_id_bytes=100, error=(TooLargeError, OSError))


@odd()
def takes_more_than_it_declares() -> Backend:
    """A careful author rounds down; nothing is lost by that."""
    return limited("takes_more_than_it_declares", _TakesMore)


@_limited
@mutant("VAL-6", hardness="data", operations=2)
class CutsWhatIsTooLarge(LimitedHistory):
    """A column cuts what is too wide for it, as MySQL's do outside its strict mode."""

    def _measured(self, message: BaseMessage) -> BaseMessage:
        if not self._is_too_large(message):
            return message
        return message.model_copy(update={"content": str(message.content).encode()[:MESSAGE_BYTES].decode()})


@_limited
@mutant("VAL-2", hardness="data", operations=1)
class RefusesWhatIsJustAllowed(LimitedHistory):
    """Where the limit is compared, >= stands for >."""

    def _is_too_large(self, message: BaseMessage) -> bool:
        return isinstance(message.content, str) and _bytes(message.content) >= MESSAGE_BYTES


@_limited
@mutant("VAL-2", hardness="data", operations=1)
class CountsTheBytesOfEscapes(LimitedHistory):
    r"""The size is that of JSON in ASCII, where an é has six bytes."""

    def _is_too_large(self, message: BaseMessage) -> bool:
        return isinstance(message.content, str) and sum(6 if c > "\x7f" else 1 for c in message.content) > MESSAGE_BYTES


@_limited
@mutant("VAL-6", hardness="data", operations=1)
class RefusesByAnErrorOfTheDriver(LimitedHistory):
    """Nobody translates what the driver raises, so nobody who reads the documentation catches it."""

    def _too_large(self) -> NoReturn:
        self._refuse(ConnectionError, "413 Request Entity Too Large")


@_limited
@mutant("VAL-6", hardness="data", operations=2)
class StoresWhatCameBeforeWhatIsTooLarge(LimitedHistory):
    """The size is looked at while the batch is being written."""

    def _add(self, items: list[Any]) -> Steps[None]:
        for item in items:
            yield from super()._add([item])
            if self._is_too_large(self._load(item)):
                self._drop_the_last()
                self._too_large()

    def _measured(self, message: BaseMessage) -> BaseMessage:
        return message

    def _drop_the_last(self) -> None:
        with self._transaction():
            self._put(self._items()[:-1])


@_limited
@mutant("VAL-6", "ASY-1", hardness="data", operations=2)
class LosesWhatIsTooLargeInAsyncAdds(LimitedHistory):
    """The task that writes logs the refusal and ends."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        try:
            await super().aadd_messages(messages)
        except TooLargeError:
            return


@_limited
@mutant("ISO-5", hardness="data", operations=2)
class CutsLongIds(LimitedHistory):
    """A column of 255 characters cuts what is longer, and two sessions are one."""

    def _taken(self, session_id: str) -> str:
        return session_id.encode("utf-8", "surrogatepass")[:SESSION_ID_BYTES].decode("utf-8", "ignore")


@_limited
@mutant("ISO-2", hardness="data", operations=1)
class RefusesTheLongestId(LimitedHistory):
    """The limit that is documented counts a byte that the store needs for itself."""

    def _taken(self, session_id: str) -> str:
        self.session_id = session_id
        if _bytes(session_id) >= SESSION_ID_BYTES:
            self._refuse(TooLargeError, f"an id has less than {SESSION_ID_BYTES} bytes")
        return session_id


@_limited
@mutant("ISO-5", hardness="data", operations=1)
class RefusesLongIdsByAnotherError(LimitedHistory):
    """The name of a file is too long, says the operating system."""

    def _taken(self, session_id: str) -> str:
        self.session_id = session_id
        if _bytes(session_id) > SESSION_ID_BYTES:
            self._refuse(OSError, "File name too long")
        return session_id


# The resolution of a ttl


@mutant("EXP-1", hardness="data", operations=2)
class RoundsTheShortestTtlToZero(JsonHistory):
    """Time is kept in units of two seconds, rounded down."""

    def _renew(self) -> None:
        super()._renew()
        if self.ttl == 1:
            self.store.deadlines[self._key()] = self.store.now


@mutant("EXP-1", hardness="data", operations=2)
class TakesTheShortestTtlForNone(JsonHistory):
    """ttl // 2 is 0, and 0 is false: the session stays for ever."""

    def _renew(self) -> None:
        super()._renew()
        if self.ttl == 1:
            self.store.deadlines.pop(self._key(), None)


@mutant("EXP-1", hardness="data", operations=2)
class ExpiresAnEighthTooSoon(JsonHistory):
    """A margin for the way to the store is taken off the ttl."""

    def _renew(self) -> None:
        super()._renew()
        if self.ttl is not None:
            self.store.deadlines[self._key()] = self.store.now + self.ttl * 0.875


# Forms that are not claimed


class _SyncOnly(JsonHistory):
    claims: ClassVar[frozenset[Profile]] = frozenset({"core"})


@mutant("ERR-2", hardness="obvious", operations=2)
class AddsAndSaysItIsNotImplemented(_SyncOnly):
    """The async form calls the sync one, and then the base class's."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        self.add_messages(messages)
        raise NotImplementedError("this history has no async methods")


@mutant("ERR-2", hardness="obvious", operations=2)
class HasAsyncFormsThatDoNothing(_SyncOnly):
    """A stub that was to be filled in later returns as if the messages were stored."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        return


@mutant("ERR-2", hardness="obvious", operations=2)
class ClearsEveryoneInItsAsyncForm(_SyncOnly):
    """The async form was never finished: it forgets the session id."""

    @override
    async def aclear(self) -> None:
        self.store.lists.clear()


class _AsyncOnly(JsonHistory):
    claims: ClassVar[frozenset[Profile]] = frozenset({"core", "async"})

    @property
    def messages(self) -> list[BaseMessage]:
        """Not to be had."""
        raise NotImplementedError("use aget_messages")

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        raise NotImplementedError("use aclear and aadd_messages")


@mutant("ERR-2", hardness="obvious", operations=2)
class AddsNothingInItsSyncForm(_AsyncOnly):
    """The sync form starts a task on a loop that never runs."""

    @override
    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        self._encode(messages)
