"""What the renderers make of a report: terminal, JSON, JUnit XML, Markdown and scripts."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from chathistory.conformance import ClauseResult, Configuration, Counterexample, Report, UsageError
from chathistory.conformance._blocks import plain, unfinished, violation
from chathistory.conformance._files import (
    Destinations,
    configuration_from_json,
    read_report,
    result_from_json,
    schema,
    write_file,
    write_scripts,
)
from chathistory.conformance._junit import junit_xml
from chathistory.conformance._markdown import LONGEST, escaped, markdown
from chathistory.conformance._report import ClauseStarted, Outcome, RunFinished, RunStarted
from chathistory.conformance._terminal import Screen, report_block, verdict_line
from chathistory.conformance._text import clip, one_line, printable
from chathistory.reference import CLAUSES, clause

FOUND = Counterexample(
    program={"check": "repeats", "steps": []},
    lines=(
        'h = get_session_history("a")',
        'h.add_messages([HumanMessage("m"), HumanMessage("m")])',
        "h.messages",
    ),
    step=2,
    expected='[\n  HumanMessage("m"),\n  HumanMessage("m"),\n]',
    observed='[\n  HumanMessage("m"),\n]',
    explanation="2 messages were expected, 1 read.",
    script="print('STILL FAILING')\n",
)

HOSTILE = "[red]x[/red] \x1b[2J\x00\u202e ]]> <script>alert(1)</script> ``` | @octocat \ud800 \ufffe & 'q' \"q\""


def result(clause_id: str, outcome: Outcome = "passed", **fields: object) -> ClauseResult:
    """A result with the counterexample that its outcome calls for."""
    found = FOUND if outcome in ("failed", "warned", "declared") else None
    usual: Mapping[str, object] = {"seconds": 0.25, "programs": 4, "operations": 9, "counterexample": found}
    return ClauseResult(id=clause_id, level=clause(clause_id).level, outcome=outcome, **{**usual, **fields})  # type: ignore[arg-type]


def report(*results: ClauseResult, complete: bool = True, **fields: object) -> Report:
    """A report of these results."""
    usual: Mapping[str, object] = {
        "backend": "mine",
        "claims": ("core", "async"),
        "configuration": Configuration(),
        "versions": {"langchain-core": "1.7.2", "python": "3.11.6"},
        "seconds": 3.21,
        "started": "2026-11-21T03:00:00+00:00",
        "target": "mine.py:backend",
    }
    return Report(clauses=results, complete=complete, **{**usual, **fields})  # type: ignore[arg-type]


def every_outcome() -> Report:
    """A report in which every outcome occurs."""
    outcomes: dict[str, ClauseResult] = {
        "ORD-3": result("ORD-3", "failed", notes=("refused, as it may be: NaN",)),
        "VAL-5": result("VAL-5", notes=("refused, as it may be: lone surrogate",)),
        "VAL-6": result("VAL-6", "declared", reason="the store can't: https://example.com/1"),
        "VAL-8": result("VAL-8", "warned"),
        "SNP-1": result("SNP-1", "stale", reason="declared, but it no longer occurs"),
        "CON-4": result("CON-4", "undecided", reason="no two operations overlapped"),
        "DUR-1": result("DUR-1", "not-claimed", reason="needs the claim durable"),
        "DUR-2": result("DUR-2", "not-claimed", reason="needs the claim durable"),
    }
    return report(*(outcomes.get(each.id, result(each.id)) for each in CLAUSES))


def hostile() -> Report:
    """A report in which every text that others wrote is hostile."""
    found = replace(FOUND, lines=(HOSTILE, HOSTILE, HOSTILE), expected=HOSTILE, observed=HOSTILE, explanation=HOSTILE)
    fields = {"counterexample": found, "notes": (HOSTILE,), "reason": HOSTILE}
    return report(
        *(result(each.id, outcome, **fields) for each, outcome in zip(CLAUSES, OUTCOMES, strict=False)),
        backend=HOSTILE,
        target=HOSTILE,
        versions={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
        started=HOSTILE,
    )


OUTCOMES: tuple[Outcome, ...] = (
    "passed",
    "failed",
    "warned",
    "declared",
    "stale",
    "undecided",
    "not-claimed",
)


def replay(clause_id: str) -> str:
    """The command that a renderer shows for a clause."""
    return f"chathistory check mine.py:backend --clause {clause_id} --seed 0"


def shown(subject: Report, *, width: int = 80, quiet: bool = False) -> str:
    """What a person sees whose standard output is no terminal."""
    stream = StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        screen = Screen(stream, quiet=quiet)
        screen.show_report(subject, scripts={"ORD-3": "chathistory-report/mine-ORD-3.py"}, replay=replay)
    return stream.getvalue()


def words(text: str) -> str:
    """The text with the space between columns, which differs by versions of rich, made one blank."""
    return " ".join(text.split())


# The terminal.


def test_a_green_report_still_says_what_was_checked_and_how() -> None:
    """Claims, effort, seed and versions are shown, so that green is never an empty word."""
    text = shown(report(*(result(each.id) for each in CLAUSES)))
    assert "claims    core, async" in text
    assert "effort    full: 40 examples per clause, seed 0, timeout 10 s" in text
    assert "versions  langchain-core 1.7.2, python 3.11.6" in text
    assert text.splitlines()[-1] == f"conformant: mine: {len(CLAUSES)} passed in 3.2 s"


def test_a_family_that_passed_takes_one_line() -> None:
    """A family is one line when all its clauses passed, and a line per clause when not."""
    lines = [words(line) for line in shown(every_outcome()).splitlines()]
    assert [line for line in lines if line.startswith("✓ ISO")] == [
        "✓ ISO 7 passed sessions (slowest ISO-1, 250 ms) 1.8 s"
    ]
    assert sum(line.startswith("✓ ORD-") for line in lines) == 6
    assert any(line.startswith("✗ ORD-3 FAILED Every add counts") for line in lines)


def test_a_violation_is_shown_as_a_whole() -> None:
    """Sentence, program, diverging step, both sides, explanation, causes, script, replay: in this order."""
    text = words(shown(report(result("ORD-3", "failed"))))
    parts = [
        "ORD-3 FAILED Every add counts: equal messages, the same object added twice",
        '1 h = get_session_history("a")',
        "→ 3 h.messages",
        "Expected Observed",
        'HumanMessage("m"), HumanMessage("m"),',
        "2 messages were expected, 1 read.",
        "Likely causes - a unique key or an upsert on the message id",
        "Script chathistory-report/mine-ORD-3.py",
        "Replay chathistory check mine.py:backend --clause ORD-3 --seed 0",
        "Cost 4 programs, 9 calls, 250 ms",
        "violations: mine: 1 failed in 3.2 s",
    ]
    places = [text.find(part) for part in parts]
    assert places == sorted(places)
    assert -1 not in places


def test_the_sides_are_stacked_where_it_is_narrow() -> None:
    """Below 80 columns expected and observed stand below each other."""
    lines = [line.strip() for line in shown(report(result("ORD-3", "failed")), width=60).splitlines()]
    assert lines.index("Observed") == lines.index("Expected") + 5


def test_what_is_not_a_plain_pass_is_explained() -> None:
    """Reasons, refused values and clauses not claimed are said, the same ones on one line."""
    text = shown(every_outcome())
    assert "VAL-6: declared: the store can't: https://example.com/1" in text
    assert "CON-4: undecided: no two operations overlapped" in text
    assert "VAL-5: refused, as it may be: lone surrogate" in text
    assert "not claimed: DUR-1, DUR-2 (needs the claim durable)" in text
    assert "declared, but it no longer occurs" in text


def test_the_verdict_counts_every_outcome() -> None:
    """The last line has the verdict and how many clauses came to which end."""
    counts = "1 failed, 1 warned, 1 declared, 1 stale, 1 undecided, 2 not claimed"
    passed = len(CLAUSES) - 7
    assert shown(every_outcome()).splitlines()[-1] == f"violations: mine: {passed} passed, {counts} in 3.2 s"


def test_quiet_prints_the_verdict_alone() -> None:
    """One line, whatever happened."""
    assert len(shown(every_outcome(), quiet=True).splitlines()) == 1


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        (report(result("ORD-1", "undecided", reason="why")), "a clause that was not decided does not count"),
        (report(result("ORD-1"), complete=False), "it was interrupted, so this is not the whole picture"),
        (
            report(result("ORD-1", "failed"), complete=False, configuration=Configuration(exitfirst=True)),
            "it stopped at the first failure",
        ),
        (report(complete=False), "undecided: mine: nothing was checked"),
    ],
)
def test_a_verdict_that_is_not_the_whole_truth_says_so(subject: Report, told: str) -> None:
    """Undecided clauses and runs that were cut short are said in the verdict's line."""
    assert told in verdict_line(subject).plain


