"""The matrix of several backends: from live runs and saved reports, on a terminal, as Markdown, JSON and HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema
import pytest
from tests.test_reports import every_outcome, hostile, report, result

from chathistory.conformance import Configuration, Report, UsageError
from chathistory.conformance._blocks import plain
from chathistory.conformance._cli import run
from chathistory.conformance._files import Destinations, schema, write_json
from chathistory.conformance._matrix import Matrix, MatrixBlock, matrix_markdown, matrix_verdict
from chathistory.conformance._matrix_command import MatrixRequest
from chathistory.conformance._saved import saved_report
from chathistory.reference import CLAUSES, FAMILIES

SUBJECTS = '''
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

good = InMemoryChatHistoryStore().get_session_history
store = InMemoryChatHistoryStore()

class Reversed(InMemoryChatMessageHistory):
    """Stores a batch the wrong way round."""
    def __init__(self, session_id):
        super().__init__(session_id, store=store)
    def add_messages(self, messages):
        super().add_messages(list(messages)[::-1])

def down(session_id):
    raise ConnectionError("no server at redis://me:secret@host")

def interrupted(session_id):
    raise KeyboardInterrupt

def on_server(*, server=""):
    from chathistory.conformance import Backend
    yield Backend(name=f"on {server or 'nothing'}", get_session_history=good)
'''

Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a file of subjects in it."""
    (tmp_path / "subjects.py").write_text(SUBJECTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def chathistory(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: exit code, standard output, standard error."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return command


def matrix(*reports: Report, **fields: Any) -> Matrix:
    """A matrix of these reports."""
    usual: dict[str, Any] = {"command": "chathistory matrix a b", "created": "2026-11-21T04:00:00+00:00"}
    return Matrix(reports=reports, **{**usual, **fields})


def passing(name: str = "good") -> Report:
    """A report of a backend that keeps every clause."""
    return report(*(result(each.id) for each in CLAUSES), backend=name)


def saved(subject: Report, name: str = "report.json") -> str:
    """The file of a report that was saved."""
    write_json(Path(name), subject.to_json())
    return name


def request(**fields: Any) -> MatrixRequest:
    """What the command was asked for."""
    usual: dict[str, Any] = {"sources": ("a", "b"), "clauses": (), "servers": (), "configuration": Configuration()}
    return MatrixRequest(**{**usual, "destinations": Destinations(), **fields})


# Verdicts.


@pytest.mark.parametrize(
    ("subject", "verdict"),
    [
        (matrix(passing(), passing()), "conformant"),
        (matrix(passing(), every_outcome()), "violations"),
        (matrix(passing(), report(result("ORD-1"), complete=False)), "undecided"),
        (matrix(passing(), problems=("b: is down",)), "undecided"),
    ],
)
def test_a_matrix_is_as_good_as_its_worst_backend(subject: Matrix, verdict: str) -> None:
    """It is conformant only if every backend that was asked for is."""
    assert subject.verdict == verdict
    assert matrix_verdict(subject).plain.startswith(f"{verdict}: {len(subject.reports)} backend")


# On a terminal.


def test_a_backend_has_a_row_and_a_family_a_column() -> None:
    """A cell shows the worst outcome of a family, and how many of its clauses have it."""
    lines = plain(MatrixBlock(matrix(passing(), every_outcome(), report(result("ORD-1"))))).splitlines()
    assert lines[0].split() == [family.id for family in FAMILIES]
    assert lines[1].split() == ["1", "good", *("✓" for _ in FAMILIES)]
    cells = dict(zip((family.id for family in FAMILIES), lines[2].split()[2:], strict=True))
    assert (cells["ORD"], cells["VAL"], cells["SNP"], cells["CON"], cells["DUR"]) == ("✗1", "!1", "✗1", "?1", "✓")
    assert lines[3].split() == ["3", "mine", "✓"]


def test_a_clause_that_somebody_does_not_keep_has_a_row() -> None:
    """Its columns are the backends' numbers."""
    lines = plain(MatrixBlock(matrix(passing(), every_outcome()))).splitlines()
    assert any(line.startswith("ORD-3  ✓ ✗ Every add counts: equal messages, ") and len(line) == 80 for line in lines)
    assert "VAL-6  ✓ ~" in "\n".join(lines)
    assert not [line for line in lines if line.startswith("ORD-1")]


def test_versions_date_and_command_stand_beside_it() -> None:
    """With the effort, the seed and what is not the whole picture."""
    text = " ".join(plain(MatrixBlock(matrix(passing(), report(complete=False), problems=("c: is down",)))).split())
    for part in (
        f"good: conformant: {len(CLAUSES)} passed; 2026-11-21T03:00:00+00:00; full, 40 examples, seed 0; ",
        "not the whole picture: it was interrupted",
        "$ chathistory matrix a b",
        "c: is down",
    ):
        assert part in text


@pytest.mark.parametrize("width", [20, 40, 79, 80, 120])
@pytest.mark.parametrize("number", [1, 3, 12, 30])
def test_no_matrix_is_wider_than_the_terminal(width: int, number: int) -> None:
    """Nothing crashes, and at 80 columns every family and every clause is there whole."""
    subject = matrix(*(replace(every_outcome(), backend=f"a long name of backend {each}") for each in range(number)))
    lines = plain(MatrixBlock(subject), width=width).splitlines()
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert lines[0].split() == [family.id for family in FAMILIES]
        assert all(len(line.split()) >= 2 + len(FAMILIES) for line in lines[1 : 1 + number])
        row = next(line for line in lines if line.startswith("ORD-3"))
        assert row.split()[1 : 1 + number] == ["✗"] * number


def test_hostile_contents_are_shown_and_never_obeyed() -> None:
    """Control characters are escaped, in ASCII too."""
    for ascii_only in (False, True):
        text = plain(MatrixBlock(matrix(hostile(), command="\x1b[2J", problems=("\x1b[2J",))), ascii_only=ascii_only)
        assert "\x1b" not in text
        assert "\u202e" not in text


# As Markdown and JSON.


def test_markdown_is_two_tables_and_a_list() -> None:
    """Backends by families, the clauses that somebody does not keep, and the facts."""
    lines = matrix_markdown(matrix(passing(), every_outcome())).splitlines()
    assert lines[2].startswith("| Backend | Verdict | Clauses | ORD | ISO |")
    assert lines[4].startswith(f"| good | conformant | {len(CLAUSES)} passed | :white_check_mark: |")
    assert "| :x: 1 | :white_check_mark: |" in lines[5]
    assert "| Clause | good | mine | What it says |" in lines
    assert any(line.startswith("| ORD-3 | :white_check_mark: | :x: | Every add counts") for line in lines)
    assert any(line.startswith("- good: 2026-11-21T03:00:00+00:00; full") for line in lines)
    assert lines[-1] == "2026-11-21T04:00:00+00:00: chathistory matrix a b"


def test_markdown_of_hostile_contents_breaks_no_table() -> None:
    """Names with bars and markup are text."""
    text = matrix_markdown(matrix(hostile(), passing()))
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4 + len(FAMILIES), 5}


def test_json_holds_the_rows_and_the_reports() -> None:
    """A row has an outcome for each report, in their order, and each report keeps its schema."""
    data = json.loads(json.dumps(matrix(passing(), every_outcome(), report(result("ORD-1"))).to_json()))
    assert {key: data[key] for key in ("schema", "kind", "verdict")} == {
        "schema": 1,
        "kind": "matrix",
        "verdict": "violations",
    }
    rows = {row["id"]: row["outcomes"] for row in data["rows"]}
    assert list(rows) == [each.id for each in CLAUSES]
    assert rows["ORD-3"] == ["passed", "failed", None]
    for each in data["reports"]:
        jsonschema.Draft202012Validator(schema()).validate(each)


# Saved reports.


@pytest.mark.parametrize("subject", [every_outcome(), hostile(), report(complete=False)])
def test_a_saved_report_comes_back(subject: Report) -> None:
    """Reading is the inverse of writing, whatever the contents, but for what JSON can't tell apart."""
    again = saved_report(Path(saved(subject)))
    assert again.to_json() == json.loads(json.dumps(subject.to_json()))
    assert again.verdict == subject.verdict


def test_a_report_of_a_newer_version_can_be_read() -> None:
    """Keys may be added; and those that were added later may be missing."""
    data = every_outcome().to_json()
    failed = next(entry for entry in data["clauses"] if entry["counterexample"])
    del failed["counterexample"]["timeline_svg"]
    for place in (data, data["configuration"], failed, failed["counterexample"]):
        place["further"] = 1
    write_json(Path("report.json"), data)
    assert saved_report(Path("report.json")).clauses == every_outcome().clauses


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("backend",), 5),
        (("complete",), "yes"),
        (("claims",), None),
        (("versions",), []),
        (("notes",), "text"),
        (("configuration",), None),
        (("configuration", "examples"), "many"),
        (("clauses", 0, "outcome"), "splendid"),
        (("clauses", 0, "id"), "XYZ-1"),
        (("clauses", 0, "seconds"), "long"),
        (("clauses", 0, "counterexample"), 7),
        (("clauses", 0, "counterexample"), {"lines": []}),
        (("clauses", 0, "notes"), [1]),
    ],
)
def test_a_damaged_report_is_refused_in_one_line(chathistory: Run, place: tuple[Any, ...], value: object) -> None:
    """Nothing of it is believed, and the exit code says that no backend is at fault."""
    data: Any = every_outcome().to_json()
    spot = data
    for step in place[:-1]:
        spot = spot[step]
    spot[place[-1]] = value
    write_json(Path("report.json"), data)
    code, out, err = chathistory("matrix", "report.json", "subjects.py:good")
    assert (code, out) == (2, "")
    assert err.startswith("chathistory: error: 'report.json' is damaged, or of another version: ")
    assert err.count("\n") == 1


