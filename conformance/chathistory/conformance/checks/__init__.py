"""The checks, a module for each family; every check belongs to one clause."""

from __future__ import annotations

from chathistory.conformance.checks import (
    asynchrony,
    bounds,
    clearing,
    concurrency,
    costs,
    disclaimed,
    durability,
    entrances,
    errors,
    fidelity,
    limits,
    ordering,
    runnables,
    sessions,
    snapshots,
)
from chathistory.conformance.checks._check import Check

CHECKS: tuple[Check, ...] = (
    *ordering.CHECKS,
    *sessions.CHECKS,
    *clearing.CHECKS,
    *fidelity.CHECKS,
    *snapshots.CHECKS,
    *entrances.CHECKS,
    *errors.CHECKS,
    *disclaimed.CHECKS,
    *limits.CHECKS,
    *asynchrony.CHECKS,
    *concurrency.CHECKS,
    *runnables.CHECKS,
    *bounds.CHECKS,
    *durability.CHECKS,
    *costs.CHECKS,
)


def checks_of(clause_id: str) -> tuple[Check, ...]:
    """The checks of one clause; none if this version has no check for it."""
    return tuple(check for check in CHECKS if check.clause == clause_id)


__all__ = ["CHECKS", "Check", "checks_of"]
