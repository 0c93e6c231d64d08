"""Values, steps and whole programs as Python: what is shown is what is meant, and scripts run alone."""

# ruff: noqa: D103 -- the names of the tests say it

from __future__ import annotations

import ast
import copy
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from tests.drawn_programs import messages, openings, programs, steps, templates, texts, values

from chathistory.conformance import Backend
from chathistory.conformance import _payloads as payloads
from chathistory.conformance._interpreter import Execution, Observation
from chathistory.conformance._lines import describe
from chathistory.conformance._literals import template_source
from chathistory.conformance._odd_messages import OddMessage, TaggedHumanMessage
from chathistory.conformance._program import (
    Add,
    AddBack,
    Assign,
    Cancel,
    Clear,
    Edit,
    EditKind,
    Mode,
    NewLoop,
    Open,
    Program,
    Read,
    Step,
    Together,
    Trial,
    Turn,
    Wait,
    program,
)
from chathistory.conformance._script import Expectation, script_of
from chathistory.conformance._source import definitions_of, imports_of, source_of
from chathistory.reference import InMemoryChatHistoryStore, same_value

_THOROUGH = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


# Values


def _evaluated(value: Any) -> Any:
    """What the source of a value builds, with nothing but its imports; odd classes are the suite's own."""
    names: dict[str, Any] = {"OddMessage": OddMessage, "TaggedHumanMessage": TaggedHumanMessage}
    exec("\n".join(imports_of([value])), names)  # noqa: S102 -- our own source is under test
    return eval(source_of(value), names)  # noqa: S307 -- likewise


@_THOROUGH
@given(values())
def test_the_source_of_a_value_builds_it(value: Any) -> None:
    assert same_value(value, _evaluated(value), key_order=True)


@_THOROUGH
@given(st.lists(messages(), max_size=4))
def test_the_source_of_messages_builds_them(drawn: list[BaseMessage]) -> None:
    assert same_value(drawn, _evaluated(drawn), key_order=True)


@pytest.mark.parametrize(
    "value",
    [*payloads.UNSTORABLE, *payloads.UNUSUAL, *payloads.NUMBERS, *payloads.CONTENTS, *payloads.TEXTS],
    ids=lambda value: value.name,
)
def test_the_source_of_every_value_of_the_catalogue_builds_it(value: payloads.Value) -> None:
    assert same_value(value.value, _evaluated(value.value), key_order=True)


def test_an_object_that_stands_twice_in_a_list_is_one_object() -> None:
    message = HumanMessage("m1")
    first, other, again = _evaluated([message, HumanMessage("m1"), message])
    assert first is again
    assert first is not other


_CALL = {"name": "f", "args": {"a": 1.0}, "id": "1", "type": "tool_call"}
_SHOWN: list[tuple[Any, str]] = [
    (HumanMessage("m1"), 'HumanMessage("m1")'),
    (HumanMessage("m1", name="n", id="i"), 'HumanMessage("m1", name="n", id="i")'),
    (ChatMessage(content="m1", role="r"), 'ChatMessage("m1", role="r")'),
    (RemoveMessage(id="i"), 'RemoveMessage(id="i")'),
    (
        ToolMessage("m1", tool_call_id="1", artifact=b"\0"),
        'ToolMessage("m1", tool_call_id="1", artifact=b"\\x00")',
    ),
    (
        AIMessage("", tool_calls=[_CALL]),
        'AIMessage("", tool_calls=[{"name": "f", "args": {"a": 1.0}, "id": "1"}])',
    ),
    (HumanMessage("m1", **{"odd name": 1, "class": 2}), 'HumanMessage("m1", **{"odd name": 1, "class": 2})'),
    (HumanMessage.model_construct(content=1), "HumanMessage.model_construct(content=1)"),
    (OddMessage(content="m1"), 'OddMessage("m1")'),
    (TaggedHumanMessage(content="m1", tag="t"), 'TaggedHumanMessage("m1", tag="t")'),
    ("ab" * 524_288, '"ab" * 524288'),
    ("m1 " + "x" * 1_000 + "!", '"m1 " + "x" * 1000 + "!"'),
    ('say "it"', "'say \"it\"'"),
    ("it's", '"it\'s"'),
    ("'\"", '"\'\\""'),
    ("é", '"é"'),
    ("e\u0301", '"e\\u0301"'),
    ("\ud83d\x00\u202e\n", '"\\ud83d\\x00\\u202e\\n"'),
    (float("nan"), 'float("nan")'),
    (-0.0, "-0.0"),
    (10**400, "10**400"),
    ((1,), "(1,)"),
    (set(), "set()"),
    ({2, 1}, "{1, 2}"),
    (frozenset("a"), 'frozenset({"a"})'),
    ({1: "a", None: []}, '{1: "a", None: []}'),
    ([], "[]"),
]


