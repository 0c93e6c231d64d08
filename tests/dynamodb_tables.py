"""One server of each kind for the DynamoDB tests of a process, a table for each test, and clients to meddle with."""

from __future__ import annotations

import atexit
import functools
import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from langchain_core.messages import BaseMessage, HumanMessage

from chathistory.adapters.dynamodb import DynamoDBChatMessageHistory, create_table
from chathistory.adapters.dynamodb._clients import clients_of
from chathistory.adapters.servers import Server, ServerError, dynamodb_server

SECONDS = 30.0
"""In which anything that is waited for must come about, on a machine however busy."""

METHODS = ("get_item", "update_item", "delete_item", "batch_get_item", "batch_write_item")
SERVERS = ["embedded", pytest.param("ministack", marks=pytest.mark.long)]
_NUMBERS = itertools.count()


@functools.cache
def server(kind: str = "embedded") -> Server:
    """The server of this kind; where the second one can't be installed, the test is skipped."""
    stack = ExitStack()
    try:
        opened = stack.enter_context(dynamodb_server(kind))
    except ServerError as error:
        if kind == "ministack":
            pytest.skip(str(error))
        raise
    atexit.register(stack.close)  # after whatever the server has registered, so that it is called before
    return opened


@functools.cache
def session(number: int = 0) -> Any:
    """A boto3 session with words that the servers take for credentials; another for each number."""
    del number
    return boto3.Session(
        aws_access_key_id="AKIATESTTESTTEST",
        aws_secret_access_key="not-a-secret-but-never-to-be-shown",  # noqa: S106 -- opens nothing
        region_name="us-east-1",
    )


@dataclass
class Table:
    """A table of a test.

    Attributes:
        name: of the table.
        url: of its server.
        session: the boto3 session of its handles.
    """

    name: str
    url: str
    session: Any

    def open(self, session_id: str = "s", **options: Any) -> DynamoDBChatMessageHistory:
        """A handle on a session."""
        return DynamoDBChatMessageHistory(
            self.name, session_id, self.url, boto3_session=options.pop("boto3_session", self.session), **options
        )

    @property
    def client(self) -> Any:
        """A client of somebody else."""
        return clients_of(session(), self.url).sync(session())

    def items(self) -> list[dict[str, Any]]:
        """Everything in the table."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def head(self, session_id: str = "s") -> dict[str, Any]:
        """The item of a session."""
        key = {"SessionId": {"S": session_id}}
        item: dict[str, Any] = self.client.get_item(TableName=self.name, Key=key, ConsistentRead=True).get("Item", {})
        return item

    def chunks(self) -> list[dict[str, Any]]:
        """The items that are no sessions."""
        return [item for item in self.items() if item["SessionId"]["S"].startswith("__chathistory__/chunk/")]


def new_table(kind: str = "embedded", **keys: str) -> Table:
    """An empty table."""
    opened = server(kind)
    table = Table(f"test-{secrets.token_hex(6)}", opened.url, session())
    create_table(table.name, endpoint_url=table.url, boto3_session=table.session, **keys)  # type: ignore[arg-type]
    return table


def error(code: str, status: int = 400) -> ClientError:
    """An error as DynamoDB sends it."""
    return ClientError(
        {"Error": {"Code": code, "Message": f"{code} for a test"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "X"
    )


@dataclass
class Meddler:
    """Stands for a client, and does something before and after its calls.

    Attributes:
        client: the real one.
        before: called with the method and its arguments; what it raises is raised.
        after: likewise, with the answer when the call has been carried out; what it returns is another answer.
        calls: what was called.
    """

    client: Any
    before: Callable[[str, dict[str, Any]], object] = lambda _method, _arguments: None
    after: Callable[[str, dict[str, Any], Any], Any] = lambda _method, _arguments, _answer: None
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, method: str) -> Any:
        real = getattr(self.client, method)
        if method not in METHODS:
            return real

        def call(**arguments: Any) -> Any:
            self.calls.append((method, arguments))
            self.before(method, arguments)
            answer = real(**arguments)
            return self.after(method, arguments, answer) or answer

        return call

    @property
    def methods(self) -> list[str]:
        """The methods that were called."""
        return [method for method, _ in self.calls]


@contextmanager
def meddled(table: Table) -> Iterator[tuple[Table, Meddler]]:
    """The same table, and what its handles call in place of their client; async ones call it in threads."""
    own = session(next(_NUMBERS) + 1)
    clients = clients_of(own, table.url)
    meddler = clients._client = Meddler(table.client)
    clients._native = None
    yield Table(table.name, table.url, own), meddler


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


def texts(history: DynamoDBChatMessageHistory) -> list[Any]:
    """The contents of a history."""
    return [message.content for message in history.messages]
