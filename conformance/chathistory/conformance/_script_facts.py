"""What a counterexample script must know of the steps of its program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chathistory.conformance._demands import demand_of_write
from chathistory.conformance._message_ids import templates_of
from chathistory.conformance._program import (
    Add,
    AddBack,
    Assign,
    Cancel,
    Clear,
    Edit,
    Open,
    Read,
    Step,
    Together,
    Wait,
    is_unique,
)
from chathistory.conformance._script_verdict import Expectation
from chathistory.conformance._session_ids import is_hard_session_id
from chathistory.reference import Messages, same_value

_SECONDS_TO_RETURN = 60.0
_SECONDS_TO_ADD_BACK = 20.0  # one that never ends fills the memory


def token_lines(steps: Sequence[Step]) -> list[str]:
    """The assignments of what the session ids and message ids of these steps are filled with."""
    names = ("session", "partition", "user")
    sessions = (str(getattr(step, name, "")) for step in steps for name in names)
    templates = " ".join((*sessions, *(template for step in steps for template in templates_of(step))))
    lines = []
    if "{run}" in templates:
        lines.append('run = "t" + uuid.uuid4().hex[:19]')
    if "{number}" in templates:
        lines.append("number = 10**14 + uuid.uuid4().int % (9 * 10**14)")
    return lines


def tries_again(steps: Sequence[Step]) -> bool:
    """Whether the last step is work of several, on a session that each try can have for itself."""
    last = steps[-1]
    if not isinstance(last, Together) or not is_unique(last.session):
        return False
    return all(getattr(earlier, "session", "") != last.session for earlier in steps[:-1])


def seconds_to_return(steps: Sequence[Step]) -> float:
    """After how long a call that has not come back is given up, counted from the start of the script."""
    seconds = _SECONDS_TO_ADD_BACK if isinstance(steps[-1], AddBack) else _SECONDS_TO_RETURN
    seconds += sum(step.seconds for step in steps if isinstance(step, Wait))
    return seconds + 0.02 * sum(len(getattr(step, "messages", ())) for step in steps)


def is_edited_later(steps: Sequence[Step], index: int, handle: int) -> bool:
    """Whether an edit changes what the add or the assignment of this index was given."""
    for step in steps[index + 1 :]:
        if isinstance(step, Add | Assign) and step.handle == handle:
            return False
        if isinstance(step, Edit) and step.handle == handle and step.target == "argument":
            return True
    return False


def may_be_refused(steps: Sequence[Step], step: Step) -> bool:
    """Whether a refusal would be as right as doing it: hard values, hard session ids, much at once, assignments."""
    if isinstance(step, Open):
        return is_hard_session_id(step.session.replace("{run}", "t").replace("{number}", "1"))
    opened = (other for other in steps if isinstance(other, Open) and other.handle == getattr(step, "handle", None))
    if any(may_be_refused(steps, other) for other in opened):
        return True
    if isinstance(step, Add):
        return demand_of_write(step, None, _added_before(steps, step)).kind == "store or refuse"
    return isinstance(step, Assign)


def _added_before(steps: Sequence[Step], step: Add) -> list[Any]:
    """What was added to the session of an add before it."""
    sessions: dict[int, str] = {}
    added: dict[str, list[Any]] = {}
    for other in steps:
        if isinstance(other, Open):
            sessions[other.handle] = other.session
        elif isinstance(other, Add):
            if other is step:
                break
            added.setdefault(sessions.get(other.handle, ""), []).extend(other.messages)
    return added.get(sessions.get(step.handle, ""), [])


@dataclass(frozen=True, slots=True)
class Visit:
    """A session that others may have used before: its id is the same in every run.

    Attributes:
        opened: the index of the step that opens it first.
        added: what the program adds to what was there.
    """

    opened: int
    added: Messages


def visit(steps: Sequence[Step], expectation: Expectation) -> Visit | None:
    """The session read last, if others may have left messages there.

    None as well if the end is not what the program adds, as after a clear.
    """
    read = steps[-1]
    if not isinstance(read, Read) or expectation.kind != "equal" or expectation.view == "readable":
        return None
    places = {step.handle: (step.session, step.partition or "") for step in steps if isinstance(step, Open)}
    place = places[read.handle]
    if is_unique(place[0]) or is_unique(place[1]):
        return None
    own: list[Any] = []
    for index, step in enumerate(steps[:-1]):
        if places.get(getattr(step, "handle", 0)) != place:
            continue
        if isinstance(step, Clear | Assign | AddBack | Cancel):
            return None
        if isinstance(step, Add) and index not in expectation.may_raise:
            own += step.messages
    messages = list(expectation.values[0])
    if not same_value(own, messages[max(len(messages) - len(own), 0) :]):
        return None
    opened = (index for index, step in enumerate(steps) if isinstance(step, Open) and places[step.handle] == place)
    return Visit(next(opened), tuple(own))