@pytest.mark.parametrize(("value", "source"), _SHOWN, ids=[source[:30] for _, source in _SHOWN])
def test_values_are_shown_as_one_would_write_them(value: Any, source: str) -> None:
    assert source_of(value) == source


def _numbered(first: int, last: int, *classes: type[BaseMessage], tail: str = "") -> list[BaseMessage]:
    return [classes[n % len(classes)](content=f"m{n}{tail}") for n in range(first, last + 1)]


_SERIES: list[tuple[list[Any], str]] = [
    (_numbered(1, 1001, HumanMessage), '[HumanMessage(f"m{i}") for i in range(1, 1002)]'),
    (_numbered(0, 4, AIMessage), '[AIMessage(f"m{i}") for i in range(5)]'),
    (
        _numbered(1, 4, HumanMessage),
        '[HumanMessage("m1"), HumanMessage("m2"), HumanMessage("m3"), HumanMessage("m4")]',
    ),
    (
        _numbered(1, 9, HumanMessage, AIMessage),
        '[(HumanMessage if i % 2 == 0 else AIMessage)(f"m{i}") for i in range(1, 10)]',
    ),
    (
        _numbered(2, 9, AIMessage, HumanMessage),
        '[(AIMessage if i % 2 == 0 else HumanMessage)(f"m{i}") for i in range(2, 10)]',
    ),
    (_numbered(1, 5, HumanMessage, tail=" {x}"), '[HumanMessage(f"m{i} {{x}}") for i in range(1, 6)]'),
    (
        _numbered(1, 5, HumanMessage, tail=" " + "x" * 900 + "!"),
        '[HumanMessage(f"m{i} " + "x" * 900 + "!") for i in range(1, 6)]',
    ),
    (
        [SystemMessage("s"), *_numbered(1, 6, HumanMessage), AIMessage("end")],
        '[SystemMessage("s"), *[HumanMessage(f"m{i}") for i in range(1, 7)], AIMessage("end")]',
    ),
    ([HumanMessage("m1") for _ in range(6)], '[HumanMessage("m1") for _ in range(6)]'),
    ([f"block {n}" for n in range(300)], '[f"block {i}" for i in range(300)]'),
    (["a"] * 7, '["a"] * 7'),
    (["a"] * 7 + ["b"], '[*["a"] * 7, "b"]'),
    ([f"m{n:03}" for n in range(1, 4)], '["m001", "m002", "m003"]'),
]


@pytest.mark.parametrize(("value", "source"), _SERIES, ids=[source[:50] for _, source in _SERIES])
def test_series_are_shown_as_comprehensions(value: list[Any], source: str) -> None:
    assert source_of(value) == source
    assert same_value(value, _evaluated(value))


def test_long_lists_are_broken_over_lines() -> None:
    value = [HumanMessage("m1", id=str(n) * 30) for n in range(1, 9)] + _numbered(1, 7, HumanMessage, tail="x" * 60)
    source = source_of(value)
    assert max(map(len, source.splitlines())) <= 100
    assert source.startswith('[\n    HumanMessage("m1", id="1111')
    assert same_value(value, _evaluated(value))


def test_only_what_is_needed_is_imported() -> None:
    assert imports_of([HumanMessage("m1"), [AIMessage("m2")]]) == [
        "from langchain_core.messages import AIMessage, HumanMessage"
    ]
    assert imports_of([1, "a"]) == []


def test_odd_classes_are_defined_where_they_are_used() -> None:
    odd = [OddMessage(content="m1"), TaggedHumanMessage(content="m2", tag="t")]
    names: dict[str, Any] = {"__name__": "script"}
    code = compile("\n".join([*imports_of(odd), *definitions_of(odd)]), "script", "exec", dont_inherit=True)
    exec(code, names)  # noqa: S102 -- our own source
    built = eval(source_of(odd), names)  # noqa: S307 -- likewise
    assert [(type(message).__name__, message.type, message.content) for message in built] == [
        ("OddMessage", "odd", "m1"),
        ("TaggedHumanMessage", "human", "m2"),
    ]
    assert definitions_of([HumanMessage("m1")]) == []


