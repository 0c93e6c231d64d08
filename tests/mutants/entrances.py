"""Histories that break a promise by one way in or out only: assignment, single adds, async calls."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import time
import unicodedata
from collections.abc import Hashable, Iterable
from copy import deepcopy
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage
from tests.mutants._base import PLAIN, JsonHistory
from tests.mutants._planted import mutant
from tests.mutants._values import from_json, with_values
from typing_extensions import override

from chathistory.conformance.selfproof.fidelity import Altering


def _in_the_basic_plane(value: Any) -> Any:
    return re.sub("[\U00010000-\U0010ffff]", "?", value) if isinstance(value, str) else value


def _without_signs_of_zero(value: Any) -> Any:
    return 0.0 if type(value) is float and value == 0 else value


class _AlteringAssignments(JsonHistory):
    """Stores what is assigned after it was altered."""

    def _assign(self, messages: Iterable[BaseMessage]) -> None:
        super()._assign(self._altered(self._batch(messages)))

    def _altered(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        return messages


# Assignment.


@mutant("SNP-5", "VAL-5", "VAL-2", hardness="data", operations=2)
class AssignsTheBasicPlaneOnly(_AlteringAssignments):
    """Adds were migrated to utf8mb4; assignment has a statement of its own."""

    def _altered(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        return [with_values(deepcopy(message), _in_the_basic_plane) for message in messages]


@mutant("SNP-5", "ORD-3", hardness="data", operations=2)
class AssignsEachIdOnce(_AlteringAssignments):
    """Messages are put into a dict by their id when they are assigned."""

    def _altered(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        return list({message.id or number: message for number, message in enumerate(messages)}.values())


@mutant("SNP-5", "SNP-3", hardness="data", operations=3)
class AssignsWhatItKnowsById(_AlteringAssignments):
    """An assigned message that has the id of the one in its place is taken for that one, and not written again."""

    def _altered(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        there = [from_json(item) for item in self._items()] + [None] * len(messages)
        return [
            old if old is not None and new.id and old.id == new.id else new
            for old, new in zip(there, messages, strict=False)
        ]


@mutant("SNP-5", hardness="data", operations=3)
class AssignsWhatIsLeftOfAGenerator(_AlteringAssignments):
    """What is assigned is looked through once, for what is no message, and then once more."""

    def _assign(self, messages: Iterable[BaseMessage]) -> None:
        self._batch(list(messages))
        super()._assign(messages)


# Single adds.


@mutant("VAL-4", "ORD-6", "VAL-3", hardness="data", operations=2)
class AddsWholeFloatsAsIntegers(JsonHistory):
    """add_message goes by a client that writes numbers as JavaScript does."""

    @override
    def add_message(self, message: BaseMessage) -> None:
        self.add_messages([with_values(deepcopy(message), _as_javascript) if _is_message(message) else message])


@mutant("VAL-6", "ERR-2", hardness="data", operations=2)
class ForgivesSingleAdds(JsonHistory):
    """add_message is never to break a chat: what can't be written is left out."""

    @override
    def add_message(self, message: BaseMessage) -> None:
        try:
            self.add_messages([message])
        except ValueError:
            return


@mutant("VAL-5", "ORD-6", "VAL-2", hardness="data", operations=2)
class NormalisesWhatUsersSay(JsonHistory):
    """add_user_message puts what comes from a keyboard into its composed form."""

    @override
    def add_user_message(self, message: Any) -> None:
        super().add_user_message(unicodedata.normalize("NFC", message) if isinstance(message, str) else message)


# Async calls.


@mutant("ASY-1", "VAL-5", "VAL-2", hardness="data", operations=2)
class AddsTheBasicPlaneOnlyByAwait(JsonHistory):
    """The async driver was given another character set."""

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        await super().aadd_messages(
            [with_values(deepcopy(message), _in_the_basic_plane) for message in self._batch(messages)]
        )


@mutant("ASY-1", "VAL-4", hardness="data", operations=2)
class LosesTheSignOfZeroByAwait(JsonHistory):
    """Async reads have a decoder of their own, a fast one."""

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        return [with_values(message, _without_signs_of_zero) for message in await super().aget_messages()]


