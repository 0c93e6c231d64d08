"""What many handles do that are opened at once on a store nobody has used yet: it can be seen once in a run (CON-5).

It is seen before the smoke gate, which would make the tables, files and indexes whose making is the matter. On a
store that holds something already it is one more attempt of what CON-5 does anyway.
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass

from chathistory.conformance._backend import Backend
from chathistory.conformance._interpreter import Observation
from chathistory.conformance._judge import judge_alone
from chathistory.conformance._lens import Lens
from chathistory.conformance._outcome import Outcome
from chathistory.conformance._program import Program, Together, new_token
from chathistory.conformance._together import Event, run_together
from chathistory.conformance._watchdog import OperationHungError, time_limit

FIRST_USE = Together("{run}-a", ((1, "read"),) * 8, opens=True)
"""Eight threads, each of which opens a handle when all of them do, adds a message and reads."""

FIRST_PROGRAM = Program((FIRST_USE,))


@dataclass(frozen=True, slots=True)
class FirstUse:
    """What the workers of `FIRST_USE` did, or the error of the read that ended it."""

    events: tuple[Event, ...] = ()
    error: Exception | None = None

    def judged(self, backend: Backend, lens: Lens) -> Outcome:
        """What a lens makes of it."""
        key = FIRST_USE.partition, FIRST_USE.session
        if self.error is not None:
            observation = Observation(0, FIRST_USE, key, "raised", 0.0, error=self.error)
        else:
            observation = Observation(0, FIRST_USE, key, "returned", 0.0, value=list(self.events))
        return judge_alone(backend, FIRST_PROGRAM, lens, observation)


def use_first(backend: Backend, timeout: float) -> FirstUse | None:
    """Open eight handles at once, as the first use of a store in this run; None if it doesn't claim threads.

    Args:
        backend: the subject, of which nothing has been called yet.
        timeout: seconds within which the workers are to end.
    """
    if "threads" not in backend.claims:
        return None
    session_id = new_token().fill(FIRST_USE.session)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with time_limit(2 * timeout):
                events = run_together(
                    lambda: backend.get_session_history(session_id),
                    FIRST_USE.workers,
                    tasks=False,
                    shared=FIRST_USE.shared,
                    opens=FIRST_USE.opens,
                    seconds=timeout,
                )
        except OperationHungError:
            return FirstUse((Event(-1, "hung", 0, None),))
        except Exception as error:  # noqa: BLE001 -- what a backend raises is an observation
            return FirstUse(error=error)
        finally:
            _tidy(backend, session_id, timeout)
    return FirstUse(tuple(events))


def _tidy(backend: Backend, session_id: str, timeout: float) -> None:
    """Leave no session of the suite's own in a store that is kept."""
    if not backend.disposable:
        with contextlib.suppress(Exception, OperationHungError), time_limit(timeout):
            backend.get_session_history(session_id).clear()
