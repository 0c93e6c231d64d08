"""What the `conninfo` argument means, and which parts of it are secret.

Errors never repeat the argument, nor what libpq says of it: both may hold a password (ERR-4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
from psycopg.conninfo import conninfo_to_dict

_OF_SQLALCHEMY = re.compile(r"postgresql\+psycopg(_async)?://")


def checked_conninfo(conninfo: str) -> str:
    """The text as libpq takes it.

    Args:
        conninfo: `postgresql://user:password@host/database`, the same as SQLAlchemy writes it for psycopg, or
            `host=… dbname=…`; whatever is left out comes from the PG… variables.

    Raises:
        TypeError: if it is not a str.
        ValueError: if libpq can't read it.
    """
    if not isinstance(conninfo, str):
        raise TypeError(f"conninfo must be a str, got {type(conninfo).__name__}")
    return _checked(conninfo)


@lru_cache(maxsize=64)
def _checked(conninfo: str) -> str:
    text = _OF_SQLALCHEMY.sub("postgresql://", conninfo, count=1)
    try:
        parameters = conninfo_to_dict(text)
    except psycopg.Error:
        parameters = None
    if parameters is None:
        raise ValueError(
            "conninfo is neither a URL, postgresql://user:password@host/database, nor a connection string of libpq, "
            "host=… dbname=…; in a URL, write special characters of the password as %XX"
        )
    if "@" in str(parameters.get("host", "")):
        raise ValueError("conninfo: the host has an @ in it; in a URL, write an @ of the password as %40")
    return text


def secrets_in(conninfo: str) -> tuple[str, ...]:
    """The texts in it that must not be shown, as they are and as URLs write them; the longest first."""
    found = {form for value in _passwords(conninfo_to_dict(conninfo)) for form in _forms(value)}
    return tuple(sorted(found, key=len, reverse=True))


def _passwords(parameters: dict[str, Any]) -> Iterator[str]:
    for name in ("password", "sslpassword", "oauth_client_secret"):
        if parameters.get(name):
            yield str(parameters[name])


def _forms(password: str) -> tuple[str, ...]:
    return password, quote(password), quote(password, safe=""), quote_plus(password)
