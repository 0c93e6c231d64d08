"""The Redis history as its users meet it: what it keeps, its keys, its ttl, what it refuses and how it says so."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from enum import Enum
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from chathistory.adapters.redis import RedisChatMessageHistory
from chathistory.adapters.servers import Server, redis_server
from chathistory.reference import DamagedMessageError, NotAMessageError, StoreError, UnstorableValueError

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.redis

HOSTILE = (
    "",
    " ",
    "a\x00b",
    "a\r\n$3\r\nfoo\r\n",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "x'); redis.call('FLUSHALL') --",
    "{slot}key",
    "*?[a-z]",
    "\ud800",
    "ü\N{GRINNING FACE}",
    "k" * 4096,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A Redis server of these tests."""
    with redis_server("embedded") as it:
        yield it


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A client of somebody else; the server is empty when a test begins."""
    with closing(redis.Redis.from_url(server.url)) as other:
        other.flushall()
        yield other


@pytest.fixture
def opened(server: Server, client: Any) -> Callable[..., RedisChatMessageHistory]:
    """Opens a handle on the server."""

    def open_one(session_id: str = "s", **options: Any) -> RedisChatMessageHistory:
        return RedisChatMessageHistory(session_id, server.url, **options)

    return open_one


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(messages: list[BaseMessage]) -> list[Any]:
    """The contents of messages."""
    return [message.content for message in messages]


Opened = Callable[..., RedisChatMessageHistory]


# -- what it keeps ---------------------------------------------------------------------------------------------


def test_messages_come_back_as_they_were_in_the_order_of_their_adding(opened: Opened) -> None:
    """Batches and single messages, through any handle."""
    added = [
        SystemMessage("be kind", id="1"),
        HumanMessage([{"type": "text", "text": "hi\x00\r\n"}]),
        AIMessage("", tool_calls=[{"name": "f", "args": {"n": 10**30, "x": 1.0}, "id": "c"}]),
        ToolMessage("7", tool_call_id="c", artifact={"b": None}),
    ]
    history = opened()
    history.add_messages(added[:3])
    opened().add_message(added[3])
    history.add_user_message("u")
    history.add_ai_message("a")
    expected = [*added, HumanMessage("u"), AIMessage("a")]
    assert history.messages == opened().messages == opened().get_messages() == expected


def test_a_batch_of_any_length_is_one_command(opened: Opened, client: Any) -> None:
    """Also past what Lua can hand over at once."""
    for ttl in (None, 100):
        history = opened(f"ttl {ttl}", ttl=ttl)
        history.add_messages(humans(*map(str, range(10_001))))
        assert texts(history.messages) == list(map(str, range(10_001)))
        before = client.info("commandstats")
        history.add_messages(humans("a", "b", "c"))
        after = client.info("commandstats")
        command = "cmdstat_lpush" if ttl is None else "cmdstat_eval"
        assert after[command]["calls"] - before[command]["calls"] == 1


def test_clear_starts_the_session_anew_and_leaves_no_key(opened: Opened, client: Any) -> None:
    """Also twice, and on a session that was never written."""
    history = opened()
    history.add_messages(humans("a"))
    history.clear()
    history.clear()
    assert history.messages == []
    assert client.keys() == []


def test_an_assignment_replaces_everything(opened: Opened, client: Any) -> None:
    """With nothing, too."""
    history = opened()
    history.add_messages(humans("a", "b"))
    history.messages = humans("c")
    assert texts(history.messages) == ["c"]
    history.messages = []
    assert client.keys() == []


def test_no_reader_sees_a_replacement_half_done(opened: Opened) -> None:
    """It is one script."""
    opened().add_messages(humans("0", "0"))
    over = threading.Event()

    def replace() -> None:
        for number in range(100):
            opened().messages = humans(str(number), str(number))
        over.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not over.is_set():
        first, second = texts(opened().messages)
        assert first == second
    writer.join()


def test_a_batch_beyond_what_one_command_takes_is_refused(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent."""
    monkeypatch.setattr("chathistory.adapters.redis._history.MOST_MESSAGES", 3)
    history = opened()
    with pytest.raises(UnstorableValueError, match=r"session 's': a batch of 4 messages .* add it in parts"):
        history.add_messages(humans("a", "b", "c", "d"))
    assert history.messages == []


def test_what_is_no_message_is_refused(opened: Opened) -> None:
    """And nothing of its batch is stored."""
    history = opened()
    with pytest.raises(NotAMessageError):
        history.add_messages([HumanMessage("a"), None])  # type: ignore[list-item]
    with pytest.raises(UnstorableValueError):
        history.messages = [HumanMessage("a", additional_kwargs={"x": float("nan")})]
    assert history.messages == []


