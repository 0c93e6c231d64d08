"""The backends by which the suite opens Redis histories: isolated, honest about durability, gone at the end."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeAlias

import pytest
from langchain_core.messages import HumanMessage
from tests.redis_proxy import proxy_to

from chathistory.adapters.redis.backend import redis, redis_cluster, redis_fake
from chathistory.adapters.servers import Server, redis_server
from chathistory.conformance import Backend, ClauseResult, Configuration, check

driver = pytest.importorskip("redis")
pytestmark = pytest.mark.redis

BackendFunction: TypeAlias = Callable[..., Iterator[Backend]]

QUICK = Configuration(effort="quick", examples=2, shrink_seconds=1.0, clause_seconds=1.0)


@contextmanager
def opened(function: BackendFunction = redis, **options: Any) -> Iterator[Backend]:
    """The backend, from its opening to its end."""
    with closing(function(**options)) as generator:
        yield next(generator)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of the user's."""
    with redis_server("embedded") as it:
        yield it


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """The user's own client; the server is empty when a test begins, and as durable as it was started."""
    with closing(driver.Redis.from_url(server.url)) as theirs:
        theirs.flushall()
        yield theirs
        theirs.config_set("appendfsync", "always")


def test_a_server_of_its_own_is_durable_and_can_be_crashed() -> None:
    """What was acknowledged is there afterwards."""
    with opened(server="embedded") as backend:
        assert {"core", "async", "threads", "processes", "durable", "expiry"} == set(backend.claims)
        assert backend.disposable
        history = backend.get_session_history("s")
        history.add_user_message("a")
        assert backend.crash_server is not None
        backend.crash_server()
        assert history.messages == [HumanMessage("a")]


def test_a_server_of_the_users_is_left_as_it_was(server: Server, client: Any) -> None:
    """Two runs don't see each other, nor the user's keys."""
    client.rpush("message_store:s", "precious")
    with opened(server=server.url) as one, opened(server=server.url) as two:
        one.get_session_history("s").add_user_message("a")
        assert one.in_partition is not None
        one.in_partition("p", "s").add_user_message("b")
        assert two.get_session_history("s").messages == []
        assert one.crash_server is None
    assert client.keys() == [b"message_store:s"]


@pytest.mark.parametrize(("setting", "value"), [("appendfsync", "everysec"), ("appendonly", "no")])
def test_a_server_that_may_lose_something_does_not_claim_to_be_durable(
    server: Server, client: Any, setting: str, value: str
) -> None:
    """And the report says why."""
    client.config_set(setting, value)
    try:
        with opened(server=server.url) as backend:
            assert "durable" not in set(backend.claims)
            assert any(f"{setting} is {value}" in note for note in backend.notes)
    finally:
        client.config_set("appendonly", "yes")


def test_a_server_that_does_not_tell_is_not_taken_for_durable(server: Server, client: Any) -> None:
    """CONFIG GET may be forbidden."""
    client.execute_command("ACL", "SETUSER", "suite", "on", ">word", "~*", "+@all", "-config")
    try:
        with opened(server=f"redis://suite:word@{server.host}:{server.port}/0") as backend:
            assert "durable" not in set(backend.claims)
            assert any("does not tell" in note for note in backend.notes)
    finally:
        client.execute_command("ACL", "DELUSER", "suite")


def test_partitions_are_prefixes_that_isolate_wherever_they_end(server: Server) -> None:
    """In the layout that promises it."""
    with opened(server=server.url) as backend:
        assert backend.in_partition is not None
        backend.in_partition("a", "bc").add_user_message("in a")
        assert backend.in_partition("ab", "c").messages == backend.get_session_history("bc").messages == []


def test_another_process_opens_the_same_store(server: Server) -> None:
    """Its factory can be pickled."""
    with opened(server=server.url) as backend:
        there = pickle.loads(pickle.dumps(backend.in_another_process))  # noqa: S301 -- our own
        there("s").add_user_message("a")
        assert backend.get_session_history("s").messages == [HumanMessage("a")]


