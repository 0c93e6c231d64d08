"""The histories that people use today open as backends, and the suite finds what is really wrong with them.

Only violations that show every time are asked for here; docs/peers.md has all of them.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeAlias

import pytest
from langchain_core.messages import HumanMessage

from chathistory.adapters.peers.backends import file, in_memory, sql_sqlite, sql_sqlite_async
from chathistory.conformance import Backend, ClauseResult, Configuration, UsageError, check
from chathistory.conformance._targets import open_target

pytest.importorskip("langchain_community")

BackendFunction: TypeAlias = Callable[[], Iterator[Backend]]

PEERS = (in_memory, sql_sqlite, sql_sqlite_async, file)
QUICK = Configuration(effort="quick", examples=2, shrink_seconds=1.0, clause_seconds=1.0)

# What is wrong, and words of the report that say that it was found for the right reason.
BROKEN = (
    (in_memory, "SNP-1", "edited"),  # hands out its live list
    (in_memory, "SNP-2", "edited"),  # and the stored messages in it
    (in_memory, "SNP-3", "edited"),  # and keeps the caller's own objects
    (in_memory, "ERR-1", "it returned"),  # add_messages([None]) is taken
    (sql_sqlite, "VAL-9", "unexpected message type"),  # one message of an unknown class makes a session unreadable
    (sql_sqlite, "ERR-1", "AttributeError"),  # add_messages([None]) fails, but not as a refusal
    (sql_sqlite, "ISO-6", "1 message"),  # tables t and T are one
    (sql_sqlite_async, "VAL-9", "unexpected message type"),
    (sql_sqlite_async, "ERR-1", "AttributeError"),
    (file, "ATM-1", "1 message"),  # a batch that raises leaves its beginning behind
    (file, "VAL-9", "unexpected message type"),
)

KEPT = (
    (in_memory, "ORD-2"),
    (in_memory, "VAL-3"),
    (sql_sqlite, "ATM-1"),
    (sql_sqlite, "SNP-2"),
    (sql_sqlite_async, "SNP-2"),
    (sql_sqlite_async, "ASY-6"),
    (file, "SNP-1"),
    (file, "VAL-3"),
)


@contextmanager
def opened(function: BackendFunction) -> Iterator[Backend]:
    """The backend, from its opening to its end."""
    with closing(function()) as generator:
        yield next(generator)


def written(backend: Backend) -> None:
    """Add a message in each way that the backend claims."""
    history = backend.get_session_history("s")
    if "async" in set(backend.claims):
        asyncio.run(history.aadd_messages([HumanMessage("m1")]))
    if "threads" in set(backend.claims):
        history.add_messages([HumanMessage("m1")])


def checked(function: BackendFunction, clause: str) -> ClauseResult:
    """The result of one clause, looked at for as short as shows it."""
    with opened(function) as backend:
        [result] = check(backend, clauses=[clause], configuration=QUICK).clauses
    return result


@pytest.mark.parametrize(("function", "clause", "words"), BROKEN)
def test_what_is_wrong_is_found(function: BackendFunction, clause: str, words: str) -> None:
    """Each for its own reason, with a script that shows it."""
    result = checked(function, clause)
    assert result.outcome in ("failed", "warned")
    found = result.counterexample
    assert found is not None
    assert words in f"{found.observed} {found.explanation}"
    assert f"chathistory.adapters.peers.backends:{function.__name__}" in found.script


@pytest.mark.parametrize(("function", "clause"), KEPT)
def test_what_is_kept_is_not_blamed(function: BackendFunction, clause: str) -> None:
    """A clause that a peer keeps passes."""
    assert checked(function, clause).outcome == "passed"


@pytest.mark.parametrize("function", PEERS)
def test_each_peer_has_the_name_by_which_it_is_registered(function: BackendFunction) -> None:
    """`chathistory check NAME`, the report and the scripts speak of the same backend."""
    with opened(function) as backend:
        [entry] = entry_points(group="chathistory.backends", name=backend.name)
        assert entry.value == backend.import_path
        assert backend.disposable
        assert all(backend.versions.values())


@pytest.mark.parametrize("function", PEERS)
def test_a_peer_gives_no_warning_and_leaves_nothing_behind(
    function: BackendFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deprecations are for those who chose the class; connections and files are gone at the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(function) as backend:
            written(backend)
        gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_runs_of_one_peer_do_not_see_each_other() -> None:
    """Each opening is an empty store."""
    for function in (in_memory, sql_sqlite, file):
        with opened(function) as one, opened(function) as two:
            one.get_session_history("s").add_user_message("m1")
            assert two.get_session_history("s").messages == []


def test_a_missing_library_is_one_line_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not installed the extra learns its name."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "langchain_community"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "langchain_community", None)
    with pytest.raises(UsageError, match=r'pip install "chathistory\[peers\]"'), open_target("peer:sql-sqlite"):
        pass
