"""The backend by which the suite opens the SQLite history: its own database, slow on request, gone at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from chathistory.adapters.sqlite.backend import URL_VARIABLE, sqlite
from chathistory.conformance import Backend


@contextmanager
def opened() -> Iterator[Backend]:
    """The backend, from its opening to its end."""
    with closing(sqlite()) as generator:
        yield next(generator)


def folder_of(backend: Backend) -> Path:
    """Where a disposable backend keeps its database."""
    return Path(backend.get_session_history("s")._place).parent


def test_each_opening_is_an_empty_database_that_is_removed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs don't see each other, and leave nothing behind."""
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with opened() as one, opened() as two:
        folders = [folder_of(one), folder_of(two)]
        one.get_session_history("s").add_user_message("a")
        assert two.get_session_history("s").messages == []
        assert one.disposable
    assert [folder.exists() for folder in folders] == [False, False]


def test_partitions_are_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same session id in two of them is two sessions."""
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with opened() as backend:
        assert backend.in_partition is not None
        backend.in_partition("a", "s").add_user_message("in a")
        assert backend.in_partition("b", "s").messages == backend.get_session_history("s").messages == []


def test_a_database_of_the_user_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the variable names is opened, not removed, and not called disposable."""
    monkeypatch.setenv(URL_VARIABLE, f"sqlite:///{tmp_path}/mine.db")
    with opened() as backend:
        assert not backend.disposable
        backend.get_session_history("s").add_user_message("a")
    with opened() as backend:
        assert backend.get_session_history("s").messages == [HumanMessage("a")]


def test_a_slow_store_makes_writes_wait_and_nothing_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write takes about the time that was asked for; reads don't wait; afterwards all is fast again."""
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with opened() as backend:
        assert backend.slow is not None
        history = backend.get_session_history("s")
        with backend.slow(0.3):
            began = time.monotonic()
            history.add_user_message("a")
            assert time.monotonic() - began > 0.15
            history.add_user_message("b")
            assert history.messages == [HumanMessage("a"), HumanMessage("b")]
        history.add_user_message("c")
        assert len(history.messages) == 3
