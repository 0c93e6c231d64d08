"""Copies of messages are those that `copy.deepcopy` makes, and old objects are left to themselves during a run."""

# ruff: noqa: D103 -- the names of the tests say it

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from tests.drawn_programs import messages, values

from chathistory.conformance._copies import copies_of
from chathistory.conformance._garbage import nothing_collected, old_objects_left_alone
from chathistory.conformance._odd_messages import OddMessage
from chathistory.reference import same_value


def _containers(value: Any) -> set[int]:
    """The lists, dicts and messages inside a value, itself among them."""
    if isinstance(value, BaseMessage):
        inside = _containers(value.__dict__) | _containers(value.__pydantic_extra__)
        return {id(value), id(value.model_fields_set)} | inside
    if isinstance(value, dict):
        return {id(value)}.union(*map(_containers, value.values()))
    return {id(value)}.union(*map(_containers, value)) if isinstance(value, list) else set()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(messages() | values(), max_size=4))
def test_copies_are_the_same_and_share_nothing(drawn: list[Any]) -> None:
    copied = copies_of(drawn)
    assert same_value(drawn, copied, key_order=True)
    assert [getattr(each, "model_fields_set", None) for each in copied] == [
        getattr(each, "model_fields_set", None) for each in copy.deepcopy(drawn)
    ]
    assert not set().union(*map(_containers, drawn)) & set().union(*map(_containers, copied))


def test_what_is_one_object_is_one_among_the_copies() -> None:
    shared = {"a": [1]}
    message = HumanMessage("m1", additional_kwargs={"value": shared})
    first, other, again = copies_of([message, AIMessage("m2", response_metadata={"value": shared}), message])
    assert first is again
    assert first is not message
    assert first.additional_kwargs["value"] is other.response_metadata["value"]
    assert first.additional_kwargs["value"] is not shared


def test_messages_of_other_classes_are_copied_too() -> None:
    [copied] = copies_of([OddMessage(content="m1", additional_kwargs={"a": []})])
    assert type(copied) is OddMessage
    assert copied.additional_kwargs == {"a": []}


class _Circle:
    """What the collector is for: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_objects_that_were_there_are_left_alone_and_given_back() -> None:
    circle = _Circle()
    old = weakref.ref(circle)
    with old_objects_left_alone():
        new = weakref.ref(_Circle())
        del circle
        gc.collect()
        assert new() is None
        assert old() is not None
    gc.collect()
    assert old() is None


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was_after_imports(enabled: bool) -> None:
    if not enabled:
        gc.disable()
    try:
        with nothing_collected():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
