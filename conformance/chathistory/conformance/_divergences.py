"""Says what is wrong with an observation: a function for each way of leaving the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from chathistory.conformance._error_text import shown_error
from chathistory.conformance._interpreter import Observation
from chathistory.conformance._message_ids import with_ids
from chathistory.conformance._outcome import NO_ANSWER, Divergence
from chathistory.conformance._program import Add, RunToken
from chathistory.conformance._script import Expectation
from chathistory.conformance._views import View, explain, shown_all
from chathistory.reference import Messages

_A_REFUSAL = "TypeError or ValueError"


def hung(observation: Observation, *, seconds: float, after_refusal: bool) -> Divergence:
    """The call did not return within these seconds."""
    return Divergence(
        observation.index,
        "an answer",
        f"{NO_ANSWER} within {seconds:g} s",
        "The call did not return" + (", after an earlier one had been refused." if after_refusal else "."),
        Expectation(kind="returns"),
    )


def raised(observation: Observation, expected: str) -> Divergence:
    """The call raised, where this was expected of it."""
    return Divergence(
        observation.index,
        expected,
        shown_error(observation.error),
        f"The call raised {type(observation.error).__name__}.",
        Expectation(kind="returns"),
    )


def accepted(observation: Observation) -> Divergence:
    """A write that had to be refused returned."""
    return Divergence(
        observation.index,
        _A_REFUSAL,
        "it returned",
        "What is not a message was accepted.",
        Expectation(kind="raises"),
    )


def wrong_kind_of_refusal(observation: Observation) -> Divergence:
    """A write that had to be refused was, but not as a refusal looks."""
    return Divergence(
        observation.index,
        _A_REFUSAL,
        shown_error(observation.error),
        "The refusal is of another kind than TypeError or ValueError, and reads as a fault of the store.",
        Expectation(kind="raises"),
    )


def undeclared_error(observation: Observation, declared: tuple[type[Exception], ...]) -> Divergence:
    """What is beyond a declared limit was refused by another error than the one that is declared."""
    expected = " or ".join(kind.__name__ for kind in declared)
    return Divergence(
        observation.index,
        expected,
        shown_error(observation.error),
        f"What is beyond the declared limit is refused by another error than the {expected} that is declared.",
        Expectation(kind="raises", error_types=declared),
    )


def careless_error(observation: Observation, session_id: str, *, leaks: bool) -> Divergence:
    """An error does not name its session, or it leaks credentials, which are not shown."""
    return Divergence(
        observation.index,
        f"an error that names {session_id!r} and carries no credentials",
        type(observation.error).__name__ if leaks else shown_error(observation.error),
        "The error carries credentials (not shown here)." if leaks else "The error does not name the session.",
        Expectation(kind="names-session"),
    )


def wrong_read(observation: Observation, expected: Sequence[Messages], observed: Any, view: View) -> Divergence:
    """None of the histories was read that are possible, as far as a view shows."""
    kind: Literal["equal", "one-of"] = "equal" if len(expected) == 1 else "one-of"
    is_list = isinstance(observed, list | tuple)
    explanation = (
        explain(view, expected[-1], observed) if is_list else f"A {type(observed).__name__} was read, not a list."
    )
    if len(expected) > 1:
        explanation = f"None of the {len(expected)} histories that are possible here was read. {explanation}"
    return Divergence(
        observation.index,
        " or\n".join(shown_all(view, messages) for messages in expected),
        shown_all(view, observed),
        explanation,
        Expectation(kind=kind, values=tuple(expected), view="content" if view == "label" else view),
    )


def not_a_list(observation: Observation) -> Divergence:
    """Something else than a list was read."""
    kind = type(observation.value).__name__
    return Divergence(
        observation.index,
        "a list",
        f"a {kind}",
        f"A {kind} was returned; callers, RunnableWithMessageHistory among them, use it as a list.",
        Expectation(kind="is-list"),
    )


def changed_argument(observation: Observation, step: Add) -> Divergence:
    """An add changed its argument."""
    argument = observation.argument or []
    return Divergence(
        observation.index,
        shown_all("full", step.messages),
        shown_all("full", list(argument)),
        "The add changed what it was given. " + explain("full", step.messages, argument),
        Expectation(kind="unchanged-argument"),
    )


def changed_result(observation: Observation) -> Divergence:
    """A step changed a list that an earlier one had returned."""
    number = (observation.changed_result or 0) + 1
    return Divergence(
        observation.index,
        f"the list that step {number} returned is as it was",
        f"the list that step {number} returned has changed",
        f"The list that step {number} returned is not the caller's own: this step changed it.",
        Expectation(kind="unchanged-results"),
    )


def unlike_the_sync_form(observation: Observation, error: BaseException | None) -> Divergence:
    """The async form returned where the sync form raised this error."""
    return Divergence(
        observation.index,
        f"{shown_error(error)}, as the sync form",
        "it returned",
        "The async form returned where the sync form raised.",
        Expectation(kind="raises"),
    )


def wrong_answer(observation: Observation, expected: str) -> Divergence:
    """A turn answered something else, since its model was shown something else."""
    return Divergence(
        observation.index,
        expected,
        str(observation.value),
        "The model was not shown the messages that the session holds.",
        Expectation(kind="answers", answer=expected),
    )


def by_templates(divergence: Divergence, token: RunToken) -> Divergence:
    """The divergence with templates where it shows message ids that were made of them."""
    values = tuple(with_ids(messages, token.unfill) for messages in divergence.expectation.values)
    return replace(
        divergence,
        expected=token.unfill(divergence.expected),
        observed=token.unfill(divergence.observed),
        explanation=token.unfill(divergence.explanation),
        expectation=replace(divergence.expectation, values=values),
    )
