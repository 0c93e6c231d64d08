"""The head item of a session: what it says, and how a write makes sure that it still says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chathistory.adapters.dynamodb._calls import Change
from chathistory.adapters.dynamodb._failures import OldItemError
from chathistory.adapters.dynamodb._log import Entry, parse
from chathistory.adapters.dynamodb._place import Attribute, Item, Place
from chathistory.reference import DamagedMessageError

SEGMENT_BYTES = 16 * 1024
"""From this size on the tail is full, and the next add moves it into a segment: the head stays cheap to write."""


ATTRIBUTES = ("#tail", "#bytes", "#segments", "#epoch", "#fenced", "#until", "#old", "#expiry")
"""What is ours in a head item, beside its key."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A chunk that holds a part of the log: its id, how many messages are in it, whether its batches have chunks."""

    chunk: str
    count: int
    has_chunks: bool

    def __str__(self) -> str:
        return f"{self.chunk}:{self.count}{'+' if self.has_chunks else ''}"


@dataclass(frozen=True, slots=True)
class Head:
    """What a session's head item says.

    Attributes:
        epoch: drawn anew whenever the session is started anew; "" for an item that only the old class has written.
        tail: the end of the log, a list of tokens and texts in turn.
        size: the bytes of its texts.
        segments: the log before the tail, as it is stored.
        old: the list of langchain-community's class, as it is stored, or None.
        expiry: the second from which on the session reads as empty, or None.
        until: the second up to which no chunk of the session is deleted, or None for ever.
        foreign: the name of an attribute that holds something else than it should, so that it must be someone else's.
        fenced: how many tokens are fenced off.
    """

    epoch: str
    tail: list[str]
    size: int
    segments: list[str]
    old: list[Attribute] | None
    expiry: int | None
    until: int | None
    foreign: str
    fenced: int

    @classmethod
    def of(cls, item: Item, place: Place) -> Head:
        """The head that an item holds.

        Raises:
            DamagedMessageError: if others have written into attributes of ours.
        """
        names = place.names
        try:
            old = item.get(names["#old"])
            return cls(
                epoch=item.get(names["#epoch"], {"S": ""})["S"],
                tail=[text["S"] for text in item.get(names["#tail"], {"L": []})["L"]],
                size=int(item.get(names["#bytes"], {"N": "0"})["N"]),
                segments=[text["S"] for text in item.get(names["#segments"], {"L": []})["L"]],
                old=None if old is None else old.get("L"),
                expiry=_seconds(item.get(names["#expiry"])),
                until=_seconds({"N": item[names["#until"]]["N"]}) if names["#until"] in item else None,
                foreign=_foreign(item, place),
                fenced=len(item.get(names["#fenced"], {"SS": []})["SS"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedMessageError(f"the head item is damaged: {type(error).__name__}: {error}") from None

    @property
    def is_full(self) -> bool:
        """Whether the tail is to become a segment before anything is appended."""
        return self.size >= SEGMENT_BYTES

    @property
    def holds_nothing(self) -> bool:
        """Whether nobody has written a history into the item, or only an assignment of nothing since."""
        return self.old is None and not (self.epoch or self.tail or self.segments or self.foreign)

    def require_ours(self, *names: str) -> None:
        """Refuse to go on with what is someone else's.

        Args:
            names: the attributes that are needed; all of ours, if there are none.

        Raises:
            OldItemError: if one holds something else than it should.
        """
        if self.foreign and (not names or self.foreign in names):
            raise OldItemError(
                f"its attribute {self.foreign!r} holds something that is not ours; pass another history_messages_key "
                "or ttl_key_name"
            )

    def entries(self) -> list[Entry]:
        """The entries of the tail."""
        return parse(self.tail)

    def parsed_segments(self) -> list[Segment]:
        """The segments, oldest first."""
        return [_segment(text) for text in self.segments]

    def has_expired(self, now: float) -> bool:
        """Whether the session reads as empty at this time."""
        return self.expiry is not None and now >= self.expiry

    def require_same_epoch(self, change: Change) -> None:
        """Let the change be refused if the session was started anew since."""
        if self.epoch:
            change.conditions.append("#epoch = :seen_epoch")
            change.values[":seen_epoch"] = {"S": self.epoch}
        else:
            change.conditions.append("attribute_not_exists(#epoch)")

    def require_same_log(self, change: Change) -> None:
        """Let the change be refused if anything was appended or moved since.

        Ids of segments are never drawn twice, and between two segments a tail only grows: so the last segment
        and two lengths tell one state of a log from every other.
        """
        self.require_same_epoch(change)
        values: dict[str, Attribute] = {}
        if self.segments:
            change.conditions.append(f"size(#segments) = :seen_count AND #segments[{len(self.segments) - 1}] = :last")
            values = {":seen_count": {"N": str(len(self.segments))}, ":last": {"S": self.segments[-1]}}
        else:
            change.conditions.append("attribute_not_exists(#segments)")
        if self.epoch:
            change.conditions.append("size(#tail) = :seen_length")
            values[":seen_length"] = {"N": str(len(self.tail))}
        if self.until is None:
            change.conditions.append("attribute_not_exists(#until)")
        else:
            change.conditions.append("#until = :seen_until")
            values[":seen_until"] = {"N": str(self.until)}
        change.values.update(values)


def is_shared(item: Item, place: Place) -> bool:
    """Whether others, too, keep something in the item."""
    return bool(set(item) - set(place.key) - {place.names[name] for name in ATTRIBUTES})


_SHARED = (("#old", "L"), ("#expiry", "N"))
"""The attributes whose names others may have thought of as well, and what they hold if they are ours."""


def require_shared_ours(change: Change) -> None:
    """Let the change be refused if an attribute is someone else's by then."""
    for name, kind in _SHARED:
        value = f":kind{kind}"
        change.conditions.append(f"attribute_not_exists({name}) OR attribute_type({name}, {value})")
        change.values[value] = {"S": kind}


def _foreign(item: Item, place: Place) -> str:
    for placeholder, kind in _SHARED:
        name = place.names[placeholder]
        if name in item and kind not in item[name]:
            return name
    return ""


def _seconds(value: Attribute | None) -> int | None:
    """The whole seconds of an attribute, if it is a number."""
    number: Any = None if value is None else value.get("N")
    return None if number is None else int(float(number))


def _segment(text: str) -> Segment:
    chunk, _, rest = text.rpartition(":")
    count = rest.removesuffix("+")
    if not count.isdecimal():
        raise DamagedMessageError(f"the head item names the segment {text[:100]!r}")
    return Segment(chunk, int(count), count != rest)
