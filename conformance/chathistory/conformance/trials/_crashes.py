"""Kills writers and servers, and looks for what they were told is stored (DUR-1 to DUR-3)."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import HumanMessage

from chathistory.conformance.trials._finding import Finding, loops_over_batches, opener_of
from chathistory.conformance.trials._writers import (
    SECONDS_TO_START,
    Call,
    Nursery,
    Worker,
    factory_elsewhere,
    nursery_of,
)

_SIZES = (1, 3, 2, 5, 4)
_ADDS_OF_A_WRITER = 1_500
_ADDS_BEFORE_A_KILL = 0.02
_LAST_WORDS = 3
"""How many writers end by their own hand, each after one add more."""


def another_process(backend: Any, *, mode: str, target: str | None = None, **_: int) -> Finding:
    """Whether processes see what other processes were told is stored (DUR-1)."""
    session_id = f"{uuid.uuid4().hex}-another"
    with nursery_of(_factory(backend, target)) as nursery, Caller(backend, mode) as caller:
        here = [["here-1-0", "here-1-1"], ["here-2-0"]]
        for batch in here:
            caller.add(session_id, batch)
        acknowledged = [content for batch in here for content in batch]
        seen = _read_by(_read_once(nursery, session_id, mode))
        if isinstance(seen, str) or list(seen) != acknowledged:
            return Finding(
                f"as soon as an add has returned, a new process reads {_shown(seen)}, not {_shown(acknowledged)}", 3
            )
        writer = nursery.start(session_id, (2, 1, 3), name="there", mode=mode, stays=True)
        if not writer.wait_for(lambda calls: any(call.kind in ("stays", "open") for call in calls), SECONDS_TO_START):
            return Finding("a process that adds three batches did not end", 6)
        if problem := _failed(writer.calls()):
            return Finding(problem, 6)
        acknowledged += [content for call in writer.calls() for content in call.added]
        for when in ("while the writing process runs", "after the writing process has ended"):
            reader = _read_once(nursery, session_id, mode)
            for who, seen in (("a new process", _read_by(reader)), ("this process", caller.read(session_id))):
                if isinstance(seen, str) or list(seen) != acknowledged:
                    return Finding(f"{when}, {who} reads {_shown(seen)} and not {_shown(acknowledged)}", 10)
            writer.kill()
    return Finding(None, 10)


def killed_writers(backend: Any, *, mode: str, seed: int, rounds: int, target: str | None = None) -> Finding:
    """Whether a SIGKILL of the writing process loses or tears anything (DUR-2)."""
    chance, calls = random.Random(seed), 0  # noqa: S311 -- no secret
    with nursery_of(_factory(backend, target)) as nursery, Caller(backend, mode) as caller:
        for number in range(min(rounds, _LAST_WORDS)):
            session_id = f"{uuid.uuid4().hex}-ended"
            sizes = caller.sizes(session_id, number)[: number + 1]
            writer = nursery.start(session_id, (*sizes, "die"), name="w", mode=mode)
            if not writer.wait_for(lambda known: any(call.kind in ("die", "open") for call in known), SECONDS_TO_START):
                return Finding("the first adds of a process did not return", calls)
            writer.kill()
            made = writer.calls()
            calls += len(made) + 2
            if problem := _failed(made[:1]) or _after_the_end(caller, session_id, made):
                return Finding(f"of a process that got SIGKILL as soon as its last add had returned, {problem}", calls)
        for number in range(rounds):
            session_id = f"{uuid.uuid4().hex}-killed"
            sizes = caller.sizes(session_id, number)
            writer = nursery.start(session_id, sizes, name="w", mode=mode)
            if not writer.wait_for(lambda known: any(call.ended for call in known), SECONDS_TO_START):
                return Finding("the first add of a process did not return", calls)
            time.sleep(chance.uniform(0, _ADDS_BEFORE_A_KILL))
            writer.kill()
            made = writer.calls()
            calls += len(made) + 3
            if problem := _failed(made[:1]) or _after_the_end(caller, session_id, made):
                return Finding(f"after SIGKILL number {number + 1} of a writing process {problem}", calls)
    return Finding(None, calls)


def killed_assigners(backend: Any, *, mode: str, seed: int, rounds: int, target: str | None = None) -> Finding:
    """Whether a SIGKILL of a process that replaces the history leaves the old one or the new one, whole (DUR-2)."""
    chance, calls = random.Random(seed), 0  # noqa: S311 -- no secret
    with nursery_of(_factory(backend, target)) as nursery, Caller(backend, mode) as caller:
        for number in range(rounds):
            session_id = f"{uuid.uuid4().hex}-assigned"
            sizes = [_SIZES[(number + turn) % len(_SIZES)] for turn in range(_ADDS_OF_A_WRITER)]
            writer = nursery.start(session_id, [f"assign {size}" for size in sizes], name="w", mode=mode)
            if not writer.wait_for(lambda known: any(call.ended for call in known), SECONDS_TO_START):
                return Finding("the first assignment of a process did not return", calls)
            time.sleep(chance.uniform(0, _ADDS_BEFORE_A_KILL))
            writer.kill()
            made = writer.calls()
            calls += len(made) + 1
            if any(call.error is not None for call in made):
                return Finding(None, calls)  # assignments may be refused
            if problem := _wrong_after_assignments(caller.read(session_id, tries=3), made):
                return Finding(f"after SIGKILL number {number + 1} of an assigning process {problem}", calls)
    return Finding(None, calls)


def _wrong_after_assignments(seen: Sequence[str] | str, made: Sequence[Call]) -> str | None:
    """What is wrong with a history that was replaced again and again, or None."""
    if isinstance(seen, str):
        return f"the session can't be read: {seen}"
    last = max(place for place, call in enumerate(made) if call.acknowledged)
    if any(tuple(seen) == call.added for call in made[last : last + 2]):
        return None
    unfinished = f" nor {_shown(made[last + 1].added)}, which was being assigned," if made[last + 1 :] else ""
    return f"neither {_shown(made[last].added)}, which was acknowledged,{unfinished} is there, but {_shown(seen)}"


def crashed_server(backend: Any, *, mode: str, seed: int, rounds: int, target: str | None = None) -> Finding:
    """Whether a SIGKILL of the store's server loses, tears or repeats anything (DUR-3)."""
    chance, calls = random.Random(seed), 0  # noqa: S311 -- no secret
    with nursery_of(_factory(backend, target)) as nursery, Caller(backend, mode) as caller:
        for number in range(rounds):
            session_id = f"{uuid.uuid4().hex}-crashed"
            sizes = caller.sizes(session_id, number)
            writer = nursery.start(session_id, sizes, name="w", mode=mode, pause=0.02)
            if not writer.wait_for(lambda known: any(call.ended for call in known), SECONDS_TO_START):
                return Finding("the first add of a process did not return", calls)
            time.sleep(chance.uniform(0, 2 * _ADDS_BEFORE_A_KILL))
            backend.crash_server()
            writer.kill()
            made = writer.calls()
            calls += len(made) + 3
            if problem := _failed(made[:1]) or _after_the_end(caller, session_id, made):
                return Finding(f"after SIGKILL number {number + 1} of the server {problem}", calls)
    return Finding(None, calls)


