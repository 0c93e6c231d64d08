"""Puts reports and scripts into files: the paths are tried before a run, and each file appears as a whole.

A file is written beside its place and moved there, so that no reader, and no interrupted run, ever leaves
half a report. A history may change the current directory: relative paths keep the meaning that they had before the run.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from chathistory.conformance._errors import UsageError
from chathistory.conformance._html import report_page
from chathistory.conformance._junit import junit_xml
from chathistory.conformance._markdown import markdown
from chathistory.conformance._report import (
    SCHEMA_VERSION,
    Asked,
    ClauseResult,
    Configuration,
    Counterexample,
    Report,
)

SCRIPTS = Path("chathistory-report")
"""Where the scripts of counterexamples go unless the user says otherwise."""


def here() -> Path:
    """The current directory, by a path that keeps its meaning; the empty path where there is none any more."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path()


@dataclass(frozen=True, kw_only=True, slots=True)
class Destinations:
    """Where the user wants the results of a run.

    Attributes:
        json: the file of the JSON report.
        junit: the file of the JUnit XML report.
        markdown: the file of the Markdown report.
        html: the file of the HTML report.
        scripts: the folder of the scripts; None is `SCRIPTS`, and no fault if it can't be written.
        start: the folder in which relative paths are meant.
    """

    json: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    scripts: Path | None = None
    start: Path = field(default_factory=here)

    def try_out(self) -> None:
        """Make sure, before anything runs, that every file can be written.

        Raises:
            UsageError: one can't be.
        """
        chosen = [path for path in (self.json, self.junit, self.markdown, self.html) if path is not None]
        if len({path.resolve() for path in chosen}) < len(chosen):
            raise UsageError("two reports can't go to the same file; give each a path of its own")
        for path in chosen:
            try_file(path)
        if self.scripts is not None:
            _try_scripts(self.scripts)

    def write(self, report: Report, *, replay: Callable[[str], str], command: str = "") -> None:
        """Write the report in every form that was asked for.

        Args:
            report: of a run that ended, or was interrupted.
            replay: the command that checks a clause again.
            command: the command that was run, if it was one.

        Raises:
            UsageError: a file can no longer be written.
        """
        if self.json is not None:
            write_json(self.json, report.to_json(), self.start)
        if self.junit is not None:
            write_file(self.junit, junit_xml(report), self.start)
        if self.markdown is not None:
            write_file(self.markdown, markdown(report, replay=replay), self.start)
        if self.html is not None:
            write_file(self.html, report_page(report, replay=replay, command=command), self.start)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scripts:
    """The scripts that were written.

    Attributes:
        paths: the path for each clause that has one.
        problem: why they could not be written; empty if they were.
    """

    paths: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def write_scripts(report: Report, folder: Path | None, start: Path = Path()) -> Scripts:
    """Write the script of each counterexample into a folder that is made, with those above it, if there is any.

    Args:
        report: of the run.
        folder: where they go; None is `SCRIPTS`.
        start: the folder in which a relative path is meant.
    """
    place = folder or SCRIPTS
    paths: dict[str, str] = {}
    try:
        for result in report.clauses:
            if result.counterexample is not None and result.counterexample.script:
                (start / place).mkdir(parents=True, exist_ok=True)
                path = place / f"{_file_name(report.backend)}-{result.id}.py"
                write_file(path, result.counterexample.script, start)
                paths[result.id] = str(path)
    except (OSError, UsageError) as error:
        return Scripts(paths=paths, problem=f"the scripts of counterexamples could not be written: {error}")
    return Scripts(paths=paths)


