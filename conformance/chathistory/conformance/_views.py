"""What a check looks at when it compares messages: no more than its own clause is about.

A check on order that compared whole values would blame ordering for a store that loses a field. Each view is
one pair of functions: what counts as equal, and how a message is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from langchain_core.messages import BaseMessage

from chathistory.conformance._source import source_of
from chathistory.reference import fields_of, first_difference, same_value

View: TypeAlias = Literal["label", "content", "class", "loose", "full", "key order", "readable"]

LABEL = re.compile(r"\bm\d+\b")
"""What the messages of programs are called, where contents tell them apart."""
_NOT_LOOSE = ("content", "type")


def equal(view: View, expected: Any, observed: Any) -> bool:
    """Whether one message counts as the other under a view."""
    match view:
        case "readable":
            return True
        case "class":
            return type(expected) is type(observed)
        case "label":
            return label_of(expected) == label_of(observed)
        case "content":
            ours, theirs = content_of(expected), content_of(observed)
            return type(ours) is type(theirs) and bool(ours == theirs)
        case "loose":
            return bool(_loose(expected) == _loose(observed))
    return same_value(expected, observed, key_order=view == "key order")


def all_equal(view: View, expected: Sequence[Any], observed: Sequence[Any]) -> bool:
    """Whether two sequences of messages are the same under a view; "readable" ignores the length as well."""
    if view == "readable":
        return True
    return len(expected) == len(observed) and all(
        equal(view, ours, theirs) for ours, theirs in zip(expected, observed, strict=True)
    )


def content_of(message: Any) -> Any:
    """The content of a message, or what stands in its place."""
    return message.content if isinstance(message, BaseMessage) else message


def label_of(message: Any) -> str:
    """What a message is called: the "m1" in its content, whatever else has become of the content."""
    text = str(content_of(message))
    label = LABEL.search(text)
    return label.group() if label else text


def _loose(message: Any) -> Any:
    if not isinstance(message, BaseMessage):
        return message
    return {name: value for name, value in fields_of(message).items() if name not in _NOT_LOOSE}


def shown(view: View, message: Any) -> str:
    """A message as it is shown under a view, in one line."""
    if view == "class" and isinstance(message, BaseMessage):
        return type(message).__qualname__
    return _source(message)


def shown_all(view: View, messages: Any, *, most: int = 12) -> str:
    """Messages as shown under a view, one to a line; the middle of a long list is left out."""
    if not isinstance(messages, list | tuple):
        return _cut(repr(messages))
    if not messages:
        return "[]"
    half = most // 2
    kept = [messages] if len(messages) <= most else [messages[:half], messages[-half:]]
    parts = [[f"  {_cut(shown(view, message), 300)}," for message in part] for part in kept]
    lines = parts[0] if len(parts) == 1 else [*parts[0], f"  … {len(messages) - 2 * half} more …", *parts[1]]
    return "\n".join(["[", *lines, f"]  # {len(messages)} message{'s' if len(messages) != 1 else ''}"])


def explain(view: View, expected: Sequence[Any], observed: Sequence[Any]) -> str:
    """What differs between what should have been read and what was, in one sentence."""
    lost = _without(view, expected, observed)
    foreign = _without(view, observed, expected)
    if not lost and not foreign:
        return "The same messages were read in another order."
    if len(expected) != len(observed):
        return _explain_count(view, len(expected), len(observed), lost, foreign)
    index = next(i for i, pair in enumerate(zip(expected, observed, strict=True)) if not equal(view, *pair))
    return _explain_value(view, index, expected[index], observed[index])


def _without(view: View, messages: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """The messages that have no counterpart among the others, each counterpart used once."""
    if len(messages) > 400:
        seen = {label_of(other) for other in others}
        return [message for message in messages if label_of(message) not in seen]
    rest = list(others)
    missing = []
    for message in messages:
        index = next((i for i, other in enumerate(rest) if equal(view, message, other)), None)
        if index is None:
            missing.append(message)
        else:
            del rest[index]
    return missing


def _explain_count(view: View, expected: int, observed: int, lost: list[Any], foreign: list[Any]) -> str:
    parts = [f"{expected} message{'s were' if expected != 1 else ' was'} expected, {observed} read"]
    if lost:
        parts.append(f"missing: {_few(view, lost)}")
    if foreign:
        parts.append(f"not expected: {_few(view, foreign)}")
    return "; ".join(parts) + "."


def _few(view: View, messages: list[Any]) -> str:
    text = ", ".join(_cut(shown(view, message), 80) for message in messages[:3])
    return text + (f" and {len(messages) - 3} more" if len(messages) > 3 else "")


def _explain_value(view: View, index: int, expected: Any, observed: Any) -> str:
    if view == "class":
        return f"Message {index} came back as {type(observed).__qualname__}, not as {type(expected).__qualname__}."
    if view in ("content", "label"):
        expected, observed, path = content_of(expected), content_of(observed), f"[{index}].content"
    else:
        path = f"[{index}]"
    difference = first_difference(expected, observed, key_order=view == "key order", path=path)
    if difference is None:
        return f"Message {index} differs."
    ours, theirs = _cut(_source(difference.expected), 120), _cut(_source(difference.observed), 120)
    match difference.reason:
        case "missing":
            return f"{difference.path} is missing; it was {ours}."
        case "unexpected":
            return f"{difference.path} was not there; it is {theirs} now."
        case "type":
            names = type(difference.expected).__name__, type(difference.observed).__name__
            return f"{difference.path} is {theirs} ({names[1]}), not {ours} ({names[0]})."
        case "key order":
            return f"{difference.path or 'It'} has its keys in the order {theirs}, not {ours}."
        case "length":
            return f"{difference.path} has the length {theirs}, not {ours}."
    return f"{difference.path} is {theirs}, not {ours}{_where(difference.expected, difference.observed)}."


def _where(expected: Any, observed: Any) -> str:
    """For long texts: at which character they part."""
    if not (isinstance(expected, str) and isinstance(observed, str)) or max(len(expected), len(observed)) < 60:
        return ""
    at = next((i for i, pair in enumerate(zip(expected, observed, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(expected), len(observed)) if at is None else at
    return f" (they part at character {at}; lengths {len(expected)} and {len(observed)})"


def _source(value: Any) -> str:
    try:
        return source_of(value)
    except Exception:  # noqa: BLE001 -- anything may have been read, and it must be shown somehow
        return repr(value)


def _cut(text: str, length: int = 400) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
