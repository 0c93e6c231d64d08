"""What the commands show on a terminal of 80 and of 120 columns, with colours and without, held against files.

`CHATHISTORY_UPDATE_SNAPSHOTS=1 pytest tests/test_snapshots.py` writes the files anew; look at what changed before you
commit it. What is shown comes from reports with fixed times and versions; escape characters are written as ␛, and
blanks at the ends of lines are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from tests.test_matrix import passing
from tests.test_reports import every_outcome, replay, report, result

from chathistory.conformance import Report
from chathistory.conformance._cli import run
from chathistory.conformance._files import write_json
from chathistory.conformance._listings import backends_block
from chathistory.conformance._locate import RegisteredBackend
from chathistory.conformance._terminal import Screen
from chathistory.reference import CLAUSES

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = bool(os.environ.get("CHATHISTORY_UPDATE_SNAPSHOTS"))
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

BACKENDS = [
    RegisteredBackend(
        name="mine",
        summary="A store of my own, in a temporary folder.",
        import_path="my_package.backend:mine",
        problem="",
    ),
    RegisteredBackend(
        name="redis",
        summary="",
        import_path="chathistory.adapters.redis.backend:redis",
        problem="the backend 'redis' needs 'redis', which is not installed: pip install \"chathistory[redis]\"",
    ),
]


class Terminal(StringIO):
    """A terminal, as far as a program can see."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def check(subject: Report) -> Callable[[], None]:
    """Shows what `check` shows when its run has ended."""

    def show() -> None:
        scripts = {"ORD-3": "chathistory-report/mine-ORD-3.py"}
        Screen().show_report(subject, scripts=scripts, replay=replay)

    return show


def command(*arguments: str) -> Callable[[], None]:
    """Runs a command beside two saved reports, old.json and new.json."""

    def show() -> None:
        write_json(Path("old.json"), passing("mine").to_json())
        write_json(Path("new.json"), every_outcome().to_json())
        run(arguments)

    return show


def some_conformant() -> Report:
    """A run in which all that is claimed passed, of a backend with limits."""
    results = [
        result(each.id, "not-claimed", reason="needs the claim durable") if each.family == "DUR" else result(each.id)
        for each in CLAUSES
    ]
    limits = {"message_bytes": 400_000, "session_id_bytes": 2_048}
    return replace(report(*results), limits=limits, notes=("Handles share one connection.",))


SHOWN: dict[str, Callable[[], None]] = {
    "check-conformant": check(some_conformant()),
    "check-violations": check(every_outcome()),
    "check-interrupted": check(report(result("ORD-1"), result("ORD-2"), complete=False)),
    "check-undecided": check(report(result("ORD-1"), result("CON-4", "undecided", reason="nothing overlapped"))),
    "matrix": command("matrix", "old.json", "new.json"),
    "compare": command("compare", "old.json", "new.json"),
    "backends": lambda: Screen().show(backends_block(BACKENDS)),
    "semantics": command("semantics", "ORD-3"),
}


@pytest.fixture(autouse=True)
def sixteen_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and a terminal that knows sixteen colours."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def on_a_terminal(show: Callable[[], None]) -> str:
    """What is written to standard output where that is a terminal."""
    with redirect_stdout(Terminal()) as terminal:
        show()
    return terminal.getvalue()


@pytest.mark.parametrize("colour", ["colour", "plain"])
@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown_is_what_was_looked_at(
    name: str, columns: int, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of what people see is a change of a file that people review; and nothing is too wide."""
    monkeypatch.setenv("COLUMNS", str(columns))
    if colour == "plain":
        monkeypatch.setenv("NO_COLOR", "1")
    text = on_a_terminal(SHOWN[name])
    assert ("\x1b" in text) is (colour == "colour")
    too_wide = [line for line in ESCAPES.sub("", text).splitlines() if cell_len(line) > columns]
    assert too_wide == []
    path = SNAPSHOTS / f"{name}-{columns}-{colour}.txt"
    shown = "".join(f"{line.rstrip()}\n" for line in text.replace("\x1b", "␛").splitlines())
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8"), "CHATHISTORY_UPDATE_SNAPSHOTS=1 writes the files anew"


def test_no_snapshot_is_left_over() -> None:
    """A file that nothing is held against says nothing."""
    wanted = {
        f"{name}-{columns}-{colour}.txt" for name in SHOWN for columns in (80, 120) for colour in ("colour", "plain")
    }
    assert {path.name for path in SNAPSHOTS.iterdir()} == wanted


def test_a_terminal_and_a_pipe_show_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read in a log is what was seen."""
    monkeypatch.setenv("COLUMNS", "120")
    subject = every_outcome()
    shown = on_a_terminal(check(subject))
    pipe = StringIO()
    Screen(pipe).show_report(subject, scripts={"ORD-3": "chathistory-report/mine-ORD-3.py"}, replay=replay)
    assert ESCAPES.sub("", shown).split() == pipe.getvalue().split()
