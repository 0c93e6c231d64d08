"""Histories that break VAL: values that come back altered, or not at all."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import json
import math
import os
import re
import struct
import unicodedata
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import suppress
from copy import deepcopy
from html import unescape
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.messages.utils import message_chunk_to_message
from tests.mutants._base import JsonHistory
from tests.mutants._planted import mutant
from tests.mutants._values import JSON_KINDS, MESSAGE_CLASSES, build, from_json, to_json, with_values

from chathistory.conformance.selfproof.fidelity import Altering

# VAL-1


@mutant("VAL-1", hardness="data", operations=2)
class LosesRareChunks(Altering):
    """A hand-written table of types knows the chunk of an AI message, and none of the others."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        return message if message.type == "AIMessageChunk" else message_chunk_to_message(message)


@mutant("VAL-1", "VAL-3", hardness="data", operations=2)
class StoresARoleOnly(Altering):
    """Four roles are known; everybody else is human."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        known = message.type in ("human", "ai", "system", "tool", "AIMessageChunk")
        return message if known else HumanMessage(message.content, id=message.id)


@mutant("VAL-1", "VAL-3", hardness="data", operations=2)
class TurnsFunctionsIntoTools(Altering):
    """Function calls are called tool calls now, so the store migrates them."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if type(message) is not FunctionMessage:
            return message
        return ToolMessage(message.content, tool_call_id=message.name, id=message.id)


@mutant("VAL-1", "ORD-3", "VAL-7", hardness="data", operations=2)
class ExecutesRemovals(JsonHistory):
    """A RemoveMessage is taken for a command, as a reducer takes it."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        for item in items:
            message = from_json(item)
            if isinstance(message, RemoveMessage):
                kept = [other for other in kept if from_json(other).id != message.id]
            else:
                kept.append(item)
        self._put(kept)


@mutant("VAL-1", "VAL-3", hardness="data", operations=2)
class TurnsChatIntoItsRole(Altering):
    """A chat message whose role is known becomes a message of that role."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        roles: dict[str, type[BaseMessage]] = {
            "user": HumanMessage,
            "human": HumanMessage,
            "assistant": AIMessage,
            "ai": AIMessage,
        }
        if type(message) is ChatMessage and message.role in roles:
            return roles[message.role](message.content, id=message.id)
        return message


# VAL-2


@mutant("VAL-2", hardness="obvious", operations=2)
class WrapsTextInABlock(Altering):
    """Content is a list of blocks to a provider, so a str becomes one."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message.content, str):
            message.content = [{"type": "text", "text": message.content}]
        return message


@mutant("VAL-2", hardness="data", operations=2)
class KeepsTextBlocksOnly(Altering):
    """Images are large, and the transcript shows text."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message.content, list):
            message.content = [part for part in message.content if isinstance(part, str) or "text" in part]
        return message


@mutant("VAL-2", hardness="data", operations=2)
class UnwrapsALonelyText(Altering):
    """A list of one str is taken for that str."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message.content, list) and len(message.content) == 1:
            message.content = message.content[0] if isinstance(message.content[0], str) else message.content
        return message


@mutant("VAL-2", hardness="data", operations=2)
class TurnsNoBlocksIntoText(Altering):
    """content or "" turns an empty list into an empty str."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        message.content = message.content or ""
        return message


@mutant("VAL-2", "VAL-1", "ERR-2", "ORD-6", hardness="data", operations=2)
class SkipsEmptyContent(JsonHistory):
    """if message.content: save it. A tool call has none."""

    def _encode(self, messages: Iterable[Any]) -> list[Any]:
        return super()._encode([message for message in self._batch(messages) if message.content])


@mutant("VAL-2", hardness="data", operations=2)
class CutsContentAt65535(Altering):
    """A TEXT column, and a server that is not strict."""

    def _text(self, text: str) -> str:
        return text[:65_535]


