"""Programs as JSON data: they come back as they were, and no report can do more than hold data."""

# ruff: noqa: D103 -- the names of the tests say it

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from tests.drawn_programs import HARD_TEXTS, messages, programs, texts

from chathistory.conformance import UsageError
from chathistory.conformance import _payloads as payloads
from chathistory.conformance._odd_messages import OddMessage
from chathistory.conformance._portable import (
    Repetition,
    given_fields,
    message_of,
    program_from_json,
    program_to_json,
    repetition,
)
from chathistory.conformance._program import Add, Open, Program, Read, program, step_fields
from chathistory.reference import MESSAGE_CLASSES, same_value

_THOROUGH = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def _same(program: Program, other: Program) -> bool:
    return len(program.steps) == len(other.steps) and all(
        type(ours) is type(theirs) and same_value(step_fields(ours), step_fields(theirs), key_order=True)
        for ours, theirs in zip(program.steps, other.steps, strict=True)
    )


def _through_text(program: Program) -> Program:
    text = json.dumps(program_to_json(program))
    assert text.isascii()
    return program_from_json(json.loads(text))


@_THOROUGH
@given(programs())
def test_programs_come_back_as_they_were(drawn: Program) -> None:
    assert _same(drawn, _through_text(drawn))


@pytest.mark.parametrize(
    "value",
    [*payloads.UNSTORABLE, *payloads.UNUSUAL, *payloads.NUMBERS, *payloads.CONTENTS, *payloads.TEXTS],
    ids=lambda value: value.name,
)
def test_every_value_of_the_catalogue_comes_back(value: payloads.Value) -> None:
    message = HumanMessage("m1", additional_kwargs={"a": value.value})
    drawn = program(Open(1, "{run}"), Add(1, (message, value.value)))
    assert _same(drawn, _through_text(drawn))


@pytest.mark.parametrize("case", payloads.NOT_MESSAGES, ids=lambda case: case.name)
def test_what_is_no_message_is_not_taken_for_one(case: payloads.NotMessages) -> None:
    data = program_to_json(program(Open(1, "a"), Add(1, case.messages)))
    assert [type(item) for item in program_from_json(data).steps[1].messages] == [  # type: ignore[union-attr]
        type(item) for item in case.messages
    ]


def test_programs_are_short_and_in_the_layout_of_the_codec() -> None:
    tool_call = {"name": "f", "args": {}, "id": "1", "type": "tool_call"}
    drawn = program(Open(1, "{run}-a"), Add(1, (HumanMessage("m1"), AIMessage("", tool_calls=[tool_call]))), Read(1))
    assert program_to_json(drawn) == {
        "steps": [
            {"kind": "Open", "handle": 1, "session": "{run}-a"},
            {
                "kind": "Add",
                "handle": 1,
                "messages": [
                    {"type": "human", "data": {"content": "m1"}},
                    {"type": "ai", "data": {"content": "", "tool_calls": [tool_call]}},
                ],
            },
            {"kind": "Read", "handle": 1},
        ]
    }


def test_a_megabyte_of_repetition_is_a_few_bytes() -> None:
    drawn = program(Open(1, "a"), Add(1, (HumanMessage("ab" * 524_288), HumanMessage(payloads.filled(1_048_576)))))
    assert len(json.dumps(program_to_json(drawn))) < 400
    assert _same(drawn, _through_text(drawn))


def test_the_same_object_twice_stays_one_object() -> None:
    message = HumanMessage("m1")
    odd = OddMessage(content="m2")
    drawn = _through_text(program(Open(1, "a"), Add(1, (message, HumanMessage("m1"), odd, message, odd))))
    first, equal, second, again, odd_again = drawn.steps[1].messages  # type: ignore[union-attr]
    assert first is again
    assert first is not equal
    assert second is odd_again


@_THOROUGH
@given(messages())
def test_messages_are_rebuilt_from_the_fields_that_were_given(message: Any) -> None:
    assert same_value(message, message_of(type(message), given_fields(message)), key_order=True)


