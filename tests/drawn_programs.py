"""Strategies for programs with every kind of step and every value a program can hold."""

from __future__ import annotations

import datetime
import math
import types
from typing import Any, cast, get_args

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.conformance import _payloads as payloads
from chathistory.conformance import strategies
from chathistory.conformance._odd_messages import OddMessage, TaggedHumanMessage
from chathistory.conformance._portable import ODD_OBJECTS, message_of
from chathistory.conformance._program import (
    Add,
    AddBack,
    AddCall,
    Assign,
    Cancel,
    Clear,
    Container,
    Edit,
    EditKind,
    EditTarget,
    Mode,
    NewLoop,
    Open,
    Program,
    Read,
    Step,
    Together,
    Turn,
    Wait,
)
from chathistory.conformance._runnables import CALLS, SHAPES
from chathistory.reference import MESSAGE_CLASSES

HARD_TEXTS = [
    *(text.value for text in payloads.TEXTS if len(text.value) < 1_000),
    "\ud83d\ude00",
    "\udc00\ud800" * 150,
    "$bytes",
    "e\u0301",
    "{run}{i}{{",
    "m1",
    "ab" * 2_000,
    "head" + "é\n" * 300 + "tail",
]

_EXTRA_NAMES = ("extra", "odd name", "class", "$bytes", "tag", "\ud83d\ude00", "self", "cls", "_fields_set")


def texts() -> SearchStrategy[str]:
    """Texts, any of them: lone surrogates, repetitions, f-string braces."""
    characters = st.characters(exclude_categories=())
    return st.one_of(st.text(characters, max_size=8), st.sampled_from(HARD_TEXTS))


def scalars() -> SearchStrategy[Any]:
    """Values without others inside, those that JSON has and those that it has not."""
    offsets = st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
    return st.one_of(
        texts(),
        st.none() | st.booleans(),
        st.integers() | st.sampled_from([10**30, -(10**400), 10**400 + 1]),
        st.floats() | st.sampled_from([math.nan, -0.0, math.inf]),
        st.binary(max_size=4),
        st.binary(max_size=4).map(bytearray),
        st.complex_numbers(allow_nan=False),
        st.decimals(allow_nan=False),
        st.datetimes(timezones=st.none() | offsets),
        st.dates(),
        st.uuids(),
        st.sampled_from(list(ODD_OBJECTS.values())),
    )


def _extended(inner: SearchStrategy[Any]) -> SearchStrategy[Any]:
    keys = st.one_of(texts(), st.integers(), st.none(), st.floats(allow_nan=False), st.binary(max_size=2))
    members = st.one_of(st.integers(), st.text(max_size=3), st.none(), st.tuples(st.integers(), st.text()))
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(members, max_size=3),
        st.frozensets(members, max_size=3),
        st.dictionaries(texts(), inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(st.text("abc_ ", max_size=3), members, max_size=2).map(_namespace),
        _unchecked(inner),
    )


def _namespace(values: dict[str, Any]) -> types.SimpleNamespace:
    namespace = types.SimpleNamespace()
    vars(namespace).update(values)
    return namespace


def values() -> SearchStrategy[Any]:
    """Every value that a program can hold."""
    return st.recursive(scalars(), _extended, max_leaves=6)


@st.composite
def _unchecked(draw: st.DrawFn, inner: SearchStrategy[Any]) -> BaseMessage:
    """A message of any class with any values in any fields, valid or not."""
    cls = draw(st.sampled_from(cast("list[type[BaseMessage]]", [*MESSAGE_CLASSES, OddMessage, TaggedHumanMessage])))
    names = draw(st.lists(st.sampled_from([*cls.model_fields, *_EXTRA_NAMES]), max_size=3, unique=True))
    return message_of(cls, {"content": draw(texts()), **{name: draw(inner) for name in names}})


