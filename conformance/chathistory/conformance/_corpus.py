"""Messages of every class, with every field, and with every edge payload in some place: a fixed list.

It makes certain what random draws make likely. Some of the messages may be refused by a store: see
`hard_reasons`. What isn't JSON at all (`UNSTORABLE`, `UNUSUAL`) isn't in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    RemoveMessage,
    ToolMessage,
    ToolMessageChunk,
)

from chathistory.conformance._hardness import SIZE
from chathistory.conformance._payloads import CONTENTS, NUMBERS, TEXTS
from chathistory.reference import MESSAGE_CLASSES

Place: TypeAlias = Callable[[type[BaseMessage], Any], BaseMessage]

CONTENT_CLASSES = tuple(cls for cls in MESSAGE_CLASSES if not issubclass(cls, RemoveMessage))
"""The message classes that may have a content."""
AI_CLASSES: tuple[type[BaseMessage], ...] = (AIMessage, AIMessageChunk)
TOOL_CLASSES: tuple[type[BaseMessage], ...] = (ToolMessage, ToolMessageChunk)

TOOL_CALLS: tuple[dict[str, Any], ...] = (
    {"name": "search", "args": {"query": "weather", "limit": 3}, "id": "call_1", "type": "tool_call"},
    {"name": "sum", "args": {"z": 1, "a": 1.0, "m": [True, None, {"b": {}, "a": []}]}, "id": "call_2"},
    {"name": "now", "args": {}, "id": None},
    {"name": "now", "args": {"zone": "UTC"}, "id": None},
    {"name": "sum", "args": {"z": 2}, "id": "call_1"},
)
INVALID_TOOL_CALLS: tuple[dict[str, Any], ...] = (
    {"name": "search", "args": '{"query": ', "id": "call_3", "error": "not JSON"},
    {"name": None, "args": None, "id": None, "error": None},
)
TOOL_CALL_CHUNKS: tuple[dict[str, Any], ...] = (
    {"name": "search", "args": '{"query": "weather"}', "id": "call_1", "index": 0},
    {"name": None, "args": '{"limit"', "id": None, "index": 1},
    {"name": "sum", "args": "no object", "id": "call_2", "index": None},
)
USAGE_METADATA: tuple[dict[str, Any], ...] = (
    {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
    {
        "input_tokens": 350,
        "output_tokens": 240,
        "total_tokens": 590,
        "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
        "output_token_details": {"audio": 10, "reasoning": 200},
    },
    {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "output_token_details": {"flex_reasoning": 1}},
    {
        "input_tokens": 9,
        "output_tokens": 3,
        "total_tokens": 12,
        "input_token_details": {"audio": 0, "cache_read": 0},
        "output_token_details": {"reasoning": 0},
    },
    # As providers count that have tokens of a third kind.
    {"input_tokens": 5, "output_tokens": 6, "total_tokens": 20},
)
_RAW_TOOL_CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"z": 1, "a": [2.0]}'}},
    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{"}},
]


def build(cls: type[BaseMessage], **fields: Any) -> BaseMessage:
    """A message through its constructor, with the fields that its class can't do without."""
    defaults: dict[str, Any] = {} if issubclass(cls, RemoveMessage) else {"content": "x"}
    if issubclass(cls, ToolMessage):
        defaults["tool_call_id"] = "call_1"
    elif issubclass(cls, ChatMessage):
        defaults["role"] = "critic"
    elif issubclass(cls, FunctionMessage):
        defaults["name"] = "search"
    elif issubclass(cls, RemoveMessage):
        defaults["id"] = "message-1"
    return cls(**{**defaults, **copy.deepcopy(fields)})


def optional_fields(cls: type[BaseMessage]) -> dict[str, tuple[Any, ...]]:
    """Ready values for every field a message of this class may have, beside its content."""
    fields: dict[str, tuple[Any, ...]] = {
        "id": ("Message_1", "", "run-1", "lc_run--2", "msg_3"),
        "name": ("Ann", ""),
        "additional_kwargs": ({"a": [1, 1.0, {"b": None}]}, {"refusal": None, "z": 1, "a": 2}),
        "response_metadata": (
            {"model_name": "m-1", "logprobs": [-0.5], "token_usage": {"prompt_tokens": 3, "completion_tokens": 4}},
            {"finish_reason": "stop"},
        ),
        "note": ("an extra field", {"z": [1.0], "a": None}),
    }
    if cls in AI_CLASSES:
        fields["usage_metadata"] = USAGE_METADATA
    if cls is AIMessage:
        fields["tool_calls"] = _lists(TOOL_CALLS)
        fields["invalid_tool_calls"] = _lists(INVALID_TOOL_CALLS)
    if cls is AIMessageChunk:
        fields["tool_call_chunks"] = _lists(TOOL_CALL_CHUNKS)
        if "chunk_position" in cls.model_fields:
            fields["chunk_position"] = ("last",)
    if cls in TOOL_CLASSES:
        fields["tool_call_id"] = ("Call_9", "")
        fields["artifact"] = ({"rows": [1, 2.0]}, [], "text", 0, False)
        fields["status"] = ("error", "success")
    if issubclass(cls, ChatMessage):
        fields["role"] = ("Judge", "")
    return fields


def corpus_of_messages() -> tuple[BaseMessage, ...]:
    """Every class with every field, and every edge payload in one place at least; copies of one's own.

    The places of payloads rotate: content, content block, additional_kwargs value and key,
    response_metadata, tool-call arguments, artifact, extra field, name, id and others.
    """
    return tuple(copy.deepcopy(message) for message in cached_corpus())


