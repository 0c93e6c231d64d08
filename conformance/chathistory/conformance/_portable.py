"""Programs as JSON data and back, for reports and for `chathistory replay`.

Messages have the layout of the codec, `{"type": "human", "data": {…}}`, without the fields that have their
defaults. What JSON has no value for is a dict with a single key, one of a closed set of tags, for example
`{"$bytes": "AA=="}`. A report may come from anywhere: nothing in it is evaluated or imported, and a tag can
only build the values listed here.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
import types
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from decimal import Decimal
from functools import cache
from http import HTTPStatus
from pathlib import PurePosixPath
from types import MappingProxyType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints
from urllib.parse import SplitResult

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.messages.base import TextAccessor
from langchain_core.runnables.graph import NodeStyles

from chathistory.conformance._errors import UsageError
from chathistory.conformance._odd_messages import OddMessage, TaggedHumanMessage
from chathistory.conformance._program import STEP_CLASSES, Program, Step, step_fields
from chathistory.reference import MESSAGE_CLASSES, fields_of, same_value

ODD_CLASSES: Final[Mapping[str, type[BaseMessage]]] = MappingProxyType(
    {"OddMessage": OddMessage, "TaggedHumanMessage": TaggedHumanMessage}
)
"""The message classes beyond langchain-core's that a program may hold, by name."""

ODD_OBJECTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "Ellipsis": Ellipsis,
        "NotImplemented": NotImplemented,
        "HumanMessage": HumanMessage,
        "int": int,
        "len": len,
        "object": object,
    }
)
"""Objects, functions and classes that a program may hold, by the Python expression that names them.

`object()` is a further one: a new object each time.
"""

_CLASS_OF_TYPE = {cls.model_fields["type"].default: cls for cls in MESSAGE_CLASSES}
_TYPE_OF_CLASS = {cls: type_name for type_name, cls in _CLASS_OF_TYPE.items()}
# JSON escapes of two adjacent lone surrogates read back as the one character they would encode.
_FALSE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONG_TEXT = 200
_LONGEST_UNIT = 64
_LARGEST_PLAIN_INT = 10**4000  # CPython refuses to convert integers of more than 4,300 digits
_LONGEST_TEXT = 1 << 26  # no program needs more, and a report must not be able to fill the memory


def program_to_json(program: Program) -> dict[str, Any]:
    """A program as JSON data; fields of steps and messages that have their defaults are left out.

    Raises:
        TypeError: if the program holds a value that no tag stands for; the error names the place.
    """
    return {"steps": [_step_to_json(step, f"steps[{index}]") for index, step in enumerate(program.steps)]}


def program_from_json(document: Mapping[str, Any]) -> Program:
    """The program that `program_to_json` turned into this data.

    Raises:
        UsageError: if it is not such data; the error names the place.
    """
    steps = document.get("steps") if isinstance(document, Mapping) else None
    if not isinstance(steps, list):
        raise UsageError('a recorded program is an object of the form {"steps": [...]}')
    try:
        program = Program(tuple(_step(step, f"steps[{index}]") for index, step in enumerate(steps)))
    except RecursionError:
        raise UsageError("the recorded program nests too deeply") from None
    if not program.is_valid():
        raise UsageError("steps: a handle of the recorded program is used when it is not open")
    return program


def given_fields(message: BaseMessage) -> dict[str, Any]:
    """The fields of a message that differ from their defaults, those of the class first."""
    cls = type(message)
    values = fields_of(message)
    names = [*(name for name in cls.model_fields if name in values), *values]
    return {name: values[name] for name in dict.fromkeys(names) if not _is_default(cls, name, values[name])}


def message_of(cls: type[BaseMessage], given: Mapping[str, Any]) -> BaseMessage:
    """The message of this class with these fields and else defaults, without validation or conversion."""
    message = cls.model_construct(**{name: given[name] for name in cls.model_fields if name in given})
    extra = {name: value for name, value in given.items() if name not in cls.model_fields}
    if extra:
        object.__setattr__(message, "__pydantic_extra__", extra)
    return message


class Repetition(NamedTuple):
    """A text as `head + unit * times + tail`."""

    head: str
    unit: str
    times: int
    tail: str


