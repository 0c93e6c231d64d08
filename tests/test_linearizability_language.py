"""A mini language in which an event history is one line, an independent brute force, and tests of both.

After Elle's `ax1ry12` (append 1 to x, read y as [1 2]), with what concurrency adds: who calls, and what
overlaps. A history is a row of events; an event's place in the row is its time.

=========  ===================================================================
`1+ab`     worker 1 adds the batch a, b, and the call returns at once
`1rab`     worker 1 reads a, b; `1r` finds nothing
`1!`       worker 1 clears
`1=ab`     worker 1 assigns a, b; `1=` assigns nothing
`1(+ab`    the same call is invoked here …
`1)`       … and returns here (the earliest call that worker 1 has open)
`1+ab?`    its outcome stays unknown
`1+ab~`    it raises
`1@t+ab`   it goes to session t and not to s
=========  ===================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest

from chathistory.conformance.linearizability import Call, CallKind, EventHistory

_EVENT = re.compile(r"(\d)(?:@(\w))?(\(?)([+r!=])(\w*)([?~]?)")
_RETURN = re.compile(r"(\d)\)")
_KINDS: dict[str, CallKind] = {"+": "add", "r": "read", "!": "clear", "=": "replace"}


def history(line: str, **initial: str) -> EventHistory:
    """The history of a line; `s="ab"` says what session s held before."""
    calls: list[Call] = []
    still_open: dict[str, list[tuple[int, re.Match[str]]]] = {}
    order: list[tuple[int, Call]] = []
    for time, event in enumerate(line.split()):
        if returns := _RETURN.fullmatch(event):
            invoked, match = still_open[returns[1]].pop(0)
            order.append((invoked, _call(match, invoked, time)))
            continue
        match_ = _EVENT.fullmatch(event)
        assert match_ is not None, f"what is {event!r}?"
        if match_[3] and match_[6] != "?":
            still_open.setdefault(match_[1], []).append((time, match_))
        else:
            order.append((time, _call(match_, time, time)))
    assert not any(still_open.values()), "a call never returns; mark it with `?`"
    calls.extend(call for _, call in sorted(order, key=lambda pair: pair[0]))
    return EventHistory(calls, {name: tuple(content) for name, content in initial.items()})


def _call(match: re.Match[str], invoked: int, returned: int) -> Call:
    worker, session, _, sign, messages, outcome = match.groups()
    kind = _KINDS[sign]
    done = outcome == ""
    return Call(
        process=int(worker),
        session=session or "s",
        kind=kind,
        invoked=invoked,
        returned=None if outcome == "?" else returned,
        added=tuple(messages) if kind in ("add", "replace") else (),
        observed=tuple(messages) if kind == "read" and done else None,
        failed=outcome == "~",
    )


@dataclass(frozen=True, slots=True)
class Step:
    """What brute force can do at once: a call, or a message of a batch that isn't atomic."""

    start: float
    end: float
    kind: str
    added: tuple[str, ...]
    observed: tuple[str, ...] | None
    certain: bool
    after: int


def steps_of(calls: Iterable[Call], *, batches_atomic: bool = True) -> list[Step]:
    """The calls as steps. What says nothing (a refused write, an unanswered read) is left out."""
    steps: list[Step] = []
    for call in calls:
        end = float("inf") if call.returned is None else call.returned
        certain = call.returned is not None and not call.failed
        parts: list[tuple[str, ...]] = [call.added]
        if not batches_atomic and call.kind == "add":
            parts = [(message,) for message in call.added]
            if call.failed and call.returned is not None:
                parts = parts[:-1]
        elif call.failed and call.returned is not None:
            parts = []
        if call.kind == "read" and call.observed is None:
            parts = []
        for index, part in enumerate(parts):
            observed = None if call.observed is None else tuple(call.observed)
            after = len(steps) - 1 if index else -1
            steps.append(Step(call.invoked, end, call.kind, part, observed, certain, after))
    return steps