# The command.


def test_live_runs_and_saved_reports_stand_beside_each_other(chathistory: Run) -> None:
    """In the order in which they were named, in all four forms."""
    saved(passing())
    code, out, _ = chathistory(
        *("matrix", "subjects.py:Reversed", "report.json", "subjects.py:good"),
        *("--clause", "ORD-1", "--clause", "ORD-2", "--quick", "--seed", "3"),
        *("--json", "m.json", "--markdown", "m.md", "--html", "m.html"),
    )
    assert code == 1
    assert out.splitlines()[-1] == "violations: 3 backends: 2 conformant, 1 violations"
    data = json.loads(Path("m.json").read_text())
    assert [each["backend"] for each in data["reports"]] == ["subjects.py:Reversed", "good", "subjects.py:good"]
    assert data["rows"][1] == {"id": "ORD-2", "level": "MUST", "outcomes": ["failed", "passed", "passed"]}
    assert data["reports"][2]["seed"] == 3
    page = Path("m.html").read_text("utf-8")
    assert 'href="#v-1-ORD-2"' in page
    assert "chathistory check subjects.py:Reversed --clause ORD-2 --quick --seed 3" in page
    assert "subjects.py:Reversed" in Path("m.md").read_text("utf-8").replace("\\", "")


def test_when_all_are_conformant_the_exit_code_is_0(chathistory: Run) -> None:
    """And quiet is one line."""
    code, out, err = chathistory("matrix", saved(passing()), saved(passing("b"), "b.json"), "--quiet")
    assert (code, out, err) == (0, "conformant: 2 backends: 2 conformant\n", "")