@pytest.mark.parametrize("width", [1, 2, 5, 12, 20, 39, 40, 79, 80, 100, 200])
@pytest.mark.parametrize("make", [every_outcome, hostile])
def test_no_width_is_too_narrow(width: int, make: object) -> None:
    """Nothing crashes, and nothing is wider than there is room for."""
    subject = every_outcome() if make is every_outcome else hostile()
    text = plain(report_block(subject, scripts={}, replay=replay), width=width)
    assert max(map(len, text.splitlines())) <= max(width, 2)  # a wide character needs two


def test_output_that_is_not_unicode_gets_ascii_symbols() -> None:
    """Where a stream can't hold a check mark, a plus stands for it."""
    block = report_block(report(result("ORD-1"), result("ORD-3", "failed")), scripts={}, replay=replay)
    text = words(plain(block, ascii_only=True))
    assert "+ ORD-1" in text
    assert "x ORD-3" in text
    assert "> 3 h.messages" in text


def test_contents_are_shown_and_never_obeyed() -> None:
    """Markup stays as it was written, and control characters are escaped, everywhere."""
    text = shown(hostile())
    assert "[red]x[/red]" in text
    assert r"\x1b[2J\x00\u202e" in text
    assert not re.search(r"[^\n\x20-\x7e\u00a0-\uffff]", text)
    assert "\u202e" not in text
    text.encode("utf-8")


