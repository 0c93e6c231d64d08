"""Counterexamples are as short as can be, stay in their time, and show what they say to anyone who runs them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from tests.minimality import calls_of, ratios, run_script, subjects, summary
from tests.mutants import MUTANTS, Mutant

from chathistory.conformance import _shrink as shrinking
from chathistory.conformance import check
from chathistory.conformance._portable import program_from_json
from chathistory.conformance._program import Add, AddBack, Edit, NewLoop, Open, Program, Read, Trial, Wait, program
from chathistory.conformance._report import EFFORTS, ClauseResult
from chathistory.conformance._shrink import shrink
from chathistory.conformance.checks import checks_of
from chathistory.conformance.checks._check import numbered

SAMPLE = (
    "turns_round_after_a_clear",
    "repeats_its_last_batch_when_empty",
    "caches_what_it_read",
    "brings_old_messages_back",
    "shares_its_list_among_readers",
    "clears_before_an_assignment_fails",
    "sends_leftovers_along",
    "dies_of_a_refusal",
    "names_the_session_of_the_first_error",
    "keeps_async_messages_apart",
    "reads_an_old_snapshot_asynchronously",
    "trims_the_batch_only",
    "sets_the_ttl_once",
    "expires_every_session_of_the_store",
    "trusts_the_configuration",
    "lives_as_long_as_a_handle",
    "has_one_owner_for_each_message_id",
    "keeps_texts_by_message_id",
)
"""Mutants of every family that take a course of operations; `python -m tests.minimality` measures all."""

NEED_EMPTY_STORES = ("shares_its_list_among_readers", "expires_every_session_of_the_store")
"""Two of them that programs before change, so that too small a program fails on a used store."""


def planted(name: str) -> Mutant:
    """The mutant of that name."""
    [mutant] = [mutant for mutant in MUTANTS if mutant.name == name]
    return mutant


@cache
def found_in(name: str) -> ClauseResult:
    """What a quick run finds first of the clauses that a mutant may be blamed for."""
    mutant = planted(name)
    backend = replace(mutant.make(), another=lambda: nullcontext(mutant.make()))
    report = check(backend, clauses=mutant.clauses, configuration=replace(EFFORTS["quick"], exitfirst=True))
    return report.clauses[-1]


def example_of(name: str) -> Any:
    """Its counterexample."""
    example = found_in(name).counterexample
    assert example is not None
    return example


def small_program(name: str) -> Program:
    """The program of its counterexample."""
    return program_from_json(example_of(name).program)


@pytest.mark.parametrize("name", SAMPLE)
def test_the_shrunk_program_is_the_known_minimum(name: str) -> None:
    """As many calls as are written beside the mutant: fewer would show that the number there is wrong."""
    assert calls_of(small_program(name)) == planted(name).minimum_operations
    assert example_of(name).search == "minimal"


@pytest.mark.parametrize("name", SAMPLE)
def test_the_shrunk_program_fails_by_its_own_clause(name: str) -> None:
    """Over an empty store it fails, and the same without what the clause is about does not."""
    mutant, small = planted(name), small_program(name)
    [own] = [each for each in checks_of(found_in(name).id) if each.name == example_of(name).program["check"]]
    assert own.run(mutant.make(), small, own.lens, 10.0, False).divergence is not None
    for control in own.controls(small):
        assert own.run(mutant.make(), control, own.control_lens or own.lens, 10.0, own.baseline).divergence is None


def test_messages_are_plain_where_their_names_are_enough() -> None:
    """What a message holds besides its name is left out, and names begin with m1."""
    [result] = check(planted("clears_its_neighbour").make(), clauses=["CLR-4"], configuration=EFFORTS["quick"]).clauses
    assert result.counterexample is not None
    assert 'h1.add_messages([HumanMessage("m1")])' in result.counterexample.lines


@pytest.mark.parametrize("name", [*NEED_EMPTY_STORES, "lives_as_long_as_a_handle", "has_one_owner_for_each_message_id"])
def test_its_script_shows_the_defect_and_nothing_else(name: str) -> None:
    """In a process of its own: it still fails on the mutant, and not on the reference."""
    script = example_of(name).script
    assert run_script(script, name).startswith("STILL FAILING")
    assert run_script(script, "reference").startswith("FIXED")


def test_what_needs_a_used_store_is_said() -> None:
    """Where only leftovers make a program fail, the counterexample says so and doesn't call itself minimal."""
    mutant = planted("shows_another_when_empty")
    backend = replace(mutant.make(), another=lambda: nullcontext(mutant.make()))
    [result] = check(backend, clauses=["CLR-1"], configuration=EFFORTS["quick"]).clauses
    assert result.counterexample is not None
    assert "earlier programs" in result.counterexample.search


def test_the_same_run_finds_the_same_program() -> None:
    """Shrinking takes nothing from chance."""
    first = small_program("brings_old_messages_back")
    found_in.cache_clear()
    assert small_program("brings_old_messages_back") == first


