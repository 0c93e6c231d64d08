"""Carry out the steps of an operation: in this thread, or in an event loop with a cancellation that settles."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from chathistory.adapters.dynamodb._calls import Answer, Pause, Request, Steps
from chathistory.adapters.dynamodb._failures import ERRORS

T = TypeVar("T")


def drive(steps: Steps[T], client: Callable[[], Any]) -> T:
    """Carry out the steps, waiting in this thread.

    Args:
        steps: the operation.
        client: gives the client; called when there is something to ask for.
    """

    def answer_to(step: Request | Pause) -> Answer | BaseException | None:
        try:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                return None
            answer: Answer = getattr(client(), step.method)(**step.arguments)
        except ERRORS as error:
            failure: BaseException = error
            return failure
        return answer

    try:
        step = next(steps)
        while True:
            answer = answer_to(step)
            step = steps.throw(answer) if isinstance(answer, BaseException) else steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def adrive(steps: Steps[T], perform: Callable[[Request], Awaitable[Answer]]) -> T:
    """Carry out the steps in an event loop.

    When it is cancelled, the request under way is waited for; the operation may finish if no further one is needed, and
    else stops where nothing of it is seen by anybody. Then the cancellation is passed on (ASY-4).

    Args:
        steps: the operation.
        perform: makes a request; it is never cancelled.
    """
    cancelled: asyncio.CancelledError | None = None
    is_told = False
    try:
        step = next(steps)
        while True:
            answer: Any
            if cancelled is not None and not is_told and getattr(step, "may_be_left", True):
                is_told, answer = True, cancelled
            else:
                answer, interruption = await _answer_to(step, perform)
                cancelled = cancelled or interruption
            step = steps.throw(answer) if isinstance(answer, BaseException) else steps.send(answer)
    except StopIteration as stop:
        if cancelled is not None:
            raise cancelled from None
        result: T = stop.value
        return result


async def _answer_to(
    step: Request | Pause, perform: Callable[[Request], Awaitable[Answer]]
) -> tuple[Answer | BaseException | None, asyncio.CancelledError | None]:
    """What comes of a step, and the cancellation that came meanwhile, if any."""
    if isinstance(step, Pause):
        try:
            await asyncio.sleep(step.seconds)
        except asyncio.CancelledError as error:
            return None, error
        return None, None
    request = asyncio.ensure_future(_awaited(step, perform))
    interruption: asyncio.CancelledError | None = None
    try:
        return await asyncio.shield(request), None
    except asyncio.CancelledError as error:
        interruption = error
    while not request.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([request])
    if request.cancelled():  # by the end of the event loop
        raise interruption
    return request.result(), interruption


async def _awaited(step: Request, perform: Callable[[Request], Awaitable[Answer]]) -> Answer | BaseException:
    try:
        return await perform(step)
    except ERRORS as error:
        failure: BaseException = error
        return failure
