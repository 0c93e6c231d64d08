"""Decides whether a history is linearizable, each session by the cheapest judge that is exact for it.

=============================  ==========================================  =================
session                        judge                                       cost
=============================  ==========================================  =================
no clear, unique messages      `_append`: levels of the longest read       linear
clears, unique messages        `_epochs`: runs of messages, put in order   O(n log n)
anything else                  `_search`: memoised search                  within the budget
=============================  ==========================================  =================

The verdict is the judges' alone. What went wrong is found out afterwards, by `_explain`.
"""

from __future__ import annotations

from collections.abc import Sequence

from chathistory.conformance.linearizability._append import judge_appends
from chathistory.conformance.linearizability._epochs import judge_epochs
from chathistory.conformance.linearizability._events import EventHistory
from chathistory.conformance.linearizability._explain import explain
from chathistory.conformance.linearizability._search import Meter, OutOfBudgetError, search
from chathistory.conformance.linearizability._session import Session, sessions_of
from chathistory.conformance.linearizability._verdict import (
    Budget,
    Linearizable,
    Undecided,
    Verdict,
    Weaken,
)

_DEFAULT_BUDGET = Budget()
_EVERYTHING = Weaken()
# When a violation is explained, the search may be asked about many parts of it.
_SECONDS_PER_QUESTION = 0.5


def check(
    history: EventHistory,
    *,
    budget: Budget = _DEFAULT_BUDGET,
    weaken: Weaken = _EVERYTHING,
    witness: bool = False,
) -> Verdict:
    """Judge whether every session of a history is linearizable (CON-4, and with it CON-1 to 3, ATM-2 and 3).

    The sequential specification is `chathistory.reference.step_session` without a bound and without expiry.

    Args:
        history: what was called and what came back.
        budget: how much the search may do, where it is needed.
        weaken: clauses to leave out.
        witness: whether a `Linearizable` shall say in which order.

    Returns:
        Linearizable, a Violation with its explanation, or Undecided. A violation in one session outweighs
        another session that is undecided.
    """
    meter = Meter(budget)
    part = Budget(seconds=min(budget.seconds, _SECONDS_PER_QUESTION), states=budget.states)
    orders: dict[str, tuple[int, ...]] = {}
    undecided: dict[str, str] = {}
    for session in sessions_of(history, weaken):
        order = _linearize_or_reason(session, meter, witness)
        if order is None:
            return explain(session, lambda relaxed: linearize(relaxed, Meter(part)) is not None)
        if isinstance(order, str):
            undecided[session.name] = order
        else:
            orders[session.name] = order
    if undecided:
        return Undecided(reason=next(iter(undecided.values())), sessions=tuple(undecided))
    return Linearizable(calls=len(history), sessions=len(orders), order=orders if witness else None)


def _linearize_or_reason(session: Session, meter: Meter, witness: bool) -> tuple[int, ...] | str | None:
    """The same as `linearize`, with the reason in place of the exception."""
    try:
        order = linearize(session, meter, witness=witness)
    except OutOfBudgetError as reason:
        return str(reason)
    return None if order is None else tuple(order)


def linearize(session: Session, meter: Meter, *, witness: bool = False) -> Sequence[int] | None:
    """A linearization of a session (left empty where none is asked for), or None if there is none.

    Raises:
        OutOfBudgetError: if neither was found in time.
    """
    if session.repeated:
        return search(session, meter)
    if not session.resets:
        return judge_appends(session, witness=witness)
    if session.atomic:
        return judge_epochs(session, witness=witness)
    return search(session, meter)
