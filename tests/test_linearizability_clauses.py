"""Single clauses are judged alone: each judge sees its own kind of violation, and no other."""

from __future__ import annotations

import pytest
from tests.test_linearizability_language import history

from chathistory.conformance.linearizability import (
    Violation,
    half_written_messages,
    lost_messages,
    prefix_violations,
    torn_batches,
    writer_order_violations,
)


def verdicts(line: str) -> dict[str, str]:
    """Which judges find something, and what they call it."""
    judges = {
        "CON-1": lost_messages,
        "CON-2": writer_order_violations,
        "CON-3": prefix_violations,
        "ATM": torn_batches,
    }
    found = {clause: judge(history(line)) for clause, judge in judges.items()}
    return {clause: violation.anomaly for clause, violation in found.items() if violation}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1+ab 2+c 1rabc", {}),
        # CON-1: what was acknowledged is missing at the end, and no clear can have taken it.
        ("1+a 2+b 1rb", {"CON-1": "lost add"}),
        ("1! 2+a 1r", {"CON-1": "lost add"}),
        ("1+a 1=b 1r", {"CON-1": "lost add"}),
        ("1+a? 1r", {}),
        ("1(+a 1r 1)", {}),
        ("1+a 1! 1r", {}),
        ("1+a 2!? 1r", {}),
        ("1(! 2+a 1) 1r", {}),
        ("1+a 1!~ 1r", {"CON-1": "lost add"}),
        # CON-2: one writer's messages.
        ("1+a 1+b 2rba", {"CON-2": "read out of order"}),
        ("1+ab 2rba", {"CON-2": "read out of order"}),
        ("1+a 2+b 3rba", {}),
        ("1(+a 1(+b 1) 1) 3rba", {}),
        # CON-3: nothing vanishes, moves, or appears in the middle.
        ("1(+a 2(+b 1) 2) 3rab 3rba", {"CON-3": "read out of order"}),
        ("1(+a 2(+b 1) 2) 3rb 3rab", {"CON-3": "message inserted in the middle"}),
        ("1+a 2rab 2ra 1+b 2rab", {"CON-3": "stale read"}),
        ("1+a? 2ra 2r", {"CON-3": "lost add"}),
        ("1(+a 2(+b 3(rab 4(rba 1) 2) 3) 4)", {}),
        ("1(+a 2(+b 3(rab 4(rba 1) 2) 3) 4) 1rab", {"CON-3": "read out of order"}),
        ("1+a? 2ra 1! 2r", {}),
        ("1+a? 3(! 2ra 2r 3)", {}),
        ("1! 1+a? 2ra 2r", {"CON-3": "lost add"}),
        ("1+a? 2ra 2r 1!", {"CON-3": "lost add"}),
        # ATM-2 and ATM-3: a batch is whole and contiguous.
        ("1+ab? 2ra", {"ATM": "torn batch"}),
        ("1(+ab 2(+x 1) 2) 3raxb", {"ATM": "torn batch"}),
        ("1(+ab 2ra 1) 2rab", {"ATM": "torn batch"}),
        ("1+a? 1+ab? 2rb", {}),
        ("1+ab 2rabab", {}),
    ],
)
def test_each_judge_sees_its_own_clause(line: str, expected: dict[str, str]) -> None:
    """A history that breaks one clause is not blamed for others."""
    assert verdicts(line) == expected


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1+ab 2rab", None),
        ("1+a? 2ra", None),
        ("1+a~ 2ra", None),  # what is stored in spite of an error is for others to judge
        ("1@t+a 2ra", None),
        ("1(+a 2rx 1) 2ra", "message from nowhere"),
        ("1+a 2r 2rax", "message from nowhere"),
    ],
)
def test_a_message_that_nobody_wrote_so_is_half_written(line: str, found: str | None) -> None:
    """Messages of other sessions, of refused adds and of adds of unknown outcome have been written so."""
    violation = half_written_messages(history(line))
    assert (violation and violation.anomaly) == found


def test_final_reads_are_given_by_the_caller() -> None:
    """The read that the suite makes when all is quiet need not be part of the history."""
    events = history("1+a 2@t+b 1+c?")
    assert lost_messages(events, {"s": ("a",), "t": ["b"], "u": ()}) is None
    found = lost_messages(events, {"s": ("c",)})
    assert isinstance(found, Violation)
    assert (found.messages, found.numbers) == (("a",), (0, 3))
    assert found.explanation.startswith("Add 0 by worker 1 was acknowledged before the final read began")


def test_sessions_that_are_not_read_are_not_judged() -> None:
    """Nothing is known of them."""
    assert lost_messages(history("1+a 2@t+b 1ra")) is None
    assert lost_messages(history("1+a 2@t+b"), {"s": "a"}) is None


def test_what_was_there_at_first_is_not_lost() -> None:
    """Unless it is cleared."""
    assert lost_messages(history("1+a", s="x"), {"s": "xa"}) is None
    assert lost_messages(history("1!", s="x"), {"s": ""}) is None
    found = lost_messages(history("1+a", s="x"), {"s": "a"})
    assert isinstance(found, Violation)
    assert found.messages == ("x",)
