"""Deviations in a file: read strictly, replayed by their witness, written from a report."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from chathistory.conformance import Backend, Configuration, Deviation, UsageError, check
from chathistory.conformance._cli import run
from chathistory.conformance._deviations import (
    add_deviation,
    entry_text,
    in_force,
    joined,
    load_deviations,
    parse_deviations,
)
from chathistory.conformance._portable import program_to_json
from chathistory.conformance._report import Effort
from chathistory.conformance.checks import CHECKS, checks_of
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory, UnknownClauseError

QUICK = Configuration(effort="quick", examples=4)

SUBJECTS = '''
from chathistory.conformance import Backend, Deviation
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

store = InMemoryChatHistoryStore()
good = store.get_session_history

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

def declaring():
    return Backend(
        name="declaring",
        get_session_history=Forgetful,
        deviations=(Deviation(clause="ORD-3", reason="declared in code"),),
    )
'''

SMALL = """
[[deviation]]
clause = "ORD-3"
reason = "it forgets"
"""

Run: TypeAlias = Callable[..., tuple[int, str, str]]

REGISTERED = any(point.value == "chathistory.conformance.plugin" for point in entry_points(group="pytest11"))
USE_PLUGIN = () if REGISTERED else ("-p", "chathistory.conformance.plugin")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a file of subjects in it."""
    (tmp_path / "subjects.py").write_text(SUBJECTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def chathistory(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: exit code, standard output, standard error."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture
def recorded(chathistory: Run) -> Path:
    """A JSON report with a counterexample of ORD-3."""
    chathistory("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3", "--json", "report.json")
    return Path("report.json")


@pytest.fixture
def declared(chathistory: Run, recorded: Path) -> Path:
    """A file that declares ORD-3, with the counterexample as its witness."""
    assert chathistory("deviations", "add", "ORD-3", *ADD)[0] == 0
    return Path("deviations.toml")


ADD = ("--reason", "it forgets", "--report", "report.json", "--file", "deviations.toml")


def forgetful(store: InMemoryChatHistoryStore) -> type[InMemoryChatMessageHistory]:
    """A history that keeps one of equal messages."""

    class Forgetful(InMemoryChatMessageHistory):
        def __init__(self, session_id: str) -> None:
            super().__init__(session_id, store=store)

        def add_messages(self, messages) -> None:  # type: ignore[no-untyped-def]
            known = [message.content for message in self.messages]
            for message in messages:
                if message.content not in known:
                    super().add_messages([message])
                    known.append(message.content)

    return Forgetful


def message_of(text: str) -> str:
    """The one line in which a file of this text is refused."""
    with pytest.raises(UsageError) as error:
        parse_deviations(text, "d.toml")
    assert "\n" not in str(error.value)
    return str(error.value)


# Reading.


def test_an_entry_says_all_that_a_deviation_can_say() -> None:
    """Every key is read, dates of TOML included, and the place is kept for errors."""
    (found,) = parse_deviations(
        '[[deviation]]\nclause = "ord-3"\nreason = "r"\nlink = "https://e.org"\nsince = 2026-11-20\n'
        'versions = {redis = ">=5,<8"}\n',
        "d.toml",
    )
    wanted = Deviation(
        clause="ORD-3", reason="r", link="https://e.org", since="2026-11-20", versions={"redis": ">=5,<8"}
    )
    assert found == wanted
    assert found.source == "d.toml:2"


def test_an_empty_file_declares_nothing() -> None:
    """Comments alone are no entry."""
    assert parse_deviations("# nothing yet\n", "d.toml") == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[deviation]]\nclause = "ORD-3"\nreson = "x"\n', "d.toml:3: unknown key 'reson' (did you mean reason?)"),
        ('[[deviation]]\n\nclause = "ORD-33"\nreason = "x"\n', "d.toml:3: there is no clause 'ORD-33' (did you mean"),
        ('[[deviation]]\nreason = "x"\nclause = "ORD"\n', "d.toml:3: there is no clause 'ORD'; it is a family"),
        ('\n[[deviation]]\nclause = "ORD-3"\n', "d.toml:2: the entry has no reason"),
        ('[[deviation]]\nreason = "x"\n', "d.toml:1: the entry has no clause"),
        ('[[deviation]]\nclause = "ORD-3"\nreason = "  "\n', "d.toml:3: the reason is empty"),
        ('[[deviation]]\nclause = "ORD-3"\nreason = 3\n', "d.toml:3: reason must be a text in quotes, not int"),
        (SMALL + SMALL, "d.toml:7: ORD-3 is declared twice, first on line 3"),
        ("# x\n[[deviations]]\n", "d.toml:2: unknown key 'deviations' (did you mean deviation?)"),
        ('[deviation]\nclause = "ORD-3"\n', "d.toml:1: an entry begins with [[deviation]], in double brackets"),
        ("deviation = 3\n", "d.toml:1: an entry begins with [[deviation]]"),
        (SMALL + "link = \n", "d.toml:5: this is no TOML: Invalid value"),
        (SMALL + 'versions = ">=5"\n', "d.toml:5: versions must be a table of texts"),
        (SMALL + 'versions = {redis = "newest"}\n', "d.toml:5: 'newest' is no range of versions of redis"),
        (SMALL + '[deviation.versions]\nredis = "newest"\n', "d.toml:5: 'newest' is no range of versions of redis"),
        (SMALL + 'versions.redis = "newest"\n', "d.toml:5: 'newest' is no range of versions of redis"),
        (SMALL + "witness = 'x'\n", "d.toml:5: the witness is not JSON"),
        (SMALL + "witness = '[]'\n", "d.toml:5: the witness can't be replayed: it must be the program"),
        (
            SMALL + 'witness = \'{"check": "order", "steps": []}\'\n',
            "d.toml:5: the witness can't be replayed: ORD-3 has",
        ),
    ],
)
def test_a_mistake_is_one_line_with_the_file_and_the_line(text: str, told: str) -> None:
    """Whoever mistypes learns where, and what to write instead."""
    assert message_of(text).startswith(told)


