"""Judges what workers did together on one session, each clause by itself (CON, ATM-2, ATM-3, ASY-5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from chathistory.conformance._together import Event
from chathistory.conformance.linearizability import (
    Call,
    EventHistory,
    Undecided,
    Violation,
    Weaken,
    check,
    half_written_messages,
    lost_messages,
    prefix_violations,
    render_svg,
    render_text,
    torn_batches,
    writer_order_violations,
)

Aspect: TypeAlias = Literal["lost", "order", "prefix", "torn", "linearizable", "works", "cancelled", "errors"]

_SESSION = "session"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an event history.

    Attributes:
        explanation: what happened, in prose.
        timeline: the few calls involved, as text.
        timeline_svg: the same as a drawing.
        undecided: the checker ran out of its budget; this is no violation.
    """

    explanation: str
    timeline: str = ""
    timeline_svg: str = ""
    undecided: bool = False


def judge_events(events: list[Event], aspect: Aspect) -> Finding | None:
    """What is wrong with what workers did together, as far as one clause is concerned."""
    if any(event.kind == "hung" for event in events):
        return Finding("Some of the calls did not return.")
    raised = next((event for event in events if event.error is not None and not event.may_raise), None)
    if raised is not None and aspect in ("works", "cancelled", "errors"):
        return Finding(
            f"{raised.kind} by worker {raised.worker} raised {type(raised.error).__name__}: {raised.error}, "
            "only because others were at work at the same time."
        )
    history = EventHistory([_call(event) for event in events if event.kind != "open"])
    return _JUDGES[aspect](history)


def _call(event: Event) -> Call:
    """The call as the checker knows it; one that raised may have stored nothing, by ATM-1."""
    return Call(
        process=event.worker,
        session=_SESSION,
        kind=event.kind,  # type: ignore[arg-type]
        invoked=event.began,
        returned=event.ended,
        added=event.added,
        observed=event.observed,
        failed=event.error is not None,
    )


def _found(violation: Violation | None) -> Finding | None:
    if violation is None:
        return None
    return Finding(violation.explanation, render_text(violation), render_svg(violation))


def _works(history: EventHistory) -> Finding | None:
    return _found(lost_messages(history) or writer_order_violations(history))


def _linearizable(history: EventHistory) -> Finding | None:
    verdict = check(history, weaken=Weaken(batches_atomic=False))
    if isinstance(verdict, Undecided):
        return Finding(verdict.reason, undecided=True)
    return _found(verdict if isinstance(verdict, Violation) else None)


_JUDGES: dict[Aspect, Callable[[EventHistory], Finding | None]] = {
    "lost": lambda history: _found(lost_messages(history)),
    "order": lambda history: _found(writer_order_violations(history)),
    "prefix": lambda history: _found(prefix_violations(history)),
    "torn": lambda history: _found(torn_batches(history) or half_written_messages(history)),
    "linearizable": _linearizable,
    "works": _works,
    "cancelled": _linearizable,
    "errors": lambda _history: None,
}
