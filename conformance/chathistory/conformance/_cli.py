"""Parses the command line; every mistake in it is one line on standard error and exit code 2."""

from __future__ import annotations

import math
import secrets
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import click

from chathistory.conformance import _commands
from chathistory.conformance._commands import FAULT, INTERRUPTED, CheckRequest
from chathistory.conformance._errors import UsageError
from chathistory.conformance._files import Destinations
from chathistory.conformance._matrix_command import MatrixRequest, run_matrix
from chathistory.conformance._report import EFFORTS, Configuration, Effort
from chathistory.conformance._soak import SoakSettings
from chathistory.conformance._targets import parse_claims
from chathistory.conformance._text import one_line, without_credentials
from chathistory.conformance._warnings import without_langchain_deprecations
from chathistory.reference import ChatHistoryError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def run(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    _write_what_the_stream_can_not()
    try:
        with without_langchain_deprecations():
            code = commands.main(args=list(arguments), prog_name="chathistory", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        help_of = error.ctx.command_path if error.ctx else "chathistory"
        return _fault(f"{error.format_message()} (see {help_of} --help)")
    except click.ClickException as error:
        return _fault(error.format_message())
    except ChatHistoryError as error:
        return _fault(str(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("chathistory: interrupted before anything was checked", err=True)
        return INTERRUPTED
    except Exception:  # noqa: BLE001 -- a crash must not end with 1, which says that a backend is at fault
        traceback.print_exc()
        return _fault("this is a fault of chathistory itself; please report it with the lines above")


def _write_what_the_stream_can_not() -> None:
    """Let a stream that is not Unicode show an escape instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _fault(message: str) -> int:
    click.echo(f"chathistory: error: {one_line(without_credentials(message), 2000)}", err=True)
    return FAULT


def _version() -> str:
    try:
        return version("chathistory")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"


def _seed(value: str | int) -> int:
    """A number, or `random` for one that is drawn and shown."""
    if value == "random":
        return secrets.randbelow(2**32)
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a whole number nor 'random'") from None


def _seconds(value: str) -> float:
    """A time that one can wait for."""
    return _time(value, "seconds", 1)


def _minutes(value: str | float) -> float:
    """The same in minutes."""
    return _time(value, "minutes", 60)


def _time(value: str | float, unit: str, seconds: int) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number * seconds <= threading.TIMEOUT_MAX:
        raise click.BadParameter(f"{value!r} is not a number of {unit} above 0")
    return number


_FILE = click.Path(path_type=Path)

_EFFORT_OPTIONS = (
    click.option("--quick", is_flag=True, help="Look less hard: seconds; minutes if a call takes 10 ms or more."),
    click.option("--thorough", is_flag=True, help="Look harder: for a nightly run."),
    click.option("--examples", type=click.IntRange(min=1), metavar="N", help="Programs drawn for each clause."),
    click.option(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="Choose the programs; 'random' draws a seed.  [0]",
    ),
    click.option("--timeout", type=_seconds, metavar="SECONDS", help="When an operation counts as hanging."),
)

_CHECK_OPTIONS = (
    click.option("--claim", "claims", multiple=True, metavar="PROFILE", help="Check this profile (repeatable)."),
    click.option("--clause", "clauses", multiple=True, metavar="ID", help="Check this clause or family (repeatable)."),
    click.option(
        "--server",
        metavar="WAY",
        default="",
        help="The store's server: embedded, docker, or a URL; ministack for dynamodb.",
    ),
    *_EFFORT_OPTIONS,
    click.option("-x", "--exitfirst", is_flag=True, help="Stop after the first clause that fails."),
    click.option("--json", type=_FILE, metavar="FILE", help="Write the report as JSON."),
    click.option("--junit", type=_FILE, metavar="FILE", help="Write the report as JUnit XML."),
    click.option("--markdown", type=_FILE, metavar="FILE", help="Write the report as Markdown."),
    click.option("--html", type=_FILE, metavar="FILE", help="Write the report as an HTML page."),
    click.option(
        "--scripts", type=_FILE, metavar="DIR", help="Write scripts of violations here.  [chathistory-report]"
    ),
    click.option("--deviations", type=_FILE, metavar="FILE", help="The clauses it is known to break, as TOML."),
    click.option(
        "--processes",
        type=click.IntRange(1, 64),
        metavar="N",
        envvar="CHATHISTORY_PROCESSES",
        help="Check in N processes, each of which opens TARGET.  [2 where each has a store of its own]",
    ),
    click.option("--quiet", is_flag=True, help="Print the verdict only."),
)


def _with(options: tuple[Callable[[Any], Any], ...]) -> Callable[[_Command], _Command]:
    """A decorator that gives a command these options, in this order."""

    def give(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return give


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(_version(), message="chathistory %(version)s")
def commands() -> None:
    """Does a LangChain chat message history keep what it is told?"""


@commands.command(epilog="Exit code: 0 conformant, 1 not, 2 a fault of usage or set-up, 130 interrupted.")
@click.argument("target")
@_with(_CHECK_OPTIONS)
def check(target: str, **options: Any) -> int:
    """Check every clause that TARGET claims.

    TARGET is a registered backend's name (chathistory backends lists them), package.module:attribute or
    path/to/file.py:attribute. The attribute is a Backend, a function that yields one, or a
    get_session_history(session_id).
    """
    return _commands.run_check(_request(target, options))


@commands.command(epilog="Exit code: 0 all conformant, 1 not, 2 a fault of usage or set-up, 130 interrupted.")
@click.argument("sources", nargs=-1, required=True, metavar="TARGET|REPORT.json...")
@click.option("--clause", "clauses", multiple=True, metavar="ID", help="Check this clause or family (repeatable).")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="[TARGET=]WAY",
    help="The server of all targets, or of one (repeatable).",
)
@click.option("--claim", "claims", multiple=True, metavar="PROFILE", help="Check this profile (repeatable).")
@click.option(
    "--deviations",
    multiple=True,
    metavar="[TARGET=]FILE",
    help="The clauses that all targets, or one, are known to break (repeatable).",
)
@_with(_EFFORT_OPTIONS)
@click.option("--json", type=_FILE, metavar="FILE", help="Write the matrix, with all reports, as JSON.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write the matrix as Markdown.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write the matrix as an HTML page.")
@click.option("--quiet", is_flag=True, help="Print the verdict only.")
def matrix(sources: tuple[str, ...], clauses: tuple[str, ...], servers: tuple[str, ...], **options: Any) -> int:
    """Show several backends beside each other: backends by clauses.

    A TARGET is checked now, as by check; a REPORT.json was saved by check --json or by pytest.
    """
    return run_matrix(
        MatrixRequest(
            sources=sources,
            clauses=clauses,
            servers=servers,
            configuration=_configuration(options),
            destinations=Destinations(**{name: options[name] for name in ("json", "markdown", "html")}),
            quiet=options["quiet"],
            claims=parse_claims(options["claims"]),
            deviations=options["deviations"],
        )
    )


@commands.command(epilog="Exit code: 0 all fixed, 1 not, 2 a fault of usage or set-up, 130 interrupted.")
@click.argument("report", type=_FILE, metavar="REPORT.json")
@click.option("--target", metavar="TARGET", help="Replay on this instead of what the report names.")
@click.option("--server", metavar="WAY", default="", help="The store's server, as for check.")
def replay(report: Path, target: str | None, server: str) -> int:
    """Run the counterexamples of a JSON report again."""
    return _commands.run_replay(report, target, server)


@commands.command(epilog="Exit code: 0 conformant, 1 not, 2 a fault of usage or set-up, 130 interrupted.")
@click.argument("target")
@click.option("--minutes", type=_minutes, default=1.0, metavar="N", help="How long to go on.  [1]")
@click.option("--processes", type=click.IntRange(1, 64), default=2, metavar="N", help="Writing processes.  [2]")
@click.option("--writers", type=click.IntRange(1, 64), default=4, metavar="N", help="Threads in each of them.  [4]")
@click.option("--seed", type=_seed, default=0, metavar="N", help="Choose calls and faults.  [0]")
@click.option("--faults/--no-faults", default=True, help="Kill writers and servers, cut connections.  [faults]")
@click.option("--server", metavar="WAY", default="", help="The store's server, as for check.")
@click.option(
    "--out",
    type=_FILE,
    metavar="DIR",
    default=Path("chathistory-soak"),
    help="Where the events are kept.  [chathistory-soak]",
)
def soak(target: str, out: Path, server: str, minutes: float, **settings: Any) -> int:
    """Let many processes write to TARGET at once, for a long time, and judge every call.

    Rounds of adds, reads and clears by processes and threads, some of which are killed; the store's server
    is killed, and connections cut, where the backend offers it. Each round is judged by the checker of
    linearizability; every call is kept in DIR/events.jsonl.gz, and what came of it in DIR/soak.json.
    """
    return _commands.run_soak(target, server, SoakSettings(seconds=60 * minutes, folder=out, **settings))


@commands.command(epilog="Exit code: 0 no regression, 1 a regression, 2 a report that can't be read.")
@click.argument("old", type=_FILE, metavar="OLD.json")
@click.argument("new", type=_FILE, metavar="NEW.json")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write the comparison as Markdown, too.")
def compare(old: Path, new: Path, markdown: Path | None) -> int:
    """Say clause by clause what got better or worse between two JSON reports.

    A regression is a clause that fell in this order: passed; declared or warned; not claimed; undecided;
    stale; failed. So is one that was passed, declared or warned, and of which NEW says nothing.
    """
    return _commands.run_compare(old, new, markdown)


@commands.command()
@click.argument("report", type=_FILE, metavar="REPORT.json")
@click.option("--out", type=_FILE, metavar="FILE", default=Path("badge.svg"), help="Where to write it.  [badge.svg]")
def badge(report: Path, out: Path) -> int:
    """Draw a badge of a JSON report: verdict, clauses passed, deviations, version and date."""
    return _commands.run_badge(report, out)


@commands.command()
@click.argument("name")
@click.option("--folder", type=_FILE, metavar="DIR", help="Where to write it.  [NAME-chat-history]")
def init(name: str, folder: Path | None) -> int:
    """Write the skeleton of a new adapter: history, backend, tests, deviations and CI jobs, all working."""
    return _commands.run_init(name, folder)


@commands.group()
def deviations() -> None:
    """The clauses that a backend is known to break, in a TOML file of its author's."""


@deviations.command("add")
@click.argument("clause")
@click.option("--reason", required=True, metavar="TEXT", help="Why it is so, for every report.")
@click.option("--report", type=_FILE, required=True, metavar="REPORT.json", help="Where its counterexample is.")
@click.option("--file", "path", type=_FILE, required=True, metavar="FILE.toml", help="The file to add it to.")
@click.option("--link", default="", metavar="URL", help="Where it is tracked.")
@click.option("--since", default="", metavar="TEXT", help="Since when it is known.  [the day of the report]")
@click.option("--affects", multiple=True, metavar="'redis>=5,<8'", help="With which versions it occurs (repeatable).")
def deviations_add(path: Path, clause: str, reason: str, report: Path, **about: Any) -> int:
    """Declare that CLAUSE is broken, with its counterexample in a JSON report as the witness."""
    return _commands.run_deviations_add(path, clause, reason, report, **about)


@deviations.command("list")
@click.argument("path", type=_FILE, metavar="FILE.toml")
def deviations_list(path: Path) -> int:
    """Show what a file declares."""
    return _commands.run_deviations_list(path)


@commands.command(
    epilog="Exit code: 0 it failed what it should and nothing else, 1 it did not, 2 a fault of usage, 130 interrupted."
)
@click.option("--clause", "clauses", multiple=True, metavar="ID", help="Prove this clause or family (repeatable).")
@click.option("--seed", type=_seed, default=0, metavar="N", help="Choose the programs; 'random' draws a seed.  [0]")
@click.option("--whole", is_flag=True, help="Find, too, which clause a whole run names first: minutes.")
@click.option(
    "--processes", type=click.IntRange(1, 64), metavar="N", help="How many histories at a time.  [one for each core]"
)
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first history that the suite gets wrong.")
@click.option("--json", type=_FILE, metavar="FILE", help="Write the result as JSON.")
@click.option("--quiet", is_flag=True, help="Print the verdict only.")
def selfproof(json: Path | None, quiet: bool, processes: int | None, **settings: Any) -> int:
    """See the suite fail what it should.

    Runs it on histories with a planted defect, at least one for every clause, and on odd ones that are right: the
    first must be caught by their clause, the others be left in peace.
    """
    # Not before: its histories take a moment to import.
    from chathistory.conformance._selfproof import run_selfproof
    from chathistory.conformance.selfproof._processes import cores
    from chathistory.conformance.selfproof._proof import Settings

    _commands.keep_hypothesis_out_of_this_folder()
    return run_selfproof(Settings(processes=processes or cores(), **settings), json=json, quiet=quiet)


@commands.command()
def backends() -> int:
    """List the backends that can be checked by name."""
    return _commands.run_backends()


@commands.command()
@click.argument("clause", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def semantics(clause: str | None, as_json: bool) -> int:
    """Show what a chat message history owes its callers: all clauses, or those of a family, or one."""
    return _commands.run_semantics(clause, as_json=as_json, echo=click.echo)


def _request(target: str, options: dict[str, Any]) -> CheckRequest:
    return CheckRequest(
        target=target,
        claims=parse_claims(options["claims"]) or None,
        clauses=options["clauses"],
        server=options["server"],
        configuration=_configuration(options),
        destinations=Destinations(**{name: options[name] for name in ("json", "junit", "markdown", "html", "scripts")}),
        quiet=options["quiet"],
        deviations=options["deviations"],
        processes=options["processes"],
    )


def _configuration(options: dict[str, Any]) -> Configuration:
    if options["quick"] and options["thorough"]:
        raise UsageError("--quick and --thorough exclude each other; give one of them")
    effort: Effort = "quick" if options["quick"] else "thorough" if options["thorough"] else "full"
    given = {name: options[name] for name in ("examples", "timeout") if options[name] is not None}
    return replace(EFFORTS[effort], seed=options["seed"], exitfirst=options.get("exitfirst", False), **given)
