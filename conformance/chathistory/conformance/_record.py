"""What is noted of a program while it is judged, beside what is known of its sessions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from chathistory.conformance._outcome import Divergence, Outcome


@dataclass(slots=True)
class Record:
    """What has come of the steps so far.

    Attributes:
        judged: how many observations could be judged.
        refused: why values or session ids were refused, where that is allowed.
        remarks: what a reader of the report should know, and what fails nobody.
        may_raise: the steps that raised, where that is allowed or another clause's business.
        after_refusal: whether something has been refused, so that what fails now may fail because of it.
        loops: how many event loops have been closed.
        hung: a call that did not return after a refusal, where that is left to ERR-3.
    """

    judged: int = 0
    refused: set[str] = field(default_factory=set)
    remarks: set[str] = field(default_factory=set)
    may_raise: set[int] = field(default_factory=set)
    after_refusal: bool = False
    loops: int = 0
    hung: Divergence | None = None

    def count(self, divergence: Divergence) -> Divergence:
        """Count a divergence as judged; it is returned with what a script of it must let raise."""
        self.judged += 1
        expectation = replace(divergence.expectation, may_raise=frozenset(self.may_raise))
        return replace(divergence, expectation=expectation)

    def outcome(self, divergence: Divergence | None, operations: int) -> Outcome:
        """What became of the execution.

        Args:
            divergence: where it left the reference, if it did.
            operations: how many calls were made.
        """
        return Outcome(
            divergence,
            self.judged,
            operations,
            frozenset(self.refused),
            self.hung,
            frozenset(self.remarks),
        )
