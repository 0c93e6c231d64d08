"""Holds what a backend did against what the reference would have done, step by step.

The expected state of each session is kept by `chathistory.reference.step_session`; no code of the backend
takes part in it. Here is what follows from each kind of step; `_raised_calls` is told of those that raised, and
`_states` keeps what is known of a session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chathistory.conformance._backend import Backend
from chathistory.conformance._baseline import held_at_first
from chathistory.conformance._demands import demand_of_ids, demand_of_write, meant_by, remark_on_limits
from chathistory.conformance._divergences import (
    accepted,
    by_templates,
    changed_argument,
    changed_result,
    hung,
    not_a_list,
    raised,
    wrong_answer,
    wrong_read,
)
from chathistory.conformance._experiments import judge_together, judge_trial
from chathistory.conformance._expiry import Clock
from chathistory.conformance._interpreter import Execution, Observation, SessionKey, copy_of
from chathistory.conformance._lens import Lens
from chathistory.conformance._message_ids import templates_of
from chathistory.conformance._outcome import Divergence, Outcome, StopJudging
from chathistory.conformance._parity import Twin
from chathistory.conformance._program import (
    Add,
    AddBack,
    Assign,
    Cancel,
    Clear,
    Edit,
    Forget,
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
from chathistory.conformance._raised_calls import RaisedCalls
from chathistory.conformance._record import Record
from chathistory.conformance._reference_turn import reference_turn
from chathistory.conformance._states import TrackedSession
from chathistory.conformance._views import all_equal
from chathistory.reference import KEEP_EVERYTHING, Messages, Operation, Rules
from chathistory.reference import Add as ModelAdd
from chathistory.reference import Clear as ModelClear
from chathistory.reference import Replace as ModelReplace


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

    Returns:
        What became of it; its sessions are still there, until its `tidy` is called.
    """
    execution = Execution(backend, program, timeout=timeout, keep_results=lens.results, cleans_up=False)
    judge = _Judge(lens, execution, baseline=baseline, parity_with=parity_with)
    divergence = None
    try:
        for observation in execution.run():
            divergence = judge.judge(observation)
            if divergence is not None:
                break
    except StopJudging:
        pass
    if divergence is not None and any(map(templates_of, program.steps)):
        divergence = by_templates(divergence, execution.token)
    outcome = judge.record.outcome(divergence, execution.operations)
    return replace(outcome, tidy=execution.tidy) if execution.is_untidy else outcome


def judge_alone(backend: Backend, program: Program, lens: Lens, observation: Observation) -> Outcome:
    """Judge what was observed of a program of one step that was run by somebody else."""
    judge = _Judge(lens, Execution(backend, program))
    return judge.record.outcome(judge.judge(observation), 1)


