"""Histories that break VAL: values that come back altered, or not at all."""

from __future__ import annotations

import math
import re
from copy import deepcopy
from decimal import Decimal
from typing import Any

from langchain_core.messages import (
    BaseMessage,
    RemoveMessage,
)
from langchain_core.messages.utils import message_chunk_to_message

from chathistory.conformance.selfproof._histories import JsonHistory
from chathistory.conformance.selfproof._planted import mutant
from chathistory.conformance.selfproof._values import (
    MESSAGE_CLASSES,
    with_values,
)


class Altering(JsonHistory):
    """Stores a message that was altered first: as a whole, by value, or by text."""

    def _dump(self, message: BaseMessage) -> Any:
        return super()._dump(self._altered(deepcopy(message)))

    def _altered(self, message: BaseMessage) -> BaseMessage:
        return with_values(message, self._value)

    def _value(self, value: Any) -> Any:
        return self._text(value) if type(value) is str else value

    def _text(self, text: str) -> str:
        return text


@mutant("VAL-1", "RUN-1", hardness="data", operations=2)
class ConvertsChunks(Altering):
    """The store converts chunks to messages, since they are only half a message."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        return message_chunk_to_message(message)


@mutant("VAL-2", hardness="data", operations=2)
class FlattensContentBlocks(Altering):
    """The content column is text, so blocks are joined."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message.content, list):
            parts = [part if isinstance(part, str) else part.get("text", "") for part in message.content]
            message.content = "".join(map(str, parts))
        return message


@mutant("VAL-3", hardness="data", operations=2)
class DropsExtraFields(Altering):
    """A dump by the names of the declared fields."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if message.__pydantic_extra__:
            message.__pydantic_extra__.clear()
        return message


@mutant("VAL-4", hardness="data", operations=2)
class TurnsIntsIntoDecimals(JsonHistory):
    """The driver returns every number as a Decimal."""

    def _load(self, item: Any) -> BaseMessage:
        return with_values(super()._load(item), lambda value: Decimal(value) if type(value) is int else value)


@mutant("VAL-5", hardness="data", operations=2)
class ReplacesNonBmp(Altering):
    """The three-byte utf8 of MySQL."""

    def _text(self, text: str) -> str:
        return re.sub("[\U00010000-\U0010ffff]", "?", text)


@mutant("VAL-6", hardness="data", operations=2)
class TurnsNansIntoNulls(Altering):
    """The encoder writes null for what JSON has no number for."""

    def _value(self, value: Any) -> Any:
        return None if type(value) is float and math.isnan(value) else value


@mutant("VAL-7", hardness="data", operations=2)
class RevivesConstructors(JsonHistory):
    """langchain_core.load.loads on the whole entry, the user's part included."""

    def _load(self, item: Any) -> BaseMessage:
        return with_values(super()._load(item), self._revived)

    def _revived(self, value: Any) -> Any:
        if type(value) is not dict or (value.get("lc"), value.get("type")) != (1, "constructor"):
            return value
        try:
            return MESSAGE_CLASSES[value["id"][-1]](**value["kwargs"])
        except (KeyError, IndexError, TypeError, ValueError):
            return value.get("kwargs")


@mutant("VAL-8", hardness="data", operations=2)
class SortsKeysByLength(Altering):
    """jsonb: the shorter key comes first."""

    def _value(self, value: Any) -> Any:
        if type(value) is not dict:
            return value
        return dict(sorted(value.items(), key=lambda pair: (len(str(pair[0])), str(pair[0]))))


@mutant("VAL-9", "VAL-1", hardness="data", operations=2)
class CannotReadRemovals(JsonHistory):
    """The writer takes the type's name; the reader has a table, in which one is missing."""

    def _load(self, item: Any) -> BaseMessage:
        message = super()._load(item)
        if isinstance(message, RemoveMessage):
            raise TypeError(f"session {self.session_id!r}: got unexpected message type: remove")
        return message


@mutant("VAL-10", "VAL-6", hardness="data", operations=2)
class TurnsTuplesIntoLists(Altering):
    """json.dumps takes tuples."""

    def _value(self, value: Any) -> Any:
        return list(value) if type(value) is tuple else value
