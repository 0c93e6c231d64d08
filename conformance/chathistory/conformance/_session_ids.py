"""Session ids that are easily taken for one another, or for something else than a name.

All are templates for `RunToken.fill`: `{run}` becomes a token of letters and digits, `{number}` a number,
both unique to the execution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

RUN_LENGTH = 20
"""How many characters `{run}` becomes."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True, slots=True)
class Collision:
    """Different session ids that a careless store takes for the same one, or for patterns of each other."""

    name: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostileSession:
    """A session id that a careless store trips over; without `{run}` it is the same in every execution."""

    name: str
    session: str


def is_hard_session_id(session_id: str) -> bool:
    """Whether a store may refuse this id cleanly: it isn't 1 to 200 ASCII letters, digits, `_` and `-`."""
    return _PLAIN.fullmatch(session_id) is None


def padded(length: int, end: str = "", start: str = "") -> str:
    """A template of an id of so many characters, whose token stands behind `start` or before `end`."""
    padding = "x" * (length - RUN_LENGTH - len(start) - len(end))
    return f"{start}{padding}{{run}}" if start else f"{{run}}{padding}{end}"


def _after_run(name: str, *ends: str) -> Collision:
    """Ids that differ in what follows the token."""
    return Collision(name, tuple("{run}" + end for end in ends))


_PARTS = (
    Collision("prefix", ("{run}", "{run}a", "{run}ab", "{run}-1", "{run}1", "{run}12")),
    Collision("suffix", ("{run}", "a{run}", "ba{run}", "1{run}", "0{run}")),
    Collision("substring", ("{run}", "a{run}b", "aa{run}bb", "{run}{run}")),
)

