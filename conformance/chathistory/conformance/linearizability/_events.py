"""Event histories: what concurrent callers did to chat histories, when, and what came back.

A `Call` is one operation with the times of its invocation and its return. An `EventHistory` is every call of
a concurrent program, with what each session held before the first. Messages stand here by their identities:
the suite adds unique messages, so a text per message says all that the checker needs.

Times come from one clock that all callers share (`time.monotonic_ns` is one, for processes of one machine
too). A call precedes another when it returned *before* the other was invoked; calls that touch at equal times
are concurrent, so that a coarse clock never makes a correct history look wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args, overload

CallKind: TypeAlias = Literal["add", "read", "clear", "replace"]

CALL_KINDS: tuple[CallKind, ...] = get_args(CallKind)
_WRITES = frozenset({"add", "replace"})
_SCHEMA = 1


class Prefix(Sequence[str]):
    """The first messages of a log that many reads share: what a read observed, in the space of two words.

    Half a million reads of half a million messages would be 10^11 references as tuples. As prefixes they are
    one list. The log may grow afterwards; the prefix stays what it was.

    Args:
        log: the shared list; it may only ever be appended to.
        length: how many of its first messages were observed.
    """

    __slots__ = ("length", "log")

    def __init__(self, log: list[str], length: int) -> None:
        if not 0 <= length <= len(log):
            raise ValueError(f"length must be between 0 and {len(log)}, got {length}")
        self.log = log
        self.length = length

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            start, stop, stride = index.indices(self.length)
            return tuple(self.log[start : max(stop, 0) : stride]) if stride > 0 else tuple(self)[index]
        if not -self.length <= index < self.length:
            raise IndexError(index)
        return self.log[index % self.length]

    def __iter__(self) -> Iterator[str]:
        return islice(self.log, self.length)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Prefix) and other.log is self.log:
            return self.length == other.length
        return isinstance(other, Prefix | tuple) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Prefix({self.length} of {len(self.log)} messages)"


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """How many messages both begin with."""
    shorter = min(len(one), len(other))
    if tuple(one[:shorter]) == tuple(other[:shorter]):
        return shorter
    return next(place for place in range(shorter) if one[place] != other[place])


class PrefixPool:
    """Turns what reads return into prefixes of few shared logs, as the reads come in.

    One pool per recording thread or process is enough; prefixes of different logs are compared once per log.
    """

    def __init__(self) -> None:
        self._log_of_first: dict[str, list[str]] = {}

    def share(self, messages: Iterable[str]) -> Prefix:
        """The same messages, sharing memory with earlier reads that agree with them."""
        content = list(messages)
        if not content:
            return Prefix([], 0)
        log = self._log_of_first.setdefault(content[0], content)
        common = min(len(log), len(content))
        if log[:common] != content[:common]:
            log = self._log_of_first[content[0]] = content
        log.extend(content[len(log) :])
        return Prefix(log, len(content))


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One operation of a concurrent program, as its caller saw it.

    Attributes:
        process: who called; a process may have several calls open at once.
        session: the session it went to.
        kind: "add", "read", "clear" or "replace" (assignment to `messages`).
        invoked: when it was invoked.
        returned: when it returned or raised; None when the outcome is unknown (timeout, lost connection,
            killed process): it may have happened, at any time after the invocation, or not at all.
        added: the identities of the messages of an add or replace.
        observed: what a read returned; None when it returned nothing.
        failed: it raised. It then had no effect (ATM-1), unless `returned` is None.
    """

    process: int | str
    session: str
    kind: CallKind
    invoked: float
    returned: float | None
    added: tuple[str, ...] = ()
    observed: Sequence[str] | None = None
    failed: bool = False

    def __post_init__(self) -> None:
        if type(self.added) is not tuple:
            object.__setattr__(self, "added", _messages(self.added, "added"))
        if self.observed is not None and type(self.observed) not in (tuple, Prefix):
            object.__setattr__(self, "observed", _messages(self.observed, "observed"))
        problem = _problem_of_times(self) or _problem_of_content(self)
        if problem:
            raise ValueError(f"a call can't be {self.kind!r} by {self.process!r}: {problem}")

    @property
    def acknowledged(self) -> bool:
        """Whether it certainly took effect."""
        return self.returned is not None and not self.failed

    @property
    def unknown(self) -> bool:
        """Whether it may or may not have taken effect."""
        return self.returned is None

    def to_json(self) -> dict[str, Any]:
        """The call as JSON data; what has its default is left out."""
        data = {name: getattr(self, name) for name in ("process", "session", "kind", "invoked", "returned")}
        if self.added:
            data["added"] = list(self.added)
        if self.observed is not None:
            data["observed"] = list(self.observed)
        return {**data, "failed": True} if self.failed else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Call:
        """The call that `to_json` wrote."""
        return cls(**{**data, "added": tuple(data.get("added", ()))})


