"""How long whole checks take, and how much memory: run as `python benchmarks/suite.py [ROUNDS]`.

Each round runs every command once, as a process of its own; medians are printed beside what is to be reached on
2 cores. Believe ratios rather than absolute times on a shared machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

TARGETS = (
    ("reference", "--quick", 8.0),
    ("reference", "", 30.0),
    ("sqlite", "--quick", 8.0),
    ("sqlite", "", 60.0),
)
MEGABYTES = 400


def run(target: str, option: str) -> tuple[float, float]:
    """Seconds and peak memory in MB of one check, which must find the target conformant."""
    arguments = [sys.executable, "-m", "chathistory.conformance", "check", target, "--quiet", *option.split()]
    began = time.monotonic()
    process = os.spawnv(os.P_NOWAIT, sys.executable, arguments)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments[2:])} ended with status {status}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def main(rounds: int) -> None:
    """Run all, round by round, so that a slow minute of the machine meets them alike."""
    figures: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for target, option, _ in TARGETS:
            figures.setdefault((target, option), []).append(run(target, option))
    print(f"{'check':<20} {'median s':>9} {'of at most':>10} {'peak MB':>8} {'of at most':>10}")
    for target, option, most in TARGETS:
        seconds = statistics.median(second for second, _ in figures[target, option])
        megabytes = max(memory for _, memory in figures[target, option])
        print(f"{target + ' ' + option:<20} {seconds:>9.1f} {most:>10.0f} {megabytes:>8.0f} {MEGABYTES:>10}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
