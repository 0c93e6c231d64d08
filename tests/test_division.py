"""A run divided between processes says what a run in one process says, whatever becomes of the helpers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from chathistory.conformance._division import Division
from chathistory.conformance._report import ClauseResult

TARGET = '''
"""A backend that notes in which process it is opened, used and closed."""

import os
import time
from pathlib import Path

from langchain_core.chat_history import BaseChatMessageHistory

from chathistory.conformance import Backend
from chathistory.reference import InMemoryChatHistoryStore

NOTES = Path(os.environ["NOTES"])


class Forgetful(BaseChatMessageHistory):
    def __init__(self, kept):
        self._kept = kept

    @property
    def messages(self):
        return self._kept.messages

    def add_messages(self, messages):
        self._kept.add_messages(messages)

    def clear(self):
        self._kept.clear()

    async def aclear(self):
        pass


class Store(InMemoryChatHistoryStore):
    def get_session_history(self, session_id, **options):
        with (NOTES / str(os.getpid())).open("a") as file:
            file.write(".")
        {at_each_handle}
        return super().get_session_history(session_id, **options)


def is_helper():
    import multiprocessing
    return multiprocessing.parent_process() is not None


def await_the_helper():
    """A quick run could be over before a second process has started."""
    deadline = time.monotonic() + 8
    while len([path for path in NOTES.iterdir() if not path.suffix]) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)


def backend():
    {at_opening}
    (NOTES / f"{{os.getpid()}}").write_text("")
    yield Backend(name="noted", get_session_history=Store().get_session_history, disposable=True, isolated=True)
    (NOTES / f"{{os.getpid()}}.closed").write_text("")
'''


def _target(folder: Path, *, at_opening: str = "pass", at_each_handle: str = "await_the_helper()") -> Path:
    path = folder / "noted.py"
    path.write_text(TARGET.format(at_opening=at_opening, at_each_handle=at_each_handle))
    (folder / "notes").mkdir()
    return path


TWO_CHILDREN = '''
"""Says of two children, one after the other, whether each began with Ctrl-C kept back."""

import multiprocessing
import signal

from chathistory.conformance._division import interrupts_held_back


def tell(answer):
    answer.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=tell, args=(theirs,))
        with interrupts_held_back():
            process.start()
        print(ours.recv())
        process.join()
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
'''


INTERRUPTED_AS_IT_STARTS = '''
"""A helper's process to which Ctrl-C has come while it was kept back; it notes what it makes of the next one."""

import os
import signal
import sys
from pathlib import Path

from chathistory.conformance._division import _work


