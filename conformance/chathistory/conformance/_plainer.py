"""Plainer messages in place of one: a field at its default, or a plainer value in a field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.conformance._views import LABEL
from chathistory.reference import fields_of, same_value


def plainer_messages(message: Any) -> Iterator[Any]:
    """Plainer messages that are valid: one that could not have been made says nothing about a history."""
    if isinstance(message, BaseMessage):
        yield from filter(is_valid, _plainer_candidates(message))


def is_valid(message: BaseMessage) -> bool:
    """Whether the class's own constructor would make the same message of its fields."""
    try:
        again = type(message)(**{name: value for name, value in fields_of(message).items() if name != "type"})
    except (TypeError, ValueError):
        return False
    return same_value(message, again)


def _plainer_candidates(message: BaseMessage) -> Iterator[BaseMessage]:
    """A field at its default, or a plainer value in a field."""
    if not is_ordinary(message):
        yield HumanMessage("m1")
    for name, value in fields_of(message).items():
        declared = type(message).model_fields.get(name)
        if name == "type" or (
            declared is not None and not _is_needed(value, declared.get_default(call_default_factory=True))
        ):
            continue
        if declared is None:
            yield _without_field(message, name)
        elif not declared.is_required():
            yield with_field(message, name, declared.get_default(call_default_factory=True))
        for plainer in _plainer_value(value):
            yield with_field(message, name, plainer)


def is_ordinary(message: BaseMessage) -> bool:
    """Whether it is a short text that a user or a model says; it may have a name, calls and metadata."""
    return type(message) in (HumanMessage, AIMessage) and _is_plain(message)


def _is_plain(message: BaseMessage) -> bool:
    content = message.content
    return isinstance(content, str) and len(content) < 12 and not message.additional_kwargs and not message.id


def _is_needed(value: Any, default: Any) -> bool:
    return bool(value != default)


def with_field(message: BaseMessage, name: str, value: Any) -> BaseMessage:
    """The message with another value in a field."""
    copied = message.model_copy()
    if name in type(message).model_fields:
        copied.__dict__[name] = value
        copied.model_fields_set.add(name)
    else:
        object.__setattr__(copied, "__pydantic_extra__", {**(message.__pydantic_extra__ or {}), name: value})
    return copied


def _without_field(message: BaseMessage, name: str) -> BaseMessage:
    copied = message.model_copy()
    extra = {key: value for key, value in (message.__pydantic_extra__ or {}).items() if key != name}
    object.__setattr__(copied, "__pydantic_extra__", extra)
    return copied


def _plainer_value(value: Any) -> Iterator[Any]:
    """Plainer values of the same kind."""
    if isinstance(value, str):
        yield from _plainer_text(value)
    elif isinstance(value, list):
        yield from _plainer_list(value)
    elif isinstance(value, dict):
        yield from _plainer_dict(value)
    elif type(value) is int and abs(value) > 1:
        yield from _plainer_int(value)


def _plainer_text(value: str) -> Iterator[str]:
    if not value or LABEL.fullmatch(value):
        return
    yield from ("", "a")
    if len(value) > 1:
        half = len(value) // 2
        yield from (value[:half], value[half:])
    if len(value) <= 40:
        yield from (value[:index] + value[index + 1 :] for index in range(len(value)))


def _plainer_int(value: int) -> Iterator[int]:
    """Zero, one, the same without its sign, shorter ones, and the roundest of its length."""
    yield from (0, 1)
    if value < 0:
        yield -value
    size, sign = abs(value), 1 if value > 0 else -1
    fewer = size.bit_length() // 2
    while fewer:
        yield sign * (size >> fewer)
        fewer //= 2
    yield sign << (size.bit_length() - 1)


def _plainer_list(value: list[Any]) -> Iterator[list[Any]]:
    if value:
        yield []
        half = len(value) // 2
        if half:
            yield from (value[:half], value[half:])
        if len(value) <= 20:
            yield from ([*value[:index], *value[index + 1 :]] for index in range(len(value)))
        for index, item in enumerate(value[:8]):
            for plainer in _plainer_value(item):
                yield [*value[:index], plainer, *value[index + 1 :]]


def _plainer_dict(value: dict[Any, Any]) -> Iterator[dict[Any, Any]]:
    for key in list(value)[:20]:
        yield {name: item for name, item in value.items() if name != key}
    for key, item in list(value.items())[:8]:
        for plainer in _plainer_value(item):
            yield {**value, key: plainer}
