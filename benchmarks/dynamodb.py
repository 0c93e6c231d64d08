"""How fast the DynamoDB history is, beside the class it replaces and the bare client, all in one run.

Run it where the project is installed: `python benchmarks/dynamodb.py [ROUNDS]`. The server is moto's, which takes
several milliseconds of each request and carries out one at a time: what can be compared is how many requests there are,
how much is in them, and what the classes themselves take. The bare client is given ready texts and returns texts, one
list per session, without anything that makes an add safe.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from aiobotocore.session import AioSession
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict

from chathistory.adapters.dynamodb import DynamoDBChatMessageHistory, create_table
from chathistory.adapters.servers import dynamodb_server

TASKS = 50
WORDS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


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
        name: the column of the table.
        prepared: the batch in the form that `add` takes; not measured.
        add: append a batch.
        read: read a session.
        tasks: a context whose value adds a batch from a task.
        most: the largest history it can hold, for the rows that are left out.
    """

    name: str
    prepared: Callable[[list[BaseMessage]], Any]
    add: Callable[[str, Any], object]
    read: Callable[[str], object]
    tasks: Callable[[], AbstractAsyncContextManager[Callable[[str, Any], Awaitable[None]]]]
    most: int = 1_000_000


def bare_client(url: str, session: Any) -> Subject:
    """The client alone, with ready texts: one list per session, which ends at 400 KB."""
    table = "bare-client"
    create_table(table, endpoint_url=url, boto3_session=session)
    client = session.client("dynamodb", endpoint_url=url)

    def arguments(name: str, texts: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "TableName": table,
            "Key": {"SessionId": {"S": name}},
            "UpdateExpression": "SET h = list_append(if_not_exists(h, :nothing), :texts)",
            "ExpressionAttributeValues": {":nothing": {"L": []}, ":texts": {"L": texts}},
        }

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        async with AioSession().create_client(
            "dynamodb",
            endpoint_url=url,
            region_name=WORDS["region_name"],
            aws_access_key_id=WORDS["aws_access_key_id"],
            aws_secret_access_key=WORDS["aws_secret_access_key"],
        ) as native:

            async def add(name: str, texts: list[dict[str, str]]) -> None:
                await native.update_item(**arguments(name, texts))

            yield add

    return Subject(
        name="bare client",
        prepared=lambda batch: [{"S": json.dumps(message_to_dict(message))} for message in batch],
        add=lambda name, texts: client.update_item(**arguments(name, texts)),
        read=lambda name: client.get_item(TableName=table, Key={"SessionId": {"S": name}}, ConsistentRead=True),
        tasks=tasks,
        most=1_000,
    )


def chathistory(url: str, session: Any) -> Subject:
    """The history of this project, a handle per call as RunnableWithMessageHistory opens it."""
    table = "chathistory"
    create_table(table, endpoint_url=url, boto3_session=session)

    def handle(name: str) -> DynamoDBChatMessageHistory:
        return DynamoDBChatMessageHistory(table, name, url, boto3_session=session)

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        yield lambda name, batch: handle(name).aadd_messages(batch)

    return Subject(
        name="chathistory",
        prepared=lambda batch: batch,
        add=lambda name, batch: handle(name).add_messages(batch),
        read=lambda name: handle(name).messages,
        tasks=tasks,
    )


def langchain_community(url: str, session: Any) -> Subject:
    """The class it replaces; one handle per session is kept, since each makes a client."""
    from langchain_community.chat_message_histories import DynamoDBChatMessageHistory as Peer

    table = "langchain-community"
    create_table(table, endpoint_url=url, boto3_session=session)

    @cache
    def handle(name: str) -> Any:
        return Peer(table, name, endpoint_url=url, boto3_session=session)

    @asynccontextmanager
    async def tasks() -> AsyncIterator[Callable[[str, Any], Awaitable[None]]]:
        yield lambda name, batch: handle(name).aadd_messages(batch)

    return Subject(
        name="langchain-community",
        prepared=lambda batch: batch,
        add=lambda name, batch: handle(name).add_messages(batch),
        read=lambda name: handle(name).messages,
        tasks=tasks,
        most=700,
    )


def subjects(url: str) -> Iterator[Subject]:
    """Those that can be had here, the bare client first."""
    session = boto3.Session(**WORDS)
    yield bare_client(url, session)
    yield chathistory(url, session)
    try:
        yield langchain_community(url, session)
    except ImportError:
        print("langchain-community is not installed: measured without it\n")


def microseconds(action: Callable[[], object]) -> float:
    """How long one action takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e6


def medians(actions: list[Callable[[], object] | None], rounds: int) -> list[float | None]:
    """The median time of an action for each subject, measured in turns after one unmeasured turn."""
    there = [action for action in actions if action is not None]
    for each in there:
        each()
    times = [[microseconds(each) for each in there] for _ in range(rounds)]
    found = iter([statistics.median(column) for column in zip(*times, strict=True)])
    return [None if action is None else next(found) for action in actions]


def adding(subject: Subject, count: int, numbers: Iterator[int]) -> Callable[[], object]:
    """Add a batch of so many messages, twenty of them to each session."""
    batch = subject.prepared(messages(count))
    each = 20 if count == 1 else 3
    return lambda: subject.add(f"add {count} {next(numbers) // each}", batch)


def reading(subject: Subject, count: int) -> Callable[[], object] | None:
    """Read a session of so many messages, if the subject can hold it."""
    if count > subject.most:
        return None
    for _ in range(count // 100):
        subject.add(f"read {count}", subject.prepared(messages(100)))
    return lambda: subject.read(f"read {count}")


def adding_from_tasks(subject: Subject) -> Callable[[], object]:
    """Add one message each from many tasks at once; a new event loop and connections are part of it."""
    batch = subject.prepared(messages(1))

    async def main() -> None:
        async with subject.tasks() as add:
            calls: list[Awaitable[None]] = [add(f"task {number}", batch) for number in range(TASKS)]
            await asyncio.gather(*calls)

    return lambda: asyncio.run(main())


def main(rounds: int) -> None:
    """Measure everything and print one table."""
    with dynamodb_server("embedded") as it:
        every = list(subjects(it.url))
        cases = {
            "add 1": medians([adding(one, 1, iter(range(10**6))) for one in every], rounds),
            "add a batch of 100": medians([adding(one, 100, iter(range(10**6))) for one in every], max(rounds // 2, 5)),
            "read 100": medians([reading(one, 100) for one in every], rounds),
            "read 700": medians([reading(one, 700) for one in every], max(rounds // 5, 3)),
            "read 2,000": medians([reading(one, 2_000) for one in every], max(rounds // 10, 3)),
            f"{TASKS} async tasks": medians([adding_from_tasks(one) for one in every], max(rounds // 20, 3)),
        }
        print(f"median µs (times the bare client)   moto {it.versions['moto']}\n")
    print(f"{'':20}" + "".join(f"{subject.name:>24}" for subject in every))
    for name, row in cases.items():
        print(f"{name:20}" + "".join(_cell(value, row[0]) for value in row))


def _cell(value: float | None, bare: float | None) -> str:
    if value is None:
        return f"{'can not hold it':>24}"
    return f"{value:>24,.0f}" if bare is None else f"{value:>15,.0f} ({value / bare:5.1f})" + " "


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
