"""What a target may be, and what a person is told who mistypes one."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chathistory.conformance import Backend, BackendError, UsageError
from chathistory.conformance._locate import missing_module, registered_backends
from chathistory.conformance._targets import open_subject, open_target, parse_claims
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

STORE = InMemoryChatHistoryStore()

MINE = """
from contextlib import contextmanager
from chathistory.conformance import Backend
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

events = []
store = InMemoryChatHistoryStore()
number = 3
history = store.get_session_history("a")
backend = Backend(name="mine", get_session_history=store.get_session_history)

def get_session_history(session_id):
    return store.get_session_history(session_id)

def returning():
    return Backend(name="returned", get_session_history=store.get_session_history)

def yielding():
    events.append("opened")
    yield Backend(name="yielded", get_session_history=store.get_session_history)
    events.append("closed")

managing = contextmanager(yielding)

class Holder:
    class Inner:
        open = staticmethod(get_session_history)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with a file of subjects in it; modules imported from it are forgotten."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def error_of(target: str) -> str:
    """What the user is told who gives this target."""
    with pytest.raises((UsageError, BackendError)) as caught, open_target(target):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What a target may be.


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("mine.py:backend", "mine"),
        ("mine:backend", "mine"),
        ("./mine.py:returning", "returned"),
        ("mine:yielding", "yielded"),
        ("mine:managing", "yielded"),
        ("mine.py:get_session_history", "mine.py:get_session_history"),
        ("mine:get_session_history", "mine:get_session_history"),
        ("mine:store.get_session_history", "mine:store.get_session_history"),
        ("mine:Holder.Inner.open", "mine:Holder.Inner.open"),
        ("mine:InMemoryChatMessageHistory", "mine:InMemoryChatMessageHistory"),
    ],
)
def test_opens_whatever_stands_for_a_subject(folder: Path, target: str, name: str) -> None:
    """A Backend, a function that gives one, and a bare factory all open, by module and by file."""
    with open_target(target) as backend:
        assert backend.name == name
        assert backend.get_session_history("a").messages == []


def test_opens_a_file_anywhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file is found by its path, from any directory, and imports its neighbours."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "neighbour.py").write_text("from chathistory.reference import InMemoryChatMessageHistory")
    (elsewhere / "its-file.py").write_text("from neighbour import *")
    with open_target(f"{elsewhere}/its-file.py:InMemoryChatMessageHistory") as backend:
        assert backend.import_path == f"{elsewhere}/its-file.py:InMemoryChatMessageHistory"


def test_opens_a_file_of_a_package_as_its_module(folder: Path) -> None:
    """A file with relative imports works, since it is imported under its full name."""
    (folder / "pack").mkdir()
    (folder / "pack/__init__.py").touch()
    (folder / "pack/store.py").write_text(MINE)
    (folder / "pack/subject.py").write_text("from .store import get_session_history")
    with open_target("pack/subject.py:get_session_history") as backend:
        assert backend.get_session_history.__module__ == "pack.store"


def test_opens_a_file_whose_name_is_taken(folder: Path) -> None:
    """A file called like a module that is imported already is not confused with it."""
    (folder / "json.py").write_text(MINE)
    with open_target("json.py:backend") as backend:
        assert backend.name == "mine"
    assert hasattr(sys.modules["json"], "dumps")


def test_leaves_the_import_path_as_it_was(folder: Path) -> None:
    """Folders are importable while the backend is open, and no longer."""
    before = list(sys.path)
    with open_target("mine.py:backend"):
        assert str(folder) in sys.path
    assert sys.path == before


def test_says_how_a_script_opens_the_backend_again(folder: Path) -> None:
    """The import path is the module's attribute, or the absolute path of the file."""
    with open_target("mine.py:yielding") as backend:
        assert backend.import_path == f"{folder}/mine.py:yielding"
    with open_target("mine:yielding") as backend:
        assert backend.import_path == "mine:yielding"