@dataclass(frozen=True, slots=True, init=False)
class EventHistory:
    """Every call of a concurrent program, in any order. A call's number is its place in `calls`.

    Attributes:
        calls: the calls.
        initial: what sessions held before the first call; a session not named here was empty.
    """

    calls: tuple[Call, ...]
    initial: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __init__(self, calls: Iterable[Call], initial: Mapping[str, Iterable[str]] | None = None) -> None:
        object.__setattr__(self, "calls", tuple(calls))
        contents = {name: _messages(content, "initial") for name, content in (initial or {}).items()}
        object.__setattr__(self, "initial", contents)

    def __len__(self) -> int:
        return len(self.calls)

    def to_json(self) -> dict[str, Any]:
        """The history as JSON data; logs that reads share are written once."""
        logs: dict[int, tuple[int, list[str]]] = {}
        calls = [_call_to_json(call, logs) for call in self.calls]
        return {
            "schema": _SCHEMA,
            "initial": {name: list(content) for name, content in self.initial.items()},
            "logs": [log for _, log in logs.values()],
            "calls": calls,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EventHistory:
        """The history that `to_json` wrote.

        Raises:
            ValueError: if the data is of another schema.
        """
        if data.get("schema") != _SCHEMA:
            raise ValueError(f"expected an event history of schema {_SCHEMA}, got {data.get('schema')!r}")
        logs = data["logs"]
        return cls((_call_from_json(entry, logs) for entry in data["calls"]), data["initial"])


def _call_to_json(call: Call, logs: dict[int, tuple[int, list[str]]]) -> dict[str, Any]:
    """A call as JSON data, with a reference to a log in place of a prefix of it."""
    if type(call.observed) is not Prefix:
        return call.to_json()
    number, _ = logs.setdefault(id(call.observed.log), (len(logs), call.observed.log))
    data = {name: getattr(call, name) for name in ("process", "session", "kind", "invoked", "returned")}
    return {**data, "observed": {"log": number, "length": call.observed.length}}


def _call_from_json(entry: Mapping[str, Any], logs: Sequence[list[str]]) -> Call:
    """The call of such data."""
    observed = entry.get("observed")
    if isinstance(observed, Mapping):
        return Call(**{**entry, "observed": Prefix(logs[observed["log"]], observed["length"])})
    return Call.from_json(entry)


def _messages(value: Iterable[str], name: str) -> tuple[str, ...]:
    """The identities as a tuple; a single str would be read letter by letter."""
    if isinstance(value, str):
        raise TypeError(f"{name} holds several messages: write {name}=({value!r},), not {name}={value!r}")
    return tuple(value)


def _problem_of_times(call: Call) -> str:
    """What is wrong with the times of a call, or nothing."""
    if not math.isfinite(call.invoked):
        return f"invoked must be a finite number, got {call.invoked!r}"
    if call.returned is not None and not call.invoked <= call.returned < math.inf:
        return f"returned must be None or a time from {call.invoked!r} on, got {call.returned!r}"
    return ""


def _problem_of_content(call: Call) -> str:
    """What is wrong with the content of a call, or nothing."""
    if call.kind not in CALL_KINDS:
        return f"kind must be one of {', '.join(CALL_KINDS)}"
    if call.added and call.kind not in _WRITES:
        return "only an add or a replace has added messages"
    came_back = call.kind == "read" and call.returned is not None and not call.failed
    if came_back != (call.observed is not None):
        return "exactly the reads that returned, and did not raise, have observed messages"
    return ""
