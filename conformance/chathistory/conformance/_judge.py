"""Holds what a backend did against what the reference would have done, step by step.

The expected state of each session is kept by `chathistory.reference.step_session`; no code of the backend
takes part in it. Where a call's outcome is open (a cancelled call), all states it may have left are kept, and
what is read later chooses among them.
"""

from __future__ import annotations

import asyncio
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.conformance._backend import Backend
from chathistory.conformance._concurrent import Aspect, judge_events
from chathistory.conformance._hardness import hard_reasons, size_of
from chathistory.conformance._interpreter import Execution, Observation, SessionKey, copy_of
from chathistory.conformance._program import (
    Add,
    AddBack,
    Assign,
    Cancel,
    Clear,
    Edit,
    Mode,
    NewLoop,
    Open,
    Program,
    Read,
    Together,
    Trial,
    Turn,
    Wait,
    is_unique,
)
from chathistory.conformance._runnables import session_of_turn, take_turn
from chathistory.conformance._script import Expectation
from chathistory.conformance._session_ids import is_hard_session_id
from chathistory.conformance._text import error_line
from chathistory.conformance._trials import TRIALS
from chathistory.conformance._views import View, all_equal, explain, label_of, shown_all
from chathistory.reference import (
    KEEP_EVERYTHING,
    UNWRITTEN,
    InMemoryChatHistoryStore,
    Messages,
    Operation,
    Rules,
    Session,
    step_session,
)
from chathistory.reference import Add as ModelAdd
from chathistory.reference import Clear as ModelClear
from chathistory.reference import Replace as ModelReplace

_CREDENTIALS = re.compile(r"://[^\s/@]*:[^\s/@]+@")

_TRIAL_PASSES = Expectation(kind="trial")

_BEYOND = "beyond the declared limit"

NO_ANSWER = "no answer"
"""How the observation of a call that did not return begins."""

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

Demand: TypeAlias = Literal["store", "store or refuse", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What a check looks at, and what it leaves to others.

    Attributes:
        view: how messages read are compared with those expected.
        foreign_only: judge a first read only by whether it shows messages of other sessions (ISO).
        stable: until its next write a session must be read as it was read before, field for field (ISO, CLR-4).
        refusal: what is no message must be refused, with TypeError or ValueError (ERR-1).
        arguments: an add must leave its argument as it was (SNP-4).
        results: lists read earlier must not change in the caller's hands, and be lists (SNP-1).
        recovery: whether an error after a refusal is judged, or left to ERR-3.
        loop_errors: whether a clear refusal of a later event loop is allowed (ASY-6).
        error_text: errors must name the session, and carry no credentials (ERR-4).
        after_refusal_only: reads are judged once something has been refused (ATM-1).
        aspect: what of the work of several workers is judged.
        limits: what the backend declares as its limits says what must be stored, and how the rest is refused.
        disclaimed: the mode whose calls may raise, whatever they are asked for; then nothing has changed (ERR-2).
    """

    view: View = "label"
    foreign_only: bool = False
    stable: bool = False
    refusal: bool = False
    arguments: bool = False
    results: bool = False
    recovery: bool = False
    loop_errors: bool = False
    error_text: bool = False
    after_refusal_only: bool = False
    aspect: Aspect = "linearizable"
    limits: bool = False
    disclaimed: Mode | None = None


@dataclass(frozen=True, slots=True)
class Divergence:
    """The step at which a backend left the reference, and the drawing of what workers did there, if any."""

    index: int
    expected: str
    observed: str
    explanation: str
    expectation: Expectation
    timeline_svg: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one execution.

    Attributes:
        divergence: where it left the reference, or None.
        judged: how many observations could be judged; 0 says nothing about the clause.
        operations: how many calls were made.
        refused: why values or session ids were refused, where that is allowed.
        remarks: what a reader of the report should know, and what fails nobody.
        hung_after_refusal: a call that did not return after a refusal, where that is left to ERR-3.
    """

    divergence: Divergence | None
    judged: int
    operations: int
    refused: frozenset[str] = frozenset()
    hung_after_refusal: Divergence | None = None
    remarks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Possible:
    """One state a session may be in, and the calls of open outcome that may still take effect.

    Each is a row of operations that take effect one after another: a single one, unless the history inherits
    the loop of the base class over the messages of a batch.
    """

    session: Session = UNWRITTEN
    pending: tuple[tuple[Operation, ...], ...] = ()


class _StopJudging(Exception):  # noqa: N818 -- it is no error
    """The rest of the program is another clause's business."""


@dataclass(slots=True)
class _Track:
    """What is known of one session."""

    possible: list[_Possible] = field(default_factory=lambda: [_Possible()])
    added: list[Any] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)
    may_be_refused: bool = False
    is_beyond: bool = False
    refused: bool = False
    last_write_began: float = 0.0
    last_write_took: float = 0.0