def test_the_suite_can_come_between_handles_and_server(server: Server) -> None:
    """The same sessions, through the address it gives."""
    with opened(server=server.url) as backend, proxy_to(server.url) as proxy:
        assert backend.wire is not None
        assert backend.wire.address == (server.host, server.port)
        port = int(proxy.url.rpartition(":")[2].partition("/")[0])
        with backend.wire.connect("127.0.0.1", port) as handles:
            handles("s").add_user_message("a")
        assert proxy.connections == 1
        assert backend.get_session_history("s").messages == [HumanMessage("a")]


def test_a_cluster_and_a_fake_are_opened_by_name_as_well() -> None:
    """What the fake can't keep it doesn't claim."""
    with opened(redis_cluster) as backend:
        assert backend.name == "redis-cluster"
        assert "durable" in set(backend.claims)
        backend.get_session_history("s").add_user_message("a")
        assert backend.get_session_history("s").messages == [HumanMessage("a")]
    pytest.importorskip("fakeredis")
    with opened(redis_fake) as one, opened(redis_fake) as two:
        assert {"core", "async", "threads", "expiry"} == set(one.claims)
        one.get_session_history("s").add_user_message("a")
        assert two.get_session_history("s").messages == []


@pytest.mark.parametrize("clause", ["ORD-2", "ISO-6", "ASY-4", "ATM-3", "EXP-2", "COST-2"])
def test_the_suite_finds_nothing_wrong(server: Server, clause: str) -> None:
    """A look at what is easily lost; the command looks at everything."""
    with opened(server=server.url) as backend:
        [result] = check(backend, clauses=[clause], configuration=QUICK).clauses
    assert result.outcome == "passed", result


# -- the class that people use today -----------------------------------------------------------------------------

BROKEN = (
    ("ISO-6", "1 message"),  # "a" + "bc" and "ab" + "c" are one key
    ("VAL-9", "unexpected message type"),
    ("ERR-1", "AttributeError"),
    ("ATM-1", "1 message"),  # it pushes message by message
    ("COST-2", "round trips"),
)


def peer() -> BackendFunction:
    """The backend function; importing it needs langchain-community."""
    pytest.importorskip("langchain_community")
    from chathistory.adapters.peers.redis import redis as function

    return function


def peer_result(server: Server, clause: str) -> ClauseResult:
    """The result of one clause, looked at for as short as shows it."""
    with opened(peer(), server=server.url) as backend:
        [result] = check(backend, clauses=[clause], configuration=QUICK).clauses
    return result


@pytest.mark.parametrize(("clause", "words"), BROKEN)
def test_what_is_wrong_with_the_peer_is_found(server: Server, clause: str, words: str) -> None:
    """Each for its own reason."""
    result = peer_result(server, clause)
    assert result.outcome in ("failed", "warned")
    assert result.counterexample is not None
    assert words in f"{result.counterexample.observed} {result.counterexample.explanation}"


@pytest.mark.parametrize("clause", ["ORD-2", "SNP-2", "ISO-2", "DUR-1"])
def test_what_the_peer_keeps_is_not_blamed(server: Server, clause: str) -> None:
    """A clause that it keeps passes; DUR-1 is not claimed on a server of the user's."""
    assert peer_result(server, clause).outcome == ("not-claimed" if clause == "DUR-1" else "passed")


def test_the_peer_gives_no_warning_and_leaves_nothing_behind(server: Server, client: Any) -> None:
    """Deprecations are for those who chose the class."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(peer(), server=server.url) as backend:
            backend.get_session_history("s").add_user_message("a")
            there = pickle.loads(pickle.dumps(backend.in_another_process))  # noqa: S301 -- our own
            assert there("s").messages == [HumanMessage("a")]
    assert client.keys() == []