def _factory(backend: Any, target: str | None) -> Any:
    factory = factory_elsewhere(backend, target)
    if factory is None:
        raise LookupError("the backend has no get_session_history that another process could use")
    return factory


def _after_the_end(caller: Caller, session_id: str, made: Sequence[Call]) -> str | None:
    """What is wrong with the session that a killed writer has left; it must be readable, whole, and go on."""
    seen = caller.read(session_id, tries=3)
    if problem := wrong_after(seen, made):
        return problem
    try:
        caller.add(session_id, ["after"])
    except Exception as error:  # noqa: BLE001 -- what is raised is what is looked for
        return f"nobody can add to the session any more: {type(error).__name__}: {error}"
    later = caller.read(session_id)
    if isinstance(later, str) or "after" not in later:
        return f"a message added afterwards is missing: {_shown(later)}"
    return wrong_after([content for content in later if content != "after"], made)


def wrong_after(seen: Sequence[str] | str, made: Iterable[Call]) -> str | None:
    """What of the adds made is missing, torn, repeated or out of order in what was read, or None.

    Adds that were not acknowledged may be there, wholly, or not.
    """
    if isinstance(seen, str):
        return f"the session can't be read: {seen}"
    place = 0
    for call in made:
        if call.kind != "add":
            continue
        there = tuple(seen[place : place + len(call.added)])
        if there == call.added:
            place += len(call.added)
        elif call.acknowledged:
            return f"the acknowledged {_shown(call.added)} is missing {_around(seen, place)}"
        elif set(there) & set(call.added):
            return f"a part of the batch {_shown(call.added)} stands {_around(seen, place)}"
    if place < len(seen):
        return f"{_shown(seen[place:])} stands in the session beyond what was added, in its order and once"
    return None


