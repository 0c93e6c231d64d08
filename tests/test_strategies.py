"""The catalogue of edge values, the corpus made of it, and the strategies that draw from both."""

from __future__ import annotations

import fnmatch
import json
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from tests.occurrences import KINDS, Recording, record_a_run

from chathistory.conformance import _payloads as payloads
from chathistory.conformance import strategies
from chathistory.conformance._program import Add, Assign, Clear, Open, Program, Read, RunToken, new_token
from chathistory.conformance._report import EFFORTS
from chathistory.conformance._session_ids import (
    COLLIDING_SESSIONS,
    HOSTILE_SESSIONS,
    RUN_LENGTH,
    is_hard_session_id,
)
from chathistory.reference import (
    MESSAGE_CLASSES,
    InMemoryChatHistoryStore,
    InMemoryChatMessageHistory,
    UnstorableValueError,
    decode,
    encode,
    fields_of,
    first_difference,
    same_value,
)

JSON_VALUES: tuple[Any, ...] = (*payloads.TEXTS, *payloads.NUMBERS, *payloads.CONTENTS)
EVERY_VALUE: tuple[Any, ...] = (*JSON_VALUES, *payloads.UNSTORABLE, *payloads.UNUSUAL)
EXAMPLES = 300
FEW = 100
SEED = 20_240_229
FALSE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def drawn(strategy: SearchStrategy[Any], examples: int = EXAMPLES) -> list[Any]:
    """What a strategy draws in so many examples, the same every time."""
    found: list[Any] = []

    @seed(SEED)
    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        found.append(data.draw(strategy))

    collect()
    return found


@lru_cache
def drawn_once(strategy: SearchStrategy[Any]) -> tuple[Any, ...]:
    """What a strategy draws, for several tests that change nothing of it."""
    return tuple(drawn(strategy))


@lru_cache
def many_messages() -> tuple[BaseMessage, ...]:
    """Messages of all kinds, hard ones as well, in lists of twelve."""
    lists = st.lists(strategies.messages(hard=True), min_size=12, max_size=12)
    return tuple(message for messages in drawn(lists) for message in messages)


def parts(value: Any) -> Iterator[Any]:
    """A value, and every key and value inside it."""
    yield value
    if isinstance(value, BaseMessage):
        yield from parts(list(fields_of(value).values()))
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from parts(item)


def as_text(value: Any) -> str:
    """A JSON value as text that tells types, signs of zero and orders of keys apart."""
    return f"text {value}" if isinstance(value, str) else json.dumps(value)


def contained(messages: Iterable[BaseMessage]) -> set[str]:
    """Every value that is anywhere in the messages, as text."""
    return {as_text(part) for message in messages for part in parts(message) if part is not message}


def without(values: set[str], entries: Iterable[Any]) -> list[str]:
    """The names of the entries whose values aren't there."""
    return [entry.name for entry in entries if as_text(entry.value) not in values]


def set_fields(messages: Iterable[BaseMessage]) -> dict[type[BaseMessage], set[str]]:
    """Which fields of each class hold something else than their default in some message."""
    found: dict[type[BaseMessage], set[str]] = {cls: set() for cls in MESSAGE_CLASSES}
    for message in messages:
        known = type(message).model_fields
        for name, value in fields_of(message).items():
            if name not in known:
                found[type(message)].add("extra")
            elif known[name].is_required() or value != known[name].get_default(call_default_factory=True):
                found[type(message)].add(name)
    return found


def all_fields(cls: type[BaseMessage]) -> set[str]:
    """The fields that messages of a class can hold: what a RemoveMessage has no content for, for one."""
    return {*cls.model_fields, "extra"} - {"type"} - ({"content"} if cls is RemoveMessage else set())


def assert_kept_or_refused(message: BaseMessage) -> None:
    """The reference's codec keeps a message and the order of its keys, or refuses adjacent surrogates."""
    try:
        text = encode(message)
    except UnstorableValueError:
        assert any(isinstance(part, str) and FALSE_PAIR.search(part) for part in parts(message))
    else:
        assert first_difference(message, decode(text), key_order=True) is None


