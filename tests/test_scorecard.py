"""The scorecard: what runs amount to, how the page says it, and what the one that is checked in promises."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests import scorecard
from tests.mutants import MUTANTS, ODD
from tests.scorecard import ADAPTERS, DATA, PAGE, Seeds, faults, key_of, plan, read_runs, sample
from tests.scorecard_page import killed, named_first, page, rightly_named, survivors
from tests.scorecard_summary import summarise

from chathistory.conformance.checks import checks_of
from chathistory.reference import CLAUSES

CIRCUMSTANCES = {
    "circumstances": {
        "command": "python -m tests.scorecard full",
        "date": "2026-11-21",
        "commit": "abc",
        "versions": {"chathistory": "0.1.0"},
        "machine": "2 cores, Linux x86_64",
    }
}

NEWER = 20


def noted(name: str, *violations: str, effort: str = "quick", extent: str = "first", seed: int = 0, **more: Any) -> Any:
    """A run as it is noted in the file."""
    return {
        "key": f"tests.mutants {name} {extent} {effort} {seed}",
        "catalogue": "tests.mutants",
        "name": name,
        "extent": extent,
        "effort": effort,
        "seed": seed,
        "violations": [[clause, 0.5 * number] for number, clause in enumerate(violations, start=1)],
        "undecided": [],
        "seconds": 1.0,
        "error": "",
        "lost": False,
        **more,
    }


def test_a_mutant_is_summed_up_by_its_runs() -> None:
    """Which clauses find it at all, how often it was found, and who was named first."""
    runs = [
        CIRCUMSTANCES,
        noted("reverses_batches", "ORD-2", "ATM-1", extent="whole"),
        noted("reverses_batches", "ORD-1", seed=1),
        noted("reverses_batches", seed=2),
        noted("reverses_batches", "ORD-2", effort="full"),
    ]
    summed = summarise(runs)["mutants"]["reverses_batches"]
    assert summed["violated"] == ["ORD-2", "ATM-1"]
    assert summed["quick"] == {"runs": 3, "killed": 2, "first": {"ORD-1": 1, "ORD-2": 1}, "seconds": [0.5]}
    assert summed["full"]["killed"] == 1
    assert not killed(summed, "quick")
    assert killed(summed, "full")


def test_runs_to_the_end_count_as_times_where_there_are_no_others() -> None:
    """A run that stops at the first violation comes to it by another way."""
    runs = [CIRCUMSTANCES, noted("reverses_batches", "ORD-2", extent="whole")]
    assert summarise(runs)["mutants"]["reverses_batches"]["quick"]["seconds"] == [0.5]


def test_the_last_of_equal_runs_counts() -> None:
    """A run that is made again takes the place of the first."""
    summed = summarise([CIRCUMSTANCES, noted("reverses_batches"), noted("reverses_batches", "ORD-2")])
    assert summed["mutants"]["reverses_batches"]["quick"]["runs"] == 1
    assert named_first(summed["mutants"]["reverses_batches"]) == "ORD-2"


def test_a_run_without_a_result_is_a_miss() -> None:
    """Nothing is claimed of a run that was killed."""
    summed = summarise([CIRCUMSTANCES, noted("reverses_batches", error="it took too long", lost=True)])
    assert survivors(summed["mutants"])["ORD-2"] == ["reverses_batches"]


def test_only_what_is_not_expected_of_a_correct_history_is_an_alarm() -> None:
    """A legacy history fails three clauses by its nature; one of them missing is as wrong as one too many."""
    legacy = ["ATM-1", "ATM-2", "ATM-3"]
    runs = [
        CIRCUMSTANCES,
        noted("implements_add_message_only", *legacy, extent="whole"),
        noted("implements_add_message_only", *legacy, "ORD-1", extent="whole", seed=1),
        noted("keeps_rows", extent="whole", undecided=["CON-4"]),
    ]
    odd = summarise(runs)["odd"]
    assert odd["implements_add_message_only"] == {"runs": 2, "false alarms": [["quick", 1, ["ORD-1"]]]}
    assert odd["keeps_rows"]["false alarms"] == [["quick", 0, ["CON-4"]]]


def test_no_runs_can_not_be_summed_up() -> None:
    """An empty file is said to be one."""
    with pytest.raises(ValueError, match="no runs"):
        summarise([CIRCUMSTANCES])


def test_the_page_names_all_that_went_wrong() -> None:
    """Misses, wrong names and false alarms stand there by name."""
    runs = [
        CIRCUMSTANCES,
        noted("reverses_batches"),
        noted("wants_a_list", "ORD-4"),
        noted("keeps_rows", "VAL-1", extent="whole"),
    ]
    text = page(summarise(runs))
    assert "`reverses_batches` (ORD-2): missed by 1 of 1 quick runs." in text
    assert "`wants_a_list`: named first by ORD-4 (1 of 1); rightly by ORD-5." in text
    assert "`keeps_rows` is correct, and was blamed (quick, seed 0): VAL-1." in text
    assert "| named first by a clause that may be | 0.0 % (0 of 1) |" in text


def test_the_page_says_so_when_nothing_went_wrong() -> None:
    """Then there is one sentence in place of a list."""
    assert "Nothing: every defect was found" in page(summarise([CIRCUMSTANCES, noted("wants_a_list", "ORD-5")]))


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (noted("wants_a_list"), "wants_a_list was not caught; expected ORD-5"),
        (noted("wants_a_list", "VAL-1"), "wants_a_list was named by VAL-1; expected ORD-5"),
        (noted("keeps_rows", "VAL-1"), "keeps_rows is correct, and was blamed for VAL-1"),
        (noted("wants_a_list", error="gone"), "wants_a_list: there was no run: gone"),
    ],
)
def test_a_sampled_run_that_is_wrong_is_a_fault(run: Any, said: str) -> None:
    """Each kind of fault is one sentence."""
    assert faults([run, noted("reverses_batches", "ORD-2"), noted("keeps_python_values")]) == [said]


def test_the_sample_is_the_same_each_time() -> None:
    """It depends on names alone."""
    assert sample() == sample()
    assert {job.extent for job in sample()} == {"first", "whole"}


def test_a_run_has_a_key_of_its_own() -> None:
    """So that an interrupted measurement goes on where it stopped."""
    jobs = list(plan(Seeds(quick=2, own=3, full=1, odd=4), ["sqlite"]))
    assert len({key_of(job) for job in jobs}) == len(jobs) == 7 * len(MUTANTS) + 5 * len(ODD) + 1


def test_runs_to_the_end_make_nothing_small() -> None:
    """They tell which clauses find a mutant, for which no program need be small."""
    jobs = [job for job in plan(Seeds(quick=1, odd=0)) if job.extent == "whole"]
    assert len(jobs) == len(MUTANTS)
    assert {job.configuration.shrink_seconds for job in jobs} == {0.0}
    assert not [job for job in plan(Seeds(quick=1, odd=0), to_the_end=False) if job.extent == "whole"]


def test_the_clauses_of_a_mutant_are_also_run_alone() -> None:
    """A miss by them says more than one by all, and is cheaper to look for; it counts apart."""
    job = next(job for job in plan(Seeds(quick=0, own=1, odd=0)) if job.name == "wants_a_list")
    assert (job.extent, job.clauses) == ("own", ("ORD-5",))
    runs = [CIRCUMSTANCES, noted("wants_a_list", "ORD-5"), noted("wants_a_list", extent="own")]
    summary = summarise(runs)
    assert killed(summary["mutants"]["wants_a_list"], "quick")
    assert not killed(summary["mutants"]["wants_a_list"]["alone"], "quick")
    assert "`wants_a_list` (ORD-5): missed by 1 of 1 quick runs of its clauses alone." in page(summary)
    assert "| by a quick run of the clauses that may be named, alone | 0.0 % (0 of 1) |" in page(summary)


def test_adapters_have_full_runs_of_their_own() -> None:
    """As many as are asked for, to the end, since a correct backend has no first violation."""
    jobs = [job for job in plan(Seeds(adapters=3), ["sqlite"]) if job.catalogue == ADAPTERS]
    assert [(job.configuration.effort, job.configuration.seed) for job in jobs] == [
        ("quick", 0),
        ("full", 0),
        ("full", 1),
        ("full", 2),
    ]
    assert {job.extent for job in jobs} == {"whole"}


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    """A killed measurement loses the run it was in, and nothing else."""
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(noted("wants_a_list")) + '\n{"key": "cut', encoding="utf-8")
    assert [run["name"] for run in read_runs(path)] == ["wants_a_list"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A measurement of two histories, which writes into a folder of its own."""
    everything = list(plan(Seeds()))
    jobs = [job for job in everything if job.name in ("raises_on_an_empty_batch", "is_a_pydantic_model")]
    jobs = [dataclasses.replace(job, clauses=("ORD-4", "ORD-5")) for job in jobs]
    monkeypatch.setattr(scorecard, "plan", lambda *_, **__: iter(jobs))
    monkeypatch.setattr(scorecard, "sample", lambda: jobs)
    monkeypatch.setattr(scorecard, "DATA", tmp_path / "scorecard.json")
    monkeypatch.setattr(scorecard, "PAGE", tmp_path / "scorecard.md")
    return tmp_path


