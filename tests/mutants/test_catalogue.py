"""The catalogue is sound: named, complete, and made of histories that open."""

from __future__ import annotations

import asyncio
import re
from typing import get_args

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from tests.mutants import MUTANTS, ODD, Hardness, Mutant, Odd

from chathistory.reference import CLAUSES

PLANTED_FAMILIES = ["ORD", "ISO", "CLR", "VAL", "SNP", "ERR", "ATM", "ASY", "CON", "RUN", "BND", "EXP"]


def test_names_are_unique() -> None:
    """A report that names a mutant names one."""
    names = [*(one.name for one in MUTANTS), *(one.name for one in ODD)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("clause", [one.id for one in CLAUSES if one.family in PLANTED_FAMILIES])
def test_clause_has_a_mutant(clause: str) -> None:
    """No check of a clause goes unproved: for some mutant the clause is the best answer."""
    assert any(mutant.clauses[0] == clause for mutant in MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_mutant_is_described(mutant: Mutant) -> None:
    """An entry says what the lie is, whom to blame, and how hard it is to see."""
    assert re.fullmatch("[a-z0-9_]+", mutant.name)
    assert mutant.story.endswith((".", '"'))
    assert mutant.clauses
    assert set(mutant.clauses) <= {clause.id for clause in CLAUSES}
    assert mutant.hardness in get_args(Hardness)
    assert mutant.minimum_operations is not None or mutant.hardness == "timing"


@pytest.mark.parametrize("one", [*MUTANTS, *ODD], ids=lambda one: one.name)
def test_backend_opens(one: Mutant | Odd) -> None:
    """Each `make` gives a backend of its own that opens a handle, and by every option it offers."""
    backend, another = one.make(), one.make()
    assert backend.name == one.name
    assert backend is not another
    assert isinstance(backend.get_session_history("first"), BaseChatMessageHistory)
    assert ("bounded" in backend.claims) == (backend.with_history_size is not None)
    assert ("expiry" in backend.claims) == (backend.with_ttl is not None)
    if backend.with_history_size is not None:
        assert isinstance(backend.with_history_size("first", 3), BaseChatMessageHistory)
    if backend.with_ttl is not None:
        assert isinstance(backend.with_ttl("first", 10.0), BaseChatMessageHistory)


@pytest.mark.parametrize("one", ODD, ids=lambda one: one.name)
def test_odd_history_keeps_what_it_is_told(one: Odd) -> None:
    """Two messages go in and come out, through another handle, and a clear is the end of them."""
    backend = one.make()
    asyncio.run(_smoke(_Forms(backend.get_session_history("first")), _Forms(backend.get_session_history("first"))))


@pytest.mark.parametrize("one", ODD, ids=lambda one: one.name)
def test_odd_history_starts_afresh(one: Odd) -> None:
    """Nothing goes from one `make` to the next."""
    asyncio.run(_Forms(one.make().get_session_history("second")).add([HumanMessage("old")]))
    assert asyncio.run(_Forms(one.make().get_session_history("second")).read()) == []


async def _smoke(writer: _Forms, reader: _Forms) -> None:
    messages = [HumanMessage("question", id="1"), AIMessage("answer", note={"a": [1, 2.0, None, True]})]
    await writer.add(messages)
    assert await reader.read() == messages
    await reader.clear()
    assert await writer.read() == []


class _Forms:
    """Uses the sync forms of a history, or the async ones where there are no sync ones, or none in a running loop."""

    def __init__(self, history: BaseChatMessageHistory) -> None:
        self.history = history

    async def add(self, messages: list[BaseMessage]) -> None:
        try:
            self.history.add_messages(messages)
        except (NotImplementedError, RuntimeError):
            await self.history.aadd_messages(messages)

    async def read(self) -> list[BaseMessage]:
        try:
            return list(self.history.messages)
        except (NotImplementedError, RuntimeError):
            return await self.history.aget_messages()

    async def clear(self) -> None:
        try:
            self.history.clear()
        except (NotImplementedError, RuntimeError):
            await self.history.aclear()
