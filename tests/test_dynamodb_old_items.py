"""Items that langchain-community's class has written: read with ints and floats, continued, moved once and whole."""

from __future__ import annotations

import asyncio
import threading
import warnings
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from tests.dynamodb_tables import SERVERS, Table, humans, meddled, new_table, texts

from chathistory.reference import StoreError, same_value

pytest.importorskip("langchain_community")


@pytest.fixture(params=SERVERS)
def table(request: pytest.FixtureRequest) -> Table:
    """An empty table on each kind of server."""
    return new_table(request.param)


def old(table: Table, **options: Any) -> Any:
    """A handle of the old class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_community.chat_message_histories import DynamoDBChatMessageHistory

        return DynamoDBChatMessageHistory(
            table.name, "s", endpoint_url=table.url, boto3_session=table.session, **options
        )


NUMBERS = {"int": 7, "float": 0.1, "negative": -2.5, "large": 1e100, "digits": 10**37, "list": [1, 2.5, {"n": 0}]}


def test_messages_of_the_old_class_are_read_exactly(table: Table) -> None:
    """Ints are ints again and floats floats; the old class itself reads decimals."""
    call = {"name": "f", "args": {"n": 1, "x": 0.25}, "id": "1", "type": "tool_call"}
    batch = [HumanMessage("a", additional_kwargs=NUMBERS), AIMessage("b", tool_calls=[call], id="x")]
    old(table, coerce_float_to_decimal=True).add_messages(batch)
    found = table.open().messages
    assert all(same_value(one, other) for one, other in zip(found, batch, strict=True))
    assert table.open().messages == batch


def test_a_history_of_the_old_class_goes_on(table: Table) -> None:
    """The first add moves it; from then on the old class raises, and overwrites nothing."""
    peer = old(table)
    peer.add_messages(humans("a", "b"))
    history = table.open()
    assert texts(history) == ["a", "b"]
    assert "History" in table.head()  # reading moves nothing
    history.add_messages(humans("c"))
    assert texts(history) == ["a", "b", "c"]
    assert "History" not in table.head()
    with pytest.raises(KeyError):
        peer.add_messages(humans("d"))
    assert texts(history) == ["a", "b", "c"]
    history.clear()
    peer.add_messages(humans("e"))
    assert (texts(history), table.items()) == (["e"], [table.head()])


def test_a_list_of_hundreds_of_kilobytes_is_moved(table: Table) -> None:
    """Out of the head, so that adds become cheap again."""
    batch = humans(*(f"{number} " + "x" * 3_000 for number in range(60)))
    old(table).add_messages(batch)
    history = table.open()
    history.add_messages(humans("new"))
    assert history.messages == [*batch, *humans("new")]
    assert len(str(table.head())) < 10_000


def test_an_empty_list_and_a_bound_and_a_ttl(table: Table) -> None:
    """The add's own arguments hold for what was there before."""
    old(table).add_messages([])
    assert texts(table.open()) == []
    table.open().add_messages(humans("a"))
    table.open().clear()
    old(table, ttl=1_000).add_messages(humans("a", "b", "c"))
    table.open(history_size=2, ttl=50).add_messages(humans("d"))
    assert texts(table.open()) == ["c", "d"]


def test_what_the_old_class_let_expire_is_gone(table: Table) -> None:
    """It would read it until DynamoDB deletes it."""
    old(table, ttl=10).add_messages(humans("a"))
    end = int(table.head()["expireAt"]["N"])
    assert texts(table.open(_clock=lambda: end - 1.0)) == ["a"]
    late = table.open(_clock=lambda: float(end))
    assert texts(late) == []
    late.add_messages(humans("b"))
    assert texts(late) == ["b"]
    assert "History" not in table.head()


def test_a_list_that_changes_while_it_is_moved_is_moved_as_it_is(table: Table) -> None:
    """The old class may write between our look and our write."""
    peer = old(table)
    peer.add_messages(humans("a"))
    with meddled(table) as (own, meddler):
        adds = iter(["b", "c"])

        def write_between(method: str, arguments: dict[str, Any]) -> None:
            if method == "update_item" and ":seen_old" in arguments["ExpressionAttributeValues"]:
                for text in adds:
                    peer.add_messages(humans(text))
                    break

        meddler.before = write_between
        own.open().add_messages(humans("x"))
    assert texts(table.open()) == ["a", "b", "c", "x"]