def results(steps: list[Step], initial: tuple[str, ...] = ()) -> set[tuple[tuple[str, ...], ...]]:
    """All that the reads can return together: brute force over all orders and all unknown outcomes.

    Written from the definition alone: an order of the steps is allowed if none of them returned before the
    one in front of it was invoked; steps of unknown outcome may be left out.
    """
    count = len(steps)
    before = [
        sum(1 << other for other in range(count) if steps[other].end < steps[this].start) for this in range(count)
    ]
    optional = sum(1 << this for this in range(count) if not steps[this].certain)
    reads = [this for this in range(count) if steps[this].kind == "read"]
    found: set[tuple[tuple[str, ...], ...]] = set()
    for left_out in _subsets(optional):
        if any(
            step.after >= 0 and left_out >> step.after & 1 and not left_out >> this & 1
            for this, step in enumerate(steps)
        ):
            continue
        nothing: tuple[tuple[str, ...], ...] = ((),) * len(reads)
        states = {(left_out, initial, nothing)}
        for _ in range(count - left_out.bit_count()):
            states = {
                after
                for done, content, seen in states
                for this in range(count)
                if not done >> this & 1 and not before[this] & ~done
                if steps[this].after < 0 or done >> steps[this].after & 1
                for after in [_after(steps, this, done, content, seen, reads)]
            }
        found.update(seen for _, _, seen in states)
    return found


def _after(
    steps: list[Step],
    this: int,
    done: int,
    content: tuple[str, ...],
    seen: tuple[tuple[str, ...], ...],
    reads: list[int],
) -> tuple[int, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    kind, added = steps[this].kind, steps[this].added
    if kind == "read":
        place = reads.index(this)
        seen = (*seen[:place], content, *seen[place + 1 :])
    elif kind == "add":
        content = content + added
    else:
        content = added
    return done | 1 << this, content, seen


def _subsets(mask: int) -> Iterator[int]:
    subset = mask
    while True:
        yield subset
        if not subset:
            return
        subset = (subset - 1) & mask


def explained(events: EventHistory, *, batches_atomic: bool = True) -> bool:
    """Whether a history is linearizable, by brute force."""
    sessions = {call.session for call in events.calls}
    return all(_session_explained(events, session, batches_atomic) for session in sessions)


def _session_explained(events: EventHistory, session: str, batches_atomic: bool) -> bool:
    calls = [call for call in events.calls if call.session == session]
    steps = steps_of(calls, batches_atomic=batches_atomic)
    observed = tuple(step.observed for step in steps if step.kind == "read")
    return observed in results(steps, events.initial.get(session, ()))


def test_a_line_says_who_called_what_and_what_overlapped() -> None:
    """Places in the row are times; a call that is opened spans all up to its return."""
    events = history("1(+ab 2ra 1) 3@t!? 1=c~", s="x")
    assert events == EventHistory(
        [
            Call(process=1, session="s", kind="add", invoked=0, returned=2, added=("a", "b")),
            Call(process=2, session="s", kind="read", invoked=1, returned=1, observed=("a",)),
            Call(process=3, session="t", kind="clear", invoked=3, returned=None),
            Call(process=1, session="s", kind="replace", invoked=4, returned=4, added=("c",), failed=True),
        ],
        {"s": ("x",)},
    )


@pytest.mark.parametrize(
    ("line", "linearizable"),
    [
        ("1+a 2ra", True),
        ("1+a 2r", False),
        ("1(+a 2r 1) 2ra", True),
        ("1(+a 2ra 2r 1)", False),
        ("1+a? 2r 2ra", True),
        ("1+a? 2ra 2r", False),
        ("1+a 2! 2r", True),
        ("1+a 2! 2ra", False),
        ("1=ab 1rab", True),
        ("1+a~ 1ra", False),
    ],
)
def test_brute_force_knows_what_is_plain(line: str, linearizable: bool) -> None:
    """The oracle is right where everybody can see it."""
    assert explained(history(line)) is linearizable