class TestCatalogue:
    """The values themselves."""

    @pytest.mark.parametrize(
        "group",
        [
            payloads.TEXTS,
            payloads.NUMBERS,
            payloads.CONTENTS,
            payloads.UNSTORABLE + payloads.UNUSUAL,
            payloads.NOT_MESSAGES,
            COLLIDING_SESSIONS,
            HOSTILE_SESSIONS,
        ],
    )
    def test_names_are_unique(self, group: tuple[Any, ...]) -> None:
        """A name means one entry."""
        names = [entry.name for entry in group]
        assert len(set(names)) == len(names) > 0

    @pytest.mark.parametrize("entry", EVERY_VALUE, ids=lambda entry: entry.name)
    def test_hard_reasons_agree(self, entry: Any) -> None:
        """What the catalogue says of a value is what is found in it, alone and inside a message."""
        expected = {entry.hard} - {""}
        assert payloads.hard_reasons(entry.value) == expected
        assert payloads.hard_reasons(HumanMessage(content="x", note={"a": [entry.value]})) == expected

    def test_hard_reasons_of_what_was_filled_in_place(self) -> None:
        """Pydantic does not count such a field as set; it is looked at all the same."""
        message = HumanMessage(content="x")
        message.additional_kwargs["value"] = float("nan")
        assert payloads.hard_reasons(message) == {"not JSON"}

    def test_hard_reasons_of_several(self) -> None:
        """Every reason is named, and the texts of one message count together."""
        message = HumanMessage(content="a\x00", additional_kwargs={"b": [2**64, "\udfff", (1,)]})
        assert payloads.hard_reasons(message) == {"NUL", "int beyond 64 bits", "lone surrogate", "not JSON"}
        halves = ["x" * (128 * 1024), "\u00e9" * (64 * 1024)]
        assert payloads.hard_reasons(halves) == frozenset()
        assert payloads.hard_reasons([*halves, "y"]) == {"size"}
        assert payloads.hard_reasons(payloads.nested(64)) == frozenset()
        assert payloads.hard_reasons(payloads.nested(65)) == {"deep nesting"}

    def test_hard_reasons_of_odd_classes(self) -> None:
        """A class that is none of langchain-core's may be refused, and so may an odd name of a field."""

        class OddMessage(HumanMessage):
            pass

        assert payloads.hard_reasons(OddMessage(content="x")) == {"message class"}
        assert payloads.hard_reasons(BaseMessage(content="x", type="human")) == {"message class"}
        assert payloads.hard_reasons(HumanMessage(content="x", **{"a\x00": 1})) == {"NUL"}

    def test_sizes_are_exact(self) -> None:
        """The texts at a boundary stand exactly there."""
        sizes = [len(text.value.encode("utf-8", "surrogatepass")) for text in payloads.TEXTS]
        assert {65_535, 65_536, 65_537, 1_048_576} <= set(sizes)
        split = [text.value.encode() for text in payloads.TEXTS if "64 KB boundary in" in text.name]
        assert len(split) == 2
        for encoded in split:
            with pytest.raises(UnicodeDecodeError):
                encoded[:65_536].decode()

    @pytest.mark.parametrize("entry", payloads.NOT_MESSAGES, ids=lambda entry: entry.name)
    def test_not_messages_are_refused(self, entry: payloads.NotMessages) -> None:
        """The reference refuses each add of what is no message, and stores nothing."""
        history = InMemoryChatMessageHistory("s", store=InMemoryChatHistoryStore())
        alone = entry.call == "add_message" or entry.container == "bare"
        with pytest.raises((TypeError, ValueError)):
            getattr(history, entry.call)(entry.messages[0] if alone else list(entry.messages))
        assert history.messages == []


