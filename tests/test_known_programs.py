"""Programs that showed a violation are kept in hypothesis's database, and the next run tries them first, anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

import pytest
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase, InMemoryExampleDatabase
from hypothesis.extra.redis import RedisExampleDatabase
from langchain_core.messages import HumanMessage

from chathistory.adapters.servers import Server, redis_server
from chathistory.conformance import Backend, Configuration, check
from chathistory.conformance._known import KnownPrograms
from chathistory.conformance._program import Add, Open, Read, program
from chathistory.conformance._report import ClauseResult
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

redis = pytest.importorskip("redis")

REGISTERED = any(point.value == "chathistory.conformance.plugin" for point in entry_points(group="pytest11"))
USE_PLUGIN = () if REGISTERED else ("-p", "chathistory.conformance.plugin")
FOUND_AT_ONCE = "found at once, by a program that hypothesis's database of examples held"
QUICK = Configuration(effort="quick", examples=0, shrink_seconds=1.0)

SHORT = program(Open(1, "{run}-a"), Add(1, (HumanMessage("m1"),)), Read(1))
LONG = program(Open(1, "{run}-a"), Add(1, tuple(map(HumanMessage, "abcdefgh"))), Read(1))


class Forgetful(InMemoryChatMessageHistory):
    """Keeps one of equal messages."""

    store = InMemoryChatHistoryStore()

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id, store=self.store)

    def add_messages(self, messages: Any) -> None:
        """Append what is not there yet."""
        for message in messages:
            if message.content not in [each.content for each in self.messages]:
                super().add_messages([message])


FORGETFUL = Backend(name="forgetful", get_session_history=Forgetful, claims={"core"})
MENDED = replace(FORGETFUL, get_session_history=InMemoryChatHistoryStore().get_session_history)

# No program that every run holds has a bound of six, so what is wrong with it is found by drawing or not at all.
PROJECT = """
import os
from hypothesis import settings
from hypothesis.extra.redis import RedisExampleDatabase
from redis import Redis
from chathistory.conformance import Backend, ChatHistoryConformance
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

settings.register_profile("shared", database=RedisExampleDatabase(Redis.from_url(os.environ["EXAMPLES_URL"])))
settings.load_profile("shared")

class KeepsSevenOfSix(InMemoryChatMessageHistory):
    store = InMemoryChatHistoryStore()
    def __init__(self, session_id, size=None):
        super().__init__(session_id, store=self.store, history_size=7 if size == 6 else size)

class TestKeepsSevenOfSix(ChatHistoryConformance):
    backend = Backend(
        name="keeps-seven-of-six",
        get_session_history=KeepsSevenOfSix,
        with_history_size=KeepsSevenOfSix,
        claims={"core", "bounded"},
    )
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A Redis server of these tests."""
    with redis_server("embedded") as it:
        yield it


@pytest.fixture(params=["memory", "folder", pytest.param("redis", marks=pytest.mark.redis)])
def database(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[ExampleDatabase]:
    """An empty database of each kind that users have."""
    if request.param == "redis":
        with closing(redis.Redis.from_url(request.getfixturevalue("server").url)) as client:
            client.flushall()
            yield RedisExampleDatabase(client)
    else:
        yield InMemoryExampleDatabase() if request.param == "memory" else DirectoryBasedExampleDatabase(tmp_path)


def checked(backend: Backend, database: ExampleDatabase, **more: Any) -> ClauseResult:
    """What becomes of ORD-3."""
    return check(backend, clauses=["ORD-3"], configuration=replace(QUICK, **more), database=database).clauses[0]


def test_a_violation_is_found_at_once_the_second_time(database: ExampleDatabase) -> None:
    """By the smallest program of the first time, whatever the seed."""
    first = checked(FORGETFUL, database)
    second = checked(FORGETFUL, database, seed=5)
    assert FOUND_AT_ONCE not in first.notes
    assert FOUND_AT_ONCE in second.notes
    assert first.counterexample is not None
    assert second.counterexample is not None
    assert second.counterexample.lines == first.counterexample.lines


def test_what_passes_now_is_forgotten(database: ExampleDatabase) -> None:
    """A defect that was mended costs the next runs nothing."""
    checked(FORGETFUL, database)
    assert checked(MENDED, database).outcome == "passed"
    assert FOUND_AT_ONCE not in checked(FORGETFUL, database).notes


def test_another_backend_neither_tries_nor_forgets_it(database: ExampleDatabase) -> None:
    """One database may serve many."""
    checked(FORGETFUL, database)
    assert checked(replace(MENDED, name="another"), database).outcome == "passed"
    assert FOUND_AT_ONCE in checked(FORGETFUL, database).notes


def test_the_shortest_comes_first() -> None:
    """However they were kept."""
    known = KnownPrograms(InMemoryExampleDatabase(), "mine")
    known.keep("check", LONG)
    known.keep("check", SHORT)
    assert known.of("check") == [SHORT, LONG]
    known.drop("check", SHORT)
    assert known.of("check") == [LONG]


@pytest.mark.parametrize("damaged", [b"", b"\xff", b"[]", b"{}", b'{"steps": [{"step": "Open"}]}', b"[" * 100_000])
def test_what_can_not_be_read_is_dropped(damaged: bytes) -> None:
    """Another version wrote it, or nobody sane."""
    database = InMemoryExampleDatabase()
    known = KnownPrograms(database, "mine")
    known.keep("check", SHORT)
    (key,) = database.data
    database.save(key, damaged)
    assert known.of("check") == [SHORT]
    assert damaged not in set(database.fetch(key))
    assert known.problem == ""


def test_a_database_that_is_down_is_noted_and_fails_nobody() -> None:
    """A check does not depend on it."""

    class Down(InMemoryExampleDatabase):
        def fetch(self, key: bytes) -> Any:
            raise ConnectionError("no server at redis://me:secret@host")

    result = checked(MENDED, Down())
    assert result.outcome == "passed"
    (note,) = result.notes
    assert note.startswith("hypothesis's database of examples could not be used: ConnectionError: no server")
    assert "secret" not in note


@pytest.mark.redis
def test_machines_share_what_they_find(
    pytester: pytest.Pytester, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by drawing in one process, tried first in another that draws nothing, with another seed."""
    with closing(redis.Redis.from_url(server.url)) as client:
        client.flushall()
    monkeypatch.setenv("EXAMPLES_URL", server.url)
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(test_mine=PROJECT)
    common = (*USE_PLUGIN, "-p", "no:cacheprovider", "-k", "BND-1", "--chathistory-json=r.json")

    def result_of(*arguments: str) -> dict[str, Any]:
        pytester.runpytest_subprocess(*common, "--chathistory-effort=quick", *arguments)
        (entry,) = json.loads((pytester.path / "r.json").read_text())["clauses"]
        return dict(entry)

    alone = ("--chathistory-examples=1", "--chathistory-seed=2")
    assert result_of(*alone)["outcome"] == "passed"
    assert result_of("--chathistory-examples=60", "--chathistory-seed=1")["outcome"] == "failed"
    shared = result_of(*alone)
    assert shared["outcome"] == "failed"
    assert FOUND_AT_ONCE in shared["notes"]
