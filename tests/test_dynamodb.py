"""The DynamoDB history on real servers: drop-in arguments, sessions, sizes, bounds, expiry and what is left behind."""

from __future__ import annotations

import subprocess
import sys
import warnings
from enum import Enum
from typing import Any

import boto3
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from tests.dynamodb_tables import SERVERS, Table, humans, meddled, new_table, texts

from chathistory.adapters.dynamodb import DynamoDBChatMessageHistory, _attempts, _batch, _chunks, _head
from chathistory.adapters.dynamodb._log import inline
from chathistory.reference import (
    DamagedMessageError,
    NotAMessageError,
    StoreError,
    UnstorableValueError,
    encode_batch,
    same_value,
)


@pytest.fixture
def table() -> Table:
    """An empty table on moto's server."""
    return new_table()


@pytest.fixture(params=SERVERS)
def any_table(request: pytest.FixtureRequest) -> Table:
    """An empty table on each kind of server."""
    return new_table(request.param)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few messages, and chunks of some more."""
    for module in (_head, _attempts):
        monkeypatch.setattr(module, "SEGMENT_BYTES", 700)
    monkeypatch.setattr(_batch, "INLINE_BYTES", 600)
    monkeypatch.setattr(_chunks, "PIECE_BYTES", 500)


# The calls.


def test_what_is_added_is_read_by_another_handle(any_table: Table) -> None:
    """In order, by every way of adding, and gone after a clear."""
    history = any_table.open()
    assert history.messages == []
    history.add_user_message("a")
    history.add_ai_message(AIMessage("b"))
    history.add_messages(message for message in humans("c", "d"))
    assert [type(message) for message in any_table.open().messages] == [HumanMessage, AIMessage] + [HumanMessage] * 2
    assert texts(any_table.open()) == ["a", "b", "c", "d"]
    history.clear()
    assert texts(any_table.open()) == []


def test_assigning_to_messages_replaces_the_session(any_table: Table) -> None:
    """Whatever it was made of, nothing of it is left."""
    history = any_table.open()
    history.messages = humans("a")
    history.messages = humans("b", "c")
    assert texts(history) == ["b", "c"]
    history.add_messages([HumanMessage("x" * 400_000), *humans("d")])
    history.messages = humans("e")
    assert (texts(history), len(any_table.items())) == (["e"], 1)
    history.messages = []
    assert (texts(history), any_table.items()) == ([], [])


def test_what_is_refused_leaves_the_session_as_it_was(table: Table) -> None:
    """Before anything is sent."""
    with meddled(table) as (own, meddler):
        history = own.open()
        with pytest.raises(NotAMessageError, match="session 's'"):
            history.add_messages([*humans("a"), None])  # type: ignore[list-item]
        with pytest.raises(UnstorableValueError, match=r"session 's'.*nan"):
            history.add_messages([*humans("a"), HumanMessage("b", additional_kwargs={"x": float("nan")})])
        with pytest.raises(NotAMessageError):
            history.messages = [None]  # type: ignore[list-item]
        history.add_messages([])
        assert meddler.calls == []


def test_every_value_comes_back_exactly(any_table: Table) -> None:
    """Also what DynamoDB itself refuses or changes: floats, more than 38 digits, empty texts, NUL, key order."""
    value = {
        "z": 1.0,
        "a": [0.1, -0.0, 1e300, 10**60, -(10**38) - 1, True, None],
        "": "",
        "text": "a\0b\ud800\u00e9\U0001f600\r\n",
        "N": {"N": "1"},
        ":h": {"#k": {}},
    }
    message = AIMessage("", additional_kwargs=value, tool_calls=[{"name": "f", "args": {"b": 1.5, "a": 2}, "id": "1"}])
    history = any_table.open(coerce_float_to_decimal=True)
    history.add_messages([message])
    [found] = history.messages
    assert same_value(found, message)
    assert list(found.additional_kwargs) == list(value)


# Requests: how many, and how large.


def test_an_add_is_one_request(table: Table) -> None:
    """A read of it one as well; a read past the head takes two, and three where a batch was large."""
    with meddled(table) as (own, meddler):
        history = own.open()
        history.add_messages(humans(*map(str, range(50))))
        assert meddler.methods == ["update_item"]
        meddler.calls.clear()
        assert len(history.messages) == 50
        assert meddler.methods == ["get_item"]
        for _ in range(20):
            history.add_messages(humans("x" * 3_000))
        meddler.calls.clear()
        assert len(history.messages) == 70
        assert meddler.methods == ["get_item", "batch_get_item"]
        history.add_messages(humans("x" * 300_000))
        meddler.calls.clear()
        assert len(history.messages) == 71
        assert meddler.methods == ["get_item", "batch_get_item", "batch_get_item"]


def test_the_head_stays_small_however_long_the_history_is(table: Table) -> None:
    """DynamoDB charges an add by the size of the item: two segments at most, and 25 bytes for each of the older."""
    history = table.open()
    for number in range(300):
        history.add_messages(humans(f"{number} " + "x" * 1_000))
    head = table.head()
    assert sum(len(text["S"]) for text in head["History/tail"]["L"]) < 2 * _head.SEGMENT_BYTES
    assert sum(len(text["S"]) for text in head["History/segments"]["L"]) < 25 * 30
    assert len(table.chunks()) < 30
    assert [text.split()[0] for text in texts(history)] == [str(number) for number in range(300)]


def test_expressions_are_short_and_hold_no_value(table: Table, small: None) -> None:
    """DynamoDB refuses more than 4 KB; and what users say stands in none of them."""
    with meddled(table) as (own, meddler):
        history = own.open("a = :b", history_size=5, ttl=60, history_messages_key="REMOVE x", ttl_key_name=") OR (#a")
        for number in range(30):
            history.add_messages(humans(f"SET #a = :b {number}"))
        history.messages = humans("x")
        history.clear()
        for _, arguments in meddler.calls:
            for name in ("UpdateExpression", "ConditionExpression"):
                expression = arguments.get(name, "")
                assert len(expression.encode()) < 4096
                assert "x" not in expression.replace("exists", "").replace("expiry", "")


@pytest.mark.parametrize("bound", [None, 1_000])
def test_a_long_history_of_many_chunks(any_table: Table, small: None, bound: int | None) -> None:
    """More than the 100 items that are read at once, and the 25 that are deleted at once."""
    history = any_table.open(history_size=bound)
    for number in range(0, 600, 3):
        history.add_messages(humans(str(number), str(number + 1), "x" * 500 + str(number + 2)))
    assert [int(text.strip("x")) for text in texts(history)] == list(range(600))
    assert len(any_table.items()) > 200
    history.clear()
    assert any_table.items() == []


def test_a_batch_of_thousands_and_of_megabytes(any_table: Table) -> None:
    """An item has 400 KB at most, and one answer 16 MB."""
    history = any_table.open()
    many = humans(*map(str, range(3_000)))
    large = humans(*(f"{number}" + "x" * 1_000_000 for number in range(4)), "x" * 1_048_576)
    history.add_messages(many)
    history.add_messages(large)
    history.add_messages(humans("last"))
    assert history.messages == [*many, *large, *humans("last")]
    history.clear()
    assert any_table.items() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embedded", "ministack"])
def test_more_than_one_answer_can_hold(kind: str) -> None:
    """18 MB come back in several answers, whichever keys the server leaves for the next."""
    table = new_table(kind)
    history = table.open()
    history.add_messages(humans("x" * 18_000_000, "y"))
    assert [len(text) for text in texts(history)] == [18_000_000, 1]


@pytest.mark.parametrize("over", [0, 1])
def test_both_sides_of_the_largest_batch_in_the_head(table: Table, over: int) -> None:
    """The last that is written into the head, and the first that is not."""
    history = table.open()
    [empty] = encode_batch(humans(""), "s")
    filling = _batch.INLINE_BYTES - len(inline(f"[{empty}]", None)) + over
    history.add_messages(humans("x" * filling))
    assert len(table.chunks()) == over
    assert texts(history) == ["x" * filling]


# Sessions, keys and names.

SESSION_IDS = [
    *("", " ", "a", "A", "a ", "1", "01", "%", "*", "a\0b", "a\0c", "\n", "\u00e9", "e\u0301", "\ud800", "\udfff"),
    *("x" * 2048, "x" * 2049, "x" * 2047 + "y", "x" * 4096, "\u00e9" * 1024, "\u00e9" * 1025, "\ufeff", "?1", ":a"),
    *("__chathistory__/", "__chathistory__/chunk/x", "__chathistory__/session/" + "0" * 64, "#key", "SessionId"),
]


def test_session_ids_are_compared_exactly(any_table: Table) -> None:
    """Empty, too long for a key, no Unicode, or like the keys of chunks: each is a session of its own."""
    for session_id in SESSION_IDS:
        any_table.open(session_id).add_messages([HumanMessage("x", name=repr(session_id))])
    for number, session_id in enumerate(SESSION_IDS):
        assert [message.name for message in any_table.open(session_id).messages] == [repr(session_id)]
        any_table.open(session_id).clear()
        left = [len(any_table.open(each).messages) for each in SESSION_IDS]
        assert left == [int(index > number) for index in range(len(SESSION_IDS))]
    assert any_table.items() == []


def test_the_key_is_the_one_of_the_old_class(table: Table) -> None:
    """Tables, policies and tools that know the session's item still find it."""
    table.open("session-1").add_user_message("a")
    [item] = table.items()
    assert item["SessionId"] == {"S": "session-1"}


