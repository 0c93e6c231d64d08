"""Takes a turn of a RunnableWithMessageHistory over the reference, to tell what one over a backend must do (RUN)."""

from __future__ import annotations

import asyncio
import warnings

from chathistory.conformance._program import Turn
from chathistory.conformance._runnables import session_of_turn, take_turn
from chathistory.reference import InMemoryChatHistoryStore, Messages


def reference_turn(before: Messages, step: Turn) -> tuple[str, Messages]:
    """What the model sees, and what the session holds afterwards.

    Args:
        before: what the session holds before the turn.
        step: the turn.
    """
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
