"""What the commands do once their arguments are parsed: open, run, write, show, and give an exit code."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from hypothesis.configuration import set_hypothesis_home_dir

from chathistory.conformance import _runner
from chathistory.conformance._backend import Backend, Deviation
from chathistory.conformance._badge import badge
from chathistory.conformance._compare import Comparison, comparison_block, comparison_markdown
from chathistory.conformance._deviations import add_deviation, joined, load_deviations
from chathistory.conformance._division import Division, helped
from chathistory.conformance._errors import UsageError
from chathistory.conformance._files import (
    Destinations,
    make_writable_folder,
    read_report,
    try_file,
    write_file,
    write_scripts,
)
from chathistory.conformance._helper import Share, help_with
from chathistory.conformance._init import write_skeleton
from chathistory.conformance._listings import (
    backends_block,
    clause_block,
    clauses_block,
    deviations_block,
    semantics_json,
)
from chathistory.conformance._locate import registered_backends
from chathistory.conformance._portable import program_from_json
from chathistory.conformance._report import (
    EFFORTS,
    Asked,
    ClauseResult,
    Configuration,
    Event,
    Report,
    RunFinished,
    broadcast,
)
from chathistory.conformance._saved import saved_report
from chathistory.conformance._search import depends_on_chance
from chathistory.conformance._soak import SoakSettings, Tally, soak
from chathistory.conformance._soak_screen import SoakScreen, write_soak
from chathistory.conformance._targets import open_target
from chathistory.conformance._terminal import Screen
from chathistory.conformance._text import error_line, one_line, without_credentials
from chathistory.conformance.selfproof._processes import cores
from chathistory.reference import CLAUSES, PROFILES, Profile, select

CONFORMANT, NOT_CONFORMANT, FAULT, INTERRUPTED = 0, 1, 2, 130

_WORTH_A_HELPER = 20
"""Of how many clauses a run must be for a second process, which takes seconds to start, to make it shorter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckRequest:
    """What `chathistory check` was asked for."""

    target: str
    claims: tuple[Profile, ...] | None
    clauses: tuple[str, ...]
    configuration: Configuration
    destinations: Destinations
    quiet: bool = False
    server: str = ""
    deviations: Path | None = None
    processes: int | None = None

    def replay(self, clause_id: str) -> str:
        """The command that checks one clause again as it was checked."""
        return self._command((clause_id,))

    @property
    def asked(self) -> Asked:
        """What the report says of the request."""
        return Asked(
            command=self.command,
            server=without_credentials(self.server),
            claims=self.claims or (),
            clauses=self.clauses,
            deviations=str(self.deviations or ""),
        )

    @property
    def command(self) -> str:
        """The command that was run, as far as it decides what is reported."""
        return self._command(self.clauses)

    def _command(self, clauses: tuple[str, ...]) -> str:
        claims = [word for claim in self.claims or () for word in ("--claim", claim)]
        chosen = [word for name in clauses for word in ("--clause", name)]
        # A URL may hold a password; whoever reads the report has another server anyway.
        server = ["--server", self.server] if self.server and "://" not in self.server else []
        return shlex.join(["chathistory", "check", self.target, *server, *claims, *chosen, *self.options()])

    def options(self) -> list[str]:
        """The options that say how hard to look."""
        ours = self.configuration
        usual = EFFORTS[ours.effort]
        options = [] if ours.effort == "full" else [f"--{ours.effort}"]
        if self.deviations is not None:
            options += ["--deviations", str(self.deviations)]
        if ours.examples != usual.examples:
            options += ["--examples", str(ours.examples)]
        if ours.timeout != usual.timeout:
            options += ["--timeout", f"{ours.timeout:g}"]
        return [*options, "--seed", str(ours.seed)]


def run_check(request: CheckRequest) -> int:
    """Check a target, write its reports, show the result.

    Raises:
        ChatHistoryError: a fault of the set-up; nothing was checked.
        KeyboardInterrupt: interrupted before the first clause was reached.
    """
    request.destinations.try_out()
    select(request.clauses)
    deviations = load_deviations(request.deviations) if request.deviations is not None else ()
    keep_hypothesis_out_of_this_folder()
    screen = Screen(quiet=request.quiet)
    with screen, open_target(request.target, claims=request.claims, server=request.server) as backend:
        backend = replace(backend, deviations=joined(backend.deviations, deviations))
        with _shared_out(request, backend, deviations) as division:
            report, interrupted = checked(request, backend, screen, division)
        _publish(request, report, screen)
    if interrupted:
        return INTERRUPTED
    return CONFORMANT if report.verdict == "conformant" else NOT_CONFORMANT