def test_the_text_of_an_enumeration_is_taken(table: Table) -> None:
    """As DynamoDB would take it."""

    class Session(str, Enum):
        ONE = "one"

    table.open(Session.ONE).add_user_message("a")
    assert texts(table.open("one")) == ["a"]


NAMES = ["a b", "ä", "size", "#a", ":a", "a.b", "a[0]", "'", '"', "= :x", "\n", "\0", "0"]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_attribute_names_work_exactly(table: Table, small: None, name: str) -> None:
    """Names never stand in an expression."""
    history = table.open(history_messages_key=name, ttl_key_name=f"{name}!", ttl=1_000, history_size=9)
    other = table.open("other")
    other.add_user_message("other")
    for number in range(40):
        history.add_messages(humans(str(number)))
    assert texts(history) == [str(number) for number in range(31, 40)]
    assert f"{name}!" in table.head()
    history.clear()
    assert (texts(history), texts(other)) == ([], ["other"])


@pytest.mark.parametrize("kind", SERVERS)
def test_a_table_with_a_sort_key_is_opened_by_the_whole_key(kind: str) -> None:
    """Chunks stay in the partition of their session, where a policy for one user lets that user reach them."""
    table = new_table(kind, primary_key_name="UserId", sort_key_name="ChatId")
    keys: list[dict[str, Any]] = [{"UserId": "u", "ChatId": "1"}, {"UserId": "u", "ChatId": "01"}]
    keys.append({"UserId": "v", "ChatId": "1"})
    for number, key in enumerate(keys):
        history = table.open("any", key=key)
        history.add_messages(humans(str(number), "x" * 300_000))
    assert [texts(table.open("other", key=key))[0] for key in keys] == ["0", "1", "2"]
    assert sorted({item["UserId"]["S"] for item in table.items()}) == ["u", "v"]
    for key in keys:
        table.open(key=key).clear()
    assert table.items() == []