# -- keys ------------------------------------------------------------------------------------------------------


def test_the_key_is_that_of_langchain_community(opened: Opened, client: Any) -> None:
    """Prefix and session id, and entries with the newest first."""
    history = opened("user:1")
    history.add_messages(humans("a", "b"))
    assert history.key == "message_store:user:1"
    entries = client.lrange("message_store:user:1", 0, -1)
    assert [json.loads(entry)["data"]["content"] for entry in entries] == ["b", "a"]


@pytest.mark.parametrize("session_id", HOSTILE)
def test_a_hostile_session_id_is_a_session_like_others(opened: Opened, session_id: str) -> None:
    """And its neighbour keeps everything."""
    opened("bystander").add_messages(humans("mine"))
    history = opened(session_id, ttl=100)
    history.add_messages(humans("a", session_id))
    assert texts(opened(session_id).messages) == ["a", session_id]
    history.messages = humans("b")
    assert texts(history.messages) == ["b"]
    history.clear()
    assert history.messages == []
    assert texts(opened("bystander").messages) == ["mine"]


@pytest.mark.parametrize("prefix", HOSTILE)
def test_a_hostile_prefix_is_a_prefix_like_others(opened: Opened, prefix: str) -> None:
    """In both layouts."""
    opened("bystander").add_messages(humans("mine"))
    for layout in ("plain", "exact"):
        history = opened("s", key_prefix=prefix, layout=layout)
        history.add_messages(humans("a"))
        assert texts(history.messages) == ["a"]
        history.clear()
    assert texts(opened("bystander").messages) == ["mine"]


def test_in_the_exact_layout_no_two_pairs_share_a_key(opened: Opened) -> None:
    """Wherever prefix and session id meet, and whatever they hold."""
    pieces = ("", "a", "ab", "b", "|", "a|", "|b", "\\", "\\|", "a\\", "|\\", "a|b")
    keys = {opened(s, key_prefix=p, layout="exact").key for p in pieces for s in pieces}
    assert len(keys) == len(pieces) ** 2


def test_the_exact_key_begins_with_an_ordinary_prefix(opened: Opened) -> None:
    """Rules of access by key pattern go on working."""
    assert opened("s", key_prefix="app:chat:", layout="exact").key == "app:chat:|s"


def test_lone_surrogates_in_ids_are_told_apart(opened: Opened) -> None:
    """Two of them are not the character they would make."""
    opened("\ud83d\ude00").add_messages(humans("two"))
    opened("\N{GRINNING FACE}").add_messages(humans("one"))
    assert texts(opened("\ud83d\ude00").messages) == ["two"]


def test_a_subclass_may_decide_on_the_key(server: Server, client: Any) -> None:
    """As with langchain-community, everything goes through `key`."""

    class Tenant(RedisChatMessageHistory):
        @property
        def key(self) -> str:
            return f"tenant-7/{self.session_id}"

    Tenant("s", server.url).add_messages(humans("a"))
    assert client.keys() == [b"tenant-7/s"]


def test_databases_are_apart(server: Server, client: Any) -> None:
    """The number in the URL counts."""
    other = RedisChatMessageHistory("s", server.url.removesuffix("/0") + "/5")
    other.add_messages(humans("five"))
    assert RedisChatMessageHistory("s", server.url).messages == []
    assert texts(RedisChatMessageHistory("s", f"{server.url.removesuffix('/0')}?db=5").messages) == ["five"]


# -- ttl -------------------------------------------------------------------------------------------------------


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; ten seconds are for ever."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_session_with_a_ttl_is_gone_after_it(opened: Opened, client: Any) -> None:
    """Whole batch at once, and without a trace."""
    history = opened(ttl=timedelta(milliseconds=50))
    history.add_messages(humans("a", "b"))
    until(lambda: history.messages == [])
    assert client.keys() == []


def test_each_add_begins_the_ttl_anew(opened: Opened, client: Any) -> None:
    """And each assignment."""
    history = opened(ttl=1000)
    for change in (lambda: history.add_messages(humans("a")), lambda: setattr(history, "messages", humans("b"))):
        client.pexpire(history.key, 5000)
        change()
        assert client.pttl(history.key) > 990_000


