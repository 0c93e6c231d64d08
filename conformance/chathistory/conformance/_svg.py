"""Lets through of a drawing only what our own drawings are made of, since a report may come from anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from markupsafe import Markup

from chathistory.conformance._text import printable

_SHAPES: Mapping[str, frozenset[str]] = {
    "text": frozenset({"x", "y", "font-weight"}),
    "path": frozenset({"d", "stroke", "stroke-width", "stroke-dasharray"}),
}
_FRAME = ("viewBox", "font-family", "font-size")
_VALUE = re.compile(r"[\w\s.,-]*", re.ASCII)
_LONGEST = 100_000


def drawing(svg: str) -> Markup:
    """A timeline as markup for a page; empty if it is not one that we could have drawn.

    What a reader who sees no drawing is told stands in its label.
    """
    root = _parsed(svg)
    if root is None:
        return Markup("")
    texts = {_name(child): "".join(child.itertext()) for child in root if _name(child) in ("title", "desc")}
    label = printable(". ".join(filter(None, (texts.get("title"), texts.get("desc")))))
    frame = _attributes(root, frozenset(_FRAME))
    start = Markup('<svg role="img" fill="currentColor" aria-label="{}"{}>').format(label, frame)
    return start + Markup("").join(_shapes(root)) + Markup("</svg>")


def _parsed(svg: str) -> ElementTree.Element | None:
    """The root, unless the text declares entities, is no SVG, or is out of all proportion."""
    if not svg or "<!" in svg or len(svg) > _LONGEST:
        return None
    try:
        root = ElementTree.fromstring(svg)  # noqa: S314 -- it holds no declaration, so there is nothing to expand
    except (ElementTree.ParseError, ValueError):
        return None
    return root if _name(root) == "svg" else None


def _shapes(root: ElementTree.Element) -> Iterator[Markup]:
    for child in root:
        name = _name(child)
        if name in _SHAPES:
            text = printable(child.text or "")
            yield Markup("<{0}{1}>{2}</{0}>").format(name, _attributes(child, _SHAPES[name]), text)


def _attributes(element: ElementTree.Element, allowed: frozenset[str]) -> Markup:
    kept = [(name, value) for name, value in element.items() if name in allowed and _VALUE.fullmatch(value)]
    return Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in kept)


def _name(element: ElementTree.Element) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]
