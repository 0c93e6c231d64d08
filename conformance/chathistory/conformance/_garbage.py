"""Spares the garbage collector what was there before a run, which it would go through again and again."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def old_objects_left_alone() -> Iterator[None]:
    """Have nothing collected, nor looked at, that is there when the block begins; what is made in it is, as ever.

    The suite makes many objects of a short life beside a large number of lasting ones. Afterwards the collector looks
    at all objects again, those too that the process had frozen itself.
    """
    gc.freeze()
    try:
        yield
    finally:
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