@lru_cache(maxsize=1)
def cached_corpus() -> tuple[BaseMessage, ...]:
    """The corpus itself, shared: copy a message before it gets into other hands."""
    return (*_with_fields(), *_with_contents(), *_with_texts(), *_with_values())


def _lists(items: tuple[dict[str, Any], ...]) -> tuple[list[dict[str, Any]], ...]:
    """All items, and each alone."""
    return (list(items), *([item] for item in items))


def _with_fields() -> Iterator[BaseMessage]:
    """Each class: with as little as possible, and with everything at once until every value has occurred."""
    for cls in MESSAGE_CLASSES:
        fields = optional_fields(cls)
        yield build(cls)
        for index in range(max(map(len, fields.values()))):
            yield build(cls, **{name: _pick(values, index) for name, values in fields.items()})
    for cls in AI_CLASSES:
        yield build(cls, content="", additional_kwargs={"tool_calls": _RAW_TOOL_CALLS})
        yield build(cls, additional_kwargs={"function_call": {"name": "f", "arguments": '{"a": 1}'}})
    yield build(AIMessage, content="", tool_calls=list(TOOL_CALLS), invalid_tool_calls=list(INVALID_TOOL_CALLS))


def _with_contents() -> Iterator[BaseMessage]:
    for index, content in enumerate(CONTENTS):
        yield build(_pick(CONTENT_CLASSES, index), content=content.value)


def _with_texts() -> Iterator[BaseMessage]:
    """Each text as the content, and in one more place."""
    for index, text in enumerate(TEXTS):
        if text.hard != SIZE:
            yield build(_pick(CONTENT_CLASSES, index), content=text.value)
        places = _LARGE_TEXT_PLACES if len(text.value) > 1000 else _TEXT_PLACES
        classes, place = _pick(places, index)
        yield place(_pick(classes, index // len(places)), text.value)


def _with_values() -> Iterator[BaseMessage]:
    """Each value in one place, and objects as a whole field, too."""
    for index, value in enumerate(NUMBERS):
        classes, place = _pick(_VALUE_PLACES, index)
        yield place(_pick(classes, index // len(_VALUE_PLACES)), value.value)
        if type(value.value) is dict:
            classes, place = _pick(_OBJECT_PLACES, index)
            yield place(_pick(classes, index // len(_OBJECT_PLACES)), value.value)


def _pick(items: tuple[Any, ...], index: int) -> Any:
    return items[index % len(items)]


def _in_args(cls: type[BaseMessage], args: Any) -> BaseMessage:
    if cls is AIMessageChunk:  # through tool_calls, from which it makes the chunks itself
        return build(cls, content="", tool_calls=[{"name": "f", "args": args, "id": "call_1"}])
    return build(cls, content="", tool_calls=[*TOOL_CALLS, {"name": "f", "args": args, "id": "call_4"}])


_VALUE_PLACES: tuple[tuple[tuple[type[BaseMessage], ...], Place], ...] = (
    (MESSAGE_CLASSES, lambda cls, value: build(cls, additional_kwargs={"value": value})),
    (AI_CLASSES, lambda cls, value: _in_args(cls, {"value": value})),
    (TOOL_CLASSES, lambda cls, value: build(cls, artifact=value)),
    (MESSAGE_CLASSES, lambda cls, value: build(cls, response_metadata={"value": value})),
    (CONTENT_CLASSES, lambda cls, value: build(cls, content=[{"type": "x-value", "value": value}])),
    (MESSAGE_CLASSES, lambda cls, value: build(cls, additional_kwargs={"nested": [{"deep": [value]}]})),
    (MESSAGE_CLASSES, lambda cls, value: build(cls, note=value)),
)
_OBJECT_PLACES: tuple[tuple[tuple[type[BaseMessage], ...], Place], ...] = (
    (AI_CLASSES, _in_args),
    (MESSAGE_CLASSES, lambda cls, value: build(cls, additional_kwargs=value)),
    (CONTENT_CLASSES, lambda cls, value: build(cls, content=["x", value])),
    (MESSAGE_CLASSES, lambda cls, value: build(cls, response_metadata=value)),
)
_LARGE_TEXT_PLACES: tuple[tuple[tuple[type[BaseMessage], ...], Place], ...] = (
    (CONTENT_CLASSES, lambda cls, text: build(cls, content=[{"type": "text", "text": text}])),
    *_VALUE_PLACES,
)
_TEXT_PLACES: tuple[tuple[tuple[type[BaseMessage], ...], Place], ...] = (
    *_LARGE_TEXT_PLACES,
    (CONTENT_CLASSES, lambda cls, text: build(cls, content=["x", text])),
    (MESSAGE_CLASSES, lambda cls, text: build(cls, additional_kwargs={text: "value"})),
    (AI_CLASSES, lambda cls, text: _in_args(cls, {text: 1})),
    (MESSAGE_CLASSES, lambda cls, text: build(cls, name=text)),
    (MESSAGE_CLASSES, lambda cls, text: build(cls, id=text)),
    (TOOL_CLASSES, lambda cls, text: build(cls, tool_call_id=text)),
    (
        tuple(cls for cls in MESSAGE_CLASSES if issubclass(cls, ChatMessage)),
        lambda cls, text: build(cls, role=text),
    ),
)