class TestSessionIds:
    """Ids that collide, and hostile ones."""

    def test_the_token_has_the_length_counted_on(self) -> None:
        """Ids of an exact length count on the length of the token."""
        assert len(new_token().text) == RUN_LENGTH
        lengths = {len(new_token().fill(each)) for kind in COLLIDING_SESSIONS for each in kind.ids}
        assert {63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1025, 2047, 2049, 4096} <= lengths

    @pytest.mark.parametrize("kind", COLLIDING_SESSIONS, ids=lambda kind: kind.name)
    def test_ids_of_a_collision_differ(self, kind: Any) -> None:
        """They are different names, and other ones in each execution."""
        first, second = new_token(), new_token()
        ids = {first.fill(template) for template in kind.ids}
        assert len(ids) == len(kind.ids) > 1
        assert not ids & {second.fill(template) for template in kind.ids}

    @pytest.mark.parametrize(
        ("name", "careless"),
        [
            ("case", str.lower),
            ("case of the Turkish i", lambda each: each.upper()),
            ("case of sharp s", str.casefold),
            ("case of the Kelvin sign", str.lower),
            ("NFC and NFD", lambda each: unicodedata.normalize("NFC", each)),
            ("compatibility ligature", lambda each: unicodedata.normalize("NFKC", each)),
            ("compatibility digits", lambda each: unicodedata.normalize("NFKC", each)),
            ("zero width", lambda each: re.sub("[\u200b-\u200d\u2060\ufeff\u00ad]", "", each)),
            ("white space space", str.strip),
            ("white space tab", str.rstrip),
            ("white space no-break", str.lstrip),
            ("white space newline", lambda each: each.splitlines()[0]),
            ("outside the BMP", lambda each: re.sub("[\U00010000-\U0010ffff]", "\ufffd", each)),
            ("mojibake", lambda each: each.encode("ascii", "replace")),
            ("delimiter :", lambda each: each.partition(":")[0]),
            ("delimiters replaced", lambda each: re.sub(r"\W", "_", each)),
            ("quotes", lambda each: each.strip("\"'`[]")),
            ("quote doubled", lambda each: each.replace("''", "'")),
            ("trailing dot", lambda each: each.rstrip(".")),
            ("percent-encoding", lambda each: each.replace("%41", "A")),
            ("NUL", lambda each: each.split("\x00")[0]),
            ("digits", float),
            ("digits", int),
            ("digits that look like a UUID", uuid.UUID),
            ("length 63/64/65 at the end", lambda each: each[:64]),
            ("length 63/64/65 at the start", lambda each: each[-64:]),
            ("length 255/256/257 at the end", lambda each: each[:255]),
            ("length 2047/2049 at the end", lambda each: each[:2048]),
            ("length 4096 at the end", lambda each: each[:4095]),
            ("length 4096 at the start", lambda each: each[1:]),
        ],
    )
    def test_careless_stores_take_ids_for_one(self, name: str, careless: Callable[[str], Any]) -> None:
        """Each kind catches the carelessness that it is there for."""
        seen = [taken for each in self._kind(name) for taken in _taken(careless, each)]
        assert len(set(seen)) < len(seen)

    @pytest.mark.parametrize(
        ("name", "matches"),
        [
            ("wildcard *", fnmatch.fnmatchcase),
            ("wildcard ?", fnmatch.fnmatchcase),
            ("wildcard [a]", fnmatch.fnmatchcase),
            ("wildcard %", lambda each, pattern: re.fullmatch(pattern.replace("%", ".*"), each)),
            ("wildcard _", lambda each, pattern: re.fullmatch(pattern.replace("_", "."), each)),
            ("wildcard at both ends", lambda each, pattern: re.fullmatch(pattern, each)),
            ("prefix", str.startswith),
            ("suffix", str.endswith),
            ("substring", str.__contains__),
        ],
    )
    def test_patterns_match_other_ids(self, name: str, matches: Callable[[str, str], Any]) -> None:
        """Each kind of pattern holds one that matches another id."""
        ids = self._kind(name)
        assert any(matches(each, pattern) for pattern in ids for each in ids if each != pattern)

    @staticmethod
    def _kind(name: str) -> list[str]:
        [kind] = [kind for kind in COLLIDING_SESSIONS if kind.name == name]
        return [RunToken("t" * RUN_LENGTH, 123_456_789_012_345).fill(template) for template in kind.ids]

    def test_hostile_ids(self) -> None:
        """All but one may be refused; all but two are unique to the execution."""
        hard = {each.name: is_hard_session_id(new_token().fill(each.session)) for each in HOSTILE_SESSIONS}
        assert [name for name in hard if not hard[name]] == ["option"]
        assert [each.name for each in HOSTILE_SESSIONS if "{run}" not in each.session] == [
            "empty",
            "one space",
        ]

    def test_plain_ids_are_not_hard(self) -> None:
        """Letters, digits, `_` and `-` up to 200 characters must work."""
        assert not is_hard_session_id("aZ09_-")
        assert not is_hard_session_id("a" * 200)
        assert is_hard_session_id("a" * 201)
        assert is_hard_session_id("a\n")
        assert is_hard_session_id("\u00e9")


