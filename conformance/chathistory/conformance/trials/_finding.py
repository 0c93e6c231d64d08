"""What a trial has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Finding:
    """The problem in a sentence, or None; and how many calls were made to look for it."""

    problem: str | None
    calls: int
