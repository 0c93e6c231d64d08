"""What must be so at the step that diverged, and the end of a script, where it is compared."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from chathistory.conformance._layout import Block, Tree, laid_out, prefixed
from chathistory.conformance._program import Add, Step, Together, Trial
from chathistory.conformance._source import Renderer
from chathistory.conformance._trials import TRIALS
from chathistory.reference import Messages

ExpectationKind: TypeAlias = Literal[
    "equal",
    "one-of",
    "raises",
    "returns",
    "answers",
    "is-list",
    "free-loop",
    "together",
    "trial",
    "names-session",
    "unchanged-argument",
    "unchanged-results",
]
ExpectationView: TypeAlias = Literal["content", "class", "loose", "full", "key order", "readable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must be so at the step that diverged.

    Attributes:
        kind: "equal": the read returns `values[0]`; "one-of": it returns one of `values`; "raises": the step
            raises one of `error_types`; "returns": it doesn't raise, and comes back; "answers": the turn
            returns `answer`; "is-list": the read returns a list; "free-loop": the event loop turns while the
            async call waits; "together": what workers did keeps the aspect of `_concurrent` that `answer`
            names, such as "lost" or "torn"; "names-session": an error that the step
            raises names the session and carries no credentials; "unchanged-argument": the add leaves its
            argument as it was; "unchanged-results": lists read earlier are after the step as they were.
        values: the messages that the read returns, or the alternatives.
        view: how messages are compared: by "content", by "class", by all other fields with Python's `==`
            ("loose"), by all fields type for type ("full"), with the order of keys too ("key order"), or not
            at all, so that the read must only return ("readable").
        may_raise: the indices of earlier steps that raised, where a refusal is allowed or owed.
            "trial": the trial finds no problem.
        error_types: for "raises"; (Exception,) takes any.
        answer: for "answers" and "together".
    """

    kind: ExpectationKind
    values: tuple[Messages, ...] = ()
    view: ExpectationView = "full"
    may_raise: frozenset[int] = frozenset()
    error_types: tuple[type[Exception], ...] = (TypeError, ValueError)
    answer: str | None = None


RETURNED = '"it returned"'
"""What a script notes of a step that returned, as source."""


@dataclass(frozen=True, slots=True)
class Compound:
    """A statement with statements inside."""

    header: str
    body: tuple[Statement, ...]


Statement: TypeAlias = "Tree | Compound"


def rendered(statements: Iterable[Statement], indent: int) -> str:
    lines: list[str] = []
    for statement in statements:
        if isinstance(statement, Compound):
            lines += [" " * indent + statement.header, rendered(statement.body, indent + 4)]
        else:
            text = laid_out(statement, indent)
            lines.append(" " * indent + text if text else "")
    return "\n".join(lines)


def trying(body: Iterable[Statement], *otherwise: Statement, name: str = "") -> list[Statement]:
    return [Compound("try:", tuple(body)), Compound(f"except Exception{name}:", tuple(otherwise))]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison at the end of a script, as source.

    Attributes:
        before: statements that it needs.
        condition: what is true if the violation is gone.
        expected: what is printed as expected.
        observed: what is printed as observed.
        needs: the helpers it uses.
    """

    before: tuple[Statement, ...]
    condition: str
    expected: str
    observed: str = "short(observed)"
    needs: tuple[str, ...] = ()


def comparison(
    expectation: Expectation, last: Step, kept: Sequence[int], renderer: Renderer, after_others: bool = False
) -> Comparison:
    """How a script compares.

    Args:
        expectation: what must be so.
        last: the step that diverged.
        kept: the numbers of the reads whose lists are watched.
        renderer: shows the values expected.
        after_others: whether the values come after what the session held `before`.
    """
    if isinstance(last, Together):
        return _of_work(expectation)
    if isinstance(last, Trial):
        return _of_trial(last)
    match expectation.kind:
        case "together":
            raise ValueError(f"a {type(last).__name__} is no work of several")
        case "trial":
            raise ValueError(f"a {type(last).__name__} is no trial")
        case "equal" | "one-of":
            return _of_read(expectation, renderer, "before + " if after_others else "")
        case "raises":
            return _of_refusal(expectation.error_types)
        case "returns":
            return Comparison((), f"observed == {RETURNED}", RETURNED)
        case "answers":
            answer = prefixed("expected = ", renderer.tree(expectation.answer))
            return Comparison((answer,), "observed == expected", "short(expected)")
        case "is-list":
            return Comparison((), "isinstance(observed, list)", '"a list"', "type(observed)")
        case "free-loop":
            return _of_stall()
        case "names-session":
            return _of_error()
        case "unchanged-argument":
            return _of_argument(last, renderer)
        case "unchanged-results":
            return _of_results(kept)


def rendered_verdict(compared: Comparison, where: str) -> str:
    """The end of a script: the comparison and what is printed."""
    failing: tuple[Statement, ...] = (
        f'print("STILL FAILING: {where}")',
        f'print("  expected:", {compared.expected})',
        f'print("  observed:", {compared.observed})',
        "sys.exit(1)",
    )
    choice = (
        Compound(f"if {compared.condition}:", (f'print("FIXED: {where}")',)),
        Compound("else:", failing),
    )
    return rendered([*compared.before, *choice], 0)


def _of_refusal(error_types: tuple[type[Exception], ...]) -> Comparison:
    """An error of one of these types; those that a script can't name without an import are told by their names."""
    names = [error.__name__ for error in error_types]
    if all(getattr(builtins, name, None) is error for name, error in zip(names, error_types, strict=True)):
        condition = f"isinstance(observed, {names[0] if len(names) == 1 else '(' + ', '.join(names) + ')'})"
    else:
        kinds = ", ".join(f'"{name}"' for name in names)
        condition = f"{{{kinds}}} & {{kind.__name__ for kind in type(observed).__mro__}}"
    return Comparison((), condition, f'"{" or ".join(names)}"')


