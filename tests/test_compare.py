"""What two reports beside each other say: which clauses got better or worse, and what counts as a regression."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from chathistory.conformance import ClauseResult, Configuration, Counterexample, Report
from chathistory.conformance._blocks import plain
from chathistory.conformance._cli import run
from chathistory.conformance._compare import Comparison, comparison_block, comparison_markdown
from chathistory.conformance._report import Outcome
from chathistory.reference import clause

FOUND = Counterexample(
    program={"check": "repeats", "steps": []},
    lines=("h.messages",),
    step=0,
    expected="[]",
    observed="[None]",
    explanation="0 messages were expected, 1 read.",
    script="",
)
HOSTILE = "[red]x[/red] \x1b[2J\x00\u202e <script>alert(1)</script> | @octocat \ud800 `"
BROKEN: tuple[Outcome, ...] = ("failed", "warned", "declared")
OUTCOMES: tuple[Outcome, ...] = ("passed", "declared", "warned", "not-claimed", "undecided", "stale", "failed")

Run: TypeAlias = Callable[..., tuple[int, str, str]]


def report(*, complete: bool = True, **outcomes: Outcome) -> Report:
    """A report in which clauses, written as ORD_3, have these outcomes."""
    return Report(
        backend="mine",
        claims=("core",),
        configuration=Configuration(),
        versions={"chathistory": "0.1.0", "store": "7"},
        clauses=tuple(
            ClauseResult(
                id=name.replace("_", "-"),
                level=clause(name.replace("_", "-")).level,
                outcome=outcome,
                counterexample=FOUND if outcome in BROKEN else None,
            )
            for name, outcome in outcomes.items()
        ),
        complete=complete,
        seconds=1.0,
        started="2026-11-20T03:00:00+00:00",
    )


def compared(old: Outcome, new: Outcome) -> tuple[str, bool]:
    """What the change of one clause is called, and whether it is a regression."""
    (difference,) = Comparison(old=report(ORD_3=old), new=report(ORD_3=new)).differences
    return difference.change, difference.is_regression


@pytest.fixture
def chathistory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process, in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return command


def saved(subject: Report, name: str) -> str:
    """The file of a report."""
    Path(name).write_text(json.dumps(subject.to_json()))
    return name


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_stays_as_it_is_is_no_news(outcome: Outcome) -> None:
    """Also what fails in the same way."""
    assert compared(outcome, outcome) == ("same", False)


@pytest.mark.parametrize("new", OUTCOMES[1:])
def test_whatever_passed_and_no_longer_does_is_a_regression(new: Outcome) -> None:
    """Failing, declared broken, no longer claimed: each is worse than before."""
    assert compared("passed", new) == ("worse", True)


@pytest.mark.parametrize("old", OUTCOMES[1:])
def test_whatever_passes_now_is_better(old: Outcome) -> None:
    """Nothing else is called so."""
    assert compared(old, "passed") == ("better", False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("declared", "stale"),
        ("declared", "failed"),
        ("declared", "not-claimed"),
        ("warned", "undecided"),
        ("warned", "not-claimed"),
        ("not-claimed", "failed"),
        ("not-claimed", "undecided"),
        ("undecided", "failed"),
        ("undecided", "stale"),
        ("stale", "failed"),
    ],
)
def test_what_falls_in_rank_is_a_regression(old: Outcome, new: Outcome) -> None:
    """The order is passed, declared or warned, not claimed, undecided, stale, failed; the way back is none."""
    assert compared(old, new) == ("worse", True)
    assert compared(new, old) == ("changed", False)


def test_a_violation_that_was_declared_is_neither_better_nor_worse() -> None:
    """Somebody owns it now, and it is still there."""
    assert compared("failed", "declared") == ("changed", False)
    assert compared("warned", "declared") == ("changed", False)


def test_what_breaks_in_another_way_has_changed() -> None:
    """The same outcome hides another violation."""
    old, new = report(ORD_3="failed"), report(ORD_3="failed")
    other = replace(new.clauses[0], counterexample=replace(FOUND, explanation="it hangs"))
    (difference,) = Comparison(old=old, new=replace(new, clauses=(other,))).differences
    assert (difference.change, difference.is_regression) == ("changed", False)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_is_gone_is_a_regression_where_it_was_let_pass(outcome: Outcome) -> None:
    """A clause that nobody looks at any more is not kept."""
    (difference,) = Comparison(old=report(ORD_3=outcome), new=report()).differences
    assert difference.change == "gone"
    assert difference.is_regression is (outcome in ("passed", "declared", "warned"))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_is_new_is_no_regression(outcome: Outcome) -> None:
    """There is nothing that it did better before."""
    (difference,) = Comparison(old=report(), new=report(ORD_3=outcome)).differences
    assert (difference.change, difference.is_regression) == ("new", False)


OLD = report(ORD_1="passed", ORD_2="passed", ORD_3="passed", ORD_4="failed", ORD_6="passed", ORD_7="warned")
NEW = replace(
    report(ORD_1="passed", ORD_3="failed", ORD_4="passed", ORD_5="stale", ORD_6="declared", ORD_7="declared"),
    versions={"chathistory": "0.2.0", "store": "7", "python": "3.12"},
    claims=("core", "async"),
)


def test_the_comparison_fits_80_columns(chathistory: Run) -> None:
    """Versions and claims that differ stand above, each kind of change has its own block, the sum ends it."""
    code, out, err = chathistory("compare", saved(OLD, "old.json"), saved(NEW, "new.json"))
    assert (code, err) == (1, "")
    assert max(map(len, out.splitlines())) <= 80
    said = " ".join(out.split())
    assert "old mine, 2026-11-20T03:00:00+00:00, full, 40 examples, seed 0: violations" in said
    assert "version chathistory 0.1.0 → 0.2.0 version python none → 3.12 claims core → core, async" in said
    assert "worse ORD-3 passed → FAILED 0 messages were expected, 1 read. ORD-6 passed → declared" in said
    assert "gone: the newer report says nothing of them ORD-2 passed → absent" in said
    assert "new: the older report says nothing of them ORD-5 absent → STALE" in said
    assert "changed ORD-7 warned → declared" in said
    assert "better ORD-4 FAILED → passed" in said
    assert out.splitlines()[-1] == "3 regressions: 2 worse, 1 gone, 1 new, 1 changed, 1 better, 1 same"


def test_without_a_regression_the_command_succeeds(chathistory: Run) -> None:
    """Exit code 0, and only what there is is counted."""
    code, out, _ = chathistory(
        "compare", saved(report(ORD_3="failed"), "old.json"), saved(report(ORD_3="passed"), "new.json")
    )
    assert code == 0
    assert out.splitlines()[-1] == "no regression: 1 better"


def test_a_report_that_is_incomplete_or_of_another_backend_is_remarked() -> None:
    """Who compares what can't be compared is told."""
    new = replace(report(ORD_3="passed", complete=False), backend="other")
    text = plain(comparison_block(Comparison(old=report(ORD_3="passed"), new=new)))
    assert "these are reports of two backends" in text
    assert "is incomplete: it was interrupted" in text


