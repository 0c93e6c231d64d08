"""The skeleton of a new adapter, generated, installed and run; and the gate as a step of a workflow."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from chathistory.conformance import UsageError
from chathistory.conformance._cli import run
from chathistory.conformance._deviations import parse_deviations
from chathistory.conformance._init import write_skeleton

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "chathistory.conformance"]
SOURCES = [str(ROOT / room) for room in ("reference", "conformance", "adapters")]
DEADLINE = 300

FILES = {
    "pyproject.toml",
    "README.md",
    "deviations.toml",
    ".gitlab-ci.yml",
    ".github/workflows/conformance.yml",
    "src/acme_db_chat_history/__init__.py",
    "src/acme_db_chat_history/backend.py",
    "src/acme_db_chat_history/history.py",
    "tests/test_conformance.py",
}

Finished: TypeAlias = subprocess.CompletedProcess[str]


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A new skeleton."""
    return write_skeleton("acme-db", tmp_path / "project")[0]


def in_memory() -> str:
    """A folder for temporary files that needs no disk, where the system has one: a check syncs thousands of times."""
    shared = Path("/dev/shm")  # noqa: S108 -- only looked for
    return str(shared) if os.access(shared, os.W_OK) else os.environ.get("TMPDIR", "")


def finished(command: list[Any], folder: Path, path: list[str], **variables: str) -> Finished:
    """A command in a folder, with these places to import from before others, as it ended."""
    places = os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": places, "COLUMNS": "80", "TMPDIR": in_memory()}
    return subprocess.run(  # noqa: S603 -- our own commands
        command,
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A skeleton that was built and installed into a folder of its own, and where to import from to have it."""
    pytest.importorskip("hatchling")
    root, _ = write_skeleton("acme-db", tmp_path_factory.mktemp("made") / "project")
    place = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    done = finished([sys.executable, "-m", "pip", "install", *options, "--target", place, "."], root, [])
    assert done.returncode == 0, done.stderr
    return root, [str(place), *SOURCES]


# What is written.


def test_every_file_is_written_with_the_names_in_it(skeleton: Path) -> None:
    """No place for a name is left open."""
    assert {path.relative_to(skeleton).as_posix() for path in skeleton.rglob("*") if path.is_file()} == FILES
    for name in FILES:
        text = (skeleton / name).read_text()
        assert not re.search(r"@[A-Z]+@", text), name
    assert "class AcmeDbChatMessageHistory(" in (skeleton / "src/acme_db_chat_history/history.py").read_text()


def test_every_template_is_written(skeleton: Path) -> None:
    """A template that nobody writes is dead."""
    templates = [each for each in files("chathistory.conformance").joinpath("skeleton").iterdir() if each.is_file()]
    assert len(templates) == len(FILES)


def test_the_history_is_short_enough_to_read_at_once(skeleton: Path) -> None:
    """Whoever puts a store in SQLite's place has less than 60 lines to change."""
    assert len((skeleton / "src/acme_db_chat_history/history.py").read_text().splitlines()) <= 60


def test_what_is_written_is_well_formed(skeleton: Path) -> None:
    """Python that parses, and deviations that can be read."""
    for path in skeleton.rglob("*.py"):
        ast.parse(path.read_text())
    assert parse_deviations((skeleton / "deviations.toml").read_text(), "deviations.toml") == ()


@pytest.mark.skipif(shutil.which("ruff", path=str(Path(sys.executable).parent)) is None, reason="needs ruff")
def test_what_is_written_is_clean(skeleton: Path) -> None:
    """It begins its life without a warning of ruff's."""
    ruff = Path(sys.executable).parent / "ruff"
    rules = ["--select", "A,B,E4,E7,E9,F,I,N,S,SIM,UP", "--config", "src=['src']"]
    for command in (["check", *rules], ["format", "--check", "--line-length", "120"]):
        done = finished([ruff, *command, "--no-cache", "--isolated", "src", "tests"], skeleton, [])
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [".github/workflows/conformance.yml", ".gitlab-ci.yml"])
def test_the_jobs_run_the_gate(skeleton: Path, name: str) -> None:
    """Both install what was written, check it with its deviations, and keep what came of it."""
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((skeleton / name).read_text())
    job = job["jobs"]["conformance"] if "jobs" in job else job["conformance"]
    commands = job["script"] if "script" in job else [step["run"] for step in job["steps"] if "run" in step]
    assert commands[0] == "pip install -e '.[test]'"
    assert commands[1] == (
        "chathistory check acme-db --deviations deviations.toml "
        "--json report.json --junit conformance.xml --markdown conformance.md"
    )


# Names and places.


