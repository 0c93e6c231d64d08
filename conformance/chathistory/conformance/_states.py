"""What is known of a session: the states it may be in, which reads choose among, and what was added and seen.

The outcome of a cancelled call is open: it may take effect at any time, or never. So all states that it may have
left are kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chathistory.conformance._demands import MUST_STORE, Demand
from chathistory.conformance._expiry import Clock
from chathistory.conformance._views import View, all_equal, label_of
from chathistory.reference import KEEP_EVERYTHING, UNWRITTEN, Add, Messages, Operation, Rules, Session, step_session


@dataclass(frozen=True, slots=True)
class _Possible:
    """One state a session may be in, and the calls of open outcome that may still take effect.

    Each is a row of operations that take effect one after another: a single one, unless the history inherits
    the loop of the base class over the messages of a batch.
    """

    session: Session = UNWRITTEN
    pending: tuple[tuple[Operation, ...], ...] = ()


@dataclass(slots=True)
class TrackedSession:
    """What is known of one session.

    Attributes:
        clock: the time by which it lives.
        added: every message that was added to it, in order.
        seen: what the last read showed, if nothing was written since.
        id_demand: what its id demands.
        refused: whether a write to it was refused for its id.
    """

    clock: Clock
    added: list[Any] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)
    id_demand: Demand = MUST_STORE
    refused: bool = False
    _possible: list[_Possible] = field(default_factory=lambda: [_Possible()])
    _last_write_began: float = 0.0
    _last_write_took: float = 0.0

    @property
    def id_may_be_refused(self) -> bool:
        """Whether the store may have nothing to do with such an id."""
        return self.id_demand.kind != "store"

    @property
    def is_untouched(self) -> bool:
        """Whether nothing is known of it but that it is empty, or should be."""
        return self._possible == [_Possible()] and not self.added

    def begin_with(self, messages: Messages) -> None:
        """It holds these messages, for certain."""
        self._possible = [_Possible(Session(messages))]

    def apply(self, operation: Operation, rules: Rules = KEEP_EVERYTHING) -> None:
        """An operation took effect."""
        self.settle()
        self._possible = [
            replace(state, session=step_session(state.session, operation, rules=rules, now=self.clock.now)[0])
            for state in self._possible
        ]

    def may_apply(self, row: tuple[Operation, ...]) -> None:
        """Operations may take effect one after another, at any time, as far as they get."""
        self._possible = [replace(state, pending=(*state.pending, row)) for state in self._possible]

    def add_back(self) -> None:
        """What it holds was added to it once more."""
        self.settle()
        for index, state in enumerate(self._possible):
            doubled, _ = step_session(state.session, Add("", state.session.messages), now=self.clock.now)
            self._possible[index] = replace(state, session=doubled)

    def note_write(self, began: float, messages: Messages) -> None:
        """A write of these messages has just ended, which began at this second of the monotonic clock."""
        self._last_write_began = began
        self._last_write_took = time.monotonic() - began
        self.seen.clear()
        self.added += messages

    def settle(self) -> None:
        """Let the calls of open outcome take effect or not, in every way: they may do so at any time."""
        done: list[_Possible] = []
        waiting = list(self._possible)
        while waiting:
            state = waiting.pop()
            done.append(state)
            for index, (operation, *later) in enumerate(state.pending):
                session, _ = step_session(state.session, operation, now=self.clock.now)
                rest = (tuple(later),) if later else ()
                waiting.append(_Possible(session, state.pending[:index] + rest + state.pending[index + 1 :]))
        done.reverse()
        self._possible = done

    def expected(self) -> list[Messages]:
        """All that a read which has just ended may have returned.

        Raises:
            StopJudging: it ended so near to the expiry that it may have returned anything.
        """
        alternatives: list[Messages] = []
        for state in self._possible:
            messages = self._read(state)
            if not any(all_equal("full", messages, other) for other in alternatives):
                alternatives.append(messages)
        return alternatives

    def choose(self, view: View, observed: Sequence[Any]) -> bool:
        """Keep the states that explain what was read, if any do; else all are kept, and it is False.

        Raises:
            StopJudging: as `expected`.
        """
        matching = [state for state in self._possible if all_equal(view, self._read(state), observed)]
        self._possible = matching or self._possible
        return bool(matching)

    def foreign_to(self, observed: Sequence[Any]) -> Messages | None:
        """What should have been read, if what was read holds a message that was never added; None if it doesn't.

        Raises:
            StopJudging: as `expected`.
        """
        held = self._read(self._possible[0])
        own = {label_of(message) for message in (*self.added, *held)}
        return None if all(label_of(message) in own for message in observed) else held

    def first_messages(self) -> Messages:
        """What it holds in the first of its states, whether that has expired or not."""
        return self._possible[0].session.messages

    def _read(self, state: _Possible) -> Messages:
        """What a read that has just ended returns in this state."""
        session = state.session
        if session.expires_at is None or not self.clock.has_expired(
            session.expires_at, write_began=self._last_write_began, write_took=self._last_write_took
        ):
            return session.messages
        return ()
