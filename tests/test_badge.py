"""The badge of a report: what it says, to eyes and to screen readers, whatever is in the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from chathistory.conformance import ClauseResult, Configuration, Report
from chathistory.conformance._badge import badge
from chathistory.conformance._cli import run
from chathistory.conformance._report import Outcome
from chathistory.reference import CLAUSES

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ']]> <script>alert(1)</script> \x00\x1b[2J \ud800 \ufffe & \'q\' "q" onload="x"'


def report(*outcomes: Outcome, **fields: object) -> Report:
    """A report of clauses with these outcomes."""
    results = (
        ClauseResult(id=rule.id, level=rule.level, outcome=outcome)
        for rule, outcome in zip(CLAUSES, outcomes, strict=False)
    )
    usual: dict[str, object] = {
        "backend": "mine",
        "claims": ("core",),
        "configuration": Configuration(),
        "versions": {"chathistory": "0.1.0"},
        "complete": True,
        "seconds": 1.0,
        "started": "2026-11-20T03:00:00+00:00",
    }
    return Report(clauses=tuple(results), **{**usual, **fields})  # type: ignore[arg-type]


def texts(subject: Report) -> list[str]:
    """What is drawn, field by field."""
    return [text.text or "" for text in ElementTree.fromstring(badge(subject)).iter(f"{SVG}text")]  # noqa: S314 -- our own drawing


def test_it_shows_verdict_counts_version_and_day() -> None:
    """What is not claimed does not count."""
    assert texts(report("passed", "passed", "not-claimed")) == ["chathistory", "conformant 2/2", "0.1.0, 2026-11-20"]


@pytest.mark.parametrize(
    ("outcomes", "shown"),
    [
        (("passed", "declared", "declared"), "conformant 1/3, 2 deviations"),
        (("passed", "declared"), "conformant 1/2, 1 deviation"),
        (("passed", "failed"), "violations 1/2"),
        (("passed", "undecided"), "undecided 1/2"),
        ((), "undecided 0/0"),
    ],
)
def test_it_is_never_stronger_than_the_report(outcomes: tuple[Outcome, ...], shown: str) -> None:
    """The verdict is that of the report, with its deviations."""
    assert texts(report(*outcomes))[1] == shown


def test_a_run_that_was_interrupted_is_marked() -> None:
    """Half a run is no conformant one."""
    assert texts(report("passed", complete=False))[1] == "undecided 1/1, incomplete"


def test_a_screen_reader_is_told_the_same() -> None:
    """It has a role, a label and a title, and its parts are hidden, or each would be read twice."""
    root = ElementTree.fromstring(badge(report("passed", "declared")))  # noqa: S314 -- our own drawing
    said = "chathistory 0.1.0, 2026-11-20: mine: conformant, 1 of 2 clauses passed, 1 deviation"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == said
    assert [title.text for title in root.iter(f"{SVG}title")] == [said]
    assert [group.attrib["aria-hidden"] for group in root.iter(f"{SVG}g")] == ["true"]


def test_fields_stand_beside_each_other() -> None:
    """No text leaves its field, and no field the picture."""
    root = ElementTree.fromstring(badge(report("passed", "declared", complete=False)))  # noqa: S314 -- our own drawing
    fields = [(int(each.attrib["x"]), int(each.attrib["width"])) for each in root.findall(f".//{SVG}g/{SVG}rect")]
    lefts = [left for left, _ in fields] + [int(root.attrib["width"])]
    assert [left + width for left, width in fields] == lefts[1:]
    for text, (left, width) in zip(root.iter(f"{SVG}text"), fields, strict=True):
        assert int(text.attrib["x"]) + int(text.attrib["textLength"]) < left + width


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("outcomes", [("passed",), ("failed",), ("undecided",)])
def test_its_text_can_be_read(outcomes: tuple[Outcome, ...]) -> None:
    """White on each colour has the contrast that WCAG AA asks for."""
    root = ElementTree.fromstring(badge(report(*outcomes)))  # noqa: S314 -- our own drawing
    for field in root.findall(f".//{SVG}g/{SVG}rect"):
        assert 1.05 / (luminance(field.attrib["fill"]) + 0.05) >= 4.5


def everything(root: ElementTree.Element) -> Iterator[str]:
    """The names of all elements and attributes."""
    for element in root.iter():
        yield element.tag.removeprefix(SVG)
        yield from element.attrib


def test_a_hostile_report_makes_a_harmless_badge() -> None:
    """It is well-formed, and holds no element, attribute or address that it does not always hold."""
    subject = report("passed", backend=HOSTILE, versions={"chathistory": HOSTILE}, started=HOSTILE)
    drawn = badge(subject)
    drawn.encode()
    hostile = ElementTree.fromstring(drawn)  # noqa: S314 -- our own drawing
    assert set(everything(hostile)) == set(everything(ElementTree.fromstring(badge(report("passed")))))  # noqa: S314 -- our own drawing
    assert drawn.count("http") == 1  # the name of SVG
    assert texts(subject)[2].endswith(", no date")


def test_the_command_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into the file that is named, or badge.svg."""
    monkeypatch.chdir(tmp_path)
    subject = report("passed")
    Path("report.json").write_text(json.dumps(subject.to_json()))
    assert run(["badge", "report.json", "--out", "mine.svg"]) == 0
    assert Path("mine.svg").read_text() == badge(subject)
    assert run(["badge", "report.json"]) == 0
    assert Path("badge.svg").exists()
    capsys.readouterr()
    assert run(["badge", "report.json", "--out", "no/such/badge.svg"]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_verdict_that_the_clauses_do_not_bear_out_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever edits the verdict of a report gets no green badge by that."""
    monkeypatch.chdir(tmp_path)
    data = {**replace(report("passed", "failed")).to_json(), "verdict": "conformant"}
    Path("report.json").write_text(json.dumps(data))
    assert run(["badge", "report.json"]) == 0
    assert "violations 1/2" in Path("badge.svg").read_text()
