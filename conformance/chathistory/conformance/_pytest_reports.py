"""Makes the JSON report and the page of the command out of what pytest items leave, from however many processes."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from chathistory.conformance._errors import UsageError
from chathistory.conformance._files import (
    asked_from_json,
    configuration_from_json,
    result_from_json,
    try_file,
    write_file,
    write_json,
)
from chathistory.conformance._html import report_page
from chathistory.conformance._report import Report
from chathistory.reference import CLAUSES

_ORDER = {clause.id: position for position, clause in enumerate(CLAUSES)}


def payload(item: pytest.Item, report: Report) -> str:
    """What the report of a class needs of one of its items, as text that any process can pass on."""
    assert item.parent is not None  # noqa: S101 -- the item is a method of a class
    siblings = [each for each in item.session.items if each.parent is item.parent]
    return json.dumps({"class": item.parent.nodeid, "selected": len(siblings), "report": report.to_json()})


Write: TypeAlias = Callable[[Path, Report, str], None]


def _write_json(path: Path, report: Report, _node_id: str) -> None:
    write_json(path, report.to_json())


def _write_page(path: Path, report: Report, node_id: str) -> None:
    def replay(clause_id: str) -> str:
        return shlex.join(["pytest", f"{node_id}::test_clause[{clause_id}]"])

    write_file(path, report_page(report, replay=replay, command=report.asked.command))


_WRITERS: dict[str, Write] = {"json": _write_json, "html": _write_page}


class ClassReports:
    """The plugin that collects results and writes reports for each class.

    Args:
        paths: the file of each kind of report, "json" or "html", that is wanted; several classes get files of
            their own beside it, named after them, and an existing folder gets a file for each class.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._payloads: dict[str, dict[str, dict[str, Any]]] = {}
        self._lines: list[str] = []
        for kind, path in paths.items():
            if not path.is_dir():
                try:
                    try_file(path)
                except UsageError as error:
                    raise pytest.UsageError(f"--chathistory-{kind}: {error}") from error

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what an item left; a later run of the same clause counts instead."""
        text = getattr(report, "chathistory", None)
        if text is not None:
            data = json.loads(text)
            self._payloads.setdefault(data["class"], {})[data["report"]["clauses"][0]["id"]] = data

    def pytest_sessionfinish(self) -> None:
        """Write the reports."""
        reports = {node_id: merged(list(left.values())) for node_id, left in self._payloads.items()}
        for kind, wanted in self._paths.items():
            for node_id, path in paths_of(list(reports), wanted, kind).items():
                try:
                    _WRITERS[kind](path, reports[node_id], node_id)
                    self._lines.append(f"report of {node_id}: {path}")
                except UsageError as error:
                    self._lines.append(f"error: {error}")
        if not self._payloads:
            self._lines.append("no clause was checked, so no report was written")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the reports are."""
        for line in self._lines:
            terminalreporter.write_line(f"chathistory: {line}")


def merged(payloads: list[dict[str, Any]]) -> Report:
    """The report of a class from what its items left."""
    reports = [data["report"] for data in payloads]
    first = min(reports, key=lambda report: str(report["started"]))
    results = [result_from_json(report["clauses"][0]) for report in reports]
    return Report(
        backend=first["backend"],
        claims=tuple(first["claims"]),
        configuration=configuration_from_json(first["configuration"]),
        versions=first["versions"],
        clauses=tuple(sorted(results, key=lambda result: _ORDER[result.id])),
        complete=len(results) == payloads[0]["selected"],
        seconds=sum(result.seconds for result in results),
        started=first["started"],
        target=first["target"],
        notes=tuple(first["notes"]),
        asked=asked_from_json(first["asked"]),
        limits=first["limits"],
    )


def paths_of(node_ids: list[str], path: Path, kind: str) -> dict[str, Path]:
    """The file of each class: the one asked for, or, where there are several classes, one named after each."""
    names = {node_id: node_id.split("::", 1)[-1].replace("::", ".") for node_id in node_ids}
    twice = {name for name, number in Counter(names.values()).items() if number > 1}
    for node_id, name in names.items():
        if name in twice:
            names[node_id] = f"{Path(node_id.split('::')[0]).with_suffix('').as_posix().replace('/', '.')}.{name}"
    if path.is_dir():
        return {node_id: path / f"{name}.{kind}" for node_id, name in names.items()}
    if len(names) == 1:
        return dict.fromkeys(names, path)
    return {node_id: path.with_name(f"{path.stem}-{name}{path.suffix}") for node_id, name in names.items()}
