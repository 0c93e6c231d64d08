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
