"""How the suite opens the PostgreSQL history, and what that history claims."""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from chathistory.adapters.postgres._history import PostgresChatMessageHistory
from chathistory.adapters.postgres._owned import DATABASES
from chathistory.adapters.servers import Server, postgres_server
from chathistory.conformance import Backend, Wire

TABLE = "chat_history"


def postgres(*, server: str = "") -> Iterator[Backend]:
    """A new database on a server, removed at the end with everything in it.

    Args:
        server: as for `chathistory.adapters.servers.postgres_server`.
    """
    with postgres_server(server) as opened, new_database(opened.url) as conninfo:
        PostgresChatMessageHistory.create_tables(conninfo, TABLE)
        try:
            yield _backend(opened, conninfo)
        finally:
            DATABASES.close(conninfo)


def _backend(server: Server, conninfo: str) -> Backend:
    return Backend(
        name="postgres",
        get_session_history=functools.partial(history, conninfo),
        claims={"core", "async", "threads", "processes", "durable"},
        in_partition=tables(conninfo),
        wire=Wire(address=(server.host, server.port), connect=functools.partial(_through, conninfo)),
        in_another_process=functools.partial(history, conninfo),
        crash_server=server.crash,
        secrets=server.secrets,
        disposable=True,
        isolated=True,
        versions={**server.versions, "psycopg": version("psycopg"), "libpq": str(psycopg.pq.version())},
        import_path=f"{__name__}:postgres",
        notes=(f"Handles are opened by conninfo; the server is {_DESCRIBED[server.how]}.",),
    )


_DESCRIBED = {
    "embedded": "an embedded one, with its settings of durability as they come",
    "docker": "one in a container",
    "url": "the user's",
}


def history(conninfo: str, session_id: str) -> PostgresChatMessageHistory:
    """A handle as most users open it; it can be pickled as a partial, and opened in any process."""
    return PostgresChatMessageHistory(TABLE, session_id, conninfo=conninfo)


def tables(conninfo: str) -> Callable[[str, str], PostgresChatMessageHistory]:
    """What opens a handle on a table, which is made on demand."""
    made: set[str] = set()
    lock = threading.Lock()

    def in_partition(table: str, session_id: str) -> PostgresChatMessageHistory:
        if table not in made:  # looked at without the lock, so that many try to make it at once (CON-5)
            PostgresChatMessageHistory.create_tables(conninfo, table)
            with lock:
                made.add(table)
        return PostgresChatMessageHistory(table, session_id, conninfo=conninfo)

    return in_partition


@contextmanager
def _through(conninfo: str, host: str, port: int) -> Iterator[Callable[[str], PostgresChatMessageHistory]]:
    """Handles on the same database that reach the server at another address."""
    elsewhere = make_conninfo(conninfo, host=host, port=port, sslmode="disable", gssencmode="disable")
    try:
        yield functools.partial(history, elsewhere)
    finally:
        DATABASES.close(elsewhere)


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """The URL of a database of a name that nobody has; it is removed at the end, whoever is connected to it."""
    name = f"chathistory_{secrets.token_hex(6)}"
    _administer(url, "CREATE DATABASE {}", name)
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        _administer(url, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _administer(url: str, statement: Any, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
