"""Shows values and steps as Python: exactly, for scripts that anyone can run, or cut short, for people.

A message is shown as the shortest call that builds it. Whether a call builds exactly the message is found out
by making it; nothing is assumed about what constructors do with their arguments.
"""

from __future__ import annotations

import datetime
import keyword
import re
import types
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeAlias

from langchain_core.messages import BaseMessage, RemoveMessage

from chathistory.conformance._portable import ODD_CLASSES, ODD_OBJECTS, given_fields, repetition
from chathistory.reference import MESSAGE_CLASSES, same_value

WIDTH = 100
_SHORTEST_SERIES = 5
_LONGEST_SERIES_SHOWN = 72
_TOKEN = re.compile(r"(\{run\}|\{number\})")
_LONGEST_NUMBER = 15
_NUMBER_LAST = re.compile(r"(?:0|[1-9][0-9]*)\Z")
_NUMBER_FIRST = re.compile(r"([^0-9]*)(0|[1-9][0-9]{0,14})([^0-9].*)", re.DOTALL)
_LARGEST_DECIMAL = 10**4000  # CPython refuses to read decimal integers of more than 4,300 digits

_MODULE_OF_NAME: Mapping[str, str] = {
    **{cls.__name__: "langchain_core.messages" for cls in MESSAGE_CLASSES},
    "BaseMessage": "langchain_core.messages",
    "Decimal": "decimal",
    "Literal": "typing",
    "SimpleNamespace": "types",
    "UUID": "uuid",
    "deque": "collections",
}
_NEEDED_BY_CLASS = {"OddMessage": ("BaseMessage", "Literal"), "TaggedHumanMessage": ("HumanMessage",)}
_DEFINITIONS = {
    "OddMessage": 'class OddMessage(BaseMessage):\n    type: Literal["odd"] = "odd"',
    "TaggedHumanMessage": 'class TaggedHumanMessage(HumanMessage):\n    tag: str = ""',
}


@dataclass(frozen=True, slots=True)
class Block:
    """An expression in brackets that may be laid out over several lines, an item to a line.

    Attributes:
        opening: what stands before the items.
        items: the items.
        closing: what stands behind them.
        comma: what separates them; empty for the parts of a comprehension.
    """

    opening: str
    items: tuple[Tree, ...]
    closing: str
    comma: str = ","


Tree: TypeAlias = str | Block
_Pattern: TypeAlias = tuple[Callable[[int], str], Callable[[], str], int]


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


def flat(tree: Tree) -> str:
    """The expression on one line."""
    if isinstance(tree, str):
        return tree
    return tree.opening + f"{tree.comma} ".join(map(flat, tree.items)) + tree.closing


def laid_out(tree: Tree, indent: int = 0, tail: int = 0) -> str:
    """The expression on one line, or on several if it doesn't fit.

    Args:
        tree: the expression.
        indent: by how much the line on which it begins is indented.
        tail: how many characters follow it on its last line.
    """
    line = flat(tree)
    if isinstance(tree, str) or not tree.items or indent + len(line) + tail <= WIDTH:
        return line
    inner = " " * (indent + 4)
    items = [f"{inner}{laid_out(item, indent + 4, 1)}{tree.comma}\n" for item in tree.items]
    return f"{tree.opening}\n{''.join(items)}{' ' * indent}{tree.closing.lstrip(',')}"


def prefixed(prefix: str, tree: Tree) -> Tree:
    """The expression with text before it, such as the name of an argument."""
    return prefix + tree if isinstance(tree, str) else replace(tree, opening=prefix + tree.opening)


def suffixed(tree: Tree, suffix: str) -> Tree:
    """The expression with text after it."""
    return tree + suffix if isinstance(tree, str) else replace(tree, closing=tree.closing + suffix)


def called(function: str, *arguments: Tree) -> Tree:
    """The call of a function."""
    return Block(f"{function}(", arguments, ")")


def text_source(text: str) -> str:
    """A text as a Python literal, long repetitions as a product."""
    return _concatenated(text, lambda part: _literal([part], formatted=False))