def plain_factory(session_id: str) -> InMemoryChatMessageHistory:
    """The usual factory."""
    return STORE.get_session_history(session_id)


def factory_with_options(session_id: str, table: str = "t", *, ttl: int = 3) -> InMemoryChatMessageHistory:
    """A factory with more parameters, all optional."""
    return plain_factory(session_id)


def factory_with_default(session_id: str = "default") -> InMemoryChatMessageHistory:
    """A factory that could be called without arguments."""
    return plain_factory(session_id)


def factory_with_odd_default(name: str = "default") -> InMemoryChatMessageHistory:
    """A factory that only its result gives away."""
    return plain_factory(name)


def wrapped_factory(*args: Any, **kwargs: Any) -> InMemoryChatMessageHistory:
    """A factory behind a decorator that hides its signature."""
    return plain_factory(*args, **kwargs)


def factory_that_refuses_its_default(user: str = "") -> InMemoryChatMessageHistory:
    """A factory whose default is none."""
    if not user:
        raise ValueError("a user is needed")
    return plain_factory(user)


def factory_that_works_with_its_default(user: str | None = None) -> InMemoryChatMessageHistory:
    """A factory that takes for granted that it gets its argument."""
    return plain_factory(user.lower())  # type: ignore[union-attr]


class Managed:
    """A history that is no BaseChatMessageHistory, and a context manager."""

    def __init__(self, user: str) -> None:
        self.add_messages, self.clear, self.aget_messages = map(plain_factory(user).__getattribute__, _CALLS)

    def __enter__(self) -> Managed:
        """Use it in a block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the block."""


_CALLS = ("add_messages", "clear", "aget_messages")


def managed_factory(user: str = "me") -> Managed:
    """A factory of histories that could be taken for contexts of a backend."""
    return Managed(user)


class CallableFactory:
    """A factory that is an object."""

    def __call__(self, session_id: str) -> InMemoryChatMessageHistory:
        """Open a session."""
        return plain_factory(session_id)


@pytest.mark.parametrize(
    "factory",
    [
        plain_factory,
        factory_with_options,
        factory_with_default,
        factory_with_odd_default,
        wrapped_factory,
        factory_that_refuses_its_default,
        factory_that_works_with_its_default,
        managed_factory,
        lambda *args: plain_factory(args[0]),
        lambda *args, **kwargs: plain_factory(args[0] if args else kwargs["session_id"]),
        CallableFactory(),
        InMemoryChatMessageHistory,
        STORE.get_session_history,
        functools.partial(factory_with_options, ttl=4),
        functools.partial(factory_with_options, table="other"),
        lambda session_id: plain_factory(session_id),
    ],
)
def test_takes_every_kind_of_callable_as_a_factory(factory: Callable[..., object]) -> None:
    """Functions, classes, partials, bound methods and objects with optional parameters are factories."""
    with open_subject(factory, name="mine") as backend:
        assert backend.get_session_history is factory
        assert backend.claims == {"core", "async", "threads"}


def backend_with_options(url: str = "sqlite://") -> Backend:
    """A backend function with an optional parameter."""
    return Backend(name=url, get_session_history=plain_factory)


@pytest.mark.parametrize("opener", [backend_with_options, functools.partial(backend_with_options, "sqlite://")])
def test_takes_a_function_that_gives_a_backend_without_arguments_as_one(
    opener: Callable[[], Backend],
) -> None:
    """What needs no argument and gives a Backend is a backend function, whatever else it could take."""
    with open_subject(opener, name="mine") as backend:
        assert backend.name == "sqlite://"


def no_server(url: str = "db://host") -> object:
    """A function whose server is not there."""
    raise OSError(f"no server at {url}")


def no_backend(url: str = "") -> Backend:
    """A backend function that is not told its server."""
    raise ValueError(f"no server: {url!r}")


def no_backend_unannotated(url=""):  # type: ignore[no-untyped-def]
    """A backend function that only its code gives away."""
    return Backend(name=url, get_session_history={}[url])