def test_a_listener_that_has_no_terminal_shows_nothing_meanwhile() -> None:
    """The progress bar is for terminals only."""
    stream = StringIO()
    with Screen(stream) as screen:
        screen(RunStarted("mine", "", ("core",), Configuration(), {}, ("ORD-1",)))
        screen(ClauseStarted("ORD-1"))
        screen(RunFinished(report()))
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("quiet", "said"), [(False, "note: EXP waits.\n"), (True, "")])
def test_what_needs_patience_is_said_at_the_start(quiet: bool, said: str) -> None:
    """In a line of its own, also where there is no terminal: a log is read while the run lasts."""
    stream = StringIO()
    with Screen(stream, quiet=quiet) as screen:
        screen(RunStarted("mine", "", ("core",), Configuration(), {}, ("EXP-1",), patience="EXP waits."))
    assert stream.getvalue() == said


def test_long_texts_are_cut() -> None:
    """A text of a megabyte is shown by its beginning, with its length."""
    found = replace(FOUND, observed="x" * 1_000_000, lines=("y" * 10_000,) * 1000)
    text = plain(violation(result("ORD-3", "failed", counterexample=found)))
    assert "… (cut; 1,000,000 characters in all)" in text
    assert "… (1000 steps in all)" in text
    assert len(text) < 100_000


# Text.


def test_printable_escapes_as_repr_does() -> None:
    """What is not printable is escaped, the rest is left alone."""
    assert printable("a\nb\t\x7f é😀\u2028\ud800") == "a\nb\\t\\x7f é😀\\u2028\\ud800"


def test_one_line_and_clip_bound_a_text() -> None:
    """A line has no line ends and both have a limit."""
    assert one_line(" a\n\n b ") == "a b"
    assert len(one_line("x" * 1000)) == 300
    assert clip("a\nb\nc", lines=2) == "a\nb\n… (cut; 5 characters in all)"


# JSON.


@pytest.mark.parametrize("subject", [every_outcome(), hostile(), report(complete=False)])
def test_the_json_report_keeps_its_schema(subject: Report, tmp_path: Path) -> None:
    """What is written is valid JSON Schema 2020-12 by the schema that is shipped."""
    jsonschema.Draft202012Validator.check_schema(schema())
    path = tmp_path / "report.json"
    Destinations(json=path).write(subject, replay=replay)
    data = read_report(path)
    jsonschema.Draft202012Validator(schema()).validate(data)
    assert data == json.loads(json.dumps(subject.to_json()))


