"""The pytest side from outside: items, outcomes, options, fixtures, and the JSON report."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from chathistory.conformance import plugin
from chathistory.conformance._cli import run
from chathistory.conformance._files import schema
from chathistory.conformance._pytest import BrokenClauseWarning
from chathistory.conformance._pytest_reports import paths_of
from chathistory.reference import CLAUSES

# A checkout that is on the path only has no entry points.
REGISTERED = any(point.value == "chathistory.conformance.plugin" for point in entry_points(group="pytest11"))
USE_PLUGIN = () if REGISTERED else ("-p", "chathistory.conformance.plugin")

HEAD = '''
import pytest
from chathistory.conformance import Backend, ChatHistoryConformance, Deviation
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

store = InMemoryChatHistoryStore()

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
'''

GOOD = """
class TestGood(ChatHistoryConformance):
    @pytest.fixture
    def get_session_history(self):
        return InMemoryChatHistoryStore().get_session_history
"""

FORGETFUL = """
class TestForgetful(ChatHistoryConformance):
    backend = Forgetful
    claims = ["core"]
"""

# Outcomes that no honest backend has at will.
SCRIPTED = """
from dataclasses import replace
from chathistory.conformance import Counterexample, _runner
from chathistory.conformance._report import Report

outcomes = {"ORD-3": "failed", "VAL-6": "declared", "VAL-8": "warned", "SNP-1": "stale", "CON-4": "undecided"}
found = Counterexample(
    program={},
    lines=("h.messages",),
    step=0,
    expected="1",
    observed="\\ud800 \\x00",
    explanation="differs",
    script="",
)
honest = _runner.check

def check(backend, *, clauses, **options):
    report = honest(backend, clauses=["ORD-4"], **options)
    outcome = outcomes.get(clauses[0], "passed")
    result = replace(report.clauses[0], id=clauses[0], outcome=outcome, reason=f"as {outcome} is")
    if outcome in ("failed", "warned", "declared"):
        result = replace(result, counterexample=found)
    return replace(report, clauses=(result,))

def pytest_configure():
    _runner.check = check