def test_what_the_old_class_writes_from_an_old_look_is_added_and_loses_nothing(table: Table) -> None:
    """It had read before the move and writes after: its list is there again, with what it held, behind ours."""
    peer = old(table)
    peer.add_messages(humans("a"))
    stale = old(table)
    look = stale.table.get_item(Key=stale.key)
    table.open().add_messages(humans("x"))
    stale.table.update_item(
        Key=stale.key,
        UpdateExpression="set History = :h",
        ExpressionAttributeValues={":h": [*look["Item"]["History"], *look["Item"]["History"]]},
    )
    assert texts(table.open()) == ["a", "x", "a", "a"]
    table.open().add_messages(humans("y"))
    assert texts(table.open()) == ["a", "x", "a", "a", "y"]


def test_many_move_one_list_at_once(table: Table) -> None:
    """It is there once, before everything else."""
    old(table).add_messages(humans("a", "b"))
    handles = [table.open() for _ in range(8)]
    threads = [threading.Thread(target=one.add_messages, args=(humans(f"{n}"),)) for n, one in enumerate(handles)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = texts(table.open())
    assert found[:2] == ["a", "b"]
    assert sorted(found[2:]) == [str(number) for number in range(8)]


def test_bytes_and_sets_can_be_read_but_not_moved(table: Table) -> None:
    """The old class stores them; here the add is refused, with what to do, and nothing is lost."""
    old(table).add_messages([HumanMessage("a", additional_kwargs={"bytes": b"\0\1", "set": {1, 2}})])
    history = table.open()
    [message] = history.messages
    assert message.additional_kwargs == {"bytes": b"\0\1", "set": {1, 2}}
    with pytest.raises(StoreError, match="message 0 of the list that the old class wrote holds bytes, a set"):
        history.add_messages(humans("b"))
    assert len(history.messages) == 1
    history.messages = humans("c")
    assert texts(history) == ["c"]


PRECISE = {"wei": Decimal("0.1234567890123456789012345678"), "large": Decimal("12345678901234567890.25")}


@pytest.mark.parametrize("number", PRECISE.values(), ids=PRECISE)
def test_decimals_with_more_digits_than_a_float_are_read_and_never_cut(table: Table, number: Decimal) -> None:
    """The old class stores them; the add that would move them is refused."""
    message = HumanMessage("a", additional_kwargs={"x": number, "floats": [Decimal("0.1"), Decimal("2.50")]})
    old(table).add_messages([message])
    history = table.open()
    expected = HumanMessage("a", additional_kwargs={"x": number, "floats": [0.1, 2.5]})
    [found] = history.messages
    assert same_value(found, expected)
    with pytest.raises(StoreError, match=r"message 0 of the list that the old class wrote.*a Decimal with more"):
        history.add_messages(humans("b"))
    [found] = old(table).messages
    assert found.additional_kwargs["x"] == number


def test_whole_numbers_keep_all_their_digits(table: Table) -> None:
    """Also one that is larger than any int of DynamoDB, and has more digits than a float."""
    numbers = [10**38 - 1, -(2**64), 12345678901234567890123 * 10**20]
    old(table).add_messages(
        [HumanMessage("a", additional_kwargs={"x": [*numbers[:2], Decimal(numbers[2]).normalize()]})]
    )
    history = table.open()
    history.add_messages(humans("b"))
    assert same_value(history.messages[0], HumanMessage("a", additional_kwargs={"x": numbers}))


FOREIGN: dict[str, Any] = {
    "text": {"S": "mine"},
    "null": {"NULL": True},
    "map": {"M": {"messages": {"L": []}}},
    "bytes": {"B": b"gzip"},
    "number": {"N": "5"},
}


@pytest.mark.parametrize("held", FOREIGN.values(), ids=FOREIGN)
def test_an_attribute_of_another_kind_is_not_touched(table: Table, held: Any) -> None:
    """Nor read as a history without messages; whoever has other things under that name is told of the argument."""
    item = {"SessionId": {"S": "s"}, "History": held}
    table.client.put_item(TableName=table.name, Item=item)
    calls = [
        lambda: table.open().messages,
        lambda: asyncio.run(table.open().aget_messages()),
        lambda: table.open().add_messages(humans("a")),
        lambda: setattr(table.open(), "messages", humans("a")),
        lambda: setattr(table.open(), "messages", humans("x" * 20_000)),
        lambda: setattr(table.open(), "messages", []),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"session 's'.*'History' holds something that is not ours.*history_mess"):
            call()
        assert table.items() == [item]
    history = table.open(history_messages_key="Chat")
    history.add_messages(humans("a"))
    history.messages = humans("b")
    assert (texts(history), table.head()["History"]) == (["b"], held)
    table.open().clear()
    assert table.items() == []


@pytest.mark.parametrize("new", [["b"], []])
def test_an_attribute_that_becomes_another_kind_meanwhile_is_not_touched_by_an_assignment(
    table: Table, new: list[str]
) -> None:
    """Between its look and its write."""
    table.open().add_messages(humans("a"))
    with meddled(table) as (own, meddler):

        def write_between(method: str, _arguments: dict[str, Any]) -> None:
            if method in ("update_item", "delete_item"):
                meddler.before = lambda _method, _arguments: None
                set_attribute(table, "History", {"S": "mine"})

        meddler.before = write_between
        with pytest.raises(StoreError, match="not ours"):
            own.open().messages = humans(*new)
    assert table.head()["History"] == {"S": "mine"}


def set_attribute(table: Table, name: str, value: Any) -> None:
    """What somebody else writes into the item of the session."""
    table.client.update_item(
        TableName=table.name,
        Key={"SessionId": {"S": "s"}},
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":value": value},
    )


