"""Shows values and steps as Python: exactly, for scripts that anyone can run, or cut short, for people.

A message is shown as the shortest call that builds it. Whether a call builds exactly the message is found out
by making it; nothing is assumed about what constructors do with their arguments.
"""

from __future__ import annotations

import datetime
import keyword
import types
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import SplitResult

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, RemoveMessage
from langchain_core.messages.base import TextAccessor
from langchain_core.runnables.graph import NodeStyles

from chathistory.conformance._layout import Block, Tree, called, flat, laid_out, prefixed, suffixed
from chathistory.conformance._literals import bytes_source, float_source, int_source, template_source, text_source
from chathistory.conformance._portable import ODD_CLASSES, ODD_OBJECTS, given_fields, repetition
from chathistory.conformance._series import series_at, unpacked
from chathistory.reference import MESSAGE_CLASSES, same_value

_LONGEST_SERIES_SHOWN = 72

_MODULE_OF_NAME: Mapping[str, str] = {
    **{cls.__name__: "langchain_core.messages" for cls in MESSAGE_CLASSES},
    "BaseMessage": "langchain_core.messages",
    "Decimal": "decimal",
    "Document": "langchain_core.documents",
    "Literal": "typing",
    "NodeStyles": "langchain_core.runnables.graph",
    "HTTPStatus": "http",
    "OrderedDict": "collections",
    "PurePosixPath": "pathlib",
    "SafeUUID": "uuid",
    "SimpleNamespace": "types",
    "SplitResult": "urllib.parse",
    "UUID": "uuid",
    "TextAccessor": "langchain_core.messages.base",
    "deque": "collections",
}
_NEEDED_BY_CLASS = {"OddMessage": ("BaseMessage", "Literal"), "TaggedHumanMessage": ("HumanMessage",)}
_DEFINITIONS = {
    "OddMessage": 'class OddMessage(BaseMessage):\n    type: Literal["odd"] = "odd"',
    "TaggedHumanMessage": 'class TaggedHumanMessage(HumanMessage):\n    tag: str = ""',
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of long values is shown to people."""

    characters: int
    items: int


def source_of(value: Any) -> str:
    """A Python expression that builds exactly this value, long lists and calls broken over lines.

    It is valid where the lines of `imports_of` and `definitions_of` for the value have been carried out.

    Raises:
        TypeError: if no expression is known for the value.
    """
    return laid_out(Renderer().tree(value))


def imports_of(values: Iterable[Any]) -> list[str]:
    """The import statements that the sources of these values need."""
    return imports_of_names(_names(values))


def definitions_of(values: Iterable[Any]) -> list[str]:
    """The class statements that the sources of these values need, after their imports."""
    return definitions_of_names(_names(values))


def imports_of_names(names: Iterable[str]) -> list[str]:
    """The import statements for names that a `Renderer` collected, in the order of ruff and isort."""
    wanted: dict[str, set[str]] = {}
    plain: set[str] = set()
    needed = {need for name in names for need in _NEEDED_BY_CLASS.get(name, ())}
    for name in {*names, *needed}:
        if name in _MODULE_OF_NAME:
            wanted.setdefault(_MODULE_OF_NAME[name], set()).add(name)
        elif name not in ODD_CLASSES:
            plain.add(name)
    lines = [f"from {module} import {', '.join(sorted(wanted[module]))}" for module in sorted(wanted)]
    return [*(f"import {name}" for name in sorted(plain)), *lines]


def definitions_of_names(names: Iterable[str]) -> list[str]:
    """The class statements for names that a `Renderer` collected."""
    return [_DEFINITIONS[name] for name in sorted(names) if name in _DEFINITIONS]


class Renderer:
    """Shows values as trees, and collects the names that they need.

    Args:
        limits: cut long values, for people; by default nothing is cut.
        shares: an object that stands in a list twice is built once.
        templates: message ids are the templates of a program.
    """

    def __init__(self, limits: Limits | None = None, *, shares: bool = True, templates: bool = False) -> None:
        self.names: set[str] = set()
        self._limits = limits
        self._shares = shares
        self._templates = templates
        self._shared = 0

    def tree(self, value: Any) -> Tree:
        """An expression that builds the value."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if isinstance(value, BaseMessage):
            return self._message(value)
        if kind in _CONTAINERS:
            return self._container(value)
        if kind is dict:
            return self._dict(value)
        if kind is OrderedDict:
            self.names.add("OrderedDict")
            return called("OrderedDict", self._dict(value))
        if kind is deque:
            self.names.add("deque")
            return called("deque", self._container(list(value)))
        if kind is types.SimpleNamespace:
            self.names.add("SimpleNamespace")
            return self._call("SimpleNamespace", [], vars(value))
        if kind is Document:
            self.names.add("Document")
            return self._call("Document", [], {"page_content": value.page_content, "metadata": value.metadata})
        if kind in _SCALARS:
            needed, source = _SCALARS[kind]
            self.names.update(needed)
            return source(value)
        return self._odd(value)

    def text(self, text: str, source: Callable[[str], str] = text_source) -> str:
        """A text, or the beginning of it and its length."""
        if self._limits is None:
            return source(text)
        limit = self._limits.characters
        if len(text) <= limit or repetition(text):
            whole = source(text)
            if len(whole) <= limit + 40:
                return whole
        start = source(text[:limit])
        return f"{start[:-1]}…{start[-1]} ({len(text):,} characters)"

    def _odd(self, value: Any) -> str:
        for name, known in ODD_OBJECTS.items():
            if value is known:
                if name in _MODULE_OF_NAME:
                    self.names.add(name)
                return name
        if self._limits:
            return f"<{type(value).__name__}>"
        raise TypeError(f"no Python expression is known for a {type(value).__module__}.{type(value).__qualname__}")

    def _container(self, value: Any) -> Tree:
        opening, closing = _CONTAINERS[type(value)]
        if type(value) in (set, frozenset):
            items = sorted((self.tree(item) for item in value), key=flat)
            return Block(opening, tuple(items), closing) if items else f"{type(value).__name__}()"
        items = list(self._elements(value))
        if opening == "[" and len(items) == 1 and (series := unpacked(items[0])):
            return series
        return Block(opening, tuple(items), ",)" if opening == "(" and len(items) == 1 else closing)

    def _elements(self, items: Sequence[Any]) -> Iterator[Tree]:
        """The items of a list: runs of like ones as one, an object that stands there twice by a name."""
        counts = Counter(id(item) for item in items if isinstance(item, BaseMessage) and self._shares)
        names: dict[int, str] = {}
        index = shown = 0
        while index < len(items):
            if self._limits and shown >= self._limits.items and len(items) - index > 1:
                yield f"… {len(items):,} items"
                return
            shown += 1
            item = items[index]
            series = series_at(items, index, counts)
            if series and (self._limits is None or len(flat(series.tree)) <= _LONGEST_SERIES_SHOWN):
                self.names.update(series.names)
                yield prefixed("*", series.tree)
                index += series.length
                continue
            yield self._shared_item(item, names) if counts[id(item)] > 1 else self.tree(item)
            index += 1

    def _shared_item(self, item: Any, names: dict[int, str]) -> Tree:
        if id(item) in names:
            return names[id(item)]
        self._shared += 1
        names[id(item)] = f"twice{self._shared if self._shared > 1 else ''}"
        return prefixed(f"{names[id(item)]} := ", self.tree(item))

    def _dict(self, value: dict[Any, Any]) -> Tree:
        items = [prefixed(f"{flat(self.tree(key))}: ", self.tree(item)) for key, item in value.items()]
        if self._limits and len(items) > self._limits.items + 1:
            items[self._limits.items :] = [f"… {len(items):,} keys"]
        return Block("{", tuple(items), "}")

    def _message(self, message: BaseMessage) -> Tree:
        cls = type(message)
        self.names.add(cls.__name__)
        given = given_fields(message)
        for fields in (_without_call_types(given), given):
            positional, rest = _arguments(cls, fields)
            if _same_call(message, positional, rest):
                return self._call(cls.__name__, positional, rest)
        taken = {name: given.pop(name) for name in ("cls", "_fields_set") if name in given}
        tree = self._call(f"{cls.__name__}.model_construct", [], given)
        return suffixed(tree, f".model_copy(update={flat(self.tree(taken))})") if taken else tree

    def _call(self, function: str, positional: Sequence[Any], named: Mapping[str, Any]) -> Tree:
        arguments = [self.tree(value) for value in positional]
        odd: dict[str, Any] = {}
        for name, value in named.items():
            if name.isidentifier() and name.isascii() and not keyword.iskeyword(name):
                is_template = self._templates and name == "id" and type(value) is str
                tree = self.text(value, template_source) if is_template else self.tree(value)
                arguments.append(prefixed(f"{name}=", tree))
            else:
                odd[name] = value
        if odd:
            arguments.append(prefixed("**", self.tree(odd)))
        return called(function, *arguments)


def _arguments(cls: type[BaseMessage], fields: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The fields as positional and named arguments of the class."""
    named = dict(fields)
    if cls is RemoveMessage:
        if named.get("content") == "":
            del named["content"]
        return [], named
    return ([named.pop("content")] if "content" in named else []), named


def _same_call(message: BaseMessage, positional: Sequence[Any], named: Mapping[str, Any]) -> bool:
    try:
        built = type(message)(*positional, **named)
    except (TypeError, ValueError, AttributeError, LookupError, RecursionError):
        return False
    return same_value(message, built, key_order=True)


def _without_call_types(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without the `type` that constructors put into tool calls by themselves."""
    shorter = dict(given)
    for name in ("tool_calls", "invalid_tool_calls", "tool_call_chunks"):
        calls = given.get(name)
        if type(calls) is list and all(type(call) is dict for call in calls):
            shorter[name] = [{key: item for key, item in call.items() if key != "type"} for call in calls]
    return shorter


_CONTAINERS: Mapping[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
_SCALARS: Mapping[type, tuple[tuple[str, ...], Callable[[Any], str]]] = {
    type(None): ((), repr),
    bool: ((), repr),
    int: ((), int_source),
    float: ((), float_source),
    complex: ((), lambda value: f"complex({float_source(value.real)}, {float_source(value.imag)})"),
    bytes: ((), bytes_source),
    bytearray: ((), lambda value: f"bytearray({bytes_source(bytes(value))})"),
    object: ((), lambda _: "object()"),
    Decimal: (("Decimal",), lambda value: f'Decimal("{value}")'),
    uuid.UUID: (("UUID",), lambda value: f'UUID("{value}")'),
    range: ((), repr),
    PurePosixPath: (("PurePosixPath",), lambda value: f"PurePosixPath({text_source(str(value))})"),
    SplitResult: (("SplitResult",), lambda value: f"SplitResult({', '.join(map(text_source, value))})"),
    HTTPStatus: (("HTTPStatus",), lambda value: f"HTTPStatus({int(value)})"),
    NodeStyles: (
        ("NodeStyles",),
        lambda value: f"NodeStyles({', '.join(map(text_source, (value.default, value.first, value.last)))})",
    ),
    uuid.SafeUUID: (("SafeUUID",), lambda value: f"SafeUUID.{value.name}"),
    TextAccessor: (("TextAccessor",), lambda value: f"TextAccessor({text_source(str.__str__(value))})"),
    datetime.datetime: (
        ("datetime",),
        lambda value: f'datetime.datetime.fromisoformat("{value.isoformat()}")',
    ),
    datetime.date: (("datetime",), lambda value: f'datetime.date.fromisoformat("{value.isoformat()}")'),
}


def _names(values: Iterable[Any]) -> set[str]:
    renderer = Renderer()
    for value in values:
        renderer.tree(value)
    return renderer.names
