"""Histories that break EXP: sessions that live too long, or not long enough."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from langchain_core.messages import BaseMessage
from tests.mutants._base import JsonHistory, Steps
from tests.mutants._planted import mutant
from typing_extensions import override

# EXP-1


@mutant("EXP-1", hardness="obvious", operations=2)
class MultipliesTheTtl(JsonHistory):
    """Seconds are turned into milliseconds for a store that wants seconds."""

    def _renew(self) -> None:
        super()._renew()
        if self.ttl is not None:
            self.store.deadlines[self._key()] = self.store.now + self.ttl * 1000


@mutant("EXP-1", "EXP-2", hardness="obvious", operations=2)
class DividesTheTtl(JsonHistory):
    """Seconds reach a store that takes them for milliseconds, so everything is gone at once."""

    def _renew(self) -> None:
        super()._renew()
        if self.ttl is not None:
            self.store.deadlines[self._key()] = self.store.now + self.ttl / 1000


@mutant("EXP-1", "EXP-2", hardness="stateful", operations=3)
class BringsBackWhatExpired(JsonHistory):
    """Reads filter what has expired; the next add renews it all."""

    def _items(self) -> list[Any]:
        return list(self.store.lists.get(self._key(), ()))

    def _shown(self, items: list[Any]) -> list[Any]:
        return [] if self.store.now >= self.store.deadlines.get(self._key(), float("inf")) else items


@mutant("EXP-1", "ISO-3", hardness="stateful", operations=3)
class CachesPastTheTtl(JsonHistory):
    """The handle's cache knows when it was written to, and not when its content expires."""

    def _shown(self, items: list[Any]) -> list[Any]:
        known = self.store.notes.setdefault(("cached", self._key()), items)
        return items or known

    def _put(self, items: list[Any]) -> None:
        super()._put(items)
        self.store.notes.pop(("cached", self._key()), None)

    def _clear(self) -> Steps[None]:
        yield from super()._clear()
        self.store.notes.pop(("cached", self._key()), None)

    def _replace(self, items: list[Any]) -> Steps[None]:
        yield from super()._replace(items)
        self.store.notes.pop(("cached", self._key()), None)


@mutant("EXP-1", "ASY-1", hardness="data", operations=2)
class SetsNoTtlInAsyncAdds(JsonHistory):
    """Expiry was added to the sync form only."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        ttl, self.ttl = self.ttl, None
        try:
            await super().aadd_messages(messages)
        finally:
            self.ttl = ttl


@mutant("EXP-1", "CON-1", hardness="timing", operations=4)
class DeletesWhatItFoundExpired(JsonHistory):
    """A read that finds the session expired deletes it in a second step, with whatever was added since."""

    def _read(self) -> Steps[list[BaseMessage]]:
        if self.store.now >= self.store.deadlines.get(self._key(), float("inf")):
            yield 0.001
            self.store.lists.pop(self._key(), None)
            self.store.deadlines.pop(self._key(), None)
            return []
        return (yield from super()._read())


@mutant("EXP-1", hardness="data", operations=2)
class CountsNoDays(JsonHistory):
    """timedelta.seconds, where total_seconds() was meant."""

    def _renew(self) -> None:
        super()._renew()
        if self.ttl is not None and self.ttl >= 86_400:
            self.store.deadlines[self._key()] = self.store.now + self.ttl % 86_400


@mutant("EXP-1", hardness="data", operations=2)
class TakesLongTtlsForDates(JsonHistory):
    """More than 30 days is a date to memcached, and one that is long past."""

    def _renew(self) -> None:
        super()._renew()
        if self.ttl is not None and self.ttl > 30 * 86_400:
            self.store.deadlines[self._key()] = self.store.now - 1


# EXP-2


@mutant("EXP-2", hardness="stateful", operations=3)
class ExpiresEachMessageForItself(JsonHistory):
    """The ttl belongs to the row, so the first half of a conversation dies before the second."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        self.store.notes.setdefault(self._key(), {}).update(dict.fromkeys(map(id, items), self._deadline()))
        self._put([*kept, *items])

    def _deadline(self) -> float:
        return float("inf") if self.ttl is None else self.store.now + self.ttl

    def _items(self) -> list[Any]:
        deadlines = self.store.notes.get(self._key(), {})
        return [item for item in super()._items() if self.store.now < deadlines.get(id(item), float("inf"))]


@mutant("EXP-2", "EXP-1", hardness="stateful", operations=3)
class RenewsByLongBatchesOnly(JsonHistory):
    """The path of a single message, which came later, doesn't renew."""

    def _append(self, items: list[Any]) -> None:
        deadline = self.store.deadlines.get(self._key())
        super()._append(items)
        if len(items) == 1 and deadline is not None and self._key() in self.store.deadlines:
            self.store.deadlines[self._key()] = deadline


