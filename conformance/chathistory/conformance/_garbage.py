"""Spares the garbage collector what was there before a run, which it would go through again and again."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def old_objects_left_alone() -> Iterator[None]:
    """Have nothing collected, nor looked at, that is there when the block begins; what is made in it is, as ever.

    The suite makes many objects of a short life beside a large number of lasting ones. A process that has frozen its
    objects itself, as before a fork, keeps them so.
    """
    frozen = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not frozen:
            gc.unfreeze()


@contextlib.contextmanager
def nothing_collected() -> Iterator[None]:
    """Collect no garbage while modules are imported, which make many objects and hardly any garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