def _failed(made: Iterable[Call]) -> str | None:
    error = next((call for call in made if call.error is not None), None)
    return None if error is None else f"in another process, {error.kind} raised {error.error}"


def _read_once(nursery: Nursery, session_id: str, mode: str) -> Worker:
    """A new process that has read the session."""
    reader = nursery.start(session_id, ("read",), name="reader", mode=mode)
    reader.join()
    return reader


def _read_by(reader: Worker) -> Sequence[str] | str:
    calls = reader.calls()
    if not calls or calls[-1].observed is None:
        return calls[-1].error or "nothing" if calls else "nothing"
    return calls[-1].observed


class Caller:
    """Makes calls of this process, each through a handle of its own."""

    def __init__(self, backend: Any, mode: str) -> None:
        self._opens = opener_of(backend)
        self._loop = asyncio.new_event_loop() if mode == "async" else None

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def sizes(self, session_id: str, number: int) -> list[int]:
        """The sizes of the batches that a writer adds, in a different order each time."""
        if loops_over_batches(self._opens(session_id)):
            return [1] * _ADDS_OF_A_WRITER
        return [_SIZES[(number + add) % len(_SIZES)] for add in range(_ADDS_OF_A_WRITER)]

    def add(self, session_id: str, contents: Sequence[str]) -> None:
        """Add a batch."""
        history, messages = self._opens(session_id), [HumanMessage(content=content) for content in contents]
        if self._loop is None:
            history.add_messages(messages)
        else:
            self._loop.run_until_complete(history.aadd_messages(messages))

    def read(self, session_id: str, tries: int = 1) -> Sequence[str] | str:
        """The contents of a session, or the error; a lost connection may cost a first try."""
        text = ""
        for _ in range(tries):
            try:
                history = self._opens(session_id)
                found = self._read(history)
                return [str(message.content) for message in found]
            except Exception as error:  # noqa: BLE001 -- what is raised is what is looked for
                text = f"{type(error).__name__}: {error}"
        return text

    def _read(self, history: Any) -> Any:
        if self._loop is None:
            return history.messages
        return self._loop.run_until_complete(history.aget_messages())


def _around(seen: Sequence[str], place: int) -> str:
    """The messages read that stand about a place."""
    first = max(place - 3, 0)
    return f"where messages {first + 1} and later of {len(seen)} are {list(seen[first : place + 5])}"


def _shown(contents: Sequence[str] | str) -> str:
    text = str(contents if isinstance(contents, str) else list(contents))
    return text if len(text) <= 300 else f"{text[:300]}… ({len(contents)} in all)"
