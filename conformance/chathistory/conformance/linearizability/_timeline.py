"""Draws the few calls of a violation on a common time axis: as text for terminals, as SVG for reports.

Both show one line per call, with a bar from its invocation to its return. The axis keeps the order of these
moments and not their distances, which may differ by orders of magnitude; distances don't matter to the proof.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from unicodedata import combining, east_asian_width
from xml.sax.saxutils import escape

from chathistory.conformance.linearizability._case import quote, worker
from chathistory.conformance.linearizability._events import Call
from chathistory.conformance.linearizability._verdict import ANOMALIES, Violation

_WIDTH = 80
_BAR_WIDTH = 30
_WORKER_WIDTH = 14
_NEIGHBOURS = 1

# The drawing's measures, in its own units; it scales to the width it is given.
_ROW, _WHO, _LABEL, _AXIS, _DETAIL, _MARGIN = 30, 130, 250, 300, 330, 12
_FONT = "font-family='ui-monospace, Menlo, Consolas, monospace' font-size='13'"


@dataclass(frozen=True, slots=True)
class _Row:
    """A call as both drawings show it.

    Attributes:
        label: its kind and number.
        who: its process.
        begin: the rank of its invocation among all moments drawn.
        end: the rank of its return.
        open: whether its outcome is unknown, so that the bar has no end.
        failed: whether it raised.
        detail: what it wrote or found.
    """

    label: str
    who: str
    begin: int
    end: int
    open: bool
    failed: bool
    detail: str


def render_text(violation: Violation) -> str:
    """A violation for a terminal: its name, what happened, and a timeline at most 80 columns wide."""
    rows, ranks = _rows(violation)
    title = _fit(f"{violation.anomaly} in session {quote(violation.session)}", _WIDTH)
    prose = textwrap.wrap(violation.explanation, _WIDTH, break_on_hyphens=False)
    return "\n".join([title, "", *(_fit(line, _WIDTH) for line in prose), "", *_text_lines(rows, ranks)]) + "\n"


def _text_lines(rows: Sequence[_Row], ranks: int) -> Iterator[str]:
    """The timeline, a line for each call."""
    label_width = max((_columns(row.label) for row in rows), default=0)
    who_width = min(_WORKER_WIDTH, max((_columns(row.who) for row in rows), default=0))
    for row in rows:
        head = f"  {_pad(row.label, label_width)}  {_pad(row.who, who_width)}  "
        line = f"{head}{_pad(_bar(row, ranks), _bar_columns(ranks))}  {row.detail}"
        yield _fit(line, _WIDTH).rstrip()


def _bar_columns(ranks: int) -> int:
    """How wide the axis is: about three columns between two moments, as far as there is room."""
    return min(_BAR_WIDTH, 3 * ranks)


def _bar(row: _Row, ranks: int) -> str:
    """A call's bar: `├──┤`, `├──?` for an unknown outcome, `├──✗` if it raised."""
    step = (_bar_columns(ranks) - 1) / max(1, ranks - 1)
    begin, end = round(row.begin * step), round(row.end * step)
    last = "?" if row.open else "✗" if row.failed else "┤"
    return " " * begin + "├" + "─" * (end - begin - 1) + last if end > begin else " " * begin + "│"


def render_svg(violation: Violation) -> str:
    """A violation as a self-contained SVG drawing that takes its colour from the page it stands in."""
    rows, ranks = _rows(violation)
    content = f"{violation.numbers!r} {_xml(violation.explanation)}".encode()
    name = f"v{blake2s(content, digest_size=6).hexdigest()}"
    height = _ROW * (len(rows) + 1) + 2 * _MARGIN
    width = _LABEL + _AXIS + _DETAIL
    title = f"{violation.anomaly} in session {quote(violation.session)}"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' "
    head += f"aria-labelledby='{name}-title {name}-desc' fill='currentColor' stroke='none' {_FONT}>"
    lines = [head, f"<title id='{name}-title'>{_xml(title)}</title>"]
    lines.append(f"<desc id='{name}-desc'>{_xml(_description(violation, rows))}</desc>")
    lines.append(_svg_text(_MARGIN, _MARGIN + 14, title, " font-weight='bold'"))
    for index, row in enumerate(rows):
        lines.extend(_svg_row(row, ranks, _MARGIN + _ROW * (index + 1)))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _description(violation: Violation, rows: Sequence[_Row]) -> str:
    """The drawing in words, for those who don't see it."""
    calls = "; ".join(f"{row.label} by {row.who}: {row.detail}" for row in rows)
    return f"{ANOMALIES[violation.anomaly]} {violation.explanation} In order of invocation: {calls}."