def run_and_judge(
    backend: Backend,
    program: Program,
    lens: Lens,
    *,
    timeout: float = 10.0,
    baseline: bool = False,
    parity_with: Sequence[Observation] | None = None,
) -> Outcome:
    """Run a program and judge every step of it, up to the first divergence.

    Args:
        backend: the subject.
        program: what to do.
        lens: what is looked at.
        timeout: seconds an operation may take.
        baseline: take what a session holds when it is first opened as its beginning, whatever it is.
        parity_with: what the same program observed in another mode; then this is what is expected (ASY-1).
    """
    execution = Execution(backend, program, timeout=timeout, keep_results=lens.results)
    judge = _Judge(backend, lens, baseline, execution, parity_with)
    divergence = None
    try:
        for observation in execution.run():
            divergence = judge.judge(observation)
            if divergence is not None:
                break
    except _StopJudging:
        pass
    return Outcome(
        divergence,
        judge.judged,
        execution.operations,
        frozenset(judge.refused),
        judge.hung,
        frozenset(judge.remarks),
    )


def judge_alone(backend: Backend, program: Program, lens: Lens, observation: Observation) -> Outcome:
    """Judge what was observed of a program of one step that was run by somebody else."""
    judge = _Judge(backend, lens, baseline=False, execution=Execution(backend, program))
    divergence = judge.judge(observation)
    return Outcome(divergence, judge.judged, 1, frozenset(judge.refused), remarks=frozenset(judge.remarks))


