"""Tell DynamoDB's and botocore's errors apart, and say when to try again: the only place that knows their codes."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from chathistory.adapters.dynamodb._place import Item

ERRORS = (BotoCoreError, ClientError, ResponseParserError)
"""What a client raises."""

Kind: TypeAlias = Literal["refused", "throttled", "never sent", "lost", "final"]

_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
    }
)
_UNDECIDED = frozenset({"InternalServerError", "InternalFailure", "InternalError", "ServiceUnavailable"})

_LOST = (
    ChecksumError,  # of an answer that is cut off
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseParserError,
    SSLError,
)

# How often what passes is waited for within one operation, and the longest first pause in seconds.
_TRIES: dict[Kind, tuple[int, float]] = {"throttled": (10, 0.05), "never sent": (3, 0.05), "lost": (4, 0.025)}
_LONGEST_PAUSE = 2.0
_SECONDS = 30.0

# By the beginning of what DynamoDB or botocore says.
_HINTS = {
    "Requested resource not found": (
        "does the table exist in this region and account? chathistory.adapters.dynamodb.create_table makes it"
    ),
    "Cannot do operations on a non-existent table": (
        "does the table exist in this region and account? chathistory.adapters.dynamodb.create_table makes it"
    ),
    "The provided key element does not match the schema": (
        "the table's key is another: pass its name as primary_key_name, or the whole key of a table with a sort key "
        "as key"
    ),
    "Type mismatch for key": "the table's key is another: see primary_key_name and key",
    "Unable to locate credentials": "pass boto3_session, or configure the credentials of the default session",
    "You must specify a region": "pass boto3_session=boto3.Session(region_name=…) or set AWS_DEFAULT_REGION",
    "Item size has exceeded": "the history has grown past what one item can list; start another session",
    "Item size to update has exceeded": "the history has grown past what one item can list; start another session",
}


class RefusedError(Exception):
    """The condition of a write does not hold.

    Attributes:
        item: the item as it is, None if there is none, or if the store doesn't say.
    """

    def __init__(self, item: Item | None) -> None:
        super().__init__("the condition does not hold")
        self.item = item


class UnknownOutcomeError(Exception):
    """A write got no answer: it was carried out, or was not, or will be."""

    def __init__(self) -> None:
        super().__init__("the connection was lost")


class MissingChunkError(Exception):
    """A head item names a chunk that is not there."""


class OldItemError(Exception):
    """An item of the old class can't be continued."""


class OutOfPatienceError(Exception):
    """Others have changed the session again and again, for longer than an operation may take."""


OWN_ERRORS = (RefusedError, UnknownOutcomeError, MissingChunkError, OldItemError, OutOfPatienceError)
"""What the steps of an operation raise of their own."""