def test_an_add_without_a_ttl_leaves_that_of_the_session_as_it_is(opened: Opened, client: Any) -> None:
    """As langchain-community does: what somebody set to expire is not made to stay by a passer-by."""
    opened(ttl=1000).add_messages(humans("a"))
    opened().add_messages(humans("b"))
    assert 990_000 < client.pttl(opened().key) <= 1_000_000


def test_an_assignment_without_a_ttl_makes_a_new_list_that_stays(opened: Opened, client: Any) -> None:
    """Nothing of the old one is left, nor its ttl."""
    opened(ttl=1000).add_messages(humans("a"))
    opened().messages = humans("b")
    assert client.pttl(opened().key) == -1


def test_a_fraction_of_a_millisecond_is_rounded_up(opened: Opened, client: Any) -> None:
    """Rounded down it would be gone at once."""
    history = opened(ttl=timedelta(hours=1, microseconds=1))
    history.add_messages(humans("a"))
    assert client.pttl(history.key) > 3_590_000
    opened("t", ttl=timedelta(microseconds=1)).add_messages(humans("a"))


@pytest.mark.parametrize(
    ("ttl", "error", "text"),
    [
        (0, ValueError, "more than 0 seconds"),
        (-1, ValueError, "more than 0 seconds"),
        (timedelta(0), ValueError, "more than 0 seconds"),
        (10**30, ValueError, "too long"),
        (True, TypeError, "int, a timedelta or None"),
        (1.5, TypeError, "int, a timedelta or None"),
        ("60", TypeError, "int, a timedelta or None"),
    ],
)
def test_a_ttl_that_means_nothing_is_refused(opened: Opened, ttl: Any, error: type[Exception], text: str) -> None:
    """When the handle is made, and when it is changed."""
    with pytest.raises(error, match=text):
        opened(ttl=ttl)
    history = opened(ttl=5)
    with pytest.raises(error, match=text):
        history.ttl = ttl
    assert history.ttl == 5


def test_the_longest_ttl_is_taken(opened: Opened, client: Any) -> None:
    """What timedelta can say, Redis can keep."""
    history = opened(ttl=timedelta.max)
    history.add_messages(humans("a"))
    assert client.pttl(history.key) > 10**15


# -- arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"session_id": 1}, TypeError, "session_id must be a str"),
        ({"session_id": b"s"}, TypeError, "session_id must be a str"),
        ({"key_prefix": None}, TypeError, "key_prefix must be a str"),
        ({"layout": "other"}, ValueError, "layout must be one of plain, exact"),
        ({"url": 1}, TypeError, "url must be a str"),
        ({"url": "http://h"}, ValueError, "expected redis://"),
        ({"url": "localhost:6379"}, ValueError, "expected redis://"),
        ({"url": "redis://h:port:0"}, ValueError, "port"),
        ({"url": "redis://h/0?nonsense=1"}, ValueError, "unknown option 'nonsense'"),
        ({"url": "redis://h/0?socket_timeout=soon"}, ValueError, "can't be understood"),
        ({"url": "redis+sentinel://h/service/db"}, ValueError, "can't be understood"),
        ({"client": object()}, TypeError, r"client must be a redis\.Redis.*got object"),
    ],
)
def test_an_argument_that_means_nothing_is_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """When the handle is made, before anything is opened."""
    with pytest.raises(error, match=text):
        RedisChatMessageHistory(**{"session_id": "s", **options})


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:sesame@h:port/0",
        "redis://:sesame/x@h:6379/0",
        "http://:sesame@h",
        "redis://:sesame@h/0?sesame=1",
        "sesame",
    ],
)
def test_a_refused_url_is_not_repeated(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ValueError, match="url: ") as refused:
        RedisChatMessageHistory("s", url)
    assert "sesame" not in str(refused.value).replace("unknown option 'sesame'", "")
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_a_handle_opens_nothing_and_is_made_without_a_server() -> None:
    """RunnableWithMessageHistory makes one per call."""
    history = RedisChatMessageHistory("s")
    assert (history.session_id, history.key_prefix, history.ttl) == ("s", "message_store:", None)
    assert history.key == "message_store:s"
    assert repr(RedisChatMessageHistory("s", "redis://:sesame@nowhere")) == (
        "RedisChatMessageHistory(session_id='s', key_prefix='message_store:')"
    )


def test_session_prefix_and_ttl_can_be_changed_as_before(opened: Opened, client: Any) -> None:
    """They are plain attributes of langchain-community's class."""
    history = opened()
    history.session_id, history.key_prefix, history.ttl = "t", "p:", 60
    history.add_messages(humans("a"))
    assert client.keys() == [b"p:t"]
    assert 0 < client.ttl("p:t") <= 60
    with pytest.raises(TypeError, match="session_id must be a str"):
        history.session_id = None  # type: ignore[assignment]


