"""The structure holds: which room may import what, what is public, and what the namespace needs."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"reference": ("reference",), "conformance": ("conformance", "reference")}
ADAPTERS = ("dynamodb", "postgres", "redis", "sqlite")
PUBLIC = (
    "chathistory.reference",
    "chathistory.conformance",
    "chathistory.conformance.linearizability",
    "chathistory.conformance.strategies",
    "chathistory.adapters.servers",
    *(f"chathistory.adapters.{name}" for name in ADAPTERS),
)
SUITE = ("hypothesis", "pytest", "click", "rich")


def modules_of(room: str) -> Iterator[Path]:
    """The source files of a room."""
    yield from (ROOT / room / "chathistory" / room).rglob("*.py")


def imports_of(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, by their full names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    """Arrows point one way: adapters to conformance to reference."""
    for path in modules_of(room):
        for name in imports_of(path):
            if name.startswith("chathistory."):
                assert name.split(".")[1] in ROOMS[room], f"{path} imports {name}"


def test_the_reference_needs_langchain_core_alone() -> None:
    """The base install has nothing else."""
    allowed = {"langchain_core", "pydantic", "chathistory", *sys.stdlib_module_names}
    for path in modules_of("reference"):
        assert {name.split(".")[0] for name in imports_of(path)} <= allowed, path


def test_a_history_class_never_imports_the_suite() -> None:
    """Who only wants a history pulls in neither hypothesis nor pytest."""
    for path in modules_of("adapters"):
        if path.name != "backend.py" and path.parent.name not in ("peers", "servers"):
            taken = ("chathistory.conformance", "chathistory.adapters.servers")
            assert not any(name.startswith(taken) for name in imports_of(path)), path


@pytest.mark.parametrize("name", ADAPTERS)
def test_importing_a_history_imports_no_tool_of_the_suite(name: str) -> None:
    """What is imported is the store's driver and langchain-core."""
    code = f"import sys, chathistory.adapters.{name}; assert not set({SUITE!r}) & set(sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)  # noqa: S603 -- our own command


def test_a_trial_imports_nothing_but_trials() -> None:
    """The script of a counterexample holds its file whole."""
    for path in (ROOT / "conformance/chathistory/conformance/trials").glob("*.py"):
        for name in imports_of(path):
            assert not name.startswith("chathistory") or ".trials." in name, f"{path} imports {name}"


@pytest.mark.parametrize("room", ["reference", "conformance", "adapters"])
def test_no_portion_of_the_namespace_hides_the_others(room: str) -> None:
    """An `__init__.py` directly in a `chathistory` folder would."""
    assert not (ROOT / room / "chathistory" / "__init__.py").exists()
    assert (ROOT / room / "chathistory" / room / "py.typed").exists()


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_exported_is_what_is_visible(name: str) -> None:
    """`__all__` is sorted, complete, and nothing more; what a single module imports is no part of it."""
    module = importlib.import_module(name)
    home = "chathistory" if hasattr(module, "__path__") else name
    exported = list(module.__all__)
    assert exported == sorted(exported, key=lambda item: (not item.isupper(), not item[0].isupper(), item))
    for item in exported:
        assert getattr(module, item) is not None
    visible = {
        item
        for item, value in vars(module).items()
        if not item.startswith("_") and getattr(value, "__module__", "").startswith(home)
    }
    assert visible <= set(exported)


def test_the_clauses_are_data() -> None:
    """Docs, reports and checks read one file."""
    data = json.loads(files("chathistory.reference").joinpath("clauses.json").read_text("utf-8"))
    assert len(data["clauses"]) == len({clause["id"] for clause in data["clauses"]}) > 60


def test_every_clause_has_a_check() -> None:
    """A clause without a check would be reported as not claimed for ever."""
    from chathistory.conformance.checks import checks_of
    from chathistory.reference import CLAUSES

    for clause in CLAUSES:
        assert checks_of(clause.id), clause.id


def test_checks_have_names_of_their_own() -> None:
    """A recorded counterexample names the check that found it."""
    from chathistory.conformance.checks import CHECKS

    names = [(check.clause, check.name) for check in CHECKS]
    assert len(names) == len(set(names))