def _of_read(expectation: Expectation, renderer: Renderer, before: str) -> Comparison:
    if expectation.view == "readable":
        return Comparison((), "not isinstance(observed, Exception)", '"a list of messages"')
    values = expectation.values[:1] if expectation.kind == "equal" else expectation.values
    alternatives = [_expected(messages, expectation.view, renderer) for messages in values]
    needs = _comparer(expectation)
    if expectation.kind == "equal":
        condition = "same(observed, expected)" if needs else "observed == expected"
        statements = _assigned(alternatives[0], expectation, "[fields(message) for message in messages]", before)
        return Comparison(statements, condition, "short(expected)", needs=needs)
    several = Block("[", tuple(alternatives), "]")
    condition = "any(same(observed, one) for one in expected)" if needs else "observed in expected"
    fields = "[[fields(message) for message in one] for one in messages]"
    statements = _assigned(several, expectation, fields)
    return Comparison(statements, condition, '"one of", short(expected)', needs=needs)


def _assigned(value: Tree, expectation: Expectation, fields: str, before: str = "") -> tuple[Statement, ...]:
    """The assignment of what is expected; of the fields of messages, where only these are compared."""
    if expectation.view != "loose":
        return (prefixed(f"expected = {before}", value),)
    return prefixed("messages = ", value), f"expected = {before}{fields}"


def _comparer(expectation: Expectation) -> tuple[str, ...]:
    """The helpers of a comparison type for type; none where Python's `==` does, as it does for texts."""
    if expectation.view == "key order":
        return "same in order", "fields"
    if expectation.view == "full":
        return "same", "fields"
    messages = [message for messages in expectation.values for message in messages]
    if expectation.view == "content" and any(type(content_of(message)) is not str for message in messages):
        return "same", "fields"
    return ()


def _expected(messages: Messages, view: str, renderer: Renderer) -> Tree:
    if view == "content":
        return renderer.tree([content_of(message) for message in messages])
    if view == "class":
        return renderer.tree([type(message).__name__ for message in messages])
    return renderer.tree(list(messages))


_PROMISES = {
    "lost": "every acknowledged message is read at the end",
    "order": "the messages of each worker are read in the order in which it added them",
    "prefix": "each read extends the reads that had ended before it began",
    "torn": "batches are read whole, with nothing inside them",
    "linearizable": "some order of the calls explains all that was read",
    "works": "every call succeeds, and every message is read at the end",
    "cancelled": "every call that is not cancelled succeeds, and some order of the calls explains all that was read",
    "errors": "every call succeeds but those that may be refused",
}


def _of_work(expectation: Expectation) -> Comparison:
    promise = _PROMISES.get(expectation.answer or "", "the workers end, and the session is read")
    return Comparison((), "observed is None", f'"{promise}"', "observed")


def _of_trial(last: Trial) -> Comparison:
    return Comparison((), "observed is None", f'"{TRIALS[last.name].promise}"', "observed")


def _of_stall() -> Comparison:
    return Comparison(
        (),
        "waited < 0.010 or waited < took / 4",
        '"the event loop turns while the call waits"',
        'f"it stood still for {waited * 1000:.0f} ms of {took * 1000:.0f} ms"',
    )


def _of_error() -> Comparison:
    return Comparison(
        (),
        "session_id in text and not secrets and not CREDENTIALS.search(text)",
        '"an error that names the session and carries no credentials"',
        '"an error without the session id, or with credentials"',
        ("credentials",),
    )


def _of_argument(last: Step, renderer: Renderer) -> Comparison:
    if not isinstance(last, Add):
        raise ValueError(f"a {type(last).__name__} has no argument that could change")
    name = f"added_by_h{last.handle}"
    expected = prefixed("expected = ", renderer.tree(list(last.messages)))
    return Comparison((expected,), f"same({name}, expected)", "short(expected)", f"short({name})", ("same", "fields"))


def _of_results(kept: Sequence[int]) -> Comparison:
    expected = f"expected = [{', '.join(f'copy_{number}' for number in kept)}]"
    observed = f"observed = [{', '.join(f'read_{number}' for number in kept)}]"
    return Comparison((expected, observed), "same(observed, expected)", "short(expected)", needs=("same", "fields"))


def content_of(message: Any) -> Any:
    """The content of a message, or what stands in its place."""
    return getattr(message, "content", message)
