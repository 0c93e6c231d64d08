"""How the suite opens langchain-community's DynamoDBChatMessageHistory: as a typical user does, nothing mended."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory

from chathistory.adapters.peers.backends import _made, _versions, _without_deprecations
from chathistory.adapters.servers import dynamodb_server
from chathistory.conformance import Backend, Wire


def dynamodb(*, server: str = "") -> Iterator[Backend]:
    """langchain-community's DynamoDBChatMessageHistory, each handle with a client of its own, as it makes them.

    Args:
        server: "embedded" (moto), "ministack", a URL, or "" for the URL in CHATHISTORY_DYNAMODB_URL, else embedded.
            At a URL the credentials are those of boto3's default session.
    """
    with _without_deprecations():
        from langchain_community.chat_message_histories import DynamoDBChatMessageHistory

        from chathistory.adapters.dynamodb.backend import Tables, session_for

    with _without_deprecations(), dynamodb_server(server) as it:
        is_ours = it.how != "url"
        tables, session = Tables(it.url, is_ours=is_ours), session_for(is_ours=is_ours)

        def opened(table: str, session_id: str, url: str = it.url, **options: Any) -> BaseChatMessageHistory:
            return _made(
                DynamoDBChatMessageHistory, table, session_id, endpoint_url=url, boto3_session=session, **options
            )

        @contextmanager
        def connect(host: str, port: int) -> Iterator[Callable[[str], BaseChatMessageHistory]]:
            yield lambda session_id: opened(table, session_id, f"http://{host}:{port}")

        try:
            table = tables.make("")
            yield Backend(
                name="peer:dynamodb",
                get_session_history=lambda session_id: opened(table, session_id),
                claims={"core", "async", "threads", "processes", "durable", "bounded", "expiry"},
                with_history_size=lambda session_id, size: opened(table, session_id, history_size=size),
                with_ttl=lambda session_id, seconds: opened(table, session_id, ttl=round(seconds)),
                in_partition=lambda name, session_id: opened(tables.make(name), session_id),
                wire=Wire(address=(it.host, it.port), connect=connect) if is_ours else None,
                in_another_process=functools.partial(_opened_elsewhere, it.url, table, is_ours),
                disposable=True,
                isolated=True,
                costly=True,
                versions={**_versions("langchain-community", "boto3"), **it.versions},
                import_path=f"{__name__}:dynamodb",
                notes=("Each handle makes a boto3 resource of its own from one boto3 session.",),
            )
        finally:
            tables.delete()


def _opened_elsewhere(url: str, table: str, is_ours: bool, session_id: str) -> BaseChatMessageHistory:
    """A handle; a function of a module, so that it can be sent to other processes."""
    with _without_deprecations():
        from langchain_community.chat_message_histories import DynamoDBChatMessageHistory

        from chathistory.adapters.dynamodb.backend import session_for

        session = session_for(is_ours=is_ours)
        return _made(DynamoDBChatMessageHistory, table, session_id, endpoint_url=url, boto3_session=session)
