"""VAL: a message comes back as it was, whatever class, field, number or text; or it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, RemoveMessage, ToolMessage

from chathistory.conformance._corpus import CONTENT_CLASSES, build, optional_fields
from chathistory.conformance._hardness import hard_reasons
from chathistory.conformance._lens import Lens
from chathistory.conformance._odd_messages import OddMessage, TaggedHumanMessage
from chathistory.conformance._payloads import (
    CONTAINERS,
    CONTENTS,
    KEY_ORDERS,
    LOOKALIKES,
    NUMBERS,
    TEXTS,
    UNSTORABLE,
    UNUSUAL,
    filled,
)
from chathistory.conformance._plainer import is_valid
from chathistory.conformance._program import Add, Assign, Open, Program, Read, Step, program
from chathistory.conformance._report import Effort
from chathistory.conformance.checks._check import A, Check, fresh_read, opened, singly, with_plain_messages
from chathistory.conformance.strategies import contents, messages
from chathistory.reference import MESSAGE_CLASSES, fields_of

_PLAIN_TEXT = re.compile(r"(?!null|true|false|none|nan|inf)[A-Za-z_][A-Za-z0-9_]{0,40}", re.IGNORECASE)

# Values that look like serialised objects, and so are a matter of VAL-7.
_LIKE_OBJECTS = tuple(
    value for value in CONTAINERS if value.name.startswith(("lc", "keys with operators")) or "DynamoDB" in value.name
)

# Values whose keys are the point, and so a matter of text.
_TEXTUAL = tuple(value for value in CONTAINERS if value.name.startswith("key") and value not in _LIKE_OBJECTS)

# Names that a record has for its own columns, and that a caller may use in an object.
_COLUMNS = ("type", "content", "id", "name", "role", "data", "kwargs", "session_id", "message", "messages", "_id")

# Columns of its own that a record may have beside the message, and a caller for a field that no class has.
_EXTRA_COLUMNS = (
    *("created_at", "updated_at", "timestamp", "time", "date", "ttl", "expires_at", "version", "seq", "index"),
    *("position", "role", "session_id", "conversation_id", "thread_id", "user_id", "metadata", "data", "kwargs"),
    *("message", "message_id", "key", "value", "pk", "sk", "_note"),
)

_FILLED = {"key": "value"}

# Keys under which providers put JSON as text.
_TEXTUAL_KEYS = (
    *("arguments", "args", "input", "output", "result", "content", "text", "data", "kwargs", "json", "body", "payload"),
    *("value", "message", "messages", "metadata", "function_call", "tool_calls", "artifact", "parameters", "schema"),
)

# Texts beyond this length are tried where length matters.
_LONG_TEXT = 1_000

# Ids as langchain-core and providers give them, and as a record may have for its own.
_IDS = (
    *("run-1", "run--2", "lc_run--3", "msg_4", "resp_5", "chatcmpl-6", "call_7", "toolu_8", "8", "0"),
    *("11111111-2222-4333-8444-555555555555", "run-11111111-2222-4333-8444-555555555555-0", "__remove_all__"),
)

_ROLES = ("user", "human", "assistant", "ai", "system", "tool", "function", "developer", "m1")

# A field of a message, as far as a value of any kind may stand in it.
_PLACES: dict[str, Callable[[Any], BaseMessage]] = {
    "additional_kwargs": lambda value: HumanMessage(content="m1", additional_kwargs={"value": value}),
    "response_metadata": lambda value: AIMessage(content="m1", response_metadata={"value": value}),
    "tool call": lambda value: AIMessage(
        content="m1", tool_calls=[{"name": "f", "args": {"value": value}, "id": "call_1", "type": "tool_call"}]
    ),
    "artifact": lambda value: ToolMessage(content="m1", tool_call_id="call_1", artifact=value),
    "content block": lambda value: HumanMessage(content=[{"type": "custom", "value": value}]),
    "extra field": lambda value: HumanMessage(content="m1", note=value),
}


# An object that is a field, or as good as one, whole.
_OBJECTS: dict[str, Callable[[dict[str, Any]], BaseMessage]] = {
    "additional_kwargs": lambda value: HumanMessage(content="m1", additional_kwargs=value),
    "response_metadata": lambda value: AIMessage(content="m1", response_metadata=value),
    "tool call": lambda value: AIMessage(
        content="m1", tool_calls=[{"name": "f", "args": value, "id": "call_1", "type": "tool_call"}]
    ),
    "content block": lambda value: HumanMessage(content=[value]),
}


def _kept(batch: Iterable[BaseMessage]) -> Program:
    """Messages added one by one, so that a refusal of one says nothing about the others, then read twice."""
    return program(opened(A), singly(1, _told_apart(batch)), Read(1), fresh_read(2))


def _told_apart(batch: Iterable[BaseMessage]) -> Iterator[BaseMessage]:
    """The messages, and where two share an id, the later with another: what becomes of those is ORD-3's."""
    seen: set[str] = set()
    for number, message in enumerate(batch):
        if message.id and message.id in seen:
            message = message.model_copy(update={"id": f"{message.id} {number}"})
        seen.add(message.id or "")
        yield message


