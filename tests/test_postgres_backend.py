"""The backend by which the suite opens the PostgreSQL history, and the other ways in which users open it."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from psycopg_pool import ConnectionPool
from tests.postgres_database import database, new_table, raw, server

from chathistory.adapters.postgres import PostgresChatMessageHistory
from chathistory.adapters.postgres.backend import postgres
from chathistory.conformance import Backend, Configuration, check
from chathistory.reference import Profile

UUIDS = uuid.UUID("0e984725-c51c-4bf4-9960-e1c80e27aba0")


@contextmanager
def opened() -> Iterator[Backend]:
    """The backend, from its opening to its end."""
    with closing(postgres(server=server().url)) as generator:
        yield next(generator)


def exist(backends: list[Backend]) -> list[bool]:
    """Whether the databases of these backends are on the server."""
    names = [urlsplit(backend.get_session_history.args[0]).path[1:] for backend in backends]  # type: ignore[attr-defined]
    with raw() as connection:
        found = connection.execute("SELECT datname FROM pg_database").fetchall()
    return [(name,) in found for name in names]


def test_each_opening_is_an_empty_database_that_is_removed_at_the_end() -> None:
    """Runs don't see each other, and leave nothing behind."""
    with opened() as one, opened() as two:
        assert exist([one, two]) == [True, True]
        one.get_session_history("s").add_user_message("a")
        assert two.get_session_history("s").messages == []
        assert one.disposable
    assert exist([one, two]) == [False, False]


def test_partitions_are_tables_made_on_demand() -> None:
    """The same session id in two of them is two sessions."""
    with opened() as backend:
        assert backend.in_partition is not None
        backend.in_partition("a", "s").add_user_message("in a")
        assert backend.in_partition("b", "s").messages == backend.get_session_history("s").messages == []


def test_the_same_store_is_reached_over_the_wire_and_from_another_process() -> None:
    """By the same kind of handle; the connections over the wire are closed with it."""
    with opened() as backend:
        assert backend.wire is not None
        assert backend.in_another_process is not None
        pickle.loads(pickle.dumps(backend.in_another_process))("s").add_user_message("a")  # noqa: S301 -- our own
        with backend.wire.connect(*backend.wire.address) as get_session_history:
            assert get_session_history("s").messages == [HumanMessage("a")]


def test_the_password_of_the_server_is_named_as_a_secret() -> None:
    """So that the suite looks for it in errors."""
    with opened() as backend:
        assert all(secret in server().url for secret in backend.secrets)
        assert backend.secrets == server().secrets


# Other shapes: the same checks, for handles on connections and pools of the caller, and over tables of others.


def over_a_connection(stack: ExitStack, *, autocommit: bool) -> Backend:
    """All handles share one sync connection."""
    table = new_table()
    connection = stack.enter_context(psycopg.connect(database(), autocommit=autocommit))
    return _shape(lambda session_id: PostgresChatMessageHistory(table, session_id, sync_connection=connection))


def over_a_pool(stack: ExitStack) -> Backend:
    """All handles share one sync pool, smaller than the number of threads and tasks."""
    table = new_table()
    pool = stack.enter_context(ConnectionPool(database(), min_size=1, max_size=3, open=True))
    return _shape(lambda session_id: PostgresChatMessageHistory(table, session_id, sync_connection=pool))


def over_their_table(stack: ExitStack) -> Backend:
    """A table of the kind that langchain-postgres makes, with UUIDs and JSONB."""
    table = f"uuids_{uuid.uuid4().hex}"
    connection = stack.enter_context(psycopg.connect(database(), autocommit=True))
    columns = "(id SERIAL PRIMARY KEY, session_id UUID NOT NULL, message JSONB NOT NULL)"
    connection.execute(f"CREATE TABLE {table} {columns}; CREATE INDEX ON {table} (session_id)")

    def get_session_history(session_id: str) -> PostgresChatMessageHistory:
        made = uuid.uuid5(UUIDS, session_id.encode("utf-8", "surrogatepass").hex())
        return PostgresChatMessageHistory(table, str(made), conninfo=database())

    return _shape(get_session_history)


def _shape(get_session_history: Callable[[str], PostgresChatMessageHistory]) -> Backend:
    claims: set[Profile] = {"core", "async", "threads"}
    return Backend(name="shape", get_session_history=get_session_history, claims=claims, disposable=True)


# What differs between them are connections, transactions and types of columns: each is held to what that bears on.
CONNECTIONS = ("ORD-1", "ISO-7", "CLR-3", "ERR-2", "ERR-3", "ATM-1", "ATM-2", "ASY-4", "ASY-5", "CON-1", "CON-5")
SHAPES: dict[str, tuple[Callable[[ExitStack], Backend], tuple[str, ...]]] = {
    "a connection with autocommit": (lambda stack: over_a_connection(stack, autocommit=True), CONNECTIONS),
    "a connection without autocommit": (lambda stack: over_a_connection(stack, autocommit=False), CONNECTIONS),
    "a pool": (over_a_pool, CONNECTIONS),
    "a table of langchain-postgres": (
        over_their_table,
        ("ORD", "ISO-1", "ISO-2", "ISO-3", "CLR", "VAL-2", "VAL-4", "VAL-5", "VAL-7", "ATM-1"),
    ),
}
BRIEFLY = Configuration(effort="quick", examples=1)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, id=name, marks=[pytest.mark.long] * (" autocommit" in name))
        for name, shape in SHAPES.items()
    ],
)
def test_every_way_to_open_a_history_keeps_the_clauses_it_bears_on(
    shape: tuple[Callable[[ExitStack], Backend], tuple[str, ...]],
) -> None:
    """Users see no difference."""
    opened_so, clauses = shape
    with ExitStack() as stack:
        report = check(opened_so(stack), clauses=list(clauses), configuration=BRIEFLY)
    assert report.verdict == "conformant"
    assert [result.id for result in report.clauses if result.outcome == "warned"] == []
