"""What is published of the matrix: which targets, where their reports are, and what they were made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chathistory.conformance._files import write_json
from chathistory.conformance._matrix import Matrix
from chathistory.conformance._report import Report
from chathistory.conformance._saved import saved_report

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE_ROOTS = ("reference", "conformance", "adapters")
OURS = ("reference", "sqlite", "postgres", "redis", "redis-cluster", "redis-fake", "dynamodb")
PEERS = (
    "peer:in-memory",
    "peer:sql-sqlite",
    "peer:sql-sqlite-async",
    "peer:file",
    "peer:postgres",
    "peer:redis",
    "peer:dynamodb",
)
TARGETS = (*OURS, *PEERS)
COMMAND = "python -m docs._tools.publish_matrix"


@dataclass(frozen=True, slots=True)
class Publication:
    """A folder of documentation with the saved reports of the matrix in it.

    Attributes:
        docs: the folder; the reports are in `matrix/` below it.
    """

    docs: Path = DOCS

    @property
    def folder(self) -> Path:
        """Where the reports are."""
        return self.docs / "matrix"

    @property
    def scripts(self) -> Path:
        """Where the scripts of their counterexamples are."""
        return self.folder / "scripts"

    def path(self, target: str) -> Path:
        """The file of a target's report."""
        return self.folder / f"{target.replace(':', '-')}.json"

    def reports(self) -> dict[str, Report]:
        """The reports that are there, by target, in the order of `TARGETS`.

        Raises:
            UsageError: one can't be read.
        """
        return {target: saved_report(self.path(target)) for target in TARGETS if self.path(target).exists()}

    def matrix(self) -> Matrix:
        """The reports beside each other; dated by the youngest, so that the same reports make the same pages."""
        reports = self.reports()
        return Matrix(
            reports=tuple(reports.values()),
            command=COMMAND,
            created=max(report.started for report in reports.values()),
            problems=tuple(f"{target}: not published yet" for target in TARGETS if target not in reports),
        )

    def made_of(self) -> Mapping[str, str]:
        """For each published target the fingerprint of the sources that its report was made by."""
        path = self.folder / "sources.json"
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}

    def note(self, target: str, made_of: str) -> None:
        """Remember what a target's report was made of."""
        noted: dict[str, Any] = {**self.made_of(), target: made_of}
        write_json(self.folder / "sources.json", dict(sorted(noted.items())))


def fingerprint(*about: str, root: Path = ROOT) -> str:
    """A short hash of everything that decides what a run finds.

    Args:
        about: how the run was made, say its effort and seed.
        root: of the checkout.
    """
    digest = hashlib.sha256("\0".join(about).encode())
    for name in SOURCE_ROOTS:
        for path in sorted((root / name).rglob("*")):
            if path.suffix in (".py", ".json") and "__pycache__" not in path.parts:
                digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def head(page: str) -> str:
    """The beginning of a page that is made: what people have written of it."""
    return (DOCS / "_data/heads" / f"{page}.md").read_text("utf-8")