def no_types(url: str = "") -> Backend:
    """A backend function with a slip in it."""
    return Backend(name=url + 1, get_session_history=plain_factory)  # type: ignore[operator]


def named_after_nobody(name: str = "") -> InMemoryChatMessageHistory:
    """A function that no argument pleases."""
    raise LookupError(f"nobody is called {name!r}")


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        (no_server, "mine could not be opened: OSError: no server at db://host at "),
        (no_backend, "mine could not be opened: ValueError: no server: '' at "),
        (no_backend_unannotated, "mine could not be opened: KeyError: '' at "),
        (no_types, "mine could not be opened: TypeError: "),
        (named_after_nobody, "mine could not be opened: LookupError: nobody is called '' at "),
    ],
)
def test_what_a_call_without_arguments_raises_is_told(subject: Callable[..., object], told: str) -> None:
    """The error of the call without arguments is the one to tell, where a session id does not help."""
    with pytest.raises(BackendError) as caught:
        open_subject(subject, name="mine").__enter__()
    assert str(caught.value).startswith(told)
    hint = "; a bare factory takes one parameter, the session id (name it session_id)"
    assert str(caught.value).endswith(hint) is (subject in (no_server, named_after_nobody))


@pytest.mark.parametrize("error", [OSError("no server"), RuntimeError("no docker"), ValueError("no port")])
def test_a_backend_function_that_raised_is_not_called_with_a_session_id(error: Exception) -> None:
    """It would take the id for the name of a file, or of a server."""
    calls: list[str] = []

    def opener(place: str = "mine.db") -> Backend:
        calls.append(place)
        raise error

    with pytest.raises(BackendError, match=str(error)):
        open_subject(opener, name="mine").__enter__()
    assert calls == ["mine.db"]


def test_a_function_whose_server_is_not_there_is_not_called_with_a_session_id() -> None:
    """Whatever it says of itself: no session id brings a server."""
    calls: list[tuple[object, ...]] = []

    def opener(*args: object) -> object:
        calls.append(args)
        raise ConnectionError("no server")

    with pytest.raises(BackendError, match="no server"):
        open_subject(opener, name="mine").__enter__()
    assert calls == [()]


# Claims.


def test_a_bare_factory_claims_what_the_user_says() -> None:
    """`--claim` replaces the claims that a bare factory is taken to make; core is always among them."""
    with open_subject(plain_factory, name="mine", claims=["durable"]) as backend:
        assert backend.claims == {"core", "durable"}


def test_claims_narrow_those_of_a_backend() -> None:
    """A backend is checked for the named profiles only."""
    subject = Backend(name="b", get_session_history=plain_factory, claims=["async", "durable"])
    with open_subject(subject, name="mine", claims=["durable"]) as backend:
        assert backend.claims == {"core", "durable"}


def test_claims_may_add_what_every_history_can_be_asked_for() -> None:
    """Threads need nothing but handles, so any backend can be checked for them."""
    subject = Backend(name="b", get_session_history=plain_factory, claims=["core"])
    with open_subject(subject, name="mine", claims=["threads"]) as backend:
        assert backend.claims == {"core", "threads"}


def test_claims_add_nothing_else_to_a_backend() -> None:
    """What a backend does not claim itself is no promise that could be broken."""
    subject = Backend(name="b", get_session_history=plain_factory)
    with pytest.raises(UsageError, match="'b' does not claim 'durable'; it claims core, async, threads"):
        open_subject(subject, name="mine", claims=["durable"]).__enter__()


def test_a_bare_factory_can_not_claim_what_needs_a_hook() -> None:
    """A bound and a ttl have to be asked for, which a bare factory has no way to be."""
    with pytest.raises(UsageError, match=r"can't claim 'bounded'.*with_history_size"):
        open_subject(plain_factory, name="mine", claims=["bounded"]).__enter__()


