"""What the DynamoDB history does when requests fail: tries again within bounds, never twice, and says what happened."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import moto
import pytest
from botocore.exceptions import (
    ChecksumError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
)
from tests.dynamodb_cutter import Cutter, cutter_before
from tests.dynamodb_tables import Meddler, Table, error, humans, meddled, new_table, session, texts

from chathistory.adapters.dynamodb import (
    DynamoDBChatMessageHistory,
    _attempts,
    _batch,
    _chunks,
    _failures,
    _head,
    create_table,
    remove_orphans,
)
from chathistory.reference import StoreError

URL = "http://127.0.0.1"
LOST: list[Exception] = [
    ConnectionClosedError(endpoint_url=URL),
    ReadTimeoutError(endpoint_url=URL),
    ChecksumError(checksum_type="crc32", expected_checksum=1, actual_checksum=2),
    EndpointConnectionError(endpoint_url=URL, error=OSError("broken")),
    error("InternalServerError", 500),
    error("Whatever", 503),
]
THROTTLED = [
    error("ProvisionedThroughputExceededException"),
    error("ThrottlingException"),
    error("RequestLimitExceeded"),
    error("TransactionConflictException"),
]


@pytest.fixture
def table() -> Table:
    """An empty table."""
    return new_table()


@pytest.fixture
def meddler(table: Table) -> Iterator[tuple[Table, Meddler]]:
    """The table, with handles whose client is meddled with."""
    with meddled(table) as both:
        yield both


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses between tries."""
    monkeypatch.setattr(_failures, "_LONGEST_PAUSE", 0.001)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few messages, and chunks of some more."""
    for module in (_head, _attempts):
        monkeypatch.setattr(module, "SEGMENT_BYTES", 700)
    monkeypatch.setattr(_batch, "INLINE_BYTES", 600)
    monkeypatch.setattr(_chunks, "PIECE_BYTES", 500)


def failing(meddler: Meddler, failure: Exception, *, times: int, method: str = "", after: bool = False) -> None:
    """Let the next calls fail, before or after they were carried out."""
    left = [times]

    def fail(called: str, _arguments: dict[str, Any], _answer: Any = None) -> None:
        if left[0] and called == (method or called):
            left[0] -= 1
            raise failure

    if after:
        meddler.after = fail
    else:
        meddler.before = fail


@pytest.mark.parametrize("failure", THROTTLED, ids=str)
def test_throttling_is_waited_for(meddler: tuple[Table, Meddler], hasty: None, failure: Exception) -> None:
    """In every operation, and without one message more or less."""
    table, client = meddler
    history = table.open()
    for call in (lambda: history.add_messages(humans("a", "x" * 20_000)), lambda: history.messages, history.clear):
        failing(client, failure, times=3)
        call()
    history.add_messages(humans("b"))
    assert texts(history) == ["b"]


@pytest.mark.parametrize("failure", THROTTLED[:1], ids=str)
def test_throttling_that_does_not_end_is_raised_and_nothing_stored(
    meddler: tuple[Table, Meddler], hasty: None, failure: Exception
) -> None:
    """After a bound of tries, with the session and the cause."""
    table, client = meddler
    failing(client, failure, times=1_000, method="update_item")
    with pytest.raises(StoreError, match=r"session 's': could not add to table .*ProvisionedThroughput") as raised:
        table.open().add_messages(humans("a"))
    assert client.methods.count("update_item") == 10
    assert raised.value.__cause__ is failure
    client.before = lambda _method, _arguments: None
    assert (texts(table.open()), table.items()) == ([], [])


@pytest.mark.parametrize("failure", LOST, ids=str)
@pytest.mark.parametrize("after", [False, True])
def test_a_lost_answer_is_never_a_second_application(
    meddler: tuple[Table, Meddler], hasty: None, failure: Exception, after: bool
) -> None:
    """Whether the request was carried out or not, and for each kind of operation."""
    table, client = meddler
    history = table.open()
    history.add_messages(humans("a"))
    assert texts(history) == ["a"]
    failing(client, failure, times=1, method="update_item", after=after)
    history.add_messages(humans("b"))
    failing(client, failure, times=1, method="get_item", after=after)
    assert texts(history) == ["a", "b"]
    failing(client, failure, times=1, method="batch_write_item", after=after)
    history.add_messages(humans("x" * 20_000))
    assert [text[0] for text in texts(history)] == ["a", "b", "x"]
    failing(client, failure, times=1, method="update_item", after=after)
    history.messages = humans("c")
    assert texts(history) == ["c"]
    failing(client, failure, times=1, method="delete_item", after=after)
    history.clear()
    assert (texts(history), table.items()) == ([], [])


def test_a_connection_that_stays_lost_is_raised_as_such(meddler: tuple[Table, Meddler], hasty: None) -> None:
    """The error says that nobody knows; where nothing was sent, it doesn't."""
    table, client = meddler
    failing(client, ConnectionClosedError(endpoint_url=URL), times=1_000)
    for call in (
        lambda: table.open().add_messages(humans("a")),
        lambda: setattr(table.open(), "messages", humans("a")),
    ):
        with pytest.raises(StoreError, match=r"session 's'"):
            call()
    failing(client, ConnectionClosedError(endpoint_url=URL), times=1_000, method="update_item", after=True)
    with pytest.raises(StoreError, match="whether it was carried out is not known, so read before trying again"):
        table.open().add_messages(humans("a"))
    failing(client, ConnectTimeoutError(endpoint_url=URL), times=1_000)
    with pytest.raises(StoreError) as raised:
        table.open().add_messages(humans("a"))
    assert "not known" not in str(raised.value)