def pytest_unconfigure():
    _runner.check = honest
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of somebody who is strict: warnings are errors, markers are known."""
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config")
    return pytester


def run_tests(project: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    """The result of running the tests of a module with little effort."""
    project.makepyfile(test_mine=HEAD + source)
    start = project.runpytest_subprocess if "-n" in arguments else project.runpytest_inprocess
    return start(*USE_PLUGIN, "-p", "no:cacheprovider", "--chathistory-effort=quick", *arguments)


def outcomes(result: pytest.RunResult) -> dict[str, int]:
    """How many items came to which end."""
    return {name: number for name, number in result.parseoutcomes().items() if name != "deselected"}


# Items.


def test_each_clause_is_an_item(project: pytest.Pytester) -> None:
    """The items are named after the clauses, and nothing else of the class is one."""
    result = run_tests(project, GOOD, "--collect-only", "-q")
    items = [line for line in result.outlines if "::" in line]
    assert items == [f"test_mine.py::TestGood::test_clause[{each.id}]" for each in CLAUSES]


def test_an_expression_chooses_clauses(project: pytest.Pytester) -> None:
    """`-k ORD-3` runs that clause."""
    assert outcomes(run_tests(project, GOOD, "-k", "ORD-3")) == {"passed": 1}


def test_a_conformant_history_passes(project: pytest.Pytester) -> None:
    """Clauses that are claimed pass, the others are skipped, and no warning of LangChain gets through."""
    result = run_tests(project, GOOD, "-rs", "-k", "CLR-1 or RUN-1 or BND")
    assert outcomes(result) == {"passed": 2, "skipped": 1}
    result.stdout.fnmatch_lines(["SKIPPED * BND-1 not claimed: needs the claim bounded"])


def test_a_violation_is_shown_without_a_traceback(project: pytest.Pytester) -> None:
    """The failure is the counterexample as the command shows it, and how to run the item again."""
    result = run_tests(project, FORGETFUL, "-k", "ORD-3")
    assert outcomes(result) == {"failed": 1}
    text = "\n".join(result.outlines)
    block = text.partition("TestForgetful.test_clause[ORD-3]")[2]
    assert block.splitlines()[1].startswith("ORD-3 FAILED  Every add counts")
    assert "Expected                               Observed" in block
    assert "Replay  pytest 'test_mine.py::TestForgetful::test_clause[ORD-3]'" in block
    assert "Traceback" not in text
    assert "_pytest.py" not in block
    result.stdout.fnmatch_lines(["FAILED test_mine.py::TestForgetful::test_clause[[]ORD-3] - *"])


def test_every_outcome_becomes_one_of_pytest(project: pytest.Pytester) -> None:
    """Declared is an expected failure; stale and undecided fail; a broken SHOULD passes with a warning."""
    selection = "ORD-3 or ORD-4 or VAL-6 or VAL-8 or SNP-1 or CON-4"
    project.makeconftest(SCRIPTED)
    result = run_tests(project, GOOD, "-rx", "-k", selection, "--junitxml=r.xml")
    assert outcomes(result) == {"failed": 3, "passed": 2, "xfailed": 1, "warnings": 1}
    result.stdout.fnmatch_lines(
        [
            f"*{BrokenClauseWarning.__name__}: VAL-8 warned  The key order of objects*",
            "XFAIL test_mine.py::TestGood::test_clause[[]VAL-6] - *VAL-6 declared: as declared is",
        ]
    )
    assert r"\ud800 \x00" in result.stdout.str()
    suite = ElementTree.parse(project.path / "r.xml").getroot()  # noqa: S314 -- pytest's own
    properties = [each.get("value") for each in suite.iter("property") if each.get("name") == "chathistory"]
    assert sorted(map(str, properties)) == ["declared", "failed", "passed", "stale", "undecided", "warned"]


def test_the_usual_outcomes_of_pytest_can_be_put_on_top(project: pytest.Pytester) -> None:
    """A mark on the class works as on any class."""
    marked = FORGETFUL.replace("\nclass", "\n@pytest.mark.xfail(reason='known')\nclass")
    assert outcomes(run_tests(project, marked, "-k", "ORD-3")) == {"xfailed": 1}


def test_a_class_may_declare_deviations(project: pytest.Pytester) -> None:
    """A clause that is known to be broken is an expected failure, one that is not fails as stale."""
    deviations = ", ".join(f"Deviation(clause='{each}', reason='known')" for each in ("ORD-3", "ORD-4"))
    source = f"{FORGETFUL}    deviations = [{deviations}]\n"
    result = run_tests(project, source, "-rx", "-k", "ORD-3 or ORD-4")
    assert outcomes(result) == {"xfailed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["ORD-4 STALE *", "XFAIL *ORD-3* known*"])


# What is checked.


@pytest.mark.parametrize(
    "source",
    [
        # a fixture of the module, of any scope, itself made of other fixtures
        """
        @pytest.fixture(scope="module")
        def get_session_history(tmp_path_factory):
            return lambda session_id: Forgetful(session_id)

        class TestMine(ChatHistoryConformance):
            pass
        """,
        # a Backend
        """
        class TestMine(ChatHistoryConformance):
            backend = Backend(name="b", get_session_history=Forgetful)
        """,
        # a function that yields one, given or written in the class
        """
        def opened():
            yield Backend(name="b", get_session_history=Forgetful)

        class TestMine(ChatHistoryConformance):
            backend = opened
        """,
        """
        class TestMine(ChatHistoryConformance):
            def backend(self):
                yield Backend(name="b", get_session_history=Forgetful)
        """,
        """
        class TestMine(ChatHistoryConformance):
            @staticmethod
            def backend():
                return Backend(name="b", get_session_history=Forgetful)
        """,
        # a factory
        """
        def get(session_id):
            return Forgetful(session_id)

        class TestMine(ChatHistoryConformance):
            backend = get
        """,
        # a fixture of the class
        """
        class TestMine(ChatHistoryConformance):
            @pytest.fixture
            def backend(self):
                yield Backend(name="b", get_session_history=Forgetful)
        """,
        # a target
        """
        class TestMine(ChatHistoryConformance):
            backend = "test_mine:Forgetful"
        """,
    ],
)
def test_the_subject_is_said_by_a_fixture_or_an_attribute(project: pytest.Pytester, source: str) -> None:
    """A fixture get_session_history, or an attribute backend of any kind: each is what is checked."""
    result = run_tests(project, "\n".join(line[8:] for line in source.splitlines()), "-k", "ORD-3 or ORD-4")
    assert outcomes(result) == {"failed": 1, "passed": 1}


def test_a_fixture_of_the_conftest_is_found(project: pytest.Pytester) -> None:
    """The fixture may stand where fixtures stand."""
    fixture = "\n@pytest.fixture\ndef get_session_history():\n    return Forgetful\n"
    source = "\nclass TestMine(ChatHistoryConformance):\n    pass\n"
    project.makeconftest(HEAD + fixture)
    assert outcomes(run_tests(project, source, "-k", "ORD-3")) == {"failed": 1}


def test_a_backend_of_the_class_is_opened_once(project: pytest.Pytester) -> None:
    """All items of a class share the backend, which is closed behind the last of them."""
    source = """