def _taken(careless: Callable[[str], Any], session_id: str) -> list[Any]:
    """What a careless store takes the id for, in a list; nothing if it can't."""
    try:
        return [careless(session_id)]
    except ValueError:  # not every id looks like a number
        return []


class TestCorpus:
    """What occurs for certain."""

    corpus = strategies.corpus_of_messages()

    def test_every_class_and_field(self) -> None:
        """Each class occurs, and each of its fields with something in it."""
        found = set_fields(self.corpus)
        assert [all_fields(cls) - found[cls] for cls in MESSAGE_CLASSES] == [set()] * len(MESSAGE_CLASSES)

    def test_every_payload(self) -> None:
        """Each edge payload is in some message."""
        assert without(contained(self.corpus), JSON_VALUES) == []

    def test_payloads_take_every_place(self) -> None:
        """Edge texts occur in every place that holds text, not in contents alone."""
        odd = {text.value for text in payloads.TEXTS if not text.value.isascii() or text.hard}
        holders = {name for m in self.corpus for name, value in fields_of(m).items() if odd & _texts_in(value)}
        assert {"content", "additional_kwargs", "response_metadata", "name", "id", "note"} <= holders
        assert {"tool_calls", "artifact"} <= holders

    def test_it_is_kept_by_the_reference(self) -> None:
        """Every message passes through text and back, but for two surrogates in a row."""
        for message in self.corpus:
            assert_kept_or_refused(message)
            assert payloads.hard_reasons(message) <= set(_hard_names())

    def test_it_belongs_to_the_caller(self) -> None:
        """Changing a message changes no later corpus."""
        first, second = strategies.corpus_of_messages(), strategies.corpus_of_messages()
        first[1].additional_kwargs["a"].append("changed")
        assert not same_value(first[1], second[1])
        assert all(map(same_value, second, strategies.corpus_of_messages()))


def _texts_in(value: Any) -> set[str]:
    return {part for part in parts(value) if isinstance(part, str)}


def _hard_names() -> set[str]:
    return {entry.hard for entry in JSON_VALUES}