def repetition(text: str) -> Repetition | None:
    """A long text as the repetition of a short unit, with a short head and tail.

    None if the text has no more than 200 characters, or is not of that form.
    """
    if len(text) <= _LONG_TEXT:
        return None
    for size in range(1, _LONGEST_UNIT + 1):
        start, end = _LONGEST_UNIT, len(text) - _LONGEST_UNIT
        if text[start : start + size] != text[start + size : start + 2 * size]:
            continue
        if text[start : end - size] != text[start + size : end]:
            continue
        while start and text[start - 1] == text[start - 1 + size]:
            start -= 1
        while end < len(text) and text[end] == text[end - size]:
            end += 1
        count = (end - start) // size
        return Repetition(text[:start], text[start : start + size], count, text[start + count * size :])
    return None


@cache
def _blank(cls: type[BaseMessage]) -> dict[str, Any]:
    return fields_of(cls.model_construct())


def _is_default(cls: type[BaseMessage], name: str, value: Any) -> bool:
    blank = _blank(cls)
    return name in blank and same_value(blank[name], value, key_order=True)


# Values to JSON


def _step_to_json(step: Step, place: str) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": type(step).__name__}
    for name, value in step_fields(step).items():
        if name == "workers":
            data[name] = [list(worker) for worker in value]
        elif isinstance(value, tuple):
            data[name] = _items_to_json(value, f"{place}.{name}")
        else:
            data[name] = _to_json(value, f"{place}.{name}")
    return data


def _items_to_json(items: tuple[Any, ...], place: str) -> list[Any]:
    """What stands where messages belong; the same object twice is told from two equal ones (ORD-3)."""
    first: dict[int, int] = {}
    data: list[Any] = []
    for index, item in enumerate(items):
        if isinstance(item, BaseMessage) and first.setdefault(id(item), index) != index:
            data.append({"$same": first[id(item)]})
        elif type(item) in _TYPE_OF_CLASS:
            data.append(_message_to_json(item, f"{place}[{index}]"))
        elif isinstance(item, BaseMessage):
            data.append({"$message": _message_to_json(item, f"{place}[{index}]")})
        else:
            data.append({"$value": _to_json(item, f"{place}[{index}]")})
    return data


def _message_to_json(message: BaseMessage, place: str) -> dict[str, Any]:
    cls = type(message)
    data = _to_json(given_fields(message), place)
    if cls in _TYPE_OF_CLASS:
        return {"type": _TYPE_OF_CLASS[cls], "data": data}
    if ODD_CLASSES.get(cls.__name__) is not cls:
        raise TypeError(f"{place}: no program can hold a {cls.__module__}.{cls.__qualname__}")
    return {"class": cls.__name__, "data": data}