@mutant("EXP-2", "ASY-1", hardness="stateful", operations=3)
class RenewsInSyncAddsOnly(JsonHistory):
    """The async form sets a ttl where there is none, and leaves it where there is one."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        deadline = self.store.deadlines.get(self._key())
        await super().aadd_messages(messages)
        if deadline is not None and deadline > self.store.now and self.ttl is not None:
            self.store.deadlines[self._key()] = deadline


@mutant("EXP-2", hardness="data", operations=3)
class SavesEarlyRenewals(JsonHistory):
    """A deadline is left as it is where the new one would be hardly later."""

    def _renew(self) -> None:
        before = self.store.deadlines.get(self._key())
        super()._renew()
        if before is not None and self.ttl is not None and 0 < self.store.now + self.ttl - before < self.ttl / 10:
            self.store.deadlines[self._key()] = before


@mutant("EXP-2", "ORD-6", hardness="stateful", operations=3)
class RenewsInBatchAddsOnly(JsonHistory):
    """add_message has a statement of its own."""

    def add_message(self, message: BaseMessage) -> None:
        """Append one message."""
        deadline = self.store.deadlines.get(self._key())
        super().add_messages([message])
        if deadline is not None and deadline > self.store.now and self.ttl is not None:
            self.store.deadlines[self._key()] = deadline


# EXP-3


@mutant("EXP-3", hardness="stateful", operations=2)
class RenewsWhenOpened(JsonHistory):
    """The constructor sends EXPIRE."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.ttl is not None and self._items():
            self._renew()


class _DefaultTtl(JsonHistory):
    default: float

    def _renew(self) -> None:
        super()._renew()
        self.store.deadlines.setdefault(self._key(), self.store.now + self.default)


@mutant("EXP-3", hardness="data", operations=2)
class ExpiresAfterAnHourByDefault(_DefaultTtl):
    """A default in the adapter that nobody wrote down."""

    default = 3600


@mutant("EXP-3", hardness="data", operations=2)
class ExpiresAfterThirtyDaysByDefault(_DefaultTtl):
    """A default in the store's settings."""

    default = 30 * 24 * 3600


@mutant("EXP-3", "EXP-1", hardness="stateful", operations=2)
class ExpiresEverySessionOfTheStore(JsonHistory):
    """The ttl is set on the client, and from then on holds for sessions that were opened without one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.ttl is not None:
            self.store.notes["ttl"] = self.ttl
        self.ttl = self.store.notes.get("ttl")


@mutant("EXP-3", "CLR-3", hardness="stateful", operations=4)
class LeavesTheDeadlineAfterAClear(JsonHistory):
    """The ttl is a record of its own, which clear does not know of: the next history dies by it."""

    def _renew(self) -> None:
        left = self.store.notes.get(("deadline", self._key()))
        super()._renew()
        if self.ttl is not None:
            self.store.notes["deadline", self._key()] = self.store.deadlines[self._key()]
        elif left is not None:
            self.store.deadlines[self._key()] = left


@mutant("EXP-3", "ATM-1", "EXP-1", hardness="stateful", operations=2)
class RenewsBeforeItLooks(JsonHistory):
    """The deadline is moved first, and then the batch is looked at, and refused."""

    def _batch(self, messages: Iterable[Any]) -> list[Any]:
        if self._key() in self.store.lists and self._items():
            self._renew()
        return super()._batch(messages)


@mutant("EXP-3", "EXP-1", hardness="stateful", operations=4)
class RenewsByALateRead(JsonHistory):
    """Somebody who reads what is about to expire still needs it."""

    def _items(self) -> list[Any]:
        items = super()._items()
        left = self.store.deadlines.get(self._key(), math.inf) - self.store.now
        if items and self.ttl is not None and left < self.ttl / 4:
            self._renew()
        return items


@mutant("EXP-3", "EXP-1", "ISO-1", "ISO-2", hardness="data", operations=4)
class SweepsByPrefix(JsonHistory):
    """Each add sweeps what has expired: DELETE … WHERE key LIKE '…%'."""

    def _append(self, items: list[Any]) -> None:
        late = [key for key, deadline in self.store.deadlines.items() if deadline <= self.store.now]
        for _, name in late:  # type: ignore[misc]
            for key in list(self.store.lists):
                if str(key[1]).startswith(name):  # type: ignore[index]
                    self.store.lists.pop(key, None)
                    self.store.deadlines.pop(key, None)
        super()._append(items)


@mutant("EXP-2", "ISO-3", hardness="stateful", operations=5)
class TrustsItsOwnDeadline(JsonHistory):
    """A handle knows when what it has added expires, and does not ask after that."""

    _deadline = math.inf

    def _append(self, items: list[Any]) -> None:
        super()._append(items)
        self._deadline = self.store.deadlines.get(self._key(), math.inf)

    def _shown(self, items: list[Any]) -> list[Any]:
        return items if self.store.now < self._deadline else []


@mutant("EXP-3", "EXP-2", "EXP-1", "ORD-4", hardness="stateful", operations=3)
class RenewsForAnEmptyBatch(JsonHistory):
    """The expiry is set anew at each add, of nothing as well."""

    def _add(self, items: list[Any]) -> Steps[None]:
        if not items and self.ttl is not None and self._key() in self.store.deadlines:
            self._renew()
        yield from super()._add(items)


@mutant("EXP-3", "EXP-1", "ATM-1", hardness="stateful", operations=3)
class ForgetsTheTtlWhenItRefuses(JsonHistory):
    """An assignment that is refused brings the messages back, and not how long they have to live."""

    def _assign(self, messages: Iterable[BaseMessage]) -> None:
        try:
            super()._assign(messages)
        except Exception:
            self.store.deadlines.pop(self._key(), None)
            raise
