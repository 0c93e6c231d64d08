"""Runs workers on one session at the same time, and records what each call did and when.

Like the trials it imports nothing of chathistory but them, so that a counterexample's script can hold it whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from chathistory.conformance.trials._writers import nursery_of

CLEAR = "clear"
READ = "read"
CANCEL = "cancel "
REFUSE = "refuse "
SINGLE = "single"
REOPEN = "reopen"
WATCH = "watch"
LARGE = "large "
SECONDS_TO_END = 30.0
_PADDING = " " + "x" * 40_000
_SHARE_OF_BEGINNING = 0.3


@dataclass(frozen=True)
class Event:
    """One call of one worker: what it added or read, and when it began and ended; `ended` is None if it did not."""

    worker: int
    kind: str
    began: float
    ended: float | None
    added: tuple[str, ...] = ()
    observed: tuple[str, ...] | None = None
    error: BaseException | None = None
    may_raise: bool = False


def run_together(
    open_history: Callable[[], Any],
    workers: Sequence[Sequence[Any]],
    *,
    tasks: bool,
    shared: bool,
    opens: bool = False,
    elsewhere: tuple[Any, str] | None = None,
    mode: str = "sync",
    seconds: float = SECONDS_TO_END,
) -> list[Event]:
    """Let all workers begin at once; at the end one read is made through a new handle.

    With `elsewhere`, a factory that can be pickled and a session id, each works in a process of its own, by calls of
    this mode, "sync" or "async".

    A worker is a sequence of calls: a number adds a batch of that many messages, "read" reads, "clear" clears;
    "cancel 3", for tasks, begins to add a batch of three and is cancelled some turns of the event loop later, as
    is the read of "cancel read";
    "refuse 3", for threads and tasks, adds a batch of three whose last message a store may refuse;
    "single", for threads, adds one message by `add_message`; "large 3", for threads and tasks, adds three long ones;
    "reopen", for threads and tasks, goes on with a new handle; "watch", for both, reads until all who do not watch have
    done, and of reads in a row that show the same only the first counts. Tasks without a handle in common have a
    parent who has added a message before they began.
    With `shared` all go through one handle, else each through its own; with `opens` each opens its own
    handle only when all begin. They have so many seconds to end, and threads and tasks begin nothing more after three
    tenths of them; processes and tasks always have SECONDS_TO_END.
    """
    one = open_history() if shared else None
    handles = [one if shared else None if opens or elsewhere else open_history() for _ in workers]
    events: list[Event] = []
    if elsewhere:
        _as_processes(*elsewhere, workers, events, mode)
    elif tasks:
        asyncio.run(_as_tasks(open_history, handles, workers, events))
    else:
        _as_threads(open_history, handles, workers, events, seconds)
    if not (tasks or opens or any(event.kind == "hung" for event in events)):
        _read_through(handles, events)
    began = time.monotonic()
    history = open_history()
    read = asyncio.run(_read(history)) if tasks or mode == "async" else history.messages
    events.append(Event(-1, READ, began, time.monotonic(), observed=_contents(read)))
    return events


def _as_threads(
    open_history: Callable[[], Any],
    handles: list[Any],
    workers: Sequence[Sequence[Any]],
    events: list[Event],
    seconds: float,
) -> None:
    """Threads that change places as often as the interpreter lets them."""
    barrier, deadline = threading.Barrier(len(workers)), time.monotonic() + seconds
    last_begin, busy = deadline - (1 - _SHARE_OF_BEGINNING) * seconds, _Busy(workers, deadline)

    def work(number: int) -> None:
        barrier.wait()
        try:
            history = _handle(handles[number], open_history)
        except BaseException as error:  # noqa: BLE001 -- what is raised is recorded
            events.append(Event(number, "open", 0, time.monotonic(), error=error))
            busy.has_done(number)
            return
        for call, added in _calls(number, workers[number]):
            began = time.monotonic()
            if began > last_begin:
                break
            if call == REOPEN:
                history = _reopened(history, open_history, number, events)
                continue
            if call == WATCH:
                _watch(history, number, busy, events)
                continue
            try:
                result = _sync_call(history, call, added)
            except BaseException as error:  # noqa: BLE001 -- what is raised is recorded
                ended, may_raise = time.monotonic(), _may_raise(call)
                events.append(Event(number, _kind(call), began, ended, added, error=error, may_raise=may_raise))
            else:
                events.append(Event(number, _kind(call), began, time.monotonic(), added, result))
        busy.has_done(number)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(workers))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
    finally:
        sys.setswitchinterval(interval)
    if any(thread.is_alive() for thread in threads):
        events.append(Event(-2, "hung", deadline, None))


@contextlib.contextmanager
def _noting(events: list[Event], number: int, kind: str, added: tuple[str, ...] = ()) -> Iterator[list[Any]]:
    """Record the call that the block makes, with what it puts into the list as what it read, or with its error."""
    began, read = time.monotonic(), list[Any]()
    try:
        yield read
    except Exception as error:  # noqa: BLE001 -- what is raised is recorded
        events.append(Event(number, kind, began, time.monotonic(), added, error=error))
    else:
        events.append(Event(number, kind, began, time.monotonic(), added, *read))


async def _add_as_parent(history: Any, number: int, events: list[Event]) -> None:
    """Add a message before there are tasks: they inherit what a history keeps in its context."""
    added = (f"w{number}-0-0",)
    with _noting(events, number, "add", added):
        await history.aadd_messages(_batch(1, added))


def _read_through(handles: Sequence[Any], events: list[Event]) -> None:
    """What each handle shows when all is over: it may have kept something in mind."""
    for number, history in _distinct(handles):
        with _noting(events, number, READ) as read:
            read.append(_contents(history.messages))


async def _read_through_async(handles: Sequence[Any], events: list[Event]) -> None:
    for number, history in _distinct(handles):
        with _noting(events, number, READ) as read:
            read.append(_contents(await history.aget_messages()))


def _distinct(handles: Sequence[Any]) -> list[tuple[int, Any]]:
    """Each handle once, with the number of the first worker who has it; those that workers opened are theirs."""
    first = {id(history): number for number, history in reversed(list(enumerate(handles))) if history is not None}
    return [(number, handles[number]) for number in sorted(first.values())]


class _Busy:
    """The workers who do more than watch, and have not done yet; after the deadline nobody waits for them."""

    def __init__(self, workers: Sequence[Sequence[Any]], deadline: float) -> None:
        self._left = {number for number, calls in enumerate(workers) if WATCH not in calls}
        self._deadline = deadline

    def has_done(self, number: int) -> None:
        self._left.discard(number)

    def __bool__(self) -> bool:
        return bool(self._left) and time.monotonic() < self._deadline


def _watch(history: Any, number: int, busy: _Busy, events: list[Event]) -> None:
    """Read as long as others work."""
    looks: list[Event] = []
    while _goes_on(looks, busy, events):
        with _noting(looks, number, READ) as read:
            read.append(_contents(history.messages))


async def _watch_async(history: Any, number: int, busy: _Busy, events: list[Event]) -> None:
    looks: list[Event] = []
    while _goes_on(looks, busy, events):
        with _noting(looks, number, READ) as read:
            read.append(_contents(await history.aget_messages()))
        await asyncio.sleep(0)


def _goes_on(looks: list[Event], busy: _Busy, events: list[Event]) -> bool:
    """Record the last look, if it shows anything new, and say whether there is to be another."""
    if not looks:
        return True
    last = looks[-1]
    if len(looks) == 1 or last.error is not None or last.observed != looks[-2].observed:
        events.append(last)
    del looks[:-1]
    return bool(busy) and last.error is None


def _handle(opened: Any, open_history: Callable[[], Any]) -> Any:
    """The handle, or a new one; a handle may have no truth value."""
    return open_history() if opened is None else opened


def _reopened(history: Any, open_history: Callable[[], Any], number: int, events: list[Event]) -> Any:
    """A new handle, or the old one if none can be opened, which is recorded."""
    began = time.monotonic()
    try:
        return open_history()
    except Exception as error:  # noqa: BLE001 -- what is raised is recorded
        events.append(Event(number, "open", began, time.monotonic(), error=error))
        return history


def _as_processes(
    factory: Any, session_id: str, workers: Sequence[Sequence[Any]], events: list[Event], mode: str
) -> None:
    with nursery_of(factory) as nursery:
        working = [
            nursery.start(session_id, calls, name=f"w{number}", mode=mode, waits=True, stays=True)
            for number, calls in enumerate(workers)
        ]
        deadline = time.monotonic() + SECONDS_TO_END
        for worker in working:
            worker.wait_for(bool, SECONDS_TO_END)
        nursery.begin()
        for number, worker in enumerate(working):
            left = max(deadline - time.monotonic(), 0.01)
            if not worker.wait_for(lambda calls: any(call.kind in ("stays", "open") for call in calls), left):
                events.append(Event(-2, "hung", deadline, None))
            for call in worker.calls():
                if call.kind not in ("waits", "stays"):
                    error = None if call.error is None else RuntimeError(call.error)
                    events.append(Event(number, call.kind, call.began, call.ended, call.added, call.observed, error))
            worker.kill()


async def _as_tasks(
    open_history: Callable[[], Any], handles: list[Any], workers: Sequence[Sequence[Any]], events: list[Event]
) -> None:
    deadline = time.monotonic() + SECONDS_TO_END
    last_begin, busy = deadline - (1 - _SHARE_OF_BEGINNING) * SECONDS_TO_END, _Busy(workers, deadline)

    async def work(number: int) -> None:
        history = _handle(handles[number], open_history)
        for place, (call, added) in enumerate(_calls(number, workers[number])):
            began = time.monotonic()
            if began > last_begin:
                break
            if call == REOPEN:
                history = _reopened(history, open_history, number, events)
                continue
            if call == WATCH:
                await _watch_async(history, number, busy, events)
                continue
            if _is_cancelled(call):
                await _cancelled(history, added, place % 5)
                if added:
                    events.append(Event(number, "add", began, None, added))
                continue
            try:
                result = await _async_call(history, call, added)
            except (Exception, asyncio.CancelledError) as error:
                ended, may_raise = time.monotonic(), _may_raise(call)
                if ended > deadline:
                    raise
                events.append(Event(number, _kind(call), began, ended, added, error=error, may_raise=may_raise))
            else:
                events.append(Event(number, _kind(call), began, time.monotonic(), added, result))
            await asyncio.sleep(0)
        busy.has_done(number)

    if len({id(history) for history in handles}) > 1:
        await _add_as_parent(handles[0], len(workers), events)
    working: list[Awaitable[None]] = [work(number) for number in range(len(workers))]
    try:
        await asyncio.wait_for(asyncio.gather(*working), SECONDS_TO_END)
    except asyncio.TimeoutError:
        events.append(Event(-2, "hung", time.monotonic(), None))
    else:
        await _read_through_async(handles, events)


def _calls(number: int, worker: Sequence[Any]) -> list[tuple[Any, tuple[str, ...]]]:
    """The calls of a worker, with the contents that each adds: unique in the whole run."""
    calls: list[tuple[Any, tuple[str, ...]]] = []
    for place, call in enumerate(worker):
        word = str(call).removeprefix(CANCEL).removeprefix(REFUSE).removeprefix(LARGE)
        size = int(word) if word.isdigit() else int(call == SINGLE)
        calls.append((call, tuple(f"w{number}-{place}-{item}" for item in range(size))))
    return calls


def _is_cancelled(call: Any) -> bool:
    return isinstance(call, str) and call.startswith(CANCEL)


def _may_raise(call: Any) -> bool:
    return isinstance(call, str) and call.startswith(REFUSE)


def _batch(call: Any, added: tuple[str, ...]) -> list[BaseMessage]:
    """Questions, answers and results in turn; in a batch that may be refused the last holds what JSON doesn't know."""
    padding = _PADDING if str(call).startswith(LARGE) else ""
    batch = [_message(number, f"{content}{padding}") for number, content in enumerate(added)]
    if _may_raise(call):
        batch[-1].additional_kwargs["value"] = float("nan")
    return batch


