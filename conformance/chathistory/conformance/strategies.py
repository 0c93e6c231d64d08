"""Hypothesis strategies for chat histories: messages of every class, batches, session ids and programs.

They draw from ready pools most of the time, because that is five times cheaper than drawing rich messages
field by field, and now and then a message nobody thought of. What is drawn belongs to the caller.

Values that a store may refuse cleanly (see `hard_reasons`: NUL, lone surrogates, integers beyond 64 bits,
large texts, deep nesting) are only drawn where `hard` is true.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage

from chathistory.conformance._corpus import build, cached_corpus, corpus_of_messages, optional_fields
from chathistory.conformance._hardness import hard_reasons
from chathistory.conformance._payloads import CONTENTS, NUMBERS, TEXTS
from chathistory.conformance._program import Add, Assign, Clear, Mode, Open, Program, Read, Step
from chathistory.conformance._session_ids import COLLIDING_SESSIONS
from chathistory.reference import MESSAGE_CLASSES

__all__ = [
    "ALL_OPERATIONS",
    "OperationName",
    "batches",
    "contents",
    "corpus_of_messages",
    "json_values",
    "messages",
    "plain_messages",
    "programs",
    "session_groups",
    "session_ids",
    "texts",
]

_T = TypeVar("_T")

OperationName: TypeAlias = Literal["add", "read", "clear", "assign"]
ALL_OPERATIONS: frozenset[OperationName] = frozenset({"add", "read", "clear", "assign"})

_SHORT = 5_000
_PLAIN_CONTENTS = ("hello", "a", "b", "", "a longer text, with a full stop.")


@lru_cache
def texts(hard: bool = False) -> SearchStrategy[str]:
    """Texts: the catalogue's edge cases of up to 64 KB, and short random ones.

    Args:
        hard: also NUL, lone surrogates and texts of up to 1 MB.
    """
    return st.one_of(_ready([text.value for text in TEXTS if hard or not text.hard]), _random(hard))


@lru_cache
def _short_texts(hard: bool) -> SearchStrategy[str]:
    """Texts of which a message may hold many."""
    ready = [text.value for text in TEXTS if len(text.value) <= _SHORT and (hard or not text.hard)]
    return st.one_of(_ready(ready), _random(hard))


def _ready(items: Sequence[_T]) -> SearchStrategy[_T]:
    """A copy of one of the items. By its number, so that no report ever prints all of them."""
    return st.sampled_from(range(len(items))).map(lambda number: copy.deepcopy(items[number]))


def _random(hard: bool) -> SearchStrategy[str]:
    if hard:
        return st.text(st.characters(exclude_categories=()), max_size=12)
    # All that UTF-8 can hold; asked for by its codec, it would take a second to find out which.
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@lru_cache
def json_values(max_leaves: int = 5, *, hard: bool = False) -> SearchStrategy[Any]:
    """JSON values: the catalogue's edge cases, and small random nestings of them and of short texts.

    Args:
        max_leaves: the size of the random ones.
        hard: also integers beyond 64 bits, NUL and lone surrogates, and deep nesting.
    """
    ready = _ready([value.value for value in NUMBERS if hard or not value.hard])
    leaves = st.one_of(ready, _short_texts(hard))
    nested = st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), _objects(inner, hard, 3)),
        max_leaves=max_leaves,
    )
    return st.one_of(ready, nested)


def _objects(values: SearchStrategy[Any], hard: bool, max_size: int) -> SearchStrategy[dict[str, Any]]:
    keys = st.one_of(st.sampled_from(("z", "a", "m", "")), _short_texts(hard))
    return st.dictionaries(keys, values, max_size=max_size)


@lru_cache
def contents(*, hard: bool = False) -> SearchStrategy[Any]:
    """Contents of messages: texts, lists of texts, lists of content blocks, and mixed ones.

    Args:
        hard: also NUL, lone surrogates and 1 MB.
    """
    ready = _ready([content.value for content in CONTENTS if hard or not content.hard])
    text = _short_texts(hard)
    block = st.fixed_dictionaries({"type": st.sampled_from(("text", "x-new"))}, optional={"text": text})
    return st.one_of(texts(hard), ready, st.lists(st.one_of(text, block), max_size=3))


def messages(cls: type[BaseMessage] | None = None, *, hard: bool = False) -> SearchStrategy[BaseMessage]:
    """Messages of every class of langchain-core, with every field: three in four ready ones, the rest drawn.

    Args:
        cls: only messages of exactly this class.
        hard: also ones that a store may refuse cleanly.
    """
    return _messages(cls, hard)


@lru_cache
def _messages(cls: type[BaseMessage] | None, hard: bool) -> SearchStrategy[BaseMessage]:
    ready = _ready(
        [
            message
            for message in cached_corpus()
            if (cls is None or type(message) is cls) and (hard or not hard_reasons(message))
        ]
    )
    rich = st.one_of(*(_rich(kind, hard) for kind in (MESSAGE_CLASSES if cls is None else (cls,))))
    return st.integers(0, 3).flatmap(lambda choice: rich if choice == 3 else ready)


def _rich(cls: type[BaseMessage], hard: bool) -> SearchStrategy[BaseMessage]:
    """Messages of one class, drawn field by field."""
    optional: dict[str, SearchStrategy[Any]] = {
        name: st.sampled_from(values) for name, values in optional_fields(cls).items()
    }
    text, value = _short_texts(hard), json_values(hard=hard)
    objects = _objects(value, hard, 2)
    optional |= {"id": text, "name": text, "note": value}
    optional |= {"additional_kwargs": objects, "response_metadata": objects}
    if "artifact" in optional:
        optional["artifact"] = value
    if cls is AIMessage:
        call = st.fixed_dictionaries({"name": text, "args": objects, "id": text})
        optional["tool_calls"] = st.lists(call, max_size=2)
    required = {} if issubclass(cls, RemoveMessage) else {"content": contents(hard=hard)}
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: build(cls, **fields))


def plain_messages() -> SearchStrategy[BaseMessage]:
    """Human and AI messages with simple contents, often equal to one another."""
    pairs = [(cls, content) for content in _PLAIN_CONTENTS for cls in (HumanMessage, AIMessage)]
    return st.sampled_from(pairs).map(lambda pair: pair[0](content=pair[1]))


def batches(
    elements: SearchStrategy[BaseMessage] | None = None, *, min_size: int = 0, max_size: int = 5
) -> SearchStrategy[tuple[BaseMessage, ...]]:
    """Batches, now and then with the same object twice, an equal message, or another with the same id.

    Args:
        elements: what they are made of; by default `messages()`.
        min_size: how many messages at least.
        max_size: how many at most.
    """
    lists = st.lists(messages() if elements is None else elements, min_size=min_size, max_size=max_size)
    return st.tuples(lists, st.integers(0, 7)).map(lambda drawn: _with_twin(*drawn, max_size))


_TWINS: dict[int, Callable[[BaseMessage], BaseMessage]] = {
    5: lambda message: message,
    6: copy.deepcopy,
    7: lambda message: HumanMessage(content="the same id", id=message.id),
}


def _with_twin(batch: Sequence[BaseMessage], kind: int, max_size: int) -> tuple[BaseMessage, ...]:
    """The batch, for some kinds with a twin of its first message at the end, in place of the last if full."""
    if kind not in _TWINS or not batch or max_size < 2:
        return tuple(batch)
    return (*batch[: max_size - 1], _TWINS[kind](batch[0]))


@lru_cache
def session_ids() -> SearchStrategy[str]:
    """Templates of session ids (see `RunToken.fill`) that collide with one another on purpose."""
    return _ready(list(dict.fromkeys(each for kind in COLLIDING_SESSIONS for each in kind.ids)))


@lru_cache
def session_groups(size: int = 2) -> SearchStrategy[tuple[str, ...]]:
    """So many different templates of session ids of one kind of collision.

    Args:
        size: how many ids a group has; kinds of collision with fewer are left out.
    """
    kinds = [collision for collision in COLLIDING_SESSIONS if len(collision.ids) >= size]
    if not kinds or size < 1:
        raise ValueError(f"no kind of collision has {size} session ids")
    numbers = st.integers(0, len(kinds) * 10_000 - 1)  # one draw: cheap, and new in each example
    return numbers.map(lambda number: _group(kinds[number % len(kinds)].ids, number // len(kinds), size))


def _group(ids: Sequence[str], number: int, size: int) -> tuple[str, ...]:
    """So many of the ids; which, and in which order, says the number."""
    left, group = list(ids), []
    for _ in range(size):
        number, place = divmod(number, len(left))
        group.append(left.pop(place))
    return tuple(group)


def programs(
    *,
    sessions: int = 1,
    handles: int = 2,
    steps: int = 10,
    operations: frozenset[str] = ALL_OPERATIONS,
    modes: tuple[Mode, ...] = ("sync",),
    batch_sizes: tuple[int, ...] = (1, 2, 3),
    elements: SearchStrategy[Any] | None = None,
    ids: SearchStrategy[tuple[str, ...]] | None = None,
) -> SearchStrategy[Program]:
    """Sequential programs over a few handles; see `Program`.

    They open some handles first and others at drawn moments in the middle. At their end each session that
    was opened is read through one of its handles and through a new one, numbered from `handles` on.

    Args:
        sessions: over how many sessions the handles are spread, at most.
        handles: how many handles are open at most, those of the end not counted.
        steps: how many steps are drawn at most, between the first openings and the last reads.
        operations: which of ALL_OPERATIONS occur; adds and reads are drawn more often than the others.
        modes: the forms of calls that occur.
        batch_sizes: how many messages an add or assignment may have; repeat one to draw it more often.
        elements: what is added. By default AI messages and human ones in turn, whose contents "m1", "m2" and
            so on are unique in the program.
        ids: draws at least `sessions` templates of session ids, for example `session_groups(sessions)`.
            By default plain ones, which any store can tell apart.
    """
    if sessions < 1 or handles < 1 or steps < 1 or not operations or not modes or not batch_sizes:
        raise ValueError("a program needs a session, a handle, a step, an operation, a mode and a batch size")
    if not operations <= ALL_OPERATIONS:
        raise ValueError(f"no operation is called {min(operations - ALL_OPERATIONS)!r}")
    plain = st.just(tuple(f"{{run}}-{number + 1}" for number in range(sessions)))
    kinds: list[str] = [kind for kind, weight in _WEIGHTS for _ in range(weight) if kind in operations]
    kinds += ["open"] if handles > 1 else []
    moves = list(itertools.product(kinds, range(max(sessions, handles)), modes, batch_sizes))
    return _programs(
        plain if ids is None else ids,
        st.integers(min(sessions, handles, 2), min(sessions, handles)),
        st.lists(st.sampled_from(moves), min_size=1, max_size=steps),
        elements,
        _Limits(sessions, handles, modes),
    )


_WEIGHTS: tuple[tuple[OperationName, int], ...] = (("add", 3), ("read", 2), ("clear", 1), ("assign", 1))

_Move: TypeAlias = tuple[str, int, Mode, int]
"""What is done, which handle or session is meant (counted round), how, and with how many messages."""


@dataclass(frozen=True, slots=True)
class _Limits:
    """How many sessions and handles a program may have, and the forms of its calls."""

    sessions: int
    handles: int
    modes: tuple[Mode, ...]


@st.composite
def _programs(
    draw: st.DrawFn,
    names: SearchStrategy[tuple[str, ...]],
    openings: SearchStrategy[int],
    moves: SearchStrategy[list[_Move]],
    elements: SearchStrategy[Any] | None,
    limits: _Limits,
) -> Program:
    numbers = itertools.count(1)
    element = (lambda: _numbered(next(numbers))) if elements is None else (lambda: draw(elements))
    writer = _Writer(draw(names), limits, element)
    for session in range(draw(openings)):
        writer.open(session)
    for move in draw(moves):
        writer.take(*move)
    writer.read_all(draw(st.integers(0, limits.handles - 1)))
    return Program(tuple(writer.steps))


def _numbered(number: int) -> BaseMessage:
    """Message m1, m2 and so on: even ones are human, odd ones from an AI."""
    return AIMessage(content=f"m{number}") if number % 2 else HumanMessage(content=f"m{number}")


class _Writer:
    """Writes the steps of one program, and keeps track of the handles it has opened."""

    def __init__(self, names: tuple[str, ...], limits: _Limits, element: Callable[[], Any]) -> None:
        self.steps: list[Step] = []
        self._names = names
        self._limits = limits
        self._element = element
        self._sessions: list[int] = []  # of each handle, by the handle's number

    def open(self, session: int) -> None:
        """Open one more handle, while there may be more."""
        if len(self._sessions) < self._limits.handles:
            self.steps.append(Open(len(self._sessions), self._names[session % self._limits.sessions]))
            self._sessions.append(session % self._limits.sessions)

    def take(self, kind: str, pick: int, mode: Mode, size: int) -> None:
        """Write the step that a move stands for."""
        if kind == "open":
            self.open(pick)
            return
        handle = pick % len(self._sessions)
        if kind == "read":
            self.steps.append(Read(handle, mode))
        elif kind == "clear":
            self.steps.append(Clear(handle, mode))
        elif kind == "assign":
            self.steps.append(Assign(handle, self._elements(size)))
        else:
            self.steps.append(Add(handle, self._elements(size), mode=mode))

    def read_all(self, pick: int) -> None:
        """Read each session through one of its handles, and through a new one."""
        modes = self._limits.modes
        for offset, session in enumerate(dict.fromkeys(self._sessions)):
            own = [handle for handle, theirs in enumerate(self._sessions) if theirs == session]
            self.steps.append(Read(own[pick % len(own)], modes[pick % len(modes)]))
            fresh = self._limits.handles + offset
            self.steps.append(Open(fresh, self._names[session]))
            self.steps.append(Read(fresh, modes[(pick + 1) % len(modes)]))

    def _elements(self, size: int) -> tuple[Any, ...]:
        return tuple(self._element() for _ in range(size))
