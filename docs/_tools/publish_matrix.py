"""Makes the published matrix: checks each target in a process of its own, keeps its report, renders the pages.

::

    python -m docs._tools.publish_matrix               all targets in full; go on where it was interrupted
    python -m docs._tools.publish_matrix peer:file     one target again, then the pages
    python -m docs._tools.publish_matrix --render      the pages only, from the reports that are there

Each report is in its place as soon as its run ends. A target that has a report by the same sources, effort and
seed is kept, unless it is named or `--again` is given; one that fails is named, and the others go on.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
from docs._tools.matrix_pages import render
from docs._tools.mends import load_mends, unmatched
from docs._tools.published import DOCS, TARGETS, Publication, fingerprint

from chathistory.conformance._files import write_file
from chathistory.conformance._saved import saved_report
from chathistory.reference import ChatHistoryError

_PASSING = (0, 1)  # conformant, or violations: in both cases a report


@dataclass(frozen=True, slots=True)
class Plan:
    """How the targets are to be checked.

    Attributes:
        publication: where the reports go.
        options: further arguments of `chathistory check`.
        minutes: how long a single target may take.
    """

    publication: Publication
    options: tuple[str, ...]
    minutes: float

    def run(self, target: str, made_of: str) -> str:
        """Check a target and put its report into its place.

        Returns:
            Why there is no report; empty if there is one.
        """
        with tempfile.TemporaryDirectory(prefix="chathistory-matrix-") as folder:
            fresh = Path(folder, "report.json")
            problem = self._check(target, fresh, Path(folder))
            if not problem:
                self.publication.folder.mkdir(parents=True, exist_ok=True)
                write_file(self.publication.path(target), fresh.read_text("utf-8"))
                self.publication.note(target, made_of)
        return problem

    def _check(self, target: str, path: Path, folder: Path) -> str:
        command = [sys.executable, "-m", "chathistory.conformance", "check", target, *self.options, "--quiet"]
        command += ["--json", str(path), "--scripts", str(folder / "scripts")]
        try:
            done = subprocess.run(  # noqa: S603 -- our own command, and names of our own targets
                command, cwd=folder, capture_output=True, text=True, timeout=60 * self.minutes, check=False
            )
        except subprocess.TimeoutExpired:
            return f"not done within {self.minutes:g} minutes"
        if done.returncode not in _PASSING:
            return (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        if not saved_report(path).complete:
            return "the run was interrupted"
        return ""


@click.command()
@click.argument("targets", nargs=-1, type=click.Choice(TARGETS), metavar="[TARGET...]")
@click.option("--render", "render_only", is_flag=True, help="Check nothing; render what is there.")
@click.option("--again", is_flag=True, help="Check also what has a report by the same sources.")
@click.option("--quick", is_flag=True, help="Look less hard: to try this command out.")
@click.option("--seed", default=0, metavar="N", help="Choose the programs.  [0]")
@click.option("--minutes", default=60.0, metavar="N", help="How long one target may take.  [60]")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCS, help="The folder to publish into.  [docs]")
def main(
    *, targets: tuple[str, ...], render_only: bool, again: bool, quick: bool, seed: int, minutes: float, docs: Path
) -> None:
    """Publish the matrix of our adapters and of the histories that people use."""
    publication = Publication(docs.resolve())
    options = (*(["--quick"] if quick else []), "--seed", str(seed))
    failed = {} if render_only else check_all(Plan(publication, options, minutes), targets, again=again)
    if not publication.reports():
        raise click.ClickException("there is no report to render")
    for path in render(publication):
        click.echo(f"wrote {path}")
    problems = unmatched(load_mends(), publication.reports())
    for target, problem in failed.items():
        click.echo(f"NOT CHECKED {target}: {problem}", err=True)
    for problem in problems:
        click.echo(f"docs/_data/mends.toml: {problem}", err=True)
    sys.exit(1 if failed or problems else 0)


def check_all(plan: Plan, targets: tuple[str, ...], *, again: bool) -> dict[str, str]:
    """Check the targets one after the other, and say why some have no report."""
    made_of = fingerprint(*plan.options)
    kept = set() if again else {target for target, made in plan.publication.made_of().items() if made == made_of}
    chosen = targets or tuple(target for target in TARGETS if target not in kept)
    for target in TARGETS:
        if target in kept and target not in chosen:
            click.echo(f"{target}: kept, its report is by these sources")
    failed = {}
    for number, target in enumerate(chosen, 1):
        began = time.monotonic()
        click.echo(f"[{number}/{len(chosen)}] {target}: checking …")
        try:
            problem = plan.run(target, made_of)
        except (ChatHistoryError, OSError) as error:
            problem = str(error)
        word = problem or saved_report(plan.publication.path(target)).verdict
        click.echo(f"[{number}/{len(chosen)}] {target}: {word} ({time.monotonic() - began:.0f} s)")
        if problem:
            failed[target] = problem
    return failed


if __name__ == "__main__":
    main()
