"""The other ways of testing pass what is right, see what is plainly wrong, and their figures are added up rightly."""

from __future__ import annotations

import datetime
import os
import threading
from pathlib import Path

import pytest
from tests.comparison import machine
from tests.comparison._measures import by_examples, by_machine, by_quick_check
from tests.comparison._table import page
from tests.comparison.examples import TESTS
from tests.mutants import MUTANTS, ODD
from tests.separately import Line, measured, read_lines

CORRECT = ("keeps_json_text", "has_no_sync_forms", "talks_over_a_network")
DEFECTS = (
    "loses_the_last_of_an_async_batch",
    "dies_of_a_refusal",
    "reads_from_when_it_was_opened",
    "sorts_by_second",
    "uses_the_session_opened_last",
    "hands_out_its_list",
    "raises_on_an_empty_batch",
    "raises_on_an_unwritten_session",
    "raises_on_the_second_clear",
    "pastes_ids_into_sql",
)


@pytest.mark.filterwarnings("ignore")
class TestWays:
    """Each way of testing, on a few histories."""

    @pytest.mark.parametrize("name", CORRECT)
    def test_the_example_tests_pass_what_is_right(self, name: str) -> None:
        """By sync and async calls, where there are both."""
        assert by_examples(name) == {"caught": False, "failed": []}

    def test_the_example_tests_see_a_plain_defect(self) -> None:
        """In both forms of calls."""
        failed = by_examples("reverses_batches")["failed"]
        assert {"test_batch_keeps_its_order (sync)", "test_batch_keeps_its_order (async)"} <= set(failed)

    def test_every_example_test_can_fail(self) -> None:
        """Ten defects are enough to make each of them fail, so none is there for show."""
        seen = {failed.partition(" ")[0] for name in DEFECTS for failed in by_examples(name)["failed"]}
        assert [test.__name__ for test in TESTS if test.__name__ not in seen] == []

    def test_the_machine_sees_a_plain_defect(self) -> None:
        """It compares what is read with its model."""
        assert by_machine("reverses_batches")["caught"]

    def test_the_quick_check_names_the_clause(self) -> None:
        """It stops at the first that fails."""
        assert by_quick_check("reverses_batches")["failed"][-1] in ("ORD-1", "ORD-2")

    def test_they_are_as_large_as_is_said(self) -> None:
        """40 example tests at most, 60 lines of a machine."""
        assert 25 <= len(TESTS) <= 40
        assert len(Path(machine.__file__).read_text(encoding="utf-8").splitlines()) <= 60


def test_the_figures_add_up() -> None:
    """By hardness, by family, missed, false alarms; and what has not been measured is said."""
    right = next(one.name for one in ODD if not one.expected_failures)
    first, second = MUTANTS[0], MUTANTS[1]
    lines: dict[str, list[Line]] = {
        "examples": [{"name": first.name, "caught": True, "failed": ["x"], "seconds": 1.0}],
        "machine": [{"name": first.name, "error": "no end"}, {"name": right, "caught": True, "seconds": 2.0}],
        "quick": [
            {"name": first.name, "caught": True, "failed": [first.clauses[0]], "seconds": 3.0},
            {"name": second.name, "caught": False, "failed": [], "seconds": 3.0},
        ],
    }
    text = page(lines, datetime.date(2026, 11, 21))
    assert f"| all | {len(MUTANTS)} | 1 | 1 | 1 | 1 | 1 |" in text
    assert f"misses {len(MUTANTS) - 1}: " in text
    assert f"state machine 1 (`{right}`); `check --quick` 0" in text
    assert f"**`check --quick`: {len(MUTANTS) + len(ODD) - 2} not measured yet.**" in text
    assert "2026-11-21" in text


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    """A run goes on where it was; what fails, ends or hangs has a line that says so."""
    kept = tmp_path / "lines.jsonl"
    names = ["fine", "fails", "hangs", "ends"]
    first = list(measured(names[:1], _measure, kept, seconds=60))
    again = list(measured(names, _measure, kept, seconds=5))
    assert first == again[:1] == [{"name": "fine", "length": 4}]
    assert ["error" in line for line in again] == [False, True, True, True]
    assert "no fish" in again[1]["error"]
    assert "no end within 5 s" in again[2]["error"]
    assert read_lines(kept) == again


def _measure(name: str) -> Line:
    """What is done in the processes of the test."""
    if name == "fails":
        raise ValueError("no fish")
    if name == "hangs":
        threading.Event().wait()
    if name == "ends":
        os._exit(1)
    return {"length": len(name)}