@dataclass(slots=True)
class _Judge:
    backend: Backend
    lens: Lens
    baseline: bool
    execution: Execution
    parity_with: Sequence[Observation] | None = None
    tracks: dict[SessionKey, _Track] = field(default_factory=dict)
    rules: dict[int, Rules] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    remarks: set[str] = field(default_factory=set)
    may_raise: set[int] = field(default_factory=set)
    judged: int = 0
    now: float = 0.0
    loops: int = 0
    after_refusal: bool = False
    hung: Divergence | None = None

    def judge(self, observation: Observation) -> Divergence | None:
        """What is wrong with this observation, or None; the expected state moves on."""
        if self.backend.advance is None:
            self.now = observation.began
        if observation.outcome == "skipped":
            return None
        if observation.outcome == "hung":
            return self._judge_hung(observation)
        if observation.changed_result is not None and self.lens.results:
            return self._changed_result(observation)
        match observation.step:
            case Open():
                return self._judge_open(observation, observation.step)
            case Add() | Assign():
                return self._judge_write(observation, observation.step)
            case Read():
                return self._judge_read(observation)
            case Clear():
                return self._judge_clear(observation)
            case AddBack():
                return self._judge_add_back(observation)
            case Cancel():
                return self._judge_cancel(observation, observation.step)
            case Turn():
                return self._judge_turn(observation, observation.step)
            case Wait() if self.backend.advance is not None:
                self.now += observation.step.seconds
            case Together():
                return self._judge_together(observation)
            case Trial():
                return self._judge_trial(observation, observation.step)
            case NewLoop():
                self.loops += 1
            case Edit():
                pass
        return None

    def _judge_hung(self, observation: Observation) -> Divergence | None:
        """A call that did not return; after a refusal that is ERR-3's business, if others still answer."""
        divergence = self._wrong(
            observation,
            "an answer",
            f"{NO_ANSWER} within {self.execution.timeout:g} s",
            "The call did not return" + (", after an earlier one had been refused." if self.after_refusal else "."),
            Expectation(kind="returns"),
        )
        if self.after_refusal and not self.lens.recovery:
            self.hung = divergence
            raise _StopJudging
        return divergence

    # -- the steps -------------------------------------------------------------------------------------------

    def _judge_open(self, observation: Observation, step: Open) -> Divergence | None:
        track = self._track(observation.session)
        self.rules[step.handle] = Rules(history_size=step.history_size, ttl=step.ttl)
        ids = [self.execution.token.fill(text) for text in (step.session, step.partition) if text is not None]
        track.may_be_refused = any(is_hard_session_id(text) for text in ids)
        if self.lens.limits and (limits := self.backend.limits) and limits.session_id_bytes is not None:
            track.may_be_refused = track.is_beyond = size_of(ids[0]) > limits.session_id_bytes
        if observation.outcome == "raised":
            if track.may_be_refused:
                return self._refused_id(observation, track)
            return self._raised(observation, "the handle opens")
        if self.baseline or not is_unique(step.session):
            self._adopt_baseline(step, track)
        return None

    def _adopt_baseline(self, step: Open, track: _Track) -> None:
        """Take what the session holds now as its beginning, once."""
        if len(track.possible) > 1 or track.possible[0] != _Possible() or track.added:
            return
        reading = Execution(
            self.backend,
            Program((step, Read(step.handle, _mode_of(self.execution.program)))),
            timeout=self.execution.timeout,
            token=self.execution.token,
            cleans_up=False,
        )
        last = list(reading.run())[-1]
        if last.outcome == "returned" and isinstance(last.value, list | tuple) and last.value:
            messages = tuple(copy_of(last.value))
            track.possible = [_Possible(Session(messages))]

    def _judge_write(self, observation: Observation, step: Add | Assign) -> Divergence | None:
        track = self._track(observation.session)
        messages = _meant(step)
        demand, reasons = self._demand(step)
        if observation.outcome == "raised":
            return self._judge_refused_write(observation, step, track, demand, reasons)
        if self._expects_error(observation):
            return self._wrong_parity(observation)
        if demand == "refuse":
            if self.lens.refusal:
                return self._accepted(observation)
            raise _StopJudging
        if self.lens.arguments and isinstance(step, Add) and (wrong := self._changed_argument(observation, step)):
            return wrong
        self.judged += bool(self.loops)
        self._remark_on_limits(track, reasons)
        rules = self.rules.get(step.handle, KEEP_EVERYTHING)
        for operation in (
            [ModelReplace("", messages)] if isinstance(step, Assign) else self._adds(step.handle, messages)
        ):
            self._apply(track, operation, rules)
        track.last_write_began = observation.began
        track.last_write_took = time.monotonic() - observation.began
        track.seen.clear()
        track.added += messages
        return None

    def _judge_refused_write(
        self,
        observation: Observation,
        step: Add | Assign,
        track: _Track,
        demand: Demand,
        reasons: frozenset[str],
    ) -> Divergence | None:
        """A write that raised: allowed where a refusal is; the history is as it was (ATM-1)."""
        self.may_raise.add(observation.index)
        if self.lens.error_text and demand != "store" and (wrong := self._wrong_text(observation)):
            return wrong
        if demand == "refuse":
            self.after_refusal = True
            self.judged += self.lens.refusal
            if self.lens.refusal and not isinstance(observation.error, TypeError | ValueError):
                return self._wrong(
                    observation,
                    "TypeError or ValueError",
                    _error(observation.error),
                    "The refusal is of another kind than TypeError or ValueError, and reads as a fault of the store.",
                    Expectation(kind="raises"),
                )
            return None
        if self._is_disclaimed(observation):
            return None
        if demand == "store or refuse" or isinstance(step, Assign):
            self.after_refusal = True
            self.refused |= reasons
            is_beyond = _BEYOND in reasons and isinstance(step, Add)  # nobody has to offer assignment
            return self._wrong_refusal(observation) if is_beyond else None
        if track.may_be_refused:
            track.refused = True
            return self._refused_id(observation, track)
        if self._is_loop_refusal(observation) or self._expects_error(observation):
            return None
        if self.after_refusal and not self.lens.recovery:
            raise _StopJudging
        self.may_raise.discard(observation.index)
        return self._raised(observation, "the messages are stored")

    def _judge_clear(self, observation: Observation) -> Divergence | None:
        track = self._track(observation.session)
        if observation.outcome == "raised":
            return self._judge_raised(observation, track, "the session is empty")
        self._apply(track, ModelClear(""), KEEP_EVERYTHING)
        track.seen.clear()
        self.judged += 1
        return None

    def _judge_read(self, observation: Observation) -> Divergence | None:
        track = self._track(observation.session)
        if self.lens.after_refusal_only and not self.after_refusal:
            self.may_raise.add(observation.index)
            return None
        if observation.outcome == "raised":
            return self._judge_raised(observation, track, "the messages are read")
        if self.parity_with is not None:
            return self._judge_parity(observation)
        observed = observation.value
        if self.lens.results and not isinstance(observed, list):
            return self._not_a_list(observation)
        if not isinstance(observed, Sequence) or isinstance(observed, str):
            return self._not_a_list(observation)
        self.judged += 1
        return self._judge_messages(observation, track, list(observed))

    def _judge_messages(self, observation: Observation, track: _Track, observed: list[Any]) -> Divergence | None:
        self._settle(track)
        if self.lens.foreign_only:
            wrong = self._foreign(observation, track, observed)
        else:
            matching = [
                state for state in track.possible if all_equal(self.lens.view, self._messages(track, state), observed)
            ]
            wrong = None if matching else self._wrong_read(observation, self._expected(track), observed)
            track.possible = matching or track.possible
        if wrong is None and self.lens.stable:
            wrong = self._unstable(observation, track, observed)
            track.seen = copy_of(observed)
        return wrong

    def _judge_add_back(self, observation: Observation) -> Divergence | None:
        track = self._track(observation.session)
        if observation.outcome == "raised":
            return self._judge_raised(observation, track, "the history is doubled")
        self._settle(track)
        for index, state in enumerate(track.possible):
            doubled, _ = step_session(state.session, ModelAdd("", state.session.messages), now=self.now)
            track.possible[index] = replace(state, session=doubled)
        return None

    def _judge_cancel(self, observation: Observation, step: Cancel) -> Divergence | None:
        track = self._track(observation.session)
        if observation.outcome == "raised":
            return self._judge_raised(observation, track, "the call ends, cancelled or not")
        row = self._adds(step.handle, step.messages) if step.messages else (ModelClear(""),)
        track.possible = [replace(state, pending=(*state.pending, row)) for state in track.possible]
        track.added += step.messages
        for beside in self._adds(step.handle, step.beside):
            self._apply(track, beside, KEEP_EVERYTHING)
        track.added += step.beside
        return None

    def _judge_turn(self, observation: Observation, step: Turn) -> Divergence | None:
        track = self._track(observation.session)
        if step.fails:
            self.may_raise.add(observation.index)
            return None
        if observation.outcome == "raised":
            return self._raised(observation, "the turn is taken")
        before = track.possible[0].session.messages
        value, after = _reference_turn(before, step)
        self.judged += 1
        track.possible = [_Possible(Session(after))]
        track.added += after
        if observation.value != value and not self.lens.foreign_only:
            explanation = "The model was not shown the messages that the session holds."
            return self._wrong(
                observation,
                value,
                str(observation.value),
                explanation,
                Expectation(kind="answers", answer=value),
            )
        return None

    def _judge_together(self, observation: Observation) -> Divergence | None:
        if observation.outcome == "raised":
            return self._raised(observation, "the workers end, and the session is read")
        self.judged += 1
        finding = judge_events(observation.value, self.lens.aspect)
        if finding is None:
            return None
        if finding.undecided:
            self.refused.add(f"undecided: {finding.explanation}")
            self.judged -= 1
            return None
        divergence = self._wrong(
            observation,
            _PROMISE_OF[self.lens.aspect],
            finding.timeline or finding.explanation,
            finding.explanation,
            Expectation(kind="together", answer=self.lens.aspect),
        )
        return replace(divergence, timeline_svg=finding.timeline_svg)

    def _judge_trial(self, observation: Observation, step: Trial) -> Divergence | None:
        """An experiment on the whole backend, which says by itself what was wrong."""
        promise = TRIALS[step.name].promise
        if observation.outcome == "raised":
            return self._wrong(
                observation,
                promise,
                error_line(observation.error or RuntimeError()),
                "The trial ended in an error.",
                _TRIAL_PASSES,
            )
        self.judged += observation.value.calls
        if observation.value.problem is None:
            return None
        problem = observation.value.problem
        return self._wrong(observation, promise, problem, f"{problem[:1].upper()}{problem[1:]}.", _TRIAL_PASSES)

    def _adds(self, handle: int, messages: Messages) -> tuple[Operation, ...]:
        """An add as what takes effect at once: the whole batch, or each message where the base class loops."""
        if self.execution.loops_over_batches(handle):
            return tuple(ModelAdd("", (message,)) for message in messages)
        return (ModelAdd("", messages),)

    # -- what is declared, and what is not claimed -----------------------------------------------------------

    def _demand(self, step: Add | Assign) -> tuple[Demand, frozenset[str]]:
        """Whether messages must be stored, must be refused, or may be refused, and why."""
        demand, reasons = _demand(step)
        limit = self.backend.limits.message_bytes if self.lens.limits and self.backend.limits else None
        if limit is None or demand == "refuse":
            return demand, reasons
        is_beyond = any(_bytes_of(message) > limit for message in step.messages)
        return ("store or refuse", frozenset({_BEYOND})) if is_beyond else ("store", frozenset())

    def _remark_on_limits(self, track: _Track, reasons: frozenset[str]) -> None:
        """Say that a declared limit is not where the store ends."""
        limits = self.backend.limits
        if limits is None or not (track.is_beyond or _BEYOND in reasons):
            return
        what, limit = (
            ("a session id", limits.session_id_bytes) if track.is_beyond else ("a message", limits.message_bytes)
        )
        self.remarks.add(
            f"the declared limit of {limit:,} bytes for {what} is not where it ends: one more was accepted"
        )

    def _refused_id(self, observation: Observation, track: _Track) -> Divergence | None:
        """A session id that may be refused was; one beyond the declared limit, with the declared error."""
        self.refused.add("session id")
        self.may_raise.add(observation.index)
        return self._wrong_refusal(observation) if track.is_beyond else None

    def _wrong_refusal(self, observation: Observation) -> Divergence | None:
        """What is beyond a declared limit was refused by another error than the one that is declared."""
        self.judged += 1
        errors = self.backend.limits.errors if self.backend.limits else (Exception,)
        if isinstance(observation.error, errors):
            return None
        expected = " or ".join(kind.__name__ for kind in errors)
        explanation = (
            f"What is beyond the declared limit is refused by another error than the {expected} that is declared."
        )
        self.may_raise.discard(observation.index)
        return self._wrong(
            observation,
            expected,
            _error(observation.error),
            explanation,
            Expectation(kind="raises", error_types=errors),
        )

    def _is_disclaimed(self, observation: Observation) -> bool:
        """Whether a call that raised is of the form that is not claimed; it was to change nothing."""
        step = observation.step
        mode = "sync" if isinstance(step, Assign) else getattr(step, "mode", None)
        if self.lens.disclaimed is None or mode != self.lens.disclaimed:
            return False
        self.may_raise.add(observation.index)
        if not isinstance(observation.error, NotImplementedError):
            kind = type(observation.error).__name__
            self.remarks.add(f"its {mode} calls, which it does not claim, raise {kind} and not NotImplementedError")
        return True

    # -- states ----------------------------------------------------------------------------------------------

    def _track(self, session: SessionKey | None) -> _Track:
        assert session is not None  # noqa: S101 -- only steps with a session come here
        return self.tracks.setdefault(session, _Track())

    def _apply(self, track: _Track, operation: Operation, rules: Rules) -> None:
        self._settle(track)
        track.possible = [
            replace(state, session=step_session(state.session, operation, rules=rules, now=self.now)[0])
            for state in track.possible
        ]

    def _settle(self, track: _Track) -> None:
        """Let the calls of open outcome take effect or not, in every way: they may do so at any time."""
        done: list[_Possible] = []
        waiting = list(track.possible)
        while waiting:
            state = waiting.pop()
            done.append(state)
            for index, (operation, *later) in enumerate(state.pending):
                session, _ = step_session(state.session, operation, now=self.now)
                rest = (tuple(later),) if later else ()
                waiting.append(_Possible(session, state.pending[:index] + rest + state.pending[index + 1 :]))
        done.reverse()
        track.possible = done

    def _messages(self, track: _Track, state: _Possible) -> Messages:
        """What a read that has just ended returns in this state.

        A session lives for its ttl, and at most one unit of the ttl's resolution longer. A read near the moment of
        expiry may see either, and is not judged: in real time, and where real time was added to what passed.
        """
        session = state.session
        if session.expires_at is None:
            return session.messages
        margin = self.backend.ttl_resolution
        if self.backend.advance is not None:
            if self.now + (time.monotonic() - track.last_write_began) < session.expires_at:
                return session.messages
            if self.now >= session.expires_at + margin:
                return ()
            raise _StopJudging
        if time.monotonic() < session.expires_at - margin:
            return session.messages
        if self.now > session.expires_at + track.last_write_took + margin:
            return ()
        raise _StopJudging

    def _expected(self, track: _Track) -> list[Messages]:
        alternatives: list[Messages] = []
        for state in track.possible:
            messages = self._messages(track, state)
            if not any(all_equal("full", messages, other) for other in alternatives):
                alternatives.append(messages)
        return alternatives

    # -- what is wrong ---------------------------------------------------------------------------------------

    def _judge_raised(self, observation: Observation, track: _Track, expected: str) -> Divergence | None:
        """A read or clear raised; that is a divergence unless a refusal went before it."""
        self.may_raise.add(observation.index)
        if self._is_disclaimed(observation):
            return None
        if track.may_be_refused and (track.refused or not track.added):
            return self._refused_id(observation, track)
        if self._is_loop_refusal(observation) or self._expects_error(observation):
            return None
        if self.after_refusal and not self.lens.recovery:
            raise _StopJudging
        self.may_raise.discard(observation.index)
        return self._raised(observation, expected)

    def _foreign(self, observation: Observation, track: _Track, observed: list[Any]) -> Divergence | None:
        """Messages that were never added to this session."""
        own = {label_of(message) for message in (*track.added, *self._messages(track, track.possible[0]))}
        if all(label_of(message) in own for message in observed):
            return None
        expected = self._messages(track, track.possible[0])
        return self._wrong_read(observation, [expected], observed)

    def _unstable(self, observation: Observation, track: _Track, observed: list[Any]) -> Divergence | None:
        """What an earlier read showed must still be there, field for field, if nothing was written since."""
        if not track.seen or all_equal("full", track.seen, observed):
            return None
        return self._wrong_read(observation, [tuple(track.seen)], observed, view="full")

    def _wrong_read(
        self, observation: Observation, expected: list[Messages], observed: Any, view: View | None = None
    ) -> Divergence:
        view = view or self.lens.view
        kind: Literal["equal", "one-of"] = "equal" if len(expected) == 1 else "one-of"
        is_list = isinstance(observed, list | tuple)
        explanation = (
            explain(view, expected[-1], observed) if is_list else f"A {type(observed).__name__} was read, not a list."
        )
        if len(expected) > 1:
            explanation = f"None of the {len(expected)} histories that are possible here was read. {explanation}"
        return self._wrong(
            observation,
            " or\n".join(shown_all(view, messages) for messages in expected),
            shown_all(view, observed),
            explanation,
            Expectation(kind=kind, values=tuple(expected), view="content" if view == "label" else view),
        )

    def _not_a_list(self, observation: Observation) -> Divergence:
        kind = type(observation.value).__name__
        return self._wrong(
            observation,
            "a list",
            f"a {kind}",
            f"A {kind} was returned; callers, RunnableWithMessageHistory among them, use it as a list.",
            Expectation(kind="is-list"),
        )

    def _wrong_text(self, observation: Observation) -> Divergence | None:
        """An error that doesn't name its session, or names a secret."""
        self.judged += 1
        text = " ".join(f"{error} {error!r}" for error in _chain(observation.error))
        session_id = self.execution.token.fill(observation.session[1]) if observation.session else ""
        if any(secret in text for secret in self.backend.secrets) or _CREDENTIALS.search(text):
            explanation, shown = (
                "The error carries credentials (not shown here).",
                type(observation.error).__name__,
            )
        elif session_id in text:
            return None
        else:
            explanation, shown = "The error does not name the session.", _error(observation.error)
        expected = f"an error that names {session_id!r} and carries no credentials"
        return self._wrong(observation, expected, shown, explanation, Expectation(kind="names-session"))

    def _changed_argument(self, observation: Observation, step: Add) -> Divergence | None:
        self.judged += 1
        argument = observation.argument or []
        if all_equal("full", step.messages, argument):
            return None
        return self._wrong(
            observation,
            shown_all("full", step.messages),
            shown_all("full", list(argument)),
            "The add changed what it was given. " + explain("full", step.messages, argument),
            Expectation(kind="unchanged-argument"),
        )

    def _changed_result(self, observation: Observation) -> Divergence:
        number = (observation.changed_result or 0) + 1
        return self._wrong(
            observation,
            f"the list that step {number} returned is as it was",
            f"the list that step {number} returned has changed",
            f"The list that step {number} returned is not the caller's own: this step changed it.",
            Expectation(kind="unchanged-results"),
        )

    def _accepted(self, observation: Observation) -> Divergence:
        return self._wrong(
            observation,
            "TypeError or ValueError",
            "it returned",
            "What is not a message was accepted.",
            Expectation(kind="raises"),
        )

    def _raised(self, observation: Observation, expected: str) -> Divergence:
        return self._wrong(
            observation,
            expected,
            _error(observation.error),
            f"The call raised {type(observation.error).__name__}.",
            Expectation(kind="returns"),
        )

    def _wrong(
        self,
        observation: Observation,
        expected: str,
        observed: str,
        explanation: str,
        expectation: Expectation,
    ) -> Divergence:
        self.judged += 1
        expectation = replace(expectation, may_raise=frozenset(self.may_raise))
        return Divergence(observation.index, expected, observed, explanation, expectation)

    # -- parity and loops ------------------------------------------------------------------------------------

    def _judge_parity(self, observation: Observation) -> Divergence | None:
        """The same as the twin in the other mode, whatever that was (ASY-1)."""
        twin = self._twin(observation)
        self.judged += 1
        if twin is not None and twin.outcome == "raised":
            return self._wrong_parity(observation)
        observed, expected = copy_of(observation.value), copy_of(twin.value) if twin is not None else []
        if not isinstance(expected, list):
            raise _StopJudging  # what is no list in either mode is another clause's business
        if isinstance(observed, list) and all_equal("full", expected, observed):
            return None
        return self._wrong_read(observation, [tuple(expected)], observation.value, view="full")

    def _twin(self, observation: Observation) -> Observation | None:
        return None if self.parity_with is None else self.parity_with[observation.index]

    def _expects_error(self, observation: Observation) -> bool:
        twin = self._twin(observation)
        return twin is not None and twin.outcome == "raised"

    def _wrong_parity(self, observation: Observation) -> Divergence | None:
        """The sync twin raised, this call did not; a refusal in one mode only is judged where it is a MUST."""
        twin = self._twin(observation)
        return self._wrong(
            observation,
            f"{_error(twin.error if twin else None)}, as the sync form",
            "it returned",
            "The async form returned where the sync form raised.",
            Expectation(kind="raises"),
        )

    def _is_loop_refusal(self, observation: Observation) -> bool:
        """Whether an error says on purpose that a handle belongs to another event loop (ASY-6)."""
        if not (self.lens.loop_errors and self.loops and observation.error is not None):
            return False
        return "loop" in str(observation.error).lower() and not _was_raised_by_asyncio(observation.error)