class TestValueStrategies:
    """What is drawn: texts, values, messages and batches."""

    def test_messages_hold_everything(self) -> None:
        """Every class and field occurs, and most edge payloads (all of them are in the corpus)."""
        found = set_fields(many_messages())
        assert [all_fields(cls) - found[cls] for cls in MESSAGE_CLASSES] == [set()] * len(MESSAGE_CLASSES)
        assert len(without(contained(many_messages()), JSON_VALUES)) < len(JSON_VALUES) // 5

    def test_messages_must_be_kept(self) -> None:
        """Unless asked for, no message is drawn that a store may refuse; the reference keeps all."""
        for message in drawn(strategies.messages(), FEW):
            assert payloads.hard_reasons(message) == frozenset()
            assert_kept_or_refused(message)

    def test_hard_messages_are_json(self) -> None:
        """What is drawn may be hard to store, but is JSON and of a known class."""
        for message in many_messages()[:: len(MESSAGE_CLASSES)]:
            assert not payloads.hard_reasons(message) & {"not JSON", "message class"}
            assert_kept_or_refused(message)

    @pytest.mark.parametrize("cls", MESSAGE_CLASSES)
    def test_messages_of_one_class(self, cls: type[BaseMessage]) -> None:
        """They are of exactly that class."""
        assert {type(message) for message in drawn(strategies.messages(cls), 10)} == {cls}

    @pytest.mark.parametrize("strategy", [strategies.texts(), strategies.json_values(), strategies.contents()])
    def test_plain_values_are_not_hard(self, strategy: SearchStrategy[Any]) -> None:
        """Texts, values and contents that a store must keep."""
        assert {payloads.hard_reasons(value) for value in drawn(strategy, FEW)} == {frozenset()}

    def test_every_payload_is_drawn(self) -> None:
        """Texts, values and contents each draw all of their part of the catalogue."""
        for strategy, entries in (
            (strategies.texts(hard=True), payloads.TEXTS),
            (strategies.json_values(hard=True), payloads.NUMBERS),
            (strategies.contents(hard=True), payloads.CONTENTS),
        ):
            assert without(set(map(as_text, drawn_once(strategy))), entries) == []

    def test_hard_values_occur(self) -> None:
        """Every reason is met, where asked for."""
        values = (*drawn_once(strategies.texts(hard=True)), *drawn_once(strategies.json_values(hard=True)))
        assert {reason for value in values for reason in payloads.hard_reasons(value)} == {
            "NUL",
            "lone surrogate",
            "int beyond 64 bits",
            "size",
            "deep nesting",
        }

    def test_what_is_drawn_belongs_to_the_caller(self) -> None:
        """Spoiling values and messages leaves the catalogue and the corpus as they were."""
        before = [as_text(value.value) for value in JSON_VALUES]
        for value in drawn(st.one_of(strategies.json_values(), strategies.contents()), FEW):
            _spoil(value)
        for message in drawn(strategies.messages(), FEW):
            _spoil(list(fields_of(message).values()))
        assert before == [as_text(value.value) for value in JSON_VALUES]
        assert all(map(same_value, TestCorpus.corpus, strategies.corpus_of_messages()))

    def test_plain_messages(self) -> None:
        """Human and AI messages, some of them equal."""
        messages = [m for batch in drawn(strategies.batches(strategies.plain_messages()), FEW) for m in batch]
        assert {type(message) for message in messages} == {HumanMessage, AIMessage}
        assert not any(payloads.hard_reasons(message) for message in messages)

    def test_batches(self) -> None:
        """Of every size asked for; with the same object twice, equal messages, and shared ids."""
        batches = drawn(strategies.batches(min_size=1, max_size=4), 6 * FEW)
        assert {len(batch) for batch in batches} == {1, 2, 3, 4}
        assert any(batch[0] is batch[-1] for batch in batches if len(batch) > 1)
        assert any(batch[0] is not batch[-1] and same_value(batch[0], batch[-1]) for batch in batches if len(batch) > 1)
        assert any(
            batch[0].id is not None and batch[0].id == batch[-1].id and not same_value(batch[0], batch[-1])
            for batch in batches
        )
        assert () in drawn(strategies.batches(strategies.plain_messages()), FEW)

    def test_session_ids_of_every_kind(self) -> None:
        """Every kind of collision is drawn as a group, and single ids come from all of them."""
        groups = drawn(strategies.session_groups(), 2 * EXAMPLES)
        assert all(len(set(group)) == 2 for group in groups)
        missing = [kind.name for kind in COLLIDING_SESSIONS if not any(set(group) <= set(kind.ids) for group in groups)]
        assert missing == []
        ids = set(drawn(strategies.session_ids(), 2 * EXAMPLES))
        assert all(ids & set(kind.ids) for kind in COLLIDING_SESSIONS)

    def test_groups_that_are_too_large(self) -> None:
        """No kind of collision has a thousand ids."""
        with pytest.raises(ValueError, match="1000 session ids"):
            strategies.session_groups(1000)


def _spoil(value: Any) -> None:
    for part in list(parts(value)):
        if isinstance(part, dict):
            part["spoiled"] = True
        elif isinstance(part, list):
            part.append("spoiled")