def test_keys_may_hold_numbers_and_bytes() -> None:
    """As long as one part is a text, of which the chunks get another."""
    table = new_table()
    client = table.client
    client.create_table(
        TableName=f"{table.name}-n",
        KeySchema=[{"AttributeName": "User", "KeyType": "HASH"}, {"AttributeName": "Chat", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "User", "AttributeType": "S"},
            {"AttributeName": "Chat", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    table = Table(f"{table.name}-n", table.url, table.session)
    for chat in (1, 2):
        table.open(key={"User": "u", "Chat": chat}).add_messages(humans(str(chat), "x" * 300_000))
    assert [texts(table.open(key={"User": "u", "Chat": chat}))[0] for chat in (1, 2)] == ["1", "2"]


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"table_name": "ab"}, ValueError, "3 to 255"),
    ({"table_name": "a b c"}, ValueError, "table_name"),
    ({"table_name": "x" * 256}, ValueError, "table_name"),
    ({"table_name": "abc\n"}, ValueError, "table_name"),
    ({"table_name": None}, TypeError, "table_name must be a str"),
    ({"session_id": 1}, TypeError, "session_id must be a str, got int"),
    ({"endpoint_url": 1}, TypeError, "endpoint_url"),
    ({"primary_key_name": ""}, ValueError, "primary_key_name"),
    ({"primary_key_name": "History"}, ValueError, "two meanings"),
    ({"ttl_key_name": "SessionId"}, ValueError, "two meanings"),
    ({"ttl_key_name": "History/tail"}, ValueError, "two meanings"),
    ({"ttl_key_name": "\ud800"}, ValueError, "ttl_key_name"),
    ({"history_messages_key": None}, TypeError, "history_messages_key"),
    ({"history_messages_key": "x" * 201}, ValueError, "history_messages_key"),
    ({"kms_key_id": "alias/x"}, ValueError, "encrypt the table"),
    ({"ttl": 0}, ValueError, "more than 0"),
    ({"ttl": float("nan")}, ValueError, "ttl"),
    ({"ttl": True}, TypeError, "ttl"),
    ({"history_size": 0}, ValueError, "at least 1"),
    ({"history_size": 1.0}, TypeError, "history_size"),
    ({"boto3_session": object()}, TypeError, "boto3_session must be"),
    ({"key": ["a"]}, TypeError, "key must be a dict"),
    ({"key": {"a": "1", "b": "2", "c": "3"}}, ValueError, "partition key"),
    ({"key": {"a": 1}}, ValueError, "must be a str"),
    ({"key": {"a": ""}}, ValueError, "empty"),
    ({"key": {"a": "__chathistory__/x"}}, ValueError, "reserved"),
    ({"key": {"a": "x", "b": 1.5}}, TypeError, "'b' must be"),
    ({"key": {"a": "x", "b": True}}, TypeError, "'b' must be"),
]