@_THOROUGH
@given(templates() | texts())
def test_the_source_of_a_template_fills_it(template: str) -> None:
    filled = template.replace("{run}", "t0").replace("{number}", "7")
    assert eval(template_source(template), {"run": "t0", "number": 7}) == filled  # noqa: S307 -- our own source


# Steps


_m1, _m2 = HumanMessage("m1"), AIMessage("m2")
_LINES: list[tuple[Step, str]] = [
    (Open(1, "a"), 'h1 = get_session_history("a")'),
    (Open(2, "{run}-a"), 'h2 = get_session_history(f"{run}-a")'),
    (Open(2, "{number}{x}"), 'h2 = get_session_history(f"{number}{{x}}")'),
    (Open(1, "a", partition="{run}p"), 'h1 = backend.in_partition(f"{run}p", "a")'),
    (Open(1, "a", history_size=3), 'h1 = backend.with_history_size("a", 3)'),
    (Open(1, "a", ttl=1.5), 'h1 = backend.with_ttl("a", 1.5)'),
    (Add(1, (_m1, _m2)), 'h1.add_messages([HumanMessage("m1"), AIMessage("m2")])'),
    (Add(1, (_m1,), mode="async"), 'await h1.aadd_messages([HumanMessage("m1")])'),
    (Add(1, (_m1,), call="add_message"), 'h1.add_message(HumanMessage("m1"))'),
    (Add(1, (_m1,), call="add_user_message", text=True), 'h1.add_user_message("m1")'),
    (Add(1, (_m1,), container="tuple"), 'h1.add_messages((HumanMessage("m1"),))'),
    (Add(1, (_m1,), container="deque"), 'h1.add_messages(deque([HumanMessage("m1")]))'),
    (Add(1, (_m1,), container="generator"), 'h1.add_messages(iter([HumanMessage("m1")]))'),
    (Add(1, (_m1,), container="failing generator"), 'h1.add_messages(failing([HumanMessage("m1")]))'),
    (Add(1, (None,), container="bare"), "h1.add_messages(None)"),
    (Read(1), "h1.messages"),
    (Read(1, "async"), "await h1.aget_messages()"),
    (Clear(1), "h1.clear()"),
    (Clear(1, "async"), "await h1.aclear()"),
    (Assign(1, (_m1,)), 'h1.messages = [HumanMessage("m1")]'),
    (AddBack(1), "h1.add_messages(h1.messages)"),
    (AddBack(1, "async"), "await h1.aadd_messages(await h1.aget_messages())"),
    (Edit(1, "argument", "append"), 'added_by_h1.append(HumanMessage("edited"))'),
    (Edit(1, "result", "pop"), "read_of_h1.pop()"),
    (Edit(1, "result", "content"), 'read_of_h1[0].content = "edited"'),
    (Edit(1, "result", "nested"), 'read_of_h1[0].additional_kwargs["outer"]["inner"] = "edited"'),
    (Cancel(1, (_m1,), 3), 'cancel(h1.aadd_messages([HumanMessage("m1")]), after=3 turns)'),
    (Cancel(1, (), 1), "cancel(h1.aclear(), after=1 turn)"),
    (
        Cancel(1, (_m1,), 0, (_m2,)),
        'cancel(h1.aadd_messages([HumanMessage("m1")]), after=0 turns, beside=h1.aadd_messages([AIMessage("m…',
    ),
    (Wait(1.2), "# wait 1.2 s"),
    (NewLoop(), "# a new event loop"),
    (
        Together("{run}-a", ((2, "read"),) * 5, shared=True),
        'together(session=f"{run}-a", workers=[(2, "read"), (2, "read"), … 5 items], shared=True)',
    ),
    (
        Turn("{run}-a", "messages to message", "invoke", "hi"),
        'take_turn(session=f"{run}-a", shape="messages to message", call="invoke", text="hi")',
    ),
    (
        Add(1, tuple(_numbered(1, 1001, HumanMessage))),
        'h1.add_messages([HumanMessage(f"m{i}") for i in range(1, 1002)])',
    ),
    (
        Add(1, (HumanMessage(payloads.filled(1_048_576)),)),
        'h1.add_messages([HumanMessage("abcdefg" * 149796 + "abc!")])',
    ),
    (
        Add(1, (HumanMessage("".join(map(str, range(1_000)))),)),
        'h1.add_messages([HumanMessage("0123456789101112131415161718192021222324…" (2,890 characters))])',
    ),
    (
        Add(1, tuple(HumanMessage("m1", id=str(n * 7)) for n in range(50))),
        'h1.add_messages([HumanMessage("m1", id="0"), HumanMessage("m1", id="7"), … 50 items])',
    ),
]


