"""The command from outside: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema
import pytest

from chathistory.conformance import _commands
from chathistory.conformance._cli import run
from chathistory.conformance._files import schema
from chathistory.reference import CLAUSES, FAMILIES

DEADLINE = 60.0

SUBJECTS = '''
import os, tempfile, threading, time
from pathlib import Path
from chathistory.conformance import Backend
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

store = InMemoryChatHistoryStore()
good = store.get_session_history
number = 3

def wandering(session_id):
    """Changes the current directory, to one that is gone."""
    folder = Path(tempfile.mkdtemp())
    os.chdir(folder)
    folder.rmdir()
    return Forgetful(session_id)

class Forgetful(InMemoryChatMessageHistory):
    """Keeps one of equal messages."""
    def __init__(self, session_id):
        super().__init__(session_id, store=store)
    def add_messages(self, messages):
        known = [message.content for message in self.messages]
        for message in messages:
            if message.content not in known:
                super().add_messages([message])
                known.append(message.content)

def refusing(session_id):
    raise ConnectionError("no server at redis://me:secret@host")

def of_something_else(session_id):
    return []

def failing():
    raise OSError("no server")
    yield

def marked(session_id):
    Path("opened").touch()
    return good(session_id)

class Slow(InMemoryChatMessageHistory):
    """Says when it is used in earnest, and then takes its time."""
    calls = 0
    def __init__(self, session_id):
        super().__init__(session_id, store=store)
    def add_messages(self, messages):
        Slow.calls += 1
        if Slow.calls > 20:
            Path("running").touch()
            time.sleep(0.2)
        super().add_messages(messages)

def slow_to_open():
    try:
        Path("running").touch()
        time.sleep(60)
        yield Backend(name="slow", get_session_history=good)
    finally:
        Path("cleaned").touch()

def with_thread():
    threading.Thread(target=threading.Event().wait).start()
    return Backend(name="threaded", get_session_history=good)

def on_server(*, server=""):
    yield Backend(name="on a server", get_session_history=good)

def forgets_on_docker(*, server=""):
    yield Backend(name="forgets", get_session_history=Reversed if server == "docker" else good, claims=["core"])

class Reversed(InMemoryChatMessageHistory):
    """Stores a batch the wrong way round."""
    def __init__(self, session_id):
        super().__init__(session_id, store=store)
    def add_messages(self, messages):
        super().add_messages(list(messages)[::-1])
'''

Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a file of subjects in it."""
    (tmp_path / "subjects.py").write_text(SUBJECTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def chathistory(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: exit code, standard output, standard error."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return command


COMMAND = [sys.executable, "-m", "chathistory.conformance"]


def started(*arguments: str, environment: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(  # noqa: S603 -- our own command
        [*COMMAND, *arguments], text=True, env={**os.environ, **(environment or {})}, **options
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """How a process ended and what it wrote."""
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a process has made a file."""
    deadline = time.monotonic() + DEADLINE
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fault(chathistory: Run, *arguments: str) -> str:
    """The one line on standard error of a fault of usage or set-up, and nothing else anywhere."""
    code, out, err = chathistory(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("chathistory: error: ")
    return err.removeprefix("chathistory: error: ").rstrip("\n")


# Verdicts.


def test_a_history_that_keeps_its_clauses_is_conformant(chathistory: Run) -> None:
    """Exit code 0, and even then everything that was configured is shown."""
    code, out, err = chathistory("check", "subjects.py:good", "--quick", "--clause", "CLR", "--seed", "7")
    assert (code, err) == (0, "")
    assert "claims    core, async, threads" in out
    assert "effort    quick: 4 examples per clause, seed 7, timeout 10 s" in out
    assert re.search(r"versions  chathistory \S+, langchain-core \S+,", out)
    assert re.search(r"^conformant: subjects.py:good: 4 passed in ", out, re.MULTILINE)


def test_a_history_that_breaks_a_clause_is_shown_how(chathistory: Run) -> None:
    """Exit code 1, the clause, the smallest program, both sides, and the way back."""
    code, out, err = chathistory("check", "subjects.py:Forgetful", "--quick", "--clause", "ord-3", "--claim", "core")
    assert (code, err) == (1, "")
    assert "ORD-3 FAILED  Every add counts" in out
    assert "→" in out
    assert "Expected" in out
    replay = "Replay chathistory check subjects.py:Forgetful --claim core --clause ORD-3 --quick --seed 0"
    assert replay in " ".join(out.split())


def test_the_script_of_a_counterexample_stands_alone(chathistory: Run, folder: Path) -> None:
    """Its path is shown, and it shows the violation when it is run."""
    _, out, _ = chathistory("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3")
    path = folder / "chathistory-report" / "subjects.py_Forgetful-ORD-3.py"
    assert "Script  chathistory-report/subjects.py_Forgetful-ORD-3.py" in out
    script = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)  # noqa: S603 -- our own command
    assert script.returncode == 1, script.stderr
    assert "STILL FAILING: ORD-3" in script.stdout


def test_a_conformant_run_leaves_no_files(chathistory: Run, folder: Path) -> None:
    """The folder of scripts is made only when there is a script to put there."""
    before = set(folder.iterdir())
    chathistory("check", "subjects.py:good", "--quick", "--clause", "ORD-4")
    assert {path for path in folder.iterdir() if path.name not in ("__pycache__", ".hypothesis")} == before


def test_scripts_go_where_the_user_says(chathistory: Run, folder: Path) -> None:
    """`--scripts` names the folder."""
    chathistory("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3", "--scripts", "evidence")
    assert [path.name for path in (folder / "evidence").iterdir()] == ["subjects.py_Forgetful-ORD-3.py"]


def test_a_history_that_changes_the_current_directory_does_not_move_the_reports(chathistory: Run, folder: Path) -> None:
    """Paths mean what they meant when the command was given, and are shown as they were given."""
    files = ("--json", "out/r.json", "--markdown", "r.md", "--scripts", "out/evidence")
    (folder / "out").mkdir()
    code, out, err = chathistory("check", "subjects.py:wandering", "--quick", "--clause", "ORD-3", *files)
    assert (code, err) == (1, "")
    assert "out/evidence/subjects.py_wandering-ORD-3.py" in out
    assert str(folder / "out") not in out
    for path in ("out/r.json", "r.md", "out/evidence/subjects.py_wandering-ORD-3.py"):
        assert (folder / path).read_text()


def test_scripts_that_can_not_be_written_do_not_fail_the_run(chathistory: Run, folder: Path) -> None:
    """Without `--scripts` the folder is a convenience, and its absence a note."""
    (folder / "chathistory-report").touch()
    code, out, _ = chathistory("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3")
    assert code == 1
    assert out.startswith("note: the scripts of counterexamples could not be written: ")


def test_quiet_prints_the_verdict_alone(chathistory: Run) -> None:
    """One line on standard output, with the same exit code."""
    code, out, _ = chathistory("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3", "--quiet")
    assert code == 1
    assert re.fullmatch(r"violations: subjects.py:Forgetful: 1 failed in .*\n", out)


def test_a_run_that_decided_nothing_is_not_conformant(chathistory: Run) -> None:
    """Exit code 1 when the only clause asked for could not be checked."""
    code, out, _ = chathistory("check", "subjects.py:good", "--quick", "--clause", "ISO-6")
    assert code == 1
    assert "undecided: subjects.py:good: 1 not claimed" in out


def test_exitfirst_stops_at_the_first_failure(chathistory: Run, folder: Path) -> None:
    """What comes behind the first failing clause is not run, and the report says so."""
    arguments = ("--quick", "--clause", "ORD", "-x", "--json", "r.json")
    code, out, _ = chathistory("check", "subjects.py:Forgetful", *arguments)
    data = json.loads((folder / "r.json").read_text())
    assert code == 1
    assert [entry["outcome"] for entry in data["clauses"]].count("failed") == 1
    assert data["clauses"][-1]["outcome"] == "failed"
    assert data["complete"] is False
    assert "it stopped at the first failure" in out


# Options.


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Missing command"),
        (["chek"], "No such command 'chek'"),
        (["check"], "Missing argument 'TARGET'"),
        (["check", "t", "--quik"], "No such option"),
        (["check", "t", "--pdf", "r.pdf"], "No such option"),
        (["check", "t", "--quick", "--thorough"], "--quick and --thorough exclude each other"),
        (["check", "t", "--claim", "thread"], "no profile 'thread' (did you mean threads?)"),
        (["check", "t", "--clause", "ORD-33"], "no clause or family 'ORD-33'. Did you mean ORD-3?"),
        (["check", "t", "--clause", "order"], "no clause or family 'order'. Did you mean ORD?"),
        (["check", "t", "--examples", "0"], "'--examples': 0 is not in the range"),
        (["check", "t", "--seed", "x"], "'x' is neither a whole number nor 'random'"),
        (["check", "t", "--timeout", "nan"], "'nan' is not a number of seconds above 0"),
        (["check", "t", "--timeout", "-1"], "'-1' is not a number of seconds above 0"),
        (["check", "t", "--json", "missing/r.json"], "there is no folder 'missing'; make it first"),
        (["check", "t", "--junit", "."], "it is a folder; name a file in it"),
        (["check", "t", "--scripts", "subjects.py"], "it is a file; name a folder"),
        (["soak", "t", "--minutes", "abc"], "'abc' is not a number of minutes above 0"),
        (["soak", "t", "--out", "subjects.py/x"], "can't make the folder 'subjects.py/x': "),
        (["soak", "t", "--out", "subjects.py"], "can't make the folder 'subjects.py': "),
        (["semantics", "nonsense"], "no clause or family 'nonsense'"),
        (["replay", "missing.json"], "can't read 'missing.json'"),
        (["replay", "subjects.py"], "'subjects.py' is not a JSON report"),
    ],
)
def test_a_mistake_of_usage_is_one_line(chathistory: Run, arguments: list[str], told: str) -> None:
    """Exit code 2, what is wrong and what to do, before anything runs."""
    assert told in fault(chathistory, *arguments)


def test_a_clause_that_the_claims_do_not_cover_names_the_claim(chathistory: Run) -> None:
    """A clause that would not be checked is refused, with the claim that would let it be."""
    line = fault(chathistory, "check", "subjects.py:good", "--claim", "core", "--clause", "CON-1")
    assert line == (
        "CON-1 belongs to the profile threads or processes, but 'subjects.py:good' claims core; add --claim threads"
    )


def test_a_family_is_checked_as_far_as_it_is_claimed(chathistory: Run, folder: Path) -> None:
    """Of a family that is claimed in part, that part is checked."""
    arguments = ("--claim", "core", "--clause", "ATM", "--quick", "--json", "r.json")
    code, _, _ = chathistory("check", "subjects.py:good", *arguments)
    assert code == 0
    assert [entry["id"] for entry in json.loads((folder / "r.json").read_text())["clauses"]] == ["ATM-1"]


def test_the_configuration_reaches_the_run(chathistory: Run, folder: Path) -> None:
    """Examples, seed and timeout are those of the report."""
    arguments = ("--quick", "--examples", "3", "--seed", "11", "--timeout", "2.5", "--clause", "ORD-4")
    chathistory("check", "subjects.py:good", *arguments, "--json", "r.json")
    data = json.loads((folder / "r.json").read_text())
    wanted = {"effort": "quick", "examples": 3, "seed": 11, "timeout": 2.5}
    assert {name: data["configuration"][name] for name in wanted} == wanted
    assert data["seed"] == 11


def test_a_random_seed_is_shown(chathistory: Run, folder: Path) -> None:
    """A drawn seed is in the header, and so can be given again."""
    arguments = ("--quick", "--clause", "ORD-4", "--seed", "random", "--json", "r.json")
    _, out, _ = chathistory("check", "subjects.py:good", *arguments)
    assert f"seed {json.loads((folder / 'r.json').read_text())['seed']}," in out


def test_a_fault_of_the_suite_is_no_verdict(chathistory: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash ends with 2 and its traceback, and never looks like a violation."""

    def crash() -> int:
        raise ZeroDivisionError("our own fault")

    monkeypatch.setattr(_commands, "run_backends", crash)
    code, out, err = chathistory("backends")
    assert (code, out) == (2, "")
    assert "ZeroDivisionError: our own fault" in err
    assert err.splitlines()[-1].startswith("chathistory: error: this is a fault of chathistory itself")


# Targets and backends.


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("subject", "there is no backend named 'subject'"),
        ("subjects.py:god", "has no attribute 'god' (did you mean good?)"),
        ("subjects.py:number", "subjects.py:number is an int, not callable"),
        (
            "subjects.py:failing",
            "subjects.py:failing could not be opened: OSError: no server at subjects.py:",
        ),
        ("subjects.py:refusing", "ConnectionError: no server at redis://***@host"),
        ("subjects.py:of_something_else", "returned list, not a chat message history"),
    ],
)
def test_a_backend_that_does_not_open_is_one_line(chathistory: Run, target: str, told: str) -> None:
    """Exit code 2 and the cause, without a traceback and without credentials."""
    assert told in fault(chathistory, "check", target, "--quick")


def test_paths_are_tried_before_the_backend_is_opened(chathistory: Run, folder: Path) -> None:
    """A run whose report can't be written does not begin."""
    fault(chathistory, "check", "subjects.py:marked", "--json", "missing/r.json")
    assert not (folder / "opened").exists()


# Files.


def test_all_reports_are_written_at_once(chathistory: Run, folder: Path) -> None:
    """JSON, JUnit XML and Markdown come from one run."""
    files = ("--json", "r.json", "--junit", "r.xml", "--markdown", "r.md")
    code, _, _ = chathistory("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3", *files)
    assert code == 1
    data = json.loads((folder / "r.json").read_text())
    jsonschema.validate(data, schema())
    assert (data["verdict"], data["complete"], data["target"]) == (
        "violations",
        True,
        "subjects.py:Forgetful",
    )
    assert '<failure message="Every add counts' in (folder / "r.xml").read_text()
    assert (folder / "r.md").read_text().startswith("### chathistory: subjects.py:Forgetful: violations")


# Replay.


@pytest.fixture
def recorded(chathistory: Run, folder: Path) -> str:
    """The path of a JSON report with a violation in it."""
    chathistory("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3", "--json", "r.json")
    return "r.json"


def test_replay_tells_what_still_fails(chathistory: Run, recorded: str) -> None:
    """The target is that of the report, the exit code 1 while anything fails."""
    code, out, err = chathistory("replay", recorded)
    assert (code, err) == (1, "")
    assert re.fullmatch(r"ORD-3 STILL FAILING: .+\n", out)


def test_replay_tells_what_is_fixed(chathistory: Run, recorded: str) -> None:
    """Another target can be named, and the exit code is 0 when nothing fails any more."""
    assert chathistory("replay", recorded, "--target", "subjects.py:good") == (0, "ORD-3 FIXED\n", "")


def test_replay_of_a_clean_report_says_that_there_is_nothing(chathistory: Run) -> None:
    """A report without counterexamples is no fault."""
    chathistory("check", "subjects.py:good", "--quick", "--clause", "ORD-4", "--json", "clean.json")
    code, out, _ = chathistory("replay", "clean.json")
    assert (code, out) == (0, "clean.json holds no counterexample: there is nothing to replay\n")


def test_replay_refuses_what_it_can_not_run(chathistory: Run, recorded: str, folder: Path) -> None:
    """A damaged program, a missing target and a target that does not open are faults, and not fixed."""
    data = json.loads((folder / recorded).read_text())
    assert "could not be opened" in fault(chathistory, "replay", recorded, "--target", "subjects.py:failing")
    (folder / "nameless.json").write_text(json.dumps({**data, "target": ""}))
    assert "name it with --target" in fault(chathistory, "replay", "nameless.json")
    data["clauses"][0]["counterexample"]["program"] = {"steps": "nonsense"}
    (folder / "damaged.json").write_text(json.dumps(data))
    fault(chathistory, "replay", "damaged.json")


# Lists.


def test_semantics_lists_every_clause(chathistory: Run) -> None:
    """All families and clauses, with level, profiles and sentence."""
    code, out, _ = chathistory("semantics")
    assert code == 0
    assert all(re.search(rf"^{family.id}  {family.title}", out, re.MULTILINE) for family in FAMILIES)
    assert all(re.search(rf"^  {each.id} +{each.level} ", out, re.MULTILINE) for each in CLAUSES)


def test_semantics_shows_one_clause_with_its_reasons(chathistory: Run) -> None:
    """An id, in any case, gives sentence, rationale and causes."""
    _, out, _ = chathistory("semantics", "ord-3")
    assert out.startswith("ORD-3  MUST  core\n\nEvery add counts")
    assert "Why it matters\n  People do send" in out
    assert "What usually breaks it\n  - a unique key" in out


def test_semantics_gives_data(chathistory: Run) -> None:
    """`--json` is the same for programs: all, a family, or a clause."""
    everything = json.loads(chathistory("semantics", "--json")[1])
    assert [entry["id"] for entry in everything["clauses"]] == [each.id for each in CLAUSES]
    one = json.loads(chathistory("semantics", "CLR-2", "--json")[1])
    assert [entry["id"] for entry in one["clauses"]] == ["CLR-2"]
    assert [entry["id"] for entry in one["families"]] == ["CLR"]


def test_backends_are_listed_with_what_they_lack(chathistory: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, description, place, and what to install."""
    listed = _commands.registered_backends.__globals__["RegisteredBackend"]
    backends = [
        listed(name="a", summary="A store.", import_path="m:a", problem=""),
        listed(
            name="peer:b",
            summary="",
            import_path="m:b",
            problem='needs "x": pip install "chathistory[peers]"',
        ),
    ]
    monkeypatch.setattr(_commands, "registered_backends", lambda: backends)
    code, out, _ = chathistory("backends")
    assert code == 0
    assert re.search(r"^a +A store\.\n +m:a$", out, re.MULTILINE)
    assert re.search(r'^peer:b +not usable here: needs "x": pip install "chathistory\[peers\]"$', out, re.MULTILINE)


def test_the_version_is_told(chathistory: Run) -> None:
    """`--version` names the distribution and its version."""
    code, out, _ = chathistory("--version")
    assert code == 0
    assert re.fullmatch(r"chathistory \d\S*\n", out)


def test_help_is_no_fault(chathistory: Run) -> None:
    """`--help` prints the options."""
    code, out, _ = chathistory("check", "--help")
    assert code == 0
    assert "--markdown FILE" in out


@pytest.mark.parametrize("command", ["check", "matrix", "replay", "soak", "selfproof"])
def test_help_tells_the_exit_codes(chathistory: Run, command: str) -> None:
    """Of whatever opens a target."""
    code, out, _ = chathistory(command, "--help")
    assert code == 0
    assert "Exit code: 0 " in out
    assert "130" in out


# The process as a whole.


def test_the_process_ends_with_the_code_and_one_line() -> None:
    """From outside, too, a fault is one line on standard error and exit code 2."""
    assert finished(started("check", "nonsense.py:a")) == (
        2,
        "",
        "chathistory: error: there is no file 'nonsense.py'\n",
    )


def test_a_run_from_outside_is_clean() -> None:
    """No colours into a pipe, no warnings of LangChain, even if Python shows all warnings."""
    arguments = ("check", "subjects.py:good", "--quick", "--clause", "RUN", "--clause", "ORD-6")
    code, out, err = finished(started(*arguments, environment={"PYTHONWARNINGS": "default"}))
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert "conformant" in out


@pytest.mark.parametrize("columns", [40, 12])
def test_a_narrow_terminal_is_enough(columns: int) -> None:
    """The report breaks its lines instead of failing."""
    arguments = ("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD")
    code, out, err = finished(started(*arguments, environment={"COLUMNS": str(columns)}))
    assert (code, err) == (1, "")
    report, verdict = out.rstrip("\n").rsplit("\n", 1)
    assert max(map(len, report.splitlines())) <= columns
    assert verdict.startswith("violations")


@pytest.mark.parametrize("missing", ["click", "rich", "hypothesis"])
def test_a_missing_extra_is_one_line(missing: str) -> None:
    """Without the extra `suite` the command says what to install."""
    main = "from chathistory.conformance.__main__ import main; main()"
    command = [sys.executable, "-c", f"import sys; sys.modules[{missing!r}] = None; {main}", "backends"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own code
    assert done.returncode == 2
    assert done.stderr == 'chathistory: error: the command needs more: pip install "chathistory[suite]"\n'


def test_an_interrupted_run_writes_what_it_has(folder: Path) -> None:
    """Ctrl-C ends with 130, and every report is there, incomplete and saying so."""
    files = ("--json", "r.json", "--junit", "r.xml", "--markdown", "r.md")
    process = started("check", "subjects.py:Slow", "--quick", *files)
    wait_for(folder / "running", process)
    process.send_signal(signal.SIGINT)
    code, out, err = finished(process)
    assert (code, err) == (130, "")
    assert "it was interrupted, so this is not the whole picture" in out
    data = json.loads((folder / "r.json").read_text())
    jsonschema.validate(data, schema())
    assert data["complete"] is False
    assert "it was interrupted" in (folder / "r.xml").read_text()
    assert "it was interrupted" in (folder / "r.md").read_text()


def test_an_interrupt_while_opening_is_no_traceback(folder: Path) -> None:
    """Ctrl-C before the first clause ends with 130, cleans up, and writes no report."""
    process = started("check", "subjects.py:slow_to_open", "--json", "r.json")
    wait_for(folder / "running", process)
    process.send_signal(signal.SIGINT)
    code, out, err = finished(process)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert err.strip() == "chathistory: interrupted before anything was checked"
    assert (folder / "cleaned").exists()
    assert not (folder / "r.json").exists()


def test_a_reader_that_leaves_does_not_harm_the_run(folder: Path) -> None:
    """As in `chathistory check … | head -1`: reports are written, the exit code is the verdict's."""
    arguments = ("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3", "--json", "r.json")
    process = started(*arguments)
    with process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1
    assert json.loads((folder / "r.json").read_text())["complete"] is True


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_can_not_be_written_is_a_fault() -> None:
    """A full disk is no verdict."""
    with Path("/dev/full").open("w") as full:
        code, _, err = finished(started("semantics", stdout=full))
    assert code == 2
    assert err == "chathistory: error: can't write to standard output: No space left on device\n"


def test_a_thread_left_behind_does_not_keep_the_process() -> None:
    """The process ends though a thread of the backend never does."""
    code, out, err = finished(started("check", "subjects.py:with_thread", "--quick", "--clause", "ORD-4"))
    assert (code, err) == (0, "")
    assert "conformant" in out


def on_a_terminal(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What the command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm", **(environment or {})}
    process = started(*arguments, stdout=theirs, stderr=theirs, environment=environment)
    os.close(theirs)
    chunks = []
    while select.select([ours], [], [], DEADLINE)[0]:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so that the other side is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(ours)
    process.wait(DEADLINE)
    return b"".join(chunks).decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_a_terminal_gets_a_bar_and_colours() -> None:
    """Progress is shown while the run lasts, and the verdict in colour."""
    out = on_a_terminal("check", "subjects.py:good", "--quick", "--clause", "ORD")
    assert "━" in out
    assert "7/7" in out
    assert COLOUR.search(out)
    assert "conformant" in out


def test_a_terminal_without_colour_gets_none() -> None:
    """NO_COLOR is kept to."""
    out = on_a_terminal("check", "subjects.py:good", "--quick", "--clause", "ORD-4", environment={"NO_COLOR": "1"})
    assert "conformant" in out
    assert not COLOUR.search(out)


def test_quiet_shows_no_bar_either() -> None:
    """On a terminal, too, quiet is one line."""
    out = on_a_terminal("check", "subjects.py:good", "--quick", "--clause", "ORD-4", "--quiet")
    assert len(out.splitlines()) == 1


def test_a_report_says_what_repeats_the_run(chathistory: Run) -> None:
    """Target, server, claims, clauses, effort and seed; of a URL without its credentials."""
    arguments = ("subjects.py:on_server", "--claim", "async", "--clause", "ORD-1", "--quick", "--seed", "3")
    chathistory("check", *arguments, "--server", "docker", "--json", "r.json")
    data = json.loads(Path("r.json").read_text())
    assert data["target"] == "subjects.py:on_server"
    assert data["asked"] == {
        "command": f"chathistory check {arguments[0]} --server docker --claim async --clause ORD-1 --quick --seed 3",
        "server": "docker",
        "claims": ["async"],
        "clauses": ["ORD-1"],
        "deviations": "",
    }
    chathistory("check", *arguments, "--server", "redis://me:secret@host", "--json", "r.json")
    assert "secret" not in Path("r.json").read_text()


def test_replay_uses_the_server_of_the_report(chathistory: Run) -> None:
    """Unless another one is named, or the report says only where it was."""
    chathistory("check", "subjects.py:forgets_on_docker", "--server", "docker", "--clause", "ORD-2", "--json", "r.json")
    assert chathistory("replay", "r.json")[0] == 1
    assert chathistory("replay", "r.json", "--server", "embedded")[0] == 0
