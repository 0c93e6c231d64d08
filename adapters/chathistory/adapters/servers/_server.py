"""What a server is to those who use it, and how one of the ways to open it is chosen."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit, urlunsplit

from chathistory.reference import ChatHistoryError

How: TypeAlias = Literal["embedded", "docker", "url", "ministack"]

START_SECONDS = 20.0
"""How long a server of ours may take to answer, on a busy machine, before that is an error."""

ANSWER_SECONDS = 4.0
"""How long a server of the user's may take to answer."""

# As Redis (with and without the code that comes first) and PostgreSQL put it; neither driver has a type for it.
_IS_ABOUT_THE_ACCOUNT = re.compile(r"NOAUTH|WRONGPASS|password|Authentication required", re.IGNORECASE)

_T = TypeVar("_T")


class ServerError(ChatHistoryError):
    """No server could be opened; the message says which, why, and what mends it, and carries no credentials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that answers.

    Attributes:
        how: the way it was opened.
        url: where it is, with the password if there is one.
        host: the host in it.
        port: the port in it.
        secrets: texts that must never be shown.
        versions: of the server, by its name.
        crash: kills it with SIGKILL, starts it again on the same data and port, and returns when it answers;
            only for servers of ours.
    """

    how: How
    url: str = field(repr=False)
    host: str
    port: int
    secrets: tuple[str, ...] = field(default=(), repr=False)
    versions: Mapping[str, str] = field(default_factory=dict)
    crash: Callable[[], None] | None = field(default=None, repr=False)

    @property
    def can_crash(self) -> bool:
        """Whether it can be killed and started again."""
        return self.crash is not None


def chosen(server: str, variable: str, ways: tuple[How, ...], schemes: tuple[str, ...]) -> tuple[How, str]:
    """The way to open a server, and its URL if that is the way.

    Args:
        server: what the user asked for: a way, a URL, or "" for the variable's URL, else the first way.
        variable: the environment variable that may hold a URL.
        ways: the ways there are, the default first.
        schemes: the schemes that a URL may have.

    Raises:
        ServerError: if there is no such way, or the URL is of another kind of server.
    """
    wanted = server or os.environ.get(variable, "")
    if not wanted:
        return ways[0], ""
    for way in ways:
        if wanted == way != "url":
            return way, ""
    if wanted == "url":
        raise ServerError(f"which server? set {variable} or pass the URL itself, {schemes[0]}://…")
    if "://" not in wanted:
        named = ", ".join(way for way in ways if way != "url")
        raise ServerError(f"there is no server {wanted!r}; choose {named} or a URL, {schemes[0]}://…")
    if urlsplit(wanted).scheme not in schemes:
        raise ServerError(
            f"the URL begins with {urlsplit(wanted).scheme!r}, but {' or '.join(map(repr, schemes))} is needed here"
        )
    return "url", wanted


@contextmanager
def opened_by(
    how: How, ways: Mapping[How, Callable[[], AbstractContextManager[Server]]], otherwise: Callable[[], Server]
) -> Iterator[Server]:
    """The server opened by one of the ways, or the user's own, which stays open."""
    if how in ways:
        with ways[how]() as opened:
            yield opened
    else:
        yield otherwise()


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until_answers(
    ask: Callable[[], _T],
    *,
    seconds: float,
    passing: type[BaseException] | tuple[type[BaseException], ...],
    alive: Callable[[], Any] = lambda: True,
) -> _T:
    """What `ask` returns once it no longer raises one of the passing errors.

    Raises:
        ServerError: if the server is no longer alive.
        BaseException: the last passing error, once the time is over.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except passing:
            if time.monotonic() > deadline:
                raise
        if not alive():
            raise ServerError("the server ended by itself")
        time.sleep(0.01)


def unusable(store: str, url: str, cause: str) -> ServerError:
    """The error for a server at a URL of the user's, with what to look at."""
    look = "check user and password" if _IS_ABOUT_THE_ACCOUNT.search(cause) else "is it running, and is the URL right?"
    return ServerError(f"no {store} can be used at {without_password(url)}: {cause.rstrip('.')}; {look}")


def missing(what: str, extra: str) -> ServerError:
    """The error for a library that is not installed."""
    return ServerError(f'{what} is not installed: pip install "chathistory[{extra}]", or name a server by --server URL')
