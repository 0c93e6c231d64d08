"""Example tests in the style of langgraph-checkpoint-conformance: one situation each, one expected answer.

They are what a good author would write for a history of his own: each feature of the interface, the values that
applications store, sessions, errors, a race. Each runs on a session of its own, by sync and by async calls.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from tests.comparison._subject import Handle, Subject, new_id


def _messages(count: int, first: int = 1) -> list[BaseMessage]:
    return [(AIMessage if n % 2 else HumanMessage)(content=f"message {n}") for n in range(first, first + count)]


async def _round_trip(subject: Subject, *messages: BaseMessage) -> None:
    session_id = new_id()
    await subject.open(session_id).add(list(messages))
    assert await subject.open(session_id).read() == list(messages)


# Order


async def test_new_session_is_empty(subject: Subject) -> None:
    """Nothing added, nothing read."""
    assert await subject.open().read() == []


async def test_one_message(subject: Subject) -> None:
    """What is added is read."""
    await _round_trip(subject, HumanMessage("hello"))


async def test_messages_added_one_by_one_keep_their_order(subject: Subject) -> None:
    """Ten adds."""
    handle = subject.open()
    for message in _messages(10):
        await handle.add([message])
    assert await handle.read() == _messages(10)


async def test_batch_keeps_its_order(subject: Subject) -> None:
    """One add of ten, and one more of five."""
    handle = subject.open()
    await handle.add(_messages(10))
    await handle.add(_messages(5, first=11))
    assert await handle.read() == _messages(15)


async def test_equal_messages_are_kept(subject: Subject) -> None:
    """A user may say the same twice, in a batch and in two."""
    handle = subject.open()
    await handle.add([HumanMessage("yes"), HumanMessage("yes")])
    await handle.add([HumanMessage("yes")])
    assert await handle.read() == [HumanMessage("yes")] * 3


async def test_messages_with_one_id_are_kept(subject: Subject) -> None:
    """The id of a message is not a key."""
    handle = subject.open()
    await handle.add([AIMessage("first", id="1"), AIMessage("second", id="1")])
    assert [message.content for message in await handle.read()] == ["first", "second"]


async def test_empty_batch(subject: Subject) -> None:
    """It changes nothing."""
    handle = subject.open()
    await handle.add([HumanMessage("hello")])
    await handle.add([])
    assert await handle.read() == [HumanMessage("hello")]


async def test_tuple(subject: Subject) -> None:
    """A batch is a Sequence, not a list."""
    handle = subject.open()
    await handle.add((HumanMessage("a"), AIMessage("b")))
    assert await handle.read() == [HumanMessage("a"), AIMessage("b")]


async def test_convenience_methods(subject: Subject) -> None:
    """add_user_message, add_ai_message and add_message, which have no async form."""
    if subject.mode == "sync":
        history = subject.open().history
        history.add_user_message("hi")
        history.add_ai_message("hello")
        history.add_message(SystemMessage("be kind"))
        assert history.messages == [HumanMessage("hi"), AIMessage("hello"), SystemMessage("be kind")]


async def test_long_history(subject: Subject) -> None:
    """More messages than a page has."""
    handle = subject.open()
    for start in range(0, 500, 50):
        await handle.add(_messages(50, first=start))
    assert await handle.read() == _messages(500, first=0)


# Sessions


async def test_sessions_are_isolated(subject: Subject) -> None:
    """Each session has its own messages."""
    first, second = subject.open(), subject.open()
    await first.add([HumanMessage("one")])
    await second.add([HumanMessage("two")])
    assert await first.read() == [HumanMessage("one")]
    assert await second.read() == [HumanMessage("two")]


async def test_similar_session_ids(subject: Subject) -> None:
    """Prefixes, other cases and delimiters."""
    run = new_id()
    ids = [run, f"{run}a", f"{run}A", f"{run}:a", f"{run}_a", f"{run}/a", f"a{run}", f"{run}%", f"{run}*"]
    for session_id in ids:
        await subject.open(session_id).add([HumanMessage(session_id)])
    for session_id in ids:
        assert await subject.open(session_id).read() == [HumanMessage(session_id)]


async def test_odd_session_ids(subject: Subject) -> None:
    """Ids that users do choose."""
    for odd in ("user@example.com", "it's", 'a "quoted" id', "\u00fcnic\u00f6de", "with space", "42"):
        handle = subject.open(f"{new_id()} {odd}")
        await handle.add([HumanMessage(odd)])
        assert await handle.read() == [HumanMessage(odd)]


async def test_other_handle_sees_messages(subject: Subject) -> None:
    """A handle that was opened before the add, and one opened after it."""
    session_id = new_id()
    writer, early = subject.open(session_id), subject.open(session_id)
    assert await early.read() == []
    await writer.add(_messages(2))
    assert await early.read() == _messages(2)
    assert await subject.open(session_id).read() == _messages(2)


# Clear


async def test_clear(subject: Subject) -> None:
    """Nothing is left, for any handle."""
    session_id = new_id()
    handle, other = subject.open(session_id), subject.open(session_id)
    await handle.add(_messages(3))
    assert await other.read() == _messages(3)
    await handle.clear()
    assert await handle.read() == []
    assert await other.read() == []


async def test_clear_of_an_unknown_session(subject: Subject) -> None:
    """It does nothing, twice."""
    handle = subject.open()
    await handle.clear()
    await handle.clear()
    assert await handle.read() == []


async def test_add_after_clear(subject: Subject) -> None:
    """What is old stays away."""
    handle = subject.open()
    await handle.add(_messages(3))
    await handle.clear()
    await handle.add(_messages(2, first=4))
    assert await handle.read() == _messages(2, first=4)


async def test_clear_leaves_other_sessions(subject: Subject) -> None:
    """Only one session is cleared."""
    first, second = subject.open(), subject.open()
    await first.add(_messages(1))
    await second.add(_messages(2))
    await first.clear()
    assert await second.read() == _messages(2)


# Values


async def test_every_class(subject: Subject) -> None:
    """All that langchain-core has for conversations."""
    await _round_trip(
        subject,
        SystemMessage("be kind"),
        HumanMessage("hi"),
        AIMessage("hello"),
        ToolMessage("42", tool_call_id="call_1"),
        FunctionMessage("43", name="f"),
        ChatMessage("listen", role="narrator"),
        AIMessageChunk("stream"),
    )


async def test_tool_calls(subject: Subject) -> None:
    """Calls, invalid calls and their results."""
    call = {"name": "search", "args": {"query": "weather", "limit": 3}, "id": "call_1", "type": "tool_call"}
    invalid = {"name": "search", "args": "{", "id": "call_2", "error": "no JSON", "type": "invalid_tool_call"}
    await _round_trip(
        subject,
        AIMessage("", tool_calls=[call], invalid_tool_calls=[invalid]),
        ToolMessage("sunny", tool_call_id="call_1", artifact={"degrees": [21.5, None]}, status="error"),
    )


async def test_content_blocks(subject: Subject) -> None:
    """Text and images."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    await _round_trip(subject, HumanMessage([{"type": "text", "text": "what is it?"}, image]), AIMessage(["a", "cat"]))


