"""VAL-2, VAL-6, ISO-2, ISO-5: the limits that a backend declares hold from both sides, one below, at, and one above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chathistory.conformance._backend import Backend, Limits
from chathistory.conformance._lens import Lens
from chathistory.conformance._payloads import filled
from chathistory.conformance._program import Add, Assign, Clear, Program, Read, Step, program
from chathistory.conformance._session_ids import RUN_LENGTH, padded
from chathistory.conformance.checks._check import (
    A,
    B,
    Check,
    async_twin,
    fresh_read,
    numbered,
    opened,
    with_plain_messages,
)
from chathistory.conformance.checks.sessions import rich, with_plain_ids

LARGEST_PROBED = 16 * 1024 * 1024
"""Limits of more bytes than this are not probed: a run must stay short, and a report small."""


def _needs(name: str, what: str) -> Callable[[Backend], str]:
    """Why a limit can't be probed, or ""."""

    def needs(backend: Backend) -> str:
        limit = getattr(backend.limits, name, None)
        if limit is None:
            return f"it declares no limit of {what} (Backend.limits)"
        return "" if limit <= LARGEST_PROBED else f"its limit of {what} is too large to be probed"

    return needs


def _limits_of(backend: Backend) -> Limits:
    assert backend.limits is not None  # noqa: S101 -- the check is left out without
    return backend.limits


def accented(size: int) -> str:
    """A text of so many bytes of UTF-8, most of its characters of two."""
    return "a" * (size % 2) + "\u00e9" * (size // 2)


def _message_bytes(backend: Backend) -> int:
    return _limits_of(backend).message_bytes or 0


def _session_id_bytes(backend: Backend) -> int:
    return _limits_of(backend).session_id_bytes or 0


def _as_large_as_declared(backend: Backend) -> Iterator[Program]:
    limit = _message_bytes(backend)
    for message in (
        HumanMessage(content=filled(limit - 1)),
        HumanMessage(content=filled(limit)),
        AIMessage(content=accented(limit)),
    ):
        yield program(opened(A), Add(1, numbered(1)), Add(1, (message,)), Read(1), fresh_read(2))


def _larger_than_declared(backend: Backend) -> Iterator[Program]:
    """One byte too many, alone, inside a batch and assigned; whoever else is there keeps what he has."""
    large: BaseMessage = HumanMessage(content=filled(_message_bytes(backend) + 1))
    before: list[Step] = [*opened(A, B), Add(2, rich("b")), Add(1, numbered(1))]
    after: list[Step] = [Read(1), Add(1, numbered(1, first=2)), Read(1), Read(2), *fresh_read(3)]
    yield program(before, Add(1, (large,)), after)
    yield program(before, Add(1, (*numbered(2, first=11), large, *numbered(1, first=13))), after)


def _assigned_larger_than_declared(backend: Backend) -> Iterator[Program]:
    large: BaseMessage = HumanMessage(content=filled(_message_bytes(backend) + 1))
    assigned = Assign(1, (*numbered(1, first=11), large))
    yield program(opened(A), Add(1, numbered(2)), assigned, Read(1), Add(1, numbered(1, first=3)), fresh_read(2))


def without_what_is_beyond(failing: Program) -> Iterator[Program]:
    """The same program with small messages, and with what is no message in the place of what is too large.

    Who stores a part of what is refused for any reason breaks ATM-1, and who is dead after it ERR-3.
    """
    yield from with_plain_messages(failing)
    longest = max((_length(message) for step in failing.steps for message in getattr(step, "messages", ())), default=0)
    yield Program(
        tuple(
            replace(step, messages=tuple(None if _length(one) == longest else one for one in step.messages))
            if isinstance(step, Add | Assign)
            else step
            for step in failing.steps
        )
    )


def _length(message: object) -> int:
    return len(message.content) if isinstance(message, BaseMessage) else 0


def _as_long_as_declared(backend: Backend) -> Iterator[Program]:
    """Ids of the declared length and one less, which differ in their last character, each with a message of its own."""
    limit = _session_id_bytes(backend)
    ids = [padded(size, end=end) for size in (limit - 1, limit) for end in "ab"]
    yield _told_apart([*ids, f"{{run}}{accented(limit - RUN_LENGTH)}"])


def _longer_than_declared(backend: Backend) -> Iterator[Program]:
    """Two ids of one byte too many, which agree in all that fits, beside an ordinary one."""
    limit = _session_id_bytes(backend)
    yield _told_apart([A, padded(limit + 1, end="a"), padded(limit + 1, end="b")])


def _told_apart(ids: list[str]) -> Program:
    handles = range(1, len(ids) + 1)
    reads: list[Step] = [Read(handle) for handle in handles]
    adds = [Add(handle, (HumanMessage(content=f"m{handle}"),)) for handle in handles]
    again: list[Step] = [*fresh_read(len(ids) + 1, ids[0]), Clear(len(ids)), *reads]
    return program(opened(*ids), adds, reads, again)


_MESSAGES = _needs("message_bytes", "messages")
_IDS = _needs("session_id_bytes", "session ids")

_SYNC = (
    Check(
        clause="VAL-2",
        name="messages up to the declared size are kept",
        lens=Lens(view="full", limits=True),
        fitted=_as_large_as_declared,
        at_first=0,
        controls=with_plain_messages,
        needs=_MESSAGES,
    ),
    Check(
        clause="VAL-6",
        name="messages beyond the declared size are kept or refused",
        lens=Lens(view="full", limits=True, recovery=True),
        fitted=_larger_than_declared,
        at_first=0,
        controls=without_what_is_beyond,
        needs=_MESSAGES,
    ),
    Check(
        clause="ISO-2",
        name="session ids up to the declared length work",
        lens=Lens(limits=True),
        fitted=_as_long_as_declared,
        at_first=0,
        controls=with_plain_ids,
        needs=_IDS,
    ),
    Check(
        clause="ISO-5",
        name="session ids beyond the declared length work or are refused",
        lens=Lens(limits=True),
        fitted=_longer_than_declared,
        at_first=0,
        controls=with_plain_ids,
        needs=_IDS,
    ),
)

CHECKS = (
    *_SYNC,
    Check(
        clause="VAL-6",
        name="assignments beyond the declared size are kept or refused",
        lens=Lens(view="full", limits=True, recovery=True),
        fitted=_assigned_larger_than_declared,
        at_first=0,
        controls=without_what_is_beyond,
        needs=_MESSAGES,
    ),
    *map(async_twin, _SYNC),
)
