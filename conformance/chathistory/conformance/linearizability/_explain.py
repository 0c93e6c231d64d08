"""Says what went wrong in a session that is not linearizable: the anomaly's name, the few calls, and prose.

The verdict is in when this module is asked. It tries the detectors one after another, the most telling
first; what one of them proves is never called into question by the next. When none of them knows the
anomaly, a core of calls that contradict each other is shown instead, in the manner of Elle: these calls,
these results, no order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from chathistory.conformance.linearizability._case import Case, listing, quote
from chathistory.conformance.linearizability._core import Judge, Suspects
from chathistory.conformance.linearizability._pairs import diverging, overtaken, shrunk, unseen
from chathistory.conformance.linearizability._resets import interleaved, returned
from chathistory.conformance.linearizability._session import Session
from chathistory.conformance.linearizability._single import (
    disordered,
    duplicated,
    from_nowhere,
    headless,
    survived,
    torn,
    without_initial,
)
from chathistory.conformance.linearizability._verdict import Anomaly, Violation

Detector: TypeAlias = Callable[[Case], Violation | None]

_MOST_CALLS = 12
_TWO = 2


def explain(session: Session, judge: Judge) -> Violation:
    """The violation in a session that is not linearizable.

    Args:
        session: the session.
        judge: decides whether a session is linearizable; asked about parts of this one if need be.
    """
    case = Case(session)
    found = (detector(case) for detector in _detectors(session))
    return next((violation for violation in found if violation), None) or _contradiction(case, judge)


def _detectors(session: Session) -> Sequence[Detector]:
    """The detectors that hold for a session: not all do when messages repeat, or batches are not atomic."""
    one_read: list[Detector] = [from_nowhere, duplicated]
    one_read += [torn] if session.atomic else [headless]
    one_read += [disordered, survived, returned, without_initial]
    if session.repeated:
        return one_read
    return [*one_read, diverging, overtaken, shrunk, unseen, interleaved]


def _contradiction(case: Case, judge: Judge) -> Violation:
    """The core of a history that no detector knows."""
    suspects = Suspects(case.session, judge)
    core = suspects.core()
    simpler = _two_calls(case, core) or _from_the_start(case, core)
    return simpler or _without_one_write(case, suspects, core) or _unnamed(case, suspects, core)


def _unnamed(case: Case, suspects: Suspects, core: list[int]) -> Violation:
    """A core for which there is no name."""
    shown = _shown(suspects, core)
    messages = dict.fromkeys(message for number in shown for message in case.calls[number].added)
    return case.violation("not linearizable", shown, messages, _facts(case, suspects, core))


def _shown(suspects: Suspects, core: list[int]) -> list[int]:
    """The calls of a core that are shown: with all clears nearby if there is room, or else the first few."""
    whole = sorted({*core, *suspects.clears})
    return whole if len(whole) <= _MOST_CALLS else core[:_MOST_CALLS]


def _two_calls(case: Case, core: list[int]) -> Violation | None:
    """A core of two calls, where a read lacks what the other, which had returned before, wrote or found."""
    if len(core) != _TWO:
        return None
    earlier, later = sorted(core, key=case.ends.__getitem__)
    content = case.calls[earlier].added or case.observed(earlier)
    lost = next((message for message in content if message not in case.observed(later)), None)
    if lost is None or case.calls[later].kind != "read" or not case.session.precedes(earlier, later):
        return None
    did = "found" if case.calls[earlier].kind == "read" else "wrote"
    text = f"{case.name(later)} began after {case.name(earlier)}, which {did} {quote(lost)}, had returned, and "
    text += "doesn't hold it; no clear or assignment can explain what it found instead."
    return case.missing(lost, later, [earlier], text)


def _from_the_start(case: Case, core: list[int]) -> Violation | None:
    """A core of a read and resets, where the read lacks what was there at first."""
    reads = [number for number in core if case.calls[number].kind == "read"]
    if len(reads) != 1 or not set(core).issubset({*reads, *case.session.resets}):
        return None
    lost = next((each for each in case.session.initial if each not in case.observed(reads[0])), None)
    if lost is None:
        return None
    text = f"{case.name(reads[0])} doesn't hold {quote(lost)}, which was there before the first call, and no "
    return case.missing(lost, reads[0], core, f"{text}clear or assignment can explain what it found instead.")


def _without_one_write(case: Case, suspects: Suspects, core: list[int]) -> Violation | None:
    """An acknowledged clear, or write that nobody read, but for which everything could be explained."""
    read = {message for group in case.groups for message in group.content}
    for number in core[:_MOST_CALLS]:
        call = case.calls[number]
        in_sight = call.kind == "read" or not read.isdisjoint(call.added)
        if in_sight or not case.session.certain(number) or not suspects.explained_without(number):
            continue
        text = f"{case.name(number)} was acknowledged, but everything that was read can only be explained if "
        text += f"it never happened. {_facts(case, suspects, core)}"
        anomaly: Anomaly = "lost add" if call.added else "clear undone"
        return case.violation(anomaly, _shown(suspects, core), call.added, text)
    return None


def _facts(case: Case, suspects: Suspects, core: list[int]) -> str:
    """What the calls of a core say, each in a few words."""
    shown = _shown(suspects, core)
    facts = "; ".join(_fact(case, number) for number in shown)
    if len(shown) == 1 and suspects.in_time:
        return f"{facts}, and no outcome and order of the other calls, whenever they happened, explains that."
    more = "" if len(core) <= _MOST_CALLS else f" (and {len(core) - _MOST_CALLS:,} more)"
    text = f"No order of these calls, true to when they began and ended, explains them: {facts}{more}."
    return f"{text} Without any one of the reads, the others can be explained." if suspects.in_time else text


def _fact(case: Case, number: int) -> str:
    """What one call says."""
    call = case.calls[number]
    if call.kind == "read":
        found = listing(list(case.observed(number))) or "nothing"
        return f"{case.name(number)} found {found}"
    wrote = f" wrote {listing(call.added)}" if call.added else ""
    return f"{case.name(number)}{wrote}" + (", if it happened" if call.unknown else "")