def test_an_unknown_claim_gets_the_closest_one() -> None:
    """A slip in a profile's name is answered with the name that was meant."""
    assert parse_claims(["Threads", "core"]) == ("core", "threads")
    with pytest.raises(UsageError, match=r"no profile 'thread' \(did you mean threads\?\)"):
        parse_claims(["thread"])


# Opening and closing.


def test_cleans_up_after_an_error_of_the_run(folder: Path) -> None:
    """The code behind a yield runs even if the author wrote no try around it."""
    with pytest.raises(KeyboardInterrupt), open_target("mine:yielding"):
        raise KeyboardInterrupt
    assert sys.modules["mine"].events == ["opened", "closed"]


def test_cleans_up_a_context_manager_after_an_error_of_the_run(folder: Path) -> None:
    """A context manager, too, is left as after a success."""
    with pytest.raises(ZeroDivisionError), open_target("mine:managing"):
        raise ZeroDivisionError
    assert sys.modules["mine"].events == ["opened", "closed"]


def test_cleans_up_when_the_claims_do_not_fit(folder: Path) -> None:
    """What was opened is closed when the run is refused after all."""
    with pytest.raises(UsageError), open_target("mine:yielding", claims=["bounded"]):
        pass
    assert sys.modules["mine"].events == ["opened", "closed"]


def raising() -> Iterator[Backend]:
    """A backend function whose server does not start."""
    raise OSError("no server at postgres://me:secret@host/db")
    yield


def test_an_error_on_opening_is_one_line_without_credentials() -> None:
    """The line tells type, message and place of the error, and hides a password in a URL."""
    with pytest.raises(BackendError) as caught:
        open_subject(raising, name="mine").__enter__()
    assert str(caught.value).startswith("mine could not be opened: OSError: no server at postgres://***@host/db at ")
    assert "test_targets.py:" in str(caught.value)


def test_an_error_on_closing_is_told() -> None:
    """A store that can't be closed is a fault of the set-up."""

    def opener() -> Iterator[Backend]:
        yield Backend(name="b", get_session_history=plain_factory)
        raise OSError("still busy")

    expected = pytest.raises(BackendError, match="closing mine raised OSError: still busy")
    with expected, open_subject(opener, name="mine"):
        pass


def test_an_error_on_closing_does_not_hide_the_error_of_the_run() -> None:
    """The first fault is the one to tell."""

    def opener() -> Iterator[Backend]:
        yield Backend(name="b", get_session_history=plain_factory)
        raise OSError("still busy")

    with pytest.raises(KeyboardInterrupt), open_subject(opener, name="mine"):
        raise KeyboardInterrupt


# Mistakes.


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("referenc", "no backend named 'referenc'"),
        ("nonsense", "package.module:attribute or path/to/file.py:attribute"),
        ("", "there is no backend named ''"),
        ("mine.py", "names no attribute; add the one to check, for example mine.py:get_session_history"),
        ("mine.py:", "names no attribute"),
        ("min.py:backend", "there is no file 'min.py' (did you mean mine.py?)"),
        (r"C:\stores\mine.py:backend", r"there is no file 'C:\\stores\\mine.py'"),
        (r"C:\stores\mine.py", "names no attribute"),
        ("nowhere:backend", "there is no module 'nowhere'"),
        ("mine.deeper:backend", "there is no module 'mine.deeper'"),
        (
            "mine:get_session_histroy",
            "has no attribute 'get_session_histroy' (did you mean get_session_history?)",
        ),
        ("mine:zzz", "it defines Holder, get_session_history, managing, returning, yielding"),
        ("mine:Holder.zzz", "Holder in 'mine' has no attribute 'zzz'"),
        ("mine:number", "mine:number is an int, not callable"),
        ("mine:history", "mine:history is one opened history (InMemoryChatMessageHistory), not callable"),
        ("mine:store", "not callable (did you mean mine:store.get_session_history?)"),
    ],
)
def test_a_mistyped_target_gets_one_line_with_the_mend(folder: Path, target: str, told: str) -> None:
    """Every way to mistype a target is told in a line that says what to write instead."""
    assert told in error_of(target)


