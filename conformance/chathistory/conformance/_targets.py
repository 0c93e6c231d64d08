"""Turns a target, or any object that stands for a subject, into an open backend.

A subject is a `Backend`, a function that yields or returns one (plain, generator or context manager), or a
bare `get_session_history`. What it is, is read from its signature; where that leaves it open, a call without
arguments decides, and where that only shows that an argument is missed, one with a session id.

Cleaning up always runs, and runs as after a success: an interrupted run must not leave a server behind because the
author wrote no ``try`` around the ``yield``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any, TypeAlias, cast

from langchain_core.chat_history import BaseChatMessageHistory

from chathistory.conformance._backend import DEFAULT_CLAIMS, Backend, SessionFactory
from chathistory.conformance._errors import BackendError, UsageError
from chathistory.conformance._locate import importable, locate, missing_module
from chathistory.conformance._program import new_token
from chathistory.conformance._subject import is_history
from chathistory.conformance._text import did_you_mean, error_line, raised_at
from chathistory.conformance.trials._writers import ImportedFactory
from chathistory.reference import PROFILES, ChatHistoryError, Profile

# What every get_session_history can be asked for; the other profiles need more than a handle.
_ALWAYS_CLAIMABLE: frozenset[str] = frozenset({"core", "async", "threads"})
_HOOK_OF = {"bounded": "with_history_size", "expiry": "with_ttl"}
_WRAP = "Backend(name=…, get_session_history=…)"

_ONE_PARAMETER = "a bare factory takes one parameter, the session id (name it session_id)"
_EXPECTED = "a target is a Backend, a function that yields one, or a get_session_history(session_id)"
_BY_POSITION = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_OF_A_MISSED_ARGUMENT = (ValueError, LookupError, AttributeError, AssertionError)
"""What a factory may raise that gets no session id; what a server or a file raises that is not there is none of it."""

Close: TypeAlias = Callable[[], None]
Opened: TypeAlias = tuple[Backend | SessionFactory, Close]


@contextmanager
def open_target(target: str, *, claims: Iterable[Profile] | None = None, server: str = "") -> Iterator[Backend]:
    """Open the backend that a target names, and close it afterwards.

    Args:
        target: a registered name, ``package.module:attribute`` or ``path/to/file.py:attribute``.
        claims: the profiles to check instead of those it claims by itself.
        server: which server it is to use, for backend functions with a parameter of that name.

    Raises:
        UsageError: the target names nothing that can be checked, or the claims don't fit it.
        BackendError: opening it raised.
    """
    with importable(target):
        found = locate(target)
        subject = _on_server(found.subject, found.name, server) if server else found.subject
        with open_subject(
            subject, name=found.name, import_path=found.import_path, claims=claims, entry=found.entry
        ) as backend:
            yield backend


def _on_server(subject: object, name: str, server: str) -> object:
    """The backend function with its choice of server made."""
    try:
        has_choice = callable(subject) and "server" in inspect.signature(subject).parameters
    except (TypeError, ValueError):
        has_choice = False
    if not has_choice:
        raise UsageError(f"{name} has no choice of servers; leave out --server (its function has no parameter server)")

    def opened() -> object:
        return cast(Callable[..., object], subject)(server=server)

    return opened


@contextmanager
def open_subject(
    subject: object,
    *,
    name: str,
    import_path: str | None = None,
    claims: Iterable[Profile] | None = None,
    entry: EntryPoint | None = None,
) -> Iterator[Backend]:
    """Open what an object stands for as a backend; see `open_target`.

    Args:
        subject: a Backend, a function that yields or returns one, or a get_session_history.
        name: how errors call it, and reports, when it has no name of its own.
        import_path: how a script finds it again.
        claims: the profiles to check instead of those it claims by itself.
        entry: the entry point that it was registered by.
    """
    opened, close = _open(subject, name, entry)
    try:
        backend = _as_backend(opened, name, import_path, claims)
        yield backend
    except BaseException:
        with suppress(Exception):  # the first fault is the one to tell
            close()
        raise
    _close(close, name)


def parse_claims(words: Iterable[str]) -> tuple[Profile, ...]:
    """The profiles of these names.

    Raises:
        UsageError: there is no such profile.
    """
    wanted = {word.lower(): word for word in words}
    for lower, word in wanted.items():
        if lower not in PROFILES:
            hint = did_you_mean(word, PROFILES)
            raise UsageError(f"there is no profile {word!r}{hint}; they are {', '.join(PROFILES)}")
    return tuple(profile for profile in PROFILES if profile in wanted)


def _open(subject: object, name: str, entry: EntryPoint | None) -> Opened:
    """The backend or factory that a subject stands for, and how to close it."""
    if isinstance(subject, Backend):
        return subject, _nothing_to_close
    if not callable(subject):
        raise UsageError(f"{name} is {_kind(subject)}, not callable{_hint(subject, name)}; {_EXPECTED}")
    _refuse_async(subject, name)
    role = _role(subject, name)
    if role == "factory":
        return cast(SessionFactory, subject), _nothing_to_close
    try:
        return _from_result(subject(), name) if role == "backend function" else _try_both(subject, name)
    except (UsageError, BackendError):
        raise
    except (Exception, SystemExit) as error:
        raise _not_opened(name, error, entry) from error


def _nothing_to_close() -> None:
    """Close what was opened by nobody."""


def _refuse_async(subject: Callable[..., object], name: str) -> None:
    body = subject if inspect.isroutine(subject) or inspect.isclass(subject) else _call_of(subject)
    if inspect.iscoroutinefunction(subject) or inspect.iscoroutinefunction(body):
        raise UsageError(
            f"{name} is an async function; get_session_history is called without await, "
            "so write it as a plain def that returns the history"
        )
    if inspect.isasyncgenfunction(subject) or inspect.isasyncgenfunction(body):
        raise UsageError(f"{name} is an async generator function; write a plain def with a yield")


def _call_of(instance: object) -> object:
    return getattr(type(instance), "__call__", None)  # noqa: B004 -- the function is wanted, not a yes or no


def _role(subject: Callable[..., object], name: str) -> str:
    """What the signature says a callable is: "factory", "backend function" or "either"."""
    try:
        parameters = list(inspect.signature(subject).parameters.values())
    except (TypeError, ValueError):  # some callables written in C have none
        return "factory"
    needed = [each for each in parameters if _is_needed(each)]
    by_position = [each for each in parameters if each.kind in _BY_POSITION]
    if inspect.isgeneratorfunction(subject) and needed:
        raise UsageError(f"{name} yields, but needs {_names(needed)}; a backend function takes no arguments")
    if len(needed) > 1 or (needed and needed[0].kind not in _BY_POSITION):
        raise UsageError(
            f"{name} needs {_names(needed)}, but get_session_history is called with the session id alone; "
            "wrap it in a function of one argument"
        )
    if needed:
        return "factory"
    if not by_position or inspect.isgeneratorfunction(inspect.unwrap(subject)):
        return "backend function"
    return "factory" if _opens_a_session(subject, by_position[0]) else "either"


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty and parameter.kind not in _VARIADIC


def _names(parameters: list[inspect.Parameter]) -> str:
    how = " by keyword" if parameters[0].kind is inspect.Parameter.KEYWORD_ONLY else ""
    return ", ".join(each.name for each in parameters) + how


def _opens_a_session(subject: Callable[..., object], first: inspect.Parameter) -> bool:
    """Whether a callable that could do without arguments says by its names that it takes a session id."""
    if inspect.isclass(subject) and issubclass(subject, BaseChatMessageHistory):
        return True
    return "session" in first.name.lower()


def _try_both(subject: Callable[..., object], name: str) -> Opened:
    """Call without arguments; what gives no backend that way is a factory, and the smoke gate judges it."""
    try:
        result = subject()
    except (ChatHistoryError, ModuleNotFoundError):
        raise
    except Exception as error:
        if _names_backend(subject):
            raise
        if not _misses_its_argument(subject, error):
            raise BackendError(f"{_could_not_be_opened(name, error)}; {_ONE_PARAMETER}") from error
    else:
        if _may_hold_a_backend(result):
            return _from_result(result, name)
    return cast(SessionFactory, subject), _nothing_to_close


def _names_backend(subject: Callable[..., object]) -> bool:
    """Whether a callable says that it makes a Backend, so that what it raises has nothing to do with a session id."""
    if "Backend" in re.findall(r"\w+", str(inspect.signature(subject).return_annotation)):
        return True
    function = inspect.unwrap(subject.func if isinstance(subject, partial) else subject)
    known = {"Backend": Backend, **getattr(function, "__globals__", {})}
    return any(known.get(name) is Backend for name in getattr(getattr(function, "__code__", None), "co_names", ()))


def _misses_its_argument(subject: Callable[..., object], error: Exception) -> bool:
    """Whether a callable raised only because it was given no session id: with one, it opens a history."""
    if isinstance(error, TypeError):  # as a wrapper of a function that needs its argument raises
        return True
    if not isinstance(error, _OF_A_MISSED_ARGUMENT):
        return False
    try:
        return is_history(subject(new_token().fill("{run}-smoke")))
    except Exception:  # noqa: BLE001 -- what it raised without an argument is the error to tell
        return False


def _may_hold_a_backend(result: object) -> bool:
    if isinstance(result, Backend):
        return True
    if is_history(result):  # which may be a context manager, too
        return False
    return isinstance(result, Iterator) or _is_context_manager(result) or _is_async(result)


def _is_context_manager(result: object) -> bool:
    return hasattr(type(result), "__enter__") and hasattr(type(result), "__exit__")


def _is_async(result: object) -> bool:
    return any(hasattr(type(result), name) for name in ("__await__", "__aiter__", "__aenter__"))


def _not_opened(name: str, error: BaseException, entry: EntryPoint | None) -> Exception:
    """The one line for a backend function that raised."""
    if isinstance(error, ModuleNotFoundError) and entry is not None:
        return UsageError(missing_module(name, error, entry))
    if isinstance(error, ChatHistoryError):  # written to be read by itself
        return BackendError(f"{name} could not be opened: {error}")
    return BackendError(_could_not_be_opened(name, error))


def _could_not_be_opened(name: str, error: BaseException) -> str:
    return f"{name} could not be opened: {error_line(error)}{raised_at(error)}"


def _from_result(result: object, name: str) -> Opened:
    """The backend that a backend function returned, or that entering or iterating its result gives."""
    if isinstance(result, Backend):
        return result, _nothing_to_close
    if is_history(result):
        raise UsageError(f"{name} takes no session id but returns a history; give it the parameter session_id")
    if _is_context_manager(result):
        return _entered(result, name)
    if isinstance(result, Iterator):
        return _advanced(result, name)
    if _is_async(result):
        raise UsageError(f"{name} returns {_kind(result)}; write it as a plain def")
    raise UsageError(f"{name} returns {_kind(result)}, not a Backend; return or yield {_WRAP}")


def _entered(manager: Any, name: str) -> Opened:
    try:
        value = manager.__enter__()
    except RuntimeError as error:
        if str(error) == "generator didn't yield":
            raise _yields_nothing(name) from None
        raise
    return _checked(value, name, lambda: manager.__exit__(None, None, None))


def _advanced(iterator: Iterator[object], name: str) -> Opened:
    try:
        value = next(iterator)
    except StopIteration:
        raise _yields_nothing(name) from None
    return _checked(value, name, lambda: _finish(iterator, name))


def _finish(iterator: Iterator[object], name: str) -> None:
    """Run a backend function to its end."""
    for _ in iterator:
        raise UsageError(f"{name} yields a second time; a backend function yields once, then cleans up")


def _yields_nothing(name: str) -> UsageError:
    return UsageError(f"{name} ends without yielding anything; yield {_WRAP}")


def _checked(value: object, name: str, close: Close) -> Opened:
    if isinstance(value, Backend):
        return value, close
    with suppress(Exception):
        close()
    raise UsageError(f"{name} yields {_kind(value)}, not a Backend; yield {_WRAP}")


def _close(close: Close, name: str) -> None:
    try:
        close()
    except UsageError:
        raise
    except Exception as error:
        raise BackendError(f"closing {name} raised {error_line(error)}{raised_at(error)}") from error


def _as_backend(
    opened: Backend | SessionFactory, name: str, import_path: str | None, claims: Iterable[Profile] | None
) -> Backend:
    wanted = _with_core(claims)
    if not isinstance(opened, Backend):
        _refuse_hookless(wanted or frozenset(), name)
        return Backend(
            name=name,
            get_session_history=opened,
            claims=wanted or DEFAULT_CLAIMS,
            import_path=import_path,
            in_another_process=ImportedFactory(import_path) if import_path else None,
        )
    if wanted is not None:
        _refuse_more(wanted, opened)
    return replace(
        opened,
        claims=opened.claims if wanted is None else wanted,
        import_path=opened.import_path or import_path,
    )


def _with_core(claims: Iterable[Profile] | None) -> frozenset[Profile] | None:
    core: Profile = "core"
    return None if claims is None else frozenset([core, *claims])


def _refuse_hookless(wanted: frozenset[str], name: str) -> None:
    for profile in sorted(wanted & _HOOK_OF.keys()):
        raise UsageError(
            f"{name} can't claim {profile!r}: a bare get_session_history has no way to ask for it; "
            f"yield Backend(name=…, get_session_history=…, {_HOOK_OF[profile]}=…)"
        )


def _refuse_more(wanted: frozenset[str], backend: Backend) -> None:
    for profile in sorted(wanted - frozenset(backend.claims) - _ALWAYS_CLAIMABLE):
        raise UsageError(
            f"the backend {backend.name!r} does not claim {profile!r}; "
            f"it claims {', '.join(p for p in PROFILES if p in backend.claims)}"
        )


def _kind(value: object) -> str:
    """What a value is, in two or three words."""
    if value is None:
        return "None"
    if inspect.ismodule(value):
        return f"the module {value.__name__!r}"
    if isinstance(value, BaseChatMessageHistory):
        return f"one opened history ({type(value).__name__})"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _hint(value: object, name: str) -> str:
    """Where the factory is, when the object has one."""
    if callable(getattr(value, "get_session_history", None)) and not isinstance(value, type):
        return f" (did you mean {name}.get_session_history?)"
    return ""
