"""Deviations as a file that a backend's author owns: read strictly, written entry by entry, held to versions.

A file of deviations is TOML, an entry for each clause that the backend is known to break::

    [[deviation]]
    clause = "ATM-1"
    reason = "the store has no transactions"
    link = "https://example.com/issues/1"
    since = "2026-11-20"
    versions = {redis = ">=5,<8"}
    witness = '{"check": "...", "steps": [...]}'

`clause` and `reason` are required. A mistake is one line with the file and the line it is on.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from chathistory.conformance._backend import Backend, Deviation
from chathistory.conformance._deviation_lines import Lines
from chathistory.conformance._errors import UsageError
from chathistory.conformance._files import read_report, try_file, write_file
from chathistory.conformance._portable import program_from_json
from chathistory.conformance._text import did_you_mean, one_line
from chathistory.conformance.checks import checks_of
from chathistory.reference import CLAUSES, ChatHistoryError, UnknownClauseError, clause

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = ("clause", "reason", "link", "since", "versions", "witness")

_HEADING = "# The clauses that the backend is known to break, with reasons; one that no longer occurs fails the gate.\n"
_WHERE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")
_NUMBER = re.compile(r"\d+(\.\d+)*")


def load_deviations(path: Path) -> tuple[Deviation, ...]:
    """The deviations of a file.

    Raises:
        UsageError: it can't be read, or an entry is wrong; the message names the file and the line.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"can't read {str(path)!r}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is no text in UTF-8: {error}") from error
    return parse_deviations(text, str(path))