async def test_metadata(subject: Subject) -> None:
    """Names, ids, usage, and what providers add."""
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    await _round_trip(
        subject,
        HumanMessage("hi", name="Ann", id="m-1", additional_kwargs={"mood": {"good": True, "scale": [1, 2.5, None]}}),
        AIMessage("hello", id="m-2", response_metadata={"model": "gpt", "logprobs": None}, usage_metadata=usage),
    )


async def test_types_of_values(subject: Subject) -> None:
    """An int is no float, and True is no 1."""
    session_id = new_id()
    values = [0, 1, 1.0, 1.5, True, False, None, "1", 2**53 + 1]
    await subject.open(session_id).add([HumanMessage("hi", additional_kwargs={"values": values})])
    [message] = await subject.open(session_id).read()
    assert [(type(value), value) for value in message.additional_kwargs["values"]] == [
        (type(value), value) for value in values
    ]


async def test_unicode(subject: Subject) -> None:
    """Texts of many languages."""
    texts = [
        "\u00e9\u00e8",
        "\u4f60\u597d",
        "\u05e9\u05dc\u05d5\u05dd",
        "\U0001f600 \U0001f468\u200d\U0001f469",
        "e\u0301",
    ]
    await _round_trip(subject, *map(HumanMessage, texts))


async def test_special_characters(subject: Subject) -> None:
    """Quotes, line breaks, SQL, JSON, format strings, white space at both ends."""
    texts = ["'\"`", "a\nb\r\nc\t", "'; DROP TABLE messages; --", '{"a": 1}', "100% {x} %s", "  a  ", "\\n", "<b>&amp;"]
    await _round_trip(subject, *map(HumanMessage, texts))


async def test_empty_content(subject: Subject) -> None:
    """As models that call tools send it."""
    await _round_trip(subject, AIMessage(""), HumanMessage([]))


async def test_long_content(subject: Subject) -> None:
    """100,000 characters."""
    await _round_trip(subject, HumanMessage("0123456789" * 10_000))


# Snapshots


async def test_list_read_is_a_copy(subject: Subject) -> None:
    """Changing it changes nothing stored."""
    handle = subject.open()
    await handle.add(_messages(2))
    (await handle.read()).append(HumanMessage("mine"))
    assert await handle.read() == _messages(2)


async def test_message_is_a_copy(subject: Subject) -> None:
    """Changing one after it was added, or read, changes nothing stored."""
    handle = subject.open()
    message = HumanMessage("before", additional_kwargs={"tags": ["a"]})
    await handle.add([message])
    message.content = "after"
    message.additional_kwargs["tags"].append("b")
    [read] = await handle.read()
    read.content = "after"
    assert await handle.read() == [HumanMessage("before", additional_kwargs={"tags": ["a"]})]


# Errors


async def test_what_is_no_message_is_refused(subject: Subject) -> None:
    """And nothing of its batch is stored."""
    handle = subject.open()
    await handle.add(_messages(1))
    with pytest.raises((TypeError, ValueError)):
        await handle.add([HumanMessage("good"), None])
    assert await handle.read() == _messages(1)


