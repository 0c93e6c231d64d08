"""Declared limits: what a declaration may say, how a report tells of it, and what a counterexample shows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from tests.mutants import limits

from chathistory.conformance import Backend, Configuration, Limits, check
from chathistory.conformance._cli import run
from chathistory.conformance._demands import demand_of_write
from chathistory.conformance._program import Add
from chathistory.conformance._report import EFFORTS
from chathistory.conformance.checks.limits import LARGEST_PROBED
from chathistory.reference import InMemoryChatHistoryStore

QUICK = replace(EFFORTS["quick"], shrink_seconds=0.5)

SUBJECT = '''
from chathistory.conformance import Backend, Limits
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

store = InMemoryChatHistoryStore()

class TooLargeError(ValueError):
    """What the documentation names."""

class Impolite(InMemoryChatMessageHistory):
    """Refuses what is too large by the error of its driver."""
    def __init__(self, session_id):
        super().__init__(session_id, store=store)
    def add_messages(self, messages):
        messages = list(messages)
        if any(len(str(getattr(message, "content", ""))) > 300_000 for message in messages):
            raise ConnectionError("413 Request Entity Too Large")
        super().add_messages(messages)

impolite = Backend(
    name="impolite",
    get_session_history=Impolite,
    claims=["core"],
    limits=Limits(message_bytes=300_000, error=TooLargeError),
    import_path="subject.py:impolite",
)
'''


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        ({"error": ValueError}, ValueError, "a message_bytes or a session_id_bytes"),
        ({"error": ValueError, "message_bytes": 10}, ValueError, "at least 64"),
        ({"error": ValueError, "session_id_bytes": "255"}, TypeError, "must be an int or None"),
        ({"error": "ValueError", "message_bytes": 1000}, TypeError, "a type of exceptions"),
        ({"error": (), "message_bytes": 1000}, TypeError, "a type of exceptions"),
    ],
)
def test_a_limit_that_can_not_be_probed_is_refused(given: dict[str, Any], kind: type[Exception], told: str) -> None:
    """At once, with what is missing."""
    with pytest.raises(kind, match=told):
        Limits(**given)


def test_limits_are_probed_by_the_clauses_they_belong_to() -> None:
    """Messages by VAL-2 and VAL-6, session ids by ISO-2 and ISO-5: more programs than without a declaration."""
    limited = limits.limited("limited", limits.LimitedHistory)
    clauses = ["VAL-2", "VAL-6", "ISO-2", "ISO-5"]
    declared, plain = (
        check(backend, clauses=clauses, configuration=QUICK) for backend in (limited, replace(limited, limits=None))
    )
    more = [one.programs - other.programs for one, other in zip(declared.clauses, plain.clauses, strict=True)]
    assert min(more) > 0
    assert declared.verdict == plain.verdict == "conformant"
    assert declared.limits == {"message_bytes": 300_000, "session_id_bytes": 255}


def test_a_limit_that_is_not_where_the_store_ends_is_told() -> None:
    """Nothing is lost, so nothing fails; what makes the declaration false is in the report."""
    store = InMemoryChatHistoryStore()
    declared = Limits(message_bytes=300_000, session_id_bytes=300, error=ValueError)
    roomy = Backend(name="roomy", get_session_history=store.get_session_history, limits=declared)
    report = check(roomy, clauses=["VAL-6", "ISO-5"], configuration=QUICK)
    assert report.verdict == "conformant"
    notes = {result.id: " ".join(result.notes) for result in report.clauses}
    assert "the declared limit of 300,000 bytes for a message is not where it ends" in notes["VAL-6"]
    assert "the declared limit of 300 bytes for a session id is not where it ends" in notes["ISO-5"]


def test_a_limit_that_is_too_large_is_not_probed_and_the_report_says_so() -> None:
    """A run must stay short."""
    store = InMemoryChatHistoryStore()
    declared = Limits(message_bytes=LARGEST_PROBED + 1, error=ValueError)
    roomy = Backend(name="roomy", get_session_history=store.get_session_history, limits=declared)
    report = check(roomy, clauses=["VAL-6"], configuration=QUICK)
    assert any("were not probed" in note for note in report.notes)
    assert not report.clauses[0].notes or "not where it ends" not in report.clauses[0].notes[0]


def test_a_wrong_error_has_a_script_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script tells the error by its name, so it needs nothing of the backend but the factory."""
    monkeypatch.chdir(tmp_path)
    Path("subject.py").write_text(SUBJECT)
    assert run(["check", "subject.py:impolite", "--quick", "--clause", "VAL-6", "--json", "r.json", "--quiet"]) == 1
    found = json.loads(Path("r.json").read_text())["clauses"][0]["counterexample"]
    assert found["expected"] == "TooLargeError"
    assert "413 Request Entity Too Large" in found["observed"]
    (script,) = Path("chathistory-report").glob("*.py")
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 -- our own script
    assert ended.returncode == 1, ended.stderr
    assert "STILL FAILING" in ended.stdout
    assert len(script.read_text()) < 4_000, "what is too large is written down as what it is made of"
    assert run(["replay", "r.json"]) == 1


def test_calls_that_are_not_claimed_may_raise_and_the_report_says_how() -> None:
    """An error that is no NotImplementedError is told, and fails nobody."""

    class SyncOnly(limits.LimitedHistory):
        claims = frozenset({"core"})

        async def _arun(self, steps: Any) -> Any:
            raise RuntimeError(f"session {self.session_id!r}: this history has no async methods")

    report = check(limits.backend("sync", SyncOnly), clauses=["ERR-2"], configuration=Configuration(effort="quick"))
    assert report.verdict == "conformant"
    assert "its async calls, which it does not claim, raise RuntimeError and not NotImplementedError" in " ".join(
        report.clauses[0].notes
    )


def test_a_message_within_its_limit_may_be_too_much_together_with_others() -> None:
    """The limit is one of a message; what a batch or a session may hold is bounded as in any store."""
    limits = Limits(message_bytes=2**20, error=ValueError)
    large, small = HumanMessage("x" * 2**20), HumanMessage("m1")
    assert demand_of_write(Add(1, (large,)), limits).kind == "store"
    assert demand_of_write(Add(1, (small,)), limits, [small]).kind == "store"
    assert demand_of_write(Add(1, (HumanMessage("x" * 2**19),)), limits, [small]).kind == "store"
    assert demand_of_write(Add(1, (small, large)), limits).kind == "store or refuse"
    assert demand_of_write(Add(1, (large,)), limits, [small]).kind == "store or refuse"