def _in_one_batch(batch: Iterable[BaseMessage]) -> Program:
    """What must be kept, by one add."""
    return program(opened(A), Add(1, _must_be_kept(_told_apart(batch))), Read(1), fresh_read(2))


def _in_chunks(batch: Iterable[BaseMessage], size: int = 40) -> Iterator[Program]:
    rest = list(batch)
    while rest:
        yield _kept(rest[:size])
        rest = rest[size:]


def in_kwargs(value: Any) -> BaseMessage:
    """A message that holds a value of any kind."""
    return _PLACES["additional_kwargs"](value)


def _must_be_kept(batch: Iterable[BaseMessage]) -> tuple[BaseMessage, ...]:
    return tuple(message for message in batch if not hard_reasons(message))


@cache
def sample_of_values() -> tuple[BaseMessage, ...]:
    """Messages of every class with every field, content and value that must be kept; most plain in their texts."""
    batch: list[BaseMessage] = []
    for cls in MESSAGE_CLASSES:
        fields = optional_fields(cls)
        batch.append(build(cls, **{name: options[0] for name, options in fields.items()}))
        batch += [build(cls, **{name: options[-1]}) for name, options in fields.items()]
    batch += (HumanMessage(content=content.value) for content in CONTENTS)
    for value in (*NUMBERS, *CONTAINERS):
        call = {"name": "f", "args": {"value": value.value}, "id": "call_1", "type": "tool_call"}
        batch.append(AIMessage(content="m1", additional_kwargs={"value": value.value}, tool_calls=[call]))
    batch += (HumanMessage(content="m1", additional_kwargs={"value": value}) for value in _LOOKALIKE_VALUES)
    batch += _of_providers("text")
    return _must_be_kept(_told_apart(filter(is_valid, batch)))


@cache
def sample_of_texts() -> tuple[BaseMessage, ...]:
    """Messages of humans and of the AI with each text that must be kept."""
    texts = [text.value for text in TEXTS if len(text.value) < _LONG_TEXT]
    batch: list[BaseMessage] = []
    for text in texts:
        batch += (cls(content=text, additional_kwargs={"value": text}) for cls in (HumanMessage, AIMessage))
    return _must_be_kept([*batch, HumanMessage(content=filled(40_000)), AIMessage(content=filled(70_000))])