@mutant("VAL-2", "VAL-3", hardness="data", operations=2)
class DropsUsesThatAreCalls(Altering):
    """What an Anthropic answer says twice, as a block and as a call, is stored once."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        calls = {call["id"] for call in getattr(message, "tool_calls", ())}
        if calls and isinstance(message.content, list):
            message.content = [
                block for block in message.content if not (isinstance(block, dict) and block.get("id") in calls)
            ]
        return message


@mutant("VAL-2", hardness="data", operations=2)
class WrapsImageUrls(Altering):
    """The short form of an image_url is made the long one."""

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("image_url"), str):
            return {**value, "image_url": {"url": value["image_url"]}}
        return value


# VAL-3


class _Dropping(Altering):
    """Sets fields to what they are when nobody gave them."""

    reset: dict[str, Any]

    def _altered(self, message: BaseMessage) -> BaseMessage:
        for name in self.reset.keys() & message.__dict__.keys():
            message.__dict__[name] = deepcopy(self.reset[name])
        return message


@mutant("VAL-3", hardness="data", operations=2)
class DropsIds(_Dropping):
    """The table has an id column of its own."""

    reset = {"id": None}  # noqa: RUF012 -- never written to; so are those below


@mutant("VAL-3", hardness="obvious", operations=2)
class InventsIds(Altering):
    """A message without an id is given one."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        message.id = message.id or str(uuid.uuid4())
        return message


@mutant("VAL-3", hardness="data", operations=2)
class DropsNames(_Dropping):
    """There is no column for the name."""

    reset = {"name": None}  # noqa: RUF012


@mutant("VAL-3", hardness="data", operations=2)
class DropsArtifacts(_Dropping):
    """An artifact is not meant for the model, so it is left out of what is serialised."""

    reset = {"artifact": None}  # noqa: RUF012


@mutant("VAL-3", hardness="data", operations=2)
class DropsUsage(_Dropping):
    """A field newer than the adapter."""

    reset = {"usage_metadata": None}  # noqa: RUF012


@mutant("VAL-3", hardness="data", operations=2)
class DropsResponseMetadata(_Dropping):
    """Metadata is for the log, says the author."""

    reset = {"response_metadata": {}}  # noqa: RUF012


@mutant("VAL-3", hardness="data", operations=2)
class DropsAdditionalKwargs(_Dropping):
    """Deprecated, says the author."""

    reset = {"additional_kwargs": {}}  # noqa: RUF012


@mutant("VAL-3", hardness="data", operations=2)
class DropsInvalidToolCalls(_Dropping):
    """Only calls that can be executed are kept."""

    reset = {"invalid_tool_calls": []}  # noqa: RUF012


@mutant("VAL-3", hardness="data", operations=2)
class DropsToolCallChunks(_Dropping):
    """Chunks of tool calls can be parsed again from the calls, says the author."""

    reset = {"tool_call_chunks": []}  # noqa: RUF012


@mutant("VAL-3", hardness="data", operations=2)
class ResetsTheStatus(_Dropping):
    """The status of a tool message is not stored, and "success" when it is read."""

    reset = {"status": "success"}  # noqa: RUF012


@mutant("VAL-3", "VAL-1", hardness="data", operations=2)
class ForgetsTheRole(_Dropping):
    """A chat message comes back with the role that the author's model uses."""

    reset = {"role": "assistant"}  # noqa: RUF012


@mutant("VAL-3", hardness="data", operations=2)
class RebuildsToolCalls(Altering):
    """Tool calls are taken from additional_kwargs when read, where one provider puts them."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message, AIMessage) and "tool_calls" not in message.additional_kwargs:
            message.tool_calls = []
        return message


@mutant("VAL-3", hardness="data", operations=2)
class LeavesOutUnsetFields(Altering):
    """model_dump(exclude_unset=True): a dict that was filled in place was never set."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        for name, field in type(message).model_fields.items():
            if name not in message.model_fields_set and not field.is_required():
                message.__dict__[name] = field.get_default(call_default_factory=True)
        return message


@mutant("VAL-3", "VAL-4", hardness="data", operations=2)
class AddsUpTokens(Altering):
    """A total is what its parts come to."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if usage := getattr(message, "usage_metadata", None):
            usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]
        return message


@mutant("VAL-3", hardness="data", operations=2)
class DropsUsageThatItHas(Altering):
    """token_usage of the provider is not stored beside usage_metadata."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if getattr(message, "usage_metadata", None):
            message.response_metadata.pop("token_usage", None)
        return message


@mutant("VAL-3", hardness="data", operations=2)
class DropsPrivateFields(Altering):
    """What begins with an underscore is nobody's business."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        for name in [name for name in message.__pydantic_extra__ or {} if name.startswith("_")]:
            del (message.__pydantic_extra__ or {})[name]
        return message


@mutant("VAL-3", "VAL-5", hardness="data", operations=2)
class LowersRoles(Altering):
    """Roles are compared without case, and stored so."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message, ChatMessage):
            message.role = message.role.lower()
        return message


# VAL-4