def messages() -> SearchStrategy[BaseMessage]:
    """Messages: plain ones, rich ones as the suite draws them, and any others."""
    plain = st.builds(
        lambda cls, number: cls(f"m{number}"), st.sampled_from([HumanMessage, AIMessage]), st.integers(0, 20)
    )
    return st.one_of(plain, strategies.messages(hard=True), _unchecked(values()))


@st.composite
def items(draw: st.DrawFn, smallest: int = 0) -> tuple[Any, ...]:
    """What stands where messages belong; at times an object twice, a series, or what is no message."""
    item: SearchStrategy[Any] = messages() | st.sampled_from([None, "text", 1]) | values()
    drawn: list[Any] = draw(st.lists(item, min_size=smallest, max_size=3))
    shares, extends = draw(st.booleans()), draw(st.booleans())
    if drawn and shares:
        drawn.insert(draw(st.integers(0, len(drawn))), drawn[0])
    if extends:
        start, count = draw(st.integers(0, 9)), draw(st.integers(0, 12))
        odd = draw(st.sampled_from([HumanMessage, AIMessage]))
        tail = draw(st.sampled_from(["", " ", "é{", "x" * 300]))
        drawn += [(odd if n % 2 else HumanMessage)(f"m{n}{tail}") for n in range(start, start + count)]
    return tuple(drawn)


def templates() -> SearchStrategy[str]:
    """Templates of session ids."""
    parts = st.sampled_from(["{run}", "{number}", "a", "{", "}", "é", '"', "\\", "\ud800", "x" * 300, "{run}" * 60])
    return st.lists(parts, max_size=4).map("".join)


def _chosen(kind: Any) -> SearchStrategy[Any]:
    return st.sampled_from(get_args(kind))


def steps(handle: SearchStrategy[int]) -> SearchStrategy[Step]:
    """Any step but an opening."""
    modes = _chosen(Mode)
    return st.one_of(
        st.builds(Add, handle, items(1), call=_chosen(AddCall), mode=modes, container=_chosen(Container)),
        st.builds(Add, handle, st.tuples(messages()), call=_chosen(AddCall), text=st.booleans()),
        st.builds(Read, handle, mode=modes),
        st.builds(Clear, handle, mode=modes),
        st.builds(Assign, handle, items()),
        st.builds(AddBack, handle, mode=modes),
        st.builds(Edit, handle, _chosen(EditTarget), _chosen(EditKind)),
        st.builds(Cancel, handle, items(), st.integers(0, 30), items()),
        st.builds(Wait, st.floats(0, 10) | st.integers(0, 10)),
        st.just(NewLoop()),
        st.builds(
            Turn,
            templates(),
            st.sampled_from(SHAPES),
            st.sampled_from(CALLS),
            texts(),
            templates(),
            st.booleans(),
        ),
    )


def work() -> SearchStrategy[Together]:
    """Work of several on one session."""
    worker = st.lists(st.sampled_from([1, 2, "read", "clear"]), min_size=1, max_size=3).map(tuple)
    return st.builds(
        Together,
        templates(),
        st.lists(worker, min_size=1, max_size=8).map(tuple),
        st.sampled_from(["threads", "tasks"]),
        st.booleans(),
        st.booleans(),
        st.none() | templates(),
        st.integers(1, 3),
    )


def openings(handle: SearchStrategy[int]) -> SearchStrategy[Open]:
    """Openings with and without options."""
    return st.one_of(
        st.builds(Open, handle, templates()),
        st.builds(Open, handle, templates(), partition=templates()),
        st.builds(Open, handle, templates(), history_size=st.integers(1, 9)),
        st.builds(Open, handle, templates(), ttl=st.floats(0.1, 9)),
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Valid programs of up to two handles."""
    opened = [draw(openings(st.just(number))) for number in range(1, draw(st.integers(1, 2)) + 1)]
    handle = st.integers(1, len(opened))
    return Program((*opened, *draw(st.lists(steps(handle) | work(), max_size=5))))
