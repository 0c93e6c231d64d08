"""The suite fails what it should, names the clause, and fails nothing that is right."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.mutants import MUTANTS, ODD
from tests.mutants._planted import Mutant, Odd

from chathistory.conformance import check
from chathistory.conformance._report import EFFORTS, Report
from chathistory.reference import CLAUSES

pytestmark = pytest.mark.slow

# What is found is asked here, not how small it is.
SEARCH = replace(EFFORTS["quick"], examples=20, shrink_seconds=0.0, timeout=4.0)
# A race that a quick run looks for twice may hide both times.
LONGER_SEARCH = replace(SEARCH, effort="full")
TRIES_OF_A_RACE = 4


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    """Some of these histories log noisily, which is allowed and not worth reading."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def broken(report: Report) -> list[str]:
    """The clauses with a counterexample, in their order."""
    return [result.id for result in report.clauses if result.counterexample is not None]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_defect_is_caught_by_a_clause_of_its_own(mutant: Mutant) -> None:
    """One of the clauses that may rightly be named finds it; races in one of a few tries, see docs/scorecard.md."""
    is_race = mutant.hardness == "timing"
    search = replace(LONGER_SEARCH if is_race else SEARCH, exitfirst=True)
    seeds = range(TRIES_OF_A_RACE if is_race else 1)
    reports = (check(mutant.make(), clauses=mutant.clauses, configuration=replace(search, seed=seed)) for seed in seeds)
    assert any(map(broken, reports)), mutant.story


@pytest.mark.parametrize("name", ["never_expires", "multiplies_the_ttl", "divides_the_ttl"])
def test_a_ttl_that_is_wrong_after_one_add_breaks_no_promise_about_renewing_it(name: str) -> None:
    """What one add shows is EXP-1's; the controls of EXP-2 and EXP-3 fail with them."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    assert broken(check(mutant.make(), clauses=["EXP"], configuration=SEARCH)) == ["EXP-1"]


def test_a_page_that_cuts_long_reads_is_no_part_of_a_batch_that_others_see() -> None:
    """It cuts them with nobody else at work, too; the controls of ATM-3 fail with it."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "reads_an_async_page_of_100")
    assert broken(check(mutant.make(), clauses=["ATM-3", "ASY-1"], configuration=SEARCH)) == ["ASY-1"]


def test_what_sync_calls_show_alone_is_no_matter_of_both_forms_in_a_coroutine() -> None:
    """A clear after which an old batch comes back is one in any form; the controls of ASY-2 fail with it."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "sends_its_last_batch_again")
    assert broken(check(mutant.make(), clauses=["CLR-3", "ASY-2"], configuration=SEARCH)) == ["CLR-3"]


def test_a_lock_that_belongs_to_the_first_loop_is_no_matter_of_tasks() -> None:
    """Tasks meet with its error, in each loop but the first; the controls of ASY-5 and CON-4 fail with them."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "waits_for_a_lock_of_the_first_loop")
    assert broken(check(mutant.make(), clauses=["ASY-5", "ASY-6", "CON-4"], configuration=SEARCH)) == ["ASY-6"]


@pytest.mark.parametrize("name", ["blocks_for_batches", "blocks_for_long_reads"])
def test_what_blocks_the_loop_is_seen_at_a_glance(name: str) -> None:
    """The shorter measurement of a glance suspects it, and the whole one confirms it."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    report = check(mutant.make(), clauses=["ORD-1", "ASY-3"], configuration=replace(SEARCH, exitfirst=True))
    assert [result.id for result in report.clauses] == ["ASY-3"]
    assert "seen at a glance" in report.clauses[0].notes[-1]


@pytest.mark.parametrize(("name", "named"), [("writes_everything_back_in_2_ms", "CON-1"), ("mixes_up_tasks", "ASY-5")])
def test_a_run_that_stops_at_the_first_violation_blames_threads_before_tasks(name: str, named: str) -> None:
    """A race that plain threads have is theirs, though tasks show it, too; one that only tasks have is not."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    report = check(mutant.make(), clauses=["ASY", "CON"], configuration=replace(LONGER_SEARCH, exitfirst=True))
    assert [result.id for result in report.with_outcome("failed")] == [named]


def test_a_page_that_loses_all_when_it_is_full_is_no_matter_of_cancelled_calls() -> None:
    """Without a cancelled call the same lengths show it; the controls of ASY-4 fail with it."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "loses_a_last_page_of_53")
    report = check(mutant.make(), configuration=replace(SEARCH, exitfirst=True))
    assert [result.id for result in report.with_outcome("failed")] == ["ORD-7"]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_a_correct_history_is_not_failed(odd: Odd) -> None:
    """However odd it is; a legacy one fails what is expected of it, and nothing else."""
    report = check(odd.make(), clauses=_share_of(odd), configuration=EFFORTS["quick"])
    failed = [result.id for result in report.with_outcome("failed", "stale", "undecided")]
    assert failed == [clause for clause in failed if clause in odd.expected_failures]
    assert set(odd.expected_failures) <= set(broken(report))


def _share_of(odd: Odd) -> list[str]:
    """Each eighth clause, other ones for the next history: all of them on all is what the scorecard runs."""
    clauses = [clause.id for number, clause in enumerate(CLAUSES) if (number + ODD.index(odd)) % 8 == 0]
    return sorted({*clauses, *odd.expected_failures})