def refuse_cut(response_dict: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Refuse an answer that was cut off on its way: a handler of botocore's event `response-received`.

    botocore takes one for an empty item, and so a history would be read as empty. Its checksum tells only of what is
    cut off after the checksum, which comes last of the headers; but a body is never empty, and as long as is said.

    Raises:
        ResponseParserError: if it was.
    """
    if response_dict is None or response_dict["status_code"] >= 300:
        return
    body, length = response_dict["body"], str(response_dict["headers"].get("content-length", ""))
    if not body or (length.isdigit() and len(body) < int(length)):
        raise ResponseParserError("the answer was cut off on its way")


def kind_of(error: BaseException) -> Kind:
    """What an error of a client says about the call."""
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "ConditionalCheckFailedException":
            return "refused"
        if code in _THROTTLED:
            return "throttled"
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
        return "lost" if code in _UNDECIDED or int(status) >= 500 else "final"
    if isinstance(error, ConnectTimeoutError | ProxyConnectionError) or _was_never_connected(error):
        return "never sent"
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "final"
    return "lost" if isinstance(error, _LOST) else "final"


def _was_never_connected(error: BaseException) -> bool:
    """Whether there was no connection to send on.

    EndpointConnectionError alone doesn't say so: aiobotocore raises it for connections that break, too.
    """
    if not isinstance(error, EndpointConnectionError):
        return False
    cause: Any = error.kwargs.get("error")
    return type(cause).__name__ in ("NewConnectionError", "NameResolutionError", "gaierror") or any(
        cls.__name__ == "ClientConnectorError" for cls in type(cause).__mro__
    )


class Patience:
    """How often, and for how long, one operation may try again.

    Attributes:
        may_be_done: whether a write that decides the operation was sent and got no answer, so that a later failure
            doesn't tell that it was not carried out.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self.may_be_done = False
        self._deadline = time.monotonic() + seconds
        self._tries: Counter[Kind] = Counter()

    def pause_after(self, error: BaseException, *, repeatable: bool = True, decides: bool = False) -> float:
        """How long to wait before the call is made again.

        Args:
            error: what the call has raised.
            repeatable: whether it may be made again though it may have been carried out.
            decides: whether the operation is done when the call is.

        Raises:
            RefusedError: if its condition does not hold.
            UnknownOutcomeError: if it may have been carried out and isn't repeatable.
            BaseException: the error, if trying again can't help or has been done often enough.
        """
        kind = kind_of(error)
        if kind == "refused":
            item = error.response.get("Item") if isinstance(error, ClientError) else None
            raise RefusedError(item) from error
        self.may_be_done |= kind == "lost" and decides
        if kind == "lost" and not repeatable:
            raise UnknownOutcomeError from error
        most, first = _TRIES.get(kind, (1, 0.0))
        self._tries[kind] += 1
        if self._tries[kind] >= most:
            raise error
        return self._pause(first * 2.0 ** (self._tries[kind] - 1), error)

    def pause_after_change(self, tries: int) -> float:
        """How long to wait when others have changed the session since it was looked at.

        Raises:
            OutOfPatienceError: if time is up.
        """
        return self._pause(0.002 * 2.0 ** min(tries, 10) if tries > 1 else 0.0, OutOfPatienceError())

    def pause_after_portion(self, tries: int) -> float:
        """How long to wait before the rest of a portion, of which so many tries in a row carried out nothing.

        Raises:
            ClientError: if time is up, or that was often enough.
        """
        error = ClientError(
            {"Error": {"Code": "ThrottlingException", "Message": "the table's throughput is used up"}}, "BatchItems"
        )
        most, first = _TRIES["throttled"]
        if tries >= most:
            raise error
        return self._pause(first * 2.0**tries if tries else 0.0, error)

    def _pause(self, longest: float, error: BaseException) -> float:
        if time.monotonic() >= self._deadline:
            raise error
        # Spread out, so that those who met don't meet again.
        return random.uniform(0.0, min(longest, _LONGEST_PAUSE))  # noqa: S311 -- no secret


def cause_of(error: BaseException) -> str:
    """What went wrong, in one line, with the mend if it is known."""
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        # Signature errors go on with the whole request, session token and all.
        message = str(said.get("Message") or "").strip().split("\n")[0]
        code = str(said.get("Code") or "error")
        cause = f"{message} ({code})" if message else code
    elif isinstance(error, OutOfPatienceError):
        message = cause = "others kept changing the session; try again"
    elif isinstance(error, MissingChunkError):
        message = cause = f"its chunk {error} is gone: somebody else has deleted the item"
    elif isinstance(error, UnknownOutcomeError):
        reason = cause_of(error.__cause__) if error.__cause__ else str(error)
        message = cause = f"{reason}; whether it was carried out is not known, so read before trying again"
    else:
        message = cause = str(error).strip().split("\n")[0]
    hint = next((hint for text, hint in _HINTS.items() if message.startswith(text)), "")
    return f"{cause.rstrip('.')}; {hint}" if hint else cause


_USER_INFO = re.compile(r"://[^/@\s\"']*@")


def without_secrets(text: str, secrets: tuple[str | None, ...]) -> str:
    """The text without the user names and passwords of URLs, and without these secrets (ERR-4)."""
    text = _USER_INFO.sub("://…@", text)
    for secret in secrets:
        if secret and len(secret) > 3:
            text = text.replace(secret, "…")
    return text
