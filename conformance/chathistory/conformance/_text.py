"""Shows what others wrote (messages, errors, names) as harmless text of a bounded length.

Content of messages is data: whatever a terminal, a log or a browser would act on is written as an escape.
"""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*:[^\s/@]*(?=@)")
_OUR_FOLDER = str(Path(__file__).resolve().parent)


def printable(text: str) -> str:
    r"""The text with line ends kept and every other unprintable character escaped, as ``repr`` would.

    So ``\x1b[2J`` clears no screen, and a lone surrogate breaks no output stream.
    """
    return "".join(c if c == "\n" or c.isprintable() else _escaped(c) for c in text)


def one_line(text: str, limit: int = 300) -> str:
    """The text on a single line, cut where it gets long."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def clip(text: str, *, characters: int = 3000, lines: int = 40) -> str:
    """The beginning of a text, and how much of it is left out, if any."""
    kept = "\n".join(printable(text[:characters]).split("\n")[:lines])
    whole = len(text) <= characters and text.count("\n") < lines
    return kept if whole else f"{kept}\n… (cut; {len(text):,} characters in all)"


def without_credentials(text: str) -> str:
    """The text with the user and password of every URL hidden."""
    return _CREDENTIALS.sub("***", text)


def error_line(error: BaseException) -> str:
    """An exception as its type and message on one line, without credentials."""
    message = one_line(without_credentials(str(error)))
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def raised_at(error: BaseException) -> str:
    """Where an exception comes from, as `` at file:line`` of the innermost frame of the user's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {_short(error.filename)}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    others = [frame for frame in frames if not _is_machinery(frame.filename)]
    own = [frame for frame in others if not _is_library(frame.filename)] or others
    return f" at {_short(own[-1].filename)}:{own[-1].lineno}" if own else ""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the closest candidate, or nothing."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    close = get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 clause``, ``2 clauses``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def _is_machinery(filename: str) -> bool:
    return filename.startswith(("<", _OUR_FOLDER))


def _is_library(filename: str) -> bool:
    return "site-packages" in Path(filename).parts or filename.startswith(sysconfig.get_path("stdlib"))


def _short(filename: str) -> str:
    """The path as seen from the current directory, where it lies below it."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