def test_shrinking_ends_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that every try moves on by a second, a search of ten seconds makes eleven tries at most."""
    tried: list[Program] = []
    monkeypatch.setattr(shrinking.time, "monotonic", lambda: float(len(tried)))
    long = program(Open(1, "{run}-a"), [Add(1, (HumanMessage(f"m{n}"),)) for n in range(40)], Read(1))

    def still_fails(candidate: Program) -> bool:
        tried.append(candidate)
        return len(tried) % 2 == 0

    smallest, complete = shrink(long, still_fails, seconds=10)
    assert not complete
    assert 5 < len(tried) <= 11
    assert smallest == tried[9]


def test_a_long_row_of_messages_is_made_as_short_as_it_can_be_in_a_few_tries() -> None:
    """Plain messages are alike: where in the row one is left out makes no difference, and is not tried."""
    tried: list[int] = []
    long = program(Open(1, "{run}-a"), Add(1, numbered(1_500)), AddBack(1), Add(1, numbered(600)), Read(1))

    def still_fails(candidate: Program) -> bool:
        tried.append(sum(len(step.messages) for step in candidate.steps if isinstance(step, Add)))
        return tried[-1] > 1_000

    smallest, complete = shrink(long, still_fails, seconds=60)
    assert complete
    assert [type(step) for step in smallest.steps] == [Open, Add]
    assert len(smallest.steps[1].messages) == 1_001  # type: ignore[union-attr]
    assert len(tried) < 60


def test_what_stands_in_a_long_row_and_matters_is_kept_and_what_does_not_is_left_out() -> None:
    """Messages that are not plain part a row in two, are tried one by one, and are not alike the others."""
    odd, needed = HumanMessage("m1", id="x"), AIMessage("m999", name="needed")
    row = (numbered(1)[0], odd, *numbered(200, first=101), needed)

    def still_fails(candidate: Program) -> bool:
        messages = [message for step in candidate.steps if isinstance(step, Add) for message in step.messages]
        return any(message.name == "needed" for message in messages) and sum(not one.id for one in messages) > 150

    smallest, complete = shrink(program(Open(1, "{run}-a"), Add(1, row), Read(1)), still_fails, seconds=60)
    assert complete
    assert len(smallest.steps[1].messages) == 151  # type: ignore[union-attr]
    assert odd not in smallest.steps[1].messages  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "limit", "smallest"),
    [(10**5_000, 2**63, 2**63), (-(10**300), 2**64, 2**64), (2**53 + 1, 2**53, 2**53), (77, 10, 16)],
    ids=["of 5,000 digits", "below zero", "beyond floats", "of two digits"],
)
def test_an_integer_becomes_short_in_a_few_tries(value: int, limit: int, smallest: int) -> None:
    """Halves of its length are tried before halves of its value, and round ones."""
    tried: list[Any] = []

    def still_fails(candidate: Program) -> bool:
        messages = [message for step in candidate.steps if isinstance(step, Add) for message in step.messages]
        tried.append(sum(abs(message.additional_kwargs.get("a", 0)) for message in messages))
        return bool(tried[-1] >= limit)

    long = program(Open(1, "{run}-a"), Add(1, (HumanMessage("m1", additional_kwargs={"a": value}),)))
    found, complete = shrink(long, still_fails, seconds=60)
    assert complete
    assert found.steps[1].messages[0].additional_kwargs == {"a": smallest}  # type: ignore[union-attr]
    assert len(tried) < 200


def test_many_sessions_are_made_fewer_by_halves() -> None:
    """What is done on session after session is done on fewer of them; nothing is tried for each alone."""
    tried: list[Program] = []
    others = [(Open(2, f"{{run}}-n{n}"), Add(2, (HumanMessage(f"m{n}"),))) for n in range(300)]
    reads = [(Open(2, f"{{run}}-n{n}"), Read(2)) for n in range(300)]
    message = HumanMessage("m1000")
    long = program(Open(1, "{run}-a"), Add(1, (message,)), *others, Read(1), *reads)

    def still_fails(candidate: Program) -> bool:
        tried.append(candidate)
        written: set[str] = set()
        session = ""
        for step in candidate.steps:
            session = step.session if isinstance(step, Open) else session
            written |= {session} if isinstance(step, Add) else set()
        return len(written) > 128 and any(isinstance(step, Read) for step in candidate.steps)

    small, complete = shrink(long, still_fails, seconds=60, values=False)
    assert complete
    assert len({step.session for step in small.steps if isinstance(step, Open)}) == 129
    assert sum(isinstance(step, Read) for step in small.steps) == 1
    assert len(tried) < 100


def test_calls_are_counted_as_beside_the_mutants() -> None:
    """Openings, waits, edits and new loops are no calls; trials have a course of their own."""
    message = HumanMessage("m1")
    steps = (
        Open(1, "{run}-a"),
        Add(1, (message,)),
        AddBack(1),
        Wait(1.0),
        NewLoop(),
        Edit(1, "result", "pop"),
        Read(1),
    )
    assert calls_of(program(*steps)) == 3
    assert calls_of(program(Trial("cost of an add"))) is None


def test_figures_tell_what_is_not_minimal() -> None:
    """Mean and worst ratio, what was not found, and scripts that show nothing."""
    found = {"clause": "ORD-1", "calls": 6, "lines": ["h1.messages"], "search": "minimal"}
    lines = [
        {"name": "short", "minimum": 3, "found": [{**found, "calls": 3}]},
        {"name": "long", "minimum": 3, "found": [{**found, "mutant": "FIXED: x", "correct": "FIXED: x"}]},
        {"name": "trial", "minimum": 2, "found": [{**found, "calls": None}]},
        {"name": "missed", "minimum": 2, "found": []},
    ]
    assert [ratio for ratio, _, _ in ratios(lines)] == [1.0, 2.0]
    text = summary(lines)
    assert "4 mutants; not found: missed" in text
    assert "the clause named first: mean 1.500 of 2, 1 minimal, worst 2.00" in text
    assert "scripts that don't tell the mutant from a correct history: 1" in text
    assert "2.00 = 6/3 long ORD-1" in text


def test_races_have_no_known_minimum() -> None:
    """What is measured are the others: each has a number of calls that is known to be enough."""
    assert all(mutant.minimum_operations for mutant in subjects(everything=True))
    assert {mutant.hardness for mutant in subjects()} == {"stateful"}