@mutant("VAL-4", hardness="data", operations=2)
class TurnsIntsIntoFloats(Altering):
    """A store with one type of number."""

    def _value(self, value: Any) -> Any:
        return float(value) if type(value) is int and abs(value) < 2**53 else value


@mutant("VAL-4", hardness="data", operations=2)
class RoundsBigInts(Altering):
    """A server in JavaScript: beyond 2**53 integers are what a double holds."""

    def _value(self, value: Any) -> Any:
        return int(float(value)) if type(value) is int and 2**53 < abs(value) < 10**300 else value


@mutant("VAL-4", "ERR-2", hardness="data", operations=2)
class SaturatesInts(Altering):
    """A 64-bit column, and a driver that clips."""

    def _value(self, value: Any) -> Any:
        return max(-(2**63), min(value, 2**63 - 1)) if type(value) is int else value


@mutant("VAL-4", hardness="data", operations=2)
class TurnsBooleansIntoInts(Altering):
    """A database without a boolean type."""

    def _value(self, value: Any) -> Any:
        return int(value) if type(value) is bool else value


@mutant("VAL-4", hardness="data", operations=2)
class DropsTheSignOfZero(Altering):
    """A number type that has only one zero."""

    def _value(self, value: Any) -> Any:
        return 0.0 if type(value) is float and value == 0 else value


@mutant("VAL-4", hardness="data", operations=2)
class TurnsWholeFloatsIntoInts(Altering):
    """jsonb, or JavaScript: 1.0 is written as 1, and 1e22 as a long integer."""

    def _value(self, value: Any) -> Any:
        return int(value) if type(value) is float and value.is_integer() else value


@mutant("VAL-4", hardness="data", operations=2)
class RoundsFloats(Altering):
    """Floats are printed with fifteen digits; they need seventeen."""

    def _value(self, value: Any) -> Any:
        return float(f"{value:.15g}") if type(value) is float and abs(value) < 1e308 else value


