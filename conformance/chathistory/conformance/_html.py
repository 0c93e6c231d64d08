"""Writes a report, or a matrix of reports, as one HTML file that needs no network and trusts none of its contents.

Every text goes through `printable` and is escaped; what the page itself may run and look like is pinned by
hashes in its content security policy, so that markup in a report, were it ever let through, would do nothing.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chathistory.conformance._blocks import LOOKS, limits_text, seconds, unfinished
from chathistory.conformance._matrix import Matrix, counts, facts, family_cell
from chathistory.conformance._report import ClauseResult, Outcome, Report
from chathistory.conformance._svg import drawing
from chathistory.conformance._text import clip, counted, one_line, printable
from chathistory.reference import FAMILIES, Clause, Family, clause

LONGEST = 1_000_000
"""Above this many characters a page shows less of each value."""

_LONGEST_SCRIPT = 200_000
_SCRIPTS_AS_THEY_ARE = 600_000
_SHARED_LINES = 400_000
_VIOLATIONS: tuple[Outcome, ...] = ("failed", "stale", "warned", "declared")

Replay: TypeAlias = Callable[[Report, str], str]


def report_page(report: Report, *, replay: Callable[[str], str], command: str = "") -> str:
    """A report as a page.

    Args:
        report: of a run that ended, or was interrupted.
        replay: the command that checks a clause again.
        command: the command that made the report, if one did.
    """
    found = report.with_outcome(*_VIOLATIONS)
    shared = SharedLines() if sum(map(len, map(_script, found))) > _SCRIPTS_AS_THEY_ARE else None
    violations = [_violation(result, result.id, replay(result.id), shared) for result in found]
    return _page(
        "report.html.j2",
        report=report,
        command=command,
        families=_by_family(result.id for result in report.clauses),
        results={result.id: result for result in report.clauses},
        violations=violations,
        linked={violation.key for violation in violations},
        outcomes=_outcomes(report.clauses),
        shared=shared,
    )


def matrix_page(matrix: Matrix, *, replay: Replay) -> str:
    """A matrix as a page whose cells lead to the counterexamples.

    Args:
        matrix: of at least one report.
        replay: the command that checks a clause of a report again.
    """
    shared = SharedLines()
    sections = [
        [
            _violation(result, f"{number}-{result.id}", replay(report, result.id), shared)
            for result in report.with_outcome(*_VIOLATIONS)
        ]
        for number, report in enumerate(matrix.reports, 1)
    ]
    return _page(
        "matrix.html.j2",
        matrix=matrix,
        families=_by_family(each.id for each in matrix.clauses),
        rows={each.id: matrix.row(each.id) for each in matrix.clauses},
        sections=sections,
        outcomes=_outcomes(result for report in matrix.reports for result in report.clauses),
        shared=shared,
    )


@dataclass(frozen=True, slots=True)
class Room:
    """How much of each violation a page shows.

    Attributes:
        characters: of each value.
        steps: of the program.
        line: characters of each step.
    """

    characters: int
    steps: int
    line: int


_ROOMS = (Room(3000, 60, 500), Room(800, 20, 200), Room(150, 5, 100))


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A violation as a page shows it.

    Attributes:
        result: what became of the clause.
        key: its name within the page.
        replay: the command that checks it again; empty if there is none.
        script: its script, unless it is longer than anybody reads.
        shared: the number of its script among those that share lines, if it is one of them.
    """

    result: ClauseResult
    key: str
    replay: str
    script: str
    shared: int | None

    @property
    def drawing(self) -> Markup:
        """The timeline as a drawing, if there is one."""
        found = self.result.counterexample
        return drawing(found.timeline_svg) if found is not None else Markup("")


def _violation(result: ClauseResult, key: str, replay: str, shared: SharedLines | None) -> Violation:
    script = _script(result)
    number = shared.add(script) if shared is not None else None
    return Violation(result=result, key=key, replay=replay, script=script, shared=number)


def _script(result: ClauseResult) -> str:
    found = result.counterexample
    return found.script if found is not None and len(found.script) <= _LONGEST_SCRIPT else ""


@dataclass(slots=True)
class SharedLines:
    """Scripts as runs of lines in one table, since most of their lines are the same in many of them.

    Attributes:
        lines: the table: each line once.
        scripts: for each script the first line and the number of lines of each run, one after the other.
    """

    lines: list[str] = field(default_factory=list)
    scripts: list[list[int]] = field(default_factory=list)
    _place: dict[str, int] = field(default_factory=dict)
    _size: int = 0

    def add(self, script: str) -> int | None:
        """The number of the script; None if there is none, or no room for it."""
        lines = [printable(line) for line in script.split("\n")]
        size = sum(len(line) for line in set(lines) - self._place.keys())
        if not script or self._size + size > _SHARED_LINES:
            return None
        self._size += size
        runs: list[int] = []
        for line in lines:
            place = self._place.setdefault(line, len(self.lines))
            if place == len(self.lines):
                self.lines.append(line)
            if runs and runs[-2] + runs[-1] == place:
                runs[-1] += 1
            else:
                runs += [place, 1]
        self.scripts.append(runs)
        return len(self.scripts) - 1


def _by_family(clause_ids: Iterable[str]) -> list[tuple[Family, list[Clause]]]:
    """The families that have any of these clauses, each with those that it has."""
    clauses = [clause(clause_id) for clause_id in clause_ids]
    groups = [(family, [each for each in clauses if each.family == family.id]) for family in FAMILIES]
    return [(family, members) for family, members in groups if members]


def _outcomes(results: Iterable[ClauseResult]) -> dict[Outcome, int]:
    """How many results have which outcome, of those that occur."""
    found = [result.outcome for result in results]
    return {outcome: found.count(outcome) for outcome in LOOKS if outcome in found}


def _page(template: str, **content: Any) -> str:
    """A page from its template, with so much of each value that the whole is not too long."""
    page = ""
    for room in _ROOMS:
        page = _templates().get_template(template).render(content, room=room)
        if len(page) <= LONGEST:
            break
    return page


@cache
def _templates() -> Environment:
    """The templates, with what they may call."""
    loader = PackageLoader("chathistory.conformance")
    environment = Environment(
        loader=loader,
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, behaviour = (Markup(loader.get_source(environment, name)[0]) for name in ("page.css", "page.js"))  # noqa: S704 -- our own files
    environment.globals.update(
        clause=clause,
        clip=clip,
        counted=counted,
        counts=counts,
        facts=facts,
        family_cell=family_cell,
        limits_text=limits_text,
        looks=LOOKS,
        one_line=one_line,
        seconds=seconds,
        unfinished=unfinished,
        style=style,
        behaviour=behaviour,
        policy=_policy(style, behaviour),
    )
    return environment


def _shown(value: object) -> object:
    """What a template shows in place of a value: no text of others reaches a page with control characters in it."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _policy(style: str, behaviour: str) -> str:
    """The content security policy: this style and this script, and nothing from anywhere."""
    hashes = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, behaviour))
    style_hash, script_hash = hashes
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )
