"""The HTML page of a report: what is on it, that it needs nothing else, and that no content is ever obeyed."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from tests.test_reports import FOUND, HOSTILE, every_outcome, hostile, replay, report, result

from chathistory.conformance import Report
from chathistory.conformance._cli import run
from chathistory.conformance._concurrent import judge_events
from chathistory.conformance._files import Destinations
from chathistory.conformance._html import LONGEST, SharedLines, matrix_page, report_page
from chathistory.conformance._matrix import Matrix
from chathistory.conformance._svg import drawing
from chathistory.conformance._together import Event
from chathistory.reference import CLAUSES, FAMILIES, clause

TORN = [
    Event(0, "add", 1.0, 4.0, added=("w0-0", "w0-1")),
    Event(1, "add", 2.0, 3.0, added=("w1-0",)),
    Event(-1, "read", 5.0, 6.0, observed=("w0-0", "w1-0", "w0-1")),
]
VOID = ("meta", "input", "br")


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of this kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        """Every id."""
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


def of_report(subject: Report) -> str:
    """The page of a report."""
    return report_page(subject, replay=replay, command="chathistory check mine.py:backend --seed 0")


def of_matrix(*reports: Report, command: str = "chathistory matrix a b") -> str:
    """The page of a matrix."""
    matrix = Matrix(reports=reports, command=command, created="2026-11-21T04:00:00+00:00", problems=("c: is down",))
    return matrix_page(matrix, replay=lambda _report, clause_id: replay(clause_id))


EVERY_PAGE = pytest.mark.parametrize(
    "page",
    [
        of_report(every_outcome()),
        of_report(hostile()),
        of_report(report(complete=False)),
        of_matrix(every_outcome(), hostile(), report(complete=False), every_outcome()),
        of_matrix(hostile(), command=HOSTILE),
    ],
    ids=["report", "hostile report", "empty report", "matrix", "hostile matrix"],
)


# What is on it.


def test_a_report_says_what_was_checked_and_how() -> None:
    """Verdict, counts, claims, effort, versions, date, duration, command and notes stand on top."""
    subject = report(result("ORD-1"), result("ORD-3", "failed"), notes=("It is slow.",))
    text = " ".join(Page(of_report(subject)).texts["body"][0].split())
    for part in (
        "mine violations",
        "1 passed, 1 failed in 3.2 s",
        "Targetmine.py:backend",
        "Claimscore, async",
        "Effortfull, 40 examples per clause, seed 0, timeout 10 s",
        "langchain-core 1.7.2, python 3.11.6",
        "2026-11-21T03:00:00+00:00",
        "chathistory check mine.py:backend --seed 0",
        "It is slow.",
    ):
        assert part in text


def test_every_clause_has_a_row() -> None:
    """A row has the clause's sentence, outcome, level and cost, below its family."""
    page = Page(of_report(every_outcome()))
    rows = [attributes for attributes in page.all("tr") if "data-row" in attributes]
    assert [row["id"] for row in rows] == [f"c-{each.id}" for each in CLAUSES]
    outcomes = {row["id"]: row["data-outcome"] for row in rows}
    assert outcomes["c-VAL-8"] == "warned"
    assert outcomes["c-DUR-1"] == "not-claimed"
    cells = " ".join(page.texts["table"][0].split())
    assert all(each.sentence in cells for each in CLAUSES)
    assert "MUST 4 9 250 ms" in cells
    assert "needs the claim durable" in cells


def test_a_violation_is_shown_step_by_step() -> None:
    """Explanation, steps with the one that went wrong, both sides, causes, script and the way to check it again."""
    page = Page(of_report(report(result("ORD-3", "failed"))))
    text = " ".join(page.texts["article"][0].split())
    parts = [
        "ORD-3 ✗ failed Every add counts",
        "2 messages were expected, 1 read.",
        'h = get_session_history("a")',
        "h.messages here it went wrong",
        "Expected",
        "Observed",
        "Likely causes",
        clause("ORD-3").causes[0],
        "chathistory check mine.py:backend --clause ORD-3 --seed 0",
        "print('STILL FAILING')",
        "Copy script",
    ]
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)
    assert page.all("li")[2]["class"] == "diverged"


def test_a_script_is_on_the_page_as_it_is() -> None:
    """What is copied is the script to the letter, its first line's end included."""
    script = "\n<b>&amp;</b>\n\n  'indented'  \n\"é😀\"\n"
    subject = report(result("ORD-3", "failed", counterexample=replace(FOUND, script=script)))
    assert re.search(r'<pre id="script-ORD-3"[^>]*>\n', of_report(subject))
    held = Page(of_report(subject)).texts["pre"][-1]
    assert held.removeprefix("\n") == script  # a browser drops one line end at the beginning


