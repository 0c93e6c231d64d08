"""Violations as text and as SVG: readable in 80 columns, safe with hostile content, without colours."""

from __future__ import annotations

from unicodedata import east_asian_width
from xml.etree import ElementTree

import pytest
from tests.test_linearizability_language import history

from chathistory.conformance.linearizability import (
    ANOMALIES,
    Call,
    EventHistory,
    Violation,
    check,
    render_svg,
    render_text,
)

HOSTILE = [
    "</text><script>alert(1)</script>",
    "a\x00b",
    "\ud800",
    "]]>&amp;",
    "\u202egnp",
    "漢字" * 60,
    "x" * 300,
    "'\"",
]
SVG = "{http://www.w3.org/2000/svg}"


def violation(line: str) -> Violation:
    """What is wrong with the history of this line."""
    verdict = check(history(line))
    assert isinstance(verdict, Violation)
    return verdict


def hostile(text: str) -> Violation:
    """A violation in which the worker, the session and the messages are called this."""
    add = Call(process=text, session=text, kind="add", invoked=0, returned=5, added=(text,))
    read = Call(process=text, session=text, kind="read", invoked=6, returned=9, observed=(text, text))
    verdict = check(EventHistory([add, read]))
    assert isinstance(verdict, Violation)
    return verdict


def columns(line: str) -> int:
    """How many columns of a terminal a line takes."""
    return sum(2 if east_asian_width(each) in "WF" else 1 for each in line)


def test_text_shows_the_calls_on_one_time_axis() -> None:
    """Name, prose, and a line for each call with what it wrote or found."""
    assert render_text(violation("1(+a 2+b 1) 3rb 4ra")) == (
        "lost add in session 's'\n"
        "\n"
        "Read 2 by worker 3 holds 'b', read 3 by worker 4 holds 'a' in its place. The\n"
        "session was never cleared: 'b' was lost.\n"
        "\n"
        "  add 0   worker 1  ├──────┤         ['a']\n"
        "  add 1   worker 2      │            ['b']\n"
        "  read 2  worker 3            │      ['b']\n"
        "  read 3  worker 4                │  ['a']\n"
    )


def test_reads_of_one_epoch_that_share_no_message_are_explained_where_the_session_was_cleared_before() -> None:
    """It is not said of a session that somebody has cleared that nobody did."""
    explanation = violation("1! 1(+a 2+b 1) 3rb 4ra 1!").explanation
    assert "never cleared" not in explanation
    assert "No clear can have taken effect between the first of them and the second: 'b' was lost." in explanation


def test_text_marks_unknown_outcomes_and_failures() -> None:
    """By more than colour."""
    assert "?" in render_text(violation("1(+a? 2ra 2r")).splitlines()[-3]
    assert "✗" in render_text(violation("1(+a~ 2ra 1)")).splitlines()[-2]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_at_most_80_columns_wide_whatever_the_content(text: str) -> None:
    """And holds no control characters, nor anything that turns the line around."""
    rendered = render_text(hostile(text))
    assert all(columns(line) <= 80 for line in rendered.splitlines())
    assert all(each.isprintable() or each == "\n" for each in rendered)


def test_long_observations_show_what_matters() -> None:
    """The messages at fault, their neighbours, the ends."""
    messages = tuple(f"m{number}" for number in range(100))
    add = Call(process=1, session="s", kind="add", invoked=0, returned=1, added=messages)
    read = Call(process=2, session="s", kind="read", invoked=2, returned=3, observed=(*messages, "m50"))
    verdict = check(EventHistory([add, read]))
    assert isinstance(verdict, Violation)
    assert "['m0', …, 'm49', 'm50', 'm51', …, 'm99'" in render_text(verdict)


@pytest.mark.parametrize("text", HOSTILE)
def test_svg_is_well_formed_and_harmless_whatever_the_content(text: str) -> None:
    """Content is text there, never markup."""
    root = ElementTree.fromstring(render_svg(hostile(text)))  # noqa: S314 -- our own drawing
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "title",
        "desc",
        "text",
        "path",
    }
    render_svg(hostile(text)).encode("utf-8")


def test_svg_speaks_to_those_who_do_not_see_it() -> None:
    """A title, and a description that tells the whole story."""
    found = violation("1+a 2r")
    root = ElementTree.fromstring(render_svg(found))  # noqa: S314 -- our own drawing
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert title.text == "lost add in session 's'"
    assert description.text is not None
    assert description.text.startswith(f"{ANOMALIES['lost add']} {found.explanation}")
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"


def test_svg_takes_its_colour_from_the_page() -> None:
    """So that it is readable on light and on dark, and alone."""
    drawing = render_svg(violation("1(+a? 2ra 2r"))
    assert "currentColor" in drawing
    assert not any(word in drawing for word in ("#", "rgb", "<style", "href", "url("))


def test_two_drawings_on_one_page_have_ids_of_their_own() -> None:
    """Or a screen reader would read the first title twice."""
    drawings = [render_svg(violation(line)) for line in ("1+a 2r", "1+a 2raa")]
    roots = [ElementTree.fromstring(drawing) for drawing in drawings]  # noqa: S314 -- our own drawings
    ids = [element.get("id") for root in roots for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) == 4
