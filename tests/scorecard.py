"""Measures how well the suite tells broken histories from correct ones, and writes `docs/scorecard.md`.

Run it from the checkout::

    python -m tests.scorecard full        # everything, by several seeds: hours; then docs/scorecard.{json,md}
    python -m tests.scorecard sample      # what CI runs: a few histories, held against docs/scorecard.json

`full` notes each run on a line of a file as it ends, and goes on where an earlier call has stopped; `render` makes
the documents of such a file, as far as it goes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from tests.mutants import MUTANTS, ODD, Mutant
from tests.scorecard_page import page
from tests.scorecard_summary import Summary, summarise

from chathistory.conformance._report import EFFORTS, Effort
from chathistory.conformance._runner import check, versions
from chathistory.conformance._targets import open_target
from chathistory.conformance.selfproof._processes import Lost, cores, in_processes
from chathistory.conformance.selfproof._verdicts import Extent, Job, Verdict, Watch, run

CATALOGUE = "tests.mutants"
ADAPTERS = "adapters"
"""Stands for a catalogue in the jobs on backends that are registered by name."""

ROOT = Path(__file__).parents[1]
DATA, PAGE = ROOT / "docs" / "scorecard.json", ROOT / "docs" / "scorecard.md"
SECONDS_OF_A_RUN = 900.0
SAMPLED_MUTANTS, SAMPLED_ODD = 12, 1


def do(job: Job) -> Verdict:
    """Do a job, on a history of the catalogue or on a registered backend."""
    if job.catalogue != ADAPTERS:
        return run(job)
    watch = Watch(stop=False)
    Path(tempfile.gettempdir()).chmod(0o711)  # a server that runs as another user has its files inside
    with open_target(job.name) as backend:
        check(backend, configuration=job.configuration, listener=watch)
    return watch.verdict(job.name)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Seeds:
    """How many seeds there are of each kind of run.

    Attributes:
        quick: of quick runs of mutants over all clauses.
        own: of quick runs of mutants over the clauses that may rightly be named alone.
        full: of full runs of mutants over those clauses, and of full runs of odd histories.
        odd: of quick runs of odd histories.
        adapters: of full runs of adapters, which have a quick run with the first, too.
    """

    quick: int = 1
    own: int = 0
    full: int = 0
    odd: int = 1
    adapters: int = 0


def plan(seeds: Seeds, adapters: Sequence[str] = (), *, to_the_end: bool = True) -> Iterator[Job]:
    """All runs, those first that tell most.

    Each mutant has quick runs over all clauses up to the first violation, and unless `to_the_end` is False one to the
    end, which tells every clause that finds it. What the clauses of a mutant find when they are run alone, a run over
    all clauses finds, too: that makes many seeds affordable, and full runs.
    """
    for seed in range(seeds.quick):
        yield from (_job(mutant.name, "first", "quick", seed) for mutant in MUTANTS)
    if to_the_end and seeds.quick:
        yield from (_to_the_end(mutant.name) for mutant in MUTANTS)
    for seed in range(seeds.odd):
        yield from (_job(odd.name, "whole", "quick", seed) for odd in ODD)
    yield from (_of_adapter(name, "quick", 0) for name in adapters)
    for seed in range(seeds.own):
        yield from (_of_own(mutant, "quick", seed) for mutant in MUTANTS)
    for seed in range(seeds.full):
        yield from (_of_own(mutant, "full", seed) for mutant in MUTANTS)
        yield from (_job(odd.name, "whole", "full", seed) for odd in ODD)
    for name in adapters:
        yield from (_of_adapter(name, "full", seed) for seed in range(seeds.adapters))


def _to_the_end(name: str) -> Job:
    """A run that makes no program small: what many clauses find would take minutes."""
    job = _job(name, "whole", "quick", 0)
    return dataclasses.replace(job, configuration=dataclasses.replace(job.configuration, shrink_seconds=0.0))


def _of_own(mutant: Mutant, effort: Effort, seed: int) -> Job:
    return dataclasses.replace(_job(mutant.name, "own", effort, seed), clauses=mutant.clauses)


def _of_adapter(name: str, effort: Effort, seed: int) -> Job:
    return dataclasses.replace(_job(name, "whole", effort, seed), catalogue=ADAPTERS)


def _job(name: str, extent: Extent, effort: Effort, seed: int) -> Job:
    configuration = dataclasses.replace(EFFORTS[effort], seed=seed)
    return Job(name=name, catalogue=CATALOGUE, extent=extent, configuration=configuration)


def key_of(job: Job) -> str:
    """What tells a run from all others; a line of the file begins with it."""
    ours = job.configuration
    return f"{job.catalogue} {job.name} {job.extent} {ours.effort} {ours.seed}"


def sample() -> list[Job]:
    """The same few histories each time, chosen by a hash of their names; no races, which a single run may miss."""
    certain = [mutant.name for mutant in MUTANTS if mutant.hardness != "timing"]
    mutants = sorted(certain, key=_hash)[:SAMPLED_MUTANTS]
    odd = sorted((one.name for one in ODD), key=_hash)[:SAMPLED_ODD]
    return [*(_job(name, "whole", "quick", 0) for name in odd), *(_job(name, "first", "quick", 0) for name in mutants)]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def measured(jobs: Iterable[Job], processes: int) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Do the jobs, and yield what came of each as JSON data."""
    preload = (CATALOGUE, "chathistory.conformance._runner")
    for job, result in in_processes(do, jobs, processes=processes, seconds=SECONDS_OF_A_RUN, preload=preload):
        yield job, _to_json(job, result)


