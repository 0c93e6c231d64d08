"""How the suite opens the histories that others wrote and that need no server: as a typical user opens them.

Nothing is mended here, and nothing is claimed that their documentation does not suggest. Each function imports
what it needs itself, so that the one whose library is missing can be named.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from langchain_core._api.deprecation import LangChainDeprecationWarning, LangChainPendingDeprecationWarning
from langchain_core.chat_history import BaseChatMessageHistory

from chathistory.conformance import Backend

_ONE_ENGINE = "All handles share one engine; connection='sqlite:///…' would make an engine for each handle."


def in_memory() -> Iterator[Backend]:
    """langchain-core's InMemoryChatMessageHistory, one object for each session id."""
    from langchain_core.chat_history import InMemoryChatMessageHistory

    sessions: dict[str, InMemoryChatMessageHistory] = {}

    def get_session_history(session_id: str) -> InMemoryChatMessageHistory:
        return sessions.setdefault(session_id, InMemoryChatMessageHistory())

    with _without_deprecations():
        yield Backend(
            name="peer:in-memory",
            get_session_history=get_session_history,
            claims={"core", "async", "threads"},
            disposable=True,
            isolated=True,
            versions=_versions("langchain-core"),
            import_path=f"{__name__}:in_memory",
            notes=("A dict holds one InMemoryChatMessageHistory for each session id, as in its documentation.",),
        )


def sql_sqlite() -> Iterator[Backend]:
    """langchain-community's SQLChatMessageHistory on a SQLite file, through a sync engine."""
    with _without_deprecations():
        from langchain_community.chat_message_histories import SQLChatMessageHistory
        from sqlalchemy import create_engine

    with _without_deprecations(), _folder() as folder:
        url = f"sqlite:///{folder / 'memory.db'}"
        engine = create_engine(url)
        try:
            yield _sql_backend(
                SQLChatMessageHistory,
                engine,
                name="peer:sql-sqlite",
                claims={"core", "threads", "processes", "durable"},
                in_another_process=partial(_opened_by_url, url),
                versions=_versions("langchain-community", "sqlalchemy", sqlite=sqlite3.sqlite_version),
                import_path=f"{__name__}:sql_sqlite",
                notes=(_ONE_ENGINE, "It does not claim async: with a sync engine every async call raises."),
            )
        finally:
            engine.dispose()


def sql_sqlite_async() -> Iterator[Backend]:
    """langchain-community's SQLChatMessageHistory on a SQLite file, through an async engine (aiosqlite)."""
    with _without_deprecations():
        import aiosqlite  # noqa: F401 -- to be named if it is missing, and not when the first connection is made
        from langchain_community.chat_message_histories import SQLChatMessageHistory
        from sqlalchemy.ext.asyncio import create_async_engine

    with _without_deprecations(), _folder() as folder:
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'memory.db'}")
        slow = _slowed_statements(engine.sync_engine)
        try:
            yield _sql_backend(
                _without_sync_calls(SQLChatMessageHistory),
                engine,
                name="peer:sql-sqlite-async",
                claims={"core", "async", "processes", "durable"},
                slow=slow,
                versions=_versions("langchain-community", "sqlalchemy", "aiosqlite", sqlite=sqlite3.sqlite_version),
                import_path=f"{__name__}:sql_sqlite_async",
                notes=(_ONE_ENGINE, "It does not claim threads: an async engine serves one event loop."),
            )
        finally:
            asyncio.run(engine.dispose())


def file() -> Iterator[Backend]:
    """langchain-community's FileChatMessageHistory, a file for each session id."""
    with _without_deprecations():
        import langchain_community.chat_message_histories  # noqa: F401 -- to be named if it is missing

    with _without_deprecations(), _folder() as folder:
        yield Backend(
            name="peer:file",
            get_session_history=partial(_opened_in, str(folder)),
            claims={"core", "async", "threads", "processes", "durable"},
            disposable=True,
            isolated=True,
            versions=_versions("langchain-community"),
            import_path=f"{__name__}:file",
            notes=("The class takes a path; its file is named by the SHA-256 of the id, which ISO-2 and ISO-5 judge.",),
        )


def _opened_in(folder: str, session_id: str) -> BaseChatMessageHistory:
    """The history of a file; in any process."""
    from langchain_community.chat_message_histories import FileChatMessageHistory

    return _made(FileChatMessageHistory, str(Path(folder, f"{_file_name(session_id)}.json")))


def _opened_by_url(url: str, session_id: str) -> BaseChatMessageHistory:
    """The history of a SQLite file, in a process that has no engine yet."""
    from langchain_community.chat_message_histories import SQLChatMessageHistory

    return _made(SQLChatMessageHistory, session_id=session_id, connection=url)


def _sql_backend(history: Callable[..., Any], engine: Any, **about: Any) -> Backend:
    """A backend whose handles are made by a class like SQLChatMessageHistory, all on one engine."""

    def get_session_history(session_id: str) -> BaseChatMessageHistory:
        return _made(history, session_id=session_id, connection=engine)

    def in_partition(table: str, session_id: str) -> BaseChatMessageHistory:
        return _made(history, session_id=session_id, connection=engine, table_name=table)

    return Backend(
        get_session_history=get_session_history, in_partition=in_partition, disposable=True, isolated=True, **about
    )


def _made(history: Callable[..., Any], *args: Any, **kwargs: Any) -> BaseChatMessageHistory:
    """A handle of a class that may be untyped."""
    handle: BaseChatMessageHistory = history(*args, **kwargs)
    return handle


def _without_sync_calls(history: Any) -> Any:
    """The class, except that its sync calls raise NotImplementedError, and no ValueError, in async mode.

    That is how the suite sees that there are none, and not that they fail.
    """

    class AsyncSQLChatMessageHistory(history):  # type: ignore[misc] # untyped where the library is missing
        def _make_sync_session(self) -> NoReturn:
            raise NotImplementedError("there are no sync calls with an async engine")

    return AsyncSQLChatMessageHistory


def _slowed_statements(engine: Any) -> Callable[[float], Any]:
    """What makes every statement take longer, in the thread of the driver, where a slow disk would."""
    from sqlalchemy import event

    delays = [0.0]

    def wait(_statement: str) -> None:
        time.sleep(delays[-1])

    def watch(connection: Any, _record: Any) -> None:
        connection.run_async(lambda driver: driver.set_trace_callback(wait))

    event.listen(engine, "connect", watch)

    @contextmanager
    def slow(seconds: float) -> Iterator[None]:
        delays.append(seconds)
        try:
            yield
        finally:
            delays.pop()

    return slow


def _file_name(session_id: str) -> str:
    """A name that no two session ids share, and that every file system takes."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def _folder() -> Iterator[Path]:
    # Files that are open can't be removed everywhere, and a late handle must not turn that into a failure.
    with tempfile.TemporaryDirectory(prefix="chathistory-peer-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """Leave out what LangChain tells those who chose these classes: the user here chose to check them."""
    with warnings.catch_warnings():
        for category in (LangChainDeprecationWarning, LangChainPendingDeprecationWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield


def _versions(*distributions: str, **others: str) -> dict[str, str]:
    return {**{name: version(name) for name in distributions}, **others}