def test_a_witness_whose_program_is_none_is_refused() -> None:
    """What could not be replayed would otherwise fail in the middle of a run."""
    witness = json.dumps({"check": checks_of("ORD-3")[0].name, "steps": [{"kind": "Opne"}]})
    assert message_of(f"{SMALL}witness = '{witness}'\n").startswith("d.toml:5: the witness can't be replayed: steps[0]")


@pytest.mark.parametrize("quotes", ['"""', "'''"])
def test_a_text_of_several_lines_is_no_place_of_a_key(quotes: str) -> None:
    """What looks like an entry inside a text is not one, so the lines after it are still right."""
    reason = f'{quotes}a\n[[deviation]]\nlink = 3 # "\n{quotes} # it\'s "odd'
    text = f'[[deviation]]\nclause = "ORD-3"\nreason = {reason}\nlonk = 1\n'
    assert message_of(text).startswith("d.toml:7: unknown key 'lonk' (did you mean link?)")


def test_quotes_in_comments_and_texts_do_not_mislead() -> None:
    """Lines stay right after every kind of quote."""
    text = "# it's ''' odd\n[[deviation]]\nclause = \"ORD-3\" # \"\"\"\nreason = \"say \\\"x\\\" '''\"\n'lonk' = 1\n"
    assert message_of(text).startswith("d.toml:5: unknown key 'lonk'")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder and bytes are each a line."""
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is no text in UTF-8"):
        load_deviations(tmp_path / "bytes")
    with pytest.raises(UsageError, match="can't read"):
        load_deviations(tmp_path / "missing")


def test_a_deviation_in_code_names_a_clause_there_is() -> None:
    """A typing mistake would otherwise declare nothing."""
    with pytest.raises(UnknownClauseError, match="Did you mean ORD-3"):
        Deviation(clause="ORDD-3", reason="x")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"versions": {"store": "newest"}}, r"in code \(r\) can't be used: Invalid specifier"),
        ({"witness": {"check": "of nobody", "steps": []}}, "can't be used: ORD-3 has no check 'of nobody'"),
        ({"witness": {"check": checks_of("ORD-3")[0].name, "steps": 3}}, "can't be used: a recorded program is"),
    ],
)
def test_a_deviation_in_code_is_read_as_strictly(fields: dict[str, Any], told: str) -> None:
    """Before anything is checked."""
    deviation = Deviation(clause="ORD-3", reason="r", **fields)
    backend = Backend(name="b", get_session_history=InMemoryChatMessageHistory, deviations=(deviation,))
    with pytest.raises(UsageError, match=told):
        check(backend, clauses=["ORD-4"], configuration=QUICK)


def test_a_clause_that_is_declared_twice_names_both_places() -> None:
    """Of two reasons nobody knows which one holds."""
    (in_file,) = parse_deviations(SMALL, "d.toml")
    in_code = Deviation(clause="ORD-3", reason="older")
    with pytest.raises(UsageError, match=r"ORD-3 is declared twice, in code \(older\) and in d.toml:3"):
        joined([in_code], [in_file])


# Versions.


def held(versions: dict[str, str], **given: str) -> bool:
    """Whether a deviation for some versions holds for those given."""
    backend = Backend(name="b", get_session_history=InMemoryChatMessageHistory)
    deviation = Deviation(clause="ORD-3", reason="r", versions=versions, source="d.toml:3")
    return bool(in_force(replace(backend, deviations=(deviation,)), given).deviations)


@pytest.mark.parametrize(
    ("specifier", "version", "holds"),
    [
        (">=5,<8", "7.4.1", True),
        (">=5,<8", "8.0", False),
        (">=5,<8", "8.0rc1", False),
        (">=5", "6.0rc1", True),
        (">=18", "18.4 (Debian 18.4-1)", True),
        ("==1.*", "1.10", True),
        ("", "1", True),
    ],
)
def test_a_deviation_holds_for_its_versions_only(specifier: str, version: str, holds: bool) -> None:
    """Versions of servers, which add words, are read as far as they are numbers."""
    assert held({"store": specifier}, store=version) is holds


def test_all_versions_must_match_and_installed_ones_are_known() -> None:
    """What the backend does not name is looked up among what is installed."""
    assert held({"store": ">=1", "langchain-core": ">=1"}, store="1")
    assert not held({"store": ">=1", "langchain-core": "<1"}, store="1")


def test_a_library_that_is_nowhere_is_refused() -> None:
    """A misspelt library would otherwise declare nothing for ever."""
    with pytest.raises(UsageError, match=r"^d.toml:3: ORD-3 .* 'stroe', which neither .*did you mean store"):
        held({"stroe": ">=1"}, store="1")


def test_for_other_versions_the_clause_is_held_to(folder: Path) -> None:
    """The gate fails, and the report says why the deviation does not count."""
    deviation = Deviation(clause="ORD-3", reason="r", versions={"store": "<2"})
    backend = Backend(
        name="b",
        get_session_history=forgetful(InMemoryChatHistoryStore()),
        deviations=(deviation,),
        versions={"store": "2.1"},
    )
    report = check(backend, clauses=["ORD-3"], configuration=QUICK)
    assert report.clauses[0].outcome == "failed"
    assert "The deviation from ORD-3 is declared for store <2, which is not what runs here." in report.notes
    older = check(replace(backend, versions={"store": "1.9"}), clauses=["ORD-3"], configuration=QUICK)
    assert (older.verdict, older.clauses[0].outcome) == ("conformant", "declared")


# Witnesses.


def test_a_witness_that_fails_is_declared_without_a_search(declared: Path) -> None:
    """One program is run, not hundreds, and the counterexample is in the report."""
    history = forgetful(InMemoryChatHistoryStore())
    backend = Backend(name="b", get_session_history=history, deviations=load_deviations(declared))
    result = check(backend, clauses=["ORD-3"], configuration=Configuration()).clauses[0]
    assert (result.outcome, result.programs, result.operations) == ("declared", 1, 3)
    assert result.counterexample is not None
    assert result.counterexample.search == "a pinned witness"
    assert result.reason.startswith("it forgets; since 20")


def test_a_witness_that_passes_is_stale_and_fails_the_gate(chathistory: Run, declared: Path) -> None:
    """Whoever has mended it is told which entry to remove."""
    code, out, _ = chathistory("check", "subjects.py:good", "--clause", "ORD-3", "--deviations", str(declared))
    assert code == 1
    assert "its recorded counterexample passes now; remove the entry of deviations.toml:4" in " ".join(out.split())


def test_a_witness_that_fails_at_times_is_declared(declared: Path) -> None:
    """What depends on chance does not make the gate depend on it."""
    store = InMemoryChatHistoryStore()
    (deviation,) = load_deviations(declared)

    class Moody(forgetful(store)):  # type: ignore[misc]
        pairs = 0

        def add_messages(self, messages) -> None:  # type: ignore[no-untyped-def]
            Moody.pairs += len(messages) == 2
            if Moody.pairs == 1:  # well this once
                InMemoryChatMessageHistory.add_messages(self, messages)
            else:
                super().add_messages(messages)

    backend = Backend(name="b", get_session_history=Moody, deviations=(deviation,))
    result = check(backend, clauses=["ORD-3"], configuration=QUICK).clauses[0]
    assert result.outcome == "declared"
    assert result.programs == 2


@pytest.mark.parametrize(("effort", "outcome"), [("quick", "declared"), ("full", "stale")])
def test_a_witness_that_depends_on_chance_is_given_time(effort: Effort, outcome: str) -> None:
    """A quick run that does not see it says so; only a longer one, after a search, calls it stale."""
    found = checks_of("CON-1")[0]
    witness = {"check": found.name, **program_to_json(next(iter(found.cases("quick"))))}
    deviation = Deviation(clause="CON-1", reason="it loses messages", witness=witness)
    backend = Backend(
        name="b", get_session_history=InMemoryChatHistoryStore().get_session_history, deviations=(deviation,)
    )
    configuration = Configuration(effort=effort, examples=1, clause_seconds=0.2)
    result = check(backend, clauses=["CON-1"], configuration=configuration).clauses[0]
    assert result.outcome == outcome
    assert any("depends on chance, passed" in note for note in result.notes) is (effort == "quick")


def test_a_witness_of_what_is_refused_now_is_searched_for() -> None:
    """Where no answer can be judged, a witness tells nothing."""
    name = checks_of("VAL-6")[0].name
    message = {"type": "human", "data": {"content": "x", "additional_kwargs": {"a": {"$float": "nan"}}}}
    steps = [
        {"kind": "Open", "handle": 1, "session": "{run}-a"},
        {"kind": "Add", "handle": 1, "messages": [message]},
    ]
    deviation = Deviation(clause="VAL-6", reason="was stored", witness={"check": name, "steps": steps})
    backend = Backend(
        name="b", get_session_history=InMemoryChatHistoryStore().get_session_history, deviations=(deviation,)
    )
    result = check(backend, clauses=["VAL-6"], configuration=QUICK).clauses[0]
    assert result.outcome == "stale"
    assert result.programs > 3


def test_a_witness_does_not_speak_for_what_is_not_claimed() -> None:
    """A clause that is not claimed stays so."""
    check_name = next(each.name for each in CHECKS if each.clause == "BND-1")
    deviation = Deviation(clause="BND-1", reason="r", witness={"check": check_name, "steps": []})
    backend = Backend(
        name="b", get_session_history=InMemoryChatHistoryStore().get_session_history, deviations=(deviation,)
    )
    assert check(backend, clauses=["BND-1"], configuration=QUICK).clauses[0].outcome == "not-claimed"


def test_a_clause_of_level_should_can_be_declared(chathistory: Run, folder: Path) -> None:
    """Declared, it is neither a warning nor a failure; and it must still occur."""
    Path("d.toml").write_text('[[deviation]]\nclause = "VAL-8"\nreason = "keys are sorted"\n')
    code, out, _ = chathistory("check", "subjects.py:good", "--quick", "--clause", "VAL-8", "--deviations", "d.toml")
    assert code == 1
    assert "VAL-8 STALE" in out


# The command.


def test_the_gate_passes_what_is_declared(chathistory: Run, declared: Path) -> None:
    """Exit code 0, the reason is shown, and the way back holds the option."""
    arguments = ("check", "subjects.py:Forgetful", "--quick", "--clause", "ORD-3", "--deviations", str(declared))
    code, out, err = chathistory(*arguments, "--json", "after.json")
    assert (code, err) == (0, "")
    assert "ORD-3: declared: it forgets; since" in out
    data = json.loads(Path("after.json").read_text())
    assert data["clauses"][0]["counterexample"]["program"]["check"]


def test_mistakes_end_the_command_before_anything_is_opened(chathistory: Run) -> None:
    """Exit code 2 and one line."""
    Path("d.toml").write_text(SMALL + "lonk = 1\n")
    code, out, err = chathistory("check", "subjects.py:missing", "--deviations", "d.toml")
    assert (code, out) == (2, "")
    assert err.startswith("chathistory: error: d.toml:5: unknown key 'lonk' (did you mean link?)")


def test_a_clause_that_code_and_file_declare_is_refused(chathistory: Run) -> None:
    """Both are named."""
    Path("d.toml").write_text(SMALL)
    code, _, err = chathistory("check", "subjects.py:declaring", "--deviations", "d.toml")
    assert code == 2
    assert "ORD-3 is declared twice, in code (declared in code) and in d.toml:3; leave one of them" in err


# Writing.


def test_an_entry_is_added_and_the_rest_stays(chathistory: Run, recorded: Path) -> None:
    """Comments, order and line ends of the author are kept."""
    before = b'# mine\r\n[[deviation]]\r\n# why\r\nclause = "ORD-4"\r\nreason = "r"'
    Path("deviations.toml").write_bytes(before)
    about = ("--link", "https://e.org/1", "--affects", "langchain-core>=1", "--since", "0.3")
    code, out, _ = chathistory("deviations", "add", "ord-3", *ADD, *about)
    assert (code, out) == (0, "deviations.toml: ORD-3 declared, with its counterexample as the witness\n")
    after = Path("deviations.toml").read_bytes()
    assert after.startswith(before + b"\r\n\r\n[[deviation]]\r\n")
    assert not re.search(rb"[^\r]\n", after)
    added = load_deviations(Path("deviations.toml"))[1]
    assert (added.reason, added.link, added.since) == ("it forgets", "https://e.org/1", "0.3")
    assert added.versions == {"langchain-core": ">=1"}
    assert added.witness == json.loads(recorded.read_text())["clauses"][0]["counterexample"]["program"]


def test_any_text_and_any_program_come_back_as_they_are() -> None:
    """Quotes, control characters and line ends are no danger to the file."""
    odd = "say \"it's\" \\ \x00\x1b\x7f\n\t''' \u2028 [[deviation]] 🙂"
    message = {"type": "human", "data": {"content": "it's ''' \x7f \ud800 🙂"}}
    name = checks_of("ORD-3")[0].name
    steps = [
        {"kind": "Open", "handle": 1, "session": "{run}-a"},
        {"kind": "Add", "handle": 1, "messages": [message]},
    ]
    witness = {"check": name, "steps": steps}
    text = entry_text({"clause": "ORD-3", "reason": odd}, versions={"a b": ">=1"}, witness=witness)
    (found,) = parse_deviations(text.encode("utf-8").decode(), "d.toml")
    assert (found.reason, found.witness, found.versions) == (odd, witness, {"a b": ">=1"})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ORD-33", *ADD), "There is no clause 'ORD-33'. Did you mean ORD-3"),
        (("ORD-4", *ADD), "'report.json' says nothing of ORD-4"),
        (("ORD-3", *ADD[:1], " ", *ADD[2:]), "the reason is empty"),
        (("ORD-3", *ADD, "--affects", "redis"), "'redis' names no range of versions"),
        (("ORD-3", *ADD, "--affects", "re dis>"), "'re dis>' is no range of versions"),
        (("ORD-3", *ADD[:-1], "no/such/folder.toml"), "there is no folder"),
        (("ORD-3", *ADD[:3], "missing.json", *ADD[4:]), "can't read 'missing.json'"),
        (("ORD-3",), "Missing option"),
    ],
)
def test_what_can_not_be_added_is_one_line(
    chathistory: Run, recorded: Path, arguments: tuple[str, ...], told: str
) -> None:
    """Exit code 2, and no file is made."""
    code, out, err = chathistory("deviations", "add", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert not Path("deviations.toml").exists()


def test_a_clause_that_is_declared_is_not_added_again(chathistory: Run, declared: Path) -> None:
    """The place of the entry is named, and the file stays as it is."""
    before = declared.read_bytes()
    code, _, err = chathistory("deviations", "add", "ORD-3", *ADD)
    assert code == 2
    assert "deviations.toml:4: ORD-3 is declared already" in err
    assert declared.read_bytes() == before


def test_a_file_that_holds_its_entries_in_a_list_is_left_alone(chathistory: Run, recorded: Path) -> None:
    """What TOML can't append to is not damaged."""
    text = 'deviation = [{clause = "ORD-4", reason = "r"}]\n'
    Path("deviations.toml").write_text(text)
    code, _, err = chathistory("deviations", "add", "ORD-3", *ADD)
    assert code == 2
    assert "an entry can't be added to 'deviations.toml' as it is" in err
    assert Path("deviations.toml").read_text() == text


