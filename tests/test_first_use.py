"""The first use of a store, which can be seen once in a run: before the smoke gate (CON-5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from tests.mutants import MUTANTS

from chathistory.conformance import Backend, Configuration, check
from chathistory.conformance._first_use import use_first
from chathistory.conformance._report import ClauseResult
from chathistory.conformance._runner import replay, smoke
from chathistory.reference import InMemoryChatHistoryStore

RACES = [mutant for mutant in MUTANTS if mutant.name.startswith("makes_the_only_table")]


def _con_5(backend: Backend) -> ClauseResult:
    (result,) = check(backend, clauses=["CON-5"], configuration=Configuration(examples=1)).clauses
    return result


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_a_race_that_an_empty_store_shows_once_is_seen(race: object) -> None:
    """The gate would have made the table that eight handles make here at once."""
    result = _con_5(race.make())  # type: ignore[attr-defined]
    assert result.outcome == "failed"
    assert result.counterexample is not None
    assert "first used" in result.counterexample.search


def test_a_store_that_has_been_used_does_not_show_it() -> None:
    """What is seen is the first use, and nothing that comes later."""
    backend = RACES[0].make()
    backend.get_session_history("m").add_user_message("m1")
    assert _con_5(backend).outcome == "passed"


def test_a_recorded_first_use_fails_again_on_an_empty_store_and_passes_on_a_mended_one() -> None:
    """Replay begins as a check does: by using the store for the first time."""
    result = _con_5(RACES[0].make())
    assert result.counterexample is not None
    recorded = {"id": "CON-5", "counterexample": {"program": result.counterexample.program}}
    empty = RACES[0].make()
    assert replay(empty, recorded, first_use=smoke(empty)) is not None
    mended = Backend(name="mended", get_session_history=InMemoryChatHistoryStore().get_session_history)
    assert replay(mended, recorded, first_use=smoke(mended)) is None


def test_a_store_that_claims_no_threads_is_not_used_by_threads() -> None:
    """Its handles may be bound to the thread that opened them."""

    def get_session_history(_session_id: str) -> BaseChatMessageHistory:
        raise AssertionError("it was opened")

    backend = Backend(name="alone", get_session_history=get_session_history, claims={"core"})
    assert use_first(backend, 1.0) is None


def test_what_is_raised_at_first_use_is_kept_for_the_clause_and_stops_nothing() -> None:
    """A store that refuses only its first eight handles is a failure of CON-5, not of the gate."""
    store, opened = InMemoryChatHistoryStore(), []

    def get_session_history(session_id: str) -> BaseChatMessageHistory:
        opened.append(session_id)
        if len(opened) <= 8:
            raise ConnectionError("not yet")
        return store.get_session_history(session_id)

    result = _con_5(Backend(name="shy", get_session_history=get_session_history))
    assert result.outcome == "failed"
    assert "not yet" in result.counterexample.explanation  # type: ignore[union-attr]


def test_the_plugin_uses_a_store_first_in_its_first_item(pytester: pytest.Pytester) -> None:
    """Whatever clause that item is of: the result is kept for the item of CON-5."""
    pytester.makepyfile(
        """
        from chathistory.conformance import ChatHistoryConformance
        from tests.mutants import MUTANTS

        class TestRace(ChatHistoryConformance):
            backend = next(m for m in MUTANTS if m.name == "makes_the_only_table_twice").make()
            examples = 1
        """
    )
    ran = pytester.runpytest_inprocess("-k", "ORD-1 or CON-5", "-p", "no:cacheprovider")
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.fnmatch_lines(["*CON-5*"])


def test_its_script_is_written_and_is_whole(tmp_path: Path) -> None:
    """It opens the eight handles itself, on whatever store it is given."""
    result = _con_5(RACES[0].make())
    assert result.counterexample is not None
    path = tmp_path / "script.py"
    path.write_text(result.counterexample.script, encoding="utf-8")
    compile(result.counterexample.script, str(path), "exec")
    assert "opens=True" in result.counterexample.script


def test_a_store_that_is_kept_is_left_without_the_session() -> None:
    """The session of the first use is the suite's own, and is cleared as all of its sessions are."""
    store = InMemoryChatHistoryStore()
    assert use_first(Backend(name="kept", get_session_history=store.get_session_history), 5.0) is not None
    assert store.sessions() == []