def template_source(template: str) -> str:
    """The template of a session id as an f-string over the variables `run` and `number`."""
    if not _TOKEN.search(template):
        return text_source(template)
    source = _concatenated(template, _template_literal)
    return (
        source
        if len(_TOKEN.findall(source)) == len(_TOKEN.findall(template))
        else _template_literal(template)
    )


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
    """

    def __init__(self, limits: Limits | None = None, *, shares: bool = True) -> None:
        self.names: set[str] = set()
        self._limits = limits
        self._shares = shares
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
        if kind is types.SimpleNamespace:
            self.names.add("SimpleNamespace")
            return self._call("SimpleNamespace", [], vars(value))
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
        raise TypeError(
            f"no Python expression is known for a {type(value).__module__}.{type(value).__qualname__}"
        )

    def _container(self, value: Any) -> Tree:
        opening, closing = _CONTAINERS[type(value)]
        if type(value) in (set, frozenset):
            items = sorted((self.tree(item) for item in value), key=flat)
            return Block(opening, tuple(items), closing) if items else f"{type(value).__name__}()"
        items = list(self._elements(value))
        if opening == "[" and len(items) == 1 and (series := _unpacked(items[0])):
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
            series = _series(items, index, counts)
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
                arguments.append(prefixed(f"{name}=", self.tree(value)))
            else:
                odd[name] = value
        if odd:
            arguments.append(prefixed("**", self.tree(odd)))
        return called(function, *arguments)


@dataclass(frozen=True, slots=True)
class _Series:
    """A run of items of a list that one comprehension builds."""

    tree: Tree
    length: int
    names: frozenset[str] = frozenset()


def _series(items: Sequence[Any], start: int, counts: Mapping[int, int]) -> _Series | None:
    """The longest series that begins at an item, if it is long enough to be worth a comprehension."""
    first = _plain_text(items[start], counts)
    second = _plain_text(items[start + 1], counts) if start + 1 < len(items) else None
    if first is None or second is None or (first[0] is str) != (second[0] is str):
        return None
    kinds = (first[0], second[0])
    best: _Series | None = None
    for text_at, source, begin in _patterns(first[1]):
        length = 0
        while start + length < len(items) and _plain_text(items[start + length], counts) == (
            kinds[length % 2],
            text_at(length),
        ):
            length += 1
        if length >= _SHORTEST_SERIES and (best is None or length > best.length):
            best = _series_of(kinds, source(), begin, length)
    return best


def _series_of(kinds: tuple[type, type], source: str, begin: int, length: int) -> _Series:
    """The comprehension; classes that alternate are told by the parity of the number."""
    if kinds == (str, str) and not source.startswith("f"):
        return _Series(f"[{source}] * {length}", length)
    numbers = f"range({begin}, {begin + length})" if begin else f"range({length})"
    even, odd = kinds if begin % 2 == 0 else kinds[::-1]
    uses_number = even is not odd or source.startswith("f")
    loop = f"for {'i' if uses_number else '_'} in {numbers}"
    if kinds == (str, str):
        return _Series(Block("[", (source, loop), "]", ""), length)
    call = even.__name__ if even is odd else f"({even.__name__} if i % 2 == 0 else {odd.__name__})"
    tree = Block("[", (f"{call}({source})", loop), "]", "")
    return _Series(tree, length, frozenset({even.__name__, odd.__name__}))


def _unpacked(item: Tree) -> Tree | None:
    """The list of which an item is the unpacking, if it is one."""
    opening = item if isinstance(item, str) else item.opening
    if not opening.startswith("*["):
        return None
    return item[1:] if isinstance(item, str) else replace(item, opening=item.opening[1:])


def _patterns(text: str) -> Iterator[_Pattern]:
    """The ways in which a text may go on: what the k-th would be, its source, and the number in the first."""
    yield (lambda _: text), (lambda: text_source(text)), 0
    last = _NUMBER_LAST.search(text[-_LONGEST_NUMBER:])
    if last:
        yield _numbered(text[: -len(last[0])], int(last[0]), "")
    first = _NUMBER_FIRST.fullmatch(text)
    if first:
        yield _numbered(first[1], int(first[2]), first[3])


def _numbered(before: str, number: int, after: str) -> _Pattern:
    def source() -> str:
        repeated = repetition(after)
        if not repeated:
            return _literal([before, None, after], formatted=True)
        product = text_source(after.removeprefix(repeated.head))
        return f"{_literal([before, None, repeated.head], formatted=True)} + {product}"

    return (lambda index: f"{before}{number + index}{after}"), source, number


def _plain_text(item: Any, counts: Mapping[int, int]) -> tuple[type, str] | None:
    """The class and text of a str or of a message of text alone; None for anything else."""
    if type(item) is str:
        return str, item
    if type(item) not in MESSAGE_CLASSES or type(item) is RemoveMessage or counts[id(item)] > 1:
        return None
    given = given_fields(item)
    if list(given) != ["content"] or type(given["content"]) is not str:
        return None
    return type(item), given["content"]


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


def _concatenated(text: str, literal: Callable[[str], str]) -> str:
    repeated = repetition(text)
    if not repeated:
        return literal(text)
    head, unit, count, tail = repeated
    parts = [f"{literal(unit)} * {count}"]
    if head:
        parts.insert(0, literal(head))
    if tail:
        parts.append(literal(tail))
    return " + ".join(parts)


def _template_literal(template: str) -> str:
    parts = _TOKEN.split(template)
    return _literal(parts, formatted=len(parts) > 1, is_template=True)


def _literal(parts: Sequence[str | None], *, formatted: bool, is_template: bool = False) -> str:
    """A literal of texts, in which None stands for `{i}` and, in a template, the tokens for themselves."""
    whole = "".join(part for part in parts if part)
    quote = "'" if '"' in whole and "'" not in whole else '"'
    ascii_only = unicodedata.normalize("NFC", whole) != whole
    body = ""
    for part in parts:
        if part is None:
            body += "{i}"
        elif is_template and _TOKEN.fullmatch(part):
            body += part
        else:
            escaped = _escaped(part, quote, ascii_only)
            body += escaped.replace("{", "{{").replace("}", "}}") if formatted else escaped
    return f"{'f' if formatted else ''}{quote}{body}{quote}"


def _escaped(text: str, quote: str, ascii_only: bool) -> str:
    if text.isprintable() and not ascii_only and quote not in text and "\\" not in text:
        return text
    return "".join(_escaped_character(character, quote, ascii_only) for character in text)


def _escaped_character(character: str, quote: str, ascii_only: bool) -> str:
    if character in (quote, "\\"):
        return f"\\{character}"
    return (ascii if ascii_only else repr)(character)[1:-1]


def _float_source(value: float) -> str:
    text = repr(value)
    return text if text[-1] not in "nf" else f'float("{text}")'


def _int_source(value: int) -> str:
    if not -_LARGEST_DECIMAL < value < _LARGEST_DECIMAL:
        return hex(value)
    text = str(value)
    digits = text.lstrip("-")
    if len(digits) > 20 and digits == "1" + "0" * (len(digits) - 1):
        return f"{'-' if value < 0 else ''}10**{len(digits) - 1}"
    return text


def _bytes_source(value: bytes) -> str:
    text = repr(value)
    return f'b"{text[2:-1]}"' if text[1] == "'" and '"' not in text else text


_CONTAINERS: Mapping[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
_SCALARS: Mapping[type, tuple[tuple[str, ...], Callable[[Any], str]]] = {
    type(None): ((), repr),
    bool: ((), repr),
    int: ((), _int_source),
    float: ((), _float_source),
    complex: ((), lambda value: f"complex({_float_source(value.real)}, {_float_source(value.imag)})"),
    bytes: ((), _bytes_source),
    bytearray: ((), lambda value: f"bytearray({_bytes_source(bytes(value))})"),
    object: ((), lambda _: "object()"),
    Decimal: (("Decimal",), lambda value: f'Decimal("{value}")'),
    uuid.UUID: (("UUID",), lambda value: f'UUID("{value}")'),
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