def test_an_enumeration_of_texts_is_its_text(opened: Opened) -> None:
    """And not the name of the member."""

    class Session(str, Enum):
        FIRST = "first"

    assert opened(Session.FIRST).key == "message_store:first"


def test_the_client_of_langchain_community_is_still_there(server: Server, opened: Opened, client: Any) -> None:
    """`redis_client` reaches the same server; it is closed with the last handle."""
    history = opened()
    history.add_messages(humans("a"))
    assert history.redis_client.llen(history.key) == 1
    assert history.redis_client is opened().redis_client
    theirs = RedisChatMessageHistory("s", f"{server.url}?client_name=theirs")
    theirs.redis_client.ping()
    assert any(each["name"] == "theirs" for each in client.client_list())
    theirs.close()
    until(lambda: not any(each["name"] == "theirs" for each in client.client_list()))
    with pytest.raises(StoreError, match="this handle is closed"):
        _ = theirs.redis_client


def test_making_a_handle_gives_no_warning(server: Server) -> None:
    """The base class is deprecated; that is told to those who chose it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RedisChatMessageHistory("s", server.url).add_messages(humans("a"))


# -- data of langchain-community ---------------------------------------------------------------------------------


def peer(session_id: str, url: str, **options: Any) -> Any:
    """A handle of the class whose place this one takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_community.chat_message_histories import RedisChatMessageHistory as Peer

        return Peer(session_id, url, **options)


def test_lists_of_langchain_community_are_read_continued_and_still_read_by_it(server: Server, client: Any) -> None:
    """Messages of every kind, in one list written by both in turn."""
    pytest.importorskip("langchain_community")
    client.flushall()
    old, new = peer("s", server.url, ttl=600), RedisChatMessageHistory("s", server.url)
    assert old.key == new.key
    first = [HumanMessage("ü\x00", id="1"), AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "c"}])]
    second = [ToolMessage("7", tool_call_id="c", status="error"), SystemMessage([{"type": "text", "text": "x"}])]
    old.add_messages(first)
    assert new.messages == first
    new.add_messages(second)
    assert old.messages == new.messages == [*first, *second]
    assert 0 < client.ttl(new.key) <= 600
    old.add_message(first[0])
    assert new.messages == old.messages == [*first, *second, first[0]]
    old.clear()
    assert new.messages == []


# -- errors ------------------------------------------------------------------------------------------------------


def calls(history: RedisChatMessageHistory) -> tuple[Callable[[], object], ...]:
    """Each way to use a handle."""
    return (
        lambda: history.messages,
        lambda: history.add_messages(humans("a")),
        lambda: setattr(history, "messages", humans("a")),
        history.clear,
    )


@pytest.mark.parametrize("ttl", [None, 60])
def test_a_key_that_holds_something_else_is_named_and_left_as_it_is(
    opened: Opened, client: Any, ttl: int | None
) -> None:
    """By every operation: its value stays, and it gets no ttl."""
    client.set("message_store:s", "precious")
    for call in calls(opened(ttl=ttl)):
        with pytest.raises(StoreError, match=r"session 's': could not .* the key 'message_store:s' .* no list"):
            call()
    assert (client.get("message_store:s"), client.pttl("message_store:s")) == (b"precious", -1)


@pytest.mark.parametrize("entry", [b"{", b"\xff\xfe\xfd", b"[]", b'{"type": "unknown", "data": {}}', b""])
def test_an_entry_that_is_no_message_is_named(opened: Opened, client: Any, entry: bytes) -> None:
    """With its place; it is left where it is."""
    history = opened()
    history.add_messages(humans("a", "b"))
    client.lset(history.key, -2, entry)
    with pytest.raises(
        DamagedMessageError, match=r"session 's': message 2 of the key 'message_store:s' \(LINDEX -2\).*no message"
    ):
        _ = history.messages
    assert client.lindex(history.key, -2) == entry


def test_a_server_without_memory_is_an_error_that_stores_nothing(opened: Opened, client: Any) -> None:
    """With and without a ttl; reading and clearing still work."""
    history = opened()
    history.add_messages(humans("a"))
    client.config_set("maxmemory", 1)
    try:
        for ttl in (None, 60):
            with pytest.raises(StoreError, match=r"session 's': could not add to .* maxmemory"):
                opened(ttl=ttl).add_messages(humans("b", "c"))
            with pytest.raises(StoreError, match="maxmemory"):
                opened(ttl=ttl).messages = humans("b")
        assert texts(history.messages) == ["a"]
        history.clear()
    finally:
        client.config_set("maxmemory", 0)
    history.add_messages(humans("d"))
    assert texts(history.messages) == ["d"]


