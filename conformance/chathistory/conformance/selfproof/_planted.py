"""What the catalogue holds: a planted defect, and a correct history that is odd."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from chathistory.conformance._backend import Backend
from chathistory.conformance.selfproof._histories import CorrectHistory, backend
from chathistory.conformance.selfproof._network import NetworkHistory, ToyServer, network_backend

Hardness: TypeAlias = Literal["obvious", "data", "stateful", "timing"]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A history with one defect.

    Attributes:
        name: the lie it tells.
        make: opens it, on a fresh store each time.
        clauses: the clauses that may rightly be named first, the best one first.
        hardness: what it takes to see it: any use at all ("obvious"), particular values, ids or sizes
            ("data"), a particular course of operations or handles ("stateful"), or a race ("timing").
        minimum_operations: the least number of calls (add, read, clear, assignment, cancelled call, turn of a
            runnable) that show it; None where it takes a race.
        story: how it comes about in real life, in a sentence.
    """

    name: str
    make: Callable[[], Backend]
    clauses: tuple[str, ...]
    hardness: Hardness
    minimum_operations: int | None
    story: str


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A history that is unusual and keeps all it claims, but for the clauses expected to fail."""

    name: str
    make: Callable[[], Backend]
    expected_failures: tuple[str, ...] = ()
    story: str = ""


def mutant(
    *clauses: str, hardness: Hardness, operations: int | None = None
) -> Callable[[type[CorrectHistory]], Mutant]:
    """Turn a class, whose name is the lie and whose docstring the story, into a mutant."""

    def plant(history: type[CorrectHistory]) -> Mutant:
        name = _snake_case(history.__name__)
        return Mutant(
            name=name,
            make=partial(backend, name, history),
            clauses=clauses,
            hardness=hardness,
            minimum_operations=operations,
            story=inspect.getdoc(history) or "",
        )

    return plant


def network_mutant(
    *clauses: str, hardness: Hardness, operations: int | None = None, server: type[ToyServer] = ToyServer
) -> Callable[[type[NetworkHistory]], type[NetworkHistory]]:
    """Plant a defect in a history over a network, on a server of this kind.

    The class stays what it is, so that other processes can unpickle it; the mutant is its attribute `planted`.
    """

    def plant(history: type[NetworkHistory]) -> type[NetworkHistory]:
        name = _snake_case(history.__name__)
        history.planted = Mutant(
            name=name,
            make=partial(_on, server, history, name),
            clauses=clauses,
            hardness=hardness,
            minimum_operations=operations,
            story=inspect.getdoc(history) or "",
        )
        return history

    return plant


def server_mutant(
    *clauses: str, hardness: Hardness, operations: int | None = None
) -> Callable[[type[ToyServer]], Mutant]:
    """Turn a server's class into a mutant: a correct history, and the defect is behind it."""

    def plant(server: type[ToyServer]) -> Mutant:
        name = _snake_case(server.__name__)
        return Mutant(
            name=name,
            make=partial(_on, server, NetworkHistory, name),
            clauses=clauses,
            hardness=hardness,
            minimum_operations=operations,
            story=inspect.getdoc(server) or "",
        )

    return plant


def _on(server: type[ToyServer], history: type[NetworkHistory], name: str) -> Backend:
    return network_backend(name, history, server())


def odd(*expected_failures: str) -> Callable[[Callable[[], Backend]], Odd]:
    """Turn a function that makes a backend into an odd history of its name."""

    def plant(make: Callable[[], Backend]) -> Odd:
        return Odd(
            name=make.__name__,
            make=make,
            expected_failures=expected_failures,
            story=inspect.getdoc(make) or "",
        )

    return plant


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9A-Z])(?=[A-Z][a-z])", "_", name).lower()