@pytest.mark.parametrize(
    "name",
    ["Acme", "acme_db", "1acme", "-acme", "acme-", "acme--db", "", "ac me", "äcme", "../acme", "acme\n", "a" * 41],
)
def test_a_name_that_is_none_is_one_line(name: str, tmp_path: Path) -> None:
    """It says what a name is made of, and nothing is written."""
    with pytest.raises(UsageError, match=r"^'.*' can't be the name of an adapter; .* for example my-store$"):
        write_skeleton(name, tmp_path / "project")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(skeleton: Path) -> None:
    """One file that is there is enough to write none."""
    kept = skeleton / "deviations.toml"
    shutil.rmtree(skeleton / "src")
    kept.write_text("mine")
    for path in skeleton.iterdir():
        if path.is_file() and path != kept:
            path.unlink()
    shutil.rmtree(skeleton / ".github")
    shutil.rmtree(skeleton / "tests")
    with pytest.raises(UsageError, match=r"deviations.toml' is there already, and nothing is overwritten"):
        write_skeleton("acme-db", skeleton)
    assert [path.name for path in skeleton.iterdir()] == ["deviations.toml"]
    assert kept.read_text() == "mine"


def test_a_folder_with_other_files_is_kept(tmp_path: Path) -> None:
    """A new repository, say, has a .git already."""
    (tmp_path / ".git").mkdir()
    write_skeleton("acme-db", tmp_path)
    assert (tmp_path / "pyproject.toml").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """So is one below a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        write_skeleton("acme-db", tmp_path / "file")
    with pytest.raises(UsageError, match="can't make the folder"):
        write_skeleton("acme-db", tmp_path / "file" / "below")


def test_the_command_tells_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files, and the line to paste; a second time it refuses."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "acme-db"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert set(out[:-1]) == {f"acme-db-chat-history/{name}" for name in FILES}
    assert out[-1].startswith("next: cd acme-db-chat-history && pip install -e '.[test]' && chathistory check acme-db")
    assert run(["init", "acme-db"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# The skeleton at work.


def test_the_installed_adapter_is_checked_by_its_name(installed: tuple[Path, list[str]]) -> None:
    """The entry point is found, and the clauses hold."""
    root, path = installed
    chosen = [word for name in ("ORD-3", "SNP-3", "ATM-1", "ASY-1", "CON-5") for word in ("--clause", name)]
    listed = finished([*COMMAND, "backends"], root, path)
    assert "acme_db_chat_history.backend:backend" in listed.stdout
    done = finished([*COMMAND, "check", "acme-db", "--deviations", "deviations.toml", "--quick", *chosen], root, path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conformant: acme-db: 5 passed" in done.stdout


TWO_OPENINGS = """
from contextlib import contextmanager
from acme_db_chat_history.backend import backend

with contextmanager(backend)() as one, contextmanager(backend)() as other:
    one.get_session_history("s").add_user_message("hello")
    print(one.isolated, len(one.get_session_history("s").messages), len(other.get_session_history("s").messages))
