"""How fast the Redis history is, beside the class it replaces and the bare driver, all in one run.

Run it where the project is installed: `python benchmarks/redis_store.py [ROUNDS] [SERVER]`, SERVER being embedded
(the default), docker or a URL. All subjects use one server, in turn, so that whatever else the machine does falls on
all of them; it answers from memory here, unlike the one that the suite checks, since what is measured is the client.
The bare driver is given ready texts and returns texts: the price of turning messages into text and back is part of
the others' figures.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
import redis.asyncio
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict

from chathistory.adapters.redis import RedisChatMessageHistory
from chathistory.adapters.servers import redis_server

TASKS = 50


def messages(count: int) -> list[BaseMessage]:
    """A conversation: questions, and answers that call two tools."""
    calls = [{"name": "search", "args": {"query": "weather", "limit": 3}, "id": f"call-{n}"} for n in (1, 2)]
    turn = [
        HumanMessage("What is the weather like today in Utrecht?"),
        AIMessage("Let me see.", tool_calls=calls),
    ]
    return (turn * count)[:count]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured.

    Attributes:
        name: the column of the table, and the prefix of its keys.
        prepared: the batch in the form that `add` takes; not measured.
        add: append a batch.
        read: read a session.
        tasks: a context whose value adds a batch from a task.
    """

    name: str
    prepared: Callable[[list[BaseMessage]], Any]
    add: Callable[[str, Any], object]
    read: Callable[[str], object]
    tasks: Callable[[], AbstractAsyncContextManager[Callable[[str, Any], Awaitable[object]]]]


def raw_driver(url: str) -> Subject:
    """redis-py alone, with ready texts and one variadic push for a batch."""
    client = redis.Redis.from_url(url)

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[object]]]:
        async with redis.asyncio.Redis.from_url(url) as driver:
            yield lambda session, texts: driver.lpush(f"raw:{session}", *texts)

    return Subject(
        name="raw driver",
        prepared=lambda batch: [json.dumps(message_to_dict(message)) for message in batch],
        add=lambda session, texts: client.lpush(f"raw:{session}", *texts),
        read=lambda session: client.lrange(f"raw:{session}", 0, -1),
        tasks=tasks,
    )


def chathistory(url: str) -> Subject:
    """The history of this project, a handle per call as RunnableWithMessageHistory opens it."""

    def history(session: str) -> RedisChatMessageHistory:
        return RedisChatMessageHistory(session, url, key_prefix="chathistory:")

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[object]]]:
        yield lambda session, batch: history(session).aadd_messages(batch)

    return Subject(
        name="chathistory",
        prepared=lambda batch: batch,
        add=lambda session, batch: history(session).add_messages(batch),
        read=lambda session: history(session).messages,
        tasks=tasks,
    )


def langchain_community(url: str) -> Subject:
    """The class it replaces; one handle per session is kept, since each brings a client and asks the server."""
    from langchain_community.chat_message_histories import RedisChatMessageHistory as Peer

    @cache
    def handle(session: str) -> Any:
        return Peer(session, url, key_prefix="peer:")

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[object]]]:
        yield lambda session, batch: handle(session).aadd_messages(batch)

    return Subject(
        name="langchain-community",
        prepared=lambda batch: batch,
        add=lambda session, batch: handle(session).add_messages(batch),
        read=lambda session: handle(session).messages,
        tasks=tasks,
    )


def subjects(url: str) -> Iterator[Subject]:
    """Those that can be had here, the bare driver first."""
    yield raw_driver(url)
    yield chathistory(url)
    try:
        yield langchain_community(url)
    except ImportError:
        print("langchain-community is not installed: measured without it\n")


def microseconds(action: Callable[[], object]) -> float:
    """How long one action takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e6


def medians(all_of_them: list[Subject], rounds: int, action: Callable[[Subject], Callable[[], object]]) -> list[float]:
    """The median time of an action for each subject, measured in turns after one unmeasured turn."""
    actions = [action(subject) for subject in all_of_them]
    for each in actions:
        each()
    times = [[microseconds(each) for each in actions] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def adding(count: int) -> Callable[[Subject], Callable[[], object]]:
    """Add a batch of so many messages."""

    def action(subject: Subject) -> Callable[[], object]:
        batch = subject.prepared(messages(count))
        return lambda: subject.add(f"add {count}", batch)

    return action


def reading(count: int) -> Callable[[Subject], Callable[[], object]]:
    """Read a session of so many messages."""

    def action(subject: Subject) -> Callable[[], object]:
        subject.add(f"read {count}", subject.prepared(messages(count)))
        return lambda: subject.read(f"read {count}")

    return action


def adding_from_tasks(subject: Subject) -> Callable[[], object]:
    """Add one message each from many tasks at once; a new event loop and its connections are part of it."""
    batch = subject.prepared(messages(1))

    async def main() -> None:
        async with subject.tasks() as add:
            calls = [add(f"task {number}", batch) for number in range(TASKS)]
            await asyncio.gather(*calls)

    return lambda: asyncio.run(main())


def main(rounds: int, server: str) -> None:
    """Measure everything and print one table."""
    warnings.simplefilter("ignore")  # langchain-community tells of its deprecation
    with redis_server(server) as it, closing(redis.Redis.from_url(it.url)) as control:
        with suppress(redis.RedisError):
            control.config_set("appendonly", "no")
        all_of_them = list(subjects(it.url))
        cases = {
            "add 1": medians(all_of_them, rounds * 5, adding(1)),
            "add a batch of 100": medians(all_of_them, rounds, adding(100)),
            "read 100": medians(all_of_them, rounds, reading(100)),
            "read 2,000": medians(all_of_them, max(rounds // 5, 5), reading(2000)),
            f"{TASKS} async tasks": medians(all_of_them, max(rounds // 10, 3), adding_from_tasks),
        }
        print(f"median µs (times the bare driver)   {dict(it.versions)}, redis-py {redis.__version__}\n")
    print(f"{'':20}" + "".join(f"{subject.name:>24}" for subject in all_of_them))
    for name, row in cases.items():
        print(f"{name:20}" + "".join(f"{value:>15,.0f} ({value / row[0]:5.1f})" + " " for value in row))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, sys.argv[2] if len(sys.argv) > 2 else "embedded")
