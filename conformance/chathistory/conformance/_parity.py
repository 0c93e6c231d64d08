"""Holds an observation against that of the same step in the other mode, whatever that was (ASY-1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chathistory.conformance._divergences import not_a_list, unlike_the_sync_form, wrong_read
from chathistory.conformance._interpreter import Observation, copy_of
from chathistory.conformance._outcome import Divergence, StopJudging
from chathistory.conformance._views import all_equal


@dataclass(frozen=True, slots=True)
class Twin:
    """What the same program observed in the other mode, if it was run in that."""

    observations: Sequence[Observation] | None

    @property
    def is_there(self) -> bool:
        """Whether there is anything to compare with."""
        return self.observations is not None

    def raised(self, observation: Observation) -> bool:
        """Whether the same step raised there."""
        twin = self._of(observation)
        return twin is not None and twin.outcome == "raised"

    def unlike(self, observation: Observation) -> Divergence:
        """The step raised there and returned here."""
        twin = self._of(observation)
        return unlike_the_sync_form(observation, twin.error if twin else None)

    def judge_read(self, observation: Observation) -> Divergence | None:
        """A read must show what it showed there.

        Raises:
            StopJudging: it showed no list there, which is another clause's business.
        """
        twin = self._of(observation)
        if twin is not None and twin.outcome == "raised":
            return self.unlike(observation)
        observed, expected = copy_of(observation.value), copy_of(twin.value) if twin is not None else []
        if not isinstance(expected, list):
            raise StopJudging
        if not isinstance(observation.value, list) and twin is not None and isinstance(twin.value, list):
            return not_a_list(observation)
        if all_equal("full", expected, observed):
            return None
        return wrong_read(observation, [tuple(expected)], observation.value, "full")

    def _of(self, observation: Observation) -> Observation | None:
        return None if self.observations is None else self.observations[observation.index]
