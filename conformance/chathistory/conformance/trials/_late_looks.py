"""Looks at what was read only after something else was done: to the session, or to what others read at once (SNP-1)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable
from typing import Any

from langchain_core.messages import HumanMessage

from chathistory.conformance.trials._finding import Finding, opener_of

_READERS, _ROUNDS_AT_ONCE, _SECONDS_TO_READ = 6, 3, 10.0
_CHANGES = ("an add", "an add through another handle", "a clear", "an assignment")


def looked_at_later(backend: Any, *, mode: str, **_: int) -> Finding:
    """Whether a list that nobody has looked at yet shows what is done to the session after it was read.

    It is compared with an earlier read of the same messages that was looked at at once, so that what a history alters
    or leaves out is no matter here; nor are calls that raise.
    """
    changes = _CHANGES[:-1] if mode == "async" else _CHANGES  # an assignment has no async form
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        call = _by_async_calls(loop) if mode == "async" else _by_sync_calls
        for number, change in enumerate(changes, start=1):
            problem = None
            with contextlib.suppress(Exception):  # what is raised is for other checks
                problem = _problem(opener_of(backend), call, change)
            if problem:
                return Finding(problem, 6 * number)
    return Finding(None, 6 * len(changes))


def read_at_once(backend: Any, *, mode: str, **_: int) -> Finding:
    """Whether lists that were read at the same time, and then edited by their readers, are anybody else's, too."""
    open_history, session = opener_of(backend), uuid.uuid4().hex
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        call = _by_async_calls(loop) if mode == "async" else _by_sync_calls
        problem = None
        with contextlib.suppress(Exception):  # what is raised is for other checks
            history = open_history(session)
            call(history, "add", "m1", "m2")
            for _round in range(_ROUNDS_AT_ONCE):
                problem = problem or _problem_of_lists(call(history, "read at once"))
        with contextlib.suppress(Exception):
            call(open_history(session), "clear")
    return Finding(problem, 2 + _READERS * _ROUNDS_AT_ONCE)


def _problem_of_lists(lists: list[Any]) -> str | None:
    seen = [_contents(each) for each in lists]
    for number, each in enumerate(lists):
        each.append(HumanMessage(content=f"of reader {number}"))
    for number, (each, before) in enumerate(zip(lists, seen, strict=True)):
        wanted = [*before, f"of reader {number}"]
        if (shown := _contents(each)) != wanted:
            return f"of lists read at once, each with a message appended by its reader, one was {shown}, not {wanted}"
    return None


def _read_by_threads(history: Any) -> list[Any]:
    barrier, lists = threading.Barrier(_READERS), list[Any]()

    def read() -> None:
        barrier.wait()
        with contextlib.suppress(Exception):
            lists.append(history.messages)

    threads = [threading.Thread(target=read, daemon=True) for _ in range(_READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_SECONDS_TO_READ)
    return lists


def _problem(open_history: Callable[[str], Any], call: Callable[..., Any], change: str) -> str | None:
    session = uuid.uuid4().hex
    history, other = open_history(session), open_history(session)
    call(history, "add", "m1", "m2", "m3")
    seen = _contents(call(history, "read"))
    held = call(history, "read")
    if change == "an assignment":
        history.messages = _batch("m4")
    elif change == "a clear":
        call(history, "clear")
    else:
        call(history if change == "an add" else other, "add", "m4", "m5")
    what = f"a list that was read before {change}, and looked at after it,"
    try:
        shown = _contents(held)
    except Exception as error:  # noqa: BLE001 -- whatever it is
        return f"{what} raised {type(error).__name__}: {error}"
    with contextlib.suppress(Exception):  # what it raises is for other checks
        call(other, "clear")
    return None if shown == seen else f"{what} showed {shown} in place of {seen}"


def _by_sync_calls(history: Any, call: str, *contents: str) -> Any:
    if call == "read at once":
        return _read_by_threads(history)
    if call == "read":
        return history.messages
    return history.clear() if call == "clear" else history.add_messages(_batch(*contents))


def _by_async_calls(loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
    async def awaited(history: Any, call: str, *contents: str) -> Any:
        if call == "read at once":
            return await asyncio.gather(*(history.aget_messages() for _ in range(_READERS)))
        if call == "read":
            return await history.aget_messages()
        return await (history.aclear() if call == "clear" else history.aadd_messages(_batch(*contents)))

    return lambda *arguments: loop.run_until_complete(awaited(*arguments))


def _batch(*contents: str) -> list[HumanMessage]:
    return [HumanMessage(content=content) for content in contents]


def _contents(messages: Any) -> list[str]:
    return [str(message.content) for message in messages]
