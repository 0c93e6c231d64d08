"""Runs programs of their own beside the tests, and holds those that are the same for every store.

A program comes after a beginning that gives it `opened()`, `humans`, `texts` and `say`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 60

BEGINNING = """
import asyncio, os, sys, threading
from langchain_core.messages import HumanMessage
def humans(*contents):
    return [HumanMessage(content) for content in contents]
def texts(messages):
    return [message.content for message in messages]
def say(text):
    os.write(1, text.encode() + b"\\n")  # at once, and as a whole
"""


@contextmanager
def running(beginning: str, script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program of its own, in which every warning is an error; it doesn't outlive the block."""
    with subprocess.Popen(  # noqa: S603 -- our own script
        [sys.executable, "-W", "error", "-c", BEGINNING + beginning + textwrap.dedent(script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def output_of(program: subprocess.Popen[str]) -> list[str]:
    """What a program says until its end, which must come in time, without complaint."""
    out, err = program.communicate(timeout=SECONDS)
    assert (err, program.returncode) == ("", 0)
    return out.splitlines()


ENDINGS = {
    "by coming to its end": "",
    "by its threads": "threading.Thread(target=use_late).start()",
    "while a daemon goes on": "threading.Thread(target=lambda: asyncio.run(go_on()), daemon=True).start()",
}

FORGETS_TO_CLOSE = """
import warnings
history = opened()
async def use(text):
    await history.aadd_messages(humans(text))
def use_late():
    threading.main_thread().join()
    asyncio.run(use("late"))
async def go_on():
    while True:
        await use("daemon")
history.add_messages(humans("sync"))
asyncio.run(use("first loop"))
loop = asyncio.new_event_loop()
warnings.filterwarnings("ignore", "unclosed event loop")  # the program's own fault
loop.run_until_complete(use("second loop"))
"""

CLOSES_A_LOOP_DURING_A_CALL = """
history = opened()
history.add_messages(humans("a"))
for ticks in range(12):
    loop = asyncio.new_event_loop()
    async def abandon():
        task = asyncio.ensure_future(history.aadd_messages(humans("x", "y")))
        for _ in range(ticks):
            await asyncio.sleep(0)
    loop.run_until_complete(abandon())
    loop.close()
asyncio.run(history.aadd_messages(humans("b")))
history.add_messages(humans("c"))
say("|".join(texts(history.messages)).replace("x|y|", ""))
"""
