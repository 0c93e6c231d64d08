"""How fast the DynamoDB history is, beside the class it replaces and the bare client, all in one run.

Run it where the project is installed: `python benchmarks/dynamodb.py [ROUNDS]`. The server is moto's, which takes
several milliseconds of each request and carries out one at a time: what can be compared is how many requests there are,
how much is in them, and what the classes themselves take. The bare client is given ready texts and returns texts, one
list per session, without anything that makes an add safe.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import boto3
from _side_by_side import AsyncAdd, Subject, available, measure, of_histories, print_table, texts
from aiobotocore.session import AioSession

from chathistory.adapters.dynamodb import DynamoDBChatMessageHistory, create_table
from chathistory.adapters.servers import dynamodb_server

WORDS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


def bare_client(url: str, session: Any) -> Subject:
    """The client alone, with ready texts: one list per session, which ends at 400 KB."""
    table = "bare-client"
    create_table(table, endpoint_url=url, boto3_session=session)
    client = session.client("dynamodb", endpoint_url=url)

    def arguments(name: str, batch: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "TableName": table,
            "Key": {"SessionId": {"S": name}},
            "UpdateExpression": "SET h = list_append(if_not_exists(h, :nothing), :texts)",
            "ExpressionAttributeValues": {":nothing": {"L": []}, ":texts": {"L": batch}},
        }

    @asynccontextmanager
    async def tasks() -> AsyncIterator[AsyncAdd]:
        async with AioSession().create_client(
            "dynamodb",
            endpoint_url=url,
            region_name=WORDS["region_name"],
            aws_access_key_id=WORDS["aws_access_key_id"],
            aws_secret_access_key=WORDS["aws_secret_access_key"],
        ) as native:

            async def add(name: str, batch: list[dict[str, str]]) -> None:
                await native.update_item(**arguments(name, batch))

            yield add

    return Subject(
        name="bare client",
        prepared=lambda batch: [{"S": text} for text in texts(batch)],
        add=lambda name, batch: client.update_item(**arguments(name, batch)),
        read=lambda name: client.get_item(TableName=table, Key={"SessionId": {"S": name}}, ConsistentRead=True),
        tasks=tasks,
        most=1_000,
    )


def chathistory(url: str, session: Any) -> Subject:
    """The history of this project, a handle per call as RunnableWithMessageHistory opens it."""
    table = "chathistory"
    create_table(table, endpoint_url=url, boto3_session=session)
    return of_histories("chathistory", lambda name: DynamoDBChatMessageHistory(table, name, url, boto3_session=session))


def langchain_community(url: str, session: Any) -> Subject:
    """The class it replaces; one handle per session is kept, since each makes a client."""
    from langchain_community.chat_message_histories import DynamoDBChatMessageHistory as Peer

    table = "langchain-community"
    create_table(table, endpoint_url=url, boto3_session=session)

    @cache
    def handle(name: str) -> Any:
        return Peer(table, name, endpoint_url=url, boto3_session=session)

    return of_histories("langchain-community", handle, most=700)


def main(rounds: int) -> None:
    """Measure everything and print one table."""
    session = boto3.Session(**WORDS)
    with dynamodb_server("embedded") as it:
        subjects = available(
            bare_client(it.url, session), chathistory(it.url, session), lambda: langchain_community(it.url, session)
        )
        cases = measure(subjects, rounds, reads=(100, 700, 2_000))
        print_table(f"moto {it.versions['moto']}", subjects, cases)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
