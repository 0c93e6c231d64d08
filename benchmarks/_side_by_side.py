"""Measures several ways to keep the same conversations side by side, in turns, and prints one table."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict

TASKS = 50
_BATCHES_OF_A_SESSION = 20

AsyncAdd: TypeAlias = Callable[[str, Any], Awaitable[object]]
Tasks: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncAdd]]
Action: TypeAlias = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured.

    Attributes:
        name: the column of the table.
        prepared: the batch in the form that `add` takes; not measured.
        add: append a batch, and wait until the store has it.
        read: read a session.
        tasks: a context whose value adds a batch from a task.
        most: the largest session it can hold; rows with larger ones leave it out.
    """

    name: str
    prepared: Callable[[list[BaseMessage]], Any]
    add: Callable[[str, Any], object]
    read: Callable[[str], object]
    tasks: Tasks
    most: int = 1_000_000


def messages(count: int) -> list[BaseMessage]:
    """A conversation: questions, and answers that call two tools."""
    calls = [{"name": "search", "args": {"query": "weather", "limit": 3}, "id": f"call-{n}"} for n in (1, 2)]
    turn = [
        HumanMessage("What is the weather like today in Utrecht?"),
        AIMessage("Let me see.", tool_calls=calls),
    ]
    return (turn * count)[:count]


def texts(batch: list[BaseMessage]) -> list[str]:
    """What a bare driver is given: the price of making texts is left to the others."""
    return [json.dumps(message_to_dict(message)) for message in batch]


def of_histories(
    name: str, handle: Callable[[str], Any], tasks: Tasks | None = None, *, most: int = 1_000_000
) -> Subject:
    """A history class, by a function that gives its handle on a session."""

    @asynccontextmanager
    async def by_handles() -> AsyncIterator[AsyncAdd]:
        yield lambda session, batch: handle(session).aadd_messages(batch)

    return Subject(
        name=name,
        prepared=lambda batch: batch,
        add=lambda session, batch: handle(session).add_messages(batch),
        read=lambda session: handle(session).messages,
        tasks=tasks or by_handles,
        most=most,
    )


def available(raw: Subject, ours: Subject, peer: Callable[[], Subject]) -> list[Subject]:
    """Those that can be had here, the bare driver first."""
    try:
        return [raw, ours, peer()]
    except ImportError as error:
        print(f"{error.name} is not installed: measured without it\n")
        return [raw, ours]


def measure(
    subjects: Sequence[Subject], rounds: int, *, reads: Sequence[int] = (100, 2_000), warm: bool = False
) -> dict[str, list[float | None]]:
    """The median times in microseconds by case, in the order of the subjects.

    Args:
        subjects: what is measured; the first is what the others are compared with.
        rounds: how often a batch is added.
        reads: the lengths of the sessions that are read.
        warm: whether tasks find the connections open; otherwise opening them is part of their time.
    """
    cases = {
        "add 1": medians([adding(subject, 1) for subject in subjects], rounds * 5),
        "add a batch of 100": medians([adding(subject, 100) for subject in subjects], rounds),
    }
    for count in reads:
        fewer = rounds if count <= 100 else max(rounds // 5, 5)
        cases[f"read {count:,}"] = medians([reading(subject, count) for subject in subjects], fewer)
    tasks = [adding_from_tasks(subject, warm=warm) for subject in subjects]
    cases[f"{TASKS} async tasks"] = medians(tasks, max(rounds // 10, 3))
    return cases


def medians(actions: Sequence[Action | None], rounds: int) -> list[float | None]:
    """The median time of each action, measured in turns after one unmeasured turn; None where there is none."""
    there = [action for action in actions if action is not None]
    for action in there:
        action()
    times = [[_microseconds(action) for action in there] for _ in range(rounds)]
    found = iter([statistics.median(column) for column in zip(*times, strict=True)])
    return [None if action is None else next(found) for action in actions]


def adding(subject: Subject, count: int) -> Action:
    """Add a batch of so many messages, some of them to each session."""
    batch, numbers = subject.prepared(messages(count)), itertools.count()
    each = _BATCHES_OF_A_SESSION if count == 1 else 3
    return lambda: subject.add(f"add {count} {next(numbers) // each}", batch)


def reading(subject: Subject, count: int) -> Action | None:
    """Read a session of so many messages, if the subject can hold it."""
    if count > subject.most:
        return None
    for _ in range(count // 100):
        subject.add(f"read {count}", subject.prepared(messages(100)))
    return lambda: subject.read(f"read {count}")


def adding_from_tasks(subject: Subject, *, warm: bool) -> Action:
    """Add one message each from many tasks at once; a new event loop is part of it unless `warm`."""
    batch = subject.prepared(messages(1))

    async def main() -> float:
        async with subject.tasks() as add:
            for _ in range(2 if warm else 1):
                began = time.perf_counter()
                await asyncio.gather(*(_awaited(add, f"task {number}", batch) for number in range(TASKS)))
            return time.perf_counter() - began

    def action() -> float | None:
        seconds = asyncio.run(main())
        return seconds if warm else None

    return action


async def _awaited(add: AsyncAdd, session: str, batch: Any) -> None:
    await add(session, batch)


def _microseconds(action: Action) -> float:
    """How long one action takes, or what it says itself of its essential part."""
    began = time.perf_counter()
    seconds = action()
    return (seconds if isinstance(seconds, float) else time.perf_counter() - began) * 1e6


def print_table(title: str, subjects: Sequence[Subject], cases: dict[str, list[float | None]]) -> None:
    """The medians, each with its ratio to the first column."""
    print(f"median µs (times the first column)   {title}\n")
    print(f"{'':20}" + "".join(f"{subject.name:>24}" for subject in subjects))
    for name, row in cases.items():
        print(f"{name:20}" + "".join(_cells(row)))


def _cells(row: list[float | None]) -> Iterator[str]:
    for value in row:
        if value is None:
            yield f"{'can not hold it':>24}"
        elif row[0] is None:
            yield f"{value:>24,.0f}"
        else:
            yield f"{value:>15,.0f} ({value / row[0]:5.1f}) "
