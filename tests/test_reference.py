"""The reference does what the clauses say, and is a useful store for other people's tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from chathistory.reference import (
    UNWRITTEN,
    Add,
    Clear,
    DamagedMessageError,
    InMemoryChatHistoryStore,
    InMemoryChatMessageHistory,
    NotAMessageError,
    Read,
    Replace,
    Rules,
    StoreError,
    UnstorableValueError,
    decode,
    encode,
    first_difference,
    same_value,
    step,
    step_session,
)

A, B = HumanMessage(content="a"), AIMessage(content="b")


def test_a_step_leaves_the_state_it_was_given_as_it_was() -> None:
    """The model is pure."""
    before: dict[str, object] = {}
    after, result = step({}, Add("s", (A, B)))
    assert before == {}
    assert result is None
    assert step(after, Read("s"))[1] == (A, B)
    assert step(after, Read("t"))[1] == ()


def test_clear_and_replace_begin_anew() -> None:
    """CLR-1, SNP-5."""
    state, _ = step({}, Add("s", (A,)))
    assert step(step(state, Clear("s"))[0], Read("s"))[1] == ()
    assert step(step(state, Replace("s", (B,)))[0], Read("s"))[1] == (B,)


def test_a_bound_keeps_the_last_messages() -> None:
    """BND-1, also for a batch larger than the bound."""
    session, _ = step_session(UNWRITTEN, Add("s", (A, B, A, B)), rules=Rules(history_size=3))
    assert session.messages == (B, A, B)


def test_each_add_renews_the_time_to_live_and_an_empty_one_does_not() -> None:
    """EXP-1, EXP-2, ORD-4."""
    rules = Rules(ttl=10)
    session, _ = step_session(UNWRITTEN, Add("s", (A,)), rules=rules, now=0)
    session, _ = step_session(session, Add("s", (B,)), rules=rules, now=9)
    session, _ = step_session(session, Add("s", ()), rules=rules, now=18)
    assert step_session(session, Read("s"), rules=rules, now=18.9)[1] == (A, B)
    assert step_session(session, Read("s"), rules=rules, now=19)[1] == ()


@pytest.mark.parametrize("options", [{"history_size": 0}, {"ttl": 0}, {"ttl": -1.0}])
def test_rules_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    """Bad configuration is an error where it is made."""
    with pytest.raises(ValueError, match="must be"):
        InMemoryChatHistoryStore(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), (0.0, -0.0), ([1], (1,)), ({"a": 1}, {"a": 1.0}), ("é", "e\u0301"), ({1: 2}, {"1": 2})],
)
def test_values_are_compared_type_for_type(one: object, other: object) -> None:
    """What Python calls equal is not the same here."""
    assert not same_value(one, other)
    assert same_value(one, one)


def test_nan_is_the_same_as_nan_and_key_order_is_free() -> None:
    """VAL-4; the order counts only when asked for (VAL-8)."""
    assert same_value(float("nan"), float("nan"))
    assert same_value({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not same_value({"a": 1, "b": 2}, {"b": 2, "a": 1}, key_order=True)


def test_a_difference_says_where() -> None:
    """Paths read as one would write them."""
    ours = [HumanMessage(content="a", additional_kwargs={"x": [1, {"y": 2}]})]
    theirs = [HumanMessage(content="a", additional_kwargs={"x": [1, {"y": 2.0}]})]
    difference = first_difference(ours, theirs)
    assert difference is not None
    assert (difference.path, difference.reason) == ("[0].additional_kwargs['x'][1]['y']", "type")


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), b"x", {1, 2}, (1,), {1: 2}, {None: 1}, object(), "\ud83d\ude00", 10**5000],
    ids=lambda value: type(value).__name__,
)
def test_the_codec_refuses_what_json_would_change(value: object) -> None:
    """VAL-6, VAL-10: exact or refused."""
    with pytest.raises(UnstorableValueError, match="additional_kwargs"):
        encode(HumanMessage(content="a", additional_kwargs={"v": value}))


def test_the_codec_keeps_what_validators_would_recompute() -> None:
    """A message is rebuilt field by field."""
    message = AIMessage(
        content="", additional_kwargs={"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    )
    message.tool_calls = []
    assert same_value(message, decode(encode(message)))


def test_the_codec_reads_what_older_versions_wrote() -> None:
    """Missing fields get their defaults."""
    message = decode('{"type": "tool", "data": {"content": "x", "tool_call_id": "1"}}')
    assert same_value(message, ToolMessage(content="x", tool_call_id="1"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"type": "human"}',
        '{"type": "x", "data": {}}',
        '{"type": "human", "data": {"content": 5}}',
        '{"type": ["human"], "data": {}}',
    ],
)
def test_a_damaged_entry_is_one_clear_error(text: str) -> None:
    """Nothing else than DamagedMessageError comes out of the decoder."""
    with pytest.raises(DamagedMessageError):
        decode(text)


@pytest.mark.parametrize("value", [None, "text", 1, {"a": 1}, A, [None], ["text"], [[A]]])
def test_what_is_no_sequence_of_messages_is_refused(value: object) -> None:
    """ERR-1: with TypeError, nothing stored, and the session named."""
    history = InMemoryChatMessageHistory("s-1")
    with pytest.raises(NotAMessageError, match="s-1"):
        history.add_messages(value)  # type: ignore[arg-type]
    assert history.messages == []


def test_it_stands_in_for_the_class_of_langchain_core() -> None:
    """Without arguments, with messages, with the convenience calls."""
    history = InMemoryChatMessageHistory(messages=[A])
    history.add_user_message("hello")
    history.add_ai_message("hi")
    history.messages = [*history.messages, B]
    assert [message.content for message in history.messages] == ["a", "hello", "hi", "b"]
    assert "session_id='default'" in repr(history)
    with pytest.raises(TypeError, match="session_id"):
        InMemoryChatMessageHistory(None)  # type: ignore[arg-type]


def test_a_handle_that_sets_one_rule_keeps_the_other_of_its_store() -> None:
    """Each defaults to what the store says, whatever is said of the other."""
    now = [0.0]
    expiring = InMemoryChatHistoryStore(ttl=5, clock=lambda: now[0])
    bounded = InMemoryChatHistoryStore(history_size=1, clock=lambda: now[0])
    kept = [
        InMemoryChatMessageHistory("s", [A, B], store=expiring, history_size=1),
        InMemoryChatMessageHistory("s", [A, B], store=bounded, ttl=5),
    ]
    assert [history.messages for history in kept] == [[B], [B]]
    now[0] = 6.0
    assert [history.messages for history in kept] == [[], []]


def test_the_store_lists_and_deletes_sessions() -> None:
    """Only sessions that hold messages are listed."""
    clock = [0.0]
    store = InMemoryChatHistoryStore(ttl=5, clock=lambda: clock[0])
    for name in ("a", "b", "c"):
        store.get_session_history(name).add_messages([A])
    store.get_session_history("d").messages  # noqa: B018 -- reading is what must leave no trace
    store.delete("b")
    store.delete("nothing")
    store.get_session_history("c").clear()
    assert store.sessions() == ["a"]
    clock[0] = 5.0
    assert store.sessions() == []


def test_the_store_records_what_was_done_to_it() -> None:
    """The record says kind, session, mode and messages."""
    store = InMemoryChatHistoryStore()
    history = store.get_session_history("s")
    history.add_messages([A])
    asyncio.run(history.aget_messages())
    asyncio.run(history.aclear())
    assert [(made.kind, made.mode) for made in store.operations] == [
        ("add", "sync"),
        ("read", "async"),
        ("clear", "async"),
    ]
    assert store.operations[0].messages == (A,)
    store.forget_operations()
    assert store.operations == ()


def test_the_store_fails_the_operation_it_is_told_to() -> None:
    """Before it took effect, or after it, once."""
    store = InMemoryChatHistoryStore()
    history = store.get_session_history("s")
    store.fail(2, "add")
    store.fail(1, "clear", error=TimeoutError("slow"), applied=True)
    history.add_messages([A])
    with pytest.raises(StoreError, match="on request"):
        history.add_messages([B])
    assert history.messages == [A]
    with pytest.raises(TimeoutError):
        history.clear()
    assert history.messages == []
    history.add_messages([B])
    assert isinstance(store.operations[1].error, StoreError)
    with pytest.raises(ValueError, match="counts from 1"):
        store.fail(0)


def test_the_store_delays_on_request_and_leaves_the_loop_free() -> None:
    """A delayed async call sleeps in the loop, not in its thread."""
    store = InMemoryChatHistoryStore()
    history = store.get_session_history("s")

    async def both() -> tuple[int, float]:
        turns = 0
        task = asyncio.ensure_future(history.aadd_messages([A]))
        while not task.done():
            turns += 1
            await asyncio.sleep(0.001)
        return turns, began

    began = time.monotonic()
    with store.delay(0.05, "add"):
        assert asyncio.run(both())[0] > 3
        assert time.monotonic() - began >= 0.05
    assert history.messages == [A]


@pytest.mark.parametrize(
    "change",
    [
        lambda messages: messages.append(A),
        lambda messages: messages.clear(),
        lambda messages: setattr(messages[0], "content", "changed"),
        lambda messages: messages[0].additional_kwargs["x"]["y"].append(1),
    ],
)
def test_nothing_the_caller_holds_is_part_of_the_store(change: Callable[[list[BaseMessage]], None]) -> None:
    """SNP-1 to SNP-3."""
    given: list[BaseMessage] = [HumanMessage(content="a", additional_kwargs={"x": {"y": [0]}})]
    history = InMemoryChatMessageHistory()
    history.add_messages(given)
    expected = history.messages
    change(given)
    change(history.messages)
    assert same_value(expected, history.messages)