def note(path, run):
    kept_back = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    Path(path).write_text(f"{kept_back} {signal.getsignal(signal.SIGINT).__name__}")


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
os.kill(os.getpid(), signal.SIGINT)
_work(note, sys.argv[1], None)
'''


FEW = ("--processes", "2", *(word for family in ("CLR", "ERR", "ASY") for word in ("--clause", family)))


def _command(folder: Path, *options: str) -> list[str]:
    report, target = str(folder / "report.json"), f"{folder / 'noted.py'}:backend"
    return [sys.executable, "-m", "chathistory.conformance", "check", target, "--quick", "--json", report, *options]


def _started(folder: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NOTES": str(folder / "notes")}
    environment.pop("CHATHISTORY_PROCESSES", None)
    command = _command(folder, *options)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)  # noqa: S603 -- our own code


def _checked(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    process = _started(folder, *options)
    process.communicate(timeout=120)
    return process.returncode, json.loads((folder / "report.json").read_text("utf-8"))


def _opened(folder: Path) -> set[str]:
    return {path.name for path in (folder / "notes").iterdir() if path.suffix == ""}


def _closed(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "notes").iterdir() if path.suffix == ".closed"}


def _wait_until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _outcomes(report: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [(each["id"], each["outcome"], each["counterexample"] is not None) for each in report["clauses"]]


def _result(clause_id: str) -> ClauseResult:
    return ClauseResult(id=clause_id, level="MUST", outcome="passed")


def _ready_helper(division: Division) -> tuple[Connection, threading.Thread]:
    """A helper's end of the connection, and the thread that serves it."""
    ours, theirs = Pipe()
    thread = threading.Thread(target=division.serve, args=(ours,))
    thread.start()
    theirs.send(None)
    return theirs, thread


class TestADivision:
    """Who checks which clause."""

    def test_without_helpers_every_clause_is_for_this_process(self) -> None:
        """As if it were not divided."""
        division = Division(["ORD-1", "ORD-2"])
        assert division.result_of("ORD-1") is None
        assert division.result_of("ORD-2") is None

    def test_a_helper_takes_from_the_end_and_this_process_waits_for_what_it_took(self) -> None:
        """And each clause is checked once."""
        division = Division(["ORD-1", "ORD-2", "ORD-3"])
        theirs, thread = _ready_helper(division)
        assert theirs.recv() == "ORD-3"
        assert division.result_of("ORD-1") is None
        theirs.send(_result("ORD-3"))
        assert theirs.recv() == "ORD-2"
        theirs.send(_result("ORD-2"))
        assert theirs.recv() == ""
        assert division.result_of("ORD-2") == _result("ORD-2")
        assert division.result_of("ORD-3") == _result("ORD-3")
        thread.join()

    def test_what_a_lost_helper_was_at_is_for_this_process(self) -> None:
        """Nothing is left out, and nothing waits for ever."""
        division = Division(["ORD-1", "ORD-2"])
        theirs, thread = _ready_helper(division)
        assert theirs.recv() == "ORD-2"
        theirs.close()
        assert division.result_of("ORD-2") is None
        thread.join()

    def test_what_helpers_have_finished_is_told_of_an_interrupted_run(self) -> None:
        """In the order of the clauses, without those that have been reported."""
        division = Division(["ORD-1", "ORD-2", "ORD-3"])
        theirs, thread = _ready_helper(division)
        for name in ("ORD-3", "ORD-2"):
            assert theirs.recv() == name
            theirs.send(_result(name))
        theirs.close()
        thread.join()
        assert division.finished_beside([_result("ORD-3")]) == (_result("ORD-2"),)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs masks of signals")
def test_ctrl_c_is_kept_back_from_the_first_child_as_from_the_others(tmp_path: Path) -> None:
    """And not from the process that starts them; asked in a new one, where they are the first children of all."""
    script = tmp_path / "two_children.py"
    script.write_text(TWO_CHILDREN)
    told = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True, timeout=60)  # noqa: S603 -- our own code
    assert told.stdout.split() == ["True", "True", "False"]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs masks of signals")
def test_ctrl_c_that_came_while_a_helper_started_is_forgotten(tmp_path: Path) -> None:
    """It was for the process at the terminal; what the helper starts can be interrupted as ever."""
    script, notes = tmp_path / "interrupted.py", tmp_path / "notes"
    script.write_text(INTERRUPTED_AS_IT_STARTS)
    command = [sys.executable, script, notes]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)  # noqa: S603 -- our own code
    assert (done.returncode, done.stderr) == (0, "")
    assert notes.read_text() == "False default_int_handler"


class TestACheck:
    """The command, in two processes."""

    def test_a_backend_that_is_isolated_is_checked_in_two_processes(self, tmp_path: Path) -> None:
        """With the outcomes of one process."""
        _target(tmp_path)
        many = [word for family in ("ORD", "CLR", "SNP", "ERR") for word in ("--clause", family)]
        code, divided = _checked(tmp_path, *many)
        assert len(_opened(tmp_path)) == 2
        assert _closed(tmp_path) == _opened(tmp_path)
        alone, whole = _checked(tmp_path, *many, "--processes", "1")
        assert (code, alone) == (0, 0)
        assert _outcomes(divided) == _outcomes(whole)

    def test_a_violation_that_a_helper_finds_is_reported_like_any_other(self, tmp_path: Path) -> None:
        """With its counterexample and its script."""
        _target(
            tmp_path, at_each_handle="await_the_helper(); return Forgetful(super().get_session_history(session_id))"
        )
        code, divided = _checked(tmp_path, *FEW)
        assert (code, len(_opened(tmp_path))) == (1, 2)
        alone, whole = _checked(tmp_path, *FEW, "--processes", "1")
        assert alone == 1
        assert _outcomes(divided) == _outcomes(whole)
        assert any(is_shown for _, outcome, is_shown in _outcomes(divided) if outcome == "failed")

    @pytest.mark.parametrize("how", ["raise RuntimeError('no second server')", "os._exit(3)"])
    def test_a_helper_that_cannot_open_the_target_is_done_without(self, tmp_path: Path, how: str) -> None:
        """The run takes longer, and says the same."""
        _target(tmp_path, at_opening=f"if is_helper(): {how}", at_each_handle="pass")
        code, report = _checked(tmp_path, *FEW)
        assert code == 0
        assert len(_opened(tmp_path)) == 1
        assert report["complete"] is True

    def test_a_helper_that_dies_is_done_without(self, tmp_path: Path) -> None:
        """What it was at is checked again in the process of the run."""
        dies = "if is_helper() and len((NOTES / str(os.getpid())).read_text()) > 100: os._exit(3)"
        _target(tmp_path, at_each_handle=f"await_the_helper()\n        {dies}")
        code, report = _checked(tmp_path, *FEW)
        assert code == 0
        assert len(_opened(tmp_path)) == 2
        assert len(_closed(tmp_path)) == 1
        assert report["complete"] is True

    def test_ctrl_c_ends_the_helper_by_way_of_its_store(self, tmp_path: Path) -> None:
        """Exit code 130, a report of what ran, and both stores closed."""
        _target(tmp_path, at_each_handle="time.sleep(0.02)")
        process = _started(tmp_path)
        _wait_until(lambda: len(_opened(tmp_path)) == 2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
        assert _closed(tmp_path) == _opened(tmp_path)
        assert json.loads((tmp_path / "report.json").read_text("utf-8"))["complete"] is False

    def test_a_helper_does_not_outlive_a_run_that_is_killed(self, tmp_path: Path) -> None:
        """And closes its store all the same."""
        _target(tmp_path, at_each_handle="time.sleep(0.02)")
        process = _started(tmp_path)
        _wait_until(lambda: len(_opened(tmp_path)) == 2)
        process.kill()
        process.communicate(timeout=60)
        _wait_until(lambda: _closed(tmp_path) == _opened(tmp_path) - {str(process.pid)})