"""


def test_it_says_that_each_opening_has_a_store_apart(installed: tuple[Path, list[str]]) -> None:
    """So two processes check it, and what one writes the other never sees."""
    root, path = installed
    done = finished([sys.executable, "-c", TWO_OPENINGS], root, path)
    assert done.stdout == "True 1 0\n", done.stderr


def test_its_tests_pass(installed: tuple[Path, list[str]]) -> None:
    """The test class finds the deviations beside its folder."""
    root, path = installed
    options = ["-q", "-p", "no:cacheprovider", "--chathistory-effort", "quick", "-k", "ORD-3 or SNP-3"]
    done = finished([sys.executable, "-m", "pytest", *_plugin(path), *options], root, path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def _plugin(path: list[str]) -> list[str]:
    """How pytest loads our plugin where the checkout itself is not installed."""
    code = "from importlib.metadata import entry_points as e; print([p.value for p in e(group='pytest11')])"
    known = finished([sys.executable, "-c", code], ROOT, path).stdout
    return [] if "chathistory.conformance.plugin" in known else ["-p", "chathistory.conformance.plugin"]


@pytest.mark.long
def test_it_keeps_every_clause_it_claims(installed: tuple[Path, list[str]]) -> None:
    """What a new author begins with is conformant."""
    root, path = installed
    done = finished([*COMMAND, "check", "acme-db", "--quick"], root, path)
    assert done.returncode == 0, done.stdout + done.stderr


# The gate as a step of a workflow.

SUBJECTS = '''
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

store = InMemoryChatHistoryStore()
good = store.get_session_history

class Forgetful(InMemoryChatMessageHistory):
    """Keeps one of equal messages."""
    def __init__(self, session_id):
        super().__init__(session_id, store=store)
    def add_messages(self, messages):
        for message in messages:
            if message not in self.messages:
                super().add_messages([message])
'''


@pytest.fixture
def action() -> Mapping[str, Any]:
    """The action as data."""
    yaml = pytest.importorskip("yaml")
    return dict(yaml.safe_load((ROOT / "action.yml").read_text()))


def test_the_action_is_composite_and_takes_what_it_says(action: Mapping[str, Any]) -> None:
    """Every input and output is described; the target alone is required."""
    assert action["runs"]["using"] == "composite"
    assert list(action["inputs"]) == ["target", "packages", "extras", "args", "folder"]
    assert [name for name, each in action["inputs"].items() if each.get("required")] == ["target"]
    assert all(each["description"] for each in (*action["inputs"].values(), *action["outputs"].values()))


def test_inputs_reach_the_scripts_as_variables_only(action: Mapping[str, Any]) -> None:
    """What stands in a script is run; so no input may stand there."""
    steps = action["runs"]["steps"]
    assert [step["name"] for step in steps] == ["Install", "Check"]
    for step in steps:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
    used = re.findall(r"inputs\.(\w+)", json.dumps([step["env"] for step in steps]))
    assert sorted(used) == sorted(action["inputs"])


@pytest.fixture
def run_step(action: Mapping[str, Any], tmp_path: Path) -> Callable[..., Finished]:
    """Run a step of the action as GitHub would, in a folder with subjects."""
    (tmp_path / "subjects.py").write_text(SUBJECTS)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (bin_folder / "python").chmod(0o755)
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")

    def step(number: int, **variables: str) -> Finished:
        script = tmp_path / "step.sh"
        script.write_text(action["runs"]["steps"][number]["run"])
        return finished(
            [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", script],
            tmp_path,
            SOURCES,
            PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            GITHUB_STEP_SUMMARY=str(tmp_path / "summary"),
            GITHUB_OUTPUT=str(tmp_path / "output"),
            FOLDER="chathistory-report",
            **variables,
        )

    return step


def test_the_step_succeeds_as_the_gate_does(run_step: Callable[..., Finished], tmp_path: Path) -> None:
    """The reports are written, the summary holds the table, the outputs the verdict."""
    done = run_step(1, TARGET="subjects.py:good", ARGS="--quick --clause ORD-3\n --clause ORD-4")
    assert done.returncode == 0, done.stderr
    assert "conformant: subjects.py:good: 2 passed" in done.stdout
    assert (tmp_path / "summary").read_text().startswith("### chathistory: ")
    assert (tmp_path / "output").read_text() == "report=chathistory-report/report.json\nverdict=conformant\n"
    written = {path.name for path in (tmp_path / "chathistory-report").iterdir()}
    assert written == {"report.json", "conformance.xml", "conformance.md"}


def test_the_step_fails_as_the_gate_does(run_step: Callable[..., Finished], tmp_path: Path) -> None:
    """A violation ends it with 1, after everything was written."""
    done = run_step(1, TARGET="subjects.py:Forgetful", ARGS="--quick --clause ORD-3")
    assert done.returncode == 1
    assert "ORD-3" in (tmp_path / "summary").read_text()
    assert "verdict=violations" in (tmp_path / "output").read_text()
    assert any(path.suffix == ".py" for path in (tmp_path / "chathistory-report").iterdir())


def test_the_step_shows_no_report_of_an_earlier_run(run_step: Callable[..., Finished], tmp_path: Path) -> None:
    """What can't be checked ends with 2 and without a verdict; a target is never taken for an option."""
    run_step(1, TARGET="subjects.py:good", ARGS="--quick --clause ORD-4")
    (tmp_path / "summary").unlink()
    (tmp_path / "output").unlink()
    assert run_step(1, TARGET="subjects.py:missing", ARGS="").returncode == 2
    assert run_step(1, TARGET="--help", ARGS="").returncode == 2
    assert not (tmp_path / "summary").exists()
    assert not (tmp_path / "output").exists()


def test_the_step_of_installing_asks_pip_for_both(run_step: Callable[..., Finished], tmp_path: Path) -> None:
    """The suite with the extras, and the packages, as words of their own."""
    (tmp_path / "bin/python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    done = run_step(0, CHATHISTORY="/checkout", EXTRAS="redis", PACKAGES='. other>=1 "$(touch x)"')
    assert done.stdout.splitlines()[4:] == ["/checkout[suite,redis]", ".", "other>=1", '"$(touch', 'x)"']
    plain = run_step(0, CHATHISTORY="/checkout", EXTRAS="", PACKAGES="")
    assert plain.stdout.splitlines()[4:] == ["/checkout[suite]"]
    assert not (tmp_path / "x").exists()


# The docs.


def test_the_docs_of_the_gate_name_what_there_is(action: Mapping[str, Any]) -> None:
    """The options, inputs and commands they name exist, and the example can be read."""
    text = (ROOT / "docs/gate.md").read_text()
    for name in ("init", "deviations add", "deviations list", "compare", "badge"):
        assert f"chathistory {name} " in text
    used = re.search(r"  with:\n(    target.*?)```", text, re.DOTALL)
    assert used is not None
    assert set(re.findall(r"^    (\w+):", used[1], re.MULTILINE)) <= set(action["inputs"])
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    (found,) = parse_deviations(re.sub(r"witness = .*\n", "", example[1]), "docs/gate.md")
    assert found.clause == "ATM-1"
