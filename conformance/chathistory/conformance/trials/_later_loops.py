"""Lets several tasks wait for one another in one event loop after another (ASY-6)."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from langchain_core.messages import HumanMessage

from chathistory.conformance.trials._finding import Finding, opener_of

_T = TypeVar("_T")
_LOOPS, _TASKS = 3, 3
_SECONDS_TO_END = 3.0
_OF_ANOTHER_LOOP = re.compile(r"(different|another|other) (event )?loop|loop is closed", re.IGNORECASE)


def contended_in_later_loops(backend: Any, **_: Any) -> Finding:
    """Whether tasks that use a session at once meet with errors of an earlier loop, where one alone meets none."""
    calls = _Calls(opener_of(backend))
    # A lock that only those who wait belong to shows nothing to a task that is alone.
    problem = calls.problem() and calls.problem()
    return Finding(problem, calls.made)


class _Calls:
    """Adds and reads of one session, alone and at once, through handles of an earlier loop and through new ones."""

    def __init__(self, open_history: Any) -> None:
        self._open = open_history
        self.made = 0

    def problem(self) -> str | None:
        """What the first of several loops shows that shows anything; what does not end is for other checks."""
        session = uuid.uuid4().hex
        kept = [self._open(session) for _ in range(_TASKS - 1)]
        for _ in range(_LOOPS):
            handles = [*kept, self._open(session)]
            if problem := in_a_loop(self._in_this_loop(handles)):
                return problem
        return None

    async def _in_this_loop(self, handles: Sequence[Any]) -> str | None:
        try:
            for history in handles:
                if await _ended([self._work(history)]):
                    return None  # one that is alone may be refused, and clearly, in a later loop
            for how, used in (("one handle", [handles[0]] * len(handles)), ("several handles", handles)):
                errors = await _ended([self._work(history) for history in used])
                if told := next(filter(_tells_of_loops, errors), None):
                    shown = f"{type(told).__name__}: {told}"
                    return f"in a loop in which calls of one task raised nothing, several through {how} met {shown}"
            return None
        finally:
            await _ended([handles[0].aclear()])

    async def _work(self, history: Any) -> None:
        self.made += 2
        await history.aadd_messages([HumanMessage(content="m1"), HumanMessage(content="m2")])
        await history.aget_messages()


async def _ended(work: Sequence[Coroutine[Any, Any, None]]) -> list[BaseException]:
    """What tasks at once have raised; an error of ours for those that do not end."""
    tasks = [asyncio.ensure_future(each) for each in work]
    done, pending = await asyncio.wait(tasks, timeout=_SECONDS_TO_END)
    errors = [error for task in tasks if task in done and not task.cancelled() and (error := task.exception())]
    return [*errors, *(asyncio.TimeoutError() for _ in pending)]


def _tells_of_loops(error: BaseException) -> bool:
    return any(_OF_ANOTHER_LOOP.search(str(each)) for each in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of, as far as a log would show it."""
    for _ in range(10):
        if error is not None:
            yield error
            error = error.__cause__ or error.__context__


def in_a_loop(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a new loop, which ends as that of `asyncio.run` does, but waits for nobody."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