def test_a_counterexample_that_another_check_found_is_no_witness(recorded: Path) -> None:
    """The entry is written, and says that each run has to search."""
    data = json.loads(recorded.read_text())
    data["clauses"][0]["counterexample"]["program"]["check"] = "of another version"
    recorded.write_text(json.dumps(data))
    said = add_deviation(Path("d.toml"), "ORD-3", "r", recorded, link="", since="", affects=())
    assert "without a witness, so each run searches for it" in said
    assert load_deviations(Path("d.toml"))[0].witness is None


def test_the_list_shows_every_entry(chathistory: Run, declared: Path) -> None:
    """Clause, reason, and whether a run costs a search."""
    with declared.open("a") as file:
        file.write('\n[[deviation]]\nclause = "ATM-1"\nreason = "\\u001b[2J torn"\nversions = {redis = "<8"}\n')
    code, out, _ = chathistory("deviations", "list", str(declared))
    assert code == 0
    assert out.startswith("ORD-3  it forgets\n       since 20")
    assert "       how its witness is replayed\n       deviations.toml:4\n" in out
    assert "ATM-1  \\x1b[2J torn\n       with redis <8\n       how searched for in every run\n" in out


def test_the_list_of_nothing_says_so(chathistory: Run) -> None:
    """An empty file is no mistake."""
    Path("d.toml").write_text("# nothing\n")
    assert chathistory("deviations", "list", "d.toml") == (0, "it declares no deviation\n", "")