class TestMine(ChatHistoryConformance):
    def backend(self):
        print("OPEN" + "ED")
        yield Backend(name="b", get_session_history=store.get_session_history)
        print("CLOS" + "ED")
"""
    result = run_tests(project, source, "-k", "ORD-3 or ORD-4 or ORD-6", "-s", "-v")
    assert outcomes(result) == {"passed": 3}
    text = result.stdout.str()
    assert (text.count("OPENED"), text.count("CLOSED")) == (1, 1)
    assert text.index("OPENED") < text.index("PASSED") < text.rindex("PASSED") < text.index("CLOSED")


def test_claims_and_configuration_are_attributes(project: pytest.Pytester) -> None:
    """A class says what it claims and how hard to look; the command line comes first."""
    source = """
class TestMine(ChatHistoryConformance):
    backend = store.get_session_history
    claims = ["core"]
    examples = 3
    seed = 8
"""
    chosen = ("-k", "ORD-4 or ASY-1", "--chathistory-json=r.json")
    assert outcomes(run_tests(project, source, *chosen)) == {"passed": 1, "skipped": 1}
    data = json.loads((project.path / "r.json").read_text())
    assert data["claims"] == ["core"]
    assert {"effort": "quick", "examples": 3, "seed": 8}.items() <= data["configuration"].items()
    run_tests(project, source, *chosen, "--chathistory-examples=5", "--chathistory-seed=9")
    data = json.loads((project.path / "r.json").read_text())
    assert {"examples": 5, "seed": 9}.items() <= data["configuration"].items()


# Faults of the set-up.


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("pass", "TestMine doesn't say what to check"),
        ("backend = 3", "TestMine.backend is an int, not callable"),
        ("claims = ['thread']\n    backend = Forgetful", "no profile 'thread' (did you mean threads?)"),
        ("def backend(self):\n        raise OSError('no server')", "OSError: no server at test_mine.py:"),
        ("backend = 'nonsense'", "there is no backend named 'nonsense'"),
        ("def backend(session_id):\n        raise OSError('no server')", "OSError: no server"),
        ("@pytest.fixture\n    def get_session_history(self):\n        return 3", "is an int, not callable"),
    ],
)
def test_a_fault_of_the_set_up_is_an_error_of_one_line(project: pytest.Pytester, body: str, told: str) -> None:
    """Items are errors, not failures, and each says in one line what is wrong."""
    source = f"\nclass TestMine(ChatHistoryConformance):\n    {body}\n"
    result = run_tests(project, source, "-k", "ORD-3 or ORD-4")
    assert outcomes(result) == {"errors": 2}
    text = result.stdout.str()
    assert told in text
    assert "Traceback" not in text
    assert "During handling" not in text


def test_a_backend_that_does_not_open_is_tried_once(project: pytest.Pytester) -> None:
    """A server that does not start is not started again for each clause."""
    source = """
class TestMine(ChatHistoryConformance):
    def backend(self):
        print("TRI" + "ED")
        raise OSError("no server")
"""
    result = run_tests(project, source, "-k", "ORD", "-s")
    assert result.stdout.str().count("TRIED") == 1


# The JSON report.


def without_times(data: dict[str, Any]) -> dict[str, Any]:
    """A report but for how long it took, and how the backend was named to the two of them."""
    clauses = [{**entry, "seconds": 0} for entry in data["clauses"]]
    for entry in clauses:
        if entry["counterexample"] is not None:
            entry["counterexample"] = {**entry["counterexample"], "script": "names the target"}
    data = {**data, "clauses": clauses}
    return {name: value for name, value in data.items() if name not in ("seconds", "started", "target", "asked")}


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_json_report_is_that_of_the_command(
    project: pytest.Pytester, workers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process and in several, pytest writes the report that the command writes."""
    source = "\nmine = Backend(name='mine', get_session_history=Forgetful, claims=['core'])\n"
    source += "class TestMine(ChatHistoryConformance):\n    backend = mine\n"
    result = run_tests(project, source, "-k", "ORD-3 or ORD-6 or CLR-2 or DUR", "--chathistory-json=r.json", *workers)
    result.stdout.fnmatch_lines(["chathistory: report of test_mine.py::TestMine: r.json"])
    ours = json.loads((project.path / "r.json").read_text())
    jsonschema.validate(ours, schema())
    monkeypatch.chdir(project.path)
    clauses = [word for clause in ("ORD-3", "ORD-6", "CLR-2") for word in ("--clause", clause)]
    run(["check", "test_mine.py:mine", "--quick", "--json", "c.json", "--quiet", *clauses])
    theirs = json.loads((project.path / "c.json").read_text())
    assert [entry["outcome"] for entry in ours["clauses"] if entry["id"].startswith("DUR")] == ["not-claimed"] * 4
    ours["clauses"] = [entry for entry in ours["clauses"] if not entry["id"].startswith("DUR")]
    assert without_times(ours) == without_times(theirs)
    assert ours["verdict"] == "violations"


