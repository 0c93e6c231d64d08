"""Shows how a long run goes, and writes down what came of it."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import datetime, timezone

from rich.console import Console
from rich.live import Live
from rich.text import Text

from chathistory.conformance._backend import Backend
from chathistory.conformance._files import write_json
from chathistory.conformance._soak import SoakSettings, Tally
from chathistory.conformance._terminal import Screen
from chathistory.conformance._text import counted

_SECONDS_BETWEEN_LINES = 10.0


class SoakScreen:
    """The counts: one line that is renewed on a terminal, else a line every ten seconds."""

    def __init__(self, name: str, settings: SoakSettings) -> None:
        self._name, self._settings = name, settings
        self._screen = Screen()
        console = Console(file=sys.stdout, highlight=False)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._is_live = console.is_terminal
        self._last = time.monotonic()
        self.interrupted = False

    def __enter__(self) -> SoakScreen:
        ours = self._settings
        self._screen.tell(
            f"soak {self._name}: {ours.processes} processes with {ours.writers} threads each, "
            f"{ours.seconds / 60:g} min, seed {ours.seed}, events in {ours.folder}"
        )
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, tally: Tally) -> None:
        """The counts as they are now."""
        if self._is_live:
            self._live.update(Text(_counts(tally)), refresh=True)
        elif time.monotonic() - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._screen.tell(_counts(tally))

    def conclude(self, tally: Tally) -> None:
        """The verdict, and what was wrong."""
        self._live.stop()
        for anomaly in tally.anomalies:
            self._screen.tell(f"{anomaly}\n")
        word = "interrupted, so far " if self.interrupted else ""
        self._screen.tell(f"{word}{tally.verdict}: {self._name}: {_counts(tally)}{self._why(tally)}")

    def _why(self, tally: Tally) -> str:
        """What has kept the run from a verdict, if anything."""
        if tally.verdict != "undecided":
            return ""
        if tally.rounds:
            return f"; the checker could not decide {counted(tally.undecided, 'round')}"
        return "; no round has ended" if self.interrupted else "; no round was begun: give it more --minutes"


def write_soak(settings: SoakSettings, backend: Backend, tally: Tally, *, complete: bool) -> None:
    """Write `soak.json`: settings, versions, counts, verdict and anomalies."""
    data = {
        "schema": 1,
        "complete": complete,
        "backend": backend.name,
        "verdict": tally.verdict,
        "versions": dict(backend.versions),
        "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "settings": {**asdict(settings), "folder": str(settings.folder)},
        **asdict(tally),
    }
    write_json(settings.folder / "soak.json", data)


def _counts(tally: Tally) -> str:
    return (
        f"{tally.seconds:.0f} s, {tally.rounds:,} rounds, {tally.operations:,} operations, "
        f"{tally.acknowledged:,} messages acknowledged, {tally.unknown:,} calls of unknown outcome, "
        f"{tally.kills} writers killed, {tally.crashes} server crashes, {tally.cuts} cuts, "
        f"{len(tally.anomalies)} anomalies"
    )