@pytest.mark.parametrize(("arguments", "kind", "words"), BAD)
def test_what_cannot_be_honoured_is_refused_at_once(
    arguments: dict[str, Any], kind: type[Exception], words: str
) -> None:
    """Before a client is made, with a line that names the argument."""
    with pytest.raises(kind, match=words):
        DynamoDBChatMessageHistory(**{"table_name": "table", "session_id": "s", **arguments})


def test_names_at_their_limits_are_taken() -> None:
    """The other side of what is refused."""
    for name in ("abc", "x" * 255, "a-b_c.D9"):
        assert DynamoDBChatMessageHistory(name, "s").session_id == "s"


def test_the_public_surface_of_the_old_class_is_there(table: Table) -> None:
    """Its arguments by position, and its attributes."""
    history = DynamoDBChatMessageHistory(
        table.name, "s", table.url, "SessionId", None, table.session, None, 60, "until", 10, "Chat"
    )
    history.add_user_message("a")
    assert (history.session_id, history.key) == ("s", {"SessionId": "s"})
    assert (history.ttl, history.ttl_key_name) == (60, "until")
    assert (history.history_size, history.history_messages_key) == (10, "Chat")
    assert history.coerce_float_to_decimal is False
    assert history.table.item_count is not None
    assert repr(history) == f"DynamoDBChatMessageHistory(table_name={table.name!r}, session_id='s')"


def test_ttl_bound_and_key_can_be_assigned_and_hold_from_the_next_call_on(table: Table) -> None:
    """As in the old class; what can't be honoured is refused, and changes nothing."""
    history = table.open()
    history.add_messages(humans("a", "b", "c"))
    history.history_size, history.ttl = 2, 1_000
    history.add_messages(humans("d"))
    assert texts(history) == ["c", "d"]
    assert "expireAt" in table.head()
    history.key = {"SessionId": "other"}
    assert (history.key, texts(history)) == ({"SessionId": "other"}, [])
    history.add_messages(humans("e"))
    assert (texts(table.open("other")), texts(table.open())) == (["e"], ["c", "d"])
    bad = [("history_size", 0, "at least 1"), ("ttl", -1, "more than 0"), ("key", {}, "partition key")]
    for name, value, words in (*bad, ("key", {"expireAt": "x"}, "two meanings")):
        with pytest.raises(ValueError, match=words):
            setattr(history, name, value)
    assert (history.history_size, history.ttl, history.key) == (2, 1_000, {"SessionId": "other"})
    history.history_size = history.ttl = None
    history.add_messages(humans("f", "g"))
    assert texts(history) == ["e", "f", "g"]
    assert "expireAt" not in table.head("other")
    with pytest.raises(AttributeError):
        history.session_id = "t"  # type: ignore[misc]


