"""Makes a row of calls in one coroutine: awaited async ones (ASY-1), sync ones, or both in turn (ASY-2)."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from langchain_core.messages import HumanMessage

from chathistory.conformance.trials._finding import Finding, opener_of

_ROW: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("add", 1, ("m1",)),
    ("read", 1, ()),
    ("read", 2, ()),
    ("add", 1, ("m2", "m3")),
    ("read", 2, ()),
    ("read", 1, ()),
    ("clear", 1, ()),
    ("read", 1, ()),
    ("read", 2, ()),
    ("add", 2, ("m4",)),
    ("read", 1, ()),
)
"""Calls through two handles on one session: which, through which of them, and what is added."""

_AFTERWARDS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("read", 1, ()),
    ("read", 2, ()),
    ("add", 1, ("m5",)),
    ("read", 2, ()),
)

MIXED: tuple[tuple[str, str, int, tuple[str, ...]], ...] = (
    ("async", "add", 1, ("m1",)),
    ("sync", "read", 1, ()),
    ("sync", "read", 2, ()),
    ("async", "add", 1, ("m2", "m3")),
    ("sync", "read", 1, ()),
    ("sync", "read", 2, ()),
    ("async", "add", 2, ("m4", "m5")),
    ("sync", "add", 1, ("m6", "m7")),
    ("sync", "read", 1, ()),
    ("async", "read", 2, ()),
    ("async", "clear", 2, ()),
    ("sync", "read", 1, ()),
    ("sync", "read", 2, ()),
    ("sync", "add", 1, ("m8",)),
    ("async", "read", 1, ()),
    ("async", "add", 1, ("m9", "m10")),
    ("sync", "clear", 1, ()),
    ("async", "read", 1, ()),
    ("async", "read", 2, ()),
    ("sync", "add", 1, ("m11", "m12")),
    ("async", "clear", 1, ()),
    ("sync", "add", 2, ("m13", "m14")),
    ("sync", "read", 1, ()),
    ("async", "add", 2, ("m15",)),
    ("async", "read", 1, ()),
    ("sync", "read", 2, ()),
)
"""The same in turn by calls of both forms, so that each kind follows each that changes something."""


def synced_in_a_loop(backend: Any, **_: Any) -> Finding:
    """Whether sync calls do what they should where an event loop runs, or raise and then change nothing (ASY-2)."""
    return _twice(backend, _by_sync_calls)


def awaited_in_a_row(backend: Any, **_: Any) -> Finding:
    """Whether what an async call does is done when it has been awaited, with no other await in between (ASY-1)."""
    return _twice(backend, _by_async_calls)


def mixed_in_a_coroutine(backend: Any, **_: Any) -> Finding:
    """Whether sync calls and awaited async ones see each other with nothing in between, unless they raise (ASY-2)."""
    return _twice(backend, _by_both)


def _twice(backend: Any, attempt: Callable[[_Row], str | None]) -> Finding:
    """What an attempt finds, and finds again on another session: what depends on chance is for other trials."""
    problem = attempt(_Row(opener_of(backend)))
    if problem is not None:
        problem = attempt(_Row(opener_of(backend)))
    return Finding(problem, len(_ROW))


class _Row:
    """Two handles on a session, and what it holds if each call that returned took effect, and no other."""

    def __init__(self, open_history: Callable[[str], Any]) -> None:
        session = uuid.uuid4().hex
        self.handles = {1: open_history(session), 2: open_history(session)}
        self._held: list[str] = []
        self._last = "nothing was added"

    def returned(self, call: str, handle: int, contents: tuple[str, ...]) -> None:
        """Note an add or a clear that returned."""
        self._held = [] if call == "clear" else [*self._held, *contents]
        self._last = f"h{handle} had cleared" if call == "clear" else f"h{handle} had added {', '.join(contents)}"

    def problem(self, handle: int, read: Any) -> str | None:
        """What is wrong with what was read."""
        shown = [str(message.content) for message in read]
        if shown == self._held:
            return None
        return f"when {self._last}, a read by h{handle} showed {shown}, not {self._held}"


def _by_sync_calls(row: _Row) -> str | None:
    """The row in a running loop, where each call may be refused; then some calls outside it, which may not."""

    async def calls() -> str | None:
        for call in _ROW:
            with contextlib.suppress(Exception):
                if problem := _made(row, *call):
                    return f"by sync calls in a running event loop: {problem}"
        return None

    try:
        return _in_a_loop(calls()) or _made_afterwards(row)
    finally:
        with contextlib.suppress(Exception):  # what is raised is for other checks
            row.handles[1].clear()


def _made_afterwards(row: _Row) -> str | None:
    try:
        problem = next(filter(None, (_made(row, *call) for call in _AFTERWARDS)), None)
    except Exception as error:  # noqa: BLE001 -- whatever it is
        problem = f"a call raised {type(error).__name__}: {error}"
    return problem and f"outside the event loop, after sync calls inside it: {problem}"


def _made(row: _Row, call: str, handle: int, contents: tuple[str, ...]) -> str | None:
    """Make a sync call, and say what is wrong with what it has read, if it is a read."""
    history = row.handles[handle]
    if call == "read":
        return row.problem(handle, history.messages)
    if call == "clear":
        history.clear()
    else:
        history.add_messages(_batch(contents))
    row.returned(call, handle, contents)
    return None


def _by_async_calls(row: _Row) -> str | None:
    """The row, with nothing awaited but its calls; what they raise is for other checks."""

    async def calls() -> str | None:
        try:
            for call in _ROW:
                if problem := await _awaited(row, *call):
                    return f"by async calls, each awaited after the other: {problem}"
        finally:
            with contextlib.suppress(Exception):
                await row.handles[1].aclear()
        return None

    with contextlib.suppress(Exception):
        return _in_a_loop(calls())
    return None


def _by_both(row: _Row) -> str | None:
    """The mixed row as far as it goes: what became of a change that raised is for other checks."""

    async def calls() -> str | None:
        for mode, call, handle, contents in MIXED:
            given = row, call, handle, contents
            try:
                problem = await _awaited(*given) if mode == "async" else _made(*given)
            except Exception:  # noqa: BLE001 -- a sync call may be refused where a loop runs
                if call != "read":
                    break
            else:
                if problem:
                    return f"by async calls, each awaited, and sync calls between them: {problem}"
        return None

    try:
        return _in_a_loop(calls())
    finally:
        with contextlib.suppress(Exception):  # what is raised is for other checks
            row.handles[1].clear()


async def _awaited(row: _Row, call: str, handle: int, contents: tuple[str, ...]) -> str | None:
    """The same as `_made`, by an async call."""
    history = row.handles[handle]
    if call == "read":
        return row.problem(handle, await history.aget_messages())
    await (history.aclear() if call == "clear" else history.aadd_messages(_batch(contents)))
    row.returned(call, handle, contents)
    return None


def _in_a_loop(coroutine: Coroutine[Any, Any, str | None]) -> str | None:
    """Run a coroutine in a loop of its own; errors of tasks that it has left behind show in what is read."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.set_exception_handler(lambda _loop, _context: None)
        return loop.run_until_complete(coroutine)


def _batch(contents: tuple[str, ...]) -> list[HumanMessage]:
    return [HumanMessage(content=content) for content in contents]