class TestPrograms:
    """Sequential programs."""

    many = drawn(
        strategies.programs(
            sessions=3,
            handles=4,
            steps=15,
            modes=("sync", "async"),
            batch_sizes=(0, 1, 2, 65),
            ids=strategies.session_groups(3),
        ),
        2 * FEW,
    )

    def test_they_are_valid(self) -> None:
        """Each handle is opened once, before it is used; no more than asked for, but for the last reads."""
        assert all(program.is_valid() for program in self.many)
        assert all(len(list(program.sessions())) <= 3 for program in self.many)
        opened = [step.handle for program in self.many for step in program.steps if isinstance(step, Open)]
        assert set(opened) == set(range(4 + 3))

    def test_contents_are_unique(self) -> None:
        """Messages are numbered through each program; even ones are human."""
        for program in self.many:
            messages = [m for step in program.steps if isinstance(step, Add | Assign) for m in step.messages]
            assert [m.content for m in messages] == [f"m{number + 1}" for number in range(len(messages))]
            assert all(type(m) is (AIMessage, HumanMessage)[index % 2] for index, m in enumerate(messages))

    def test_everything_occurs(self) -> None:
        """All operations, modes and sizes, and handles opened in the middle."""
        steps = [step for program in self.many for step in program.steps]
        assert {type(step) for step in steps} == {Open, Add, Read, Clear, Assign}
        assert {(type(step), step.mode) for step in steps if not isinstance(step, Open | Assign)} == {
            (kind, mode) for kind in (Add, Read, Clear) for mode in ("sync", "async")
        }
        assert {len(step.messages) for step in steps if isinstance(step, Add | Assign)} == {0, 1, 2, 65}
        assert any(_opens_late(program) for program in self.many)

    def test_each_session_is_read_at_the_end(self) -> None:
        """Through an old handle and through a new one, after the last change."""
        for program in self.many:
            last = max(
                (index for index, step in enumerate(program.steps) if isinstance(step, Add | Clear | Assign)),
                default=-1,
            )
            session = {step.handle: step.session for step in program.steps if isinstance(step, Open)}
            readers = [step.handle for step in program.steps[last + 1 :] if isinstance(step, Read)]
            for name in program.sessions():
                assert {handle < 4 for handle in readers if session[handle] == name} == {True, False}

    def test_only_the_operations_asked_for(self) -> None:
        """Operations, modes, handles and elements are as asked for; sessions are plain by default."""
        programs = drawn(
            strategies.programs(
                handles=1, steps=4, operations=frozenset({"add"}), elements=strategies.messages(AIMessage)
            ),
            50,
        )
        steps = [step for program in programs for step in program.steps]
        assert {type(step) for step in steps} == {Open, Add, Read}
        assert {type(m) for step in steps if isinstance(step, Add) for m in step.messages} == {AIMessage}
        names = {name for program in programs for name in program.sessions()}
        assert not any(is_hard_session_id(new_token().fill(name)) for name in names)
        assert {step.mode for step in steps if not isinstance(step, Open)} == {"sync"}

    def test_several_sessions_are_used(self) -> None:
        """A program over several sessions opens two at least."""
        assert min(len(list(program.sessions())) for program in self.many) >= 2

    @pytest.mark.parametrize(
        "wrong", [{"sessions": 0}, {"handles": 0}, {"steps": 0}, {"operations": frozenset()}, {"modes": ()}]
    )
    def test_impossible_programs(self, wrong: dict[str, Any]) -> None:
        """A program without handles or steps is a mistake."""
        with pytest.raises(ValueError, match="needs"):
            strategies.programs(**wrong)


def test_unknown_operations() -> None:
    """The name of an operation that doesn't exist is told."""
    with pytest.raises(ValueError, match="'delete'"):
        strategies.programs(operations=frozenset({"add", "delete"}))


def _opens_late(program: Program) -> bool:
    kinds = [type(step) for step in program.steps]
    late = [index for index, step in enumerate(program.steps) if isinstance(step, Open) and step.handle in (1, 2, 3)]
    return any(Add in kinds[:index] for index in late)


@pytest.fixture(scope="module")
def quick_run() -> Recording:
    """One quick run of the reference, of the families whose checks are programs."""
    return record_a_run(replace(EFFORTS["quick"], seed=SEED), _FAMILIES_OF_PROGRAMS)


_FAMILIES_OF_PROGRAMS = ("ORD", "ISO", "CLR", "VAL", "SNP", "ERR", "ATM", "ASY", "CON", "RUN", "BND", "EXP")


class TestAQuickRun:
    """What occurs in each run, however small; `python -m tests.occurrences` prints the figures."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_everything_occurs(self, kind: str, quick_run: Recording) -> None:
        """Each class, field, edge payload, colliding and hostile id, and kind of step reaches the store."""
        assert KINDS[kind].missing(quick_run) == []

    def test_the_reference_keeps_it_all(self, quick_run: Recording) -> None:
        """So that each program was run to its end."""
        assert quick_run.report is not None
        assert [result.id for result in quick_run.report.clauses if result.counterexample is not None] == []

    def test_what_does_not_occur_is_seen(self) -> None:
        """Each kind is found missing in a run that did nothing."""
        for kind in KINDS.values():
            assert kind.missing(Recording()) == list(kind.offered)
