"""Message classes that langchain-core doesn't have, to see what a history makes of them (VAL-9, VAL-10)."""

from __future__ import annotations

from typing import Literal

from langchain_core.messages import BaseMessage, HumanMessage


class OddMessage(BaseMessage):
    """A message class of its own, with a type that no reader of langchain-core knows."""

    type: Literal["odd"] = "odd"


class TaggedHumanMessage(HumanMessage):
    """A subclass that says it is human and has a field more."""

    tag: str = ""