def _of_providers(text: str) -> Iterator[BaseMessage]:
    """Answers as integrations make them: what the provider sent stands beside what was made of it."""
    call = {"name": "look", "args": {"at": "home"}, "id": "call_1", "type": "tool_call"}
    raw = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": text}, "index": 0}
    yield AIMessage(content="", additional_kwargs={"tool_calls": [raw], "refusal": None}, tool_calls=[call])
    yield AIMessage(content="", additional_kwargs={"function_call": {"name": "look", "arguments": text}})
    yield AIMessage(
        content=[{"type": "text", "text": "m1"}, {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}],
        tool_calls=[call],
        response_metadata={"id": "msg_1", "model": "m", "stop_reason": "tool_use", "stop_sequence": None},
        additional_kwargs={"__look_thought_signatures__": {"call_1": text}, "reasoning_content": text},
    )
    yield AIMessage(
        content="m1",
        additional_kwargs={"parsed": {"answer": text}, "audio": {"id": "a1", "data": text, "transcript": text}},
        response_metadata={
            "token_usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
            "logprobs": {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]},
            "finish_reason": "stop",
            "system_fingerprint": "fp_1",
            "headers": {"x-request-id": text},
        },
        usage_metadata={
            "input_tokens": 1,
            "output_tokens": 2,
            "total_tokens": 3,
            "input_token_details": {"cache_read": 0},
            "output_token_details": {"reasoning": 0},
        },
    )
    yield ToolMessage(
        content="m1",
        tool_call_id="call_1",
        name="look",
        artifact={"documents": [{"page_content": text, "metadata": {"source": text}, "type": "Document"}]},
        additional_kwargs={"tool_call": {"id": "call_1", "arguments": text}},
    )


def _every_class(_effort: Effort) -> Iterator[Program]:
    yield _kept(build(cls) for cls in MESSAGE_CLASSES)
    yield program(opened(A), Add(1, tuple(build(cls) for cls in MESSAGE_CLASSES)), Read(1), fresh_read(2))
    # Classes that some stores take for the class that their role or name speaks of.
    yield _kept(ChatMessage(content="m1", role=role) for role in _ROLES)
    yield _kept(HumanMessage(content="m1", name=role) for role in _ROLES)
    # What asks langgraph to remove messages is a message here.
    removals = [RemoveMessage(id=identity) for identity in ("id-1", "__remove_all__")]
    yield program(opened(A), singly(1, [HumanMessage(content="m1", id="id-1"), *removals]), Read(1), fresh_read(2))


def _every_content(_effort: Effort) -> Iterator[Program]:
    values = [
        _without_hollow(plain_value(content.value)) if isinstance(content.value, list) else content.value
        for content in CONTENTS
        if "lc" not in content.name
    ]
    yield _kept(HumanMessage(content=value) for value in values)
    yield _kept(AIMessage(content=value) for value in values)
    yield _kept(ToolMessage(content=value, tool_call_id=f"call{n}") for n, value in enumerate(values))
    # As Anthropic's answers have them: a call stands in the content, too.
    use = {"type": "tool_use", "id": "call_1", "name": "f", "input": {"at": "home"}}
    call = {"name": "f", "args": {"at": "home"}, "id": "call_1", "type": "tool_call"}
    yield _kept([AIMessage(content=["m1", use], tool_calls=[call]), AIMessage(content=[use], tool_calls=[call])])
    yield _kept([build(cls, content="") for cls in CONTENT_CLASSES])
    for cls in CONTENT_CLASSES:
        yield _in_one_batch(build(cls, content=value) for value in values)
    yield program(
        opened(A),
        Add(1, (HumanMessage(content=""), AIMessage(content=[]), HumanMessage(content="m3"))),
        Read(1),
    )


def plain_value(value: Any) -> Any:
    """The value with its shape, but no text or number in it that a store could stumble over."""
    if isinstance(value, str):
        return value if not value or _PLAIN_TEXT.fullmatch(value) else f"text{len(value) % 10}"
    if isinstance(value, float):
        return 7
    if type(value) is int:
        return value % 1_000
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    if isinstance(value, dict):
        return {plain_value(key) or "key": plain_value(item) for key, item in value.items()}
    return value


def _without_hollow(value: Any) -> Any:
    """The content with nothing empty inside its blocks; that is VAL-4's business."""
    if isinstance(value, list):
        return [_without_hollow(item) for item in value]
    if isinstance(value, dict):
        solid = {key: _without_hollow(item) for key, item in value.items()}
        return {key: item for key, item in solid.items() if item not in (None, [], {})}
    return value


