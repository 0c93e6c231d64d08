"""Message ids that are templates, as session ids are: a program finds nothing of what others have left under its ids.

Stores may keep messages by their ids, over all sessions. A program whose ids are the same at each execution would fail
by what an earlier one wrote, and its script would pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage

from chathistory.conformance._program import Add, Assign, Cancel, RunToken, Step, is_unique


def templates_of(step: Step) -> list[str]:
    """The ids of a step's messages that are templates."""
    return [message.id for message in _messages_of(step) if _is_template(message)]


def filled(step: Step, token: RunToken) -> Step:
    """The step as it is carried out in an execution."""
    if not templates_of(step):
        return step
    if isinstance(step, Cancel):
        return replace(step, messages=with_ids(step.messages, token.fill), beside=with_ids(step.beside, token.fill))
    assert isinstance(step, Add | Assign)  # noqa: S101 -- others have no messages
    return replace(step, messages=with_ids(step.messages, token.fill))


def _messages_of(step: Step) -> Iterable[Any]:
    if isinstance(step, Cancel):
        return (*step.messages, *step.beside)
    return step.messages if isinstance(step, Add | Assign) else ()


def _is_template(message: Any) -> bool:
    identity = getattr(message, "id", None)  # asked first: most messages have none
    return type(identity) is str and isinstance(message, BaseMessage) and is_unique(identity)


def with_ids(messages: Iterable[Any], change: Callable[[str], str]) -> tuple[Any, ...]:
    """The messages, with changed ids; what is one object among them stays one."""
    changed: dict[int, Any] = {}
    kept = tuple(messages)
    for message in kept:
        if isinstance(message, BaseMessage) and type(message.id) is str:
            changed.setdefault(id(message), message.model_copy(update={"id": change(message.id)}))
    return tuple(changed.get(id(message), message) for message in kept)
