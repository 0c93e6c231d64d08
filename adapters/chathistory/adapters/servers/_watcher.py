"""Clears up after a process that was killed: run as a script, told on its standard input what there is.

Each line is a JSON object: `{"key": N, "kill": PID, "began": TEXT, "remove": FOLDER, "container": ID}` names what must
not outlive the process, `{"key": N}` says that it is gone. When the input ends, whatever is left is cleared up.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

_SECONDS_TO_LET_GO = 10.0


def main() -> None:
    """Read until the process that started this one has ended, and clear up."""
    left: dict[int, dict[str, Any]] = {}
    for line in sys.stdin:
        with contextlib.suppress(ValueError):  # a last line may be cut
            told = json.loads(line)
            left.pop(told["key"], None)
            if len(told) > 1:
                left[told["key"]] = told
    for clear_up in (_kill, _remove):  # a server that still runs writes into the folder that is being removed
        for told in left.values():
            clear_up(told)


def began(pid: int) -> str:
    """When a process began, in a form that is only good for comparison; "" where that can't be told."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:  # noqa: PTH123 -- starts fast
            return stat.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def kill_group(leader: int) -> None:
    """Kill a server and the processes that it has started, though it be dead itself; its number is not reused then."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(leader, signal.SIGKILL)
        else:
            os.kill(leader, signal.SIGTERM)


def _kill(told: dict[str, Any]) -> None:
    if "kill" in told and began(told["kill"]) in ("", told["began"]):
        kill_group(told["kill"])


def _remove(told: dict[str, Any]) -> None:
    if "remove" in told:
        _remove_folder(told["remove"])
    if "container" in told:
        # By another interpreter: this one was started without the installed packages.
        remove = "import docker, sys; docker.from_env().containers.get(sys.argv[1]).remove(force=True, v=True)"
        subprocess.run([sys.executable, "-c", remove, told["container"]], check=False)  # noqa: S603 -- fixed text


def _remove_folder(folder: str) -> None:
    """Remove it with everything in it, as soon as those who were killed have let go of it."""
    deadline = time.monotonic() + _SECONDS_TO_LET_GO
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder) or time.monotonic() > deadline:  # noqa: PTH110 -- starts fast
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main()