def parse_deviations(text: str, name: str) -> tuple[Deviation, ...]:
    """The deviations of the text of a file of this name; see `load_deviations`."""
    lines = Lines(text)
    data = _parsed(text, name, lines)
    for key in data:
        if key != "deviation":
            hint = did_you_mean(key, ["deviation"])
            raise UsageError(f"{name}:{lines.of_table(key)}: unknown key {key!r:.60}{hint}; entries are [[deviation]]")
    entries = data.get("deviation", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        line = lines.of_table("deviation")
        raise UsageError(f"{name}:{line}: an entry begins with [[deviation]], in double brackets")
    found: dict[str, int] = {}
    deviations = [_Entry(entry, index, name, lines).deviation() for index, entry in enumerate(entries)]
    for index, deviation in enumerate(deviations):
        line = lines.of(index, "clause")
        if deviation.clause in found:
            first = found[deviation.clause]
            raise UsageError(f"{name}:{line}: {deviation.clause} is declared twice, first on line {first}")
        found[deviation.clause] = line
    return tuple(deviations)


def _parsed(text: str, name: str, lines: Lines) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = _WHERE.search(str(error))
        line = where[1] if where and where[1] else lines.count
        raise UsageError(f"{name}:{line}: this is no TOML: {one_line(_WHERE.sub('', str(error)))}") from error


class _Entry:
    """An entry of a file as it was parsed, and where it stands."""

    def __init__(self, data: dict[str, Any], index: int, name: str, lines: Lines) -> None:
        self._data, self._index, self._name, self._lines = data, index, name, lines

    def deviation(self) -> Deviation:
        for key in self._data:
            if key not in KEYS:
                hint = did_you_mean(key, KEYS)
                raise self._wrong(key, f"unknown key {key!r:.60}{hint}; the keys are {', '.join(KEYS)}")
        clause_id = self._clause()
        return Deviation(
            clause=clause_id,
            reason=self._required("reason"),
            link=self._text("link"),
            since=self._text("since"),
            versions=self._versions(),
            witness=self._witness(clause_id),
            source=f"{self._name}:{self._lines.of(self._index, 'clause')}",
        )

    def _clause(self) -> str:
        given = self._required("clause")
        try:
            return clause(given).id
        except UnknownClauseError:
            members = [each.id for each in CLAUSES if each.family == given.upper()]
            hint = f"; it is a family, name one of {', '.join(members)}" if members else _close_clause(given)
            raise self._wrong("clause", f"there is no clause {one_line(given, 60)!r}{hint}") from None

    def _required(self, key: str) -> str:
        if key not in self._data:
            raise self._wrong(None, f"the entry has no {key}; it needs a clause and a reason")
        text = self._text(key)
        if not text.strip():
            raise self._wrong(key, f"the {key} is empty")
        return text

    def _text(self, key: str) -> str:
        value = self._data.get(key, "")
        if isinstance(value, datetime.date):  # TOML has dates of its own
            return value.isoformat()
        if not isinstance(value, str):
            raise self._wrong(key, f"{key} must be a text in quotes, not {type(value).__name__}")
        return value

    def _versions(self) -> dict[str, str]:
        given = self._data.get("versions", {})
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise self._wrong("versions", 'versions must be a table of texts, for example {redis = ">=5,<8"}')
        for library, specifier in given.items():
            try:
                SpecifierSet(specifier)
            except InvalidSpecifier:
                message = f'{specifier!r:.60} is no range of versions of {library}; write it as in ">=5,<8"'
                raise self._wrong("versions", message) from None
        return dict(given)

    def _witness(self, clause_id: str) -> Mapping[str, Any] | None:
        if "witness" not in self._data:
            return None
        text = self._text("witness")
        try:
            recorded = json.loads(text)
            check_witness(clause_id, recorded)
        except (ValueError, RecursionError) as error:
            raise self._wrong("witness", f"the witness is not JSON: {one_line(str(error))}") from None
        except ChatHistoryError as error:
            raise self._wrong("witness", f"the witness can't be replayed: {error}") from None
        return dict(recorded)

    def _wrong(self, key: str | None, message: str) -> UsageError:
        return UsageError(f"{self._name}:{self._lines.of(self._index, key)}: {message}")


def _close_clause(given: str) -> str:
    return did_you_mean(given, [each.id for each in CLAUSES])


def check_witness(clause_id: str, recorded: Mapping[str, Any]) -> None:
    """Make sure that a recorded program can be replayed as a witness against a clause.

    Raises:
        UsageError: it is no program, or no check of this clause recorded it.
    """
    if not isinstance(recorded, Mapping):
        raise UsageError("it must be the program of a counterexample in a JSON report")
    names = [check.name for check in checks_of(clause_id)]
    name = recorded.get("check")
    if name not in names:
        hint = did_you_mean(str(name), names)
        raise UsageError(f"{clause_id} has no check {str(name)!r:.80} in this version{hint}")
    program_from_json(recorded)


def joined(own: Iterable[Deviation], others: Iterable[Deviation]) -> tuple[Deviation, ...]:
    """The deviations that a backend declares itself and those declared elsewhere, together.

    Raises:
        UsageError: a clause is declared twice.
    """
    found: dict[str, Deviation] = {}
    for deviation in (*own, *others):
        first = found.setdefault(deviation.clause, deviation)
        if first is not deviation:
            raise UsageError(
                f"{deviation.clause} is declared twice, {_place(first)} and {_place(deviation)}; leave one of them"
            )
    return tuple(found.values())


def _place(deviation: Deviation) -> str:
    return f"in {deviation.source}" if deviation.source else f"in code ({one_line(deviation.reason, 60)})"


def in_force(backend: Backend, versions: Mapping[str, str]) -> Backend:
    """The backend with those of its deviations alone that hold for these versions.

    Args:
        backend: the backend.
        versions: of the libraries and servers of this run; others are looked up among what is installed.

    Raises:
        UsageError: a clause is declared twice, a witness can't be replayed, or a deviation names versions that
            are no range, or of a library that is not known here.
    """
    deviations = joined(backend.deviations, ())
    for deviation in deviations:
        _check_declared(deviation)
    holding = tuple(each for each in deviations if _holds(each, versions))
    notes = tuple(_void(each) for each in deviations if each not in holding)
    return replace(backend, deviations=holding, notes=(*backend.notes, *notes))


def _check_declared(deviation: Deviation) -> None:
    """Refuse in a deviation declared in code what would have been refused in a file."""
    try:
        for specifier in deviation.versions.values():
            SpecifierSet(specifier)
        if deviation.witness is not None:
            check_witness(deviation.clause, deviation.witness)
    except (InvalidSpecifier, ChatHistoryError) as error:
        raise UsageError(f"the deviation from {deviation.clause} {_place(deviation)} can't be used: {error}") from None


def _void(deviation: Deviation) -> str:
    versions = " and ".join(f"{library} {specifier}" for library, specifier in deviation.versions.items())
    return f"The deviation from {deviation.clause} is declared for {versions}, which is not what runs here."


def _holds(deviation: Deviation, versions: Mapping[str, str]) -> bool:
    return all(
        SpecifierSet(specifier).contains(_version(deviation, library, versions), prereleases=True)
        for library, specifier in deviation.versions.items()
    )


def _version(deviation: Deviation, library: str, versions: Mapping[str, str]) -> Version:
    given = versions.get(library) or _installed(library)
    if given is None:
        hint = did_you_mean(library, versions)
        raise UsageError(
            f"{deviation.source or 'a deviation'}: {deviation.clause} is declared for versions of {library!r:.60}, "
            f"which neither the backend nor this environment has{hint}"
        )
    try:
        return Version(given)
    except InvalidVersion:  # "18.4 (Debian 18.4-1)", as servers say it
        number = _NUMBER.search(given)
        if number is None:
            raise UsageError(f"{library} has the version {one_line(given, 60)!r}, which can't be compared") from None
        return Version(number[0])


def _installed(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def add_deviation(
    path: Path, clause_id: str, reason: str, report: Path, *, link: str, since: str, affects: Iterable[str]
) -> str:
    """Append an entry, with the counterexample of a report as its witness, to a file that is made if there is none.

    Everything in the file stays as it is.

    Returns:
        A line that says what was done.

    Raises:
        UsageError: the report has no counterexample of the clause, the file is wrong or can't be written, or it
            declares the clause already.
    """
    wanted = clause(clause_id).id
    try_file(path)
    text = _text_of(path)
    earlier = next((each for each in parse_deviations(text, str(path)) if each.clause == wanted), None)
    if earlier is not None:
        raise UsageError(f"{earlier.source}: {wanted} is declared already; change or remove that entry")
    data = read_report(report)
    witness, problem = _witness_of(wanted, data, report)
    fields = {"clause": wanted, "reason": reason, "link": link, "since": since or str(data.get("started", ""))[:10]}
    entry = entry_text(fields, versions=_affected(affects), witness=witness)
    text = _appended(text or _HEADING, entry)
    _check_written(text, path)
    write_file(path, text)
    return f"{path}: {wanted} declared, {problem or 'with its counterexample as the witness'}"


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read {str(path)!r}: {error}") from error


def _check_written(text: str, path: Path) -> None:
    """Refuse to write what would not be read again: a file that holds its entries in a list, for one."""
    try:
        parse_deviations(text, str(path))
    except UsageError as error:
        raise UsageError(f"an entry can't be added to {str(path)!r} as it is; it would read: {error}") from error


def _witness_of(clause_id: str, data: Mapping[str, Any], report: Path) -> tuple[Mapping[str, Any] | None, str]:
    """The recorded program of a clause, or None and why it can't be a witness."""
    entry = next((each for each in data["clauses"] if each["id"] == clause_id), None)
    if entry is None:
        raise UsageError(f"{str(report)!r} says nothing of {clause_id}; check with --clause {clause_id} --json")
    found = entry.get("counterexample")
    if not isinstance(found, dict) or not isinstance(found.get("program"), dict):
        raise UsageError(f"{str(report)!r} has no counterexample of {clause_id} (it is {entry.get('outcome')!r:.40})")
    try:
        check_witness(clause_id, found["program"])
    except ChatHistoryError as error:
        return None, f"without a witness, so each run searches for it: {error}"
    return found["program"], ""


def _affected(requirements: Iterable[str]) -> dict[str, str]:
    versions = {}
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise UsageError(f"{text!r:.60} is no range of versions; write it as in 'redis>=5,<8'") from None
        if not requirement.specifier or requirement.url or requirement.extras or requirement.marker:
            raise UsageError(f"{text!r:.60} names no range of versions; write it as in 'redis>=5,<8'")
        versions[requirement.name] = str(requirement.specifier)
    return versions


def entry_text(fields: Mapping[str, str], *, versions: Mapping[str, str], witness: Mapping[str, Any] | None) -> str:
    """An entry as TOML."""
    lines = ["[[deviation]]", *(f"{key} = {_quoted(value)}" for key, value in fields.items() if value)]
    if versions:
        pairs = ", ".join(f"{_quoted(name)} = {_quoted(specifier)}" for name, specifier in versions.items())
        lines.append(f"versions = {{ {pairs} }}")
    if witness is not None:
        # In a literal string of TOML nothing is an escape but the quote that ends it, which JSON can write otherwise.
        lines.append("witness = '" + json.dumps(witness).replace("'", "\\u0027") + "'")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A basic string of TOML: as in JSON, but without surrogates, and with DEL escaped."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(valid, ensure_ascii=False).replace("\x7f", "\\u007f")


def _appended(text: str, entry: str) -> str:
    line_end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if text.endswith("\n") else line_end
    return f"{text}{gap}{line_end}{entry.replace(chr(10), line_end)}"