def test_the_schema_allows_further_keys_and_no_others_missing() -> None:
    """Keys may be added, never renamed."""
    data = every_outcome().to_json()
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate({**data, "further": 1, "clauses": [{**data["clauses"][0], "further": 1}]})
    for key in data:
        assert not validator.is_valid({name: value for name, value in data.items() if name != key})


def test_results_come_back_from_json() -> None:
    """Reading is the inverse of writing."""
    subject = every_outcome()
    data = json.loads(json.dumps(subject.to_json()))
    assert tuple(map(result_from_json, data["clauses"])) == subject.clauses
    assert configuration_from_json(data["configuration"]) == subject.configuration


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "can't read"),
        ("", "is not a JSON report"),
        ("[]", "is not a JSON report of chathistory"),
        ('{"schema": 1}', "is not a JSON report of chathistory"),
        ('{"schema": 2, "clauses": []}', "has schema 2, and this version reads 1"),
        ('{"schema": 1, "clauses": [{}]}', "is damaged: a clause without an id"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, text: str | None, told: str) -> None:
    """Reading tells in one line what is wrong with a file."""
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_report(path)


# JUnit XML.


def test_junit_has_a_case_for_each_clause() -> None:
    """Outcomes become what CI servers know: failures, errors, skipped and passed cases."""
    suite = ElementTree.fromstring(junit_xml(every_outcome()))[0]  # noqa: S314 -- written by ourselves
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert len(cases) == len(CLAUSES)
    wanted = {
        "ORD-1": [],
        "ORD-3": ["failure"],
        "VAL-6": ["skipped"],
        "VAL-8": ["system-out"],
        "SNP-1": ["failure"],
        "CON-4": ["error"],
        "DUR-1": ["skipped"],
    }
    assert {name: cases[name] for name in wanted} == wanted
    counts = {"tests": str(len(CLAUSES)), "failures": "2", "errors": "1", "skipped": "3"}
    assert counts.items() <= suite.attrib.items()


def test_junit_of_an_interrupted_run_is_not_green() -> None:
    """A run that did not end is an error even if all it saw passed."""
    suite = ElementTree.fromstring(junit_xml(report(result("ORD-1"), complete=False)))[0]  # noqa: S314 -- written by ourselves
    assert [child.tag for child in suite.findall("testcase")[-1]] == ["error"]
    assert suite.get("errors") == "1"


def test_junit_of_hostile_contents_is_well_formed() -> None:
    """Characters that XML can't hold are escaped before they get there."""
    suite = ElementTree.fromstring(junit_xml(hostile()))[0]  # noqa: S314 -- written by ourselves
    failure = next(suite.iter("failure"))
    assert r"[red]x[/red] \x1b[2J\x00\u202e ]]> <script>" in (failure.text or "")


# Markdown.


def test_markdown_is_a_table_and_folds() -> None:
    """Passed clauses are counted by family, the others have a row each, violations can be unfolded."""
    lines = markdown(every_outcome(), replay=replay).splitlines()
    assert lines[0] == "### chathistory: mine: violations"
    assert "| :white_check_mark: | ORD | 6 passed | ordering | 1.5 s |" in lines
    assert sum(line.startswith("| :x: | ORD-3 | FAILED | Every add counts") for line in lines) == 1
    assert "| :heavy_minus_sign: | DUR-1, DUR-2 | not claimed | | |" in lines
    assert [line for line in lines if line.startswith("<details>")] == [
        "<details><summary>ORD-3 failed</summary>",
        "<details><summary>VAL-8 warned</summary>",
        "<details><summary>SNP-1 stale</summary>",
    ]


def test_markdown_of_hostile_contents_breaks_no_table_and_calls_nobody() -> None:
    """Cells and fences hold whatever the contents are."""
    text = markdown(hostile(), replay=replay)
    prose = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "```" not in prose
    assert "<script>" not in prose
    assert "@octocat" not in prose
    rows = [line for line in prose.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)


