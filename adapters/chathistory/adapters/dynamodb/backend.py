"""How the suite opens the DynamoDB history, and what that history claims."""

from __future__ import annotations

import functools
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

import boto3

from chathistory.adapters.dynamodb._clients import clients_of
from chathistory.adapters.dynamodb._history import DynamoDBChatMessageHistory
from chathistory.adapters.dynamodb._tables import create_table
from chathistory.adapters.servers import Server, dynamodb_server
from chathistory.conformance import Backend, Wire

_IN_MEMORY = (
    "DUR-3 is not offered: the server keeps everything in memory; DynamoDB itself has a message on the disks of "
    "two places before it answers."
)
_SERIAL = "moto carries out one request at a time, behind a lock; --server ministack has real conflicts."
_TTL = "Times of expiry are in whole seconds; the suite moves the history's clock on."


class Clock:
    """The time, and how far it was moved on."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        """The time in seconds since 1970."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move it on."""
        self._ahead += seconds


def dynamodb(*, server: str = "") -> Iterator[Backend]:
    """Tables of its own on moto's server, unless told otherwise; they are deleted at the end.

    Args:
        server: "embedded" (moto), "ministack", a URL, or "" for the URL in CHATHISTORY_DYNAMODB_URL, else embedded.
            At a URL the credentials are those of boto3's default session.
    """
    with dynamodb_server(server) as it:
        is_ours = it.how != "url"
        tables = Tables(it.url, is_ours=is_ours)
        clock = Clock()
        handles = functools.partial(history, it.url, tables.make(""), is_ours)
        try:
            yield Backend(
                name="dynamodb",
                get_session_history=functools.partial(handles, _clock=clock),
                claims={"core", "async", "threads", "processes", "durable", "bounded", "expiry"},
                with_history_size=lambda session_id, size: handles(session_id, history_size=size, _clock=clock),
                with_ttl=lambda session_id, seconds: handles(session_id, ttl=seconds, _clock=clock),
                advance=clock.advance,
                in_partition=lambda name, session_id: history(it.url, tables.make(name), is_ours, session_id),
                wire=None if urlsplit(it.url).scheme == "https" else _wire(it, tables.make(""), is_ours=is_ours),
                in_another_process=handles,
                disposable=True,
                isolated=True,
                # Whichever server it is: with expressions to be parsed and signatures to be made, a call takes ms.
                costly=True,
                versions={**it.versions, **_versions()},
                import_path=f"{__name__}:dynamodb",
                notes=(_TTL, *((_IN_MEMORY,) if is_ours else ()), *((_SERIAL,) if it.how == "embedded" else ())),
            )
        finally:
            tables.delete()


def history(url: str, table: str, is_ours: bool, session_id: str, **options: Any) -> DynamoDBChatMessageHistory:
    """A handle; a function of a module, so that it can be sent to other processes."""
    return DynamoDBChatMessageHistory(table, session_id, url, boto3_session=session_for(is_ours=is_ours), **options)


@functools.cache
def session_for(*, is_ours: bool) -> Any:
    """The boto3 session for a server: with words that it takes for credentials, or the user's own."""
    if not is_ours:
        return boto3.Session()
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")  # noqa: S106 -- opens nothing but the emulator


class Tables:
    """The tables of one run: made when they are first asked for."""

    def __init__(self, url: str, *, is_ours: bool) -> None:
        self._url, self._session = url, session_for(is_ours=is_ours)
        self._prefix = f"chathistory-{secrets.token_hex(8)}"
        self._made: set[str] = set()

    def make(self, name: str) -> str:
        """The table of a partition. A name that no table can have is refused by the history."""
        table = f"{self._prefix}{name}"
        if table not in self._made and re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", table):
            create_table(table, endpoint_url=self._url, boto3_session=self._session)
            self._made.add(table)
        return table

    def delete(self) -> None:
        """Delete all of them."""
        client = clients_of(self._session, self._url).sync(self._session)
        for table in self._made:
            client.delete_table(TableName=table)
        clients_of(self._session, self._url).close()


def _wire(it: Server, table: str, *, is_ours: bool) -> Wire:
    @contextmanager
    def connect(host: str, port: int) -> Iterator[Callable[[str], DynamoDBChatMessageHistory]]:
        url, session = f"http://{host}:{port}", session_for(is_ours=is_ours)
        try:
            yield functools.partial(history, url, table, is_ours)
        finally:
            clients_of(session, url).close()

    return Wire(address=(it.host, it.port), connect=connect)


def _versions() -> dict[str, str]:
    try:
        native = version("aiobotocore")
    except PackageNotFoundError:
        native = "not installed"
    return {"boto3": version("boto3"), "aiobotocore": native}