def test_a_mistyped_name_gets_the_closest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of backends and the closest of them are in the error."""
    register(monkeypatch, "sqlite = m:a", "peer:sql-sqlite = m:b")
    assert "'sqlit' (did you mean sqlite?); the backends are peer:sql-sqlite, sqlite" in error_of("sqlit")
    assert "(did you mean peer:sql-sqlite?)" in error_of("peer:sql-sqlit")
    assert "(did you mean peer:sql-sqlite?)" in error_of("peer:sqlite")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def a(:", "raised SyntaxError: invalid syntax"),
        ("\n\n1 / 0", "raised ZeroDivisionError: division by zero at broken.py:3"),
        (
            "import no_such_module",
            "raised ModuleNotFoundError: No module named 'no_such_module' at broken.py:1",
        ),
        (
            "import json\n\njson.loads('')",
            "raised JSONDecodeError: Expecting value: line 1 column 1 (char 0) at broken.py:3",
        ),
        ("import sys\nsys.exit('stop')", "raised SystemExit: stop at broken.py:2"),
        ("raise ValueError('a\\nb \\x1b[31m')", r"raised ValueError: a b \x1b[31m at broken.py:1"),
    ],
)
@pytest.mark.parametrize("place", ["broken", "broken.py"])
def test_an_error_on_importing_names_the_line(folder: Path, place: str, text: str, told: str) -> None:
    """The user's own innermost line is named, not one of a library."""
    (folder / "broken.py").write_text(text)
    assert told in error_of(f"{place}:a")


async def async_factory(session_id: str) -> InMemoryChatMessageHistory:
    """A factory that would have to be awaited."""
    return plain_factory(session_id)


class AsyncCallable:
    """A factory object that would have to be awaited."""

    async def __call__(self, session_id: str) -> InMemoryChatMessageHistory:
        """Open a session."""
        return plain_factory(session_id)


async def async_opener() -> Any:
    """A backend function that would have to be iterated by an event loop."""
    yield None


def of_two(user_id: str, conversation_id: str) -> InMemoryChatMessageHistory:
    """A factory of two arguments."""
    return plain_factory(user_id + conversation_id)


def by_keyword(*, session_id: str) -> InMemoryChatMessageHistory:
    """A factory that takes its argument by keyword only."""
    return plain_factory(session_id)


def yielding_nothing() -> Iterator[Backend]:
    """A backend function that ends early."""
    return
    yield


def yielding_something_else() -> Iterator[object]:
    """A backend function that yields a factory."""
    yield plain_factory


def yielding_for_someone(name: str) -> Iterator[Backend]:
    """A backend function with an argument."""
    yield Backend(name=name, get_session_history=plain_factory)


def without_session() -> InMemoryChatMessageHistory:
    """A factory that forgot its parameter."""
    return plain_factory("a")


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        (async_factory, "is an async function"),
        (AsyncCallable(), "is an async function"),
        (async_opener, "is an async generator function"),
        (
            of_two,
            "needs user_id, conversation_id, but get_session_history is called with the session id alone",
        ),
        (by_keyword, "needs session_id by keyword"),
        (yielding_nothing, "ends without yielding anything"),
        (contextmanager(yielding_nothing), "ends without yielding anything"),
        (yielding_something_else, "yields a function, not a Backend"),
        (yielding_for_someone, "yields, but needs name"),
        (without_session, "takes no session id but returns a history"),
        (InMemoryChatHistoryStore, "returns an InMemoryChatHistoryStore, not a Backend"),
        (lambda: None, "returns None, not a Backend"),
        (os, "is the module 'os', not callable"),
    ],
)
def test_a_subject_that_can_not_be_one_gets_one_line_with_the_mend(subject: object, told: str) -> None:
    """What is neither a Backend, nor a backend function, nor a factory, is told what it is."""
    with pytest.raises(UsageError) as caught:
        open_subject(subject, name="mine").__enter__()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_backend_function_that_yields_twice_is_told_so() -> None:
    """Only one Backend can be checked at a time."""

    def opener() -> Iterator[Backend]:
        yield Backend(name="b", get_session_history=plain_factory)
        yield Backend(name="c", get_session_history=plain_factory)

    with pytest.raises(UsageError, match="yields a second time"), open_subject(opener, name="mine"):
        pass