def test_markdown_fits_a_comment() -> None:
    """However much there is to say, it stays below what a comment may hold, and says what is left out."""
    found = replace(FOUND, observed="x\n" * 100_000, expected="<&>" * 10_000)
    subject = report(*(result(each.id, "failed", counterexample=found) for each in CLAUSES))
    text = markdown(subject, replay=replay)
    assert len(text) < LONGEST + 1000
    assert "would not fit; the JSON report has them all" in text


def test_escaped_markdown_is_inert() -> None:
    """Emphasis, code, links, tables, HTML and mentions are shown as text."""
    assert escaped("*a* `b` [c](d) | <e> &f @g") == r"\*a\* \`b\` \[c\](d) \| &lt;e&gt; &amp;f @&#8203;g"


# Files.


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails half-way the old file is still there, and nothing beside it."""
    path = tmp_path / "report.json"
    path.write_text("old")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UsageError, match=r"can't write .*report.json': No space left on device"):
        write_file(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text() == "old"


def test_a_replaced_file_keeps_its_mode_and_its_links(tmp_path: Path) -> None:
    """Who could read the old report can read the new one, and a link still points to it."""
    path = tmp_path / "report.json"
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    write_file(link, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode), link.is_symlink()) == ("new", 0o640, True)


def test_what_is_no_plain_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """A pipe, like /dev/stdout or a process substitution of a shell, stays a pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        Destinations(json=path).try_out()
        write_file(path, "new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize(
    ("destinations", "told"),
    [
        ({"json": "."}, "it is a folder; name a file in it"),
        ({"junit": "missing/r.xml"}, "there is no folder 'missing'; make it first"),
        ({"markdown": "file/r.md"}, "there is no folder 'file'"),
        ({"json": "r", "junit": "./r"}, "two reports can't go to the same file"),
        ({"scripts": "file"}, "it is a file; name a folder"),
        ({"scripts": "file/of/scripts"}, "can't make the folder 'file/of/scripts': 'file' is a file"),
        ({"json": "/proc/r.json"}, "can't write '/proc/r.json'"),
    ],
)
def test_a_path_that_can_not_be_written_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, destinations: dict[str, str], told: str
) -> None:
    """Nobody waits for a run whose report can't be written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=re.escape(told)):
        Destinations(**{name: Path(path) for name, path in destinations.items()}).try_out()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_trying_out_leaves_no_trace(tmp_path: Path) -> None:
    """A path that can be written is not written before there is something to write."""
    Destinations(json=tmp_path / "r.json", scripts=tmp_path / "scripts").try_out()
    assert list(tmp_path.iterdir()) == []


def test_scripts_are_named_after_backend_and_clause(tmp_path: Path) -> None:
    """A folder is made when there is a script to put there, and no name of a backend leaves it."""
    folder = tmp_path / "scripts"
    assert write_scripts(report(result("ORD-1")), folder).paths == {}
    assert not folder.exists()
    written = write_scripts(report(result("ORD-3", "failed"), backend="../a b/пеер:sql"), folder)
    assert written.paths == {"ORD-3": str(folder / "a_b_sql-ORD-3.py")}
    assert (folder / "a_b_sql-ORD-3.py").read_text() == FOUND.script


def test_folders_of_scripts_are_made_with_those_above_them(tmp_path: Path) -> None:
    """A folder that is not there yet may lie in one that is not there either; before the run none is made."""
    folder = tmp_path / "a" / "b"
    Destinations(scripts=folder).try_out()
    assert list(tmp_path.iterdir()) == []
    assert write_scripts(report(result("ORD-3", "failed")), folder).problem == ""
    assert len(list(folder.iterdir())) == 1


def test_scripts_that_can_not_be_written_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual folder is a convenience: where it can't be made, the report says so and goes on."""
    monkeypatch.chdir(tmp_path)
    Path("chathistory-report").touch()
    written = write_scripts(report(result("ORD-3", "failed")), None)
    assert written.paths == {}
    assert written.problem.startswith("the scripts of counterexamples could not be written: ")


def test_a_complete_run_has_nothing_unfinished() -> None:
    """Only a run that was cut short has a reason for it."""
    assert unfinished(report(result("ORD-1"))) == ""
