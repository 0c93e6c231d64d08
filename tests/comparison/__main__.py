"""Measures how many defects each way of testing catches: `python -m tests.comparison --help`."""

from __future__ import annotations

import argparse
import datetime
from functools import partial
from pathlib import Path

from tests.comparison._measures import SUBJECTS, WAYS, timed
from tests.comparison._table import page
from tests.separately import measured, read_lines

# A way that has not ended by then has met a call that hangs, which nobody would call a pass.
_SECONDS = {"examples": 60.0, "machine": 150.0, "quick": 300.0}


def main() -> None:
    """Measure what is not in the folder yet, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.comparison", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder for the lines of each way of testing")
    parser.add_argument("--page", type=Path, help="write the table into this file of Markdown")
    parser.add_argument("--way", action="append", choices=tuple(WAYS), help="only this way of testing")
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    parser.add_argument("names", nargs="*", help="only these histories")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for way in () if given.page_only else given.way or WAYS:
        lines = measured(given.names or SUBJECTS, partial(timed, way), _file(given.out, way), seconds=_SECONDS[way])
        caught = sum(1 for line in lines if line.get("caught") or "error" in line)
        print(f"{way}: {caught} caught")  # noqa: T201 -- what the command is for
    if given.page is not None:
        files = {way: _file(given.out, way) for way in WAYS}
        day = datetime.date.fromtimestamp(max(file.stat().st_mtime for file in files.values() if file.exists()))
        text = page({way: read_lines(file) for way, file in files.items()}, day)
        given.page.write_text(text, encoding="utf-8")


def _file(folder: Path, way: str) -> Path:
    return folder / f"{way}.jsonl"


if __name__ == "__main__":
    main()
