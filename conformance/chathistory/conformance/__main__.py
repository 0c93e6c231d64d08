"""The entry of the command ``chathistory``, which also says what to install when its extra is missing."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from chathistory.conformance._garbage import nothing_collected

_NEEDED = frozenset({"click", "hypothesis", "jinja2", "packaging", "rich", "tomli"})
_GRACE = 2.0


def main() -> None:
    """Run the command and end the process with its exit code."""
    try:
        code = _run()
    except KeyboardInterrupt:  # before or after the command has its own hold of it
        code = 130
    leave(code)


def _run() -> int:
    try:
        with nothing_collected():
            from chathistory.conformance._cli import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write('chathistory: error: the command needs more: pip install "chathistory[suite]"\n')
        return 2
    return run(sys.argv[1:])


def leave(code: int) -> None:
    """End the process, past threads that would keep it.

    An operation that hangs can't be ended from outside, and the interpreter waits for every thread that is
    no daemon. Idle threads of a pool end by themselves in that wait; so they get a moment before the process
    ends without them. Backends are closed and files written by then.
    """
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        _flush()
        timer = threading.Timer(_GRACE, os._exit, [code])
        timer.daemon = True
        timer.start()
    sys.exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader may have left
            stream.flush()


if __name__ == "__main__":
    main()
