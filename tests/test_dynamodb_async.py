"""The async methods of the DynamoDB history, native and in threads: same effects, a free loop, settled cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import warnings
from collections.abc import Coroutine
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from langchain_core.messages import BaseMessage, HumanMessage
from tests.dynamodb_tables import SERVERS, Table, error, humans, meddled, new_table, session, texts

from chathistory.adapters.dynamodb import _attempts, _batch, _chunks, _head
from chathistory.adapters.dynamodb._clients import clients_of, has_native
from chathistory.reference import StoreError

BATCH = ["x", "y", "z"]
WAYS = [pytest.param(True, id="native"), pytest.param(False, id="threads")]


@pytest.fixture(params=SERVERS)
def table(request: pytest.FixtureRequest) -> Table:
    """An empty table on each kind of server."""
    return new_table(request.param)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few messages, and chunks of some more."""
    for module in (_head, _attempts):
        monkeypatch.setattr(module, "SEGMENT_BYTES", 700)
    monkeypatch.setattr(_batch, "INLINE_BYTES", 600)
    monkeypatch.setattr(_chunks, "PIECE_BYTES", 500)


def contents(messages: list[BaseMessage]) -> list[Any]:
    """The contents of a batch."""
    return [message.content for message in messages]


async def cancelled_after(turns: int, call: Coroutine[Any, Any, None]) -> None:
    """Start a call, let the loop run round so many times, cancel it, and wait until it is over."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("native", WAYS)
def test_async_and_sync_calls_see_each_other_at_once(table: Table, native: bool) -> None:
    """Through one handle and through several, in whatever order."""

    async def main() -> None:
        one, two = table.open(native_async=native), table.open(native_async=native)
        assert await one.aget_messages() == []
        await one.aadd_messages(humans("a", "b"))
        assert texts(two) == ["a", "b"]
        two.add_messages(humans("c"))
        await two.aadd_message(HumanMessage("d"))
        assert contents(await one.aget_messages()) == ["a", "b", "c", "d"]
        two.messages = humans("e")
        assert contents(await one.aget_messages()) == ["e"]
        await one.aclear()
        assert two.messages == []

    asyncio.run(main())


@pytest.mark.parametrize("native", WAYS)
def test_tasks_that_share_a_handle_lose_nothing(table: Table, small: None, native: bool) -> None:
    """Batches whole, while segments are made and other tasks read and clear other sessions."""

    async def main() -> None:
        shared = table.open(native_async=native)
        await asyncio.gather(
            *(shared.aadd_messages(humans(f"{number}", f"{number}")) for number in range(30)),
            *(table.open(f"s{number}").aclear() for number in range(10)),
            *(shared.aget_messages() for _ in range(10)),
        )
        found = contents(await shared.aget_messages())
        assert found[::2] == found[1::2]
        assert sorted(found[::2], key=int) == [str(number) for number in range(30)]

    asyncio.run(main())


# Cancellation.


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("size", [1, 700])
def test_a_cancelled_add_is_whole_or_nothing_and_settled(table: Table, small: None, native: bool, size: int) -> None:
    """Whenever it is cancelled: nothing of it appears later, and no chunk is left of what was not stored."""

    async def main() -> None:
        batch = [text * size for text in BATCH]
        for turns in range(0, 24, 2):
            history = table.open(f"s{turns}", native_async=native)
            await cancelled_after(turns, history.aadd_messages(humans(*batch)))
            seen = contents(await history.aget_messages())
            assert seen in ([], batch)
            await history.aadd_messages(humans("later"))
            assert contents(await history.aget_messages()) == [*seen, "later"]
            await history.aclear()
        assert table.items() == []

    asyncio.run(main())


def test_a_cancelled_clear_is_whole_or_nothing(table: Table) -> None:
    """All messages are there or none is, and that stays so."""

    async def main() -> None:
        for turns in range(0, 24, 2):
            history = table.open(f"s{turns}")
            await history.aadd_messages(humans(*BATCH))
            await cancelled_after(turns, history.aclear())
            seen = contents(await history.aget_messages())
            assert seen in ([], BATCH)
            history.add_messages(humans("later"))
            assert contents(await history.aget_messages()) == [*seen, "later"]

    asyncio.run(main())


def test_a_request_under_way_is_waited_for_and_no_further_one_is_made() -> None:
    """Whoever sees the cancellation sees a settled history; a second cancellation changes nothing."""
    with meddled(new_table()) as (table, client):
        begun, goes_on = threading.Event(), threading.Event()

        def hold(method: str, _arguments: dict[str, Any]) -> None:
            if method == "batch_write_item":
                begun.set()
                assert goes_on.wait(20)

        client.before = hold

        async def main() -> None:
            history = table.open()
            task = asyncio.ensure_future(history.aadd_messages([HumanMessage("x" * 50_000)]))
            await asyncio.to_thread(begun.wait, 20)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
            goes_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert table.items() == []
            assert client.methods == ["batch_write_item", "batch_write_item"]  # the second removes what was written

        asyncio.run(main())


def test_a_cancelled_call_does_not_go_on_trying() -> None:
    """A pause between two tries is where it ends."""
    with meddled(new_table()) as (table, client):
        begun = threading.Event()

        def throttle(_method: str, _arguments: dict[str, Any]) -> None:
            begun.set()
            raise error("ThrottlingException")

        client.before = throttle

        async def main() -> None:
            task = asyncio.ensure_future(table.open().aadd_messages(humans("a")))
            await asyncio.to_thread(begun.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert len(client.calls) <= 2


def test_a_lost_answer_of_an_async_add_is_no_second_application() -> None:
    """The same steps as in sync calls."""
    with meddled(new_table()) as (table, client):
        losses = iter([None, ConnectionClosedError(endpoint_url=table.url)])

        def lose(method: str, _arguments: dict[str, Any], _answer: Any) -> None:
            if method == "update_item" and (loss := next(losses, None)):
                raise loss

        client.after = lose
        history = table.open()
        history.messages = humans("a")
        asyncio.run(history.aadd_messages(humans("b")))
        assert texts(table.open()) == ["a", "b"]


# Event loops and clients.


@pytest.mark.parametrize("native", WAYS)
def test_a_handle_works_in_later_loops_and_leaves_nothing_open(table: Table, native: bool) -> None:
    """Each loop has a client, closed at the end of `asyncio.run`."""
    history = table.open(native_async=native)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            asyncio.run(history.aadd_messages(humans(str(number))))
            gc.collect()
    assert texts(history) == ["0", "1", "2"]
    native_clients = clients_of(table.session, table.url)._native
    assert native_clients is None or len(native_clients._opening) == 0


def test_loops_in_several_threads_share_a_handle(table: Table) -> None:
    """Their clients are their own."""
    history = table.open()
    threads = [
        threading.Thread(target=lambda number=number: asyncio.run(history.aadd_messages(humans(str(number)))))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts(history)) == [str(number) for number in range(6)]


def test_a_first_call_that_is_cancelled_leaves_the_client_to_the_others(table: Table) -> None:
    """Making it is everybody's business."""

    async def main() -> None:
        calls = [asyncio.ensure_future(table.open(f"s{number}").aadd_messages(humans("a"))) for number in range(5)]
        await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert [len(table.open(f"s{number}").messages) for number in range(1, 5)] == [1] * 4

    asyncio.run(main())


