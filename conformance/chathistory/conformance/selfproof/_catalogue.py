"""The histories that ship with the suite, gathered from the modules of their families."""

from __future__ import annotations

from types import ModuleType
from typing import TypeVar

from chathistory.conformance.selfproof import (
    asynchrony,
    atomicity,
    bounds,
    clearing,
    concurrency,
    costs,
    durability,
    errors,
    expiry,
    fidelity,
    odd,
    ordering,
    runnable,
    sessions,
    snapshots,
)
from chathistory.conformance.selfproof._planted import Mutant, Odd

T = TypeVar("T")

FAMILIES: tuple[ModuleType, ...] = (
    ordering,
    sessions,
    clearing,
    fidelity,
    snapshots,
    errors,
    atomicity,
    asynchrony,
    concurrency,
    durability,
    costs,
    runnable,
    bounds,
    expiry,
)


def planted_in(module: ModuleType, kind: type[T]) -> tuple[T, ...]:
    """The mutants, or the odd histories, that a module defines, in their order there."""
    found = vars(module).values()
    values = [vars(value).get("planted", value) if isinstance(value, type) else value for value in found]
    return tuple(value for value in values if isinstance(value, kind))


MUTANTS: tuple[Mutant, ...] = tuple(one for module in FAMILIES for one in planted_in(module, Mutant))
ODD: tuple[Odd, ...] = planted_in(odd, Odd)