@contextmanager
def _shared_out(request: CheckRequest, backend: Backend, deviations: tuple[Deviation, ...]) -> Iterator[Division]:
    """The clauses of the run, of which other processes take some while the block runs."""
    ids = claimed_ids(request.clauses, backend) or tuple(clause.id for clause in CLAUSES)
    share = Share(
        target=request.target,
        server=request.server,
        claims=request.claims,
        deviations=deviations,
        clauses=ids,
        configuration=request.configuration,
    )
    division = Division(ids)
    with helped(division, help_with, share, _processes(request, backend, ids) - 1):
        yield division


def _processes(request: CheckRequest, backend: Backend, ids: tuple[str, ...]) -> int:
    """How many processes check: as many as asked for; else two where that is safe and worth it."""
    if request.processes is not None:
        return request.processes
    return min(2, cores()) if backend.isolated and len(ids) >= _WORTH_A_HELPER else 1


def keep_hypothesis_out_of_this_folder() -> None:
    """Let hypothesis keep its caches (tables of characters) in the user's cache, not beside the user's files."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    set_hypothesis_home_dir(caches / "chathistory" / "hypothesis")


def checked(
    request: CheckRequest, backend: Backend, screen: Screen, division: Division | None = None
) -> tuple[Report, bool]:
    """The report of the run, and whether it was interrupted."""
    last = _LastReport()
    try:
        return _runner.check(
            backend,
            clauses=claimed_ids(request.clauses, backend),
            configuration=request.configuration,
            listener=broadcast([last, screen]),
            target=request.target,
            asked=request.asked,
            division=division,
        ), False
    except KeyboardInterrupt:
        if last.report is None:
            raise
        return last.report, True


class _LastReport:
    """Keeps the report of an interrupted run, which is announced but not returned."""

    report: Report | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self.report = event.report


def _publish(request: CheckRequest, report: Report, screen: Screen) -> None:
    """Write files first, since an impatient CI server may kill an interrupted run soon."""
    scripts = write_scripts(report, request.destinations.scripts, request.destinations.start)
    try:
        request.destinations.write(report, replay=request.replay, command=request.command)
    finally:
        if scripts.problem and not request.quiet:
            screen.say(f"note: {scripts.problem}")
        screen.show_report(report, scripts=scripts.paths, replay=request.replay)


def claimed_ids(names: Iterable[str], backend: Backend) -> tuple[str, ...]:
    """The ids of the clauses that the names stand for and the backend's claims cover.

    Raises:
        UsageError: a name stands for nothing that the backend claims.
    """
    ids: set[str] = set()
    for name in names:
        covered = [clause.id for clause in select([name]) if set(clause.profiles) & set(backend.claims)]
        if not covered:
            _raise_not_covered(name, backend)
        ids.update(covered)
    return tuple(clause.id for clause in CLAUSES if clause.id in ids)


def _raise_not_covered(name: str, backend: Backend) -> NoReturn:
    wanted = {profile for clause in select([name]) for profile in clause.profiles}
    profiles = [profile for profile in PROFILES if profile in wanted]
    claims = ", ".join(profile for profile in PROFILES if profile in backend.claims)
    raise UsageError(
        f"{name.upper()} belongs to the profile {' or '.join(profiles)}, "
        f"but {backend.name!r} claims {claims}; add --claim {profiles[0]}"
    )


def run_replay(path: Path, target: str | None, server: str = "") -> int:
    """Run the counterexamples of a JSON report again: 0 if all are fixed, 1 if any still fails.

    Raises:
        ChatHistoryError: the report can't be read or the target not be opened.
    """
    data = read_report(path)
    recorded = [entry for entry in data["clauses"] if entry.get("counterexample")]
    screen = Screen()
    if not recorded:
        screen.say(f"{path} holds no counterexample: there is nothing to replay")
        return CONFORMANT
    with open_target(_target_of(data, target, path), server=server or _server_of(data, target)) as backend:
        timeout = _timeout_of(data)
        again = partial(_runner.replay, backend, timeout=timeout, first_use=_runner.smoke(backend, timeout=timeout))
        failing = [_replayed(again, entry, path, screen) for entry in recorded]
    return NOT_CONFORMANT if any(failing) else CONFORMANT


def run_soak(target: str, server: str, settings: SoakSettings) -> int:
    """Soak a target, showing counts as it goes; 0 if nothing was wrong.

    Raises:
        ChatHistoryError: the target can't be opened, no other process can open its store, or the folder not be used.
    """
    make_writable_folder(settings.folder)
    tally = Tally()

    def keep(latest: Tally) -> None:
        nonlocal tally
        tally = latest
        counts.show(latest)

    with open_target(target, server=server) as backend, SoakScreen(backend.name, settings) as counts:
        try:
            tally = soak(backend, settings, keep)
        except KeyboardInterrupt:
            counts.interrupted = True
        write_soak(settings, backend, tally, complete=not counts.interrupted)
        counts.conclude(tally)
    if counts.interrupted:
        return INTERRUPTED
    return CONFORMANT if tally.verdict == "conformant" else NOT_CONFORMANT


def _target_of(data: dict[str, Any], target: str | None, path: Path) -> str:
    named = target or data.get("target")
    if not isinstance(named, str) or not named:
        raise UsageError(f"{str(path)!r} does not say what it checked; name it with --target TARGET")
    return named


def _server_of(data: dict[str, Any], target: str | None) -> str:
    """The way of the server that the run used; not a URL, which is only complete in the hands of its user."""
    asked = data.get("asked")
    recorded = asked.get("server") if isinstance(asked, dict) else None
    is_way = isinstance(recorded, str) and "://" not in recorded
    return str(recorded) if is_way and target in (None, data.get("target")) else ""


def _timeout_of(data: dict[str, Any]) -> float:
    configuration = data.get("configuration")
    timeout = configuration.get("timeout") if isinstance(configuration, dict) else None
    return float(timeout) if isinstance(timeout, int | float) and timeout > 0 else Configuration().timeout


def _replayed(
    again: Callable[[dict[str, Any]], ClauseResult | None], entry: dict[str, Any], path: Path, screen: Screen
) -> bool:
    """Whether a recorded counterexample still fails, said on a line of its own."""
    try:
        result = again(entry)
    except (KeyError, TypeError, ValueError, LookupError) as error:
        raise UsageError(
            f"the program of {entry['id']} in {str(path)!r} can't be run again: {error_line(error)}"
        ) from error
    screen.say(f"{entry['id']} STILL FAILING: {_why(result)}" if result else f"{entry['id']} {_fixed(entry)}")
    return result is not None


def _fixed(entry: dict[str, Any]) -> str:
    """That it passes now, and how sure that is."""
    by_chance = depends_on_chance(program_from_json(entry["counterexample"]["program"]))
    return "FIXED, or not seen again: it depends on chance" if by_chance else "FIXED"


def _why(result: ClauseResult) -> str:
    found = result.counterexample
    return one_line(found.explanation if found is not None else result.reason, 500)


def run_compare(old: Path, new: Path, markdown: Path | None) -> int:
    """Compare two JSON reports: 1 if anything regressed.

    Raises:
        ChatHistoryError: a report can't be read, or the Markdown not be written.
    """
    if markdown is not None:
        try_file(markdown)
    comparison = Comparison(old=saved_report(old), new=saved_report(new))
    if markdown is not None:
        write_file(markdown, comparison_markdown(comparison))
    screen = Screen()
    screen.show(comparison_block(comparison))
    screen.say(comparison.summary())
    return NOT_CONFORMANT if comparison.regressions else CONFORMANT


def run_badge(report: Path, out: Path) -> int:
    """Draw the badge of a JSON report.

    Raises:
        ChatHistoryError: the report can't be read, or the badge not be written.
    """
    try_file(out)
    write_file(out, badge(saved_report(report)))
    Screen().say(f"{out}: the badge of {report}")
    return 0


def run_init(name: str, folder: Path | None) -> int:
    """Write the skeleton of an adapter and say how to go on.

    Raises:
        ChatHistoryError: the name is none, or a file is in the way.
    """
    root, paths = write_skeleton(name, folder)
    screen = Screen()
    for path in paths:
        screen.say(str(path))
    command = f"pip install -e '.[test]' && chathistory check {name} --deviations deviations.toml"
    screen.say(f"next: cd {shlex.quote(str(root))} && {command}")
    return 0


def run_deviations_add(path: Path, clause_id: str, reason: str, report: Path, **about: Any) -> int:
    """Add an entry to a file of deviations.

    Raises:
        ChatHistoryError: see `add_deviation`.
    """
    Screen().say(add_deviation(path, clause_id, reason, report, **about))
    return 0


def run_deviations_list(path: Path) -> int:
    """Show the entries of a file of deviations.

    Raises:
        ChatHistoryError: the file can't be read, or an entry is wrong.
    """
    Screen().show(deviations_block(load_deviations(path)))
    return 0


def run_backends() -> int:
    """List the registered backends."""
    Screen().show(backends_block(registered_backends()))
    return 0


def run_semantics(name: str | None, *, as_json: bool, echo: Callable[[str], None]) -> int:
    """List the clauses, or those of a family, or show one."""
    chosen = select([name]) if name else CLAUSES
    if as_json:
        echo(json.dumps(semantics_json(chosen), indent=2))
    elif name and len(chosen) == 1 and chosen[0].id == name.upper():
        Screen().show(clause_block(chosen[0]))
    else:
        Screen().show(clauses_block(chosen))
    return 0
