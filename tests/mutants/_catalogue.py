"""All planted defects and all odd histories."""

from __future__ import annotations

from types import ModuleType
from typing import TypeVar

from tests.mutants import (
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
    limits,
    odd,
    ordering,
    runnable,
    sessions,
    snapshots,
)
from tests.mutants._planted import Mutant, Odd

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
    limits,
)


def _in_module(module: ModuleType, kind: type[T]) -> tuple[T, ...]:
    found = vars(module).values()
    values = [vars(value).get("planted", value) if isinstance(value, type) else value for value in found]
    return tuple(value for value in values if isinstance(value, kind))


MUTANTS: tuple[Mutant, ...] = tuple(one for module in FAMILIES for one in _in_module(module, Mutant))
ODD: tuple[Odd, ...] = (*_in_module(odd, Odd), *_in_module(limits, Odd))
