"""Say in one line what went wrong and what to do: the only place that knows PostgreSQL's codes for users' sake."""

from __future__ import annotations

import psycopg

from chathistory.adapters.postgres._exchange import AnswerLostError
from chathistory.adapters.postgres._table import SHORTFALL
from chathistory.reference import StoreError

_HINTS = {
    "42P01": "make it once by PostgresChatMessageHistory.create_tables(connection, table_name)",
    "42703": "it is not a table of chat messages; give another name",
    "42501": "ask the owner of the table for the right to do this",
    "25006": "connect to the primary server, or begin a transaction that may write",
    "57014": "statement_timeout, or somebody's cancellation",
    "55P03": "another transaction holds the lock of this session; it was waited for as long as lock_timeout says",
    "55000": "is it a standby server?",
    "53300": "raise max_connections, or share a pool of connections",
    "3D000": "create the database first",
    "2200H": "the ids of the table are used up; make its id column a BIGINT",
    "0A000": "has the table a rule on INSERT? Make it a trigger: rows can't be counted through rules",
    "22P05": "the encoding of the database lacks a character of it",
}
_HINTS_OF_CLASSES = {
    "PoolTimeout": "every connection of the pool was in use, or it can't open any; raise its max_size or timeout",
    AnswerLostError.__name__: "it may have been done all the same: read before you repeat it",
}


def failure(what: str, error: Exception, secrets: tuple[str, ...] = ()) -> StoreError:
    """The one error for whatever psycopg or PostgreSQL says.

    Args:
        what: which session, and what was to be done.
        error: what was raised; it becomes the cause of the error unless it tells a secret.
        secrets: texts that must not be shown.
    """
    cause = _first_line(error)
    hint = _hint(error)
    failed = StoreError(_without(secrets, f"{what}: {cause}{f' ({hint})' if hint else ''}"))
    if not any(secret in str(error) for secret in secrets):
        _forget(secrets, error)
        failed.__cause__ = error
    return failed


def _forget(secrets: tuple[str, ...], error: Exception) -> None:
    """Take out of an error what tells a secret to whoever looks into it: psycopg keeps what it tried to connect by."""
    for name, value in list(vars(error).items()):
        shown = repr(value)
        if any(secret in shown for secret in secrets):
            setattr(error, name, None)


def _first_line(error: Exception) -> str:
    # Further lines may quote the statement.
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    if isinstance(error, psycopg.errors.InvalidTextRepresentation) and (shortfall := SHORTFALL.search(told or "")):
        return f"{shortfall[1]}; has it a trigger that skips rows, or sends them to another table?"
    lines = (told or str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _hint(error: Exception) -> str:
    code = error.sqlstate if isinstance(error, psycopg.Error) else None
    return _HINTS.get(code or "") or _HINTS_OF_CLASSES.get(type(error).__name__, "")


def _without(secrets: tuple[str, ...], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
