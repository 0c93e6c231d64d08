"""`chathistory selfproof`: what ships with the suite, how it is run, and how the command ends."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chathistory.conformance import _selfproof
from chathistory.conformance._cli import run
from chathistory.conformance.selfproof import MUTANTS, ODD
from chathistory.conformance.selfproof._processes import Lost, in_processes
from chathistory.conformance.selfproof._proof import Line, Settings, prove, subjects
from chathistory.conformance.selfproof._verdicts import Job, find
from chathistory.conformance.selfproof._verdicts import run as run_job
from chathistory.reference import CLAUSES, UnknownClauseError

DEADLINE = 120.0
ODD_WANTED = 8
AT_WORK = 4
"""Processes: the command, a fork server and what tidies up after it, and a history."""


@pytest.mark.parametrize("clause", [clause.id for clause in CLAUSES])
def test_a_mutant_ships_for_every_clause(clause: str) -> None:
    """So that anyone can see each clause fail something."""
    assert any(mutant.clauses[0] == clause for mutant in MUTANTS)


def test_odd_histories_ship_too() -> None:
    """A suite that fails everything would catch every mutant."""
    assert len(ODD) >= ODD_WANTED


@pytest.mark.parametrize("name", [one.name for one in (*MUTANTS, *ODD)])
def test_what_other_processes_open_can_be_sent_to_them(name: str) -> None:
    """A factory that can't be pickled would silently leave out DUR and CON between processes."""
    backend = find(name).make()
    if "processes" in backend.claims:
        assert backend.in_another_process is not None
        history = pickle.loads(pickle.dumps(backend.in_another_process))("first")  # noqa: S301 -- our own
        assert history.messages == []


def test_a_job_says_who_was_blamed() -> None:
    """The clauses that were violated, in their order, with the time of each."""
    verdict = run_job(Job(name="raises_on_an_empty_batch", clauses=("ORD-4", "ORD-5")))
    assert verdict.violated == ("ORD-4",)
    assert 0 < verdict.violations[0].seconds <= verdict.seconds


def test_a_run_up_to_the_first_violation_stops_there() -> None:
    """A SHOULD counts, too, at which `--exitfirst` goes on."""
    job = Job(name="sorts_keys_by_length", extent="first", clauses=("VAL-8", "VAL-9"))
    assert run_job(job).violated == ("VAL-8",)


def test_an_unknown_history_is_said_to_be_one() -> None:
    """By the catalogue that was searched."""
    with pytest.raises(LookupError, match="has no history named 'no_such'"):
        find("no_such")


def test_a_clause_chooses_its_mutants() -> None:
    """In the order of the clauses; the odd ones are held to the chosen ones."""
    chosen = subjects(Settings(clauses=("EXP-3", "ORD-4")))
    assert [one.name for one in chosen][:2] == ["raises_on_an_empty_batch", "renews_on_reads"]
    assert len(chosen) == 2 + len(ODD)


def test_an_unknown_clause_is_a_fault_of_usage() -> None:
    """Before anything runs."""
    with pytest.raises(UnknownClauseError):
        subjects(Settings(clauses=("ORD-99",)))


def test_every_line_tells_what_was_expected_and_what_came() -> None:
    """A mutant is caught by its clause; a legacy history fails what it must fail of what was chosen."""
    lines = {line.name: line for line in prove(Settings(clauses=("ATM-1",), processes=2))}
    caught = lines["clears_before_an_assignment_fails"]
    assert (caught.outcome, caught.clause, caught.named) == ("caught", "ATM-1", ("ATM-1",))
    assert lines["implements_add_message_only"].outcome == "kept"
    assert lines["implements_add_message_only"].named == ("ATM-1",)
    assert lines["keeps_python_values"].named == ()
    assert all(line.is_right for line in lines.values())


# Processes


def square(number: int) -> int:
    """A task that works."""
    return number * number


def raise_an_error(_number: int) -> int:
    """A task that does not."""
    raise ValueError("no such number")


def hang(_number: int) -> int:
    """A task that never ends."""
    signal.pause()
    return 0


def die(_number: int) -> int:
    """A task whose process ends."""
    os._exit(3)


def say_where(_number: int) -> str:
    """A task that leaves a temporary file behind."""
    import tempfile

    handle, path = tempfile.mkstemp()
    os.close(handle)
    return path


def test_each_task_gets_its_result() -> None:
    """Whatever the order in which they end."""
    assert dict(in_processes(square, [1, 2, 3], processes=2, seconds=DEADLINE)) == {1: 1, 2: 4, 3: 9}