@pytest.mark.parametrize(("step", "line"), _LINES, ids=[line[:40] for _, line in _LINES])
def test_steps_are_described_in_a_line(step: Step, line: str) -> None:
    assert describe(step) == line


@_THOROUGH
@given(st.one_of(steps(st.integers(1, 9)), openings(st.integers(1, 9))))
def test_any_step_is_described_in_one_printable_line(step: Step) -> None:
    line = describe(step)
    assert 0 < len(line) <= 100
    assert all(character.isprintable() for character in line)


# Whole scripts

_SUBJECTS = Path(__file__).with_name("script_subjects.py")
_PLAIN = (HumanMessage("m1"), AIMessage("m2"))
_RICH = (HumanMessage("m1", name="n", additional_kwargs={"z": 1.0, "a": True}),)
_NESTED = (HumanMessage("m1", additional_kwargs={"outer": {}}), AIMessage("m2"))
_INFINITE = (HumanMessage("m1", additional_kwargs={"value": float("inf")}),)
_NUL = (HumanMessage("a\0b"),)
_ODD = (OddMessage(content="m1"), TaggedHumanMessage(content="m2", tag="t"))


@dataclass(frozen=True)
class _Case:
    """A script, the factory it must fail for, and the one it must pass for, both of `script_subjects`."""

    name: str
    steps: tuple[Step | Sequence[Step], ...]
    expectation: Expectation
    broken: str
    kept: str = "good"
    refusal: str = ""

    def script(self, *, target: str | None = None) -> str:
        """The script, its target the broken factory unless another is given."""
        drawn = program(Open(1, "{run}-a"), *self.steps)
        return _script(drawn, self.expectation, target or f"script_subjects:{self.broken}")


def _script(drawn: Program, expectation: Expectation, target: str | None = "script_subjects:good") -> str:
    return script_of(
        drawn,
        clause_id="ORD-1",
        sentence="Messages are read in the order in which they were added.",
        explanation="1 message is missing.",
        step=len(drawn.steps) - 1,
        expectation=expectation,
        import_path=target,
        backend_name="mine",
    )


def _equal(*messages: BaseMessage, view: Any = "content", may_raise: Sequence[int] = ()) -> Expectation:
    return Expectation(kind="equal", values=(messages,), view=view, may_raise=frozenset(may_raise))


def _one_of(*alternatives: Sequence[BaseMessage], view: Any = "content", may_raise: Sequence[int] = ()) -> Expectation:
    values = tuple(map(tuple, alternatives))
    return Expectation(kind="one-of", values=values, view=view, may_raise=frozenset(may_raise))


_STORED = (Add(1, _PLAIN), Read(1))
_RICHLY = (Add(1, _RICH), Read(1))
_LIKE_RICH = HumanMessage("other", name="n", additional_kwargs={"a": 1, "z": 1})


def _together(aspect: str, broken: str, *workers: tuple[int | str, ...], **options: Any) -> _Case:
    """A case of work of several; only the last step, so that it is tried again and again."""
    step = Together("{run}-b", workers, **options)
    expectation = Expectation(kind="together", answer=aspect)
    return _Case(f"{aspect}, {step.how}", (step,), expectation, broken)


def _trial(name: str, broken: str, mode: Mode) -> _Case:
    """A case of an experiment on the whole backend, of which a bare class is one."""
    return _Case(f"{name}, {mode}", (Trial(name, mode, rounds=3),), Expectation(kind="trial"), broken)