def test_opening_a_handle_needs_neither_region_nor_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call does, and says how to give them."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    history = DynamoDBChatMessageHistory("table", "s", boto3_session=boto3.Session())
    with pytest.raises(StoreError, match=r"session 's'.*region.*boto3_session"):
        history.add_user_message("a")


def test_the_class_warns_of_nothing_and_pulls_in_no_suite(table: Table) -> None:
    """What users import is the driver and langchain-core."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table.open().add_user_message("a")
    code = (
        "import sys, chathistory.adapters.dynamodb; "
        "assert not {'hypothesis', 'pytest', 'click', 'rich', 'moto'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)  # noqa: S603 -- our own command


# Bounds and expiry.


class Clock:
    """A time that tests move on."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.25

    def __call__(self) -> float:
        """The time in seconds since 1970."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock of the test."""
    return Clock()


def test_a_bound_keeps_the_last_messages_and_little_else(any_table: Table) -> None:
    """What is no longer in it leaves the table, too."""
    history = any_table.open(history_size=10)
    for number in range(400):
        history.add_messages(humans(f"{number} " + "x" * 500))
    assert [text.split()[0] for text in texts(any_table.open())] == [str(number) for number in range(390, 400)]
    assert len(any_table.items()) <= 2
    history.add_messages(humans(*(f"{number} " + "x" * 5_000 for number in range(400, 450))))
    assert [text.split()[0] for text in texts(history)] == [str(number) for number in range(440, 450)]


def test_a_bound_larger_than_the_history_costs_nothing(table: Table, small: None) -> None:
    """Segments are written anew only once half of what is stored is gone."""
    with meddled(table) as (own, meddler):
        history = own.open(history_size=1_000)
        for number in range(60):
            history.add_messages(humans(str(number)))
        assert "batch_get_item" not in meddler.methods


def test_a_bound_holds_from_the_add_on_that_has_it(table: Table) -> None:
    """As in the old class: other handles read what is left, and go on without a bound."""
    table.open().add_messages(humans("a", "b", "c"))
    table.open(history_size=2).add_messages(humans("d"))
    table.open().add_messages(humans("e", "f"))
    assert texts(table.open(history_size=2)) == ["c", "d", "e", "f"]
    table.open(history_size=1).messages = humans("g", "h")
    assert texts(table.open()) == ["h"]


def test_a_session_expires_by_the_clock_and_not_when_dynamodb_deletes_it(table: Table, clock: Clock) -> None:
    """DynamoDB may take days; to the second, rounded up."""
    history = table.open(ttl=10, _clock=clock)
    history.add_user_message("a")
    assert table.head()["expireAt"] == {"N": "1700000011"}
    clock.now += 9.75
    assert texts(history) == ["a"]
    clock.now += 1
    assert (texts(history), texts(table.open(_clock=clock))) == ([], [])
    history.add_user_message("b")
    assert texts(history) == ["b"]


def test_each_add_renews_the_ttl_and_one_without_ends_it(table: Table, clock: Clock) -> None:
    """Reads do neither."""
    history = table.open(ttl=10, _clock=clock)
    for number in range(5):
        history.add_user_message(str(number))
        clock.now += 8
    assert len(texts(history)) == 5
    table.open(_clock=clock).add_user_message("for ever")
    clock.now += 1e9
    assert len(texts(history)) == 6
    assert "expireAt" not in table.head()


def test_chunks_never_expire_before_their_session(any_table: Table, small: None, clock: Clock) -> None:
    """They are renewed once a day, or once in a ttl, and DynamoDB deletes them some time after the session."""
    for ttl in (5 * 3600, 30 * 24 * 3600):
        session_id = f"s{ttl}"
        history = any_table.open(session_id, ttl=ttl, _clock=clock)
        renewed = set()
        for number in range(24):
            history.add_messages(humans(str(number), "x" * 700))
            clock.now += 0.9 * ttl
            session_ends = int(any_table.head(session_id)["expireAt"]["N"])
            ends = [int(item["expireAt"]["N"]) for item in any_table.chunks()]
            renewed.add(min(ends))
            assert min(ends) >= session_ends
            assert max(ends) <= session_ends + max(ttl, 24 * 3600)
        assert len(history.messages) == 48
        assert len(renewed) < 20
        history.clear()


