"""Counts what occurs in one run of the suite: `python -m tests.occurrences --help`.

The run is a real one, of the reference; every step that was carried out is noted. What the catalogue, the message
classes and the steps offer is held against it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from langchain_core.messages import BaseMessage, RemoveMessage

from chathistory.conformance import _payloads as payloads
from chathistory.conformance import check
from chathistory.conformance._interpreter import Execution, Observation
from chathistory.conformance._odd_messages import OddMessage, TaggedHumanMessage
from chathistory.conformance._program import (
    STEP_CLASSES,
    Add,
    AddCall,
    Assign,
    Cancel,
    Container,
    Edit,
    EditKind,
    Open,
    Program,
    Step,
    Together,
    Turn,
)
from chathistory.conformance._report import EFFORTS, Configuration, Report
from chathistory.conformance._runnables import CALLS, SHAPES
from chathistory.conformance._session_ids import COLLIDING_SESSIONS, HOSTILE_SESSIONS
from chathistory.conformance.backends import reference
from chathistory.reference import MESSAGE_CLASSES, fields_of


@dataclass(slots=True)
class Recording:
    """What was carried out: the programs, and those of their steps that a store was asked to do."""

    programs: list[Program] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    report: Report | None = None
    seconds: float = 0.0

    def messages(self) -> Iterator[Any]:
        """Each item that was given to an add, an assignment or a cancelled add, once."""
        distinct: dict[int, Any] = {}
        for step in self.steps:
            if isinstance(step, Add | Assign | Cancel):
                distinct.update((id(message), message) for message in step.messages)
        yield from distinct.values()


@contextmanager
def recorded() -> Iterator[Recording]:
    """Note each step that is carried out meanwhile, in this process."""
    recording = Recording()
    observe, run = Execution._observe, Execution.run

    def observed(self: Execution, index: int, step: Step) -> Observation:
        observation = observe(self, index, step)
        if observation.outcome in ("returned", "raised"):
            recording.steps.append(step)
        return observation

    def ran(self: Execution) -> Iterator[Observation]:
        recording.programs.append(self.program)
        return run(self)

    Execution._observe, Execution.run = observed, ran  # type: ignore[method-assign]
    try:
        yield recording
    finally:
        Execution._observe, Execution.run = observe, run  # type: ignore[method-assign]


def record_a_run(configuration: Configuration, clauses: Iterable[str] = ()) -> Recording:
    """A run of the reference, noted."""
    began = time.monotonic()
    with recorded() as recording:
        for backend in reference():
            recording.report = check(backend, clauses=clauses, configuration=configuration)
    recording.seconds = time.monotonic() - began
    return recording


# What there is, by name, and how to see what occurred of it.

Offer = Sequence[str]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing that must occur: everything it consists of, and what of it a recording holds."""

    offered: Offer
    found: Callable[[Recording], set[str]]

    def missing(self, recording: Recording) -> list[str]:
        """What did not occur, in its order."""
        found = self.found(recording)
        return [name for name in self.offered if name not in found]


def _key(value: Any) -> str:
    """A value as text that tells types, signs of zero and orders of keys apart."""
    return f"text {value}" if type(value) is str else json.dumps(value)


def _parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, BaseMessage):
        yield from _parts(list(fields_of(value).values()))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _parts(item)


def _json_values(entries: Sequence[Any]) -> Kind:
    """Values of JSON, anywhere in what was added."""

    def found(recording: Recording) -> set[str]:
        seen: set[str] = set()
        for message in recording.messages():
            for part in _parts(message):
                try:
                    seen.add(_key(part))
                except (TypeError, ValueError):
                    continue
        return {entry.name for entry in entries if _key(entry.value) in seen}

    return Kind([entry.name for entry in entries], found)


def _odd_values(entries: Sequence[payloads.Value]) -> Kind:
    """Values that are no JSON, which are told apart by their type and their looks."""

    def found(recording: Recording) -> set[str]:
        seen = {_looks(part) for message in recording.messages() for part in _parts(message)}
        return {entry.name for entry in entries if _looks(entry.value) in seen}

    return Kind([entry.name for entry in entries], found)


def _looks(value: Any) -> tuple[str, str]:
    return type(value).__name__, ascii(value)[:2_000]


def _places(recording: Recording) -> set[str]:
    """The fields in which an edge text stood, content blocks apart from plain contents."""
    edges = {text.value for text in payloads.TEXTS if not text.value.isascii() or text in payloads.LOOKALIKES}
    found: set[str] = set()
    for message in recording.messages():
        if isinstance(message, BaseMessage):
            for name, value in fields_of(message).items():
                if any(type(part) is str and part in edges for part in _parts(value)):
                    found.add(f"{name} block" if name == "content" and type(value) is not str else name)
    return found


def _fields_set(recording: Recording) -> set[str]:
    """Which fields of which classes held something else than their defaults."""
    found: set[str] = set()
    for message in recording.messages():
        if isinstance(message, BaseMessage) and type(message) in MESSAGE_CLASSES:
            known = type(message).model_fields
            for name, value in fields_of(message).items():
                if name not in known:
                    found.add(f"{type(message).__name__}.extra")
                elif known[name].is_required() or value != known[name].get_default(call_default_factory=True):
                    found.add(f"{type(message).__name__}.{name}")
    return found