def test_one_backend_that_is_down_does_not_cost_the_others_results(chathistory: Run) -> None:
    """They are shown and written, the fault is named without its password, and the exit code tells of it."""
    code, out, _ = chathistory("matrix", "subjects.py:down", saved(passing()), "nothing", "--json", "m.json")
    assert code == 2
    assert out.splitlines()[-1] == "undecided: 1 backend: 1 conformant, 2 not checked"
    problems = json.loads(Path("m.json").read_text())["problems"]
    assert [problem.partition(":")[0] for problem in problems] == ["subjects.py", "nothing"]
    assert "secret" not in out + "".join(problems)


def test_an_interruption_keeps_what_there_is(chathistory: Run) -> None:
    """What was read or checked before is still shown, and the exit code is that of an interruption."""
    code, out, _ = chathistory("matrix", saved(passing()), "subjects.py:interrupted", "subjects.py:good")
    assert code == 130
    assert "subjects.py:good: interrupted before it was checked" in out
    assert chathistory("matrix", "subjects.py:interrupted")[0] == 130


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Missing argument 'TARGET|REPORT.json...'"),
        (("missing.json",), "can't read 'missing.json'"),
        (("subjects.py:nothing",), "subjects.py:nothing"),
        (("report.json", "--json", "m", "--html", "m"), "two reports can't go to the same file"),
        (("report.json", "--clause", "XYZ"), "There is no clause or family 'XYZ'"),
        (("report.json", "--quick", "--thorough"), "exclude each other"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(chathistory: Run, arguments: tuple[str, ...], told: str) -> None:
    """Nothing is written."""
    saved(passing())
    code, _, err = chathistory("matrix", *arguments)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1
    assert not Path("m").exists()


def test_each_target_can_have_a_server_of_its_own(chathistory: Run) -> None:
    """A way alone is for all of them, with a target's name for that one."""
    target = "subjects.py:on_server"
    chathistory("matrix", target, "--clause", "ORD-1", "--quick", "--server", f"{target}=docker", "--json", "m.json")
    assert json.loads(Path("m.json").read_text())["reports"][0]["backend"] == "on docker"
    asked = request(servers=("a=docker", "postgresql://me@host/x?sslmode=require"))
    assert asked.server_of("a") == "docker"
    assert asked.server_of("b") == "postgresql://me@host/x?sslmode=require"
    assert asked.server_of("of a saved report") == request().server_of("a") == ""


def test_the_command_that_is_shown_holds_no_address_and_no_more_than_counts() -> None:
    """A URL may hold a password; and how hard to look says nothing where nothing was checked."""
    asked = request(servers=("a=docker", "b=redis://:secret@host"), configuration=Configuration(seed=3))
    assert asked.command == "chathistory matrix a b --server a=docker --seed 3"
    assert request(sources=("a b.json",)).command == "chathistory matrix 'a b.json'"


def test_a_request_for_nothing_that_exists_raises() -> None:
    """The error is one that the command shows in a line."""
    with pytest.raises(UsageError):
        saved_report(Path("missing.json"))


def test_claims_and_deviations_are_those_of_check(chathistory: Run) -> None:
    """A file for all targets or for one; a declared violation does not fail the matrix."""
    chathistory("check", "subjects.py:Reversed", "--quick", "--clause", "ORD", "--json", "r.json", "--quiet")
    failed = [
        entry["id"] for entry in json.loads(Path("r.json").read_text())["clauses"] if entry["outcome"] == "failed"
    ]
    Path("known.toml").write_text(
        "".join(f'[[deviation]]\nclause = "{name}"\nreason = "it is the wrong way round"\n' for name in failed)
    )
    targets = ("subjects.py:good", "subjects.py:Reversed")
    known = ("--deviations", "subjects.py:Reversed=known.toml")
    common = ("--clause", "ORD", "--quick", "--claim", "core", "--json", "m.json")
    assert chathistory("matrix", *targets, *common, *known)[0] == 0
    reports = json.loads(Path("m.json").read_text())["reports"]
    assert [report["claims"] for report in reports] == [["core"], ["core"]]
    assert reports[1]["asked"]["deviations"] == "known.toml"
    assert chathistory("matrix", *targets, *common)[0] == 1


def test_a_wrong_file_of_deviations_is_told_before_anything_runs(chathistory: Run) -> None:
    """One line and exit code 2."""
    code, _, err = chathistory("matrix", "subjects.py:good", "--deviations", "missing.toml")
    assert code == 2
    assert "missing.toml" in err
    assert err.count("\n") == 1
