"""The clients of this process: one for each boto3 session and endpoint, and one more per event loop.

Making a client takes long (50 to 100 ms), so all handles share them. botocore's clients may be used by many threads,
but not made by many from one session: a lock is around that. botocore's own retries are off, since it would send an
add again without knowing whether it was carried out (DUR-4); `_failures.Patience` takes their place.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import Any

import boto3
import boto3.session
from botocore.config import Config

from chathistory.adapters.dynamodb._calls import Answer, Request
from chathistory.adapters.dynamodb._failures import refuse_cut

try:
    from chathistory.adapters.dynamodb import _native
except ImportError:  # aiobotocore is not installed: async calls run in threads
    _native = None  # type: ignore[assignment]

OPTIONS: dict[str, Any] = {
    # Only the mode "legacy" compares an answer with its checksum when nothing is tried again. What has lost its
    # checksum is left to `refuse_cut`.
    "retries": {"total_max_attempts": 1, "mode": "legacy"},
    "connect_timeout": 5,
    "read_timeout": 10,
    "max_pool_connections": 50,
}
"""How our clients differ from a session's own. Seconds; what the session's default configuration says holds beside."""


class Clients:
    """The clients of one boto3 session for one endpoint.

    Args:
        endpoint_url: where DynamoDB is, if not where AWS has it.
    """

    def __init__(self, endpoint_url: str | None) -> None:
        self._endpoint_url = endpoint_url
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget every client, without touching its connections: they may be those of a parent process."""
        self._client: Any = None
        self._native = _native.LoopClients() if _native is not None else None

    def sync(self, session: Any) -> Any:
        """The client for sync calls."""
        client = self._client
        if client is None:
            with _LOCK:
                if self._client is None:
                    made = session.client("dynamodb", endpoint_url=self._endpoint_url, config=Config(**OPTIONS))
                    made.meta.events.register("response-received.dynamodb", refuse_cut)
                    self._client = made
                client = self._client
        return client

    async def perform(self, session: Any, request: Request, *, native: bool) -> Answer:
        """Make a request without holding up the event loop: by aiobotocore if it is there, or in a thread."""
        answer: Answer
        if native and self._native is not None:
            client = await self._native.client(session, self._endpoint_url, OPTIONS, _LOCK)
            answer = await getattr(client, request.method)(**request.arguments)
            return answer
        return await asyncio.get_running_loop().run_in_executor(None, self._request, session, request)

    def _request(self, session: Any, request: Request) -> Answer:
        answer: Answer = getattr(self.sync(session), request.method)(**request.arguments)
        return answer

    def close(self) -> None:
        """Close the connections of sync calls; those of async calls are closed with their event loops."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def has_native() -> bool:
    """Whether aiobotocore is installed."""
    return _native is not None


def default_session() -> Any:
    """boto3's default session, which `boto3.setup_default_session` sets up, as langchain-community's class takes it."""
    if boto3.DEFAULT_SESSION is None:
        with _LOCK:
            if boto3.DEFAULT_SESSION is None:
                boto3.setup_default_session()
    return boto3.DEFAULT_SESSION


def clients_of(session: Any, endpoint_url: str | None) -> Clients:
    """The clients of a session for an endpoint: the same for every handle."""
    with _LOCK:
        by_endpoint = _CLIENTS.setdefault(session, {})
        if endpoint_url not in by_endpoint:
            by_endpoint[endpoint_url] = Clients(endpoint_url)
        return by_endpoint[endpoint_url]


def _after_fork() -> None:
    """Start afresh in a forked child: it must not share connections with its parent."""
    global _LOCK
    _LOCK = threading.RLock()
    for by_endpoint in list(_CLIENTS.values()):
        for clients in by_endpoint.values():
            clients.begin_anew()


_LOCK = threading.RLock()
_CLIENTS: weakref.WeakKeyDictionary[Any, dict[str | None, Clients]] = weakref.WeakKeyDictionary()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
