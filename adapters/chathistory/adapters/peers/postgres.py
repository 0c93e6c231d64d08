"""How the suite opens langchain-postgres's history: over one shared connection, as its documentation does.

Nothing is mended. Session ids must be UUIDs there, so each id of the suite stands for one that is made from it.
"""

from __future__ import annotations

import functools
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory

from chathistory.adapters.postgres.backend import new_database
from chathistory.adapters.servers import postgres_server
from chathistory.conformance import Backend, Wire

TABLE = "chat_history"
_CONNECTION = (
    "All handles share one psycopg.Connection, opened by psycopg.connect(conn_info) as in its documentation; whoever "
    "opens a handle rolls back a transaction that has failed before, and connects again once it is closed."
)
_IDS = (
    "Its session ids must be UUIDs, so each id stands for the UUID (version 5) that is made from it: ISO-2 and ISO-5 "
    "judge these, and ERR-4 can't find the suite's own id."
)
_NAMESPACE = uuid.UUID("0e984725-c51c-4bf4-9960-e1c80e27aba0")


def postgres(*, server: str = "") -> Iterator[Backend]:
    """langchain-postgres's PostgresChatMessageHistory in a new database, removed at the end.

    Args:
        server: as for `chathistory.adapters.servers.postgres_server`.
    """
    history = _class()
    with postgres_server(server) as opened, new_database(opened.url) as conninfo, _connections(conninfo) as connection:
        history.create_tables(connection(), TABLE)
        yield Backend(
            name="peer:postgres",
            get_session_history=lambda session_id: _handle(connection(), TABLE, session_id),
            claims={"core", "threads", "processes", "durable"},
            in_partition=lambda table, session_id: _in_table(connection(), table, session_id),
            wire=Wire(address=(opened.host, opened.port), connect=functools.partial(_through, conninfo)),
            in_another_process=functools.partial(_in_another_process, conninfo),
            crash_server=opened.crash,
            secrets=opened.secrets,
            disposable=True,
            isolated=True,
            versions={
                **opened.versions,
                **{name: version(name) for name in ("langchain-postgres", "langchain-core", "psycopg")},
            },
            import_path=f"{__name__}:postgres",
            notes=(_CONNECTION, _IDS, "It does not claim async: with a sync connection every async call raises."),
        )


def _class() -> Any:
    """The class, imported at the last moment, so that a missing library can be named."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_postgres import PostgresChatMessageHistory
    return PostgresChatMessageHistory


def _handle(connection: Any, table: str, session_id: str) -> BaseChatMessageHistory:
    made = uuid.uuid5(_NAMESPACE, session_id.encode("utf-8", "surrogatepass").hex())
    handle: BaseChatMessageHistory = _class()(table, str(made), sync_connection=connection)
    return handle


def _in_table(connection: Any, table: str, session_id: str) -> BaseChatMessageHistory:
    """A handle on a table, which is made by it; the class is asked first whether it takes the name."""
    handle = _handle(connection, table, session_id)
    _class().create_tables(connection, table)
    return handle


@contextmanager
def _connections(conninfo: str) -> Iterator[Callable[[], Any]]:
    """What gives the one connection, fit for use, as the web framework around it would for each request.

    Otherwise the first message that is refused would end the run: every later call would be refused, too.
    """
    import psycopg
    from psycopg.pq import TransactionStatus

    current = psycopg.connect(conninfo)

    def connection() -> Any:
        nonlocal current
        if current.closed:
            current = psycopg.connect(conninfo)
        if current.pgconn.transaction_status == TransactionStatus.INERROR:
            current.rollback()
        return current

    try:
        yield connection
    finally:
        current.close()


@contextmanager
def _through(conninfo: str, host: str, port: int) -> Iterator[Callable[[str], BaseChatMessageHistory]]:
    """Handles on the same database that reach the server at another address."""
    from psycopg.conninfo import make_conninfo

    elsewhere = make_conninfo(conninfo, host=host, port=port, sslmode="disable", gssencmode="disable")
    with _connections(elsewhere) as connection:
        yield lambda session_id: _handle(connection(), TABLE, session_id)


def _in_another_process(conninfo: str, session_id: str) -> BaseChatMessageHistory:
    return _handle(_connection_of_this_process(conninfo), TABLE, session_id)


@functools.cache
def _connection_of_this_process(conninfo: str) -> Any:
    import psycopg

    return psycopg.connect(conninfo)