def test_a_measurement_notes_each_run_once_and_writes_the_documents(small: Path) -> None:
    """The second call finds nothing left to do."""
    arguments = ["full", "--runs", str(small / "runs.jsonl")]
    for _ in range(2):
        assert CliRunner().invoke(scorecard.commands, arguments, catch_exceptions=False).exit_code == 0
    assert len([run for run in read_runs(small / "runs.jsonl") if "key" in run]) == 3
    summary = json.loads((small / "scorecard.json").read_text("utf-8"))
    assert summary["mutants"]["raises_on_an_empty_batch"]["violated"] == ["ORD-4"]
    assert (small / "scorecard.md").read_text("utf-8") == page(summary)


def test_a_sample_fails_when_a_mutant_survives(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, and a sentence that says which."""
    CliRunner().invoke(scorecard.commands, ["full", "--runs", str(small / "runs.jsonl")], catch_exceptions=False)
    assert CliRunner().invoke(scorecard.commands, ["sample"]).exit_code == 0
    blind = [dataclasses.replace(job, clauses=("ORD-5",)) for job in scorecard.sample()]
    monkeypatch.setattr(scorecard, "sample", lambda: blind)
    result = CliRunner().invoke(scorecard.commands, ["sample"])
    assert result.exit_code == 1
    assert "raises_on_an_empty_batch was not caught; expected ORD-4" in result.output


# What is checked in


@pytest.fixture(scope="module")
def checked_in() -> dict[str, Any]:
    """The data behind the page in the docs."""
    if not DATA.exists():
        pytest.skip("nothing has been measured yet: python -m tests.scorecard full")
    data: dict[str, Any] = json.loads(DATA.read_text("utf-8"))
    return data


def test_the_page_in_the_docs_is_that_of_its_data(checked_in: dict[str, Any]) -> None:
    """Nobody edits it by hand."""
    assert PAGE.read_text("utf-8") == page(checked_in)


def test_nearly_every_history_has_been_measured(checked_in: dict[str, Any]) -> None:
    """A few mutants may be newer than the last measurement, which takes hours; many call for another."""
    known = {**checked_in["mutants"], **checked_in["odd"]}
    assert len([one.name for one in (*MUTANTS, *ODD) if one.name not in known]) <= NEWER


@pytest.mark.parametrize("clause", [clause.id for clause in CLAUSES if checks_of(clause.id)])
def test_no_clause_ships_that_kills_nothing_of_its_own(clause: str, checked_in: dict[str, Any]) -> None:
    """Some planted defect is best described by it, is found by it, and is blamed on it first.

    Or on one that may rightly be named, too, and stands before it: what forgets a turn of a runnable has its first.
    """
    own = [mutant for mutant in checked_in["mutants"].values() if mutant["clauses"][0] == clause]
    assert any(
        named_first(mutant) == clause or (clause in mutant["violated"] and named_first(mutant) in mutant["clauses"])
        for mutant in own
    )


def test_the_suite_reaches_what_is_wanted_of_it(checked_in: dict[str, Any]) -> None:
    """Of quick runs 95 % find their defect, of full ones all; 95 % are named rightly; nothing correct is blamed."""
    mutants = checked_in["mutants"].values()
    quick = [mutant["quick"] for mutant in mutants]
    assert sum(each["killed"] for each in quick) >= 0.95 * sum(each["runs"] for each in quick)
    assert all(
        killed(runs, "full") for mutant in mutants for runs in (mutant, mutant.get("alone", {})) if "full" in runs
    )
    right, total = rightly_named(mutants)
    assert right >= 0.95 * total
    assert not any(each["false alarms"] for each in checked_in["odd"].values())