def test_an_expiry_of_another_kind_is_not_touched(table: Table, request: pytest.FixtureRequest) -> None:
    """Nor is a text where the time of expiry would stand."""
    if "embedded" in request.node.name:
        pytest.skip("moto can't compare a text with a number, which DynamoDB finds different")
    table.client.put_item(TableName=table.name, Item={"SessionId": {"S": "s"}, "expireAt": {"S": "tomorrow"}})
    with pytest.raises(StoreError, match=r"'expireAt'.*ttl_key_name"):
        table.open().add_messages(humans("a"))


def test_an_expiry_of_another_kind_is_not_touched_by_assignments_nor_in_the_way_of_reads(table: Table) -> None:
    """DynamoDB deletes nothing by a text."""
    table.open().add_messages(humans("a"))
    set_attribute(table, "expireAt", {"S": "tomorrow"})
    assert texts(table.open()) == ["a"]
    for new in ([], humans("b")):
        with pytest.raises(StoreError, match=r"'expireAt'.*ttl_key_name"):
            table.open().messages = new
    assert (texts(table.open()), table.head()["expireAt"]) == (["a"], {"S": "tomorrow"})


def test_attributes_of_others_stay(table: Table) -> None:
    """A title, say, that the application keeps in the same item; until the session is cleared."""
    table.open().add_messages(humans("a"))
    set_attribute(table, "title", {"S": "about a"})
    table.open().messages = humans("b")
    table.open(ttl=60).add_messages(humans("x" * 20_000, "c"))
    assert table.head()["title"] == {"S": "about a"}
    table.open().messages = []
    assert table.items() == [{"SessionId": {"S": "s"}, "title": {"S": "about a"}}]
    assert texts(table.open()) == []
    table.open().add_messages(humans("d"))
    assert (texts(table.open()), table.head()["title"]) == (["d"], {"S": "about a"})
    table.open().clear()
    assert table.items() == []


def test_histories_under_two_names_in_one_item_leave_each_other_alone(table: Table) -> None:
    """Adds and assignments, of nothing as well, with messages in the item and beside it."""
    one, other = table.open(history_messages_key="A"), table.open(history_messages_key="B")
    other.messages = humans("b", "y" * 20_000)
    one.messages = []
    assert len(other.messages) == 2
    for batch in (humans("a"), humans("x" * 20_000)):
        one.add_messages(batch)
        one.messages = humans("c")
        one.messages = []
        assert (texts(one), len(other.messages), len(table.items())) == ([], 2, 2)
    one.add_messages(humans("again"))
    assert texts(one) == ["again"]


def test_an_assignment_of_nothing_drops_an_old_list_and_leaves_an_unwritten_item(table: Table) -> None:
    """What is not ours is not written to at all."""
    table.client.put_item(TableName=table.name, Item={"SessionId": {"S": "s"}})
    set_attribute(table, "title", {"S": "t"})
    with meddled(table) as (own, meddler):
        own.open(ttl=60).messages = []
        assert meddler.methods == ["get_item"]
    set_attribute(table, "History", {"L": []})
    table.open().messages = []
    assert table.items() == [{"SessionId": {"S": "s"}, "title": {"S": "t"}}]
