"""What the `connection` argument means: which file, or a refusal that says what to pass instead.

Errors never repeat the argument: a URL of another store may carry a password (ERR-4).
"""

from __future__ import annotations

import os
import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*)://(.*)", re.DOTALL)
_SCHEMES = ("sqlite", "sqlite+aiosqlite", "sqlite+pysqlite")
_IN_MEMORY = (
    "a database in memory has no name under which a second handle, thread or process could find it, so "
    "history would be lost between handles; pass a file, or one "
    "sqlite3.connect(':memory:', check_same_thread=False) to every handle, or use "
    "chathistory.reference.InMemoryChatHistoryStore"
)


def database_path(connection: str | os.PathLike[str]) -> str:
    """The absolute path of the file that a SQLAlchemy URL or a plain path names.

    Args:
        connection: `sqlite:///relative.db`, `sqlite:////absolute.db`, the same with `+aiosqlite` or
            `+pysqlite`, or a path.

    Raises:
        ValueError: if it names no file, or holds options that would have to be ignored.
    """
    text = os.fsdecode(connection)
    url = _URL.fullmatch(text)
    path = _path_of_url(url[1], url[2]) if url else text
    if path in ("", ":memory:"):
        raise ValueError(f"connection: {_IN_MEMORY}")
    if path.startswith("file:"):
        raise ValueError(
            "connection: SQLite URIs (file:…) are not taken, because their options would be lost; pass the "
            "path, or open it yourself and pass the sqlite3.Connection"
        )
    if "\0" in path:
        raise ValueError("connection: a path can't hold NUL")
    # One file has one set of connections, whatever name it was opened by and wherever the process goes.
    return os.path.realpath(path)


def _path_of_url(scheme: str, rest: str) -> str:
    if scheme not in _SCHEMES:
        raise ValueError(
            f"connection: a URL of {scheme!r} is no SQLite database; expected one of "
            f"{', '.join(f'{known}:///path' for known in _SCHEMES)}, or a path"
        )
    if rest and not rest.startswith("/"):
        raise ValueError(f"connection: {scheme}:// is followed by a host; SQLite's URLs have three slashes")
    if "?" in rest:
        raise ValueError(
            "connection: options in the URL are not taken (for `timeout` there is busy_timeout); for others "
            "open the database yourself and pass the sqlite3.Connection"
        )
    if "%" in rest:
        raise ValueError("connection: % in a URL names different files in SQLAlchemy 2.0 and 2.1; pass the plain path")
    return rest[1:]