def _svg_row(row: _Row, ranks: int, top: int) -> Iterator[str]:
    """One call of the drawing: label, bar, detail."""
    middle = top + _ROW // 2
    begin, end = (_LABEL + _AXIS * rank / max(1, ranks) for rank in (row.begin, row.end))
    yield _svg_text(_MARGIN, middle + 4, row.label, "")
    yield _svg_text(_WHO, middle + 4, _fit(row.who, _WORKER_WIDTH), "")
    dash = " stroke-dasharray='4 3'" if row.open or row.failed else ""
    yield f"<path d='M{begin:g} {middle}H{end:g}' stroke='currentColor' stroke-width='3'{dash}/>"
    yield f"<path d='M{begin:g} {middle - 6}v12' stroke='currentColor' stroke-width='2'/>"
    if not row.open:
        yield f"<path d='M{end:g} {middle - 6}v12' stroke='currentColor' stroke-width='2'/>"
    mark = "?" if row.open else "✗" if row.failed else ""
    if mark:
        yield _svg_text(end + 5, middle + 5, mark, "")
    yield _svg_text(_LABEL + _AXIS + _MARGIN, middle + 4, _fit(row.detail, 38), "")


def _svg_text(x: float, y: float, text: str, attributes: str) -> str:
    """A line of text."""
    return f"<text x='{x:g}' y='{y:g}' xml:space='preserve'{attributes}>{_xml(text)}</text>"


def _xml(text: str) -> str:
    """Text for XML: escaped, and without the characters that XML can't hold."""
    printable = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return escape(printable, {"'": "&apos;", '"': "&quot;"})


def _rows(violation: Violation) -> tuple[list[_Row], int]:
    """The calls as rows, and how many moments there are on the axis."""
    moments = {call.invoked for call in violation.calls}
    moments.update(call.returned for call in violation.calls if call.returned is not None)
    rank = {moment: index for index, moment in enumerate(sorted(moments))}
    end = len(rank)
    rows = [
        _Row(
            label=f"{call.kind} {number}",
            who=f"worker {worker(call.process)}",
            begin=rank[call.invoked],
            end=end if call.returned is None else rank[call.returned],
            open=call.unknown,
            failed=call.failed,
            detail=_detail(call, violation.messages),
        )
        for call, number in zip(violation.calls, violation.numbers, strict=True)
    ]
    return rows, end + any(row.open for row in rows)


def _detail(call: Call, focus: Sequence[str]) -> str:
    """What a call wrote or found, and above all the messages at fault and their neighbours."""
    if call.kind == "clear" or (call.kind == "read" and call.observed is None):
        return ""
    content = call.added if call.observed is None else call.observed
    return f"[{_excerpt(content, set(focus))}]"


def _excerpt(content: Sequence[str], focus: set[str]) -> str:
    """The messages in focus, their neighbours, the first and the last; the others as dots."""
    places = [place for place, message in enumerate(content) if message in focus]
    near = {near for place in places for near in range(place - _NEIGHBOURS, place + _NEIGHBOURS + 1)}
    shown = sorted(place for place in {*near, 0, len(content) - 1} if 0 <= place < len(content))
    parts: list[str] = []
    for previous, place in zip([-1, *shown], shown, strict=False):
        hidden = content[previous + 1 : place]
        parts += [quote(hidden[0])] if len(hidden) == 1 else ["…"] if hidden else []
        parts.append(quote(content[place]))
    return ", ".join(parts)


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def _pad(text: str, columns: int) -> str:
    """A text made exactly so wide."""
    return _fit(text, columns) + " " * max(0, columns - _columns(text))


def _fit(text: str, columns: int) -> str:
    """A text made at most so wide."""
    if _columns(text) <= columns:
        return text
    while text and _columns(text) > columns - 1:
        text = text[:-1]
    return f"{text}…"
