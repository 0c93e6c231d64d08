"""The Redis history on a cluster: where requests go, what its answers mean, and what happens when slots move."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from chathistory.adapters.redis import RedisChatMessageHistory
from chathistory.adapters.redis._failures import AnswerLostError, NotSentError
from chathistory.adapters.redis._requests import add, read
from chathistory.adapters.redis._routing import Attempt, Routing
from chathistory.adapters.servers import Server, redis_cluster
from chathistory.reference import StoreError

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.redis
from redis.crc import key_slot  # noqa: E402 -- it need not be installed
from redis.exceptions import AskError, ClusterDownError, MovedError  # noqa: E402 -- it need not be installed

KEY = b"message_store:s"
SLOT = key_slot(KEY)


@pytest.fixture(scope="module")
def members() -> Iterator[tuple[Server, ...]]:
    """A cluster of three masters."""
    with redis_cluster(3) as servers:
        yield servers


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(messages: list[BaseMessage]) -> list[Any]:
    """The contents of messages."""
    return [message.content for message in messages]


# -- the rules, without a server ---------------------------------------------------------------------------------


def moved(address: str, slot: int = SLOT) -> MovedError:
    """The answer of a member that another one keeps the key."""
    return MovedError(f"{slot} {address}")


class Course:
    """A request under way, as a store sees it."""

    def __init__(self, routing: Routing, request: Any) -> None:
        self._steps = routing.steps(request)
        self.now: Attempt = next(self._steps)

    def fails(self, error: Exception) -> Attempt:
        """What follows from an error."""
        self.now = self._steps.throw(error)
        return self.now

    def gets(self, reply: object) -> Attempt:
        """What follows from a reply that is not the last."""
        self.now = self._steps.send(reply)
        return self.now

    def ends_with(self, reply: object) -> bool:
        """Whether this reply is the last one, and is returned."""
        try:
            self._steps.send(reply)
        except StopIteration as end:
            return bool(end.value == reply)
        return False


SLOTS = [[0, 8191, [b"h1", 1, b"id"], [b"replica", 9, b"id"]], [8192, 16383, [b"h2", 2, b"id"]]]


def test_a_plain_server_is_asked_once() -> None:
    """And nothing but what is wanted."""
    course = Course(Routing(), add(KEY, ["x"], None))
    assert course.now == Attempt(None, ((b"LPUSH", KEY, b"x"),))
    assert course.ends_with(1)


def test_a_member_that_says_where_the_key_is_teaches_all_slots() -> None:
    """The next requests go straight to their keepers."""
    routing = Routing()
    course = Course(routing, read(KEY))
    assert course.fails(moved("h1:1")) == Attempt(None, ((b"CLUSTER", b"SLOTS"),))
    assert course.gets(SLOTS).address == ("h1", 1)
    assert course.ends_with([])
    for key in (KEY, b"a", b"b", b"c", b"d"):
        expected = ("h1", 1) if key_slot(key) <= 8191 or key == KEY else ("h2", 2)
        assert Course(routing, read(key)).now.address == expected


@pytest.mark.parametrize("answer", [redis.ResponseError("NOPERM"), None, [[1]], [["a", "b", "c"]], "nonsense"])
def test_a_member_that_does_not_tell_the_slots_teaches_one(answer: Any) -> None:
    """A user may not be allowed to ask."""
    routing = Routing()
    course = Course(routing, read(KEY))
    course.fails(moved("h1:1"))
    after = course.fails(answer) if isinstance(answer, Exception) else course.gets(answer)
    assert after.address == ("h1", 1)
    assert Course(routing, read(KEY)).now.address == ("h1", 1)


def test_a_member_without_a_name_is_the_one_that_answered() -> None:
    """Redis leaves out the host then."""
    routing = Routing([("seed", 7)])
    course = Course(routing, read(KEY))
    course.fails(moved(":1"))
    assert course.gets([[0, 16383, [b"", 1, b"id"]]]).address == ("seed", 1)


def test_a_slot_on_its_way_is_asked_for_once_and_not_learnt() -> None:
    """The answer ASK is for this request alone."""
    routing = Routing()
    course = Course(routing, read(KEY))
    asked = course.fails(AskError(f"{SLOT} h2:2"))
    assert asked == Attempt(("h2", 2), ((b"ASKING",), read(KEY).command))
    assert course.ends_with([])
    assert Course(routing, read(KEY)).now.address is None


def test_a_push_whose_answer_is_lost_is_not_sent_again() -> None:
    """Nobody knows whether it was carried out."""
    with pytest.raises(AnswerLostError):
        Course(Routing([("h1", 1), ("h2", 2)]), add(KEY, ["x"], None)).fails(AnswerLostError())


def test_a_read_whose_answer_is_lost_is_sent_again_once() -> None:
    """It changes nothing."""
    course = Course(Routing(), read(KEY))
    assert course.fails(AnswerLostError()).commands == (read(KEY).command,)
    with pytest.raises(AnswerLostError):
        course.fails(AnswerLostError())


def test_where_nothing_was_sent_the_other_members_are_tried() -> None:
    """One of them knows who took over; when all are down, that is the error."""
    course = Course(Routing([("h1", 1), ("h2", 2)]), add(KEY, ["x"], None))
    assert course.now.address == ("h1", 1)
    assert course.fails(NotSentError()).address == ("h2", 2)
    with pytest.raises(NotSentError):
        course.fails(NotSentError())
    with pytest.raises(NotSentError):
        Course(Routing(), read(KEY)).fails(NotSentError())


def test_what_passes_is_waited_for_and_then_an_error() -> None:
    """The cluster may be about to find a new primary, and a server to have read its data."""
    for passing in (ClusterDownError("down"), redis.BusyLoadingError("loading")):
        course = Course(Routing(), add(KEY, ["x"], None))
        pauses = [course.fails(passing).pause for _ in range(6)]
        with pytest.raises(type(passing)):
            course.fails(passing)
        assert pauses == sorted(pauses)
        assert 1 < sum(pauses) < 3


def test_members_that_send_one_another_the_request_are_an_error() -> None:
    """And not an endless loop."""
    course = Course(Routing(), read(KEY))
    for _ in range(15):
        course.fails(moved("h1:1"))
        course.gets(SLOTS)
    course.fails(moved("h1:1"))
    with pytest.raises(redis.RedisError, match="gave up after 16 redirections"):
        course.gets(SLOTS)


# -- a real cluster ----------------------------------------------------------------------------------------------


def test_the_url_of_any_member_reaches_every_session(members: tuple[Server, ...]) -> None:
    """By sync and async calls."""
    for number in range(60):
        RedisChatMessageHistory(f"any-{number}", members[number % 3].url, ttl=100).add_messages(humans("a", "b"))

    async def main() -> None:
        for number in range(60):
            history = RedisChatMessageHistory(f"any-{number}", members[(number + 1) % 3].url)
            await history.aadd_messages(humans("c"))
            assert texts(await history.aget_messages()) == ["a", "b", "c"]

    asyncio.run(main())
    for server in members:
        with closing(redis.Redis.from_url(server.url)) as client:
            assert any(key.startswith(b"message_store:any-") for key in client.scan_iter())


def test_after_the_first_requests_no_member_is_asked_in_vain(members: tuple[Server, ...]) -> None:
    """All slots are looked up at the first wrong door."""

    def refusals() -> int:
        count = 0
        for server in members:
            with closing(redis.Redis.from_url(server.url)) as client:
                stats = client.info("errorstats")
                count += int(stats.get("errorstat_MOVED", {"count": 0})["count"])
        return count

    history = RedisChatMessageHistory("s", f"{members[0].url}?client_name=learning")
    before = refusals()
    for number in range(100):
        history.session_id = f"learning-{number}"
        history.add_messages(humans("a"))
    assert refusals() - before <= 1
    history.close()


@pytest.mark.parametrize("decoding", [False, True])
def test_clients_of_a_cluster_serve_both_kinds_of_calls(members: tuple[Server, ...], decoding: bool) -> None:
    """Sync and asyncio, alone or beside each other."""
    url = members[1].url
    with closing(redis.RedisCluster.from_url(url, decode_responses=decoding)) as client:
        async_client = redis.asyncio.RedisCluster.from_url(url, decode_responses=decoding)
        for given in ({"client": client}, {"client": async_client}, {"client": client, "async_client": async_client}):
            for number in range(20):
                history = RedisChatMessageHistory(f"client-{number}", **given)  # type: ignore[arg-type]
                history.messages = humans("a")

                async def main(history: RedisChatMessageHistory = history) -> None:
                    await history.aadd_messages(humans("b"))
                    assert texts(await history.aget_messages()) == ["a", "b"]

                asyncio.run(main())
                assert texts(history.messages) == ["a", "b"]


def slot_moved(members: tuple[Server, ...], slot: int, source: int, target: int) -> Iterator[None]:
    """Move a slot and its keys, stopping half way and at the end."""
    clients = [redis.Redis.from_url(server.url) for server in members]
    ids = [client.cluster("MYID").decode() for client in clients]
    try:
        clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        yield
        where, password = members[target], members[target].secrets[0]
        for key in clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            clients[source].execute_command("MIGRATE", where.host, where.port, key, 0, 5000, "AUTH", password)
        yield
        for client in clients:
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        yield
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_session_whose_slot_moves_is_followed(members: tuple[Server, ...], asynchronous: bool) -> None:
    """Before, in between and after; nothing is lost or doubled."""
    history = RedisChatMessageHistory(f"moving-{asynchronous}", members[0].url)
    slot = key_slot(history.key.encode())
    source = slot * 3 // 16384
    expected: list[str] = []

    def write() -> None:
        expected.append(str(len(expected)))
        if asynchronous:
            asyncio.run(history.aadd_messages(humans(expected[-1])))
            assert texts(asyncio.run(history.aget_messages())) == expected
        else:
            history.add_messages(humans(expected[-1]))
            assert texts(history.messages) == expected

    write()
    for _ in slot_moved(members, slot, source, (source + 1) % 3):
        write()
    write()


def test_writers_do_not_notice_that_slots_move(members: tuple[Server, ...]) -> None:
    """While four threads write to one session its slot goes there and back."""
    url = members[2].url
    key = RedisChatMessageHistory("busy", url).key.encode()
    slot = key_slot(key)
    home, over = slot * 3 // 16384, threading.Event()
    counts = [0] * 4

    def write(name: int) -> None:
        history = RedisChatMessageHistory("busy", url)
        while not over.is_set():
            history.add_messages(humans(f"{name}-{counts[name]}", f"{name}-{counts[name]}"))
            counts[name] += 1

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for source, target in ((home, (home + 1) % 3), ((home + 1) % 3, home)):
        for _ in slot_moved(members, slot, source, target):
            over.wait(0.05)
    over.set()
    for thread in threads:
        thread.join()
    found = texts(RedisChatMessageHistory("busy", url).messages)
    assert found[::2] == found[1::2]
    assert sorted(found[::2]) == sorted(f"{name}-{number}" for name in range(4) for number in range(counts[name]))


def test_a_member_that_crashed_is_used_again_when_it_is_back(members: tuple[Server, ...]) -> None:
    """Nothing acknowledged is lost."""
    history = RedisChatMessageHistory("crash", members[0].url)
    history.add_messages(humans("a"))
    keeper = members[key_slot(history.key.encode()) * 3 // 16384]
    assert keeper.crash is not None
    keeper.crash()

    def added() -> bool:
        with suppress(StoreError):  # as long as the cluster is not whole
            history.add_messages(humans("b"))
            return True
        return False

    assert any(added() for _ in range(10))
    assert texts(history.messages) == ["a", "b"]