_LETTERS = (
    _after_run("case", "case", "CASE", "Case"),
    _after_run("case of accented letters", "\u00e9", "\u00c9", "e", "E"),
    _after_run("case of the Turkish i", "i", "I", "\u0131", "\u0130", "i\u0307"),
    _after_run("case of sharp s", "\u00df", "\u1e9e", "ss", "SS"),
    _after_run("case of the Kelvin sign", "k", "K", "\u212a"),
    _after_run("case of sigma", "\u03c3", "\u03c2", "\u03a3"),
    _after_run("NFC and NFD", "\u00e9", "e\u0301"),
    _after_run("NFC and NFD of Angstrom", "\u00c5", "A\u030a", "\u212b"),
    _after_run("NFC and NFD of Hangul", "\uac00", "\u1100\u1161"),
    _after_run("order of combining marks", "q\u0307\u0323", "q\u0323\u0307"),
    _after_run("compatibility ligature", "fi", "\ufb01"),
    _after_run("compatibility digits", "1", "\uff11", "\u00b9", "\u2460", "\u0661"),
    _after_run("compatibility full width", "A", "\uff21", "\U0001d400"),
    _after_run("homoglyphs", "a", "\u0430", "\u0251"),
    _after_run("zero width", "", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufe0f"),
    _after_run("outside the BMP", "\U0001f600", "\U0001f601", "\U0001f600\U0001f600", "\ufffd", "?"),
    _after_run("lone surrogates", "a\ud800b", "a\udc00b", "a?b", "a\ufffdb", "ab"),
    _after_run("mojibake", "\u00e9", "\u00c3\u00a9", "?", "\ufffd"),
)

_SPACES = (
    Collision("white space space", ("{run}", " {run}", "{run} ", "{run}  ", " {run} ")),
    Collision("white space tab", ("{run}", "\t{run}", "{run}\t", "{run} ")),
    Collision("white space no-break", ("{run}", "\u00a0{run}", "{run}\u00a0", "{run} ")),
    Collision("white space newline", ("{run}", "\n{run}", "{run}\n", "{run}\r\n", "{run}\r")),
    _after_run("white space inside", "a b", "a  b", "ab", "a\tb", "a_b", "a+b"),
)

_WILDCARDS = (
    _after_run("wildcard *", "*", "**", "", "a", "ab"),
    _after_run("wildcard ?", "?", "a", "ab", ""),
    _after_run("wildcard [a]", "[a]", "[ab]", "a", "b", "[^b]", "[a-z]"),
    _after_run("wildcard %", "%", "", "a", "ab", "%%"),
    _after_run("wildcard _", "_", "a", "__", "ab"),
    _after_run("wildcard at both ends", "a", "b", ".*", "(a|b)", "a$", "a{1}"),
    Collision("wildcard at the start", ("*{run}", "%{run}", "_{run}", "?{run}", "a{run}", "{run}")),
    _after_run("wildcard escaped", "\\*", "*", "\\\\*", "[*]", "\\%", "%", "\\_", "_"),
    _after_run("braces", "{a}", "a", "{{a}}", "{}", "{a,b}", "b"),
)


def _delimited(delimiter: str) -> Collision:
    """Ids that another id, a prefix or an entry's key turn into once joined by the delimiter."""
    ends = ("", "{d}", "{d}0", "{d}1", "{d}a", "{d}a{d}b", "a{d}b", "{d}ab", "ab{d}", "{d}{d}a")
    return Collision(
        f"delimiter {delimiter}",
        tuple(dict.fromkeys("{run}" + end.replace("{d}", delimiter) for end in ends)),
    )


_SYNTAX = (
    _after_run("delimiters replaced", "a:b", "a/b", "a#b", "a|b", "a.b", "a_b", "a-b", "a b", "ab", "a\\b"),
    Collision("relative path", ("{run}a", "./{run}a", "{run}/../{run}a", "{run}//a", "{run}/a", "{run}/./a")),
    Collision("quotes", ("{run}", '"{run}"', "'{run}'", "`{run}`", "[{run}]")),
    _after_run("quote doubled", "'", "''", '"', '""'),
    _after_run("backslash", "\\", "\\\\", "/", "\\n", "\\u0041", "A"),
    _after_run("trailing dot", "", ".", "..", "a.", "a"),
    Collision("leading marks", ("{run}", ".{run}", "..{run}", "_{run}", "-{run}", "~{run}", "#{run}", "@{run}")),
    _after_run("percent-encoding", "%41", "A", "%2541", "%C3%A9", "\u00e9"),
    _after_run("delimiters encoded, the percent sign not", "a/b", "a%2Fb", "a%2fb", "a:b", "a%3Ab", "a#b", "a%23b"),
    _after_run("encoded space", "a b", "a+b", "a%20b", "a&#32;b"),
    _after_run("file names", "", ".json", ".JSON", ".txt", ".db", "~", ".bak", ".lock", ".tmp"),
    _after_run("keys beside a session's own", "", ":meta", ":seq", ":count", ":lock", ":ttl", ":version", ":messages"),
    _after_run("NUL", "a", "a\x00", "a\x00b", "a\x00c"),
)

_NUMBERS = (
    Collision(
        "digits",
        (
            "{number}",
            "0{number}",
            "00{number}",
            "{number}.0",
            "{number}.",
            "+{number}",
            "-{number}",
            " {number}",
            "{number} ",
            "{number}e0",
            "0_{number}",
        ),
    ),
    Collision("digits of other scripts", ("1{number}", "\uff11{number}", "\u0661{number}", "\u0967{number}")),
    _after_run(
        "numbers at the end", "-1", "-01", "-1.0", "-1e0", "-0x1", "-\uff11", "-\u0661", "-+1", "- 1", "-1_0", "-10"
    ),
    Collision("digits that look hexadecimal", ("{number}", "0x{number}", "0X{number}", "x{number}", "{number}h")),
    Collision(
        "digits that look like a UUID",
        (
            "aaaaaaaaaaaaaaaaa{number}",
            "AAAAAAAAAAAAAAAAA{number}",
            "aaaaaaaa-aaaa-aaaa-a{number}",
            "{aaaaaaaa-aaaa-aaaa-a{number}}",
            "urn:uuid:aaaaaaaa-aaaa-aaaa-a{number}",
        ),
    ),
    Collision("empty values", ("{run}", "{run}None", "{run}null", "{run}nil", "{run}undefined", "None{run}")),
    Collision("truth values", ("{run}1", "{run}true", "{run}True", "{run}TRUE", "{run}t")),
)


def _lengths(*lengths: int) -> Iterator[Collision]:
    """Ids of these lengths that differ in their last character only, or in their first."""
    name = "length " + "/".join(map(str, lengths))
    yield Collision(f"{name} at the end", tuple(padded(n, end=end) for n in lengths for end in "ab"))
    yield Collision(f"{name} at the start", tuple(padded(n, start=start) for n in lengths for start in "ab"))


def _middles(*lengths: int) -> Iterator[Collision]:
    """Ids of these lengths that differ in one character in their middle."""
    for length in lengths:
        half = "x" * ((length - RUN_LENGTH) // 2)
        yield _after_run(f"length {length} in the middle", f"{half}a{half}", f"{half}b{half}")


COLLIDING_SESSIONS: tuple[Collision, ...] = (
    *_PARTS,
    *_LETTERS,
    *_SPACES,
    *_WILDCARDS,
    *map(_delimited, (":", "/", "#", "|", ".", ",", ";", "\\", "::", "-", "_", "@")),
    *_SYNTAX,
    *_NUMBERS,
    *_lengths(63, 64, 65),
    *_lengths(127, 128, 129),
    *_lengths(255, 256, 257),
    *_lengths(1023, 1025),
    *_lengths(2047, 2049),
    *_lengths(4096),
    *_middles(200, 600, 1_500),
)
"""Every kind of collision (ISO-2); the ids of one differ, and each holds `{run}` or `{number}`."""

HOSTILE_SESSIONS: tuple[HostileSession, ...] = (
    HostileSession("empty", ""),
    HostileSession("one space", " "),
    HostileSession("single quote", "{run}'"),
    HostileSession("double quote", '{run}"'),
    HostileSession("backtick", "{run}`"),
    HostileSession("parent folder", "../{run}"),
    HostileSession("parent folder inside", "{run}/../../x"),
    HostileSession("parent folder of Windows", "..\\{run}"),
    HostileSession("absolute path", "/tmp/{run}"),  # noqa: S108 - a name, never opened here
    HostileSession("drive", "C:\\{run}"),
    HostileSession("NUL", "{run}\x00"),
    HostileSession("newline", "{run}\nx"),
    HostileSession("carriage return", "{run}\rx"),
    HostileSession("line separator", "{run}\u2028x"),
    HostileSession("NEL and form feed", "{run}\u0085x\x0cy"),
    HostileSession("RESP", "{run}\r\n*1\r\n$8\r\nFLUSHALL\r\n"),
    HostileSession("SQL", "{run}'; DROP TABLE message_store; --"),
    HostileSession("SQL condition", "{run}' OR '1'='1"),
    HostileSession("semicolon", "{run};"),
    HostileSession("percent s", "{run}%s%d%(x)s"),
    HostileSession("format string", "{run}{}{0}{x!r}"),
    HostileSession("parameters", "{run}?:1$1@p"),
    HostileSession("Mongo operator", "$where{run}"),
    HostileSession("URL", "{run}?a=b&c=d#e"),
    HostileSession("option", "--{run}"),
    HostileSession("shell", "{run}$(id)`id`|id"),
    HostileSession("template", "{run}{{7*7}}${HOME}"),
    HostileSession("escape sequence", "\x1b[31m{run}\x1b[0m"),
    HostileSession("emoji", "{run}\U0001f600"),
    HostileSession("right to left override", "{run}\u202ex"),
    HostileSession("lone surrogate", "{run}\ud800"),
    HostileSession("4 KB", padded(4096)),
    HostileSession("70,000 characters", padded(70_000)),
)
"""Ids that must work exactly or be refused before anything is stored (ISO-5)."""