async def test_usable_after_an_error(subject: Subject) -> None:
    """The next good add works."""
    handle = subject.open()
    with pytest.raises(Exception):  # noqa: B017, PT011 -- whatever it raises
        await handle.add([None])
    await handle.add(_messages(1))
    assert await handle.read() == _messages(1)


async def test_value_that_cannot_be_stored(subject: Subject) -> None:
    """An object is stored as it is, or refused."""
    handle = subject.open()
    message = HumanMessage("hi", additional_kwargs={"at": {1, 2}})
    try:
        await handle.add([message])
    except Exception:
        assert await handle.read() == []
    else:
        assert await handle.read() == [message]


# Concurrency


async def test_threads(subject: Subject) -> None:
    """Eight threads add five messages each, and none is lost."""
    if subject.mode == "sync":
        session_id = new_id()
        workers = [
            threading.Thread(target=_add_five, args=(subject, session_id, number), daemon=True) for number in range(8)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        read = [message.content for message in await subject.open(session_id).read()]
        assert sorted(map(str, read)) == sorted(f"{number}-{n}" for number in range(8) for n in range(5))


def _add_five(subject: Subject, session_id: str, number: int) -> None:
    history = subject.open(session_id).history
    for n in range(5):
        history.add_messages([HumanMessage(f"{number}-{n}")])


async def test_tasks(subject: Subject) -> None:
    """Twenty tasks add a pair each through one handle: none is lost, no pair is torn."""
    if subject.mode == "async":
        handle = subject.open()
        await asyncio.gather(*(handle.add([HumanMessage(f"q{n}"), AIMessage(f"a{n}")]) for n in range(20)))
        read = [str(message.content) for message in await handle.read()]
        assert sorted(read[::2]) == sorted(f"q{n}" for n in range(20))
        assert [f"a{question[1:]}" for question in read[::2]] == read[1::2]


async def test_sync_and_async_calls_see_each_other(subject: Subject) -> None:
    """In both directions."""
    if subject.mode == "async" and _has_sync_calls(subject):
        history = subject.open().history
        await history.aadd_messages(_messages(1))
        assert history.messages == _messages(1)
        history.add_messages(_messages(1, first=2))
        assert await history.aget_messages() == _messages(2)


def _has_sync_calls(subject: Subject) -> bool:
    try:
        _ = subject.open().history.messages
    except NotImplementedError:
        return False
    return True


async def test_cancelled_add(subject: Subject) -> None:
    """The history is usable afterwards, and holds all of the batch or nothing."""
    if subject.mode == "async":
        handle = subject.open()
        task = asyncio.ensure_future(handle.add(_messages(2)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        read = await handle.read()
        assert read in ([], _messages(2))
        await handle.add(_messages(1, first=3))
        assert await handle.read() == [*read, *_messages(1, first=3)]


# Use


async def test_runnable_with_message_history(subject: Subject) -> None:
    """Two turns of one user, and one of another."""
    seen: list[int] = []

    def answer(messages: list[BaseMessage]) -> AIMessage:
        seen.append(len(messages))
        return AIMessage(f"answer to {messages[-1].content}")

    chain = RunnableWithMessageHistory(RunnableLambda(answer), subject.backend.get_session_history)
    ann, bob = new_id(), new_id()
    for text, session_id in (("one", ann), ("two", ann), ("three", bob)):
        config = {"configurable": {"session_id": session_id}}
        if subject.mode == "async":
            await chain.ainvoke([HumanMessage(text)], config)
        else:
            chain.invoke([HumanMessage(text)], config)
    assert seen == [1, 3, 1]
    read = await subject.open(ann).read()
    assert [message.content for message in read] == ["one", "answer to one", "two", "answer to two"]


async def test_history_size(subject: Subject) -> None:
    """The last three are kept, across adds and within one."""
    if "bounded" in subject.backend.claims and subject.backend.with_history_size is not None:
        for sizes in ((1,) * 5, (5,), (2, 3)):
            handle = Handle(subject.backend.with_history_size(new_id(), 3), subject.mode)
            messages = _messages(5)
            for size in sizes:
                await handle.add([messages.pop(0) for _ in range(size)])
            assert await handle.read() == _messages(3, first=3)


async def test_ttl(subject: Subject) -> None:
    """A session expires, unless it is written to."""
    backend = subject.backend
    if "expiry" in backend.claims and backend.with_ttl is not None and backend.advance is not None:
        handle = Handle(backend.with_ttl(new_id(), 10.0), subject.mode)
        await handle.add(_messages(1))
        backend.advance(6.0)
        await handle.add(_messages(1, first=2))
        backend.advance(6.0)
        assert await handle.read() == _messages(2)
        backend.advance(6.0)
        assert await handle.read() == []


Test = Callable[[Subject], Awaitable[None]]

TESTS: tuple[Test, ...] = tuple(
    value for name, value in list(globals().items()) if name.startswith("test_") and callable(value)
)
"""All of them, in their order."""
