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
from typing import Any


def main() -> None:
    """Read until the process that started this one has ended, and clear up."""
    left: dict[int, dict[str, Any]] = {}
    for line in sys.stdin:
        with contextlib.suppress(ValueError):  # a last line may be cut
            told = json.loads(line)
            left.pop(told["key"], None)
            if len(told) > 1:
                left[told["key"]] = told
    for told in left.values():
        _clear_up(told)


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


def _clear_up(told: dict[str, Any]) -> None:
    if "kill" in told and began(told["kill"]) in ("", told["began"]):
        kill_group(told["kill"])
    if "remove" in told:
        shutil.rmtree(told["remove"], ignore_errors=True)
    if "container" in told:
        # By another interpreter: this one was started without the installed packages.
        remove = "import docker, sys; docker.from_env().containers.get(sys.argv[1]).remove(force=True, v=True)"
        subprocess.run([sys.executable, "-c", remove, told["container"]], check=False)  # noqa: S603 -- fixed text


if __name__ == "__main__":
    main()
