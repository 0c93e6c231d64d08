"""Measures whether counterexamples are as short as can be: `python -m tests.minimality --help`.

Each mutant is checked as a user would, for the clauses it may rightly be blamed for. The calls of the shrunk
program are compared with the least number that show the defect, written beside the mutant; the script is run on
the mutant, where it must still fail, and on a correct history, where it must not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

from tests.mutants import MUTANTS, Mutant
from tests.separately import Line, measured

from chathistory.conformance import check
from chathistory.conformance._portable import program_from_json
from chathistory.conformance._program import Program, Together, Trial
from chathistory.conformance._report import EFFORTS, ClauseResult, Effort

_SECONDS_OF_A_CHECK = {"quick": 120.0, "full": 600.0, "thorough": 3_600.0}
_SECONDS_OF_A_SCRIPT = 120.0
_ROOT = Path(__file__).resolve().parent.parent


def calls_of(program: Program) -> int | None:
    """How many calls a program makes, as `Mutant.minimum_operations` counts them.

    None for trials, probes and work that overlaps: they are experiments with a course of their own.
    """
    if any(isinstance(step, Together | Trial) for step in program.steps):
        return None
    return program.operations


def subjects(everything: bool = False) -> list[Mutant]:
    """The mutants that take a course of operations to see; or all but the races."""
    wanted = {"stateful", "data", "obvious"} if everything else {"stateful"}
    return [mutant for mutant in MUTANTS if mutant.hardness in wanted and mutant.minimum_operations is not None]


def measure(effort: Effort, seed: int, scripts: bool, name: str) -> Line:
    """A line about one mutant: what was found for each clause, and how long the program is."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    began = time.monotonic()
    configuration = replace(EFFORTS[effort], seed=seed)
    backend = replace(mutant.make(), another=lambda: nullcontext(mutant.make()))
    report = check(backend, clauses=mutant.clauses, configuration=configuration)
    found = [_found(mutant, result, scripts) for result in report.clauses if result.counterexample is not None]
    return {
        "minimum": mutant.minimum_operations,
        "hardness": mutant.hardness,
        "effort": effort,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 2),
        "found": found,
    }


def _found(mutant: Mutant, result: ClauseResult, scripts: bool) -> Line:
    example = result.counterexample
    assert example is not None
    line: Line = {
        "clause": result.id,
        "check": example.program["check"],
        "calls": calls_of(program_from_json(example.program)),
        "lines": list(example.lines),
        "search": example.search,
        "seconds": round(result.seconds, 2),
    }
    if scripts:
        line["mutant"] = run_script(example.script, mutant.name)
        line["correct"] = run_script(example.script, _correct_counterpart(mutant))
    return line


def _correct_counterpart(mutant: Mutant) -> str:
    return "reference" if mutant.make().wire is None else "over_a_network"


def run_script(script: str, subject: str) -> str:
    """The first line that a script prints about a subject of `tests.mutant_subjects`, run as a stranger would."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "counterexample.py")
        place.write_text(script, encoding="utf-8")
        command = [sys.executable, str(place), f"tests.mutant_subjects:{subject}"]
        try:
            done = subprocess.run(  # noqa: S603 -- our own script
                command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=_SECONDS_OF_A_SCRIPT
            )
        except subprocess.TimeoutExpired:
            return "no end"
    return (done.stdout or done.stderr.strip().rpartition("\n")[2]).partition("\n")[0]


def ratios(lines: Iterable[Line]) -> Iterator[tuple[float, Line, Line]]:
    """For each shrunk counterexample: calls ÷ known minimum, its line, and the line of its mutant."""
    for line in lines:
        for found in line.get("found", ()):
            if found["calls"] is not None and _is_shrunk(found):
                yield found["calls"] / line["minimum"], found, line


def _is_shrunk(found: Line) -> bool:
    """Whether it is what shrinking ended with, or was cut at; else it says why it depends on what went before."""
    return found["search"] == "minimal" or found["search"].startswith("cut")


def summary(lines: Sequence[Line]) -> str:
    """The figures of a run as text, the longest programs first."""
    first = [{**line, "found": line["found"][:1]} for line in lines if line.get("found")]
    named, every = list(ratios(first)), list(ratios(lines))
    missed = [line["name"] for line in lines if not line.get("found")]
    whole = [found for line in lines for found in line.get("found", ()) if found["calls"] is None]
    tied = [
        f"  {line['name']} {found['clause']}: {found['search']}"
        for line in lines
        for found in line.get("found", ())
        if not _is_shrunk(found)
    ]
    wrong = [
        f"  {line['name']} {found['clause']}: {found['mutant']} | {found['correct']}"
        for line in lines
        for found in line.get("found", ())
        if "mutant" in found
        and not (found["mutant"].startswith("STILL FAILING") and found["correct"].startswith("FIXED"))
    ]
    text = [
        f"{len(lines)} mutants; not found: {', '.join(missed) or 'none'}",
        _mean("the clause named first", named),
        _mean("every clause that fails", every),
        f"{len(whole)} counterexamples are experiments that are not shrunk",
        f"{len(tied)} say that they depend on what went before",
        *tied,
        f"scripts that don't tell the mutant from a correct history: {len(wrong)}",
        *wrong,
    ]
    for ratio, found, line in sorted(every, key=lambda each: -each[0]):
        if ratio != 1:
            text.append(
                f"  {ratio:.2f} = {found['calls']}/{line['minimum']} {line['name']} {found['clause']}"
                f" ({found['search']}): {'; '.join(found['lines'])}"
            )
    return "\n".join(text)


def _mean(what: str, measured_ratios: Sequence[tuple[float, Line, Line]]) -> str:
    if not measured_ratios:
        return f"{what}: nothing"
    values = [ratio for ratio, _, _ in measured_ratios]
    minimal = sum(value <= 1 for value in values)
    return f"{what}: mean {fmean(values):.3f} of {len(values)}, {minimal} minimal, worst {max(values):.2f}"


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.minimality", description=__doc__.partition("\n")[0])
    parser.add_argument("--effort", choices=("quick", "full"), default="quick")
    parser.add_argument("--all", action="store_true", help="the mutants that are easy to see, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-scripts", action="store_true", help="don't run the scripts")
    parser.add_argument("--out", type=Path, required=True, help="a file of JSON lines; what is in it is not repeated")
    parser.add_argument("names", nargs="*", help="only these mutants")
    given = parser.parse_args()
    names = given.names or [mutant.name for mutant in subjects(given.all)]
    work = partial(measure, given.effort, given.seed, not given.no_scripts)
    print(summary(list(measured(names, work, given.out, seconds=_SECONDS_OF_A_CHECK[given.effort]))))  # noqa: T201 -- what the command is for


if __name__ == "__main__":
    main()