def _message(number: int, content: str) -> BaseMessage:
    """The class differs from one to the next, since some stores keep each class in a place of its own."""
    if number % 3 == 2:
        return ToolMessage(content, tool_call_id="call-1")
    return AIMessage(content) if number % 3 else HumanMessage(content)


async def _cancelled(history: Any, added: tuple[str, ...], turns: int) -> None:
    """Begin an add, or a read, and cancel it after so many turns: nobody knows whether an add takes effect."""
    messages = [HumanMessage(content) for content in added]
    task = asyncio.ensure_future(history.aadd_messages(messages) if added else history.aget_messages())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


def _kind(call: Any) -> str:
    is_add = isinstance(call, int) or _may_raise(call) or call == SINGLE or str(call).startswith(LARGE)
    return "add" if is_add else str(call)


def _sync_call(history: Any, call: Any, added: tuple[str, ...]) -> tuple[str, ...] | None:
    if call == READ:
        return _contents(history.messages)
    if call == CLEAR:
        history.clear()
    elif call == SINGLE:
        history.add_message(*_batch(call, added))
    else:
        history.add_messages(_batch(call, added))
    return None


async def _async_call(history: Any, call: Any, added: tuple[str, ...]) -> tuple[str, ...] | None:
    if call == READ:
        return _contents(await history.aget_messages())
    if call == CLEAR:
        await history.aclear()
    else:
        await history.aadd_messages(_batch(call, added))
    return None


async def _read(history: Any) -> Any:
    return await history.aget_messages()


def _contents(messages: Any) -> tuple[str, ...]:
    return tuple(str(message.content).removesuffix(_PADDING) for message in messages)