def _with_plain_values(message: BaseMessage, kinds: tuple[type, ...] = (str, float, int)) -> BaseMessage:
    fixed = ("type", "status", "chunk_position", "tool_call_chunks")
    fields = {name: value if name in fixed else _plain_of(value, kinds) for name, value in fields_of(message).items()}
    return type(message)(**{name: value for name, value in fields.items() if name != "type"})


def _with_plain_fields(message: BaseMessage) -> BaseMessage:
    """Plain values, and no None and nothing empty inside the fields."""
    plain = _with_plain_values(message)
    for name, value in fields_of(plain).items():
        if isinstance(value, dict) and name != "usage_metadata":
            setattr(plain, name, _without_hollow(value))
        elif name in ("tool_calls", "invalid_tool_calls", "tool_call_chunks"):
            calls = [
                {key: "x1" if item is None else _without_hollow(item) or _empty(item) for key, item in call.items()}
                for call in value
            ]
            setattr(plain, name, [{**call, "index": 0} if "index" in call else call for call in calls])
    return plain


def _empty(value: Any) -> Any:
    """What stands in place of a part of a tool call that is hollow: arguments are filled, a text stays."""
    return _FILLED if isinstance(value, dict) else value


def _changed_in_place() -> Iterator[BaseMessage]:
    """Messages whose fields were filled after they were made, which pydantic does not count as set."""
    human, ai = HumanMessage(content="m1"), AIMessage(content="m2")
    human.additional_kwargs["key"] = "value"
    human.response_metadata["key"] = "value"
    ai.tool_calls.append({"name": "f", "args": {"at": "home"}, "id": "call_1", "type": "tool_call"})
    yield from (human, ai)


def _plain_of(value: Any, kinds: tuple[type, ...]) -> Any:
    if isinstance(value, list):
        return [_plain_of(item, kinds) for item in value]
    if isinstance(value, dict):
        return {_plain_of(key, kinds) if key else key: _plain_of(item, kinds) for key, item in value.items()}
    return plain_value(value) if type(value) in kinds else value


def _every_field(_effort: Effort) -> Iterator[Program]:
    yield _kept(_changed_in_place())
    yield _kept(cls(content="m1", id=identity) for cls in (HumanMessage, AIMessage) for identity in _IDS)
    yield _kept([HumanMessage(content="m1", **dict.fromkeys(_EXTRA_COLUMNS, "m1"))])
    yield _kept(filter(is_valid, map(_with_plain_fields, _of_providers("m1"))))
    inside = {"inside": [dict.fromkeys((*_COLUMNS, *_EXTRA_COLUMNS, *_TEXTUAL_KEYS), "m1")]}
    yield _kept(place(inside) for place in _PLACES.values())
    for place in _OBJECTS.values():
        yield _kept(place({"type": "m1", name: "m1"}) for name in (*_COLUMNS, *_EXTRA_COLUMNS))
    for cls in MESSAGE_CLASSES:
        values = optional_fields(cls)
        batch = [build(cls, **{name: value}) for name, options in values.items() for value in options]
        batch.append(build(cls, **{name: options[0] for name, options in values.items()}))
        yield _kept(filter(is_valid, map(_with_plain_fields, batch)))
        yield program(opened(A), Add(1, tuple(filter(is_valid, map(_with_plain_fields, batch[-4:])))), Read(1))


def _every_number(_effort: Effort) -> Iterator[Program]:
    for cls in MESSAGE_CLASSES:
        batch = (build(cls, **{name: value}) for name, values in optional_fields(cls).items() for value in values)
        yield _kept(filter(is_valid, (_with_plain_values(message, (str,)) for message in batch)))
    for place in _PLACES.values():
        yield from _in_chunks((place(value.value) for value in NUMBERS if value not in _TEXTUAL + _LIKE_OBJECTS), 30)


