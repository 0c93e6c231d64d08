"""All planted defects and all odd histories: those that ship with the suite, and those that only prove it here."""

from __future__ import annotations

from types import ModuleType

from tests.mutants import (
    asynchrony,
    atomicity,
    bounds,
    clearing,
    concurrency,
    costs,
    durability,
    entrances,
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

from chathistory.conformance import selfproof
from chathistory.conformance.selfproof._catalogue import planted_in

FAMILIES: tuple[ModuleType, ...] = (
    ordering,
    sessions,
    clearing,
    fidelity,
    snapshots,
    entrances,
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


MUTANTS: tuple[Mutant, ...] = (
    *selfproof.MUTANTS,
    *(one for module in FAMILIES for one in planted_in(module, Mutant)),
)
ODD: tuple[Odd, ...] = (*selfproof.ODD, *planted_in(odd, Odd), *planted_in(limits, Odd))
