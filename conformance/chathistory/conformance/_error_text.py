"""Reads what an error says: what led to it, what it gives away, and whether anybody meant to raise it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator

_CREDENTIALS = re.compile(r"://[^\s/@]*:[^\s/@]+@")

_MOST_CHARACTERS = 400

_ASYNC_ONLY = re.compile(r"\b(async|asynchronous|aadd_messages|aget_messages|aclear)\b", re.IGNORECASE)
_WORDS_OF_LOOPS = ("loop", "asyncio.run")
_RAW_LOOP_ERRORS = (
    "attached to a different loop",
    "bound to a different event loop",
    "loop is closed",
    "no running event loop",
    "Non-thread-safe",
)


def shown_error(error: BaseException | None) -> str:
    """An error as its type and message, cut where it gets long."""
    text = f"{type(error).__name__}: {_said(error)}"
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def logged_text(error: BaseException | None) -> str:
    """All that a log shows of an error and of those that led to it, with their notes."""
    return " ".join(" ".join((_said(each), _said(each, repr), *_notes(each))) for each in _chain(error))


def carries_credentials(text: str, secrets: Iterable[str]) -> bool:
    """Whether a text holds one of these secrets, or a URL with a password."""
    return any(secret in text for secret in secrets) or _CREDENTIALS.search(text) is not None


def is_refusal_of_loop(error: BaseException) -> bool:
    """Whether an error says on purpose that a handle belongs to another event loop."""
    said = _said(error).lower()
    return any(word in said for word in _WORDS_OF_LOOPS) and not _was_raised_by_asyncio(error)


def is_refusal_of_sync(error: BaseException) -> bool:
    """Whether an error says on purpose that there are async calls only."""
    is_said = _ASYNC_ONLY.search(_said(error)) is not None and not _was_raised_by_asyncio(error)
    return isinstance(error, NotImplementedError) or is_said


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it or that it groups, each once, as a log shows them."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if each.__cause__ is not None or each.__suppress_context__:
            pending.append(each.__cause__)
        else:
            pending.append(each.__context__)
        group = getattr(each, "exceptions", ())
        pending += [one for one in group if isinstance(one, BaseException)] if isinstance(group, list | tuple) else []


def _said(error: BaseException | None, by: Callable[[object], str] = str) -> str:
    """What an error says; its type, if it can't be asked."""
    try:
        return by(error)
    except Exception:  # noqa: BLE001 -- an error of a backend's own class may raise anything
        return type(error).__name__


def _notes(error: BaseException) -> Iterator[str]:
    """What was added to an error (PEP 678), as far as it is text."""
    return (note for note in getattr(error, "__notes__", None) or () if isinstance(note, str))


def _was_raised_by_asyncio(error: BaseException) -> bool:
    """Whether asyncio stumbled, and nobody refused on purpose."""
    if any(phrase in _said(error) for phrase in _RAW_LOOP_ERRORS):
        return True
    traceback = error.__traceback__
    filename = ""
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return f"{asyncio.__name__}/" in filename.replace("\\", "/")