def test_the_json_report_can_be_replayed(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its target is the attribute of the class, which the command can open."""
    run_tests(project, FORGETFUL, "-k", "ORD-3", "--chathistory-json=r.json")
    monkeypatch.chdir(project.path)
    assert json.loads((project.path / "r.json").read_text())["target"].endswith("test_mine.py:TestForgetful.backend")
    assert run(["replay", "r.json"]) == 1


def test_a_method_can_not_be_opened_by_a_command(project: pytest.Pytester) -> None:
    """Where the backend needs an instance of the class, the report names no target instead of a wrong one."""
    source = """
class TestMine(ChatHistoryConformance):
    def backend(self):
        yield Backend(name="b", get_session_history=Forgetful)
"""
    run_tests(project, source, "-k", "ORD-3", "--chathistory-json=r.json")
    assert json.loads((project.path / "r.json").read_text())["target"] == ""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_page_is_one_for_all_items_of_a_class(project: pytest.Pytester, workers: tuple[str, ...]) -> None:
    """In one process and in several, with the violation and the command that checks it again."""
    arguments = ("-k", "ORD-3 or ORD-6", "--chathistory-html=r.html", "--chathistory-json=r.json", *workers)
    result = run_tests(project, FORGETFUL, *arguments)
    result.stdout.fnmatch_lines(["chathistory: report of test_mine.py::TestForgetful: r.html"])
    page = (project.path / "r.html").read_text()
    assert "pytest &#39;test_mine.py::TestForgetful::test_clause[ORD-3]&#39;" in page
    assert 'id="c-ORD-6"' in page


def test_a_report_says_what_repeats_the_run(project: pytest.Pytester) -> None:
    """The class, the effort and the seed; and the claims that were asked for."""
    run_tests(project, FORGETFUL, "-k", "ORD-3", "--chathistory-json=r.json", "--chathistory-seed=7")
    data = json.loads((project.path / "r.json").read_text())
    assert data["asked"]["claims"] == ["core"]
    again = shlex.split(data["asked"]["command"])
    assert again[:2] == ["pytest", "test_mine.py::TestForgetful"]
    assert "--chathistory-seed=7" in again


def test_an_interrupted_class_is_incomplete(project: pytest.Pytester) -> None:
    """A report of fewer items than were selected says so."""
    run_tests(project, FORGETFUL, "-k", "ORD", "-x", "--chathistory-json=r.json")
    data = json.loads((project.path / "r.json").read_text())
    assert [entry["outcome"] for entry in data["clauses"]][-1] == "failed"
    assert data["complete"] is False


def test_each_class_gets_a_report(project: pytest.Pytester) -> None:
    """Several classes write files named after them, beside the one asked for or in the folder asked for."""
    chosen = ("-k", "ORD-4")
    run_tests(project, GOOD + FORGETFUL, *chosen, "--chathistory-json=r.json")
    assert sorted(path.name for path in project.path.glob("*.json")) == [
        "r-TestForgetful.json",
        "r-TestGood.json",
    ]
    (project.path / "reports").mkdir()
    run_tests(project, GOOD + FORGETFUL, *chosen, "--chathistory-json=reports")
    assert sorted(path.name for path in (project.path / "reports").iterdir()) == [
        "TestForgetful.json",
        "TestGood.json",
    ]


def test_classes_of_one_name_do_not_share_a_report() -> None:
    """Where the name of the class is not enough, that of its module is put before it."""
    ids = ["tests/test_a.py::TestMine", "tests/test_b.py::TestMine", "tests/test_b.py::TestOuter::TestInner"]
    assert list(paths_of(ids, Path("r.json"), "json").values()) == [
        Path("r-tests.test_a.TestMine.json"),
        Path("r-tests.test_b.TestMine.json"),
        Path("r-TestOuter.TestInner.json"),
    ]


def test_a_report_that_can_not_be_written_is_told_at_once(project: pytest.Pytester) -> None:
    """The session ends with a usage error before anything runs."""
    result = run_tests(project, GOOD, "--chathistory-json=missing/r.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --chathistory-json: can't write 'missing/r.json': there is no folder*"])


def test_hostile_contents_reach_the_report_through_workers(project: pytest.Pytester) -> None:
    """Lone surrogates and NUL, which the wire between processes can't carry, arrive."""
    arguments = ("-k", "ORD-3 or ORD-4", "-n", "2", "--chathistory-json=r.json")
    project.makeconftest(SCRIPTED)
    assert outcomes(run_tests(project, GOOD, *arguments)) == {"failed": 1, "passed": 1}
    failed, passed = json.loads((project.path / "r.json").read_text())["clauses"]
    assert failed["counterexample"]["observed"] == "\ud800 \x00"
    assert passed["outcome"] == "passed"


@pytest.mark.parametrize("option", ["--chathistory-examples=0", "--chathistory-seed=x", "--chathistory-effort=some"])
def test_a_wrong_option_is_a_usage_error(project: pytest.Pytester, option: str) -> None:
    """Options are checked before anything runs."""
    assert run_tests(project, GOOD, option).ret == pytest.ExitCode.USAGE_ERROR


def test_a_process_of_xdist_begins_with_what_takes_long(project: pytest.Pytester) -> None:
    """Class by class, since each opens its backend; other tests stay where they are; alone nothing changes."""
    project.makepyfile(test_mine=f"{HEAD}{GOOD}{FORGETFUL}\ndef test_of_mine():\n    pass\n")
    items, _ = project.inline_genitems(*USE_PLUGIN)
    names = [item.name for item in items]
    alone, worker = list(items), list(items)
    plugin.pytest_collection_modifyitems(SimpleNamespace(), alone)  # type: ignore[arg-type]
    plugin.pytest_collection_modifyitems(SimpleNamespace(workerinput={}), worker)  # type: ignore[arg-type]
    assert [item.name for item in alone] == names
    assert [item.parent for item in worker] == [item.parent for item in items]
    assert worker[0].name == worker[len(CLAUSES)].name == "test_clause[DUR-2]"
    assert sorted(item.nodeid for item in worker) == sorted(item.nodeid for item in items)


# Fixtures, and manners.


def test_the_fixtures_give_any_test_the_reference(project: pytest.Pytester) -> None:
    """A store for this test alone, and the factory that opens its sessions."""
    source = """
def test_one(get_session_history, chat_history_store):
    get_session_history("a").add_user_message("hi")
    assert chat_history_store.sessions() == ["a"]

def test_two(chat_history_store):
    assert chat_history_store.sessions() == []
"""
    assert outcomes(run_tests(project, source)) == {"passed": 2}


def test_the_plugin_costs_nothing_until_it_is_used(project: pytest.Pytester) -> None:
    """Starting pytest imports neither langchain-core nor hypothesis nor anything else of ours."""
    project.makepyfile(
        test_imports="""
        import sys

        def test_imports():
            ours = [name for name in sys.modules if name.startswith("chathistory.")]
            assert set(ours) <= {"chathistory.conformance", "chathistory.conformance.plugin"}
            assert "langchain_core" not in sys.modules
        """
    )
    arguments = ("-p", "no:hypothesispytest", "-p", "no:langsmith_plugin")
    assert outcomes(project.runpytest_subprocess(*USE_PLUGIN, *arguments)) == {"passed": 1}


def test_options_are_in_the_help(project: pytest.Pytester) -> None:
    """`pytest --help` lists our options in a group of their own."""
    result = project.runpytest_subprocess(*USE_PLUGIN, "--help")
    result.stdout.fnmatch_lines(["conformance of chat histories:", "  --chathistory-effort=*"])


def test_the_public_names_are_what_they_say() -> None:
    """Names are imported when they are used; unknown ones are refused as by any module."""
    import chathistory.conformance as public

    assert dir(public) == sorted(public.__all__)
    assert all(getattr(public, name) for name in public.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = public.nonsense  # type: ignore[attr-defined]


def test_a_missing_extra_names_itself() -> None:
    """Who imports the suite without its extra is told what to install."""
    code = "import sys; sys.modules['hypothesis'] = None; from chathistory.conformance import ChatHistoryConformance"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 -- our own command
    assert done.stderr.splitlines()[-1] == (
        'ModuleNotFoundError: ChatHistoryConformance needs hypothesis: pip install "chathistory[suite]"'
    )