@pytest.mark.parametrize("cls", MESSAGE_CLASSES)
def test_rebuilt_messages_share_no_defaults(cls: type[Any]) -> None:
    one, other = message_of(cls, {"content": "a"}), message_of(cls, {"content": "a"})
    one.additional_kwargs["edited"] = True
    assert other.additional_kwargs == {}


@_THOROUGH
@given(texts() | st.tuples(st.text(max_size=70), st.text(min_size=1, max_size=70), st.text(max_size=70)))
def test_repetitions_are_what_they_say(drawn: str | tuple[str, str, str]) -> None:
    text = drawn if isinstance(drawn, str) else drawn[0] + drawn[1] * 300 + drawn[2]
    found = repetition(text)
    if found:
        assert found.head + found.unit * found.times + found.tail == text
        assert len(found.head) <= 64
        assert len(found.unit) <= 64
    elif not isinstance(drawn, str):
        assert max(map(len, drawn)) > 63


def test_repetitions_are_found_with_head_and_tail() -> None:
    assert repetition("ab" * 500) == Repetition("", "ab", 500, "")
    assert repetition("m1 " + "x" * 1_000 + "!") == Repetition("m1 ", "x", 1_000, "!")
    assert repetition("ab" * 100) is None
    assert repetition("".join(map(str, range(1_000)))) is None


_NO_STEP = "steps[0]"
_MALFORMED: list[tuple[Any, str]] = [
    (None, "steps"),
    ([], "steps"),
    ({}, "steps"),
    ({"steps": {}}, "steps"),
    ({"steps": [None]}, _NO_STEP),
    ({"steps": [{"kind": "Explode"}]}, _NO_STEP),
    ({"steps": [{"kind": ["Read"]}]}, "steps[0].kind"),
    ({"steps": [{"kind": "Read"}]}, "'handle'"),
    ({"steps": [{"kind": "Read", "handle": True}]}, "steps[0].handle"),
    ({"steps": [{"kind": "Read", "handle": 1}]}, "when it is not open"),
    ({"steps": [{"kind": "Read", "handle": 1, "mode": "eval"}]}, "steps[0].mode"),
    ({"steps": [{"kind": "Read", "handle": 1, "extra": 1}]}, "steps[0].extra"),
    ({"steps": [{"kind": "Open", "handle": 1, "session": None}]}, "steps[0].session"),
    ({"steps": [{"kind": "Open", "handle": 1, "session": "a", "ttl": "1"}]}, "steps[0].ttl"),
    ({"steps": [{"kind": "Add", "handle": 1, "messages": "m1"}]}, "steps[0].messages"),
]
_MALFORMED_WORKERS: list[Any] = ["read", [1], [[1.5]], [[True]], [[["read"]]], {"$tuple": []}]
_MALFORMED += [
    ({"steps": [{"kind": "Together", "session": "a", "workers": workers}]}, "steps[0].workers")
    for workers in _MALFORMED_WORKERS
]
_MALFORMED_ITEMS: list[Any] = [
    None,
    "m1",
    {},
    {"type": "human"},
    {"type": "human", "data": []},
    {"type": "human", "data": {"$items": [[1, 2]]}},
    {"type": "human", "data": {}, "more": 1},
    {"type": "os.system", "data": {"content": "ls"}},
    {"class": "HumanMessage", "data": {"content": "m1"}},
    {"$message": {"class": "os.system", "data": {}}},
    {"$message": 1},
    {"$same": 0},
    {"$same": -1},
    {"$same": "0"},
]
_MALFORMED_VALUES: list[Any] = [
    {"$unknown": 1},
    {"$bytes": "AA==", "$tuple": []},
    {"$bytes": "a", "b": 1},
    {"$bytes": "not base64"},
    {"$bytes": 1},
    {"$tuple": 1},
    {"$set": [[]]},
    {"$frozenset": [{}]},
    {"$float": "1.5"},
    {"$float": ["nan"]},
    {"$complex": [1]},
    {"$complex": ["1", "2"]},
    {"$decimal": "one"},
    {"$datetime": "today"},
    {"$date": "2024-13-01"},
    {"$uuid": "x"},
    {"$namespace": 1},
    {"$object": "os.system"},
    {"$object": "__import__('os')"},
    {"$object": ["len"]},
    {"$items": [1]},
    {"$items": [[[], 1]]},
    {"$repeat": ["a"]},
    {"$repeat": ["a", "b"]},
    {"$repeat": ["a", -1]},
    {"$repeat": ["a" * 64, 10**12]},
    {"$repeat": [1, 2]},
    {"$repeat": ["a", 2, "b"]},
    {"$codepoints": [-1]},
    {"$codepoints": ["a"]},
    {"$codepoints": "a"},
    {"$int": "zz"},
    {"$int": 1},
    {"$message": {"type": "human"}},
]