def test_the_timeline_of_a_concurrent_violation_is_drawn() -> None:
    """The checker's drawing goes from the finding to the page."""
    finding = judge_events(TORN, "torn")
    assert finding is not None
    found = replace(FOUND, observed=finding.timeline, timeline_svg=finding.timeline_svg)
    page = Page(of_report(report(result("ATM-2", "failed", counterexample=found))))
    assert "torn batch" in page.all("svg")[0]["aria-label"]
    assert len(page.all("path")) == 9
    assert "torn batch" in page.texts["pre"][1]


def test_an_interrupted_run_says_so() -> None:
    """Nobody takes half a report for a whole one."""
    assert "it was interrupted; not all clauses were checked" in of_report(report(result("ORD-1"), complete=False))


def test_a_cell_of_a_matrix_leads_to_its_counterexample() -> None:
    """Each violation's cell is a link to the place where it is shown, with its script."""
    page = Page(of_matrix(every_outcome(), report(result("ORD-3", "failed"), backend="other")))
    links = [attributes["href"] for attributes in page.all("a") if attributes["href"].startswith("#v-")]
    assert links == ["#v-1-ORD-3", "#v-2-ORD-3", "#v-1-VAL-6", "#v-1-VAL-8", "#v-1-SNP-1"]
    violations = [attributes["id"] for attributes in page.all("details") if "id" in attributes]
    assert sorted(violations) == sorted(link[1:] for link in links)
    assert {"script-1-ORD-3", "script-2-ORD-3"} <= set(page.ids())


def test_a_matrix_says_when_by_which_command_and_with_which_versions() -> None:
    """They stand beside it, and so does what could not be checked."""
    other = report(result("ORD-3"), backend="other", versions={"langchain-core": "1.7.2", "python": "3.13.0"})
    text = " ".join(Page(of_matrix(every_outcome(), other)).texts["body"][0].split())
    assert "2026-11-21T04:00:00+00:00, by chathistory matrix a b" in text
    assert "All with langchain-core 1.7.2." in text
    assert "2026-11-21T03:00:00+00:00, python 3.13.0" in text
    assert "Not checked: c: is down" in text


# What holds of every page.


@EVERY_PAGE
def test_a_page_needs_nothing_but_itself(page: str) -> None:
    """No element, attribute or style fetches anything; links lead to places on the page."""
    parsed = Page(page)
    for tag, attributes in parsed.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "image", "use")
        assert not {"src", "srcset", "action", "formaction", "xlink:href", "data", "poster"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?:", parsed.texts["style"][0])
    assert not re.search(r"\bfetch\b|XMLHttpRequest|import\(|https?:|innerHTML", parsed.texts["script"][-1])


@EVERY_PAGE
def test_a_page_runs_its_own_script_and_no_other(page: str) -> None:
    """The policy allows by hash what we wrote; there are no handlers and no styles in attributes."""
    parsed = Page(page)
    policy = next(meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta)
    for kind, text in (("style", parsed.texts["style"][0]), ("script", parsed.texts["script"][-1])):
        assert f"{kind}-src 'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    scripts = [attributes for attributes in parsed.all("script") if attributes.get("type") != "application/json"]
    assert scripts == [{}]
    assert len(parsed.all("style")) == 1
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith(("on", "style"))]


@EVERY_PAGE
def test_a_page_can_be_used_without_seeing_it(page: str) -> None:
    """Language, title, landmarks, a skip link, headings without gaps, headers of tables with their scope."""
    parsed = Page(page)
    assert parsed.all("html") == [{"lang": "en"}]
    assert parsed.texts["title"][0].strip()
    assert [len(parsed.all(tag)) for tag in ("main", "header", "h1")] == [1, 1, 1]
    assert parsed.all("a")[0] == {"class": "skip", "href": "#main"}
    assert all(header.get("scope") for header in parsed.all("th"))
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert any(attributes.get("role") == "status" for attributes in parsed.all("p"))


@EVERY_PAGE
def test_every_reference_within_a_page_has_its_target(page: str) -> None:
    """Ids are unique, and links and labels lead somewhere."""
    parsed = Page(page)
    ids = parsed.ids()
    assert [name for name, number in Counter(ids).items() if number > 1] == []
    wanted = {attributes["href"][1:] for attributes in parsed.all("a")}
    for name in ("aria-labelledby", "for", "data-copy"):
        wanted |= {attributes[name] for _, attributes in parsed.elements if name in attributes}
    assert wanted <= set(ids)


@EVERY_PAGE
def test_no_control_character_reaches_a_page(page: str) -> None:
    """What would turn text around or break a parser is written as an escape."""
    assert not re.search(r"[^\n\x20-\x7e\u00a0-\uffff]", page.replace("😀", ""))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)


def test_hostile_contents_are_text() -> None:
    """Markup in names, messages, reasons and scripts is shown and not obeyed."""
    parsed = Page(of_report(hostile()))
    assert "<script>alert(1)</script>" in parsed.texts["h1"][0]
    assert any("<script>alert(1)</script>" in text for text in parsed.texts["pre"])


