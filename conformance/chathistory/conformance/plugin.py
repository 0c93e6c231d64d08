"""The pytest plugin: an in-memory history as fixtures, and the options of `ChatHistoryConformance`.

pytest loads this module at every start, so it imports nothing else of ours until something of it is used.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chathistory.conformance._backend import SessionFactory
    from chathistory.reference import InMemoryChatHistoryStore

RESULT = pytest.StashKey[str]()
"""What an item of `ChatHistoryConformance` leaves for the reports of its class."""

_LONGEST = ("DUR-2", "DUR-3", "DUR-4", "ISO-2", "ORD-7", "EXP-1", "EXP-3", "ASY-1", "ATM-3", "RUN-2", "VAL-4", "VAL-5")
"""The clauses whose programs take longest, as measured on stores at a distance; the order is that of most stores."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("chathistory", "conformance of chat histories")
    group.addoption("--chathistory-effort", choices=("quick", "full", "thorough"), help="how hard to look [full]")
    group.addoption("--chathistory-examples", type=_positive, metavar="N", help="programs drawn for each clause")
    group.addoption("--chathistory-seed", type=int, metavar="N", help="chooses the programs [0]")
    group.addoption(
        "--chathistory-deviations",
        type=Path,
        metavar="FILE",
        help="the clauses that the backends are known to break, as TOML",
    )
    group.addoption(
        "--chathistory-json",
        type=Path,
        metavar="FILE",
        help="write the report of each ChatHistoryConformance class as JSON",
    )
    group.addoption(
        "--chathistory-html",
        type=Path,
        metavar="FILE",
        help="write the report of each ChatHistoryConformance class as an HTML page",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect results, in the one process that hears of all of them, if reports are wanted."""
    wanted = {kind: config.getoption(f"chathistory_{kind}") for kind in ("json", "html")}
    paths = {kind: path for kind, path in wanted.items() if path is not None}
    if paths and not hasattr(config, "workerinput"):
        from chathistory.conformance._pytest_reports import ClassReports

        config.pluginmanager.register(ClassReports(paths), "chathistory-reports")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the processes of pytest-xdist, begin with the clauses that take long, so that no process ends with one."""
    if not hasattr(config, "workerinput"):
        return
    places = [place for place, item in enumerate(items) if _clause_of(item)]
    classes = list(dict.fromkeys(items[place].parent for place in places))  # each opens its backend once
    ours = sorted((items[place] for place in places), key=lambda item: (classes.index(item.parent), _rank(item)))
    for place, item in zip(places, ours, strict=True):
        items[place] = item


def _clause_of(item: pytest.Item) -> str:
    """The clause that an item checks; empty for one that is none of ours."""
    if "chathistory_backend" not in getattr(item, "fixturenames", ()):
        return ""
    return str(item.callspec.params.get("clause_id", "")) if hasattr(item, "callspec") else ""


def _rank(item: pytest.Item) -> int:
    clause_id = _clause_of(item)
    return _LONGEST.index(clause_id) if clause_id in _LONGEST else len(_LONGEST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hand an item's result on with its report, which pytest-xdist carries to the controller."""
    report = yield
    if report.when == "call" and RESULT in item.stash:
        report.chathistory = item.stash[RESULT]  # type: ignore[attr-defined]
    return report


@pytest.fixture
def chat_history_store() -> InMemoryChatHistoryStore:
    """An empty in-memory store of chat histories that keeps every clause, for this test alone."""
    from chathistory.reference import InMemoryChatHistoryStore

    return InMemoryChatHistoryStore()


@pytest.fixture
def get_session_history(chat_history_store: InMemoryChatHistoryStore) -> SessionFactory:
    """Opens a session of `chat_history_store`: what RunnableWithMessageHistory takes."""
    return chat_history_store.get_session_history


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, not {text!r}")
    return int(text)