def _every_text(_effort: Effort) -> Iterator[Program]:
    texts = [text for text in TEXTS if text not in LOOKALIKES]
    yield from _texts_everywhere([text.value for text in texts if len(text.value) < _LONG_TEXT])
    for cls in CONTENT_CLASSES:
        yield _in_one_batch(build(cls, content=text.value) for text in texts if len(text.value) < _LONG_TEXT)
    for place in _PLACES.values():
        yield _kept(place(value.value) for value in _TEXTUAL)
    everything = "|".join(text.value for text in texts if len(text.value) < _LONG_TEXT and not text.hard)
    yield _kept(build(cls, content=f"\ufeff a\r\n{everything}\r\n ") for cls in CONTENT_CLASSES)
    yield _kept(HumanMessage(content=filled(size) + everything) for size in (5_000, 70_000))
    long = [text.value for text in texts if len(text.value) >= _LONG_TEXT]
    yield _kept(HumanMessage(content=text) for text in long)
    yield _kept(place(filled(size)) for place in _PLACES.values() for size in (5_000, 40_000, 70_000))
    yield _kept(_with_plain_values(message, (float, int)) for message in _block_contents())


def _block_contents() -> Iterator[BaseMessage]:
    """Lists of content blocks as providers make them, texts and all; what looks like an object is VAL-7's."""
    for content in CONTENTS:
        if isinstance(content.value, list) and "lc" not in content.name:
            yield HumanMessage(content=content.value)


def _texts_everywhere(texts: list[str]) -> Iterator[Program]:
    yield _kept(HumanMessage(content=text) for text in texts)
    yield _kept(HumanMessage(content=[text, {"type": "text", "text": text}]) for text in texts)
    yield _kept(AIMessage(content=["m1", text, text]) for text in texts)
    yield _kept(HumanMessage(content=_blocks_of_providers(text)) for text in texts)
    yield _kept(map(_calls_of_tools, texts))
    yield _kept(AIMessage(content="m1", id=text, name=text) for text in texts)
    yield _kept(ToolMessage(content="m1", tool_call_id=text) for text in texts)
    yield _kept(ChatMessage(content="m1", role=text) for text in texts)
    yield _kept(_OBJECTS["additional_kwargs"]({"value": text, text: text, "list": [text]}) for text in texts)
    yield _kept(_PLACES["tool call"](text) for text in texts)
    yield _kept(_PLACES["artifact"](text) for text in texts)
    yield _kept(_PLACES["response_metadata"](text) for text in texts)


def _blocks_of_providers(text: str) -> list[str | dict[str, Any]]:
    """A text in every place of content blocks, as providers have them, that holds one."""
    return [
        {"type": "image_url", "image_url": {"url": text}},
        {"type": "image", "source_type": "base64", "mime_type": text, "data": text},
        {"type": "file", "base64": text, "mime_type": "application/pdf"},
        {"type": "tool_use", "id": text, "name": text, "input": {"text": text}},
        {"type": "reasoning", "reasoning": text, "signature": text},
        {"type": "text", "text": text, "annotations": [{"type": "citation", "title": text, "url": text}]},
    ]


def _calls_of_tools(text: str) -> BaseMessage:
    """A text in every place of tool calls that holds one, and of calls that failed."""
    call = {"name": text, "args": {text: text}, "id": text, "type": "tool_call"}
    invalid = {"name": text, "args": text, "id": text, "error": text, "type": "invalid_tool_call"}
    return AIMessage(content="m1", tool_calls=[call], invalid_tool_calls=[invalid])


def _unstorable(_effort: Effort) -> Iterator[Program]:
    for value in UNSTORABLE:
        for place in _PLACES.values():
            yield program(opened(A), Add(1, (HumanMessage(content="m0"),)), Add(1, (place(value.value),)), Read(1))