_CASES = [
    _Case("content", _STORED, _equal(*_PLAIN), "Loses"),
    _Case("content, no text", (Add(1, (HumanMessage(["a"]),)), Read(1)), _equal(HumanMessage(["a"])), "Loses"),
    _Case("class", _STORED, _equal(*_PLAIN, view="class"), "OtherClass", "OtherFields"),
    _Case("loose", _RICHLY, _equal(*_RICH, view="loose"), "OtherFields"),
    _Case("loose, to Python", _RICHLY, _equal(_LIKE_RICH, view="loose"), "OtherFields", "OtherTypes"),
    _Case("full", _RICHLY, _equal(*_RICH, view="full"), "OtherTypes", "OtherOrder"),
    _Case("key order", _RICHLY, _equal(*_RICH, view="key order"), "OtherOrder"),
    _Case("readable", _STORED, _equal(view="readable"), "Raises", "OtherFields"),
    _Case("a read that raises", _STORED, _equal(*_PLAIN), "Raises"),
    _Case("one of", _STORED, _one_of((), _PLAIN), "Loses"),
    _Case("one of, in full", _RICHLY, _one_of((), _RICH, view="full"), "OtherTypes", "OtherOrder"),
    _Case("returns", (Clear(1),), Expectation(kind="returns"), "Raises"),
    _Case("raises", (Add(1, (None, [_PLAIN[0]])),), Expectation(kind="raises"), "Accepts"),
    _Case("raises anything", (Read(1),), Expectation(kind="raises", error_types=(Exception,)), "good", "Raises"),
    _Case("is a list", _STORED, Expectation(kind="is-list"), "Tuples"),
    _Case("names the session", (Add(1, ("text",)),), Expectation(kind="names-session"), "Shy"),
    _Case("names no credentials", (Clear(1),), Expectation(kind="names-session"), "Raises"),
    _Case("unchanged argument", (Add(1, _PLAIN),), Expectation(kind="unchanged-argument"), "Marks"),
    _Case("unchanged results", (*_STORED, Add(1, _PLAIN)), Expectation(kind="unchanged-results"), "Keeps"),
    _Case(
        "unchanged results, one changed on purpose",
        (*_STORED, Read(1, "async"), Edit(1, "result", "content")),
        Expectation(kind="unchanged-results"),
        "Keeps",
    ),
    _Case("free loop", (Add(1, _PLAIN), Read(1, "async")), Expectation(kind="free-loop"), "Blocks"),
    _Case("free loop, of a batch", (Add(1, _PLAIN, mode="async"),), Expectation(kind="free-loop"), "BlocksForMany"),
    _Case(
        "free loop, of a clear of what was added",
        (Add(1, _PLAIN, mode="async"), Clear(1, "async")),
        Expectation(kind="free-loop"),
        "BlocksForMany",
    ),
    _Case(
        "answers",
        (Add(1, _PLAIN), Turn("{run}-a", "messages to message", "invoke", "hi")),
        Expectation(kind="answers", answer="saw 3: m1 | m2 | hi"),
        "Forgets",
    ),
    _Case(
        "async turns",
        (
            Turn("{run}-a", "input and history keys", "ainvoke", "hi"),
            Turn("{run}-a", "messages to message", "ainvoke", "hi", fails=True),
            Read(1, "async"),
        ),
        _equal(HumanMessage("hi"), AIMessage("saw 1: hi"), may_raise=[2]),
        "Forgets",
    ),
    _Case(
        "a new loop",
        (Add(1, _PLAIN), Read(1, "async"), NewLoop(), Read(1, "async")),
        _equal(*_PLAIN),
        "OneLoop",
    ),
    _Case("cancel", (Cancel(1, _PLAIN, 1), Read(1, "async")), _one_of((), _PLAIN), "Partly"),
    _Case(
        "cancel beside another",
        (Cancel(1, _PLAIN, 1, _PLAIN), Cancel(1, (), 0), Read(1, "async")),
        _one_of((), _PLAIN, _PLAIN * 2),
        "Partly",
    ),
    _Case(
        "a wait by the backend's clock",
        (Open(2, "{run}-b", ttl=1.0), Add(2, _PLAIN), Wait(1.5), Read(2)),
        _equal(),
        "bad_backend",
        "good_backend",
    ),
    _Case("a wait", (Wait(0.05), *_STORED), _equal(*_PLAIN), "Loses"),
    _Case(
        "history size",
        (Open(2, "{run}-{number}", history_size=1), Add(2, _PLAIN), Read(2)),
        _equal(_PLAIN[1]),
        "bad_backend",
        "good_backend",
    ),
    _Case(
        "partitions",
        (Open(2, "{run}-b", partition="{run}p"), Open(3, "{run}-b", partition="q"), Add(2, _PLAIN), Read(3)),
        _equal(),
        "bad_backend",
        "good_backend",
    ),
    _Case(
        "a failing iterable",
        (Add(1, _PLAIN, container="failing generator"), Read(1)),
        _equal(may_raise=[1]),
        "Partly",
    ),
    _Case(
        "a refused session id",
        (Open(2, "{run}/b"), Add(1, _PLAIN), Add(2, _PLAIN), Read(2), Edit(2, "result", "pop"), Read(1)),
        _equal(*_PLAIN, may_raise=[1]),
        "Loses",
        "Picky",
    ),
    _Case(
        "a hard value, refused by others",
        (Add(1, _INFINITE), Read(1)),
        _equal(*_INFINITE, view="full"),
        "Flattens",
        refusal="this is refused now, as it may be",
    ),
    _Case(
        "a hard value, stored by others",
        (Add(1, _NUL), Add(1, _PLAIN), Read(1)),
        _equal(*_PLAIN, may_raise=[1]),
        "Nulls",
        refusal="this is no longer refused",
    ),
    _Case(
        "a hard session id, refused by others",
        (Open(2, "{run}/b"), Add(2, _PLAIN), Read(2)),
        _equal(*_PLAIN),
        "Loses",
        "Picky",
        refusal="this is refused now, as it may be",
    ),
    *(
        _Case(
            f"a session that is never new: {view}",
            (Open(2, ""), Add(2, _PLAIN), Read(1), Open(3, ""), Read(3, "async")),
            _equal(HumanMessage("of others"), *_PLAIN, view=view),
            "Loses",
            "Visited",
        )
        for view in ("content", "loose", "full")
    ),
    _Case(
        "other writes",
        (Add(1, _PLAIN), Assign(1, _PLAIN), AddBack(1), AddBack(1, "async"), Read(1)),
        _equal(*_PLAIN * 4),
        "Loses",
    ),
    _Case(
        "single messages",
        (
            Add(1, _PLAIN[:1], call="add_message"),
            Add(1, _PLAIN[:1], call="add_user_message", text=True),
            Add(1, _PLAIN[1:], call="add_ai_message"),
            Read(1),
        ),
        _equal(_PLAIN[0], _PLAIN[0], _PLAIN[1]),
        "Loses",
    ),
    _together("lost", "Races", (1, 1), (1, 1)),
    _together("lost", "Races", (1, 1), (1, 1), how="tasks", shared=True),
    _together("order", "Reverses", (1, 1), (1, 1)),
    _together("prefix", "Reverses", (1, 1, "read", "read"), ("read", 1, "read")),
    _together("torn", "Partly", (3, 3), ("read", 3, 3), partition=None),
    _together("torn", "Partly", (3, 3), ("read", 3, 3), how="tasks", opens=True),
    _together("linearizable", "Lags", (1, "clear", "read"), (1, "read")),
    _together("works", "Crowded", (1, "read"), (1, "read"), (1, "read"), opens=True),
    _together("linearizable", "Piecemeal", (9, 9, "read", "clear", "read"), ("watch",)),
    _together("torn", "Hollow", (3, 3), ("watch",)),
    _together("works", "Limited", (1, "reopen", 1, "reopen", 1, "reopen", 1), (1,)),
    *(
        _trial(name, broken, mode)
        for name, broken in (
            ("late looks", "Keeps"),
            ("reads at once", "Keeps"),
            ("sessions at once", "Misled"),
            ("losses beside sessions", "Races"),
        )
        for mode in get_args(Mode)
    ),
    _trial("sync calls in a loop", "Defers", "sync"),
    _Case(
        "sync calls in a loop that do not return",
        (Trial("sync calls in a loop"),),
        Expectation(kind="returns"),
        "Defers",
    ),
    _trial("awaits in a row", "Defers", "async"),
    _Case(
        "work of several that does not end well",
        (Together("{run}-b", ((1,), (1,))),),
        Expectation(kind="returns"),
        "Raises",
    ),
    _Case(
        "odd classes",
        (Add(1, _ODD), Read(1)),
        _one_of((), _ODD, view="full"),
        "Downcasts",
        refusal="this is refused now, as it may be",
    ),
    _Case("an object twice", (Add(1, _PLAIN[:1] * 2), Read(1)), _equal(*_PLAIN[:1] * 2), "Distinct"),
    _Case("a function that yields a backend", _STORED, _equal(*_PLAIN), "Loses", "yielded"),
    _Case("a context manager of a factory", _STORED, _equal(*_PLAIN), "Loses", "managed"),
    _Case("a function that returns a backend", _STORED, _equal(*_PLAIN), "Loses", "returned"),
    _Case("a decorated factory", _STORED, _equal(*_PLAIN), "Loses", "cached"),
    *(
        _Case(
            f"edit of an argument: {edit}",
            (Add(1, _NESTED), Edit(1, "argument", edit), Read(1)),
            _equal(*_NESTED, view="full"),
            "KeepsArgument",
        )
        for edit in get_args(EditKind)
    ),
    *(
        _Case(
            f"edit of a result: {edit}",
            (Add(1, _NESTED), Read(1, mode), Edit(1, "result", edit), Read(1)),
            _equal(*_NESTED, view="full"),
            "Keeps",
        )
        for edit, mode in zip(get_args(EditKind), get_args(Mode) * 4, strict=True)
    ),
]
_NAMES = [case.name for case in _CASES]

