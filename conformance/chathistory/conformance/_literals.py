"""Writes texts and numbers as Python literals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from chathistory.conformance._portable import repetition

_TOKEN = re.compile(r"(\{run\}|\{number\})")
_LARGEST_DECIMAL = 10**4000  # CPython refuses to read decimal integers of more than 4,300 digits


def text_source(text: str) -> str:
    """A text as a Python literal, long repetitions as a product."""
    return concatenated(text, lambda part: literal([part], formatted=False))


def template_source(template: str) -> str:
    """The template of a session id as an f-string over the variables `run` and `number`."""
    if not _TOKEN.search(template):
        return text_source(template)
    source = concatenated(template, _template_literal)
    return source if len(_TOKEN.findall(source)) == len(_TOKEN.findall(template)) else _template_literal(template)


def concatenated(text: str, shown: Callable[[str], str]) -> str:
    """A text as a literal of the given kind, a long repetition as a product."""
    repeated = repetition(text)
    if not repeated:
        return shown(text)
    head, unit, times, tail = repeated
    parts = [f"{shown(unit)} * {times}"]
    if head:
        parts.insert(0, shown(head))
    if tail:
        parts.append(shown(tail))
    return " + ".join(parts)


def _template_literal(template: str) -> str:
    parts = _TOKEN.split(template)
    return literal(parts, formatted=len(parts) > 1, is_template=True)


def literal(parts: Sequence[str | None], *, formatted: bool, is_template: bool = False) -> str:
    """A literal of texts, in which None stands for `{i}` and, in a template, the tokens for themselves."""
    whole = "".join(part for part in parts if part)
    quote = "'" if '"' in whole and "'" not in whole else '"'
    ascii_only = unicodedata.normalize("NFC", whole) != whole
    body = ""
    for part in parts:
        if part is None:
            body += "{i}"
        elif is_template and _TOKEN.fullmatch(part):
            body += part
        else:
            escaped = _escaped(part, quote, ascii_only)
            body += escaped.replace("{", "{{").replace("}", "}}") if formatted else escaped
    return f"{'f' if formatted else ''}{quote}{body}{quote}"


def _escaped(text: str, quote: str, ascii_only: bool) -> str:
    if text.isprintable() and not ascii_only and quote not in text and "\\" not in text:
        return text
    return "".join(_escaped_character(character, quote, ascii_only) for character in text)


def _escaped_character(character: str, quote: str, ascii_only: bool) -> str:
    if character in (quote, "\\"):
        return f"\\{character}"
    return (ascii if ascii_only else repr)(character)[1:-1]


def float_source(value: float) -> str:
    """A float; what is not finite by the call that makes it."""
    text = repr(value)
    return text if text[-1] not in "nf" else f'float("{text}")'


def int_source(value: int) -> str:
    """An integer, a large power of ten as such, and in base 16 what Python would not read in base 10."""
    if not -_LARGEST_DECIMAL < value < _LARGEST_DECIMAL:
        return hex(value)
    text = str(value)
    digits = text.lstrip("-")
    if len(digits) > 20 and digits == "1" + "0" * (len(digits) - 1):
        return f"{'-' if value < 0 else ''}10**{len(digits) - 1}"
    return text


def bytes_source(value: bytes) -> str:
    """Bytes in double quotes."""
    text = repr(value)
    return f'b"{text[2:-1]}"' if text[1] == "'" and '"' not in text else text