@pytest.mark.parametrize(("document", "place"), _MALFORMED)
def test_a_malformed_document_is_refused_by_place(document: Any, place: str) -> None:
    with pytest.raises(UsageError) as refused:
        program_from_json(document)
    assert place in str(refused.value)


@pytest.mark.parametrize("item", _MALFORMED_ITEMS, ids=repr)
def test_a_malformed_message_is_refused_by_place(item: Any) -> None:
    document = {"steps": [{"kind": "Add", "handle": 1, "messages": [item]}]}
    with pytest.raises(UsageError) as refused:
        program_from_json(document)
    assert "steps[0].messages[0]" in str(refused.value)


@pytest.mark.parametrize("value", _MALFORMED_VALUES, ids=lambda value: repr(value)[:60])
def test_a_malformed_value_is_refused_by_place(value: Any) -> None:
    message = {"type": "human", "data": {"content": "m1", "additional_kwargs": {"a": [value]}}}
    with pytest.raises(UsageError) as refused:
        program_from_json({"steps": [{"kind": "Assign", "handle": 1, "messages": [message]}]})
    assert "steps[0].messages[0].data.additional_kwargs.a[0]" in str(refused.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "data", "class", "content", "$repeat", "$items", "$same", "$complex", "$set"]),
            inner,
            max_size=2,
        )
    ),
)


@_THOROUGH
@given(_JSON, st.sampled_from(["messages", "call", "item", "value"]))
def test_any_document_is_a_program_or_refused(data: Any, where: str) -> None:
    item: Any = {"type": "human", "data": {"content": data}} if where == "value" else data
    step: dict[str, Any] = {"kind": "Add", "handle": 1, "messages": [item]}
    if where in step or where == "call":
        step[where] = data
    try:
        found = program_from_json({"steps": [{"kind": "Open", "handle": 1, "session": "a"}, step]})
    except UsageError:
        return
    assert isinstance(found.steps[1], Add)


def test_huge_integers_come_back() -> None:
    numbers = [10**4_000, 10**5_000 + 1, -(10**5_000)]
    drawn = _through_text(program(Open(1, "a"), Add(1, (numbers,))))
    assert drawn.steps[1].messages[0] == numbers  # type: ignore[union-attr]


def test_deep_nesting_is_refused() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UsageError, match="deeply"):
        program_from_json({"steps": [{"kind": "Open", "handle": 1, "session": value}]})


def test_what_no_tag_stands_for_is_named_by_place() -> None:
    with pytest.raises(TypeError, match=r"steps\[1\]\.messages\[0\]\['additional_kwargs'\]\['a'\].*slice"):
        program_to_json(program(Open(1, "a"), Add(1, (HumanMessage("m1", additional_kwargs={"a": slice(3)}),))))


@pytest.mark.parametrize("text", HARD_TEXTS, ids=lambda text: ascii(text)[:20])
def test_hard_session_ids_come_back(text: str) -> None:
    drawn = program(Open(1, text, partition=text))
    assert _same(drawn, _through_text(drawn))