def test_a_shorter_ttl_beside_a_longer_one_costs_no_chunk(table: Table, small: None, clock: Clock) -> None:
    """Handles may differ; what counts is the last add."""
    day = 24 * 3600
    for number, ttl in enumerate([60, 400 * day, 60, None, 3 * day, None, 60] * 3):
        history = table.open(ttl=ttl, _clock=clock)
        history.add_messages(humans(str(number), "x" * 700))
        clock.now += 30
        ends = [int(item["expireAt"]["N"]) for item in table.chunks() if "expireAt" in item]
        session_ends = int(table.head()["expireAt"]["N"]) if ttl else None
        assert ends == [] or (session_ends is not None and min(ends) >= session_ends)
        assert len(history.messages) == 2 * (number + 1)


def test_what_expired_is_removed_by_the_next_add(table: Table, small: None, clock: Clock) -> None:
    """With its chunks, should DynamoDB not have come by."""
    history = table.open(ttl=10, _clock=clock)
    for number in range(20):
        history.add_messages(humans(str(number), "x" * 700))
    clock.now += 20
    history.add_messages(humans("new"))
    assert (texts(history), len(table.items())) == (["new"], 1)


# Damage.


def test_damage_is_named_and_can_be_cleared(table: Table) -> None:
    """A session is never unreadable for good."""
    entries = ['{"messages": [{"type": "odd", "data": {}}]}', "no JSON", '{"messages": 5}', "[]"]
    entries += [f'{{"messages": [], "keep": {keep}}}' for keep in ('"x"', "null", "[1]", "-1", "true")]
    entries += [f'{{"chunk": "x", "pieces": 1, {rest}}}' for rest in ('"count": "y"', '"count": 1, "cut": "z"')]
    for entry in entries:
        history = table.open()
        history.add_user_message("a")
        table.client.update_item(
            TableName=table.name,
            Key={"SessionId": {"S": "s"}},
            UpdateExpression="SET #tail[1] = :entry",
            ExpressionAttributeNames={"#tail": "History/tail"},
            ExpressionAttributeValues={":entry": {"S": entry}},
        )
        with pytest.raises(DamagedMessageError, match="session 's'"):
            _ = history.messages
        history.clear()
        assert texts(history) == []


def test_a_log_that_ends_with_a_token_is_named_as_damaged(table: Table) -> None:
    """Tokens and entries stand in turn."""
    history = table.open()
    history.add_user_message("a")
    table.client.update_item(
        TableName=table.name,
        Key={"SessionId": {"S": "s"}},
        UpdateExpression="SET #tail = :tail",
        ExpressionAttributeNames={"#tail": "History/tail"},
        ExpressionAttributeValues={":tail": {"L": [{"S": "x"}]}},
    )
    with pytest.raises(DamagedMessageError, match=r"session 's'.*its last token, 'x', has no entry; clear the session"):
        _ = history.messages
    history.clear()
    assert table.items() == []


@pytest.mark.parametrize(
    "name", ["History/tail", "History/segments", "History/epoch", "History/bytes", "History/chunks_until"]
)
def test_attributes_that_others_changed_are_no_traceback(table: Table, name: str) -> None:
    """They are named at once, and cleared."""
    history = table.open()
    history.add_user_message("a")
    table.client.update_item(
        TableName=table.name,
        Key={"SessionId": {"S": "s"}},
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":value": {"BOOL": True}},
    )
    with pytest.raises(DamagedMessageError, match="the head item is damaged"):
        _ = history.messages
    if name == "History/chunks_until":  # elsewhere DynamoDB itself says first that this is no list, or no number
        with pytest.raises(
            DamagedMessageError, match=r"the head item is damaged: .*; clear the session to use it again"
        ):
            history.add_user_message("b")
    history.clear()
    history.add_user_message("b")
    assert texts(history) == ["b"]


def test_a_chunk_that_somebody_deleted_is_an_error_and_no_shorter_history(table: Table) -> None:
    """What was acknowledged is never silently missing."""
    history = table.open()
    history.add_messages(humans("a", "x" * 300_000))
    table.client.delete_item(TableName=table.name, Key={"SessionId": table.chunks()[0]["SessionId"]})
    with pytest.raises(StoreError, match="somebody else has deleted"):
        _ = history.messages
    history.clear()
    assert (texts(history), table.items()) == ([], [])