def test_the_markdown_is_a_table(chathistory: Run) -> None:
    """A row for each clause that is no longer what it was, the regressions marked."""
    chathistory("compare", saved(OLD, "old.json"), saved(NEW, "new.json"), "--markdown", "compared.md")
    text = Path("compared.md").read_text()
    assert text.startswith("### chathistory: 3 regressions")
    assert "| :x: worse | ORD-3 | passed → FAILED | 0 messages were expected, 1 read. |" in text
    assert "| :white_check_mark: better | ORD-4 | FAILED → passed |" in text
    assert "ORD-1" not in text


def test_hostile_reports_are_harmless(chathistory: Run) -> None:
    """No escape reaches the terminal, no markup the page."""
    found = replace(FOUND, explanation=HOSTILE)
    clauses = (replace(NEW.clauses[1], counterexample=found, reason=HOSTILE),)
    hostile = replace(NEW, backend=HOSTILE, versions={HOSTILE: HOSTILE}, started=HOSTILE, clauses=clauses)
    _, out, _ = chathistory("compare", saved(OLD, "old.json"), saved(hostile, "new.json"), "--markdown", "c.md")
    assert all(character.isprintable() or character == "\n" for character in out)
    text = comparison_markdown(Comparison(old=OLD, new=hostile))
    assert "<script>" not in text
    assert "@octocat" not in text
    assert all(line.count(" | ") == 3 for line in text.splitlines() if "ORD-" in line)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data.update(schema=99), "has schema 99"),
        (lambda data: data["clauses"][0].update(outcome="fine"), "is damaged"),
        (lambda data: data["clauses"][0].pop("id"), "is damaged"),
        (lambda data: data.pop("clauses"), "is not a JSON report"),
    ],
)
def test_what_is_no_report_is_one_line(
    chathistory: Run, change: Callable[[dict[str, object]], None], told: str
) -> None:
    """Exit code 2, whichever of the two it is."""
    data = OLD.to_json()
    change(data)
    Path("bad.json").write_text(json.dumps(data))
    good = saved(OLD, "good.json")
    for arguments in (("bad.json", good), (good, "bad.json"), ("missing.json", good)):
        code, out, err = chathistory("compare", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert told in err or "missing.json" in err


def test_a_file_that_can_not_be_written_is_told_first(chathistory: Run) -> None:
    """Nothing is shown that looks like a result."""
    code, out, err = chathistory("compare", "a.json", "b.json", "--markdown", "no/such/c.md")
    assert (code, out) == (2, "")
    assert "there is no folder" in err
