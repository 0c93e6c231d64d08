"""Finds the line of each entry and key of a file of deviations, which the parser of TOML does not tell.

It reads lines, not TOML: the file has been parsed by then, so a line outside of a text in triple quotes that
looks like a header or a key is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADER = re.compile(r"\s*\[(\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*(["']?)([A-Za-z0-9_-]+)\1\s*[=.]""")
_TRIPLE = re.compile(r"""\"{3}|'{3}""")
_SINGLE = re.compile(r""""(?:[^"\\]|\\.)*"(?!")|'[^']*'(?!')|#.*""")


@dataclass(frozen=True, slots=True)
class _Place:
    """The first line of an entry, and the lines of its keys."""

    line: int
    keys: dict[str, int]


class Lines:
    """Where the entries and keys of a text stand, by lines from 1.

    Args:
        text: the whole text.
    """

    def __init__(self, text: str) -> None:
        self._tables: dict[str, int] = {}
        self._entries: list[_Place] = []
        self._quote = ""
        self._in_entry = False
        lines = text.split("\n")
        self.count = len(lines) - 1 if text.endswith("\n") and len(lines) > 1 else len(lines)
        for number, line in enumerate(lines, start=1):
            inside = bool(self._quote)
            self._follow_quotes(line)
            if not inside:
                self._note(line, number)

    def of(self, index: int, key: str | None = None) -> int:
        """The line of a key of an entry, or of its header if it has no line of its own."""
        if index >= len(self._entries):
            return self.of_table("deviation")
        place = self._entries[index]
        return place.keys.get(key, place.line) if key is not None else place.line

    def of_table(self, name: str) -> int:
        """The line of a key or table at the top."""
        return self._tables.get(name, 1)

    def _follow_quotes(self, line: str) -> None:
        """Keep whether the next line begins inside a text in triple quotes."""
        rest = line
        while rest:
            if self._quote:
                _, ended, rest = rest.partition(self._quote)
                self._quote = "" if ended else self._quote
            else:
                rest = self._after_next_opening(rest)

    def _after_next_opening(self, rest: str) -> str:
        """What follows the next triple quote that opens a text; nothing if there is none."""
        position = 0
        while position < len(rest):
            if found := _TRIPLE.match(rest, position):
                self._quote = found[0]
                return rest[found.end() :]
            skipped = _SINGLE.match(rest, position)
            position = skipped.end() if skipped else position + 1
        return ""

    def _note(self, line: str, number: int) -> None:
        if header := _HEADER.match(line):
            self._note_header(header[2].strip("\"'"), number, is_entry=bool(header[1]))
        elif key := _KEY.match(line):
            keys = self._entries[-1].keys if self._in_entry else self._tables
            keys.setdefault(key[2], number)

    def _note_header(self, name: str, number: int, *, is_entry: bool) -> None:
        top, _, inner = name.partition(".")
        self._tables.setdefault(top.strip().strip("\"'"), number)
        if is_entry and name == "deviation":
            self._entries.append(_Place(number, {}))
            self._in_entry = True
        elif top.strip() == "deviation" and self._entries and inner:
            self._entries[-1].keys.setdefault(inner.strip().strip("\"'"), number)
            self._in_entry = False