@mutant("ASY-1", "ISO-2", hardness="data", operations=2)
class StripsIdsByAwait(JsonHistory):
    """The path of a request has no spaces at its ends; only the async client makes requests."""

    claims = PLAIN

    def _by_await(self) -> JsonHistory:
        return JsonHistory(self.session_id.strip(), self.store, partition=self.partition)

    @override
    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        await self._by_await().aadd_messages(messages)

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        return await self._by_await().aget_messages()

    @override
    async def aclear(self) -> None:
        await self._by_await().aclear()


# By any call: what providers and users write.


@mutant("VAL-6", hardness="data", operations=1)
class WritesDataclassesAsObjects(Altering):
    """A fast encoder takes instances of dataclasses for objects."""

    def _value(self, value: Any) -> Any:
        is_instance = dataclasses.is_dataclass(value) and not isinstance(value, type)
        return dataclasses.asdict(value) if is_instance else value


@mutant("VAL-6", hardness="data", operations=1)
class DumpsDocuments(Altering):
    """Documents that a tool has found are dumped, and nobody makes them documents again."""

    def _value(self, value: Any) -> Any:
        return value.model_dump() if isinstance(value, Document) else value


@mutant("VAL-3", "VAL-4", hardness="data", operations=2)
class KeepsTheTimeAmongTheKwargs(Altering):
    """When a message came stands in its additional_kwargs, and is taken out when it is read."""

    def _load(self, item: Any) -> BaseMessage:
        message = super()._load(item)
        message.additional_kwargs.pop("timestamp", None)
        return message


@mutant("VAL-3", hardness="data", operations=2)
class DropsRawToolCalls(Altering):
    """What the provider sent of a call is dropped where it was made a tool call: it is the same again."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message, AIMessage) and message.tool_calls:
            message.additional_kwargs.pop("tool_calls", None)
        return message


@mutant("VAL-7", hardness="data", operations=2)
class ParsesArguments(Altering):
    """The arguments of a function come as text, and are more useful as an object."""

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("arguments"), str):
            try:
                return {**value, "arguments": json.loads(value["arguments"])}
            except ValueError:
                return value
        return value


@mutant("VAL-7", "VAL-5", "VAL-2", hardness="data", operations=2)
class CutsAtTheEndOfATurn(Altering):
    """Texts end where the template of the model ends a turn."""

    def _text(self, text: str) -> str:
        return text.split("<|im_end|>")[0]


@mutant("VAL-7", "VAL-5", "VAL-2", hardness="data", operations=2)
class JoinsByBars(Altering):
    """The texts of a session stand in one column, joined by what nobody would write."""

    def _text(self, text: str) -> str:
        return text.replace("|||", " ")


@mutant("ERR-2", "VAL-2", "ORD-7", hardness="data", operations=2)
class LeavesOutWhatIsTooLargeForABatch(JsonHistory):
    """A message of more than 400 KB is refused; in a batch it is left for later, which never comes."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        items = super()._encode(messages)
        if len(items) == 1 and len(items[0]) > 400_000:
            self._refuse(ValueError, "an item holds 400 KB")
        return [item for item in items if len(item) <= 400_000]


@mutant("ORD-3", "ASY-5", "CON-1", hardness="stateful", operations=2)
class TakesTheNextForARetry(JsonHistory):
    """The same batch by another handle within some milliseconds is taken for a retry by another server."""

    def _append(self, items: list[Any]) -> None:
        last = self.store.notes.get(self._key())
        now = time.monotonic()
        self.store.notes[self._key()] = (id(self), items, now)
        if last and last[0] != id(self) and last[1] == items and now - last[2] < 0.005:
            return
        super()._append(items)


@mutant("ISO-2", hardness="data", operations=2)
class ReadsDigitsOfAnyScript(JsonHistory):
    """Ids of digits only are kept in a column of numbers; int() reads those of all scripts."""

    def _key(self) -> Hashable:
        number = unicodedata.normalize("NFKC", self.session_id) if self.session_id.isdigit() else ""
        return (self.partition, int(number) if number.isdecimal() and number[0] != "0" else self.session_id)


@mutant("ISO-6", hardness="data", operations=2)
class EscapesTheDelimiterOnly(JsonHistory):
    """A key is the partition, in which a bar is escaped, a bar, and the id; what escapes is not escaped."""

    def _key(self) -> Hashable:
        return self.partition.replace("|", "\\|") + "|" + self.session_id


def _as_javascript(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() and math.copysign(1, value) > 0 else value


def _is_message(value: Any) -> bool:
    return isinstance(value, BaseMessage)
