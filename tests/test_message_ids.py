"""Message ids of programs are templates: what others have left under an id is met by no later program."""

from __future__ import annotations

from dataclasses import replace

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chathistory.conformance._interpreter import Execution
from chathistory.conformance._judge import run_and_judge
from chathistory.conformance._lens import Lens
from chathistory.conformance._message_ids import filled, templates_of
from chathistory.conformance._portable import program_from_json, program_to_json
from chathistory.conformance._program import Add, Assign, Cancel, Open, Read, Step, new_token, program
from chathistory.conformance.backends import reference
from chathistory.conformance.checks import CHECKS, Check

OURS = HumanMessage("m1", id="id-{run}")
"""A message whose id is a template."""


@pytest.mark.parametrize("step", [Add(1, (OURS,)), Assign(1, (OURS,)), Cancel(1, (OURS,), 1, beside=(OURS,))])
def test_each_execution_has_ids_of_its_own(step: Step) -> None:
    """The program keeps its template."""
    first, second = filled(step, new_token()), filled(step, new_token())
    assert first != second
    assert not templates_of(first)
    assert set(templates_of(step)) == {"id-{run}"}


def test_what_is_no_template_stays_as_it_is() -> None:
    """Other ids, what is no message, and which messages are one object."""
    step = Add(1, (OURS, HumanMessage("m2", id="id-1"), None, OURS, "{run}"))
    messages = filled(step, new_token()).messages  # type: ignore[union-attr]
    assert messages[0] is messages[3]
    assert messages[1:3] == step.messages[1:3]
    assert messages[4] == "{run}"
    plain = Add(1, (HumanMessage("m2", id="id-1"),))
    assert filled(plain, new_token()) is plain


def test_what_is_observed_is_told_by_templates() -> None:
    """So the text, and the values that a script expects, fit the program."""
    [backend] = reference()
    store = backend.get_session_history
    steps = program(Open(1, "{run}-a"), Add(1, (OURS, AIMessage("m2", id="id-{run}"))), Read(1))
    observed = [observation.value for observation in Execution(backend, steps).run()][-1]
    assert [message.id for message in observed] == [observed[0].id] * 2 != ["id-{run}"] * 2

    class Forgetful:
        """Reads the first message only."""

        def __init__(self, session_id: str) -> None:
            self._history = store(session_id)

        @property
        def messages(self) -> list[object]:
            """All but what is not there."""
            return list(self._history.messages[:1])

        def __getattr__(self, name: str) -> object:
            return getattr(self._history, name)

    forgetful = replace(backend, get_session_history=Forgetful)
    divergence = run_and_judge(forgetful, steps, Lens(view="full")).divergence
    assert divergence is not None
    assert [message.id for message in divergence.expectation.values[0]] == ["id-{run}"] * 2
    assert "id-{run}" in divergence.expected
    assert "id-{run}" in divergence.observed


def test_templates_survive_in_reports() -> None:
    """A recorded program fills them anew."""
    steps = program(Open(1, "{run}-a"), Add(1, (OURS,)))
    assert templates_of(program_from_json(program_to_json(steps)).steps[1]) == ["id-{run}"]


@pytest.mark.parametrize("check", [check for check in CHECKS if check.by_twins], ids=lambda check: check.name)
def test_what_is_run_twice_and_compared_has_the_same_ids_in_both_runs(check: Check) -> None:
    """Each run would have ids of its own."""
    assert not [step for case in check.cases("quick") for step in case.steps if templates_of(step)]
