"""Makes a failing program smaller while it goes on failing: fewer steps, fewer messages, plainer values.

Hypothesis draws the programs; they are shrunk here, on the data itself, because programs that every run holds
are not drawn, because deleting a step is a smaller change than deleting the choices that led to it, and
because the time it may take is bounded (a try on a real store costs milliseconds).
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.conformance._plainer import is_ordinary, plainer_messages, with_field
from chathistory.conformance._program import Add, Assign, Cancel, Open, Program, Read, Step, Turn, Wait
from chathistory.conformance._views import LABEL, label_of

Item = TypeVar("Item")
StillFails = Callable[[Program], bool]

_MOST_CANDIDATES_FOR_A_MESSAGE = 200
_MOST_MESSAGES_OF_A_BATCH = 20
_PLAIN_NAMES = ("{run}-a", "{run}-b")
_MANY = 50
"""From so many on, plain messages in a row are taken to be alike, whatever they are called and whoever says them: the
row is made shorter at its end, and of programs that differ in nothing else one is tried. So are the same steps again
and again on numbered sessions."""
_NUMBERED_SESSION = re.compile(r"\{run\}-n\d+")


class _OutOfTimeError(Exception):
    """The search has used up its time; what it found is kept."""


def shrink(
    program: Program,
    still_fails: StillFails,
    *,
    seconds: float,
    diverged_at: int | None = None,
    values: bool = True,
) -> tuple[Program, bool]:
    """A smaller program that still fails, and whether the search came to its end in time.

    Args:
        program: a program that fails.
        still_fails: runs a candidate.
        seconds: how long the search may take.
        values: whether messages may become plainer; not where their contents tell them apart.
        diverged_at: the index of the step that diverged; those behind it are tried to be left out first.
    """
    shrinker = _Shrinker(program, still_fails, time.monotonic() + seconds, values)
    try:
        if diverged_at is not None:
            shrinker.accepts(Program(program.steps[: diverged_at + 1]))
        shrinker.run()
    except _OutOfTimeError:
        return shrinker.best, False
    return shrinker.best, True


@dataclass(slots=True)
class _Shrinker:
    """Greedy search: a candidate that still fails is the new best, and the search goes on from where it is."""

    best: Program
    still_fails: StillFails
    deadline: float
    values: bool
    tried: dict[Hashable, Program] = field(default_factory=dict)
    shortened: dict[Hashable, Program] = field(default_factory=dict)

    def run(self) -> None:
        before: Program | None = None
        while before != self.best:
            before = self.best
            self._leave_out_steps()
            self._leave_out_messages()
            self._use_fewer_handles()
            self._join_adds()
            for simplify in (_with_plainer_steps, _with_plain_names):
                while self._accepts_any(simplify(self.best)):
                    pass
            if self.values:
                self._simplify_messages()
            else:
                self._simplify_named_messages()

    def accepts(self, candidate: Program) -> bool:
        """Whether a candidate still fails; then it is the new best."""
        if time.monotonic() > self.deadline:
            raise _OutOfTimeError
        if candidate == self.best or not _makes_sense(candidate):
            return False
        likeness = _likeness(candidate) if _is_long(candidate) else None
        if likeness in self.tried:
            return False
        if self.still_fails(candidate):
            self.best = candidate
            return True
        if likeness is not None:
            self.tried[likeness] = candidate
        return False

    def _accepts_any(self, candidates: Iterator[Program]) -> bool:
        return any(self.accepts(candidate) for candidate in candidates)

    def _leave_out_steps(self) -> None:
        for handle in dict.fromkeys(step.handle for step in self.best.steps if isinstance(step, Open)):
            rest = tuple(step for step in self.best.steps if getattr(step, "handle", None) != handle)
            self.accepts(Program(rest))
        for row in reversed(_rows_of_sessions(self.best)):
            self._shorten_row_of_sessions(row)
        rows = _rows_of_sessions(self.best)
        if not rows:
            self._leave_out(lambda: self.best.steps, Program)
            return
        within = {place for row in rows for place in range(row.start, row.stop)}
        for place in reversed([place for place in range(len(self.best.steps)) if place not in within]):
            self.accepts(Program((*self.best.steps[:place], *self.best.steps[place + 1 :])))

    def _shorten_row_of_sessions(self, row: range) -> None:
        """Leave out sessions at the end of a row, many at a time and then fewer."""
        stop, size = row.stop, (row.stop - row.start) // row.step // 2
        while size:
            steps, left = self.best.steps, stop - size * row.step
            if left >= row.start and self.accepts(Program((*steps[:left], *steps[stop:]))):
                stop = left
            else:
                size //= 2

    def _leave_out_messages(self) -> None:
        for index, step in enumerate(self.best.steps):
            if isinstance(step, Add | Assign | Cancel) and len(step.messages) > 1:
                self._leave_out_messages_at(index)

    def _leave_out_messages_at(self, index: int) -> None:
        for start, stop in reversed(_rows(_messages_at(self.best, index))):
            self._shorten_row(index, start, stop)
        messages = _messages_at(self.best, index)
        rows = _rows(messages)
        if not rows:
            self._leave_out(
                lambda: _messages_at(self.best, index),
                lambda messages: _with_messages(self.best, index, messages),
            )
            return
        within = {place for start, stop in rows for place in range(start, stop)}
        for place in reversed([place for place in range(len(messages)) if place not in within]):
            messages = _messages_at(self.best, index)
            self.accepts(_with_messages(self.best, index, (*messages[:place], *messages[place + 1 :])))

    def _shorten_row(self, index: int, start: int, stop: int) -> None:
        """Leave out chunks at the end of a row of messages that are alike, from large ones to a single message."""
        if (start, _likeness(self.best)) in self.shortened:
            return
        size = (stop - start) // 2
        while size:
            messages = _messages_at(self.best, index)
            shorter = _with_messages(self.best, index, (*messages[: stop - size], *messages[stop:]))
            if stop - size >= start and self.accepts(shorter):
                stop -= size
            else:
                size //= 2
        self.shortened[start, _likeness(self.best)] = self.best

    def _leave_out(self, items: Callable[[], tuple[Item, ...]], rebuilt: Callable[[tuple[Item, ...]], Program]) -> None:
        """Leave out chunks, from large ones to single items (after Zeller and Hildebrandt's ddmin)."""
        size = max(len(items()) // 2, 1)
        while size:
            start = 0
            while start < len(items()):
                present = items()
                if not self.accepts(rebuilt((*present[:start], *present[start + size :]))):
                    start += size
            size //= 2

    def _use_fewer_handles(self) -> None:
        """Let one handle do the work of another on the same session."""
        for later in [step for step in self.best.steps if isinstance(step, Open)]:
            for earlier in [step for step in self.best.steps if isinstance(step, Open)]:
                same = earlier.handle < later.handle and replace(later, handle=earlier.handle) == earlier
                if same and self.accepts(_merged(self.best, later, earlier.handle)):
                    break

    def _join_adds(self) -> None:
        """Make one batch of two adds in a row through one handle."""
        index = 0
        while index + 1 < len(self.best.steps):
            steps = self.best.steps
            first, second = steps[index], steps[index + 1]
            if (
                isinstance(first, Add)
                and isinstance(second, Add)
                and replace(first, messages=second.messages) == second
            ):
                joined = replace(first, messages=first.messages + second.messages, call="add_messages")
                if self.accepts(Program((*steps[:index], joined, *steps[index + 2 :]))):
                    continue
            index += 1

    def _simplify_messages(self) -> None:
        for index, place in _places(self.best):
            self._simplify_message(index, place)

    def _simplify_named_messages(self) -> None:
        """Plain messages of the same names, where contents tell them apart; then names from m1 on."""
        for index, place in _places(self.best):
            messages = _messages_at(self.best, index)
            named = HumanMessage(label_of(messages[place]))
            if isinstance(messages[place], BaseMessage) and not is_ordinary(messages[place]):
                self.accepts(_with_messages(self.best, index, (*messages[:place], named, *messages[place + 1 :])))
        self.accepts(_numbered_anew(self.best))

    def _simplify_message(self, index: int, place: int) -> None:
        tried = 0
        improved = True
        while improved:
            improved = False
            messages = _messages_at(self.best, index)
            for plainer in plainer_messages(messages[place]):
                tried += 1
                if tried > _MOST_CANDIDATES_FOR_A_MESSAGE:
                    return
                if self.accepts(_with_messages(self.best, index, (*messages[:place], plainer, *messages[place + 1 :]))):
                    improved = True
                    break


_CONVENIENCE: Mapping[str, type[BaseMessage]] = {"add_user_message": HumanMessage, "add_ai_message": AIMessage}


def _makes_sense(candidate: Program) -> bool:
    """Whether a history could do what the program asks: no convenience call is given another class of message."""
    return candidate.is_valid() and not any(
        isinstance(step, Add)
        and step.call in _CONVENIENCE
        and isinstance(step.messages[0], BaseMessage)
        and not isinstance(step.messages[0], _CONVENIENCE[step.call])
        for step in candidate.steps
    )


def _is_long(program: Program) -> bool:
    messages = sum(len(step.messages) for step in program.steps if isinstance(step, Add | Assign))
    return messages + len(program.steps) > _MANY


def _rows_of_sessions(program: Program) -> list[range]:
    """Where the same steps stand again and again, each time on the next of many numbered sessions.

    The range goes from the first step to that behind the last, by as many as there are on each session.
    """
    opens = [place for place, step in enumerate(program.steps) if isinstance(step, Open)]
    groups = itertools.pairwise([*opens, len(program.steps)])
    rows: list[range] = []
    for shape, alike in itertools.groupby(groups, key=lambda group: _shape(program.steps[group[0] : group[1]])):
        members = list(alike)
        if shape is not None and len(members) > _MANY:
            (start, second), (_, stop) = members[0], members[-1]
            rows.append(range(start, stop, second - start))
    return rows


def _shape(steps: Sequence[Step]) -> Hashable:
    """What is done on one of many sessions, whatever it and its messages are called; None for another session."""
    first, *rest = steps
    if not isinstance(first, Open) or not _NUMBERED_SESSION.fullmatch(first.session):
        return None
    return replace(first, session=""), _likeness(Program(tuple(rest)))


def _rows(messages: Sequence[Any]) -> list[tuple[int, int]]:
    """Where plain messages stand in a long row: the place of the first, and that behind the last."""
    rows, start = [], 0
    for place in range(len(messages) + 1):
        if place == len(messages) or not _is_plainly_named(messages[place]):
            if place - start > _MANY:
                rows.append((start, place))
            start = place + 1
    return rows


def _is_plainly_named(message: Any) -> bool:
    """Whether it is what it is called and who says it, and nothing else."""
    if not isinstance(message, BaseMessage) or not is_ordinary(message) or message.model_extra:
        return False
    more = any(value for name, value in vars(message).items() if name not in ("content", "type"))
    return not more and LABEL.fullmatch(str(message.content)) is not None


def _likeness(program: Program) -> Hashable:
    """What programs have in common that differ in what plain messages and numbered sessions are called."""
    names: dict[str, int] = {}

    def named(message: Any) -> Hashable:
        if _is_plainly_named(message):
            return names.setdefault(str(message.content), len(names))
        return message if isinstance(message, str) else id(message)

    def without_names(step: Step) -> Hashable:
        if isinstance(step, Open) and _NUMBERED_SESSION.fullmatch(step.session):
            return replace(step, session=""), names.setdefault(step.session, len(names))
        if isinstance(step, Add | Assign):
            return replace(step, messages=()), tuple(map(named, step.messages))
        return id(step) if isinstance(step, Cancel) else step

    return tuple(map(without_names, program.steps))


def _places(program: Program) -> Iterator[tuple[int, int]]:
    """The step and the place in it of each message, of long batches the first twenty."""
    for index, step in enumerate(program.steps):
        if isinstance(step, Add | Assign | Cancel):
            yield from ((index, place) for place in range(min(len(step.messages), _MOST_MESSAGES_OF_A_BATCH)))


def _numbered_anew(program: Program) -> Program:
    """The program with messages that are called m1, m2 and so on in the order in which they occur."""
    names: dict[str, str] = {}

    def renamed(message: Any) -> Any:
        if not isinstance(message, BaseMessage) or not LABEL.fullmatch(str(message.content)):
            return message
        return with_field(message, "content", names.setdefault(str(message.content), f"m{len(names) + 1}"))

    return Program(
        tuple(
            replace(step, messages=tuple(map(renamed, step.messages)))
            if isinstance(step, Add | Assign | Cancel)
            else step
            for step in program.steps
        )
    )


def _messages_at(program: Program, index: int) -> tuple[Any, ...]:
    messages: tuple[Any, ...] = program.steps[index].messages  # type: ignore[union-attr]
    return messages


def _with_messages(program: Program, index: int, messages: tuple[Any, ...]) -> Program:
    return _with_step(program, index, replace(program.steps[index], messages=messages))  # type: ignore[arg-type]


def _with_step(program: Program, index: int, step: Step) -> Program:
    return Program((*program.steps[:index], step, *program.steps[index + 1 :]))


def _merged(program: Program, later: Open, handle: int) -> Program:
    """The program with one handle in place of another."""
    return Program(
        tuple(
            replace(step, handle=handle) if getattr(step, "handle", None) == later.handle else step  # type: ignore[arg-type]
            for step in program.steps
            if step is not later
        )
    )


def _with_plainer_steps(program: Program) -> Iterator[Program]:
    for index, step in enumerate(program.steps):
        for plainer in _plainer_step(step):
            yield _with_step(program, index, plainer)


def _with_plain_names(program: Program) -> Iterator[Program]:
    names = tuple(program.sessions())
    for session in names:
        for plain in _PLAIN_NAMES:
            if session not in _PLAIN_NAMES and plain not in names:
                yield Program(tuple(_renamed(step, session, plain) for step in program.steps))


def _renamed(step: Step, session: str, plain: str) -> Step:
    return replace(step, session=plain) if isinstance(step, Open | Turn) and step.session == session else step


def _plainer_step(step: Step) -> Iterator[Step]:
    match step:
        case Add():
            if step.call != "add_messages":
                yield replace(step, call="add_messages", text=False)
            if step.container not in ("list", "bare"):
                yield replace(step, container="list")
            if step.mode == "async":
                yield replace(step, mode="sync")
        case Read() if step.mode == "async":
            yield replace(step, mode="sync")
        case Cancel() if step.turns > 0:
            yield replace(step, turns=step.turns // 2)
        case Wait() if step.seconds > 4:
            yield replace(step, seconds=step.seconds / 2)
        case Turn() if step.call != "invoke":
            yield replace(step, call="invoke")
        case Turn() if step.shape != "messages to message" and not step.user:
            yield replace(step, shape="messages to message")
