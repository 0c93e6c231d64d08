"""The backends by which the suite opens the DynamoDB histories: ours conforms, and the peer's faults are found."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from tests.dynamodb_tables import server, session

from chathistory.adapters.dynamodb.backend import Tables, dynamodb
from chathistory.adapters.peers.dynamodb import dynamodb as peer_dynamodb
from chathistory.conformance import Backend, Configuration, check

QUICK = Configuration(effort="quick", examples=2, shrink_seconds=1.0, clause_seconds=1.0)


@contextmanager
def opened(function: Callable[..., Iterator[Backend]], url: str = "") -> Iterator[Backend]:
    """The backend on the server of the tests, from its opening to its end."""
    with closing(function(server=url)) as generator:
        yield next(generator)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> str:
    """A server as a user would name it, with the user's own credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return server().url


def table_names(url: str) -> set[str]:
    """The tables on a server."""
    pages = session().client("dynamodb", endpoint_url=url).get_paginator("list_tables").paginate()
    return {name for page in pages for name in page["TableNames"]}


@pytest.mark.parametrize("function", [dynamodb, peer_dynamodb])
def test_a_run_has_tables_of_its_own_and_deletes_them(function: Any, url: str) -> None:
    """Also on a server of the user's."""
    if function is peer_dynamodb:
        pytest.importorskip("langchain_community")
    before = table_names(url)
    with opened(function, url) as one, opened(function, url) as two:
        one.get_session_history("s").add_user_message("a")
        assert two.get_session_history("s").messages == []
        assert one.in_partition is not None
        assert one.in_partition("part", "s").messages == []
    assert table_names(url) == before


def test_the_backend_offers_all_that_its_claims_need(url: str) -> None:
    """Bounds, expiry by a clock that is moved on, partitions, the wire, and another process."""
    with opened(dynamodb, url) as backend:
        assert backend.with_ttl is not None
        assert backend.advance is not None
        history = backend.with_ttl("s", 4.0)
        history.add_messages([HumanMessage("a")])
        backend.advance(5.5)
        assert history.messages == []
        assert backend.in_another_process is not None
        elsewhere = pickle.loads(pickle.dumps(backend.in_another_process))  # noqa: S301 -- our own
        elsewhere("t").add_user_message("b")
        assert len(backend.get_session_history("t").messages) == 1
        assert backend.wire is not None
        with backend.wire.connect(*backend.wire.address) as through:
            assert len(asyncio.run(through("t").aget_messages())) == 1


def test_names_that_no_table_can_have_are_refused_by_the_history() -> None:
    """The backend makes no table for them, and the handle says why."""
    tables = Tables(server().url, is_ours=True)
    assert tables.make("a:b").endswith("a:b")
    assert tables._made == set()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embedded", pytest.param("ministack", marks=pytest.mark.long)])
def test_the_history_conforms(kind: str) -> None:
    """Every clause that it claims, on both servers; real conflicts are on the second."""
    server(kind)  # skips where it can't be had
    with opened(dynamodb, kind) as backend:
        report = check(backend, configuration=Configuration(effort="quick", seed=3))
    failed = [(result.id, result.counterexample) for result in report.clauses if result.outcome == "failed"]
    assert failed == []
    assert report.verdict == "conformant"


BROKEN = (
    ("VAL-4", "Float types are not supported"),
    ("ERR-1", "AttributeError"),
    ("CON-1", "lost add"),  # all is read, changed and written, without a condition
    # It waits for DynamoDB to delete the item, which may take days.
    pytest.param("EXP-1", "2 messages", marks=pytest.mark.long),
)


@pytest.mark.slow
@pytest.mark.parametrize(("clause", "words"), BROKEN)
def test_what_is_wrong_with_the_peer_is_found(clause: str, words: str) -> None:
    """Each for its own reason."""
    pytest.importorskip("langchain_community")
    with opened(peer_dynamodb) as backend:
        [result] = check(backend, clauses=[clause], configuration=QUICK).clauses
    assert result.outcome == "failed"
    assert result.counterexample is not None
    assert words in f"{result.counterexample.observed} {result.counterexample.explanation}"
