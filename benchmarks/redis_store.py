"""How fast the Redis history is, beside the class it replaces and the bare driver, all in one run.

Run it where the project is installed: `python benchmarks/redis_store.py [ROUNDS] [SERVER]`, SERVER being embedded
(the default), docker or a URL. All subjects use one server, in turn, so that whatever else the machine does falls on
all of them; it answers from memory here, unlike the one that the suite checks, since what is measured is the client.
The bare driver is given ready texts and returns texts: the price of turning messages into text and back is part of
the others' figures.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from functools import cache
from typing import Any

import redis
import redis.asyncio
from _side_by_side import AsyncAdd, Subject, available, measure, of_histories, print_table, texts

from chathistory.adapters.redis import RedisChatMessageHistory
from chathistory.adapters.servers import redis_server


def raw_driver(url: str) -> Subject:
    """redis-py alone, with ready texts and one variadic push for a batch."""
    client = redis.Redis.from_url(url)

    @asynccontextmanager
    async def tasks() -> AsyncIterator[AsyncAdd]:
        async with redis.asyncio.Redis.from_url(url) as driver:
            yield lambda session, batch: driver.lpush(f"raw:{session}", *batch)

    return Subject(
        name="raw driver",
        prepared=texts,
        add=lambda session, batch: client.lpush(f"raw:{session}", *batch),
        read=lambda session: client.lrange(f"raw:{session}", 0, -1),
        tasks=tasks,
    )


def chathistory(url: str) -> Subject:
    """The history of this project, a handle per call as RunnableWithMessageHistory opens it."""
    return of_histories("chathistory", lambda session: RedisChatMessageHistory(session, url, key_prefix="chathistory:"))


def langchain_community(url: str) -> Subject:
    """The class it replaces; one handle per session is kept, since each brings a client and asks the server."""
    from langchain_community.chat_message_histories import RedisChatMessageHistory as Peer

    @cache
    def handle(session: str) -> Any:
        return Peer(session, url, key_prefix="peer:")

    return of_histories("langchain-community", handle)


def main(rounds: int, server: str) -> None:
    """Measure everything and print one table."""
    warnings.simplefilter("ignore")  # langchain-community tells of its deprecation
    with redis_server(server) as it, closing(redis.Redis.from_url(it.url)) as control:
        with suppress(redis.RedisError):
            control.config_set("appendonly", "no")
        subjects = available(raw_driver(it.url), chathistory(it.url), lambda: langchain_community(it.url))
        print_table(f"{dict(it.versions)}, redis-py {redis.__version__}", subjects, measure(subjects, rounds))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, sys.argv[2] if len(sys.argv) > 2 else "embedded")