OPERATIONS: dict[str, Callable[[DynamoDBChatMessageHistory], object]] = {
    "add": lambda history: history.add_messages(humans("b")),
    "assignment": lambda history: setattr(history, "messages", humans("b")),
    "assignment of nothing": lambda history: setattr(history, "messages", []),
    "clear": lambda history: history.clear(),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("then", [ConnectTimeoutError(endpoint_url=URL), error("AccessDeniedException")], ids=str)
def test_what_was_done_is_never_denied_when_its_answer_was_lost(
    meddler: tuple[Table, Meddler], hasty: None, name: str, then: Exception
) -> None:
    """Whatever keeps the further tries from finding out, the error says that nobody knows."""
    table, client = meddler
    history = table.open()
    history.add_messages(humans("a"))

    def lose(method: str, _arguments: dict[str, Any], _answer: Any) -> None:
        if method in ("update_item", "delete_item"):
            failing(client, then, times=1_000)
            raise ConnectionClosedError(endpoint_url=URL)

    client.after = lose
    with pytest.raises(StoreError, match="not known"):
        OPERATIONS[name](history)
    client.before = lambda _method, _arguments: None
    assert texts(history) == {"add": ["a", "b"], "assignment": ["b"]}.get(name, [])


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_was_never_sent_is_a_plain_failure(meddler: tuple[Table, Meddler], hasty: None, name: str) -> None:
    """Then nobody needs to read before trying again."""
    table, client = meddler
    history = table.open()
    history.add_messages(humans("a"))
    failing(client, ConnectTimeoutError(endpoint_url=URL), times=1_000)
    with pytest.raises(StoreError) as raised:
        OPERATIONS[name](history)
    assert "not known" not in str(raised.value)
    client.before = lambda _method, _arguments: None
    assert texts(history) == ["a"]


@pytest.mark.parametrize("is_known", [True, False])
def test_an_add_that_may_have_been_cleared_is_not_added_again(
    meddler: tuple[Table, Meddler], hasty: None, is_known: bool
) -> None:
    """It was there, its answer was lost, and somebody cleared the session: that it comes back nobody wants."""
    table, client = meddler
    history = table.open()
    history.add_messages(humans("a"))
    if is_known:
        assert texts(history) == ["a"]

    def lose(method: str, _arguments: dict[str, Any], _answer: Any) -> None:
        client.after = lambda _method, _arguments, _answer: None
        table.open().clear()
        table.open().add_messages(humans("c"))
        raise ConnectionClosedError(endpoint_url=URL)

    client.after = lose
    with pytest.raises(StoreError, match="not known"):
        history.add_messages(humans("b"))
    assert texts(history) == ["c"]


def test_a_clear_whose_answer_was_lost_takes_nothing_that_came_after(
    meddler: tuple[Table, Meddler], hasty: None
) -> None:
    """Its second try is for the epoch that it looked at, and no other."""
    table, client = meddler
    history = table.open()
    history.add_messages(humans("a"))

    def lose(method: str, _arguments: dict[str, Any], _answer: Any) -> None:
        if method == "delete_item":
            client.after = lambda _method, _arguments, _answer: None
            table.open().add_messages(humans("b"))
            raise ConnectionClosedError(endpoint_url=URL)

    client.after = lose
    history.clear()
    assert texts(history) == ["b"]


def test_portions_that_were_not_processed_are_asked_for_again(
    meddler: tuple[Table, Meddler], small: None, hasty: None
) -> None:
    """A server carries out what it can, and names the rest."""
    table, client = meddler
    history = table.open()

    def leave_some(method: str, arguments: dict[str, Any], answer: Any) -> Any:
        if method == "batch_get_item" and len(answer["Responses"][table.name]) > 1:
            left = answer["Responses"][table.name].pop()
            keys = [{"SessionId": left["SessionId"]}]
            return {**answer, "UnprocessedKeys": {table.name: {"Keys": keys, "ConsistentRead": True}}}
        return None

    client.after = leave_some
    for number in range(40):
        history.add_messages(humans(str(number)))
    assert texts(history) == [str(number) for number in range(40)]
    nothing_done = iter(range(3))

    def process_nothing(method: str, arguments: dict[str, Any], answer: Any) -> Any:
        if method == "batch_write_item" and next(nothing_done, None) is not None:
            return {**answer, "UnprocessedItems": arguments["RequestItems"]}
        return None

    client.after = process_nothing
    history.add_messages(humans("x" * 2_000))
    client.after = lambda _method, _arguments, _answer: {"UnprocessedItems": _arguments.get("RequestItems", {})}
    with pytest.raises(StoreError, match="throughput"):
        history.add_messages(humans("y" * 2_000))
    client.after = lambda _method, _arguments, _answer: None
    assert texts(history)[-1] == "x" * 2_000


def test_a_final_error_is_raised_at_once_and_leaves_no_chunk(meddler: tuple[Table, Meddler]) -> None:
    """What was written for a batch that was not stored is removed."""
    table, client = meddler
    failing(client, error("ValidationException"), times=1, method="update_item")
    with pytest.raises(StoreError, match="ValidationException"):
        table.open().add_messages(humans("x" * 20_000))
    assert table.items() == []
    assert client.methods == ["batch_write_item", "update_item", "batch_write_item"]


SECRETS = "AKIATESTTESTTEST", "not-a-secret-but-never-to-be-shown"


def test_errors_carry_no_credentials(meddler: tuple[Table, Meddler]) -> None:
    """Not those of the session, not those of a URL, not the signed request that DynamoDB sends back."""
    table, client = meddler
    message = f"The signature of {SECRETS[0]} does not match\n\nCanonical: {SECRETS[1]} x-amz-security-token:abc"
    failure = ClientError({"Error": {"Code": "InvalidSignatureException", "Message": message}}, "GetItem")
    failing(client, failure, times=1)
    with pytest.raises(StoreError, match="InvalidSignatureException") as raised:
        _ = table.open().messages
    assert not any(secret in str(raised.value) for secret in (*SECRETS, "security-token"))
    assert raised.value.__cause__ is None
    with pytest.raises(ValueError, match="neither user name nor password") as refused:
        DynamoDBChatMessageHistory("table", "s", "http://user:hidden@127.0.0.1:1")
    assert "hidden" not in str(refused.value)
    proxy = ProxyConnectionError(proxy_url="http://user:hidden@proxy:1", error=OSError())
    failing(client, proxy, times=1_000)
    with pytest.raises(StoreError, match="proxy:1") as raised:
        _ = table.open().messages
    assert "hidden" not in f"{raised.value!r} {raised.value.__cause__!r}"


def test_a_missing_table_and_a_wrong_key_say_what_to_do(table: Table) -> None:
    """In one line, with the session."""
    missing = Table("no-such-table", table.url, table.session)
    calls = [
        lambda: missing.open().messages,
        lambda: missing.open().add_messages(humans("a")),
        lambda: missing.open().clear(),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"session 's'.*create_table"):
            call()
    with pytest.raises(StoreError, match="primary_key_name"):
        _ = table.open(primary_key_name="Other").messages


# Answers that are cut off on their way.


@pytest.fixture
def cut(table: Table, hasty: None) -> Iterator[tuple[Table, Cutter]]:
    """The table as it is reached through a proxy that cuts answers off, with two messages in its session."""
    table.open().add_messages(humans("a", "b"))
    with cutter_before(table.url) as cutter:
        yield Table(table.name, cutter.url, session(next(_SESSIONS))), cutter


_SESSIONS = itertools.count(1_000)


class Caller:
    """Calls operations in their sync or their async form, all of these in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop

    def __call__(self, history: DynamoDBChatMessageHistory, operation: str) -> Any:
        """What an operation returns, or the error that it raises."""
        calls: dict[str, Any] = {
            "read": (history.aget_messages, lambda: history.messages),
            "clear": (history.aclear, history.clear),
            "add": (lambda: history.aadd_messages(humans("c")), lambda: history.add_messages(humans("c"))),
        }
        in_loop, at_once = calls[operation]
        try:
            return self._loop.run_until_complete(in_loop()) if self._loop is not None else at_once()
        except StoreError as failure:
            return failure


@pytest.fixture(params=["sync", "async"])
def called(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """Each form."""
    if request.param == "sync":
        yield Caller(None)
        return
    loop = asyncio.new_event_loop()
    yield Caller(loop)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_an_answer_that_is_cut_off_anywhere_is_never_an_empty_history(
    cut: tuple[Table, Cutter], called: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each byte of status line and headers, the last included, and after some of the body."""
    table, cutter = cut
    history = table.open()
    assert len(called(history, "read")) == 2
    monkeypatch.setitem(_failures._TRIES, "lost", (1, 0.0))
    ends = [*range(cutter.head + 1), cutter.head + 20, cutter.length - 1]
    for keep in ends:
        cutter.cut(keep, "GetItem")
        assert isinstance(called(history, "read"), StoreError), keep
    cutter.cut(None)
    assert len(called(history, "read")) == 2


def moments(cutter: Cutter) -> list[int]:
    """Before anything, in the status line, around length and checksum, at the end of the headers, in the body."""
    return [0, 9, cutter.head // 2, *range(cutter.head - 40, cutter.head + 1, 4), cutter.length - 1]


def test_reads_clears_and_adds_try_again_after_an_answer_that_was_cut_off(
    cut: tuple[Table, Cutter], called: Caller
) -> None:
    """Each once and no more, whichever answer it was."""
    table, cutter = cut
    history = table.open()
    assert texts(history) == ["a", "b"]
    for keep in moments(cutter):
        cutter.cut(keep, "GetItem", times=1)
        assert [message.content for message in called(history, "read")] == ["a", "b"]
        cutter.cut(keep, "UpdateItem", times=1)
        assert called(history, "add") is None
        assert texts(history) == ["a", "b", "c"]
        for operation in ("GetItem", "DeleteItem"):
            history.messages = humans("a", "b")
            cutter.cut(keep, operation, times=1)
            assert called(history, "clear") is None
            assert texts(history) == []
        history.messages = humans("a", "b")


def test_where_every_answer_is_cut_off_nothing_returns_as_if_it_were_done(
    cut: tuple[Table, Cutter], called: Caller
) -> None:
    """A clear whose look is cut off must not take it for a session that holds nothing."""
    table, cutter = cut
    history = table.open()
    assert texts(history) == ["a", "b"]
    for keep in moments(cutter):
        cutter.cut(keep)
        assert isinstance(called(history, "clear"), StoreError), keep
        cutter.cut(None)
        assert texts(history) == ["a", "b"]
    cutter.cut(cutter.head)
    failure = called(history, "add")
    assert "whether it was carried out is not known" in str(failure)
    cutter.cut(None)
    assert texts(history) == ["a", "b", "c"]


def test_a_client_whose_answers_tell_no_length_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a test by `mock_aws`, say, which answers in place of the network."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with moto.mock_aws():
        own = boto3.Session(region_name="us-east-1")
        create_table("mocked", boto3_session=own)
        history = DynamoDBChatMessageHistory("mocked", "s", boto3_session=own, native_async=False)
        history.add_messages(humans("a", "x" * 20_000))
        assert len(history.messages) == 2
        history.clear()
        assert history.messages == []


# Tables.


def test_a_table_is_made_once(table: Table) -> None:
    """Again changes nothing, and another key is an error."""
    create_table(table.name, endpoint_url=table.url, boto3_session=table.session)
    description = table.client.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]
    assert description == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expireAt"}
    billing = table.client.describe_table(TableName=table.name)["Table"]["BillingModeSummary"]["BillingMode"]
    assert billing == "PAY_PER_REQUEST"
    with pytest.raises(StoreError, match="with the key"):
        create_table(table.name, primary_key_name="Id", endpoint_url=table.url, boto3_session=table.session)
    with pytest.raises(StoreError, match="time to live"):
        create_table(table.name, ttl_key_name="until", endpoint_url=table.url, boto3_session=table.session)
    with pytest.raises(ValueError, match="table_name"):
        create_table("a b")


@pytest.mark.parametrize("sort_key_name", [None, "ChatId"])
def test_orphans_are_found_and_nothing_else(small: None, sort_key_name: str | None) -> None:
    """Chunks of dead writers go; chunks that a session names, and young ones, stay."""
    keys: dict[str, Any] = {"sort_key_name": sort_key_name} if sort_key_name else {}
    table = new_table(**keys)
    options: dict[str, Any] = {"key": {"SessionId": "u", "ChatId": "c"}} if sort_key_name else {}
    about = {"endpoint_url": table.url, "boto3_session": table.session, **keys}
    with meddled(table) as (own, client):
        history = own.open(**options)
        for number in range(20):
            history.add_messages(humans(str(number), "x" * 700))
        named = len(table.items())
        client.before = lambda method, _: _die() if method == "update_item" else None
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                own.open(**options).add_messages(humans("y" * 700))
    assert len(table.items()) > named
    assert remove_orphans(table.name, **about) == 0
    assert remove_orphans(table.name, older_than=-5, **about) == len(table.items()) - named + 6
    assert len(table.items()) == named
    assert len(table.open(**options).messages) == 40


def _die() -> None:
    raise KeyboardInterrupt


# Threads and processes.


def test_many_threads_lose_nothing_while_segments_are_made(small: None) -> None:
    """On the server that carries out many requests at once, if it is there; else on the other."""
    table = new_table()
    handles = [table.open() for _ in range(12)]

    def work(number: int) -> None:
        for step in range(15):
            handles[number].add_messages(humans(f"{number}-{step}-0", f"{number}-{step}-1"))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    found = texts(table.open())
    assert len(found) == len(set(found)) == 12 * 15 * 2
    assert all(first[:-1] == second[:-1] for first, second in zip(found[::2], found[1::2], strict=True))
    for number in range(12):
        steps = [int(text.split("-")[1]) for text in found[::2] if text.startswith(f"{number}-")]
        assert steps == sorted(steps)
    table.open().clear()
    assert table.items() == []


def test_clients_are_shared_and_made_by_many_threads_at_once(table: Table) -> None:
    """A client takes long to make, and a boto3 session must not be used by many threads."""
    own = session(-1)
    start = threading.Barrier(8)

    def first(number: int) -> Any:
        start.wait()
        history = table.open(boto3_session=own)
        history.add_user_message(str(number))
        return history

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(first, range(8)))
    assert sorted(texts(table.open())) == [str(number) for number in range(8)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_connections_of_its_own(table: Table) -> None:
    """A handle of the parent works in the child, and goes on working in the parent."""
    history = table.open()
    history.add_user_message("parent")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            history.add_user_message("child")
            os.write(writer, json.dumps(texts(history)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert json.loads(answer.read()) == ["parent", "child"]
    os.waitpid(child, 0)
    history.add_user_message("parent again")
    assert texts(history) == ["parent", "child", "parent again"]