@mutant("VAL-4", hardness="data", operations=2)
class DropsNones(Altering):
    """A clean-up of the document before it is sent: what is None may go."""

    def _value(self, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if type(value) is dict else value


@mutant("VAL-4", hardness="data", operations=2)
class DropsEmptyContainers(Altering):
    """The same clean-up, for empty lists and dicts inside dicts."""

    def _value(self, value: Any) -> Any:
        return {k: v for k, v in value.items() if v not in ([], {})} if type(value) is dict else value


@mutant("VAL-4", "VAL-7", hardness="data", operations=2)
class ParsesNumericText(Altering):
    """A coercing validation on read: "007" is an int."""

    def _value(self, value: Any) -> Any:
        if type(value) is not dict:
            return value
        return {key: int(child) if _is_number(child) else child for key, child in value.items()}


def _is_number(value: Any) -> bool:
    return type(value) is str and re.fullmatch("[0-9]{1,18}", value) is not None


# VAL-5


@mutant("VAL-5", hardness="data", operations=2)
class NormalisesText(Altering):
    """Search works better on composed text."""

    def _text(self, text: str) -> str:
        return unicodedata.normalize("NFC", text)


@mutant("VAL-5", hardness="data", operations=2)
class NormalisesKeys(Altering):
    """Only the keys of objects are composed, by the document store's index."""

    def _value(self, value: Any) -> Any:
        if type(value) is not dict:
            return value
        return {unicodedata.normalize("NFC", key) if type(key) is str else key: v for key, v in value.items()}


@mutant("VAL-5", hardness="data", operations=2)
class CutsTextAtNul(Altering):
    """A library in C."""

    def _text(self, text: str) -> str:
        return text.split("\0")[0]


@mutant("VAL-5", hardness="data", operations=2)
class DropsNuls(Altering):
    """PostgreSQL refuses NUL, so it is removed first."""

    def _text(self, text: str) -> str:
        return text.replace("\0", "")


@mutant("VAL-5", hardness="data", operations=2)
class DropsControlCharacters(Altering):
    """What XML can't hold is removed."""

    def _text(self, text: str) -> str:
        return re.sub("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]", "", text)


@mutant("VAL-5", hardness="data", operations=2)
class TurnsCrlfIntoLf(Altering):
    """A file opened in text mode."""

    def _text(self, text: str) -> str:
        return text.replace("\r\n", "\n")


@mutant("VAL-5", hardness="data", operations=2)
class SplitsLines(Altering):
    """splitlines() also splits at form feeds and line separators."""

    def _text(self, text: str) -> str:
        return "\n".join(text.splitlines()) + ("\n" if text.endswith("\n") else "")


@mutant("VAL-5", hardness="data", operations=2)
class StripsTrailingSpace(Altering):
    """Text is tidied as form fields are."""

    def _text(self, text: str) -> str:
        return text.rstrip(" ")


@mutant("VAL-5", hardness="data", operations=2)
class DropsByteOrderMarks(Altering):
    """decode("utf-8-sig")."""

    def _text(self, text: str) -> str:
        return text.removeprefix("\ufeff")


@mutant("VAL-5", hardness="data", operations=2)
class EncodesAsLatin1(Altering):
    """A connection without a charset, and errors="replace"."""

    def _text(self, text: str) -> str:
        return text.encode("latin-1", "replace").decode("latin-1")


@mutant("VAL-5", hardness="data", operations=2)
class IgnoresSurrogates(Altering):
    """encode("utf-8", errors="ignore")."""

    def _text(self, text: str) -> str:
        return text.encode("utf-8", "ignore").decode()


@mutant("VAL-5", hardness="data", operations=2)
class JoinsSurrogates(JsonHistory):
    """Two lone surrogates in a row are one character once JSON has read them."""

    def _dump(self, message: BaseMessage) -> Any:
        return super()._dump(with_values(deepcopy(message), _through_json))


def _through_json(value: Any) -> Any:
    return json.loads(json.dumps(value)) if type(value) is str else value


@mutant("VAL-5", "VAL-7", hardness="data", operations=2)
class UnescapesBackslashes(Altering):
    """The store's string literals know escapes, and the adapter doesn't write them."""

    def _text(self, text: str) -> str:
        return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")


@mutant("VAL-5", "VAL-2", "VAL-7", hardness="data", operations=2)
class EndsInOneLineFeed(Altering):
    """A block scalar of YAML, whose last line feeds are one."""

    def _text(self, text: str) -> str:
        return re.sub(r"\n\n+\Z", "\n", text)


@mutant("VAL-5", "VAL-4", "VAL-6", "VAL-2", "VAL-3", hardness="data", operations=2)
class CutsKeys(Altering):
    """A column of 255 characters for keys."""

    def _value(self, value: Any) -> Any:
        return {key[:255]: item for key, item in value.items()} if type(value) is dict else value


# VAL-6


@mutant("VAL-6", hardness="data", operations=2)
class SaturatesInfinities(Altering):
    """Infinity is written as the largest number there is."""

    def _value(self, value: Any) -> Any:
        return math.copysign(1.7e308, value) if type(value) is float and math.isinf(value) else value


@mutant("VAL-6", hardness="data", operations=2)
class DecodesBytes(Altering):
    """Bytes make the encoder fail, so they are decoded."""

    def _value(self, value: Any) -> Any:
        return value.decode("utf-8", "replace") if type(value) is bytes else value


@mutant("VAL-6", hardness="data", operations=2)
class TurnsSetsIntoLists(Altering):
    """Sets make the encoder fail, so they are listed."""

    def _value(self, value: Any) -> Any:
        return list(value) if type(value) in (set, frozenset) else value


@mutant("VAL-6", hardness="data", operations=2)
class StoresTheReprOfObjects(Altering):
    """json.dumps(default=str)."""

    def _value(self, value: Any) -> Any:
        known = type(value) in JSON_KINDS | {bytes, tuple, set, frozenset}
        return value if known else str(value)


@mutant("VAL-6", hardness="data", operations=2)
class MergesCollidingKeys(Altering):
    """The keys 1 and "1" of a dict become one, and the last of them wins."""

    def _value(self, value: Any) -> Any:
        if type(value) is not dict or len({str(key) for key in value}) == len(value):
            return value
        return {str(key): child for key, child in value.items()}


@mutant("VAL-6", "VAL-10", hardness="data", operations=1)
class TurnsPathsIntoText(Altering):
    """os.fspath, for whatever has one."""

    def _value(self, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value


@mutant("VAL-6", "VAL-10", hardness="data", operations=1)
class TurnsRangesIntoLists(Altering):
    """Whatever can be iterated is a list to the encoder."""

    def _value(self, value: Any) -> Any:
        return list(value) if isinstance(value, range | deque) else value


# VAL-7


@mutant("VAL-7", hardness="data", operations=2)
class ResolvesSecrets(Altering):
    """The same reader, which looks up {"lc": 1, "type": "secret"} in the environment."""

    def _value(self, value: Any) -> Any:
        if type(value) is dict and (value.get("lc"), value.get("type")) == (1, "secret"):
            return os.environ.get(str((value.get("id") or [""])[0]))
        return value


@mutant("VAL-7", "VAL-2", hardness="data", operations=2)
class ParsesContentAsJson(JsonHistory):
    """Content that is a list is stored as JSON text, so content that is JSON text comes back as a list."""

    def _load(self, item: Any) -> BaseMessage:
        message = super()._load(item)
        with suppress(TypeError, ValueError, RecursionError):
            message.content = json.loads(message.content)  # type: ignore[arg-type]
        return message


@mutant("VAL-7", "VAL-5", hardness="data", operations=2)
class FillsFormatFields(Altering):
    """The statement is put together by str.format, after the content was put in."""

    def _text(self, text: str) -> str:
        try:
            return text.format(session_id=self.session_id)
        except (IndexError, KeyError, ValueError, AttributeError):
            return text


@mutant("VAL-7", "VAL-5", hardness="data", operations=2)
class HalvesPercentSigns(Altering):
    """A driver with %s for parameters, and a statement that holds the content."""

    def _text(self, text: str) -> str:
        return text.replace("%%", "%")


@mutant("VAL-7", "VAL-5", hardness="data", operations=2)
class HalvesQuotes(Altering):
    """A parser of SQL strings reads what no writer of SQL strings wrote."""

    def _text(self, text: str) -> str:
        return text.replace("''", "'")


@mutant("VAL-7", "VAL-5", hardness="data", operations=2)
class UnescapesHtml(Altering):
    """Text is unescaped for display, and was never escaped."""

    def _text(self, text: str) -> str:
        return unescape(text)


@mutant("VAL-7", "VAL-5", hardness="data", operations=2)
class ExpandsPaths(Altering):
    """Strings of the configuration are expanded, and the messages go the same way."""

    def _text(self, text: str) -> str:
        return os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111 -- text, not a path


# VAL-8


@mutant("VAL-8", hardness="data", operations=2)
class SortsKeys(Altering):
    """json.dumps(sort_keys=True)."""

    def _value(self, value: Any) -> Any:
        return dict(sorted(value.items(), key=str)) if type(value) is dict else value


@mutant("VAL-8", hardness="data", operations=2)
class SortsLargeObjects(Altering):
    """A map of more than 32 keys is a tree."""

    def _value(self, value: Any) -> Any:
        return dict(sorted(value.items())) if type(value) is dict and len(value) > 32 else value


# VAL-9


@mutant("VAL-9", "VAL-10", "VAL-6", hardness="data", operations=2)
class CannotReadSubclasses(JsonHistory):
    """A subclass is written under its own name, which the reader has never heard of."""

    def _dump(self, message: BaseMessage) -> Any:
        if type(message) in MESSAGE_CLASSES.values():
            return super()._dump(message)
        return json.dumps([type(message).__name__, message.__dict__, message.__pydantic_extra__ or {}])


@mutant("VAL-9", "VAL-6", hardness="data", operations=2)
class CannotReadNans(Altering):
    """The writer says NaN, which is no JSON to the reader."""

    def _value(self, value: Any) -> Any:
        return "\0NaN" if type(value) is float and math.isnan(value) else value

    def _load(self, item: Any) -> BaseMessage:
        if r'"\u0000NaN"' in item:
            raise ValueError(f"session {self.session_id!r}: invalid JSON: NaN")
        return super()._load(item)


@mutant("VAL-9", "VAL-4", hardness="data", operations=2)
class CannotReadDeepNesting(JsonHistory):
    """The reader's limit is 32 levels, and the writer has none."""

    def _load(self, item: Any) -> BaseMessage:
        if _depth(json.loads(item)) > 32:
            raise RecursionError(f"session {self.session_id!r}: the entry nests too deep")
        return super()._load(item)


def _depth(value: Any) -> int:
    children = value.values() if type(value) is dict else value if type(value) is list else ()
    return 1 + max(map(_depth, children), default=0)


@mutant("VAL-9", "VAL-4", hardness="data", operations=2)
class CannotReadLongInts(JsonHistory):
    """The reader's integers have 64 bits."""

    def _load(self, item: Any) -> BaseMessage:
        json.loads(item, parse_int=self._int64)
        return super()._load(item)

    def _int64(self, digits: str) -> int:
        if not -(2**63) <= int(digits) < 2**63:
            raise OverflowError(f"session {self.session_id!r}: the integer {digits} has more than 64 bits")
        return int(digits)


@mutant("VAL-9", "VAL-5", hardness="data", operations=2)
class CannotReadSurrogates(JsonHistory):
    """The writer escapes lone surrogates; the reader wants UTF-8."""

    def _load(self, item: Any) -> BaseMessage:
        json.dumps(json.loads(item), ensure_ascii=False).encode()
        return super()._load(item)


# VAL-10


@mutant("VAL-10", "VAL-6", hardness="data", operations=2)
class TurnsKeysIntoText(Altering):
    """json.dumps takes keys that are numbers, and writes them as text."""

    def _value(self, value: Any) -> Any:
        if type(value) is not dict or len({str(key) for key in value}) < len(value):
            return value
        return {str(key): child for key, child in value.items()}


@mutant("VAL-10", "VAL-1", hardness="data", operations=2)
class TurnsSubclassesIntoParents(JsonHistory):
    """The class is looked up by the type field, which a subclass inherits."""

    def _dump(self, message: BaseMessage) -> Any:
        parent = next(cls.__name__ for cls in type(message).__mro__ if cls in MESSAGE_CLASSES.values())
        declared = MESSAGE_CLASSES[parent].model_fields
        known = {name: value for name, value in message.__dict__.items() if name in declared}
        return to_json(build(parent, known, dict(message.__pydantic_extra__ or {})))


@mutant("VAL-6", "VAL-10", hardness="data", operations=2)
class TurnsEnumsIntoText(Altering):
    """A str subclass, such as an enum, is a str to the encoder."""

    def _value(self, value: Any) -> Any:
        return str.__str__(value) if isinstance(value, str) else value


# The mutants below were missed, or blamed on another clause, when the suite first met them.


@mutant("VAL-3", hardness="data", operations=2)
class LetsItsOwnColumnsWin(Altering):
    """additional_kwargs are spread into a record that has columns called type and session_id."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        for name in ("type", "session_id"):
            message.additional_kwargs.pop(name, None)
        return message


@mutant("VAL-5", hardness="data", operations=2)
class LosesLongMetadata(Altering):
    """An index that ignores keywords above 32,766 bytes; only the content is stored as text."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        content = message.content
        short = with_values(message, self._value)
        short.content = content
        return short

    def _text(self, text: str) -> str:
        return "" if len(text) > 32_766 else text


@mutant("VAL-7", "VAL-5", hardness="data", operations=2)
class PrintsTimesAnew(Altering):
    """The client turns what looks like a time into one, and the adapter turns it back: Z becomes +00:00."""

    def _text(self, text: str) -> str:
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text):
            return text
        return dt.datetime.fromisoformat(text[:-1] + "+00:00").isoformat()


@mutant("VAL-7", "VAL-4", "VAL-5", hardness="data", operations=2)
class ReadsYaml(Altering):
    """Metadata is kept as YAML without quotes, and read by the rules of 1.1: no is False."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        message.additional_kwargs = {key: self._scalar(value) for key, value in message.additional_kwargs.items()}
        return message

    def _scalar(self, value: Any) -> Any:
        return {"no": False, "off": False, "on": True}.get(value, value) if type(value) is str else value


@mutant("VAL-7", "VAL-5", "VAL-2", hardness="data", operations=2)
class MasksAddresses(Altering):
    """A layer for privacy masks e-mail addresses in what is stored for the model."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if type(message.content) is str:
            message.content = re.sub(r"\b[a-z]{1,20}@[a-z.]{1,20}\b", "[address]", message.content)
        return message


@mutant("VAL-8", hardness="data", operations=2)
class SortsArguments(Altering):
    """The arguments of a tool call are a map, and the client writes maps with their keys in order."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        for call in getattr(message, "tool_calls", []):
            call["args"] = dict(sorted(call["args"].items()))
        return message


@mutant("VAL-5", "VAL-2", hardness="data", operations=2)
class TakesOffAByteOrderMark(Altering):
    """Content is read as utf-8-sig, as what comes from spreadsheets must be."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if type(message.content) is str:
            message.content = message.content.removeprefix("\ufeff")
        return message


# Nobody had thought of the mutants below, and the suite missed them, until somebody who didn't know it planted them.


class _Prepared(JsonHistory):
    """What JSON can't hold is made ready for it, where a careful store would refuse it."""

    def _dump(self, message: BaseMessage) -> Any:
        return super()._dump(with_values(deepcopy(message), self._value))

    def _value(self, value: Any) -> Any:
        return value


@mutant("VAL-6", "VAL-10", "ERR-2", hardness="data", operations=2)
class SkipsKeysThatAreNoTexts(_Prepared):
    """json.dumps(…, skipkeys=True)."""

    def _value(self, value: Any) -> Any:
        if type(value) is dict:
            return {key: item for key, item in value.items() if not isinstance(key, tuple | bytes)}
        return value


@mutant("VAL-6", "VAL-10", "ERR-2", hardness="data", operations=2)
class StoresTheValueOfAnEnumeration(_Prepared):
    """A member of an enumeration is stored as its value."""

    def _value(self, value: Any) -> Any:
        return value.value if isinstance(value, enum.Enum) else value


@mutant("VAL-10", "VAL-6", hardness="data", operations=2)
class TakesEveryDictForAPlainOne(_Prepared):
    """isinstance(value, dict) is good enough."""

    def _value(self, value: Any) -> Any:
        if isinstance(value, OrderedDict):
            return {key: self._value(item) for key, item in value.items()}
        return value


@mutant("VAL-5", "VAL-2", hardness="data", operations=2)
class TidiesWhatToolsSay(Altering):
    """Line ends in the output of tools are brought into order."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message, ToolMessage) and isinstance(message.content, str):
            message.content = message.content.replace("\r\n", "\n")
        return message


@mutant("VAL-2", hardness="data", operations=2)
class UnwrapsASingleTextBlock(Altering):
    """A list of one text block is as good as its text."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        match message.content:
            case [{"type": "text", "text": str() as text, **others}] if not others:
                message.content = text
        return message


@mutant("VAL-1", "ORD-3", "VAL-7", "CLR-4", hardness="data", operations=2)
class ObeysARequestToRemoveAll(JsonHistory):
    """What langgraph means by `__remove_all__` empties the history."""

    def _append(self, items: list[Any]) -> None:
        kept = self._items()
        for item in items:
            message = from_json(item)
            is_request = isinstance(message, RemoveMessage) and message.id == "__remove_all__"
            kept = [] if is_request else [*kept, item]
        self._put(kept)


@mutant("VAL-3", hardness="data", operations=2)
class TakesFieldsForColumns(Altering):
    """Fields of the caller's own with the names of columns are the store's."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        extra = message.__pydantic_extra__ or {}
        for name in ("created_at", "user_id", "metadata"):
            extra.pop(name, None)
        return message


@mutant("VAL-10", "VAL-6", hardness="data", operations=1)
class TurnsNamedTuplesIntoObjects(Altering):
    """As simplejson does."""

    def _value(self, value: Any) -> Any:
        return dict(value._asdict()) if isinstance(value, tuple) and hasattr(value, "_asdict") else value


@mutant("VAL-5", "VAL-3", "VAL-7", hardness="data", operations=2)
class TakesFullWidthDotsForItsOwn(JsonHistory):
    """A dot can't stand in a key, so it is written as a full-width one; every one of those is read as a dot."""

    def _load(self, item: Any) -> BaseMessage:
        return with_values(super()._load(item), self._value)

    def _value(self, value: Any) -> Any:
        return {key.replace("\uff0e", "."): item for key, item in value.items()} if type(value) is dict else value


@mutant("VAL-5", "VAL-2", hardness="data", operations=2)
class ShowsPicturesOfControls(Altering):
    """NUL is written as its picture, and every such picture is read as NUL."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if type(message.content) is str:
            message.content = message.content.replace("\u2400", "\0")
        return message


@mutant("VAL-4", hardness="data", operations=2)
class TakesFloatsForAVector(Altering):
    """Eight numbers and more are an embedding, and a vector holds floats of 32 bits."""

    def _value(self, value: Any) -> Any:
        if type(value) is list and len(value) >= 8 and {type(item) for item in value} == {float}:
            return list(struct.unpack(f"{len(value)}f", struct.pack(f"{len(value)}f", *value)))
        return value


@mutant("VAL-3", "VAL-4", hardness="data", operations=2)
class DropsCountsOfZero(Altering):
    """A count of zero is not sent, being the default of its field."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        usage = getattr(message, "usage_metadata", None) or {}
        for name in ("input_token_details", "output_token_details"):
            if name in usage:
                usage[name] = {key: count for key, count in usage[name].items() if count}
        return message


@mutant("VAL-5", "VAL-4", "VAL-7", hardness="data", operations=2)
class TakesNumberedKeysForAList(Altering):
    """As languages do that have one kind of array."""

    def _value(self, value: Any) -> Any:
        is_numbered = type(value) is dict and value and list(value) == [str(number) for number in range(len(value))]
        return list(value.values()) if is_numbered else value


@mutant("VAL-7", "VAL-10", hardness="data", operations=2)
class TakesTheMarkOfATupleForItsOwn(Altering):
    """Tuples are written under a mark, and whatever stands under it is read as one."""

    def _dump(self, message: BaseMessage) -> Any:
        return JsonHistory._dump(self, message)

    def _load(self, item: Any) -> BaseMessage:
        return with_values(super()._load(item), self._unmarked)

    def _unmarked(self, value: Any) -> Any:
        is_marked = type(value) is dict and list(value) == ["__tuple__"] and type(value["__tuple__"]) is list
        return tuple(value["__tuple__"]) if is_marked else value


@mutant("VAL-7", "VAL-2", "VAL-5", hardness="data", operations=2)
class WritesUrisOfDataAnew(Altering):
    """What a URI of data holds is kept as bytes, and encoded again when it is read."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        return with_values(message, self._value) if type(message.content) is list else message

    def _text(self, text: str) -> str:
        head, mark, data = text.partition(";base64,")
        if not (mark and head.startswith("data:")):
            return text
        try:
            return head + mark + base64.b64encode(base64.b64decode(data + "==")).decode()
        except ValueError:
            return text


@mutant("VAL-7", "VAL-2", "VAL-5", hardness="data", operations=2)
class TakesTextForCompressed(Altering):
    """Long texts are compressed, and told by their beginning: what begins so by itself can't be read, and is empty."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message.content, str) and message.content.startswith("H4sI"):
            message.content = ""
        return message


@mutant("VAL-5", "VAL-2", hardness="data", operations=2)
class SplitsListsOfTextsByLines(Altering):
    """A content that is a list of texts is kept as lines."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if type(message.content) is list and {type(part) for part in message.content} == {str}:
            message.content = "\n".join(map(str, message.content)).split("\n")  # type: ignore[assignment]
        return message


@mutant("VAL-3", "ORD-3", hardness="data", operations=2)
class KeepsOneCallOfAnId(Altering):
    """The calls of a message are rows by their id."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if calls := getattr(message, "tool_calls", None):
            message.tool_calls = list({call["id"]: call for call in calls}.values())  # type: ignore[attr-defined]
        return message


@mutant("VAL-3", "RUN-1", hardness="data", operations=2)
class ForgetsIdsOfRuns(Altering):
    """Ids that a run has given to what it streamed are nobody's business."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if (message.id or "").startswith(("run-", "lc_run-")):
            message.id = None
        return message


@mutant("VAL-5", "VAL-7", "VAL-3", hardness="data", operations=2)
class CleansNamesOfTools(Altering):
    """To what most providers take."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        for call in getattr(message, "tool_calls", ()):
            call["name"] = re.sub(r"[^\w-]", "_", call["name"])
        return message


@mutant("VAL-5", "VAL-2", hardness="data", operations=2)
class ReplacesSurrogatesInLongTexts(Altering):
    """What is long is encoded to be compressed, and what can't be encoded is replaced."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if type(message.content) is str and len(message.content) > 4_096:
            message.content = message.content.encode("utf-8", "replace").decode()
        return message


@mutant("VAL-5", "VAL-2", hardness="data", operations=2)
class DropsTheLastNewlineOfAnAnswer(Altering):
    """Models end their answers with a newline, which looks untidy; what people write is left alone."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if type(message) is AIMessage and isinstance(message.content, str):
            message.content = message.content.removesuffix("\n")
        return message


@mutant("VAL-5", hardness="data", operations=2)
class DropsTagCharacters(Altering):
    """Tags are invisible, and prompts have been smuggled in by them."""

    def _text(self, text: str) -> str:
        return re.sub("[\U000e0000-\U000e007f]", "", text)


@mutant("VAL-2", hardness="data", operations=2)
class FlattensWhatTheSystemSays(Altering):
    """The system's prompt is a text in every API that counts, so its blocks are joined."""

    def _altered(self, message: BaseMessage) -> BaseMessage:
        if message.type == "system" and isinstance(message.content, list):
            parts = [part if isinstance(part, str) else part.get("text", "") for part in message.content]
            message.content = "".join(map(str, parts))
        return message


@mutant("VAL-3", "VAL-4", "VAL-7", hardness="data", operations=2)
class TakesInnerIdsForItsOwn(Altering):
    """What the database calls `_id` is taken out of every object, wherever it stands."""

    def _value(self, value: Any) -> Any:
        return {key: item for key, item in value.items() if key != "_id"} if isinstance(value, dict) else value
