"""The shapes in which the how-to of RunnableWithMessageHistory uses a history, each as one turn of talk.

This file imports nothing of chathistory, so that a counterexample's script can hold it whole.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import (
    AddableDict,
    ConfigurableFieldSpec,
    Runnable,
    RunnableGenerator,
    RunnableLambda,
)
from langchain_core.runnables.history import RunnableWithMessageHistory

SHAPES = (
    "messages to message",
    "one key for all messages",
    "input and history keys",
    "messages to dict",
    "dict to dict",
    "user and conversation",
)
CALLS = ("invoke", "stream", "batch", "ainvoke", "astream", "abatch")

_KEYS: dict[str, dict[str, str]] = {
    "messages to message": {},
    "one key for all messages": {"input_messages_key": "input"},
    "input and history keys": {"input_messages_key": "input", "history_messages_key": "history"},
    "messages to dict": {"output_messages_key": "output"},
    "dict to dict": {
        "input_messages_key": "input",
        "history_messages_key": "history",
        "output_messages_key": "output",
    },
    "user and conversation": {"input_messages_key": "input", "history_messages_key": "history"},
}


class ModelFailedError(Exception):
    """What the wrapped runnable raises when a turn is to fail."""


def session_of_turn(session: str, user: str) -> str:
    """The session in which a turn is stored: of the conversation, or of this user's conversation."""
    return f"{user}--{session}" if user else session


def take_turn(
    get_session_history: Callable[[str], BaseChatMessageHistory],
    *,
    session: str,
    shape: str,
    call: str,
    text: str,
    user: str = "",
    fails: bool = False,
) -> Any:
    """Talk once; returns what the model saw as text, or a coroutine that does, for calls that begin with "a"."""
    chain = _chain(get_session_history, shape, call.removeprefix("a"), fails)
    value: Any = {"input": text} if "history_messages_key" in _KEYS[shape] else [HumanMessage(text)]
    if shape == "one key for all messages":
        value = {"input": value}
    ids = {"user_id": user, "conversation_id": session} if shape == "user and conversation" else {"session_id": session}
    talk = _talk_async if call.startswith("a") else _talk
    return talk(chain, call.removeprefix("a"), value, {"configurable": ids})


def _talk(chain: Runnable[Any, Any], call: str, value: Any, config: Any) -> str:
    if call == "stream":
        return "".join(_text(part) for part in chain.stream(value, config))
    if call == "batch":
        return _text(chain.batch([value], [config])[0])
    return _text(chain.invoke(value, config))


async def _talk_async(chain: Runnable[Any, Any], call: str, value: Any, config: Any) -> str:
    if call == "stream":
        return "".join([_text(part) async for part in chain.astream(value, config)])
    if call == "batch":
        return _text((await chain.abatch([value], [config]))[0])
    return _text(await chain.ainvoke(value, config))


def _chain(
    get_session_history: Callable[[str], BaseChatMessageHistory], shape: str, call: str, fails: bool
) -> Runnable[Any, Any]:
    options: dict[str, Any] = dict(_KEYS[shape])
    if shape == "user and conversation":
        options["history_factory_config"] = [
            ConfigurableFieldSpec(id=name, annotation=str, default="") for name in ("user_id", "conversation_id")
        ]

    def of_user(user_id: str, conversation_id: str) -> BaseChatMessageHistory:
        return get_session_history(session_of_turn(conversation_id, user_id))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RunnableWithMessageHistory(
            _model("output_messages_key" in options, call == "stream", fails),
            of_user if shape == "user and conversation" else get_session_history,
            **options,
        )


def _model(in_dict: bool, streams: bool, fails: bool) -> Runnable[Any, Any]:
    """A model that answers with what it was shown: in one message, or streamed in chunks."""

    def say(value: Any) -> list[str]:
        if fails:
            raise ModelFailedError("the model failed, as it was asked to")
        shown = _shown(value)
        return [f"saw {len(shown)}: ", " | ".join(shown)]

    def wrap(message: BaseMessage) -> Any:
        return AddableDict(output=message) if in_dict else message

    def answer(value: Any) -> Any:
        return wrap(AIMessage("".join(say(value)), id="answer"))

    async def answer_async(value: Any) -> Any:
        return answer(value)

    def stream(values: Iterator[Any]) -> Iterator[Any]:
        for value in values:
            for part in say(value):
                yield wrap(AIMessageChunk(content=part, id="answer"))

    async def stream_async(values: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for value in values:
            for part in say(value):
                yield wrap(AIMessageChunk(content=part, id="answer"))

    return RunnableGenerator(stream, stream_async) if streams else RunnableLambda(answer, answer_async)


def _shown(value: Any) -> list[str]:
    if isinstance(value, dict):
        given = value["input"]
        value = [*value.get("history", []), *([HumanMessage(given)] if isinstance(given, str) else given)]
    return [str(message.content) for message in value if isinstance(message, BaseMessage)]


def _text(part: Any) -> str:
    message = part["output"] if isinstance(part, dict) else part
    return str(message.content)