def _meant(step: Add | Assign) -> Messages:
    """The messages that an add is meant to store."""
    if isinstance(step, Add) and step.text:
        cls = HumanMessage if step.call == "add_user_message" else AIMessage
        return (cls(content=step.messages[0].content),)
    return tuple(step.messages)


def _bytes_of(message: BaseMessage) -> int:
    """How many bytes of UTF-8 the text of a message has."""
    return size_of(message.content) if isinstance(message.content, str) else 0


def _demand(step: Add | Assign) -> tuple[Demand, frozenset[str]]:
    """Whether these messages must be stored, must be refused, or may be refused, and why."""
    if isinstance(step, Add) and step.container in ("bare", "failing generator") and step.call == "add_messages":
        return "refuse", frozenset()
    if any(not isinstance(message, BaseMessage) for message in step.messages):
        return "refuse", frozenset()
    reasons = frozenset().union(*(hard_reasons(message) for message in step.messages))
    if isinstance(step, Add) and step.container == "generator":
        reasons |= {"iterable"}
    if sum(_size(message) for message in step.messages) > 2**18 or len(step.messages) > 500:
        reasons |= {"size"}
    return ("store or refuse" if reasons else "store"), reasons


def _size(message: BaseMessage) -> int:
    return len(message.content) if isinstance(message.content, str) else 0


