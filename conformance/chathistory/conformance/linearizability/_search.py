"""Judges any session at all, by a search with memoised states, within a budget.

Needed for what `_append` and `_epochs` can't take: messages written more than once (a retry, an assignment of
what was read), and clears where batches are not atomic.

The search is Wing & Gong's (1993): take a call that no call left must precede, apply it to the state, go on,
and come back if that leads nowhere. As Lowe (2017) proposes, a pair (calls done, state) is never explored
twice. Four more things keep it small, and none changes the verdict:

* States are nodes of a trie of all that was observed. Content that is no prefix of any observation can't be
  read any more before it is reset, whatever is added, so all such content is one state, DEAD.
* A read that can be done now and fits is done now: it changes nothing, so no order gains by having it later.
* A write of something that nobody read, done while DEAD, is done now: it leaves DEAD, and an order that has
  it later loses nothing without it there (nothing is read while its messages stand).
  (Both wait while a write that raised half-way, and ended before this step began, may still be done.)
* A message written once that somebody read must not lead to DEAD: that read could never be explained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from chathistory.conformance.linearizability._events import Call, Prefix
from chathistory.conformance.linearizability._session import Session
from chathistory.conformance.linearizability._verdict import Budget

DEAD: Final = -1
_EMPTY: Final = 0
_STATES_PER_LOOK_AT_THE_CLOCK = 256


def apply(content: tuple[str, ...], call: Call) -> tuple[str, ...]:
    """The sequential specification: what a session holds after a call that took effect.

    The same as `chathistory.reference.step_session` on identities; a test holds the two together. The search
    does this on a trie, `_append` and `_epochs` on whole runs.
    """
    if call.kind == "add":
        return content + call.added
    return content if call.kind == "read" else call.added


class OutOfBudgetError(Exception):
    """The search was stopped before it found a proof of either kind."""


@dataclass(slots=True)
class Meter:
    """What is left of a budget."""

    budget: Budget
    states: int = 0
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.budget.seconds

    def count(self) -> None:
        """Count a state.

        Raises:
            OutOfBudgetError: if it is one too many, or the time is over.
        """
        self.states += 1
        if self.states > self.budget.states:
            raise OutOfBudgetError(f"the search visited {self.budget.states:,} states")
        if self.states % _STATES_PER_LOOK_AT_THE_CLOCK == 0 and time.monotonic() > self.deadline:
            raise OutOfBudgetError(f"the search took {self.budget.seconds:g} s")


class _Trie:
    """All prefixes of all observations, numbered; 0 is the empty one."""

    def __init__(self) -> None:
        self._next: dict[tuple[int, str], int] = {}
        self._path_of_log: dict[int, list[int]] = {}

    def insert(self, observed: Sequence[str]) -> int:
        """The node of an observation, which is made if need be. Prefixes of one log are walked once."""
        if type(observed) is not Prefix:
            return self._extend([_EMPTY], observed)[-1]
        path = self._path_of_log.setdefault(id(observed.log), [_EMPTY])
        if len(path) <= observed.length:
            self._extend(path, observed.log[len(path) - 1 : observed.length])
        return path[observed.length]

    def _extend(self, path: list[int], messages: Sequence[str]) -> list[int]:
        """The path with the nodes of further messages, made if need be."""
        for message in messages:
            path.append(self._next.setdefault((path[-1], message), len(self._next) + 1))
        return path

    def messages(self) -> set[str]:
        """All messages that were observed."""
        return {message for _, message in self._next}

    def walk(self, node: int, messages: Sequence[str]) -> int:
        """The node reached by appending these messages, or DEAD."""
        for message in messages:
            if node == DEAD:
                return DEAD
            node = self._next.get((node, message), DEAD)
        return node


@dataclass(slots=True)
class _Step:
    """One thing the search does at once: a call, or one message of a batch that isn't atomic.

    Attributes:
        call: the number of the call.
        start: when it was invoked.
        end: when it returned.
        added: what it appends, or puts in place of all; None for a read.
        resets: whether it begins anew.
        node: what a read must find.
        after: the place in its list of the step that must be done before, or -1.
        unread: whether it writes something that is in no observation.
        alive: whether it writes something that some read must find and nobody else writes.
    """

    call: int
    start: float
    end: float
    added: tuple[str, ...] | None = None
    resets: bool = False
    node: int = DEAD
    after: int = -1
    unread: bool = False
    alive: bool = False


_Path: TypeAlias = "tuple[int, _Path] | None"


@dataclass(frozen=True, slots=True)
class _State:
    """Where the search stands.

    Attributes:
        low: all certain steps before this place are done.
        done: which steps from there on are done, as bits.
        maybe_done: which steps of unknown outcome are done, as bits.
        node: the content.
        latest: the latest invocation of a step done; what ended before can't be done any more.
        path: the calls done, as a linked list.
    """

    low: int
    done: int
    maybe_done: int
    node: int
    latest: float
    path: _Path

    @property
    def key(self) -> tuple[int, int, int, int]:
        """What the rest of the search depends on."""
        return self.low, self.done, self.maybe_done, self.node

    def is_done(self, place: int) -> bool:
        """Whether a certain step is done."""
        return place < self.low or bool(self.done >> (place - self.low) & 1)


def search(session: Session, meter: Meter) -> Sequence[int] | None:
    """A linearization of the session, or None if there is none.

    Raises:
        OutOfBudgetError: if neither was found in time.
    """
    problem = _Problem(session)
    start = _State(0, 0, 0, problem.trie.walk(_EMPTY, session.initial), -math.inf, None)
    stack, seen = [start], set[tuple[int, int, int, int]]()
    while stack:
        state = problem.settle(stack.pop())
        if state.low == len(problem.certain):
            return _calls_on(state.path)
        if state.key not in seen:
            seen.add(state.key)
            meter.count()
            stack.extend(problem.successors(state))
    return None


def _calls_on(path: _Path) -> list[int]:
    """The calls of a path, first to last."""
    calls: list[int] = []
    while path is not None:
        call, path = path
        calls.append(call)
    return calls[::-1]


class _Problem:
    """The steps of a session, and how they lead from state to state."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.trie = _Trie()
        nodes = {read: self.trie.insert(session.observed(read)) for read in session.reads}
        self._observed = self.trie.messages()
        certain = [_Step(read, *self._times(read), node=node) for read, node in nodes.items()]
        maybe: list[_Step] = []
        clears = [number for number in session.resets if not session.calls[number].added]
        for number in [*session.writes, *clears]:
            if session.certain(number):
                certain.extend(self._steps_of(number))
            else:
                maybe.extend(_without_unread_end(self._steps_of(number)))
        self.certain = _linked(sorted(certain, key=lambda step: step.start))
        self.maybe = _linked(maybe)
        self._may_miss = [(place, step.end) for place, step in enumerate(self.maybe) if step.end < math.inf]

    def _times(self, number: int) -> tuple[float, float]:
        return self.session.starts[number], self.session.ends[number]

    def _steps_of(self, number: int) -> list[_Step]:
        """The steps of a write or clear: one, or one for each message of a batch that isn't atomic."""
        messages = self.session.messages_of(number)
        if self.session.atomic or self.session.calls[number].kind != "add":
            return [self._step(number, messages)]
        return [self._step(number, (message,)) for message in messages]

    def _step(self, number: int, messages: tuple[str, ...]) -> _Step:
        """A step of a write or clear."""
        return _Step(
            number,
            *self._times(number),
            added=messages,
            resets=self.session.calls[number].kind != "add",
            unread=not self._observed.issuperset(messages),
            alive=any(each in self.session.writer and each in self._observed for each in messages),
        )

    def settle(self, state: _State) -> _State:
        """The state after all steps that are best done now: reads that fit, and unread writes while DEAD."""
        while True:
            ready, _ = self._ready(state)
            fits = next((place for place in ready if self._is_settled(state, self.certain[place])), None)
            if fits is None:
                return state
            state = self._do(state, fits, state.node)

    def _is_settled(self, state: _State, step: _Step) -> bool:
        """Whether to do a ready step now, whatever else is ready."""
        fits = step.node == state.node if step.added is None else step.unread and state.node == DEAD
        return fits and not any(end < step.start and not state.maybe_done >> place & 1 for place, end in self._may_miss)

    def successors(self, state: _State) -> Iterator[_State]:
        """The states after one more step. The search takes the last first: an add before a clear."""
        ready, bound = self._ready(state)
        for place, step in enumerate(self.maybe):
            if self._may_happen(state, place, step, bound):
                node = self._node_after(state.node, step)
                if node is not None:
                    yield self._do_maybe(state, place, node)
        for place in sorted(ready, key=lambda place: self.certain[place].resets, reverse=True):
            node = self._node_after(state.node, self.certain[place])
            if node is not None:
                yield self._do(state, place, node)

    def _ready(self, state: _State) -> tuple[list[int], float]:
        """The certain steps that no step left must precede, and the time by which they must start."""
        ready: list[int] = []
        bound = math.inf
        place = state.low
        while place < len(self.certain) and self.certain[place].start <= bound:
            if not state.is_done(place):
                step = self.certain[place]
                bound = min(bound, step.end)
                if step.after < 0 or state.is_done(step.after):
                    ready.append(place)
            place += 1
        return ready, bound

    def _may_happen(self, state: _State, place: int, step: _Step, bound: float) -> bool:
        """Whether a step of unknown outcome may be done next."""
        if state.maybe_done >> place & 1 or step.start > bound or step.end < state.latest:
            return False
        return step.after < 0 or bool(state.maybe_done >> step.after & 1)

    def _node_after(self, node: int, step: _Step) -> int | None:
        """The content after a step; None for a read that doesn't fit, and where no order can go on."""
        if step.added is None:
            return node if node == step.node else None
        after = self.trie.walk(_EMPTY if step.resets else node, step.added)
        return None if after == DEAD and step.alive else after

    def _do(self, state: _State, place: int, node: int) -> _State:
        """The state after a certain step."""
        low, done = state.low, state.done | 1 << (place - state.low)
        while done & 1:
            low, done = low + 1, done >> 1
        step = self.certain[place]
        latest = max(state.latest, step.start)
        return _State(low, done, state.maybe_done, node, latest, (step.call, state.path))

    def _do_maybe(self, state: _State, place: int, node: int) -> _State:
        """The state after a step of unknown outcome."""
        step = self.maybe[place]
        latest = max(state.latest, step.start)
        done = state.maybe_done | 1 << place
        return _State(state.low, state.done, done, node, latest, (step.call, state.path))


def _without_unread_end(steps: list[_Step]) -> list[_Step]:
    """The steps of an unknown outcome without the last ones that nobody read: they are best left out."""
    while steps and steps[-1].unread:
        steps.pop()
    return steps


def _linked(steps: list[_Step]) -> list[_Step]:
    """The steps, each step of a batch knowing the one before it in the list."""
    last: dict[int, int] = {}
    for place, step in enumerate(steps):
        step.after = last.get(step.call, -1)
        last[step.call] = place
    return steps