def test_a_drawing_holds_shapes_and_text_alone() -> None:
    """A report may come from anybody: handlers, scripts, references and styles of a drawing are left out."""
    text = drawing(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9' onload='alert(1)' style='x'>"
        "<title>a &lt;b&gt; \u202e</title><script>alert(1)</script><style>*{}</style>"
        "<a href='javascript:alert(1)'><text>x</text></a><foreignObject><p>x</p></foreignObject>"
        "<image href='https://example.com/x.png'/><use href='#main'/>"
        "<text x='1' y='2' onclick='alert(1)' class='skip'>&lt;script&gt;</text>"
        "<path d='M0 0H9' stroke='url(https://example.com/x)' stroke-width='3' id='main'/></svg>"
    )
    assert text == (
        '<svg role="img" fill="currentColor" aria-label="a &lt;b&gt; \\u202e" viewBox="0 0 9 9">'
        '<text x="1" y="2">&lt;script&gt;</text><path d="M0 0H9" stroke-width="3"></path></svg>'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no drawing",
        "<svg",
        "<p>x</p>",
        "<!DOCTYPE svg [<!ENTITY a 'b'>]><svg>&a;</svg>",
        "<svg>" + "<g/>" * 100_000 + "</svg>",
        "<svg>\ud800</svg>",
    ],
)
def test_what_is_no_drawing_of_ours_is_left_out(text: str) -> None:
    """Damaged XML, declarations of entities and sizes out of proportion."""
    assert drawing(text) == ""


# Size.


def test_scripts_that_share_lines_come_back_whole() -> None:
    """A matrix holds each line once, and each script can be put together again."""
    shared = SharedLines()
    scripts = ["a\nb\nc\n", "a\nb\nd\nb\nc\n", "", "c"]
    numbers = [shared.add(script) for script in scripts]
    assert numbers == [0, 1, None, 2]
    assert sorted(shared.lines) == ["", "a", "b", "c", "d"]
    for number, script in zip(numbers, scripts, strict=True):
        if number is not None:
            runs = iter(shared.scripts[number])
            lines = [line for start in runs for line in shared.lines[start : start + next(runs)]]
            assert "\n".join(lines) == script


def test_the_data_of_a_matrix_can_not_end_its_element() -> None:
    """A script with markup in it stays data."""
    found = replace(FOUND, script="</script><script>alert(1)</script>\n")
    parsed = Page(of_matrix(report(result("ORD-3", "failed", counterexample=found))))
    held = next(text for text in parsed.texts["script"] if text.startswith("{"))
    assert json.loads(held)["lines"] == ["</script><script>alert(1)</script>", ""]


def test_a_matrix_of_twelve_backends_stays_below_a_megabyte() -> None:
    """Scripts of the usual length, of which most lines are the same, for every third clause of each backend."""
    helpers = "\n".join(f"    a line of a helper, number {number}, as long as they are" for number in range(600))
    reports = [
        report(
            *(
                result(each.id, "failed", counterexample=replace(FOUND, script=f"# {each.id} {number}\n{helpers}\n"))
                if place % 3 == 0
                else result(each.id)
                for place, each in enumerate(CLAUSES)
            ),
            backend=f"backend {number}",
        )
        for number in range(12)
    ]
    page = of_matrix(*reports)
    assert len(page.encode()) < 1_000_000
    assert len(Page(page).all("pre")) == 3 * 12 * len(CLAUSES[::3])


def test_a_page_with_huge_values_shows_less_of_each() -> None:
    """However much there is to say, the page can be opened."""
    long = "<&> \u00e9" * 100_000
    found = replace(
        FOUND, observed=long, expected=long, explanation=long, script=f"{long}\n{long}", lines=(long[:2000],) * 99
    )
    subject = report(*(result(each.id, "failed", counterexample=found) for each in CLAUSES))
    assert len(of_report(subject)) < LONGEST
    page = of_matrix(subject, subject)
    assert len(page) < LONGEST
    assert "The script is too long for this page" in page
    assert "99 steps in all" in page


# How one gets it.


def test_check_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check --html FILE`, with the command that was run on it."""
    monkeypatch.chdir(tmp_path)
    assert run(["check", "reference", "--clause", "ORD-1", "--quick", "--quiet", "--html", "report.html"]) == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<code>chathistory check reference --clause ORD-1 --quick --seed 0</code>" in page
    assert '<strong class="verdict conformant">conformant</strong>' in page


def test_a_page_can_be_written_whatever_it_holds(tmp_path: Path) -> None:
    """Every text of a hostile report can be encoded."""
    Destinations(html=tmp_path / "report.html").write(hostile(), replay=replay)
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>\n")


def test_the_templates_are_data_files_of_the_package() -> None:
    """They are found where the package is, and every family can be chosen."""
    names = {each.name for each in files("chathistory.conformance").joinpath("templates").iterdir()}
    assert names == {"matrix.html.j2", "page.css", "page.html.j2", "page.js", "parts.html.j2", "report.html.j2"}
    page = Page(of_report(every_outcome()))
    assert [option["value"] for option in page.all("option")] == ["", *(family.id for family in FAMILIES)]
