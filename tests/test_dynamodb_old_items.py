"""Items that langchain-community's class has written: read with ints and floats, continued, moved once and whole."""

from __future__ import annotations

import threading
import warnings
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
    with pytest.raises(StoreError, match="message 0 of the list that the old class wrote holds bytes or a set"):
        history.add_messages(humans("b"))
    assert len(history.messages) == 1
    history.messages = humans("c")
    assert texts(history) == ["c"]


def test_an_attribute_of_another_kind_is_not_touched(table: Table) -> None:
    """Whoever has other things under that name is told of the argument."""
    key = {"SessionId": {"S": "s"}}
    table.client.put_item(TableName=table.name, Item={**key, "History": {"S": "mine"}})
    with pytest.raises(StoreError, match="history_messages_key"):
        table.open().add_messages(humans("a"))
    assert table.head()["History"] == {"S": "mine"}
    history = table.open(history_messages_key="Chat")
    history.add_messages(humans("a"))
    assert (texts(history), table.head()["History"]) == (["a"], {"S": "mine"})


def test_an_expiry_of_another_kind_is_not_touched(table: Table, request: pytest.FixtureRequest) -> None:
    """Nor is a text where the time of expiry would stand."""
    if "embedded" in request.node.name:
        pytest.skip("moto can't compare a text with a number, which DynamoDB finds different")
    table.client.put_item(TableName=table.name, Item={"SessionId": {"S": "s"}, "expireAt": {"S": "tomorrow"}})
    with pytest.raises(StoreError, match=r"'expireAt'.*ttl_key_name"):
        table.open().add_messages(humans("a"))


def test_attributes_of_others_stay(table: Table) -> None:
    """A title, say, that the application keeps in the same item; until the session is cleared."""
    table.open().add_messages(humans("a"))
    table.client.update_item(
        TableName=table.name,
        Key={"SessionId": {"S": "s"}},
        UpdateExpression="SET title = :t",
        ExpressionAttributeValues={":t": {"S": "about a"}},
    )
    table.open().messages = humans("b")
    table.open(ttl=60).add_messages(humans("x" * 20_000, "c"))
    assert table.head()["title"] == {"S": "about a"}
