"""Runs scripts given as JSON on standard input, each in a process forked from this one.

So each has an exit code and an output of its own, but langchain-core is imported only once.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import tempfile
import traceback
from typing import IO

import langchain_core.chat_history
import langchain_core.messages
import langchain_core.runnables.history  # noqa: F401 -- imported before the processes fork


def _run(script: str, arguments: list[str], output: IO[str]) -> int:
    sys.argv = [script, *arguments]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
            return 70
    return 0


def _forked(script: str, *arguments: str) -> tuple[int, str]:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        child = os.fork()
        if child == 0:
            code = _run(script, list(arguments), output)
            output.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


json.dump([_forked(*job) for job in json.load(sys.stdin)], sys.stdout)
