"""aiobotocore's clients: one per event loop, closed when the loop is, with the credentials of a boto3 session.

The only module that imports aiobotocore; importing it raises ImportError where that is not installed.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession


class _Borrowed(AioCredentials):  # type: ignore[misc] # untyped
    """The credentials of a boto3 session, refreshed by it, in a thread when that takes a request of its own."""

    def __init__(self, credentials: Any) -> None:
        now = credentials.get_frozen_credentials()
        super().__init__(now.access_key, now.secret_key, now.token, account_id=getattr(now, "account_id", None))
        self._credentials = credentials

    async def get_frozen_credentials(self) -> Any:
        needs_refresh = getattr(self._credentials, "refresh_needed", None)
        if needs_refresh is not None and needs_refresh():
            get = self._credentials.get_frozen_credentials
            return await asyncio.get_running_loop().run_in_executor(None, get)
        return self._credentials.get_frozen_credentials()


_ALL: weakref.WeakSet[LoopClients] = weakref.WeakSet()


class LoopClients:
    """The clients of one boto3 session and endpoint, by event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opening: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Any]]
        self._opening = weakref.WeakKeyDictionary()
        _ALL.add(self)

    async def client(
        self, session: Any, endpoint_url: str | None, options: Mapping[str, Any], lock: threading.RLock
    ) -> Any:
        """The client of the running loop, made by the first call in it.

        Args:
            session: the boto3 session.
            endpoint_url: where DynamoDB is, if not where AWS has it.
            options: of botocore's Config.
            lock: what is to be held while a boto3 session is used.

        Raises:
            botocore's errors: if it can't be made; the next call tries again.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            self._forget_closed_loops()
            opening = self._opening.get(loop)
            if opening is None:
                opening = self._opening[loop] = loop.create_task(self._opened(session, endpoint_url, options, lock))
        try:
            client, _ = await asyncio.shield(opening)
        except BaseException:
            if opening.done() and self._opening.get(loop) is opening:
                self._opening.pop(loop, None)
            raise
        return client

    def _forget_closed_loops(self) -> None:
        """Let go of the clients of loops that were closed without the end that `asyncio.run` gives them."""
        for loop in [loop for loop in self._opening if loop.is_closed()]:
            opening = self._opening.pop(loop)
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                _abandon(opening.result()[0])

    async def _opened(
        self, session: Any, endpoint_url: str | None, options: Mapping[str, Any], lock: threading.RLock
    ) -> tuple[Any, object]:
        loop = asyncio.get_running_loop()
        aio_session, config = await loop.run_in_executor(None, _aio_session, session, options, lock)
        context = aio_session.create_client(
            "dynamodb",
            region_name=session.region_name,
            endpoint_url=endpoint_url,
            config=config,
            # Reading certificates takes 20 ms of each loop, and without TLS there is nothing to verify.
            verify=False if (endpoint_url or "").startswith("http://") else None,
        )
        opened = self._until_loop_ends(context, loop)
        return await opened.__anext__(), opened

    async def _until_loop_ends(self, context: Any, loop: asyncio.AbstractEventLoop) -> AsyncIterator[Any]:
        """The client, in an async generator that is never finished: `asyncio.run` closes those, and so the client."""
        async with context as client:
            try:
                yield client
            finally:
                with self._lock:
                    self._opening.pop(loop, None)


def _aio_session(session: Any, options: Mapping[str, Any], lock: threading.RLock) -> tuple[AioSession, AioConfig]:
    """An aiobotocore session with what a boto3 session has; files are read and credentials looked for here."""
    botocore_session = session._session  # boto3 has no public way to the session below it
    with lock:
        credentials = session.get_credentials()
        profile = botocore_session.instance_variables().get("profile")
        defaults = botocore_session.get_default_client_config()
        borrowed = None if credentials is None else _Borrowed(credentials)
    made = AioSession(profile=profile)
    made._credentials = borrowed  # its public setter takes no credentials that refresh themselves
    # What takes time is reading the descriptions of services: done once, and not in the event loop.
    loader = botocore_session.get_component("data_loader")
    loader.load_service_model("dynamodb", "service-2")
    made.register_component("data_loader", loader)
    ours = AioConfig(**options)
    return made, ours if defaults is None else AioConfig().merge(defaults).merge(ours)


@atexit.register
def _forget_closed_loops() -> None:
    """At the end of the interpreter: loops that nobody has closed properly."""
    for clients in list(_ALL):
        clients._forget_closed_loops()


def _abandon(client: Any) -> None:
    """Mark the connections of a client as closed, so that aiohttp doesn't complain of them when they are collected.

    Their loop is closed, so nothing that aiohttp or aiobotocore has for the public works any more.
    """
    with suppress(Exception):
        for session in client._endpoint.http_session._sessions.values():
            connector = session.connector
            session.detach()
            connector._close()
