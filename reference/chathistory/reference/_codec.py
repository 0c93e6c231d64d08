"""Messages to text and back, exactly or not at all.

The text is JSON in the layout of langchain-core's `message_to_dict`, `{"type": …, "data": {…}}`, so that
rows written here are read by the classes people use today and the other way round. It is pure ASCII: no
store, encoding or driver has a reason to change it, and NUL and lone surrogates pass as escapes.

Three things are done otherwise than in langchain-core, each because the plain way alters values in silence:

* what JSON can't hold exactly (tuples, sets, bytes, NaN, keys that are no strings, subclasses …) is refused
  before anything is stored (VAL-6, VAL-10), not turned into something near it;
* messages are rebuilt field by field and not through their validators, which recompute fields such as
  `tool_calls` from others; validation is the second choice, for entries that other versions wrote;
* only the message classes of langchain-core are built; no text can name any other class (VAL-7).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
from pydantic import ValidationError

from chathistory.reference._errors import DamagedMessageError, NotAMessageError, UnstorableValueError
from chathistory.reference._values import fields_of, same_value

MESSAGE_CLASSES: tuple[type[BaseMessage], ...] = (
    HumanMessage,
    AIMessage,
    SystemMessage,
    ToolMessage,
    FunctionMessage,
    ChatMessage,
    RemoveMessage,
    HumanMessageChunk,
    AIMessageChunk,
    SystemMessageChunk,
    ToolMessageChunk,
    FunctionMessageChunk,
    ChatMessageChunk,
)
"""Every concrete message class of langchain-core: what a history must be able to keep (VAL-1)."""

MAX_DEPTH = 200
"""How deep objects and lists may nest: well inside the recursion limit of every JSON reader."""

_CLASS_OF_TYPE: dict[str, type[BaseMessage]] = {cls.model_fields["type"].default: cls for cls in MESSAGE_CLASSES}
_TYPE_OF_CLASS = {cls: type_name for type_name, cls in _CLASS_OF_TYPE.items()}
_FIELDS_OF_CLASS = {cls: frozenset(cls.model_fields) for cls in MESSAGE_CLASSES}
# JSON escapes of two adjacent lone surrogates read back as the one character they would encode.
_FALSE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LARGEST_PLAIN_INT = 10**4000  # CPython refuses to convert integers of more than 4,300 digits


def check_batch(messages: Iterable[BaseMessage], session_id: str) -> list[BaseMessage]:
    """Read the argument of an add once, and refuse what is not a sequence of messages (ORD-5, ERR-1).

    Args:
        messages: what a caller passed to `add_messages`.
        session_id: the session it was meant for, named in errors.

    Raises:
        NotAMessageError: if it, or anything in it, is not a message.
    """
    if isinstance(messages, str | bytes | Mapping | BaseMessage) or not isinstance(messages, Iterable):
        raise NotAMessageError(
            f"session {_cut(repr(session_id))}: expected a sequence of messages, got {_kind(messages)}; "
            "pass a list, for example [HumanMessage('hello')]"
        )
    batch = list(messages)
    for index, message in enumerate(batch):
        if not isinstance(message, BaseMessage):
            raise NotAMessageError(
                f"session {_cut(repr(session_id))}: item {index} of the batch is {_kind(message)}, not a message; "
                "nothing was stored"
            )
    return batch


def encode_batch(messages: Iterable[BaseMessage], session_id: str) -> list[str]:
    """The whole batch as texts, or an error that names session, message and field, and nothing stored.

    Raises:
        NotAMessageError: see `check_batch`.
        UnstorableValueError: if a message can't be stored exactly.
    """
    return [json.dumps(data) for data in _plain_batch(messages, session_id)]


def copy_batch(messages: Iterable[BaseMessage], session_id: str) -> tuple[BaseMessage, ...]:
    """The whole batch as copies that share nothing with it, refused under the rules of `encode_batch`."""
    return tuple(_build(_CLASS_OF_TYPE[plain["type"]], plain["data"]) for plain in _plain_batch(messages, session_id))


def copy_messages(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """Copies of messages that came through `copy_batch` or `decode`: equal, and sharing nothing (SNP-2)."""
    return [_build(type(message), _copy(fields_of(message))) for message in messages]


def encode(message: BaseMessage) -> str:
    """One message as text.

    Raises:
        UnstorableValueError: if it can't be stored exactly; the error names the field.
    """
    return json.dumps(_plain(message))


def decode(text: str | bytes) -> BaseMessage:
    """The message that `encode`, or langchain-core's `message_to_dict`, turned into this text.

    Raises:
        DamagedMessageError: if the text is not such a message.
    """
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedMessageError(f"the entry is not JSON: {error}") from None
    return from_plain(stored)


def from_plain(stored: Any) -> BaseMessage:
    """The message of an already parsed entry `{"type": …, "data": {…}}`; see `decode`."""
    if not isinstance(stored, dict) or not isinstance(stored.get("data"), dict):
        raise DamagedMessageError('the entry is not an object of the form {"type": …, "data": {…}}')
    type_name = stored.get("type")
    cls = _CLASS_OF_TYPE.get(type_name) if isinstance(type_name, str) else None
    if cls is None:
        raise DamagedMessageError(f"the entry has the unknown message type {_cut(repr(type_name))}")
    data = stored["data"]
    if _is_complete(cls, data):
        return _build(cls, data)
    return _validated(cls, data)


def _plain_batch(messages: Iterable[BaseMessage], session_id: str) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = []
    for index, message in enumerate(check_batch(messages, session_id)):
        try:
            plain.append(_plain(message))
        except UnstorableValueError as error:
            raise UnstorableValueError(
                f"session {_cut(repr(session_id))}: message {index} of the batch: {error}; nothing was stored"
            ) from None
    return plain


def _plain(message: BaseMessage) -> dict[str, Any]:
    """The message as nested JSON values, sharing nothing with it."""
    cls = type(message)
    if cls not in _TYPE_OF_CLASS:
        raise UnstorableValueError(
            f"{cls.__module__}.{cls.__qualname__} is not a message class of langchain-core, "
            "and would come back as another class"
        )
    data = {name: _plain_value(value, f".{name}", 0) for name, value in fields_of(message).items()}
    if not _is_complete(cls, data):
        _refuse_unless_rebuilt(message, data)
    return {"type": _TYPE_OF_CLASS[cls], "data": data}


def _refuse_unless_rebuilt(message: BaseMessage, data: dict[str, Any]) -> None:
    """Let an unusual message pass only if it is read back as it is (VAL-9)."""
    try:
        rebuilt = _validated(type(message), _copy(data))
    except DamagedMessageError as error:
        raise UnstorableValueError(f"it is not valid for its own class: {error}") from None
    if not same_value(message, rebuilt):
        raise UnstorableValueError(f"{type(message).__name__} would change its fields when read back")


def _plain_value(value: Any, path: str, depth: int) -> Any:
    """A copy of a JSON value; anything else is refused."""
    kind = type(value)
    if kind is str:
        return _plain_text(value, path)
    if value is None or kind is bool:
        return value
    if kind is int:
        if not -_LARGEST_PLAIN_INT < value < _LARGEST_PLAIN_INT:
            raise UnstorableValueError(f"{path} is an integer of more than 4,000 digits")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise UnstorableValueError(f"{path} is {value!r}, which JSON has no number for")
        return value
    if depth >= MAX_DEPTH:
        raise UnstorableValueError(f"{_cut(path)} nests deeper than {MAX_DEPTH} levels")
    if kind is list:
        return [_plain_value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if kind is dict:
        return {_plain_key(key, path): _plain_value(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}
    raise UnstorableValueError(
        f"{_cut(path)} is {_kind(value)}; only str, int, float, bool, None, list and dict are stored exactly"
    )


def _plain_key(key: Any, path: str) -> str:
    if type(key) is not str:
        raise UnstorableValueError(
            f"{_cut(path)} has the key {_cut(repr(key))} of type {type(key).__name__}; keys must be str"
        )
    return _plain_text(key, path)


def _plain_text(value: str, path: str) -> str:
    if not value.isascii() and _FALSE_PAIR.search(value):
        raise UnstorableValueError(
            f"{_cut(path)} holds two adjacent lone surrogates, which JSON reads as one character"
        )
    return value


def _copy(value: Any) -> Any:
    """A copy of a JSON value that shares nothing mutable with it."""
    kind = type(value)
    if kind is dict:
        return {key: _copy(item) for key, item in value.items()}
    if kind is list:
        return [_copy(item) for item in value]
    return value


def _build(cls: type[BaseMessage], data: dict[str, Any]) -> BaseMessage:
    """A message with exactly these fields: what pydantic's `model_construct` does, without its conversions."""
    known = _FIELDS_OF_CLASS[cls]
    if len(data) > len(known):
        fields = {name: value for name, value in data.items() if name in known}
        extra = {name: value for name, value in data.items() if name not in known}
    else:
        fields, extra = data, {}
    message = cls.__new__(cls)
    object.__setattr__(message, "__dict__", fields)
    object.__setattr__(message, "__pydantic_fields_set__", set(data))
    object.__setattr__(message, "__pydantic_extra__", extra)
    object.__setattr__(message, "__pydantic_private__", None)
    return message


