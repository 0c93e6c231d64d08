"""How much sooner a run over several processes ends: run as `python benchmarks/scale.py [ROUNDS] [MILLISECONDS]`.

The store is the in-memory reference, every operation of which takes some milliseconds longer (5 by default), as over
a network. Each round runs its clauses as pytest items in one process, and with pytest-xdist in two, one after the
other, so that a slow minute of the machine meets both; then the medians and their ratio are printed. What is measured
is the whole command: starting Python, collecting, and the processes that xdist starts are part of it.

Two processes can only be faster where there are two processors to be had: on a machine that is busy both share what is
left, so the load and the seconds of computing are printed, too.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUBJECT = """
from chathistory.conformance import Backend, ChatHistoryConformance
from chathistory.reference import InMemoryChatHistoryStore

store = InMemoryChatHistoryStore()

def backend():
    with store.delay({seconds}):
        yield Backend(name="far", get_session_history=store.get_session_history, disposable=True)

class TestFar(ChatHistoryConformance):
    backend = staticmethod(backend)
"""
WAYS: dict[str, tuple[str, ...]] = {
    "1 process": (),
    "2 processes": ("-n", "2", "--dist", "worksteal"),
}
AT_LEAST = 1.6


def run(folder: Path, *options: str) -> float:
    """Seconds that one run of all clauses takes; all that are claimed must pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--chathistory-effort=quick", *options]
    began = time.monotonic()
    ended = subprocess.run([*command, "test_far.py"], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 -- our own command
    if ended.returncode:
        raise SystemExit(ended.stdout + ended.stderr)
    return time.monotonic() - began


def main(rounds: int, milliseconds: float) -> None:
    """Run both ways in turn, and print what came of it."""
    figures: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="chathistory-scale-") as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_far.py").write_text(SUBJECT.format(seconds=milliseconds / 1000))
        run(folder, "-k", "ORD-1")  # so that every module has been compiled
        for _ in range(rounds):
            for way, options in WAYS.items():
                figures[way].append(run(folder, *options))
    one, two = (statistics.median(seconds) for seconds in figures.values())
    load, computed = os.getloadavg()[2], resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"every operation takes {milliseconds:g} ms; {rounds} rounds, medians; load {load:.1f} on {os.cpu_count()}")
    print(f"computing took {(computed.ru_utime + computed.ru_stime) / rounds:.0f} s of a round, all processes together")
    for way, seconds in figures.items():
        print(f"{way:<12} {statistics.median(seconds):>6.1f} s   ({', '.join(f'{each:.1f}' for each in seconds)})")
    print(f"{one / two:.2f} times as fast (at least {AT_LEAST} is asked for)")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(int(arguments[0]) if arguments else 3, float(arguments[1]) if len(arguments) > 1 else 5.0)