class _Judge:
    """Keeps what is expected of each session, and says where an observation differs from it."""

    def __init__(
        self,
        lens: Lens,
        execution: Execution,
        *,
        baseline: bool = False,
        parity_with: Sequence[Observation] | None = None,
    ) -> None:
        backend = execution.backend
        self.lens = lens
        self.execution = execution
        self.baseline = baseline
        self.record = Record()
        self._limits = backend.limits if lens.limits else None
        self._twin = Twin(parity_with)
        self._clock = Clock(backend.advance is not None, backend.ttl_resolution)
        self._errors = RaisedCalls(lens, self._limits, backend.secrets, execution.token, self._twin, self.record)
        self._sessions: dict[SessionKey, TrackedSession] = {}
        self._rules: dict[int, Rules] = {}

    def judge(self, observation: Observation) -> Divergence | None:
        """What is wrong with this observation, or None; the expected state moves on.

        Raises:
            StopJudging: no more of the program can be judged.
        """
        self._clock.begin_step(observation.began)
        if observation.outcome == "skipped":
            return None
        if observation.outcome == "hung":
            return self._judge_hung(observation)
        if observation.changed_result is not None and self.lens.results:
            return self.record.count(changed_result(observation))
        wrong = self._judge_step(observation)
        return None if wrong is None else self.record.count(wrong)

    def _judge_hung(self, observation: Observation) -> Divergence | None:
        """A call that did not return; after a refusal that is ERR-3's business, if others still answer."""
        after_refusal = self.record.after_refusal
        wrong = self.record.count(hung(observation, seconds=observation.value, after_refusal=after_refusal))
        if after_refusal and not self.lens.recovery:
            self.record.hung = wrong
            raise StopJudging
        return wrong

    def _judge_step(self, observation: Observation) -> Divergence | None:
        match observation.step:
            case Open() as step:
                return self._judge_open(observation, step)
            case Add() | Assign() as step:
                return self._judge_write(observation, step)
            case Read():
                return self._judge_read(observation)
            case Clear():
                return self._judge_clear(observation)
            case AddBack():
                return self._judge_add_back(observation)
            case Cancel() as step:
                return self._judge_cancel(observation, step)
            case Turn() as step:
                return self._judge_turn(observation, step)
            case Together():
                return judge_together(observation, self.lens.aspect, self.record)
            case Trial() as step:
                return judge_trial(observation, step, self.record)
            case Wait(seconds):
                self._clock.wait(seconds)
            case NewLoop():
                self.record.loops += 1
            case Edit() | Forget():
                pass
        return None

    def _judge_open(self, observation: Observation, step: Open) -> Divergence | None:
        session = self._session(observation)
        self._rules[step.handle] = Rules(history_size=step.history_size, ttl=step.ttl)
        fill = self.execution.token.fill
        partition = None if step.partition is None else fill(step.partition)
        session.id_demand = demand_of_ids(fill(step.session), partition, self._limits)
        if observation.outcome == "raised":
            return self._errors.judge_open(observation, session)
        if (self.baseline or not is_unique(step.session)) and session.is_untouched:
            session.begin_with(held_at_first(self.execution, step))
        return None

    def _judge_write(self, observation: Observation, step: Add | Assign) -> Divergence | None:
        session = self._session(observation)
        demand = demand_of_write(step, self._limits, session.added)
        if observation.outcome == "raised":
            changed = self._changed_argument(observation, step)
            return changed or self._errors.judge_write(observation, session, demand)
        if self._twin.raised(observation):
            return self._twin.unlike(observation)
        if demand.kind == "refuse":
            if self.lens.refusal:
                return accepted(observation)
            raise StopJudging
        if changed := self._changed_argument(observation, step):
            return changed
        self.record.judged += bool(self.record.loops)
        if remark := remark_on_limits(self._limits, session.id_demand, demand):
            self.record.remarks.add(remark)
        self._write(session, observation, step)
        return None

    def _changed_argument(self, observation: Observation, step: Add | Assign) -> Divergence | None:
        """An add leaves its argument as it was, whether it returns or raises (SNP-4)."""
        if not self.lens.arguments or not isinstance(step, Add):
            return None
        self.record.judged += 1
        if all_equal("full", step.messages, observation.argument or []):
            return None
        return changed_argument(observation, step)

    def _write(self, session: TrackedSession, observation: Observation, step: Add | Assign) -> None:
        """Let a write take effect that returned."""
        messages = meant_by(step)
        rules = self._rules.get(step.handle, KEEP_EVERYTHING)
        if isinstance(step, Assign):
            session.apply(ModelReplace("", messages), rules)
        else:
            for operation in self._adds(step.handle, messages):
                session.apply(operation, rules)
        session.note_write(observation.began, messages)

    def _judge_clear(self, observation: Observation) -> Divergence | None:
        session = self._session(observation)
        if observation.outcome == "raised":
            return self._errors.judge_other(observation, session, "the session is empty")
        session.apply(ModelClear(""))
        session.seen.clear()
        self.record.judged += 1
        return None

    def _judge_read(self, observation: Observation) -> Divergence | None:
        session = self._session(observation)
        if self.lens.after_refusal_only and not self.record.after_refusal:
            self.record.may_raise.add(observation.index)
            return None
        if observation.outcome == "raised":
            return self._errors.judge_other(observation, session, "the messages are read")
        if self._twin.is_there:
            self.record.judged += 1
            return self._twin.judge_read(observation)
        observed = observation.value
        if not isinstance(observed, list if self.lens.results else Sequence) or isinstance(observed, str):
            return not_a_list(observation)
        self.record.judged += 1
        return self._judge_messages(observation, session, list(observed))

    def _judge_messages(
        self, observation: Observation, session: TrackedSession, observed: list[Any]
    ) -> Divergence | None:
        """A read is to show what the session holds, or nothing of others', and what the read before it showed."""
        session.settle()
        view = self.lens.view
        if self.lens.foreign_only:
            expected = session.foreign_to(observed)
            if expected is not None:
                return wrong_read(observation, [expected], observed, view)
        elif not session.choose(view, observed):
            return wrong_read(observation, session.expected(), observed, view)
        if self.lens.stable:
            if session.seen and not all_equal("full", session.seen, observed):
                return wrong_read(observation, [tuple(session.seen)], observed, "full")
            session.seen = copy_of(observed)
        return None

    def _judge_add_back(self, observation: Observation) -> Divergence | None:
        session = self._session(observation)
        if observation.outcome == "raised":
            return self._errors.judge_other(observation, session, "the history is doubled")
        session.add_back()
        return None

    def _judge_cancel(self, observation: Observation, step: Cancel) -> Divergence | None:
        session = self._session(observation)
        if observation.outcome == "raised":
            return self._errors.judge_other(observation, session, "the call ends, cancelled or not")
        if step.reads:
            return None
        effect = self._adds(step.handle, step.messages) if step.messages else (ModelClear(""),)
        if observation.value and not step.beside:  # it returned, for all the cancelling: so it was carried out
            for operation in effect:
                session.apply(operation)
        else:
            session.may_apply(effect)
        session.added += step.messages
        for operation in self._adds(step.handle, step.beside):
            session.apply(operation)
        session.added += step.beside
        return None

    def _judge_turn(self, observation: Observation, step: Turn) -> Divergence | None:
        session = self._session(observation)
        if step.fails:
            self.record.may_raise.add(observation.index)
            return None
        if observation.outcome == "raised":
            return raised(observation, "the turn is taken")
        answer, after = reference_turn(session.first_messages(), step)
        self.record.judged += 1
        session.begin_with(after)
        session.added += after
        if observation.value != answer and not self.lens.foreign_only:
            return wrong_answer(observation, answer)
        return None

    def _session(self, observation: Observation) -> TrackedSession:
        assert observation.session is not None  # noqa: S101 -- only steps with a session come here
        return self._sessions.setdefault(observation.session, TrackedSession(self._clock))

    def _adds(self, handle: int, messages: Messages) -> tuple[Operation, ...]:
        """An add as what takes effect at once: the whole batch, or each message where the base class loops."""
        if self.execution.loops_over_batches(handle):
            return tuple(ModelAdd("", (message,)) for message in messages)
        return (ModelAdd("", messages),)
