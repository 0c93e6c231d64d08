"""Judges a call that raised: whether it may, and whether it does so as it should."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chathistory.conformance._backend import Limits
from chathistory.conformance._demands import Demand
from chathistory.conformance._divergences import careless_error, raised, undeclared_error, wrong_kind_of_refusal
from chathistory.conformance._error_text import carries_credentials, is_refusal_of_loop, logged_text
from chathistory.conformance._interpreter import Observation
from chathistory.conformance._lens import Lens
from chathistory.conformance._outcome import Divergence, StopJudging
from chathistory.conformance._parity import Twin
from chathistory.conformance._program import Add, Assign, RunToken
from chathistory.conformance._record import Record
from chathistory.conformance._states import TrackedSession


@dataclass(frozen=True, slots=True)
class RaisedCalls:
    """Judges errors; whatever raised, the history is to be as it was (ATM-1), which reads show.

    Attributes:
        lens: what is looked at.
        limits: what the backend declares, where the lens looks at it.
        secrets: credentials that no error may carry.
        token: what fills in the session ids of this execution.
        twin: what the same program did in the other mode.
        record: what is noted of the program.
    """

    lens: Lens
    limits: Limits | None
    secrets: tuple[str, ...]
    token: RunToken
    twin: Twin
    record: Record

    def judge_open(self, observation: Observation, session: TrackedSession) -> Divergence | None:
        """A handle did not open; that is a divergence unless its session id may be refused."""
        if session.id_may_be_refused:
            return self._refused_id(observation, session)
        return raised(observation, "the handle opens")

    def judge_write(self, observation: Observation, session: TrackedSession, demand: Demand) -> Divergence | None:
        """A write raised; that is a divergence unless a refusal is owed or allowed.

        Raises:
            StopJudging: it failed after a refusal, and that is left to ERR-3.
        """
        self.record.may_raise.add(observation.index)
        if self.lens.error_text and demand.kind != "store" and (wrong := self._wrong_text(observation)):
            return wrong
        if demand.kind == "refuse":
            return self._owed(observation)
        if self._is_disclaimed(observation):
            return None
        if demand.kind == "store or refuse" or isinstance(observation.step, Assign):
            return self._allowed(observation, demand)
        if session.id_may_be_refused:
            session.refused = True
            return self._refused_id(observation, session)
        return self._unexpected(observation, "the messages are stored")

    def judge_other(self, observation: Observation, session: TrackedSession, expected: str) -> Divergence | None:
        """A read or clear raised; that is a divergence unless a refusal went before it.

        Raises:
            StopJudging: as `judge_write`.
        """
        self.record.may_raise.add(observation.index)
        if self._is_disclaimed(observation):
            return None
        if session.id_may_be_refused and (session.refused or not session.added):
            return self._refused_id(observation, session)
        return self._unexpected(observation, expected)

    def _owed(self, observation: Observation) -> Divergence | None:
        """What is no message was refused; that is to be done by the right kind of error (ERR-1)."""
        self.record.after_refusal = True
        self.record.judged += self.lens.refusal
        # Nobody has to offer assignment, and so any error will do.
        is_add = isinstance(observation.step, Add)
        if self.lens.refusal and is_add and not isinstance(observation.error, TypeError | ValueError):
            return wrong_kind_of_refusal(observation)
        return None

    def _allowed(self, observation: Observation, demand: Demand) -> Divergence | None:
        """What may be refused was."""
        self.record.after_refusal = True
        if not isinstance(observation.step, Add):  # nobody has to offer assignment
            return None
        if len(demand.reasons) == 1:  # of several nobody knows which it was
            self.record.refused |= demand.reasons
        return self._wrong_refusal(observation) if demand.is_beyond else None

    def _refused_id(self, observation: Observation, session: TrackedSession) -> Divergence | None:
        """A session id that may be refused was; one beyond the declared limit, with the declared error."""
        self.record.refused.add("session id")
        self.record.may_raise.add(observation.index)
        return self._wrong_refusal(observation) if session.id_demand.is_beyond else None

    def _wrong_refusal(self, observation: Observation) -> Divergence | None:
        """What is beyond a declared limit is to be refused by the error that is declared."""
        self.record.judged += 1
        errors = self.limits.errors if self.limits else (Exception,)
        if isinstance(observation.error, errors):
            return None
        self.record.may_raise.discard(observation.index)
        return undeclared_error(observation, errors)

    def _unexpected(self, observation: Observation, expected: str) -> Divergence | None:
        """Nothing that was asked of the call excuses its error."""
        if self._is_loop_refusal(observation) or self.twin.raised(observation):
            return None
        if self.record.after_refusal and not self.lens.recovery:
            raise StopJudging
        self.record.may_raise.discard(observation.index)
        wrong = raised(observation, expected)
        if self.lens.loop_errors and self.record.loops:
            wrong = replace(wrong, explanation=f"{wrong.explanation} A refusal would say that it is the event loop.")
        return wrong

    def _is_loop_refusal(self, observation: Observation) -> bool:
        """Whether an error says on purpose that a handle belongs to another event loop (ASY-6)."""
        if not (self.lens.loop_errors and self.record.loops and observation.error is not None):
            return False
        return is_refusal_of_loop(observation.error)

    def _is_disclaimed(self, observation: Observation) -> bool:
        """Whether a call that raised is of the form that is not claimed; it was to change nothing."""
        step = observation.step
        mode = "sync" if isinstance(step, Assign) else getattr(step, "mode", None)
        if self.lens.disclaimed is None or mode != self.lens.disclaimed:
            return False
        self.record.may_raise.add(observation.index)
        if not isinstance(observation.error, NotImplementedError):
            kind = type(observation.error).__name__
            self.record.remarks.add(
                f"its {mode} calls, which it does not claim, raise {kind} and not NotImplementedError"
            )
        return True

    def _wrong_text(self, observation: Observation) -> Divergence | None:
        """An error is to name its session, and no secret (ERR-4)."""
        self.record.judged += 1
        text = logged_text(observation.error)
        session_id = self.token.fill(observation.session[1]) if observation.session else ""
        leaks = carries_credentials(text, self.secrets)
        return careless_error(observation, session_id, leaks=leaks) if leaks or session_id not in text else None