# Registered backends.


def register(monkeypatch: pytest.MonkeyPatch, *lines: str, requires: tuple[str, ...] = ()) -> None:
    """Let these be the entry points of our group, of a distribution with these requirements."""
    dist = SimpleNamespace(name="chathistory", requires=list(requires))
    points = []
    for line in lines:
        name, _, value = line.partition(" = ")
        point = importlib.metadata.EntryPoint(name, value, "chathistory.backends")
        vars(point).update(dist=dist)
        points.append(point)
    monkeypatch.setattr("chathistory.conformance._locate.entry_points", lambda group: points)


def test_a_registered_name_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a colon in it is looked up among the registered ones first."""
    register(monkeypatch, "mine:returning = mine:yielding")
    monkeypatch.syspath_prepend(folder)
    with open_target("mine:returning") as backend:
        assert backend.name == "yielded"
        assert backend.import_path == "mine:yielding"


def test_a_missing_dependency_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is read from the metadata of the distribution that registered the backend."""
    (folder / "lacking.py").write_text("import no_such_driver.client")
    requires = (
        "no-such-driver>=1; extra == 'all'",
        "no-such-driver>=1; extra == 'peers'",
        "click; extra == 'suite'",
    )
    register(monkeypatch, "peer:lacking = lacking:backend", requires=requires)
    monkeypatch.syspath_prepend(folder)
    line = "the backend 'peer:lacking' needs 'no_such_driver', which is not installed"
    assert error_of("peer:lacking") == f'{line}: pip install "chathistory[peers]"'


def test_a_dependency_that_is_missed_on_opening_names_the_extra_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver imported inside the backend function is as missing as one imported above it."""
    (folder / "lazy.py").write_text("def backend():\n    import no_such_driver\n    yield")
    register(monkeypatch, "lazy = lazy:backend", requires=("no_such_driver; extra == 'lazy'",))
    monkeypatch.syspath_prepend(folder)
    assert 'pip install "chathistory[lazy]"' in error_of("lazy")


def test_the_list_tells_of_a_dependency_that_would_be_missed_on_opening(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imports inside a backend function are looked for without calling it."""
    (folder / "lazy.py").write_text(
        'def backend():\n    """It."""\n    import json\n    from no_such import a\n    yield'
    )
    register(monkeypatch, "lazy = lazy:backend", requires=("no-such; extra == 'lazy'",))
    monkeypatch.syspath_prepend(folder)
    [lazy] = registered_backends()
    assert lazy.summary == "It."
    assert "needs 'no_such', which is not installed: pip install \"chathistory[lazy]\"" in lazy.problem


def test_a_missing_dependency_of_no_extra_is_named_alone() -> None:
    """Where no extra is known to bring a module, none is made up."""
    error = ModuleNotFoundError("No module named 'x'", name="x")
    assert missing_module("mine", error, None) == "the backend 'mine' needs 'x', which is not installed"


def test_the_list_of_backends_tells_what_each_is_and_lacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backends are listed by name with the first line of their docstring, or with what they lack."""
    (folder / "mine.py").write_text('def b():\n    """A store.\n\n    More of it.\n    """\n    yield')
    register(monkeypatch, "mine = mine:b", "lacking = no_such_module:b")
    monkeypatch.syspath_prepend(folder)
    lacking, mine = registered_backends()
    assert (mine.name, mine.summary, mine.import_path, mine.problem) == ("mine", "A store.", "mine:b", "")
    assert (lacking.name, lacking.summary) == ("lacking", "")
    assert "needs 'no_such_module', which is not installed" in lacking.problem
