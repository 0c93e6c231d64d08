"""Draws a badge of a report as SVG: verdict, clauses passed, deviations, version and date.

It stands alone: no script, no font and no address is loaded. Its widths are reckoned, and `textLength` makes
each text as wide as its field whatever font the reader has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from chathistory.conformance._blocks import unfinished
from chathistory.conformance._report import Report, Verdict
from chathistory.conformance._text import counted, one_line

# White on each of these has a contrast of more than 4.5 : 1.
_COLOUR: Mapping[Verdict, str] = {"conformant": "#2e7d32", "violations": "#c62828", "undecided": "#7a5c00"}
_LABEL_COLOUR, _FACTS_COLOUR = "#424242", "#5f6368"
_NARROW, _WIDE = frozenset("fijlrtI.,:;|!'()[] "), frozenset("mwMW@%")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def badge(report: Report) -> str:
    """The badge of a report as the text of an SVG file."""
    outcome = (_COLOUR[report.verdict], _outcome(report))
    shown = ((_LABEL_COLOUR, "chathistory"), outcome, (_FACTS_COLOUR, _facts(report)))
    title = _valid(_title(report))
    parts, left = [], 0
    for colour, text in shown:
        parts.append(_field(_valid(text), colour, left))
        left += _width(text) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left}" height="20" '
        f'role="img" aria-label={quoteattr(title)}>\n'
        f"<title>{escape(title)}</title>\n"
        f'<clipPath id="r"><rect width="{left}" height="20" rx="3"/></clipPath>\n'
        f'<g clip-path="url(#r)" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" aria-hidden="true">\n'
        f"{''.join(parts)}</g>\n</svg>\n"
    )


def _title(report: Report) -> str:
    """What the badge says, for those who don't see it."""
    counts = f"{len(report.with_outcome('passed'))} of {counted(_checked(report), 'clause')} passed{_remarks(report)}"
    return one_line(f"chathistory {_facts(report)}: {one_line(report.backend, 100)}: {report.verdict}, {counts}")


def _outcome(report: Report) -> str:
    """The verdict, and the counts behind it."""
    return f"{report.verdict} {len(report.with_outcome('passed'))}/{_checked(report)}{_remarks(report)}"


def _checked(report: Report) -> int:
    return len(report.clauses) - len(report.with_outcome("not-claimed"))


def _remarks(report: Report) -> str:
    declared = len(report.with_outcome("declared"))
    return (f", {counted(declared, 'deviation')}" if declared else "") + (", incomplete" if unfinished(report) else "")


def _facts(report: Report) -> str:
    """The version of the suite and the day of the run."""
    version = one_line(report.versions.get("chathistory", "unknown"), 20)
    return f"{version}, {_day(report.started)}"


def _day(started: str) -> str:
    try:
        return datetime.fromisoformat(started).date().isoformat()
    except ValueError:
        return "no date"


def _valid(text: str) -> str:
    """The text without what no XML may hold."""
    return _NO_XML.sub("\ufffd", text)


def _width(text: str) -> int:
    """About how many pixels a text takes in Verdana at 11 pixels."""
    return round(sum(4.2 if each in _NARROW else 10.0 if each in _WIDE else 7.0 for each in text))


def _field(text: str, colour: str, left: int) -> str:
    width = _width(text)
    return (
        f'<rect x="{left}" width="{width + 12}" height="20" fill="{colour}"/>\n'
        f'<text x="{left + 6}" y="14" fill="#fff" textLength="{width}">{escape(text)}</text>\n'
    )