def _to_json(job: Job, result: Verdict | Lost) -> dict[str, Any]:
    lost = isinstance(result, Lost)
    verdict = Verdict(name=job.name, error=result.reason) if isinstance(result, Lost) else result
    return {
        "key": key_of(job),
        "catalogue": job.catalogue,
        "name": job.name,
        "extent": job.extent,
        "effort": job.configuration.effort,
        "seed": job.configuration.seed,
        "violations": [[violation.clause, violation.seconds] for violation in verdict.violations],
        "undecided": list(verdict.undecided),
        "seconds": verdict.seconds,
        "error": verdict.error,
        "lost": lost,
    }


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The runs noted in a file; a last line that was cut is left out."""
    if not path.exists():
        return []
    whole = [line for line in path.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in whole]


def circumstances(command: str) -> dict[str, Any]:
    """What a reader must know of a measurement."""
    return {
        "command": command,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": _commit(),
        "versions": versions(),
        "machine": f"{cores()} cores, {platform.system()} {platform.machine()}",
    }


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 -- our own command
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write(summary: Summary) -> None:
    """Write the data and the page."""
    DATA.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(summary), encoding="utf-8")


def faults(runs: Iterable[dict[str, Any]]) -> list[str]:
    """What is wrong with sampled runs, a sentence each: a mutant missed or named wrongly, a false alarm."""
    found = []
    mutants: dict[str, Mutant] = {mutant.name: mutant for mutant in MUTANTS}
    expected = {one.name: set(one.expected_failures) for one in ODD}
    for noted in runs:
        name, violated = noted["name"], [clause for clause, _ in noted["violations"]]
        if noted["error"]:
            found.append(f"{name}: there was no run: {noted['error']}")
        elif name in expected and {*violated, *noted["undecided"]} != expected[name]:
            found.append(f"{name} is correct, and was blamed for {', '.join(violated + noted['undecided'])}")
        elif name in mutants and not violated:
            found.append(f"{name} was not caught; expected {' or '.join(mutants[name].clauses)}")
        elif name in mutants and violated[0] not in mutants[name].clauses:
            found.append(f"{name} was named by {violated[0]}; expected {' or '.join(mutants[name].clauses)}")
    return found


_RUNS = click.option("--runs", type=click.Path(path_type=Path), default=Path("scorecard-runs.jsonl"), show_default=True)
_PROCESSES = click.option("--processes", type=click.IntRange(1), default=cores(), show_default="one for each core")


@click.group()
def commands() -> None:
    """Measure how well the suite tells broken histories from correct ones."""


@commands.command()
@_RUNS
@_PROCESSES
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="Of quick runs of defects.")
@click.option(
    "--own-seeds", type=click.IntRange(0), default=20, show_default=True, help="Those of their clauses alone."
)
@click.option("--full-seeds", type=click.IntRange(0), default=1, show_default=True, help="Of full runs of those.")
@click.option("--odd-seeds", type=click.IntRange(0), default=50, show_default=True, help="Of correct histories.")
@click.option("--to-the-end/--first-only", default=True, help="Whether a further run of each tells every clause.")
@click.option("--adapter", "adapters", multiple=True, help="Check this registered backend, too (repeatable).")
@click.option("--adapter-seeds", type=click.IntRange(0), default=0, show_default=True, help="Of full runs of adapters.")
def full(
    *,
    runs: Path,
    processes: int,
    seeds: int,
    own_seeds: int,
    full_seeds: int,
    odd_seeds: int,
    to_the_end: bool,
    adapters: tuple[str, ...],
    adapter_seeds: int,
) -> None:
    """Do all runs that are not noted yet, then write docs/scorecard.json and docs/scorecard.md."""
    counted = Seeds(quick=seeds, own=own_seeds, full=full_seeds, odd=odd_seeds, adapters=adapter_seeds)
    done = {noted["key"] for noted in read_runs(runs) if "key" in noted and not noted["lost"]}
    jobs = [job for job in plan(counted, adapters, to_the_end=to_the_end) if key_of(job) not in done]
    command = shlex.join(["python", "-m", "tests.scorecard", *sys.argv[1:]])
    with runs.open("a", encoding="utf-8") as file, click.progressbar(length=len(jobs), label="runs") as bar:
        file.write(json.dumps({"circumstances": circumstances(command)}) + "\n")
        for job, noted in measured(jobs, processes):
            file.write(json.dumps(noted) + "\n")
            file.flush()
            bar.update(1, job)
    write(summarise(read_runs(runs)))


@commands.command()
@_RUNS
@click.option("--note", default="", help="A sentence about the measurement, for its readers.")
def render(runs: Path, note: str) -> None:
    """Write the documents from the runs that are noted."""
    summary = summarise(read_runs(runs))
    write({**summary, "circumstances": {**summary["circumstances"], **({"note": note} if note else {})}})


@commands.command(name="page")
def page_again() -> None:
    """Write docs/scorecard.md from docs/scorecard.json."""
    PAGE.write_text(page(json.loads(DATA.read_text("utf-8"))), encoding="utf-8")


@commands.command(name="sample")
@_PROCESSES
def run_sample(processes: int) -> None:
    """Run a few histories and hold them against what docs/scorecard.json says; exit code 1 if it is not so."""
    summary = json.loads(DATA.read_text("utf-8"))
    jobs = sample()
    found = [f"{job.name} is not in docs/scorecard.json; measure anew" for job in jobs if not _is_known(job, summary)]
    found += faults(noted for _, noted in measured(jobs, processes))
    for fault in found:
        click.echo(fault)
    click.echo(f"{len(jobs)} histories sampled, {len(found)} not as docs/scorecard.md says")
    raise SystemExit(bool(found))


def _is_known(job: Job, summary: Summary) -> bool:
    return job.name in {**summary["mutants"], **summary["odd"]}


if __name__ == "__main__":
    commands()
