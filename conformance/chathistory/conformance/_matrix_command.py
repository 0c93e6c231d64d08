"""What `chathistory matrix` does: check backends, read saved reports, and lay them out beside each other."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from chathistory.conformance._commands import (
    CONFORMANT,
    FAULT,
    INTERRUPTED,
    NOT_CONFORMANT,
    CheckRequest,
    checked,
    keep_hypothesis_out_of_this_folder,
)
from chathistory.conformance._deviations import joined, load_deviations
from chathistory.conformance._errors import UsageError
from chathistory.conformance._files import Destinations, write_file, write_json
from chathistory.conformance._html import matrix_page
from chathistory.conformance._matrix import Matrix, MatrixBlock, matrix_markdown, matrix_verdict
from chathistory.conformance._report import Configuration, Report
from chathistory.conformance._saved import saved_report
from chathistory.conformance._targets import open_target
from chathistory.conformance._terminal import Screen
from chathistory.conformance._text import without_credentials
from chathistory.reference import ChatHistoryError, Profile, select


def _is_saved(source: str) -> bool:
    """Whether a source is a file of a report, and no target."""
    return source.endswith(".json")


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixRequest:
    """What `chathistory matrix` was asked for.

    Attributes:
        sources: targets to check, and files of JSON reports, which end in `.json`.
        clauses: ids of clauses or families to check, of what is checked now; all by default.
        servers: which servers the targets are to use: a way for all of them, or `TARGET=WAY` for one.
        claims: the profiles to check in place of those that the targets claim.
        deviations: the files of what the targets are known to break: `TARGET=FILE` for one, or a file for all.
        configuration: how hard to look, of what is checked now.
        destinations: where the matrix goes beside the terminal.
        quiet: show nothing but the verdict.
    """

    sources: tuple[str, ...]
    clauses: tuple[str, ...]
    servers: tuple[str, ...]
    configuration: Configuration
    destinations: Destinations
    quiet: bool = False
    claims: tuple[Profile, ...] = ()
    deviations: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command, without what may hold a password."""
        options = [word for name in self.clauses for word in ("--clause", name)]
        options += [word for server in self.servers if "://" not in server for word in ("--server", server)]
        options += [word for claim in self.claims for word in ("--claim", claim)]
        options += [word for deviations in self.deviations for word in ("--deviations", deviations)]
        if not all(map(_is_saved, self.sources)):
            options += self._check("").options()
        return shlex.join(["chathistory", "matrix", *self.sources, *options])

    def server_of(self, target: str) -> str:
        """The server that a target is to use; none for what only a saved report speaks of."""
        return self._given(self.servers, target) if target in self.sources else ""

    def _given(self, values: tuple[str, ...], target: str) -> str:
        """What was given for a target: its own value, or that for all."""
        named = [value.partition("=") for value in values]
        its_own = [value for name, _, value in named if name == target]
        for_all = [value for value, (name, _, _) in zip(values, named, strict=True) if name not in self.sources]
        return next(iter([*its_own, *for_all]), "")

    def check_of(self, target: str) -> CheckRequest:
        """The check of one of the targets."""
        deviations = self._given(self.deviations, target)
        return replace(
            self._check(target, self.server_of(target)),
            claims=self.claims or None,
            deviations=Path(deviations) if deviations else None,
        )

    def _check(self, target: str, server: str = "") -> CheckRequest:
        return CheckRequest(
            target=target,
            claims=None,
            clauses=self.clauses,
            configuration=self.configuration,
            destinations=Destinations(),
            server=server,
        )


def run_matrix(request: MatrixRequest) -> int:
    """Check and read what was asked for, write the matrix, show it, and give an exit code.

    Raises:
        ChatHistoryError: a saved report can't be read, or there is nothing to show.
        KeyboardInterrupt: interrupted before there was anything to show.
    """
    request.destinations.try_out()
    select(request.clauses)
    for path in filter(None, (request.check_of(source).deviations for source in request.sources)):
        load_deviations(path)
    keep_hypothesis_out_of_this_folder()
    with Screen(quiet=request.quiet) as screen:
        gathered = _Gathered(request, screen)
        gathered.gather()
        if not gathered.reports and gathered.interrupted:
            raise KeyboardInterrupt
        if not gathered.reports:
            raise UsageError("; ".join(gathered.problems))
        matrix = Matrix(
            reports=tuple(gathered.reports),
            command=request.command,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            problems=tuple(gathered.problems),
        )
        _publish(request, matrix, screen)
    if gathered.interrupted:
        return INTERRUPTED
    if gathered.problems:
        return FAULT
    return CONFORMANT if matrix.verdict == "conformant" else NOT_CONFORMANT


@dataclass(slots=True)
class _Gathered:
    """The reports, and why some are missing: one backend that can't be opened must not cost the others' results."""

    request: MatrixRequest
    screen: Screen
    reports: list[Report] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False

    def gather(self) -> None:
        """Read all saved reports first, since a mistake there is known at once; then check."""
        saved = {source: saved_report(Path(source)) for source in filter(_is_saved, self.request.sources)}
        for source in self.request.sources:
            if source in saved:
                self.reports.append(saved[source])
            elif not self.interrupted:
                self.reports.extend(self._live(source))
            else:
                self.problems.append(f"{source}: interrupted before it was checked")

    def _live(self, target: str) -> Iterator[Report]:
        check = self.request.check_of(target)
        try:
            deviations = load_deviations(check.deviations) if check.deviations is not None else ()
            with open_target(target, claims=check.claims, server=check.server) as backend:
                backend = replace(backend, deviations=joined(backend.deviations, deviations))
                report, self.interrupted = checked(check, backend, self.screen)
            yield report
        except ChatHistoryError as error:
            self.problems.append(f"{target}: {without_credentials(str(error))}")
        except KeyboardInterrupt:
            self.interrupted = True
            self.problems.append(f"{target}: interrupted before it was checked")


def _publish(request: MatrixRequest, matrix: Matrix, screen: Screen) -> None:
    """Write files first, as for a single check."""
    wanted = request.destinations
    try:
        if wanted.json is not None:
            write_json(wanted.json, matrix.to_json(), wanted.start)
        if wanted.markdown is not None:
            write_file(wanted.markdown, matrix_markdown(matrix), wanted.start)
        if wanted.html is not None:
            write_file(wanted.html, matrix_page(matrix, replay=_replay_in(request)), wanted.start)
    finally:
        if not request.quiet:
            screen.show(MatrixBlock(matrix))
        screen.say(matrix_verdict(matrix).plain)


def _replay_in(request: MatrixRequest) -> Callable[[Report, str], str]:
    """How a clause of a report is checked again: as its run did, on the same server if it was a run of ours."""

    def replay(report: Report, clause_id: str) -> str:
        if not report.target:
            return ""
        asked = report.asked
        check = CheckRequest(
            target=report.target,
            claims=asked.claims or None,
            clauses=asked.clauses,
            configuration=report.configuration,
            destinations=Destinations(),
            server=asked.server or request.server_of(report.target),
            deviations=Path(asked.deviations) if asked.deviations else None,
        )
        return check.replay(clause_id)

    return replay
