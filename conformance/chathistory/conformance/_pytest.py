"""The conformance suite as a pytest class: one test item for each clause."""

from __future__ import annotations

import inspect
import os
import shlex
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings

from chathistory.conformance import _runner
from chathistory.conformance._backend import Backend, Deviation
from chathistory.conformance._blocks import plain, violation
from chathistory.conformance._deviations import joined, load_deviations
from chathistory.conformance._errors import UsageError
from chathistory.conformance._first_use import FirstUse
from chathistory.conformance._pytest_reports import payload
from chathistory.conformance._report import EFFORTS, Asked, ClauseResult, Configuration
from chathistory.conformance._targets import open_subject, open_target, parse_claims
from chathistory.conformance._warnings import without_langchain_deprecations
from chathistory.conformance.plugin import RESULT
from chathistory.reference import CLAUSES, ChatHistoryError, Profile


class BrokenClauseWarning(UserWarning):
    """A clause of level SHOULD is broken."""


class ChatHistoryConformance:
    """Checks a chat message history, one test item per clause.

    Subclass it and say what to check, by a fixture `get_session_history` or by an attribute `backend`::

        class TestMine(ChatHistoryConformance):
            @pytest.fixture
            def get_session_history(self, tmp_path):
                return lambda session_id: MyHistory(session_id, tmp_path / "my.db")

    A clause that is broken fails, one of level SHOULD passes with a warning, one that is a declared deviation
    is an expected failure, and one that is not claimed is skipped.

    Attributes:
        backend: a Backend, a function that yields one, or a get_session_history; or the target of one.
        claims: the profiles to check; by default those of the backend.
        deviations: the clauses it is known to break, beside those the backend declares itself; or the path of
            a TOML file of them, seen from the folder of the test file.
        configuration: how hard to look; the command line's options come first.
        examples: how many programs are drawn for each clause.
        seed: chooses the programs.
    """

    backend: ClassVar[Any] = None
    claims: ClassVar[Iterable[Profile] | None] = None
    deviations: ClassVar[Iterable[Deviation] | str | os.PathLike[str]] = ()
    configuration: ClassVar[Configuration | None] = None
    examples: ClassVar[int | None] = None
    seed: ClassVar[int | None] = None

    @pytest.fixture
    def chathistory_backend(self, request: pytest.FixtureRequest) -> Iterator[Backend]:
        """The backend to check: of the class, kept open for all of its items, or of this item's fixture."""
        with _failing_in_one_line(), ExitStack() as stack:
            backend = _opened_for_class(request)
            if backend is None:
                backend = stack.enter_context(_of_fixture(request))
            _smoke_once(request, backend)
            yield replace(backend, deviations=joined(backend.deviations, _deviations(request)))

    @pytest.mark.parametrize("clause_id", [clause.id for clause in CLAUSES])
    def test_clause(self, clause_id: str, chathistory_backend: Backend, request: pytest.FixtureRequest) -> None:
        """The backend keeps this clause."""
        with _failing_in_one_line(), without_langchain_deprecations():
            report = _runner.check(
                chathistory_backend,
                clauses=[clause_id],
                configuration=_configuration(request),
                target=chathistory_backend.import_path or "",
                asked=_asked(request),
                database=settings().database,
                first_use=_class_node(request).stash[_SMOKE].first_use,
            )
        result = report.clauses[0]
        request.node.user_properties.append(("chathistory", result.outcome))
        request.node.stash[RESULT] = payload(request.node, report)
        _conclude(result, request.node.nodeid)


def _asked(request: pytest.FixtureRequest) -> Asked:
    """What repeats the run of the class, in this process or any other."""
    effort, deviations = (request.config.getoption(f"chathistory_{name}", None) for name in ("effort", "deviations"))
    configuration = _configuration(request)
    options = [] if effort is None else [f"--chathistory-effort={effort}"]
    options += [] if deviations is None else [f"--chathistory-deviations={deviations}"]
    options += [f"--chathistory-{name}={getattr(configuration, name)}" for name in ("examples", "seed")]
    given = request.cls.deviations
    return Asked(
        command=shlex.join(["pytest", _class_node(request).nodeid, *options]),
        claims=_claims(request.cls) or (),
        deviations=str(deviations or (given if isinstance(given, str | os.PathLike) else "")),
    )


def _conclude(result: ClauseResult, node_id: str) -> None:
    """Turn a result into what pytest knows."""
    match result.outcome:
        case "passed":
            return
        case "not-claimed":
            pytest.skip(f"{result.id} not claimed: {result.reason}")
        case "declared":
            pytest.xfail(f"{result.id} declared: {result.reason}")
        case "warned":
            _warn(_text(result, node_id), node_id)
        case _:
            pytest.fail(_text(result, node_id), pytrace=False)


def _text(result: ClauseResult, node_id: str) -> str:
    return plain(violation(result, replay=shlex.join(["pytest", node_id])))


