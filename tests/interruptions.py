"""Exceptions of signal handlers, at each moment of a sync call at which Python would run a signal handler."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_PLACES = (str(Path("chathistory", "adapters")), "contextlib.py", "threading.py")


def interrupted(call: Callable[[], object]) -> Iterator[None]:
    """Make a call again and again, each time interrupted at a later moment, until it comes to its end.

    CPython runs signal handlers when a function begins and when one of C code has returned: the moments of the
    adapters' own code and of the locks and blocks it uses are taken in turn. All exceptions are kept, as a debugger
    would.
    """
    kept = []
    for moment in itertools.count(1):
        error = _interrupted_at(moment, call)
        if error is None:
            return
        kept.append(error)
        del error
        yield


def _interrupted_at(moment: int, call: Callable[[], object]) -> BaseException | None:
    left = moment

    def look(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal left
        if event in ("call", "c_return") and any(place in frame.f_code.co_filename for place in _PLACES):
            left -= 1
            if not left:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        call()
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.setprofile(None)
    return None


def elsewhere(call: Callable[[], object]) -> None:
    """Make a call in another thread, where it must come to its end soon."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]
