"""What the judgement of an execution comes to: where it left the reference, or how much of it could be judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chathistory.conformance._script import Expectation

NO_ANSWER = "no answer"
"""How the observation of a call that did not return begins."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The step at which a backend left the reference, and the drawing of what workers did there, if any."""

    index: int
    expected: str
    observed: str
    explanation: str
    expectation: Expectation
    timeline_svg: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one execution.

    Attributes:
        divergence: where it left the reference, or None.
        judged: how many observations could be judged; 0 says nothing about the clause.
        operations: how many calls were made.
        refused: why values or session ids were refused, where that is allowed.
        remarks: what a reader of the report should know, and what fails nobody.
        hung_after_refusal: a call that did not return after a refusal, where that is left to ERR-3.
        tidy: removes what the execution has left in the store, if it is to be removed: not before it is clear whose
            fault a failure is, which may be that of what is there already.
    """

    divergence: Divergence | None
    judged: int
    operations: int
    refused: frozenset[str] = frozenset()
    hung_after_refusal: Divergence | None = None
    remarks: frozenset[str] = frozenset()
    tidy: Callable[[], None] | None = None


class StopJudging(Exception):  # noqa: N818 -- it is no error
    """The rest of the program is another clause's business."""