_LC = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": "x"},
}
_LOOKALIKE_VALUES: tuple[Any, ...] = (
    _LC,
    {"lc": 1, "type": "secret", "id": ["HOME"]},
    {"lc": 1, "type": "not_implemented", "id": ["a"], "repr": "x"},
    {"type": "human", "data": {"content": "x"}},
    {"__reduce__": ["os.system", ["true"]], "py/object": "os.system"},
    {"$oid": "0" * 24, "$date": 0, "$numberInt": "1"},
    {"S": "x"},
    {"N": "1"},
)


# Keys by which a codec tells what it has written itself: an object with such a key is data when a caller has it.
_MARKS_OF_PYTHON = (
    "py/tuple py/set py/id py/bytes __class__ __type__ __tuple__ __set__ __bytes__ __date__ __datetime__ __complex__ "
    "__decimal__ __enum__ __ndarray__ __lc_escaped__ __escaped__ __ref__ __json__ __pickle__ __model__ __slots__ "
    "__dict__ __root__"
)
_MARKS_OF_OTHERS = (
    "_type _class @type @class $type $class $ref $id $oid $date $uuid $binary $numberLong $numberDecimal $undefined "
    "$minKey $escape $value $tuple $bytes $set !tuple !!python/tuple ~t ^ # \u0001 stringValue integerValue nullValue "
    "mapValue arrayValue S N B BOOL NULL M L SS float int none tuple json text message messages lc repr ref nil i:nil "
    "xsi:nil value item items entry data kind blob gzip zlib base64 enc cipher"
)


def _marked() -> Iterator[dict[str, Any]]:
    """Objects that a codec may have written itself, what it may have put under its mark, and the same escaped again."""
    for mark in f"{_MARKS_OF_PYTHON} {_MARKS_OF_OTHERS}".split():
        yield {mark: "1"}
        yield {mark: ["a", 1]}
        yield {mark: {mark: {"a": 1}}}
    for mark in _MARKS_OF_PYTHON.split():
        yield {mark: {"lc": 1, "a": 1}}
        yield {mark: "set", "value": [1, 2], "data": [1, 2], "args": [1, 2]}


def _lookalikes(_effort: Effort) -> Iterator[Program]:
    yield from _texts_everywhere([text.value for text in LOOKALIKES])
    for cls in CONTENT_CLASSES:
        yield _in_one_batch(build(cls, content=text.value) for text in LOOKALIKES)
    for name in ("additional_kwargs", "artifact"):
        yield from _in_chunks(map(_PLACES[name], _marked()), 60)
    yield from _in_chunks(map(_OBJECTS["tool call"], _marked()), 60)
    for text in ('{"a": 1}', "[1]", "1", "null"):
        yield _kept(_of_providers(text))
        yield _kept(place(dict.fromkeys(_TEXTUAL_KEYS, text)) for place in (*_OBJECTS.values(), *_PLACES.values()))
    for place in _PLACES.values():
        yield _kept(place(value) for value in (*_LOOKALIKE_VALUES, *(like.value for like in _LIKE_OBJECTS)))
    yield _kept([HumanMessage(content=[_LC]), HumanMessage(content="m1", additional_kwargs=_LC)])


def _key_orders(_effort: Effort) -> Iterator[Program]:
    for place in (*_PLACES.values(), *_OBJECTS.values()):
        yield _kept(place(value.value) for value in KEY_ORDERS)


def _odd_messages() -> Iterator[BaseMessage]:
    yield OddMessage(content="m1")
    yield TaggedHumanMessage(content="m1", tag="t")
    yield BaseMessage(content="m1", type="human")
    yield BaseMessage(content="m1", type="unknown")
    for value in (*UNSTORABLE, *UNUSUAL):
        yield _PLACES["additional_kwargs"](value.value)
        yield _PLACES["artifact"](value.value)


