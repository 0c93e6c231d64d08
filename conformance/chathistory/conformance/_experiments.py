"""Judges experiments, whose outcome is judged as a whole: workers at once on one session, and trials."""

from __future__ import annotations

from chathistory.conformance._concurrent import Aspect, judge_events
from chathistory.conformance._divergences import raised
from chathistory.conformance._interpreter import Observation
from chathistory.conformance._outcome import Divergence
from chathistory.conformance._program import Trial
from chathistory.conformance._record import Record
from chathistory.conformance._script import Expectation
from chathistory.conformance._text import error_line
from chathistory.conformance._trials import TRIALS

_TRIAL_PASSES = Expectation(kind="trial")

_PROMISE_OF: dict[Aspect, str] = {
    "lost": "every acknowledged message is read at the end",
    "order": "the messages of each worker are read in the order in which it added them",
    "prefix": "each read extends the reads that had ended before it began",
    "torn": "batches are read whole, with nothing inside them",
    "linearizable": "some order of the calls explains all that was read",
    "works": "every call succeeds, and every message is read at the end",
    "cancelled": "every call that is not cancelled succeeds, and some order of the calls explains all that was read",
    "errors": "every call succeeds but those that may be refused",
}


def judge_together(observation: Observation, aspect: Aspect, record: Record) -> Divergence | None:
    """What workers did together is to keep what one clause says of it.

    Args:
        observation: what they did; its value is their events.
        aspect: what of it is judged.
        record: what is noted of the program; what could not be decided is.
    """
    if observation.outcome == "raised":
        return raised(observation, "the workers end, and the session is read")
    finding = judge_events(observation.value, aspect)
    if finding is not None and finding.undecided:
        record.refused.add(f"undecided: {finding.explanation}")
        return None
    record.judged += 1
    if finding is None:
        return None
    return Divergence(
        observation.index,
        _PROMISE_OF[aspect],
        finding.timeline or finding.explanation,
        finding.explanation,
        Expectation(kind="together", answer=aspect),
        finding.timeline_svg,
    )


def judge_trial(observation: Observation, step: Trial, record: Record) -> Divergence | None:
    """An experiment on the whole backend says by itself what was wrong.

    Args:
        observation: what it found.
        step: which one it is.
        record: what is noted of the program; each call that the trial made counts as judged.
    """
    promise = TRIALS[step.name].promise
    if observation.outcome == "raised":
        line = error_line(observation.error or RuntimeError())
        return Divergence(observation.index, promise, line, "The trial ended in an error.", _TRIAL_PASSES)
    record.judged += observation.value.calls
    problem = observation.value.problem
    if problem is None:
        return None
    explanation = f"{problem[:1].upper()}{problem[1:]}."
    return Divergence(observation.index, promise, problem, explanation, _TRIAL_PASSES)