def _reference_turn(before: Messages, step: Turn) -> tuple[str, Messages]:
    """What the model sees, and what the session holds afterwards, over the reference (RUN)."""
    store = InMemoryChatHistoryStore()
    session = store.get_session_history(session_of_turn(step.session, step.user))
    session.add_messages(list(before))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        turn = take_turn(
            store.get_session_history,
            session=step.session,
            shape=step.shape,
            call=step.call,
            text=step.text,
            user=step.user,
        )
        value = asyncio.run(turn) if asyncio.iscoroutine(turn) else turn
    return value, tuple(session.messages)


def _mode_of(program: Program) -> Literal["sync", "async"]:
    """The mode in which a program reads, for a read beside it."""
    modes: Iterable[Any] = (step.mode for step in program.steps if isinstance(step, Read))
    return next(iter(modes), "sync")


def _error(error: BaseException | None) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= 400 else f"{text[:399]}…"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it, as a log shows them."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


_RAW_LOOP_ERRORS = (
    "attached to a different loop",
    "bound to a different event loop",
    "loop is closed",
    "no running event loop",
    "Non-thread-safe",
)


def _was_raised_by_asyncio(error: BaseException) -> bool:
    """Whether asyncio stumbled, and nobody refused on purpose."""
    if any(phrase in str(error) for phrase in _RAW_LOOP_ERRORS):
        return True
    traceback = error.__traceback__
    filename = ""
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return f"{asyncio.__name__}/" in filename.replace("\\", "/")
