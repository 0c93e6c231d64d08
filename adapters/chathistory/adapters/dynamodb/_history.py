"""The class that users run: `DynamoDBChatMessageHistory`, a history in a DynamoDB table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chathistory.adapters.dynamodb import _session
from chathistory.adapters.dynamodb._batch import Settings
from chathistory.adapters.dynamodb._calls import Answer, Request, Steps
from chathistory.adapters.dynamodb._clients import clients_of, default_session
from chathistory.adapters.dynamodb._drive import adrive, drive
from chathistory.adapters.dynamodb._failures import ERRORS, OWN_ERRORS, cause_of, without_secrets
from chathistory.adapters.dynamodb._place import (
    Place,
    checked_name,
    checked_place,
    checked_table,
    key_given,
    key_of_session,
)
from chathistory.reference import DamagedMessageError, StoreError, encode_batch, from_plain

if TYPE_CHECKING:
    from boto3.session import Session

T = TypeVar("T")


class DynamoDBChatMessageHistory(BaseChatMessageHistory):
    """A chat message history in a DynamoDB table.

    It takes the place of langchain-community's class of the same name, over the same tables::

        history = DynamoDBChatMessageHistory("SessionTable", "session")

    Sync and async methods may be mixed; a handle may be shared by threads, tasks, event loops and forked processes.
    Handles are cheap: those on one boto3 session and endpoint share its clients. Async methods use aiobotocore if it is
    installed, and else run the sync client in threads.

    Claims the profiles core, async, threads, processes, durable, bounded and expiry.

    Args:
        table_name: a table, which must exist (see `create_table`).
        session_id: which session. Any text; what can't be a key of DynamoDB is stored under its SHA-256.
        endpoint_url: where DynamoDB is, if not where AWS has it.
        primary_key_name: the table's partition key, of the type string.
        key: the whole key of the session's item, for a table with a sort key: `{"UserId": "u", "ChatId": "c"}`, the
            partition key first. It alone says where the session is; `session_id` then only names it in errors.
        boto3_session: where region and credentials come from; boto3's default session if None.
        kms_key_id: refused.
        ttl: seconds from an add until the session reads as empty, rounded up to whole seconds of the clock; None is
            never. DynamoDB then deletes the items if its time to live is on for `ttl_key_name`.
        ttl_key_name: the attribute for that.
        history_size: how many of the last messages are kept; None keeps all.
        history_messages_key: the attribute of the old class's list; the attributes of ours begin with its name.
        coerce_float_to_decimal: taken for compatibility; floats are always stored exactly.
        native_async: False runs async calls in threads even if aiobotocore is installed: for sessions whose event
            hooks matter, such as moto's `mock_aws`.

    Raises:
        TypeError, ValueError: if an argument can't be honoured. Nothing is opened before the first operation.
    """

    def __init__(
        self,
        table_name: str,
        session_id: str,
        endpoint_url: str | None = None,
        primary_key_name: str = "SessionId",
        key: Mapping[str, Any] | None = None,
        boto3_session: Session | None = None,
        kms_key_id: str | None = None,
        ttl: float | None = None,
        ttl_key_name: str = "expireAt",
        history_size: int | None = None,
        history_messages_key: str = "History",
        *,
        coerce_float_to_decimal: bool = False,
        native_async: bool = True,
        _clock: Callable[[], float] = time.time,
    ) -> None:
        _refuse_encryption(kms_key_id)
        if not isinstance(session_id, str):
            raise TypeError(f"session_id must be a str, got {type(session_id).__name__}")
        self._session_id = str.__str__(session_id)  # the text itself of an enumeration that is a str
        checked_name(primary_key_name, "primary_key_name")
        place = Place(
            checked_table(table_name),
            key_given(key) if key else key_of_session(primary_key_name, self._session_id),
            checked_name(history_messages_key, "history_messages_key"),
            checked_name(ttl_key_name, "ttl_key_name"),
        )
        self._settings = Settings(checked_place(place), _checked_size(history_size), _checked_ttl(ttl), _clock)
        self._knowledge = _session.Knowledge()
        self._key = dict(key) if key else {primary_key_name: self._session_id}
        self._coerce_float_to_decimal = coerce_float_to_decimal
        self._endpoint_url = _checked_endpoint(endpoint_url)
        self._boto3_session = _checked_session(boto3_session)
        self._native_async = native_async

    @property
    def session_id(self) -> str:
        """The session that this handle was opened on."""
        return self._session_id

    @property
    def key(self) -> dict[str, Any]:
        """The key that was given, or that of the session. Assigning another opens the handle on that."""
        return dict(self._key)

    @key.setter
    def key(self, key: Mapping[str, Any]) -> None:
        place = checked_place(replace(self._settings.place, key=key_given(key)))
        self._settings, self._knowledge, self._key = (
            replace(self._settings, place=place),
            _session.Knowledge(),
            dict(key),
        )

    @property
    def ttl(self) -> float | None:
        """Seconds from an add until the session reads as empty; another holds from the next add on."""
        return self._settings.ttl

    @ttl.setter
    def ttl(self, ttl: float | None) -> None:
        self._settings = replace(self._settings, ttl=_checked_ttl(ttl))

    @property
    def ttl_key_name(self) -> str:
        """The attribute by which DynamoDB deletes what has expired."""
        return self._settings.place.expiry

    @property
    def history_size(self) -> int | None:
        """How many of the last messages are kept; another holds from the next add on."""
        return self._settings.keep

    @history_size.setter
    def history_size(self, history_size: int | None) -> None:
        self._settings = replace(self._settings, keep=_checked_size(history_size))

    @property
    def history_messages_key(self) -> str:
        """The attribute of the old class's list."""
        return self._settings.place.old

    @property
    def coerce_float_to_decimal(self) -> bool:
        """What was given; floats are stored exactly either way."""
        return self._coerce_float_to_decimal

    @property
    def table(self) -> Any:
        """The table as a resource of boto3, made anew: resources are not for several threads."""
        resource = self._session().resource("dynamodb", endpoint_url=self._endpoint_url)
        return resource.Table(self._settings.place.table)

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages of the session in the order in which they were added; the list is the caller's.

        Raises:
            StoreError: if they could not be read.
            DamagedMessageError: if something stored is no message; the error says where.
        """
        return self._decoded(self._run("read from", _session.read(self._settings, self._knowledge)))

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        texts = encode_batch(messages, self._session_id)
        self._run("replace the session in", _session.replace(self._settings, self._knowledge, texts))

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append a batch, wholly or not at all.

        Raises:
            NotAMessageError: if anything in it is not a message.
            UnstorableValueError: if a message can't be stored exactly.
            StoreError: if it was not stored; if the connection was lost and stayed so, it says that this is not known.
        """
        if texts := encode_batch(messages, self._session_id):
            self._run("add to", _session.add(self._settings, self._knowledge, texts))

    def clear(self) -> None:
        """Start the session anew: delete its item, and what else is stored for it.

        Raises:
            StoreError: if it was not cleared.
        """
        self._run("clear the session in", _session.clear(self._settings))

    async def aget_messages(self) -> list[BaseMessage]:
        """The async form of reading `messages`."""
        return self._decoded(await self._arun("read from", _session.read(self._settings, self._knowledge)))

    async def aadd_message(self, message: BaseMessage) -> None:
        """The async form of `add_message`."""
        await self.aadd_messages([message])

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """The async form of `add_messages`; if cancelled, it took effect wholly or not at all (ASY-4)."""
        if texts := encode_batch(messages, self._session_id):
            await self._arun("add to", _session.add(self._settings, self._knowledge, texts))

    async def aclear(self) -> None:
        """The async form of `clear`."""
        await self._arun("clear the session in", _session.clear(self._settings))

    def __repr__(self) -> str:
        return f"DynamoDBChatMessageHistory(table_name={self._settings.place.table!r}, session_id={self._session_id!r})"

    def _session(self) -> Any:
        return self._boto3_session if self._boto3_session is not None else default_session()

    def _run(self, verb: str, steps: Steps[T]) -> T:
        try:
            session = self._session()
            return drive(steps, lambda: clients_of(session, self._endpoint_url).sync(session))
        except (*ERRORS, *OWN_ERRORS, ValueError) as error:
            self._fail(verb, error)

    async def _arun(self, verb: str, steps: Steps[T]) -> T:
        async def perform(request: Request) -> Answer:
            session = self._session()
            clients = clients_of(session, self._endpoint_url)
            return await clients.perform(session, request, native=self._native_async)

        try:
            return await adrive(steps, perform)
        except (*ERRORS, *OWN_ERRORS, ValueError) as error:
            self._fail(verb, error)

    def _fail(self, verb: str, error: Exception) -> NoReturn:
        """Raise the one error for whatever went wrong: which session, what was to be done, and why not (ERR-4)."""
        where = f"session {_cut(self._session_id)}: could not {verb} table {self._settings.place.table!r}"
        if isinstance(error, DamagedMessageError):
            raise DamagedMessageError(f"{where}: {error}; clear the session to use it again") from None
        known = self._secrets()
        cause = without_secrets(cause_of(error), known)
        failure = StoreError(f"{where}: {cause}")
        # botocore's errors may hold the endpoint with its password, or the whole signed request.
        said = str(error)
        raise failure from (error if without_secrets(said, known) == said else None)

    def _secrets(self) -> tuple[str | None, ...]:
        """The credentials that are known by now; none are looked for here."""
        credentials = getattr(getattr(self._session(), "_session", None), "_credentials", None)
        names = ("_access_key", "access_key", "_secret_key", "secret_key", "_token", "token")
        return tuple(credentials.__dict__.get(name) for name in names) if credentials is not None else ()

    def _decoded(self, messages: list[Any]) -> list[BaseMessage]:
        return [self._message(number, message) for number, message in enumerate(messages)]

    def _message(self, number: int, message: Any) -> BaseMessage:
        try:
            return from_plain(message)
        except DamagedMessageError as error:
            raise DamagedMessageError(
                f"session {_cut(self._session_id)}: entry {number} in table {self._settings.place.table!r} is no "
                f"message: {error}"
            ) from None