def test_a_replica_is_an_error_that_names_the_mend(server: Server) -> None:
    """It can be read."""
    with redis_server("embedded") as second, closing(redis.Redis.from_url(second.url)) as control:
        history = RedisChatMessageHistory("s", second.url)
        control.config_set("masterauth", server.secrets[0])
        control.replicaof(server.host, server.port)
        with pytest.raises(StoreError, match="replica: connect to its primary"):
            history.add_messages(humans("a"))
        control.replicaof("NO", "ONE")
        history.add_messages(humans("b"))
        assert texts(history.messages)[-1:] == ["b"]


def test_wrong_credentials_are_an_error_without_credentials(server: Server) -> None:
    """A wrong password, none, and one where there is no user of the name."""
    for account, hint in (
        (":wrong-sesame", "check user"),
        ("", "pass the password"),
        ("me:wrong-sesame", "check user"),
    ):
        url = f"redis://{account}@{server.host}:{server.port}/0" if account else f"redis://{server.host}:{server.port}"
        for call in calls(RedisChatMessageHistory("s", url)):
            with pytest.raises(StoreError, match=f"session 's'.*{hint}") as failed:
                call()
            shown = f"{failed.value!r} {failed.value.__cause__!r} {failed.value.__context__ and ''}"
            assert "sesame" not in shown
            assert server.secrets[0] not in shown


def test_a_user_without_permission_is_an_error_that_names_the_commands(server: Server, client: Any) -> None:
    """And the session is as it was."""
    client.execute_command("ACL", "SETUSER", "reader", "on", ">sesame", "~*", "+lrange")
    try:
        history = RedisChatMessageHistory("s", f"redis://reader:sesame@{server.host}:{server.port}/0")
        assert history.messages == []
        with pytest.raises(StoreError, match=r"session 's'.*LPUSH and LTRIM") as failed:
            history.add_messages(humans("a"))
        assert "sesame" not in str(failed.value)
    finally:
        client.execute_command("ACL", "DELUSER", "reader")


@pytest.mark.parametrize("before", [[], ["old"]])
def test_a_user_who_may_not_set_a_ttl_stores_nothing_with_one(server: Server, client: Any, before: list[str]) -> None:
    """The push is undone; and the rights in the manual are enough for everything."""
    rights = ["~message_store:*", "+lrange", "+lpush", "+ltrim", "+eval", "+pexpire", "+persist"]
    client.flushall()
    client.execute_command("ACL", "SETUSER", "app", "on", ">sesame", *rights)
    try:
        url = f"redis://app:sesame@{server.host}:{server.port}/0"
        history = RedisChatMessageHistory("s", url, ttl=60)
        for call in calls(history):
            call()
        history.ttl = None
        history.messages = humans("x", *before)
        history.messages = humans(*before)
        client.execute_command("ACL", "SETUSER", "app", "-pexpire", "-persist")
        with pytest.raises(StoreError, match="for a ttl EVAL and PEXPIRE"):
            RedisChatMessageHistory("s", url, ttl=60).add_messages(humans("a", "b"))
        for ttl in (None, 60):
            with pytest.raises(StoreError, match="EVAL and PERSIST"):
                RedisChatMessageHistory("s", url, ttl=ttl).messages = humans("a", "b")
        assert texts(history.messages) == before
        assert client.exists(history.key) == bool(before)
    finally:
        client.execute_command("ACL", "DELUSER", "app")


def test_a_server_that_is_not_there_is_an_error_that_names_it() -> None:
    """At the first operation, with its host and port and no password."""
    for call in calls(RedisChatMessageHistory("s", "redis://:sesame@127.0.0.1:1/0")):
        with pytest.raises(
            StoreError, match=r"session 's': could not .* of Redis at 127\.0\.0\.1:1: .*refused"
        ) as failed:
            call()
        assert "sesame" not in str(failed.value)


def test_errors_show_no_more_of_a_long_id_than_they_must(server: Server) -> None:
    """And whatever it holds is on one line."""
    with pytest.raises(StoreError) as failed:
        RedisChatMessageHistory("k\n" * 5000, "redis://127.0.0.1:1/0").clear()
    assert len(str(failed.value)) < 1500
    assert "\n" not in str(failed.value)
    assert server.host
