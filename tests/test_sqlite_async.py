"""The async methods of the SQLite history: same effects, a free event loop, cancellation that settles."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from chathistory.adapters.sqlite import SQLiteChatMessageHistory
from chathistory.adapters.sqlite._files import OPEN_FILES
from chathistory.reference import StoreError

BATCH = ["x", "y", "z"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the database will be."""
    return str(tmp_path / "history.db")


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(messages: list[BaseMessage]) -> list[Any]:
    """The contents of a batch."""
    return [message.content for message in messages]


@contextlib.contextmanager
def raw(path: str) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else, who waits for no lock."""
    with contextlib.closing(
        sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
    ) as connection:
        yield connection


async def cancelled_after(ticks: int, call: Coroutine[Any, Any, None]) -> None:
    """Start a call, let the loop run round so many times, cancel it, and wait until it is over."""
    task = asyncio.ensure_future(call)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def workers() -> Callable[[], int]:
    """How many threads of aiosqlite this test has running."""
    before = threading.enumerate()

    def count() -> int:
        now = [thread for thread in threading.enumerate() if thread not in before]
        return sum(thread.name == "chathistory-sqlite-worker" for thread in now)

    return count


def test_async_and_sync_calls_see_each_other_at_once(path: str) -> None:
    """Through one handle and through several, in whatever order."""

    async def main() -> None:
        one, two = SQLiteChatMessageHistory("s", path), SQLiteChatMessageHistory("s", path)
        assert await one.aget_messages() == []
        await one.aadd_messages(message for message in humans("a", "b"))
        assert texts(two.messages) == ["a", "b"]
        two.add_message(HumanMessage("c"))
        await two.aadd_message(HumanMessage("d"))
        assert texts(await one.aget_messages()) == ["a", "b", "c", "d"]
        two.messages = humans("e")
        assert texts(await one.aget_messages()) == ["e"]
        await one.aclear()
        assert two.messages == []

    asyncio.run(main())


def test_tasks_that_share_a_handle_lose_nothing(path: str) -> None:
    """Fifty tasks, batches whole, while other tasks read and clear other sessions."""

    async def main() -> None:
        shared = SQLiteChatMessageHistory("s", path)
        await asyncio.gather(
            *(shared.aadd_messages(humans(f"{number}", f"{number}")) for number in range(50)),
            *(SQLiteChatMessageHistory(f"s{number}", path).aclear() for number in range(50)),
            *(shared.aget_messages() for _ in range(50)),
        )
        found = texts(await shared.aget_messages())
        assert found[::2] == found[1::2]
        assert sorted(found[::2], key=int) == [str(number) for number in range(50)]

    asyncio.run(main())


# Cancellation.


@pytest.mark.parametrize("first_use", [True, False])
def test_a_cancelled_add_is_whole_or_nothing_and_settled(path: str, first_use: bool) -> None:
    """Whenever it is cancelled, nothing of it appears later, and another connection can write at once."""

    async def main() -> None:
        if not first_use:
            await SQLiteChatMessageHistory("warm", path).aget_messages()
        for ticks in range(31):
            here = f"{path}{ticks}" if first_use else path
            history = SQLiteChatMessageHistory(f"s{ticks}", here)
            await cancelled_after(ticks, history.aadd_messages(humans(*BATCH)))
            with raw(here) as connection:
                connection.execute("BEGIN IMMEDIATE")
            seen = texts(await history.aget_messages())
            assert seen in ([], BATCH)
            await history.aadd_message(HumanMessage("later"))
            assert texts(await history.aget_messages()) == [*seen, "later"]

    asyncio.run(main())


def test_a_cancelled_clear_is_whole_or_nothing(path: str) -> None:
    """All messages are there or none is, and that stays so."""

    async def main() -> None:
        for ticks in range(31):
            history = SQLiteChatMessageHistory(f"s{ticks}", path)
            await history.aadd_messages(humans(*BATCH))
            await cancelled_after(ticks, history.aclear())
            seen = texts(await history.aget_messages())
            assert seen in ([], BATCH)
            history.add_user_message("later")
            assert texts(await history.aget_messages()) == [*seen, "later"]

    asyncio.run(main())


def test_cancelling_again_and_again_changes_nothing(path: str) -> None:
    """A second and third cancellation, while the first waits for the statement, are borne."""

    async def main() -> None:
        history = SQLiteChatMessageHistory("s", path)
        await history.aget_messages()
        task = asyncio.ensure_future(history.aadd_messages(humans(*BATCH)))
        while not task.done():
            await asyncio.sleep(0)
            task.cancel()
        assert task.cancelled()
        assert texts(await history.aget_messages()) in ([], BATCH)

    asyncio.run(main())


def test_an_add_that_is_cancelled_while_it_waits_for_a_lock_stores_nothing(path: str) -> None:
    """It returns at once, long before the lock is free, and holds up no other session meanwhile."""

    async def main() -> None:
        history, other = SQLiteChatMessageHistory("s", path), SQLiteChatMessageHistory("other", path)
        await other.aadd_messages(humans("a"))
        with raw(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            waiting = [asyncio.ensure_future(history.aadd_messages(humans(*BATCH))) for _ in range(5)]
            assert texts(await other.aget_messages()) == ["a"]
            for _ in range(20):
                await asyncio.sleep(0.001)
            began = time.monotonic()
            for task in waiting:
                task.cancel()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert time.monotonic() - began < 5
            assert [type(result) for result in results] == [asyncio.CancelledError] * 5
            connection.execute("ROLLBACK")
        assert await history.aget_messages() == []
        await asyncio.gather(history.aadd_messages(humans("b")), other.aadd_messages(humans("b")))
        assert texts(await other.aget_messages()) == ["a", "b"]

    asyncio.run(main())


def test_one_of_many_waiting_adds_may_be_cancelled(path: str) -> None:
    """The others are carried out, each once, when the lock is free."""

    async def main() -> None:
        history = SQLiteChatMessageHistory("s", path)
        await history.aget_messages()
        with raw(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            tasks = [asyncio.ensure_future(history.aadd_messages(humans(str(number)))) for number in range(9)]
            for number in (0, 4, 8):
                await asyncio.sleep(0.005)
                tasks[number].cancel()
            await asyncio.sleep(0)
            connection.execute("ROLLBACK")
        await asyncio.gather(*tasks, return_exceptions=True)
        assert texts(await history.aget_messages()) == ["1", "2", "3", "5", "6", "7"]

    asyncio.run(main())


def test_a_timeout_leaves_the_handle_usable(path: str) -> None:
    """`wait_for` around an add that meets a lock: nothing stored, the next add succeeds."""

    async def main() -> None:
        history = SQLiteChatMessageHistory("s", path)
        await history.aget_messages()
        with raw(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(history.aadd_messages(humans(*BATCH)), 0.05)
        await history.aadd_messages(humans("a"))
        assert texts(history.messages) == ["a"]

    asyncio.run(main())


# The event loop.


async def ticks_while(call: Coroutine[Any, Any, Any]) -> AsyncIterator[float]:
    """The longest the loop was held up, measured while the call runs."""
    task = asyncio.ensure_future(call)
    while not task.done():
        began = time.monotonic()
        await asyncio.sleep(0.001)
        yield time.monotonic() - began
    await task


def test_a_locked_database_does_not_block_the_event_loop(path: str) -> None:
    """While somebody holds the write lock for a second, other tasks run on and reads are answered."""

    async def main() -> None:
        history = SQLiteChatMessageHistory("s", path)
        await history.aadd_messages(humans("a"))
        with raw(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(1.0, connection.execute, "ROLLBACK")
            pauses = []
            async for pause in ticks_while(history.aadd_messages(humans("b"))):
                pauses.append(pause)
                if len(pauses) == 10:
                    assert texts(await history.aget_messages()) == ["a"]
            assert sum(pauses) > 0.5
            assert max(pauses) < 0.5
        assert texts(await history.aget_messages()) == ["a", "b"]

    asyncio.run(main())


def test_a_handle_serves_one_event_loop_after_the_other(path: str, workers: Callable[[], int]) -> None:
    """A second `asyncio.run` needs no closing of the first, and the thread of the first is ended."""
    history = SQLiteChatMessageHistory("s", path)
    for number in range(5):
        asyncio.run(history.aadd_messages(humans(str(number))))
    assert texts(asyncio.run(history.aget_messages())) == ["0", "1", "2", "3", "4"]
    assert workers() <= 1
    history.close()
    assert workers() == 0


def test_event_loops_in_several_threads_share_a_handle(path: str, workers: Callable[[], int]) -> None:
    """Each loop has its own thread to SQLite, and all of them write one history."""
    history = SQLiteChatMessageHistory("s", path)

    async def write(thread: int) -> None:
        for number in range(10):
            await history.aadd_messages(humans(f"{thread}.{number}"))

    threads = [threading.Thread(target=asyncio.run, args=(write(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = texts(history.messages)
    assert sorted(found) == sorted(f"{thread}.{number}" for thread in range(4) for number in range(10))
    history.close()
    assert workers() == 0


def test_ending_the_loop_in_the_middle_of_adds_leaves_no_lock(path: str, workers: Callable[[], int]) -> None:
    """`asyncio.run` cancels what is under way; batches are whole, and everybody can go on."""
    history = SQLiteChatMessageHistory("s", path)

    async def main(ticks: int) -> None:
        for _ in range(3):
            asyncio.get_running_loop().create_task(history.aadd_messages(humans(*BATCH)))
        for _ in range(ticks):
            await asyncio.sleep(0)

    for ticks in range(12):
        asyncio.run(main(ticks))
        before = texts(history.messages)
        assert before == BATCH * (len(before) // 3)
        with raw(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
        assert texts(asyncio.run(history.aget_messages())) == before
    history.close()
    assert workers() == 0


def test_closing_from_a_task_closes_the_thread(path: str, workers: Callable[[], int]) -> None:
    """`async with` leaves neither thread nor file open."""

    async def main() -> None:
        async with SQLiteChatMessageHistory("s", path) as history:
            await history.aadd_messages(humans("a"))
            assert workers() == 1
        assert workers() == 0
        with pytest.raises(StoreError, match="closed"):
            await history.aget_messages()

    asyncio.run(main())
    assert not Path(path + "-wal").exists()


@pytest.mark.parametrize("reopened", [False, True])
def test_closing_while_calls_are_under_way_settles_them(path: str, workers: Callable[[], int], reopened: bool) -> None:
    """Each was carried out, or says soon that it was not; nothing hangs and no thread is left."""

    async def closed_after(delay: float, session_id: str) -> None:
        history = SQLiteChatMessageHistory(session_id, path)
        calls = [asyncio.ensure_future(history.aadd_messages(humans(str(number)))) for number in range(20)]
        await asyncio.sleep(delay)
        closing = asyncio.ensure_future(history.aclose())
        with SQLiteChatMessageHistory("other", path) if reopened else contextlib.nullcontext():
            results = await asyncio.gather(*calls, return_exceptions=True)
        await closing
        stored = [str(number) for number, result in enumerate(results) if result is None]
        assert all(isinstance(result, StoreError) for result in results if result is not None)
        with SQLiteChatMessageHistory(session_id, path) as again:
            assert texts(again.messages) == stored

    began = time.monotonic()
    for step in range(12):
        asyncio.run(closed_after(step * 0.0005, f"s{step}"))
    assert time.monotonic() - began < 25  # the busy timeout is 30
    assert workers() == 0


def test_a_file_that_another_thread_closes_during_a_call_is_opened_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was the last handle may close the file after another one was opened, and just before that one uses it."""
    history = SQLiteChatMessageHistory("s", path)
    database, _lease = OPEN_FILES.lease(path)
    current_file = database._current_file
    to_be_closed = [threading.Thread(target=database.close)]

    def look() -> tuple[int, int] | None:
        found = current_file()
        if to_be_closed:
            closing = to_be_closed.pop()
            closing.start()
            closing.join()
        return found

    async def main() -> None:
        await history.aadd_messages(humans("a"))
        monkeypatch.setattr(database._loops, "_current_file", look)
        await history.aadd_messages(humans("b"))

    asyncio.run(main())
    assert not to_be_closed
    assert texts(history.messages) == ["a", "b"]