def _validated(cls: type[BaseMessage], data: dict[str, Any]) -> BaseMessage:
    """A message through its class's own validation: for entries of other versions, and for damaged ones."""
    try:
        return cls.model_validate(data)
    except (ValidationError, TypeError, ValueError, AttributeError, KeyError) as error:
        first = error.errors(include_url=False, include_input=False)[0] if isinstance(error, ValidationError) else None
        detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        raise DamagedMessageError(f"the fields of the {cls.__name__} are not valid: {_cut(detail)}") from None


def _is_complete(cls: type[BaseMessage], data: Mapping[str, Any]) -> bool:
    """Whether every field of the class is there and of the kind the class declares."""
    if not _FIELDS_OF_CLASS[cls] <= data.keys() or data["type"] != _TYPE_OF_CLASS[cls]:
        return False
    return all(name not in data or fits(data[name]) for name, fits in _FITS.items() if name in _FIELDS_OF_CLASS[cls])


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_content(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str | dict) for item in value))


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_calls(value: Any) -> bool:
    return _is_objects(value) and all(
        isinstance(call.get("name"), str) and isinstance(call.get("args"), dict) and _is_text_or_none(call.get("id"))
        for call in value
    )


_FITS: dict[str, Callable[[Any], bool]] = {
    "content": _is_content,
    "additional_kwargs": _is_object,
    "response_metadata": _is_object,
    "id": _is_text_or_none,
    "name": _is_text_or_none,
    "tool_calls": _is_calls,
    "invalid_tool_calls": _is_objects,
    "tool_call_chunks": _is_objects,
    "usage_metadata": lambda value: value is None or isinstance(value, dict),
    "tool_call_id": _is_text,
    "role": _is_text,
    "status": lambda value: value in ("success", "error"),
    "chunk_position": lambda value: value in (None, "last"),
}


def _kind(value: Any) -> str:
    name = type(value).__name__
    return name if value is None or name == "NoneType" else f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"


def _cut(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