# Under pytest.

TEST_CLASS = """
from chathistory.conformance import ChatHistoryConformance, Deviation
from subjects import Forgetful

class TestForgetful(ChatHistoryConformance):
    backend = Forgetful
    claims = ["core"]
"""


@pytest.fixture
def project(pytester: pytest.Pytester, declared: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a file of deviations beside its folder of tests."""
    pytester.makepyfile(subjects=SUBJECTS)
    pytester.syspathinsert()
    tests = pytester.mkdir("tests")
    (pytester.path / "deviations.toml").write_bytes((Path.cwd() / declared).read_bytes())
    (tests / "test_it.py").write_text(TEST_CLASS)
    monkeypatch.chdir(pytester.path)
    return pytester


def outcome(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """What pytest makes of ORD-3."""
    return project.runpytest_subprocess(
        *USE_PLUGIN, "-p", "no:cacheprovider", "--chathistory-effort", "quick", "-k", "ORD-3", "-rx", *arguments
    )


def test_a_class_names_its_file_seen_from_its_own_folder(project: pytest.Pytester) -> None:
    """The declared clause is an expected failure."""
    path = project.path / "tests" / "test_it.py"
    path.write_text(f'{TEST_CLASS}    deviations = "../deviations.toml"\n')
    result = outcome(project)
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["*ORD-3 declared: it forgets*"])


def test_the_option_names_a_file_too(project: pytest.Pytester) -> None:
    """And what both declare is refused in one line."""
    outcome(project, "--chathistory-deviations", "deviations.toml").assert_outcomes(xfailed=1)
    path = project.path / "tests" / "test_it.py"
    path.write_text(f'{TEST_CLASS}    deviations = [Deviation(clause="ORD-3", reason="older")]\n')
    result = outcome(project, "--chathistory-deviations", "deviations.toml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ORD-3 is declared twice, in code (older) and in deviations.toml:4*"])