def _readable(_effort: Effort) -> Iterator[Program]:
    yield _kept(build(cls) for cls in MESSAGE_CLASSES)
    for message in _odd_messages():
        yield program(opened(A), Add(1, (HumanMessage(content="m0"),)), Add(1, (message,)), Read(1), fresh_read(2))
    yield _kept(_block_contents())
    deep = [value.value for value in NUMBERS if value.hard]
    yield _kept(_PLACES["additional_kwargs"](value) for value in deep)
    yield _kept([HumanMessage(content=filled(2_000_000)), HumanMessage(content="m1")])


def _unusual(_effort: Effort) -> Iterator[Program]:
    for value in UNUSUAL:
        for place in _PLACES.values():
            yield program(opened(A), Add(1, (place(value.value),)), Read(1))
    yield program(opened(A), Add(1, (TaggedHumanMessage(content="m1", tag="t"),)), Read(1))
    yield program(opened(A), Add(1, (OddMessage(content="m1"),)), Read(1))


def _drawn(elements: st.SearchStrategy[BaseMessage]) -> st.SearchStrategy[Program]:
    """Some messages, one by one or in batches of those that must be stored."""
    return st.lists(elements, min_size=1, max_size=6).map(_kept)


def with_plain_or_refused(failing: Program) -> Iterator[Program]:
    """The same program with plain messages, and then with what is surely refused in place of what may be.

    What fails then is no matter of values, or is what a refusal did to the rest: ATM-1's.
    """
    plain = next(with_plain_messages(failing))
    yield plain
    steps = tuple(
        replace(step, messages=(None,)) if isinstance(step, Add | Assign) and _may_be_refused(given) else step
        for step, given in zip(plain.steps, failing.steps, strict=True)
    )
    if steps != plain.steps:
        yield Program(steps)


def _may_be_refused(step: Step) -> bool:
    return isinstance(step, Add | Assign) and any(map(hard_reasons, step.messages))


def _batch_of(batch: list[BaseMessage]) -> Program:
    steps: list[Step] = [Open(1, A), Add(1, tuple(batch)), Read(1)]
    return program(steps)


CHECKS = (
    Check(
        clause="VAL-1",
        name="read returns every class as it was",
        lens=Lens(view="class"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_every_class,
    ),
    Check(
        clause="VAL-2",
        name="read returns every content as it was",
        lens=Lens(view="content"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_every_content,
        draws=_drawn(
            contents()
            .filter(lambda value: "'lc'" not in repr(value))
            .map(lambda value: HumanMessage(content=_without_hollow(plain_value(value))))
        ),
    ),
    Check(
        clause="VAL-3",
        name="read returns every field as it was",
        lens=Lens(view="loose"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_every_field,
        draws=_drawn(messages().map(_with_plain_fields).filter(is_valid)),
        at_first=40,
    ),
    Check(
        clause="VAL-4",
        name="read returns every value with its type",
        lens=Lens(view="full"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_every_number,
        draws=_drawn(messages().map(lambda message: _with_plain_values(message, (str,)))),
    ),
    Check(
        clause="VAL-5",
        name="read returns every text as it was",
        lens=Lens(view="full"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_every_text,
        draws=_drawn(messages(hard=True).map(lambda message: _with_plain_values(message, (float, int)))),
    ),
    Check(
        clause="VAL-6",
        name="add refuses what it can't keep",
        lens=Lens(view="full"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_unstorable,
    ),
    Check(
        clause="VAL-7",
        name="read returns data, never what it looks like",
        lens=Lens(view="full"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_lookalikes,
    ),
    Check(
        clause="VAL-8",
        name="read returns keys in their order",
        lens=Lens(view="key order"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_key_orders,
        draws=st.lists(messages(), min_size=1, max_size=4).map(_batch_of),
    ),
    Check(
        clause="VAL-9",
        name="read never fails on what was accepted",
        lens=Lens(view="readable"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_readable,
        draws=_drawn(messages(hard=True)),
    ),
    Check(
        clause="VAL-10",
        name="add keeps or refuses unusual values",
        lens=Lens(view="full"),
        controls=with_plain_or_refused,
        control_lens=Lens(),
        cases=_unusual,
    ),
)