Runs: TypeAlias = dict[tuple[str, str], tuple[int, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the factories, and the script of every case under its number."""
    place = tmp_path_factory.mktemp("scripts")
    shutil.copy(_SUBJECTS, place)
    for number, case in enumerate(_CASES):
        (place / f"case{number}.py").write_text(case.script(), encoding="utf-8")
    return place


def _run_all(folder: Path, jobs: list[list[str]]) -> list[tuple[int, str]]:
    """Run scripts as processes of their own, forked from one that has imported what takes its time."""
    command = [sys.executable, str(Path(__file__).with_name("script_forker.py"))]
    done = subprocess.run(  # noqa: S603 -- our own scripts
        command, input=json.dumps(jobs), cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [(code, output) for code, output in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def ran(folder: Path) -> Runs:
    """Exit code and output of every script, by name of the case and of the factory."""
    keys = [(case.name, factory) for case in _CASES for factory in ("", case.kept)]
    jobs = [
        [f"case{_NAMES.index(name)}.py", *([f"script_subjects:{factory}"] if factory else [])] for name, factory in keys
    ]
    return dict(zip(keys, _run_all(folder, jobs), strict=True))


@pytest.mark.parametrize("case", _CASES, ids=_NAMES)
def test_a_script_fails_for_the_broken_factory(case: _Case, ran: Runs) -> None:
    code, output = ran[case.name, ""]
    assert (code, output.splitlines()[0]) == (1, f"STILL FAILING: ORD-1 at step {_last_step(case)}"), output
    assert "Traceback" not in output
    assert "expected:" in output
    assert "observed:" in output


@pytest.mark.parametrize("case", _CASES, ids=_NAMES)
def test_a_script_passes_for_a_factory_that_keeps_the_clause(case: _Case, ran: Runs) -> None:
    code, output = ran[case.name, case.kept]
    closed = "closed\n" if case.kept in ("yielded", "managed") else ""
    said = case.refusal or f"ORD-1 at step {_last_step(case)}"
    assert (code, output) == (0, f"{closed}FIXED: {said}\n"), output


def _last_step(case: _Case) -> int:
    return len(case.steps) + 1


@pytest.mark.parametrize(("target", "code"), [((), 1), (("script_subjects:good",), 0)])
def test_a_script_runs_from_anywhere_as_a_process_of_its_own(
    folder: Path, tmp_path: Path, target: tuple[str, ...], code: int
) -> None:
    script = tmp_path / "elsewhere.py"
    script.write_text(_CASES[0].script(), encoding="utf-8")
    done = _run(script, *target, cwd=folder)
    assert done.returncode == code
    assert done.stdout.startswith("FIXED" if code == 0 else "STILL FAILING")
    assert done.stderr == ""


def _run(script: Path, *target: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- our own scripts
        [sys.executable, str(script), *target],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_target_may_be_a_file(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_CASES[0].script(target=f"{folder / 'script_subjects.py'}:Loses"), encoding="utf-8")
    assert _run(script, cwd=tmp_path).returncode == 1
    assert _run(script, f"{folder / 'script_subjects.py'}:store", cwd=tmp_path).returncode == 0


def test_without_an_import_path_there_is_a_place_for_the_factory(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    source = _script(program(Open(1, "{run}-a"), *_STORED), _equal(*_PLAIN), target=None)
    script.write_text(source, encoding="utf-8")
    assert "PUT YOUR FACTORY HERE" in source
    unfilled = _run(script, cwd=folder)
    assert unfilled.returncode == 1
    assert unfilled.stderr.startswith("put your factory here")
    assert _run(script, "script_subjects:good", cwd=folder).stdout.startswith("FIXED")
    own = "    from script_subjects import Loses\n\n    return Loses(session_id)\n"
    refusal = next(line for line in source.splitlines() if "raise SystemExit" in line)
    script.write_text(source.replace(f"{refusal}\n", own), encoding="utf-8")
    assert _run(script, cwd=folder).stdout.startswith("STILL FAILING")


def test_a_call_that_hangs_is_given_up(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    drawn = program(Open(1, "{run}-a"), Clear(1))
    source = _script(drawn, Expectation(kind="returns"), "script_subjects:Hangs")
    assert "Timer(60, give_up)" in source
    script.write_text(source.replace("Timer(60, give_up)", "Timer(0.2, give_up)"), encoding="utf-8")
    done = _run(script, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "STILL FAILING: no answer in time\n")


def test_later_steps_are_left_out() -> None:
    drawn = program(Open(1, "{run}-a"), Add(1, _PLAIN), Read(1), Clear(1), Read(1))
    source = script_of(
        drawn,
        clause_id="ORD-1",
        sentence="",
        explanation="",
        step=2,
        expectation=_equal(*_PLAIN),
        import_path="a:b",
        backend_name="mine",
    )
    assert "clear()" not in source


@_THOROUGH
@given(texts(), texts())
def test_any_text_may_stand_in_the_docstring(sentence: str, explanation: str) -> None:
    source = script_of(
        program(Open(1, "a"), Read(1)),
        clause_id="ORD-1",
        sentence=sentence,
        explanation=explanation,
        step=1,
        expectation=_equal(),
        import_path="a:b",
        backend_name="mine",
    )
    docstring = ast.get_docstring(ast.parse(source))
    assert docstring is not None
    assert docstring.startswith("ORD-1:")
    assert "Run it:" in docstring


_EXPECTATIONS = st.builds(
    Expectation,
    kind=st.sampled_from(["equal", "one-of", "returns", "raises", "unchanged-results"]),
    values=st.lists(st.lists(messages(), max_size=2).map(tuple), min_size=1, max_size=2).map(tuple),
    view=st.sampled_from(["content", "class", "loose", "full", "key order", "readable"]),
    may_raise=st.frozensets(st.integers(0, 5), max_size=3),
)


def test_scripts_of_any_program_are_sound(tmp_path: Path) -> None:
    """Valid Python of langchain-core and the standard library, each name defined and each import used."""
    pytest.importorskip("ruff")

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(programs(), _EXPECTATIONS)
    def write(drawn: Program, expectation: Expectation) -> None:
        source = _script(program(*drawn.steps, Read(1)), expectation)
        roots = {name.partition(".")[0] for name in _imported(ast.parse(source))}
        assert roots <= {"langchain_core", *sys.stdlib_module_names}
        (tmp_path / f"script{len(list(tmp_path.iterdir()))}.py").write_text(source, encoding="utf-8")

    write()
    _ruff(tmp_path, "check", "--select", "F,E9", "--ignore", "F632")


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _ruff(folder: Path, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 -- our own scripts
        [sys.executable, "-m", "ruff", *arguments, "--isolated", "--no-cache", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def test_scripts_are_laid_out_as_by_ruff(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for number, case in enumerate(_CASES):
        if not any(isinstance(step, Turn | Together | Trial) for step in case.steps):  # whose lines are longer
            (tmp_path / f"case{number}.py").write_text(case.script(), encoding="utf-8")
    _ruff(tmp_path, "format", "--check", "--line-length", "100")
    _ruff(tmp_path, "check", "--select", "I,F,E9")


def test_scripts_do_what_the_interpreter_does(folder: Path) -> None:
    """Over the reference, a script reads at its last step what the interpreter reads there."""
    jobs: list[list[str]] = []

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(programs().map(_without_options))
    def write(drawn: Program) -> None:
        drawn = program(*drawn.steps, Read(1, "async"), Read(1))
        observed = _interpreted(drawn)
        raised = frozenset(seen.index for seen in observed if seen.outcome == "raised")
        expectation = _equal(*observed[-1].value, view="key order", may_raise=tuple(raised))
        name = f"drawn{len(jobs)}.py"
        (folder / name).write_text(_script(drawn, expectation), encoding="utf-8")
        jobs.append([name])

    write()
    failed = [(*job, output) for job, (code, output) in zip(jobs, _run_all(folder, jobs), strict=True) if code]
    assert not failed


def _without_options(drawn: Program) -> Program:
    """The program on plain handles of sessions of its own, without waiting."""
    steps: list[Step] = []
    for step in drawn.steps:
        if isinstance(step, Open):
            steps.append(Open(step.handle, f"{{run}}{step.session}"))
        elif not isinstance(step, Wait | Together):
            steps.append(step)
    return Program(tuple(steps))


def _interpreted(drawn: Program) -> list[Observation]:
    store = InMemoryChatHistoryStore()
    backend = Backend(name="reference", get_session_history=store.get_session_history, disposable=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(Execution(backend, copy.deepcopy(drawn), keep_results=True).run())
