"""Whether somebody meant to raise an error is read from what it says."""

# ruff: noqa: D103 -- the names of the tests say it

from __future__ import annotations

import asyncio

import pytest

from chathistory.conformance._error_text import is_refusal_of_loop, is_refusal_of_sync


@pytest.mark.parametrize(
    "words",
    ["this handle belongs to another event loop", "it was first used in another asyncio.run(), which is over"],
)
def test_a_refusal_of_a_later_loop_says_loop_or_names_what_began_it(words: str) -> None:
    assert is_refusal_of_loop(RuntimeError(words))


def test_what_asyncio_stumbled_over_is_no_refusal() -> None:
    assert not is_refusal_of_loop(RuntimeError("Event loop is closed"))

    async def runs_again() -> None:
        with pytest.raises(RuntimeError, match="running event loop") as stumbled:
            asyncio.run(nothing)
        assert not is_refusal_of_loop(stumbled.value)
        assert not is_refusal_of_sync(stumbled.value)

    nothing = asyncio.sleep(0)
    asyncio.run(runs_again())
    nothing.close()


@pytest.mark.parametrize(
    "error",
    [NotImplementedError(), RuntimeError("use aadd_messages"), TypeError("this store is asynchronous only")],
    ids=str,
)
def test_a_refusal_of_sync_calls_is_not_implemented_or_speaks_of_async_ones(error: Exception) -> None:
    assert is_refusal_of_sync(error)


def test_any_other_error_of_a_sync_call_is_a_fault() -> None:
    assert not is_refusal_of_sync(RuntimeError("no such table"))