def _warn(text: str, node_id: str) -> None:
    """Warn in a way that no filter turns into an error: a SHOULD does not fail a backend."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", BrokenClauseWarning)
        warnings.warn_explicit(text, BrokenClauseWarning, filename=node_id.partition("::")[0], lineno=0)


@contextmanager
def _failing_in_one_line() -> Iterator[None]:
    """Tell a fault of the set-up without a traceback."""
    try:
        yield
    except ChatHistoryError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


_OPENED = pytest.StashKey[Backend | ChatHistoryError]()
_SMOKE = pytest.StashKey["_Smoke"]()


def _opened_for_class(request: pytest.FixtureRequest) -> Backend | None:
    """The open backend of the attribute `backend`, the same for all items of a class; None without one."""
    subject = _own_backend(request.cls)
    if subject is None or _is_fixture(subject):
        return None
    node = _class_node(request)
    if _OPENED not in node.stash:
        node.stash[_OPENED] = _open(node, subject, request)
    opened = node.stash[_OPENED]
    if isinstance(opened, ChatHistoryError):
        raise opened
    return opened


def _class_node(request: pytest.FixtureRequest) -> pytest.Class:
    node = request.node.getparent(pytest.Class)
    assert isinstance(node, pytest.Class)  # noqa: S101 -- we are called from a method of a class
    return node


def _open(node: pytest.Class, subject: object, request: pytest.FixtureRequest) -> Backend | ChatHistoryError:
    """Open a backend until the last item of the class is done; an error is kept, to open only once."""
    stack = ExitStack()

    def close() -> None:
        if _OPENED in node.stash:
            del node.stash[_OPENED]
        with _failing_in_one_line():
            stack.close()

    node.addfinalizer(close)
    try:
        return stack.enter_context(_opening(subject, request))
    except ChatHistoryError as error:
        return error


def _opening(subject: object, request: pytest.FixtureRequest) -> AbstractContextManager[Backend]:
    claims = _claims(request.cls)
    if isinstance(subject, str):
        return open_target(subject, claims=claims)
    name = f"{request.cls.__qualname__}.backend"
    import_path = None if inspect.ismethod(subject) else f"{request.path}:{name}"  # a script has no instance
    return open_subject(subject, name=name, import_path=import_path, claims=claims)


def _own_backend(cls: type) -> object:
    """The attribute `backend` as it was written: a function in a class body is a method only if it takes self."""
    raw: object = inspect.getattr_static(cls, "backend", None)
    if _is_fixture(raw):
        return raw
    if isinstance(raw, staticmethod | classmethod):
        return raw.__get__(None, cls)
    if inspect.isfunction(raw) and next(iter(inspect.signature(raw).parameters), "") == "self":
        return raw.__get__(cls())
    return raw


def _is_fixture(attribute: object) -> bool:
    """Whether an attribute is a fixture, which pytest before 8.4 marks and later wraps."""
    return hasattr(attribute, "_pytestfixturefunction") or type(attribute).__name__ == "FixtureFunctionDefinition"


def _of_fixture(request: pytest.FixtureRequest) -> AbstractContextManager[Backend]:
    """The backend of the class's fixture `backend`, or of the user's own fixture `get_session_history`."""
    name = request.cls.__qualname__
    if _own_backend(request.cls) is not None:
        return open_subject(request.getfixturevalue("backend"), name=name, claims=_claims(request.cls))
    factory: object = request.getfixturevalue("get_session_history")
    if _is_reference(factory, request):
        raise UsageError(
            f"{name} doesn't say what to check; give it a fixture get_session_history or an attribute backend"
        )
    return open_subject(factory, name=name, claims=_claims(request.cls))


def _is_reference(factory: object, request: pytest.FixtureRequest) -> bool:
    """Whether a factory is the plugin's own fixture: checking that says nothing about anybody's history."""
    if "chat_history_store" not in request.fixturenames:
        return False
    return getattr(factory, "__self__", None) is request.getfixturevalue("chat_history_store")


def _claims(cls: type[ChatHistoryConformance]) -> tuple[Profile, ...] | None:
    return None if cls.claims is None else parse_claims(cls.claims)


def _deviations(request: pytest.FixtureRequest) -> tuple[Deviation, ...]:
    """The deviations of the class and of the command line's option."""
    given = request.cls.deviations
    is_path = isinstance(given, str | os.PathLike)
    own = load_deviations(_shown(request.path.parent / given)) if is_path else tuple(given)
    option: Path | None = request.config.getoption("chathistory_deviations", None)
    return joined(own, load_deviations(option) if option is not None else ())


def _shown(path: Path) -> Path:
    """The path as seen from the current directory, if it lies below it, so that errors stay short."""
    shown = Path(os.path.relpath(path))
    return path if shown.parts[:1] == ("..",) else shown


def _smoke_once(request: pytest.FixtureRequest, backend: Backend) -> None:
    """Let no item run on a backend that does not open, and tell why in one line."""
    stash = _class_node(request).stash
    if _SMOKE not in stash:
        stash[_SMOKE] = _smoke(backend, _configuration(request))
    if stash[_SMOKE].error:
        raise ChatHistoryError(stash[_SMOKE].error)


@dataclass(frozen=True, slots=True)
class _Smoke:
    """What came of the first use of a class's backend: why it can't be checked, or what was seen."""

    error: str = ""
    first_use: FirstUse | None = None


def _smoke(backend: Backend, configuration: Configuration) -> _Smoke:
    try:
        with without_langchain_deprecations():
            return _Smoke(first_use=_runner.smoke(backend, timeout=configuration.timeout))
    except ChatHistoryError as error:
        return _Smoke(str(error))


def _configuration(request: pytest.FixtureRequest) -> Configuration:
    """How hard to look: the command line first, then the class."""
    option, cls = request.config.getoption, request.cls
    effort = option("chathistory_effort", None)
    base = EFFORTS[effort] if effort else cls.configuration or Configuration()
    given = {
        "examples": _first(option("chathistory_examples", None), cls.examples),
        "seed": _first(option("chathistory_seed", None), cls.seed),
    }
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
