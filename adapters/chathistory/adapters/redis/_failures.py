"""Tell redis-py's errors apart, and put them into words without credentials: the only place that knows them."""

from __future__ import annotations

import re
from collections.abc import Iterable

import redis
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

_PERMISSIONS = "the user needs LRANGE, LPUSH and LTRIM; for a ttl EVAL and PEXPIRE; for an assignment EVAL and PERSIST"
_OTHER_LOOP = "the client belongs to another event loop: pass one made in this loop, or a URL"

_HINTS: tuple[tuple[str, str], ...] = (
    ("WRONGTYPE", "the key holds something that is no list: choose another key_prefix, or remove the key"),
    ("Operation against a key", "the key holds no list: choose another key_prefix, or remove the key"),
    ("OOM", "the server is at its maxmemory: give it more, or remove keys"),
    ("command not allowed when used memory", "the server is at its maxmemory: give it more, or remove keys"),
    ("READONLY", "this server is a replica: connect to its primary"),
    ("You can't write against a read only", "this server is a replica: connect to its primary"),
    ("LOADING", "the server is reading its data from disk: try again when it is done"),
    ("Redis is loading", "the server is reading its data from disk: try again when it is done"),
    ("CLUSTERDOWN", "the cluster is not whole: a member is missing"),
    ("The cluster is down", "the cluster is not whole: a member is missing"),
    ("MISCONF", "the server can't write to its disk"),
    ("NOAUTH", "pass the password: redis://:password@host:port/0"),
    ("Authentication required", "pass the password: redis://:password@host:port/0"),
    ("WRONGPASS", "check user name and password"),
    ("invalid username-password", "check user name and password"),
    ("AUTH <password> called without", "this server has no password: leave it out of the URL"),
    ("NOPERM", _PERMISSIONS),
    ("has no permissions", _PERMISSIONS),
    ("can't run this command", _PERMISSIONS),
    ("No permissions", _PERMISSIONS),
    ("attached to a different loop", _OTHER_LOOP),
    ("Event loop is closed", _OTHER_LOOP),
    ("Too many connections", "all connections of the pool are in use: give it more, or a BlockingConnectionPool"),
)

# How redis-py shows each sentinel that it asked: with all its settings.
_CLIENT = re.compile(r"<redis\.(?:asyncio\.)?client\.Redis\(.*?\)>\)>\)>")


class NotSentError(redis.RedisError):
    """There was no connection to send the request on, so nothing was carried out."""


class NoTurnError(NotSentError):
    """Other calls kept all connections busy."""


class AnswerLostError(redis.RedisError):
    """The request was sent and no answer came: nobody knows whether it was carried out."""


class UnusableError(redis.RedisError):
    """The store can't be used in this way at all; the text says what to do instead."""


def as_answer(error: redis.ResponseError) -> redis.ResponseError:
    """The answer as the class that it has in redis-py 6; before, only clients of clusters knew these."""
    kinds = {"MOVED": MovedError, "ASK": AskError, "CLUSTERDOWN": ClusterDownError, "TRYAGAIN": TryAgainError}
    word, _, rest = str(error).partition(" ")
    return kinds[word](rest) if word in kinds and type(error) is redis.ResponseError else error


def is_refusal(error: Exception) -> bool:
    """Whether the server answered, and said that it did not carry out the request.

    redis-py takes some of these answers for errors of the connection.
    """
    return isinstance(error, redis.ResponseError | redis.BusyLoadingError | redis.AuthenticationError)


def is_passing(error: Exception) -> bool:
    """Whether the request was not carried out, but can be in a moment.

    The server may be reading its data after a start, its cluster moving a slot or finding a new primary, and a
    pool of the caller's be in use by others.
    """
    origin = error.__cause__ if isinstance(error, NotSentError) else error
    passing = isinstance(origin, redis.BusyLoadingError | ClusterDownError | TryAgainError)
    return passing or "Too many connections" in str(origin)


def explained(error: Exception, secrets: Iterable[str], *, changes: bool) -> str:
    """The cause in one line, with what can be done about it, and without credentials (ERR-4).

    Args:
        error: what was raised.
        secrets: the credentials.
        changes: whether the request would have changed something.
    """
    origin = error.__cause__ if isinstance(error, NotSentError | AnswerLostError) and error.__cause__ else error
    text = _CLIENT.sub("a sentinel", " ".join(str(origin).split()))
    cause = without_secrets(text, secrets) or type(origin).__name__
    if isinstance(error, AnswerLostError):
        cause += "; the answer was lost"
        cause += ", so it may or may not have been carried out: read before you try again" if changes else ""
    hint = next((f" ({hint})" for text, hint in _HINTS if text in cause), "")
    return f"{cut(cause)}{hint}"


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text with *** in the place of each credential."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def cut(text: str, length: int = 300) -> str:
    """A text of bearable length: servers repeat what they did not understand."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