def test_without_aiobotocore_async_calls_run_in_threads() -> None:
    """The extra brings it, but the class works without."""
    table = new_table()
    code = f"""
import asyncio, sys
sys.modules["aiobotocore"] = None
import boto3
from langchain_core.messages import HumanMessage
from chathistory.adapters.dynamodb import DynamoDBChatMessageHistory
from chathistory.adapters.dynamodb._clients import has_native
session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
history = DynamoDBChatMessageHistory({table.name!r}, "s", {table.url!r}, boto3_session=session)
asyncio.run(history.aadd_messages([HumanMessage("a")]))
assert not has_native()
assert len(asyncio.run(history.aget_messages())) == 1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)  # noqa: S603 -- our own command
    assert texts(table.open()) == ["a"]
    assert has_native()


class Refreshed:
    """Credentials that a session refreshes, as those of a role are."""

    method = "assume-role"
    account_id = None

    def __init__(self, real: Any) -> None:
        self.real = real
        self.threads: list[str] = []

    def refresh_needed(self) -> bool:
        """They are always old."""
        return True

    def get_frozen_credentials(self) -> Any:
        """Takes a request in real life."""
        self.threads.append(threading.current_thread().name)
        return self.real.get_frozen_credentials()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def test_credentials_are_those_of_the_boto3_session_refreshed_off_the_loop(table: Table) -> None:
    """Of a role, say: they change while the client lives."""
    own = session(-2)
    own._session._credentials = credentials = Refreshed(own.get_credentials())
    asyncio.run(table.open(boto3_session=own).aadd_messages(humans("a")))
    asyncio.run(table.open(boto3_session=own).aadd_messages(humans("b")))
    assert len(credentials.threads) >= 4
    assert threading.main_thread().name not in credentials.threads
    assert texts(table.open()) == ["a", "b"]


@pytest.mark.parametrize("native", WAYS)
def test_errors_of_async_calls_are_those_of_sync_ones(native: bool) -> None:
    """One class, one line, with the session in it."""
    table = new_table()
    missing = Table("no-such-table", table.url, table.session)
    for call in ("aget_messages", "aclear"):
        with pytest.raises(StoreError, match=r"session 's'.*create_table"):
            asyncio.run(getattr(missing.open(native_async=native), call)())
    with pytest.raises(StoreError, match=r"session 's'.*could not add"):
        asyncio.run(missing.open(native_async=native).aadd_messages(humans("a")))
    nowhere = Table(table.name, "http://127.0.0.1:1", table.session)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
        asyncio.run(nowhere.open(native_async=native).aadd_messages(humans("a")))