def _fields_of_classes() -> list[str]:
    """What a RemoveMessage has no content for, for one."""
    return [
        f"{cls.__name__}.{name}"
        for cls in MESSAGE_CLASSES
        for name in sorted({*cls.model_fields, "extra"} - {"type"} - ({"content"} if cls is RemoveMessage else set()))
    ]


def _collisions(recording: Recording) -> set[str]:
    """Kinds of which all ids were open and written to in one program."""
    sessions = [_written(program) for program in recording.programs]
    return {kind.name for kind in COLLIDING_SESSIONS if any(set(kind.ids) <= written for written in sessions)}


def _written(program: Program) -> set[str]:
    session = {step.handle: step.session for step in program.steps if isinstance(step, Open)}
    return {session[step.handle] for step in program.steps if isinstance(step, Add)}


def _hostile(recording: Recording) -> set[str]:
    opened = {step.session for step in recording.steps if isinstance(step, Open)}
    return {hostile.name for hostile in HOSTILE_SESSIONS if hostile.session in opened}


def _not_messages(recording: Recording) -> set[str]:
    tried = {
        (_looks(tuple(step.messages)), step.container, step.call) for step in recording.steps if isinstance(step, Add)
    }
    return {each.name for each in payloads.NOT_MESSAGES if (_looks(each.messages), each.container, each.call) in tried}


def _steps(recording: Recording) -> set[str]:
    found: set[str] = set()
    for step in recording.steps:
        found.add(type(step).__name__)
        if mode := getattr(step, "mode", ""):
            found.add(f"{type(step).__name__} {mode}")
        match step:
            case Add():
                found |= {step.call, step.container}
            case Edit():
                found.add(f"{step.target} {step.edit}")
            case Turn():
                found.add(f"{step.shape} by {step.call}")
            case Together():
                found.add(step.how)
                found |= {f"{_kind_of_call(call)} at once" for worker in step.workers for call in worker}
            case Cancel():
                found.add(f"cancelled {'read' if step.reads else 'add' if step.messages else 'clear'}")
    return found


def _kind_of_call(call: int | str) -> str:
    """The first word of what a worker does; a number is the size of a batch."""
    return "add" if isinstance(call, int) else call.split()[0]


_SHOWN_STEPS = (
    *(name for name in STEP_CLASSES if name != "Trial"),
    *(f"{name} {mode}" for name in ("Add", "Read", "Clear", "AddBack") for mode in ("sync", "async")),
    *get_args(AddCall),
    *get_args(Container),
    *(f"{target} {edit}" for target in ("argument", "result") for edit in get_args(EditKind)),
    *(f"{shape} by {call}" for shape in SHAPES for call in CALLS),
    "threads",
    "tasks",
    *(f"{call} at once" for call in ("add", "read", "clear", "cancel", "refuse", "single", "large", "reopen", "watch")),
    *(f"cancelled {call}" for call in ("add", "clear", "read")),
)
"""The kinds of steps; trials and processes need what the reference has not: a server, and another process."""

KINDS: Mapping[str, Kind] = {
    "message classes": Kind(
        [cls.__name__ for cls in (*MESSAGE_CLASSES, OddMessage, TaggedHumanMessage)],
        lambda recording: {type(message).__name__ for message in recording.messages()},
    ),
    "fields of message classes": Kind(_fields_of_classes(), _fields_set),
    "edge texts": _json_values(payloads.TEXTS),
    "places of edge texts": Kind(
        [
            "content",
            "content block",
            "additional_kwargs",
            "response_metadata",
            "tool_calls",
            "artifact",
            "name",
            "id",
        ],
        _places,
    ),
    "edge values": _json_values(payloads.NUMBERS),
    "contents": _json_values(payloads.CONTENTS),
    "values that can't be stored": _odd_values(payloads.UNSTORABLE),
    "unusual values": _odd_values(payloads.UNUSUAL),
    "adds of what is no message": Kind([each.name for each in payloads.NOT_MESSAGES], _not_messages),
    "kinds of colliding ids": Kind([kind.name for kind in COLLIDING_SESSIONS], _collisions),
    "hostile ids": Kind([hostile.name for hostile in HOSTILE_SESSIONS], _hostile),
    "kinds of steps": Kind(_SHOWN_STEPS, _steps),
}
"""What must occur in every run."""


def table(recording: Recording) -> str:
    """How much of each kind occurred, and the names of what did not."""
    lines = [f"{len(recording.programs)} programs, {len(recording.steps)} steps, {recording.seconds:.1f} s"]
    for name, kind in KINDS.items():
        missing = kind.missing(recording)
        names = f"; missing: {', '.join(missing)}" if missing else ""
        lines.append(f"{name}: {len(kind.offered) - len(missing)} of {len(kind.offered)}{names}")
    return "\n".join(lines)


def main() -> None:
    """Run once for each seed, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.occurrences", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--effort", choices=tuple(EFFORTS), default="quick")
    parser.add_argument("--seed", type=int, action="append", help="may be repeated")
    given = parser.parse_args()
    for seed in given.seed or (0,):
        print(f"seed {seed}: {table(record_a_run(replace(EFFORTS[given.effort], seed=seed)))}")  # noqa: T201 -- what the command is for


if __name__ == "__main__":
    main()