def _refuse_encryption(kms_key_id: object) -> None:
    if kms_key_id is not None:
        raise ValueError(
            "kms_key_id: encryption by the client is not supported, because the library for it "
            "(dynamodb-encryption-sdk) is no longer maintained; let DynamoDB encrypt the table by your KMS key "
            "(SSESpecification), or keep langchain-community's class for items that are encrypted already"
        )


def _checked_session(boto3_session: Session | None) -> Session | None:
    if boto3_session is not None and not callable(getattr(boto3_session, "client", None)):
        raise TypeError(f"boto3_session must be a boto3.Session or None, got {type(boto3_session).__name__}")
    return boto3_session


def _checked_endpoint(endpoint_url: str | None) -> str | None:
    if endpoint_url is None:
        return None
    if not isinstance(endpoint_url, str):
        raise TypeError(f"endpoint_url must be a str or None, got {type(endpoint_url).__name__}")
    if "@" in endpoint_url.partition("://")[2].partition("/")[0]:
        raise ValueError(
            "endpoint_url must hold neither user name nor password: requests are signed with the credentials of "
            "boto3_session"
        )
    return endpoint_url


def _checked_size(history_size: int | None) -> int | None:
    if history_size is None:
        return None
    if isinstance(history_size, bool) or not isinstance(history_size, int):
        raise TypeError(f"history_size must be an int or None, got {type(history_size).__name__}")
    if history_size < 1:
        raise ValueError(f"history_size must be at least 1, or None to keep all, got {history_size}")
    return history_size


def _checked_ttl(ttl: float | None) -> float | None:
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"ttl must be a number of seconds or None, got {type(ttl).__name__}")
    if not math.isfinite(ttl) or ttl <= 0:
        raise ValueError(f"ttl must be more than 0 seconds, or None for ever, got {ttl!r}")
    return ttl


def _cut(text: str, length: int = 200) -> str:
    shown = repr(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