def schema() -> dict[str, Any]:
    """The JSON Schema of the JSON report."""
    text = files("chathistory.conformance").joinpath("report.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def write_json(path: Path, data: object, start: Path = Path()) -> None:
    """Write JSON data; as ASCII, since what is in it (lone surrogates, say) need not be valid UTF-8."""
    write_file(path, json.dumps(data, indent=2) + "\n", start)


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in, unless it is there.

    Raises:
        UsageError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't make the folder {str(folder)!r}: {error.strerror or error}") from error


def make_writable_folder(folder: Path) -> None:
    """The same, and make sure that files can be written into it.

    Raises:
        UsageError: it can't be made, or written into.
    """
    make_folder(folder)
    _try_folder(folder, folder)


def try_file(path: Path) -> None:
    """Make sure that a file can be written.

    Raises:
        UsageError: it can't be; the message says why and what to do.
    """
    if path.is_dir():
        raise UsageError(f"can't write {str(path)!r}: it is a folder; name a file in it")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise UsageError(f"can't write {str(path)!r}: there is no folder {str(path.parent)!r}; make it first")
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"can't write {str(path)!r}: it is write-protected")
    if not path.exists() or _is_replaceable(path):
        _try_folder(folder, path)


def _try_scripts(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"can't write scripts into {str(folder)!r}: it is a file; name a folder")
    if folder.is_dir():
        _try_folder(folder, folder)
        return
    above = next(parent for parent in folder.resolve().parents if parent.exists())
    if not above.is_dir():
        raise UsageError(f"can't make the folder {str(folder)!r}: {above.name!r} is a file")
    _try_folder(above, folder)


def _try_folder(folder: Path, path: Path) -> None:
    """Make and remove a file: permissions alone do not tell of read-only file systems."""
    probe = folder / f".chathistory-{os.getpid()}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"can't write {str(path)!r}: {error.strerror or error}") from error


def write_file(path: Path, text: str, start: Path = Path()) -> None:
    """Write a text file so that it is there as a whole or not at all.

    Args:
        path: the file, as errors call it.
        text: what goes into it.
        start: the folder in which a relative path is meant.

    Raises:
        UsageError: it can't be written.
    """
    place = start / path
    data = text.encode("utf-8", "backslashreplace")
    try:
        if place.exists() and not _is_replaceable(place):  # a pipe, or /dev/stdout: nothing to move there
            place.write_bytes(data)
        else:
            _replace(place.resolve(), data)
    except OSError as error:
        raise UsageError(f"can't write {str(path)!r}: {error.strerror or error}") from error


def _is_replaceable(path: Path) -> bool:
    return stat.S_ISREG(path.stat().st_mode)


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name[:100]}-{os.getpid()}.tmp")
    try:
        beside.write_bytes(data)
        if path.exists():
            beside.chmod(stat.S_IMODE(path.stat().st_mode))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _file_name(name: str) -> str:
    """A backend's name as part of a file name on every system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:60] or "backend"


def read_report(path: Path) -> dict[str, Any]:
    """The data of a JSON report.

    Raises:
        UsageError: it can't be read, or is no report that this version knows.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"can't read {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:  # no UTF-8, or no JSON
        raise UsageError(f"{str(path)!r} is not a JSON report: {error}") from error
    _check_report(data, path)
    return dict(data)


def _check_report(data: object, path: Path) -> None:
    if not isinstance(data, dict) or "schema" not in data or not isinstance(data.get("clauses"), list):
        raise UsageError(f"{str(path)!r} is not a JSON report of chathistory; write one with check --json")
    if data["schema"] != SCHEMA_VERSION:
        raise UsageError(
            f"{str(path)!r} has schema {data['schema']!r}, and this version reads {SCHEMA_VERSION}; "
            "install the version that wrote it"
        )
    for entry in data["clauses"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise UsageError(f"{str(path)!r} is damaged: a clause without an id")


def result_from_json(data: dict[str, Any]) -> ClauseResult:
    """The result of a clause from its entry in a JSON report, by `Report.to_json`."""
    found = data.get("counterexample")
    counterexample = None if found is None else Counterexample(**{**found, "lines": tuple(found["lines"])})
    return ClauseResult(**{**data, "counterexample": counterexample, "notes": tuple(data["notes"])})


def asked_from_json(data: dict[str, Any]) -> Asked:
    """What was asked for from a JSON report."""
    return Asked(**{**data, "claims": tuple(data["claims"]), "clauses": tuple(data["clauses"])})


def configuration_from_json(data: dict[str, Any]) -> Configuration:
    """The configuration of a run from its JSON report."""
    return Configuration(**data)