def _to_json(value: Any, place: str) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text_to_json(value)
    if kind is int and -_LARGEST_PLAIN_INT < value < _LARGEST_PLAIN_INT:
        return value
    if kind is float and math.isfinite(value):
        return value
    if kind is list:
        return [_to_json(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if kind is dict:
        return _dict_to_json(value, place)
    return _tagged(value, place)


def _text_to_json(text: str) -> Any:
    repeated = repetition(text)
    if repeated:
        head, unit, count, tail = repeated
        around = [_text_to_json(head), _text_to_json(tail)] if head or tail else []
        return {"$repeat": [_text_to_json(unit), count, *around]}
    if not text.isascii() and _FALSE_PAIR.search(text):
        return {"$codepoints": [ord(character) for character in text]}
    return text


def _dict_to_json(value: dict[Any, Any], place: str) -> dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") and _text_to_json(key) == key for key in value):
        return {key: _to_json(item, f"{place}[{key!r}]") for key, item in value.items()}
    items = [[_to_json(key, f"{place} key"), _to_json(item, place)] for key, item in value.items()]
    return {"$items": items}


def _tagged(value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, BaseMessage):
        return {"$message": _message_to_json(value, place)}
    for name, known in ODD_OBJECTS.items():
        if value is known:
            return {"$object": name}
    if type(value) not in _WRITERS:
        raise TypeError(f"{place}: no program can hold a {type(value).__module__}.{type(value).__qualname__}")
    tag, write = _WRITERS[type(value)]
    return {tag: write(value, place)}


def _sorted_to_json(value: Any, place: str) -> list[Any]:
    return [_to_json(item, place) for item in sorted(value, key=repr)]


def _base64(value: Any, _place: str) -> str:
    return base64.b64encode(value).decode("ascii")


_WRITERS: Mapping[type, tuple[str, Callable[[Any, str], Any]]] = {
    bytes: ("$bytes", _base64),
    bytearray: ("$bytearray", _base64),
    tuple: ("$tuple", lambda value, place: _to_json(list(value), place)),
    set: ("$set", _sorted_to_json),
    frozenset: ("$frozenset", _sorted_to_json),
    float: ("$float", lambda value, _: repr(value)),
    int: ("$int", lambda value, _: hex(value)),
    complex: ("$complex", lambda value, place: _to_json([value.real, value.imag], place)),
    Decimal: ("$decimal", lambda value, _: str(value)),
    datetime.datetime: ("$datetime", lambda value, _: value.isoformat()),
    datetime.date: ("$date", lambda value, _: value.isoformat()),
    uuid.UUID: ("$uuid", lambda value, _: str(value)),
    TextAccessor: ("$text", lambda value, _: str.__str__(value)),
    OrderedDict: (
        "$ordered",
        lambda value, place: [[_to_json(item, place) for item in pair] for pair in value.items()],
    ),
    deque: ("$deque", lambda value, place: _to_json(list(value), place)),
    range: ("$range", lambda value, _: [value.start, value.stop, value.step]),
    PurePosixPath: ("$path", lambda value, _: str(value)),
    SplitResult: ("$url", lambda value, _: list(value)),
    HTTPStatus: ("$status", lambda value, _: int(value)),
    uuid.SafeUUID: ("$safety", lambda value, _: value.name),
    types.SimpleNamespace: ("$namespace", lambda value, place: _dict_to_json(vars(value), place)),
    Document: ("$document", lambda value, place: _to_json([value.page_content, value.metadata], place)),
    NodeStyles: ("$styles", lambda value, place: _to_json([value.default, value.first, value.last], place)),
    object: ("$object", lambda _, __: "object()"),
}


# JSON to values


def _step(data: Any, place: str) -> Step:
    """One step, each of its fields of the kind that the step's class declares."""
    cls = STEP_CLASSES.get(_text(data.get("kind"), f"{place}.kind")) if isinstance(data, dict) else None
    if cls is None:
        raise UsageError(f'{place}: a step has a "kind", one of {", ".join(STEP_CLASSES)}')
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name == "kind":
            continue
        if name not in hints:
            raise UsageError(f"{place}.{name}: a step of kind {cls.__name__} has no such field")
        values[name] = _field(value, hints[name], f"{place}.{name}")
    required = [field.name for field in fields(cls) if field.default is MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise UsageError(f"{place}: a step of kind {cls.__name__} needs the field {missing[0]!r}")
    step: Step = cls(**values)
    return step


def _field(data: Any, hint: Any, place: str) -> Any:
    if get_args(hint)[:1] == (Any,):
        return _items(data, place)
    value = _value(data, place)
    if get_origin(hint) is tuple:
        value = tuple(tuple(_list(worker, place)) for worker in _list(value, place))
    if not _fits(value, hint):
        raise UsageError(f"{place}: {value!r:.60} can't be used here")
    return value


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


def _items(data: Any, place: str) -> tuple[Any, ...]:
    items: list[Any] = []
    for index, item in enumerate(_list(data, place)):
        here = f"{place}[{index}]"
        if not isinstance(item, dict):
            raise UsageError(f'{here}: a message is an object {{"type": …, "data": {{…}}}}')
        tag = next(iter(item)) if len(item) == 1 else None
        if tag == "$same":
            items.append(_earlier(items, item[tag], here))
        elif tag == "$value":
            items.append(_value(item[tag], here))
        else:
            items.append(_message(item["$message"] if tag == "$message" else item, here))
    return tuple(items)


def _earlier(items: list[Any], index: Any, place: str) -> Any:
    if type(index) is not int or not 0 <= index < len(items):
        raise UsageError(f'{place}: "$same" is the index of an earlier message of the step')
    return items[index]


def _message(data: Any, place: str) -> BaseMessage:
    name = data.get("type", data.get("class")) if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(name, str) or len(data) != 2 or "data" not in data:
        raise UsageError(f'{place}: a message is an object {{"type": …, "data": {{…}}}}')
    cls = (_CLASS_OF_TYPE if "type" in data else ODD_CLASSES).get(name)
    if cls is None:
        raise UsageError(f"{place}: there is no message class {name!r:.60}")
    given = _value(data["data"], f"{place}.data")
    if type(given) is not dict or not all(type(key) is str for key in given):
        raise UsageError(f"{place}.data: the fields of a message are an object")
    return message_of(cls, given)


def _value(data: Any, place: str) -> Any:
    if isinstance(data, list):
        return [_value(item, f"{place}[{index}]") for index, item in enumerate(data)]
    if not isinstance(data, dict):
        return data
    if not any(str(key).startswith("$") for key in data):
        return {key: _value(item, f"{place}.{key}") for key, item in data.items()}
    tag, content = next(iter(data.items()))
    if len(data) != 1 or tag not in _READERS:
        raise UsageError(f'{place}: {tag!r:.60} is no tag; an object with such a key is {{"$items": […]}}')
    here = f"{place}.{tag}"
    try:
        return _READERS[tag](content, here)
    except (TypeError, ValueError, ArithmeticError, LookupError, binascii.Error) as error:
        raise UsageError(f"{here}: {error}") from None


def _list(data: Any, place: str) -> list[Any]:
    if not isinstance(data, list):
        raise UsageError(f"{place}: expected a list, got {type(data).__name__}")
    return data


def _values(data: Any, place: str) -> list[Any]:
    return [_value(item, f"{place}[{index}]") for index, item in enumerate(_list(data, place))]


def _text(data: Any, place: str) -> str:
    if not isinstance(data, str):
        raise UsageError(f"{place}: expected a text, got {type(data).__name__}")
    return data


def _bytes(data: Any, place: str) -> bytes:
    return base64.b64decode(_text(data, place), validate=True)


def _float(data: Any, place: str) -> float:
    if data not in ("nan", "inf", "-inf"):
        raise UsageError(f'{place}: expected "nan", "inf" or "-inf"')
    return float(data)


def _complex(data: Any, place: str) -> complex:
    real, imaginary = _values(data, place)
    return complex(real, imaginary)


def _namespace(data: Any, place: str) -> types.SimpleNamespace:
    namespace = types.SimpleNamespace()
    vars(namespace).update(_value(data, place))
    return namespace


def _document(data: Any, place: str) -> Document:
    content, metadata = _values(data, place)
    return Document(page_content=_text(content, place), metadata=metadata)


def _object(data: Any, place: str) -> Any:
    if data == "object()":
        return object()
    if _text(data, place) not in ODD_OBJECTS:
        raise UsageError(f"{place}: there is no object {data!r:.60}")
    return ODD_OBJECTS[data]


def _from_items(data: Any, place: str) -> dict[Any, Any]:
    return dict(_values(data, place))


def _repeated(data: Any, place: str) -> str:
    unit, count, *around = _values(data, place)
    head, tail = around or ("", "")
    if type(count) is not int or not 0 <= count * len(_text(unit, place)) <= _LONGEST_TEXT:
        raise UsageError(f"{place}: the text would be longer than {_LONGEST_TEXT:,} characters")
    return f"{_text(head, place)}{unit * count}{_text(tail, place)}"


def _from_codepoints(data: Any, place: str) -> str:
    return "".join(map(chr, _list(data, place)))


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "$bytes": _bytes,
    "$bytearray": lambda data, place: bytearray(_bytes(data, place)),
    "$tuple": lambda data, place: tuple(_values(data, place)),
    "$set": lambda data, place: set(_values(data, place)),
    "$frozenset": lambda data, place: frozenset(_values(data, place)),
    "$float": _float,
    "$int": lambda data, place: int(_text(data, place), 16),
    "$complex": _complex,
    "$decimal": lambda data, place: Decimal(_text(data, place)),
    "$datetime": lambda data, place: datetime.datetime.fromisoformat(_text(data, place)),
    "$date": lambda data, place: datetime.date.fromisoformat(_text(data, place)),
    "$uuid": lambda data, place: uuid.UUID(_text(data, place)),
    "$text": lambda data, place: TextAccessor(_text(data, place)),
    "$ordered": lambda data, place: OrderedDict(_values(data, place)),
    "$deque": lambda data, place: deque(_values(data, place)),
    "$range": lambda data, place: range(*_list(data, place)),
    "$path": lambda data, place: PurePosixPath(_text(data, place)),
    "$url": lambda data, place: SplitResult(*(_text(part, place) for part in _list(data, place))),
    "$status": lambda data, _: HTTPStatus(data),
    "$safety": lambda data, place: uuid.SafeUUID[_text(data, place)],
    "$namespace": _namespace,
    "$document": _document,
    "$styles": lambda data, place: NodeStyles(*(_text(part, place) for part in _list(data, place))),
    "$object": _object,
    "$items": _from_items,
    "$repeat": _repeated,
    "$codepoints": _from_codepoints,
    "$message": _message,
}
