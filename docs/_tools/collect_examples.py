"""Collects an example for each clause: the counterexample of a planted defect that this clause is the first to name.

::

    python -m docs._tools.collect_examples              all clauses; takes some minutes
    python -m docs._tools.collect_examples ORD-3 CON    these clauses and families, the others stay
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, replace

import click
from docs._tools.clause_pages import EXAMPLES, Example
from tests.mutants import MUTANTS, Mutant

from chathistory.conformance import check
from chathistory.conformance._files import write_json
from chathistory.conformance._report import EFFORTS
from chathistory.reference import CLAUSES, select

_LONGEST_SCRIPT = 150
_TRIED = 4
_SEARCH = replace(EFFORTS["quick"], examples=20)
_EASE = ("obvious", "stateful", "data", "timing")


@click.command()
@click.argument("names", nargs=-1, metavar="[CLAUSE...]")
def main(names: tuple[str, ...]) -> None:
    """Collect the examples of the clause pages."""
    logging.disable(logging.CRITICAL)  # some of the defects log noisily, which is part of them
    kept = json.loads(EXAMPLES.read_text("utf-8")) if EXAMPLES.exists() else {}
    for rule in select(names) if names else CLAUSES:
        example = _example(rule.id)
        click.echo(f"{rule.id}: {example.defect if example else 'no planted defect shows it'}")
        if example is not None:
            kept[rule.id] = asdict(example)
    write_json(EXAMPLES, {each.id: kept[each.id] for each in CLAUSES if each.id in kept})
    sys.exit(0 if all(each.id in kept for each in CLAUSES) else 1)


def _example(clause_id: str) -> Example | None:
    """The shortest of the examples that the plainest defects give."""
    found = [example for mutant in _candidates(clause_id) if (example := _shown(mutant, clause_id))]
    return min(found, key=_reading, default=None)


def _candidates(clause_id: str) -> list[Mutant]:
    mine = [mutant for mutant in MUTANTS if mutant.clauses[0] == clause_id]
    return sorted(mine, key=lambda mutant: (_EASE.index(mutant.hardness), mutant.minimum_operations or 99))[:_TRIED]


def _shown(mutant: Mutant, clause_id: str) -> Example | None:
    [result] = check(mutant.make(), clauses=[clause_id], configuration=_SEARCH).clauses
    found = result.counterexample
    if found is None:
        return None
    short = found.script.count("\n") <= _LONGEST_SCRIPT
    return Example(
        defect=mutant.name,
        story=mutant.story,
        lines=found.lines,
        step=found.step,
        expected=found.expected,
        observed=found.observed,
        explanation=found.explanation,
        script=found.script if short else "",
    )


def _reading(example: Example) -> int:
    """How much there is to read."""
    return len("".join([*example.lines, example.expected, example.observed, example.explanation]))


if __name__ == "__main__":
    main()
