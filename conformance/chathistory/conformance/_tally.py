"""What a search has cost and seen, and since which program something is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from chathistory.conformance._outcome import Divergence, Outcome
from chathistory.conformance._program import Program


@dataclass(slots=True)
class Tally:
    """What a search has cost, and what it has seen."""

    programs: int = 0
    operations: int = 0
    judged: int = 0
    refused: set[str] = field(default_factory=set)
    remarks: set[str] = field(default_factory=set)
    hung: bool = False
    gave_up: bool = False
    cut: str = ""
    sample: str = ""
    chosen: str = ""
    suspect: Program | None = None

    def count(self, program: Program, outcome: Outcome) -> None:
        self._suspect(program, outcome)
        self.programs += 1
        self.operations += outcome.operations
        self.judged += outcome.judged
        self.refused |= outcome.refused
        self.remarks |= outcome.remarks

    def _suspect(self, program: Program, outcome: Outcome) -> None:
        """Keep the first program since which something has gone wrong in each, up to where it went wrong."""
        if outcome.divergence is None and not outcome.refused:
            self.suspect = None if outcome.judged else self.suspect
        elif self.suspect is None:
            self.suspect = program if outcome.divergence is None else _up_to(program, outcome.divergence)

    def notes(self) -> Iterable[str]:
        """What a reader of the report should know."""
        if self.refused:
            yield f"refused, as it may be: {', '.join(sorted(self.refused))}"
        yield from sorted(self.remarks)
        yield from filter(None, (self.cut, self.sample, self.chosen))


def _up_to(program: Program, divergence: Divergence) -> Program:
    """What was done before a step failed that should not have; with that step, if nothing was refused before it."""
    was_refused = any(index < divergence.index for index in divergence.expectation.may_raise)
    return Program(program.steps[: divergence.index + (not was_refused)])
