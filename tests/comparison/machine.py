"""The plain state machine that the documentation of Hypothesis leads to: a model of lists, and `==`."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

MESSAGES = st.builds(lambda cls, text: cls(text), st.sampled_from([HumanMessage, AIMessage, SystemMessage]), st.text())


def machine_over(get_session_history: Any, *, use_async: bool) -> type[RuleBasedStateMachine]:
    """The machine over a history, by its sync or its async calls."""

    class ChatHistoryMachine(RuleBasedStateMachine):
        handles = Bundle("handles")

        def __init__(self) -> None:
            super().__init__()
            self.run_id = uuid4().hex
            self.model: dict[str, list[BaseMessage]] = {}
            self.loop = asyncio.new_event_loop()

        def teardown(self) -> None:
            self.loop.close()

        @rule(target=handles, session=st.sampled_from(["a", "b", "ab", "A"]))
        def open(self, session: str) -> tuple[str, Any]:
            self.model.setdefault(session, [])
            return session, get_session_history(f"{self.run_id}-{session}")

        @rule(handle=handles, messages=st.lists(MESSAGES, max_size=4))
        def add(self, handle: tuple[str, Any], messages: list[BaseMessage]) -> None:
            session, history = handle
            if use_async:
                self.loop.run_until_complete(history.aadd_messages(messages))
            else:
                history.add_messages(messages)
            self.model[session] += messages

        @rule(handle=handles)
        def read(self, handle: tuple[str, Any]) -> None:
            session, history = handle
            found = self.loop.run_until_complete(history.aget_messages()) if use_async else history.messages
            assert found == self.model[session]

        @rule(handle=handles)
        def clear(self, handle: tuple[str, Any]) -> None:
            session, history = handle
            if use_async:
                self.loop.run_until_complete(history.aclear())
            else:
                history.clear()
            self.model[session] = []

    return ChatHistoryMachine