@pytest.mark.parametrize(
    ("function", "seconds", "reason"),
    [
        (raise_an_error, DEADLINE, "ValueError: no such number"),
        (hang, 0.5, "it took more than 0.5 s"),
        (die, DEADLINE, "its process ended without an answer"),
    ],
)
def test_a_task_without_a_result_is_lost(function: Any, seconds: float, reason: str) -> None:
    """And the others are not."""
    assert list(in_processes(function, [1], processes=1, seconds=seconds)) == [(1, Lost(reason))]


def test_nothing_temporary_stays_behind() -> None:
    """Not even of a process that is killed in the middle."""
    ((_, path),) = in_processes(say_where, [1], processes=1, seconds=DEADLINE)
    assert isinstance(path, str)
    assert not Path(path).exists()


# The command


def line(name: str = "sorts", outcome: Any = "caught", clause: str = "ORD-1", named: Any = ("ORD-1",)) -> Line:
    """What came of a history."""
    return Line(name=name, clause=clause, expected=("ORD-1",), story="A story.", outcome=outcome, named=named)


def with_lines(monkeypatch: pytest.MonkeyPatch, *lines: Line) -> None:
    """Let the command find these."""
    monkeypatch.setattr(_selfproof, "subjects", lambda _settings: lines)
    monkeypatch.setattr(_selfproof, "prove", lambda _settings: iter(lines))


def test_all_right_is_proved(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and one line of verdict."""
    with_lines(monkeypatch, line(), line("odd", "kept", "", ()))
    assert run(["selfproof", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("proved: 1 of 1 planted defect caught, 1 of 1 odd but correct histories left in peace in ")


@pytest.mark.parametrize("outcome", ["missed", "blamed", "lost"])
def test_anything_wrong_is_not(
    outcome: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and the table says what."""
    with_lines(monkeypatch, line(), line("other", outcome, named=()))
    assert run(["selfproof"]) == 1
    out = capsys.readouterr().out
    assert outcome in out
    assert "not proved: 1 of 2 planted defects caught" in out


def test_a_wrong_name_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is caught all the same."""
    with_lines(monkeypatch, line(), line("other", named=("VAL-1",)))
    assert run(["selfproof", "--quiet"]) == 0
    assert "2 of 2 planted defects caught, 1 of them named by a clause of their own first" in capsys.readouterr().out


def test_an_unknown_clause_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error."""
    assert run(["selfproof", "--clause", "ORD-99"]) == 2
    assert "ORD-99" in capsys.readouterr().err


def test_the_table_fits_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """However long names and stories are."""
    monkeypatch.setenv("COLUMNS", "80")
    with_lines(monkeypatch, line("x" * 200), line("odd", "blamed", "", tuple(clause.id for clause in CLAUSES)))
    run(["selfproof"])
    assert max(map(len, capsys.readouterr().out.splitlines()[:-1])) <= 80


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in a process and a group of its own."""
    command = [sys.executable, "-W", "error", "-m", "chathistory.conformance", "selfproof", *arguments]
    return subprocess.Popen(  # noqa: S603 -- our own command
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_the_command_catches_a_planted_defect(tmp_path: Path) -> None:
    """In processes, and with a file for machines."""
    process = started("--clause", "ORD-4", "--json", "proof.json", cwd=tmp_path)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (0, "")
    assert "raises_on_an_empty_batch" in out
    data = json.loads((tmp_path / "proof.json").read_text("utf-8"))
    assert data["verdict"] == "proved"
    assert data["counts"]["mutants"] == data["counts"]["caught"] == 1
    assert data["mutants"][0]["named"] == ["ORD-4"]


def test_an_interrupt_ends_it_and_its_processes(tmp_path: Path) -> None:
    """Exit code 130, with what there was so far; nothing runs on."""
    process = started("--json", "proof.json", "--processes", "1", cwd=tmp_path)
    assert process.stdout is not None
    deadline = time.monotonic() + DEADLINE
    while len(_group(process.pid)) < AT_WORK and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (130, "")
    assert "unfinished" in out
    assert json.loads((tmp_path / "proof.json").read_text("utf-8"))["verdict"] == "unfinished"
    while _group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _group(process.pid) == []


def test_what_it_runs_ends_with_it_even_when_it_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves it no time to end anything; what runs sees that nobody waits any more."""
    process = started("--json", "proof.json", "--processes", "1", cwd=tmp_path)
    deadline = time.monotonic() + DEADLINE
    while len(_group(process.pid)) < AT_WORK and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=DEADLINE)
    while _group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _group(process.pid) == []


def _group(group: int) -> list[int]:
    """The processes of a group."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            members.append(int(entry.parent.name))
    return members
