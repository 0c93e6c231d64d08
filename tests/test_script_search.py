"""The search for an order of calls that scripts hold: it judges as the suite does, and comes to an end."""

# ruff: noqa: D103, S311 -- the names of the tests say it; the histories are drawn by seed

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.test_linearizability_random import Drawn, shuffled_results

from chathistory.conformance._script_helpers import problem_source
from chathistory.conformance._together import Event
from chathistory.conformance.linearizability import Call, EventHistory, Linearizable, Weaken, check


def _problem(history: EventHistory) -> str | None:
    """What the function of a script says of a history."""
    names: dict[str, Any] = {}
    exec(problem_source("linearizable"), names)  # noqa: S102 -- our own source is under test
    events = [
        Event(
            number,
            call.kind,
            call.invoked,
            call.returned,
            call.added,
            None if call.observed is None else tuple(call.observed),
            RuntimeError("raised") if call.failed else None,
        )
        for number, call in enumerate(history.calls)
    ]
    found: str | None = names["problem"](events)
    return found


def _where_failures_return(rng: random.Random) -> EventHistory:
    """A small history with shuffled reads, of which some calls that raised are known to have come to an end."""

    def ended(call: Call) -> Call:
        returns = call.failed and rng.random() < 0.7
        return replace(call, returned=call.invoked + rng.random()) if returns else call

    history = shuffled_results(rng, ("+r", "+rr!", "++r"), contents=((),))
    return EventHistory(map(ended, history.calls))


def test_a_script_judges_any_small_history_as_the_suite_does() -> None:
    verdicts: Counter[bool] = Counter()
    for number in range(4_000):
        history = _where_failures_return(random.Random(number))
        right = _problem(history) is None
        verdict = check(history, weaken=Weaken(batches_atomic=False))
        assert right is isinstance(verdict, Linearizable), history
        verdicts[right] += 1
    assert min(verdicts.values()) > 300, "the draw has become one-sided"


@pytest.mark.parametrize("kinds", ["+r", "+++r", "++rr!", "+!"])
def test_a_script_comes_to_an_end_where_many_work_at_once(kinds: str) -> None:
    for number in range(8):
        drawn = Drawn(random.Random(number))
        drawn.run(100, kinds)
        drawn.alone("read")
        at_once = [replace(call, invoked=call.invoked - 5, returned=(call.returned or 0) + 5) for call in drawn.calls]
        assert _problem(EventHistory(at_once)) is None
