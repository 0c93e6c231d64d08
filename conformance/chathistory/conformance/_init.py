"""Writes the skeleton of a new adapter: its history, its backend, its tests, its deviations and its CI jobs.

What it writes works as it stands: a history in a SQLite file that keeps every clause it claims. The files are
the templates in `skeleton/`, in which names stand as @NAME@.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path, PurePosixPath

from chathistory.conformance._errors import UsageError
from chathistory.conformance._files import make_folder, write_file
from chathistory.conformance._locate import GROUP

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 40

_PLACES: Mapping[str, str] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "__init__.py": "src/@PACKAGE@/__init__.py",
    "history.py": "src/@PACKAGE@/history.py",
    "backend.py": "src/@PACKAGE@/backend.py",
    "conformance_test.py": "tests/test_conformance.py",
    "deviations.toml": "deviations.toml",
    "github.yml": ".github/workflows/conformance.yml",
    "gitlab.yml": ".gitlab-ci.yml",
}


@dataclass(frozen=True, slots=True)
class Names:
    """What a new adapter and its parts are called.

    Attributes:
        name: the backend, as `chathistory check` takes it.
    """

    name: str

    @property
    def distribution(self) -> str:
        """The name to install it by; it never is that of a driver."""
        return f"{self.name}-chat-history"

    @property
    def package(self) -> str:
        """The name to import it by."""
        return self.distribution.replace("-", "_")

    @property
    def history(self) -> str:
        """The name of its class."""
        return "".join(part.capitalize() for part in self.name.split("-")) + "ChatMessageHistory"

    def filled(self, template: str) -> str:
        """A template with the names in their places."""
        values = {
            "@NAME@": self.name,
            "@DISTRIBUTION@": self.distribution,
            "@PACKAGE@": self.package,
            "@CLASS@": self.history,
        }
        for token, value in values.items():
            template = template.replace(token, value)
        return template


def names_of(name: str) -> Names:
    """The names of a new adapter.

    Raises:
        UsageError: the name can't be that of a package, or a backend of chathistory has it.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name!r:.80} can't be the name of an adapter; write up to {_LONGEST_NAME} small letters and digits, "
            "separated by single hyphens, for example my-store"
        )
    taken = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if any(entry.value.startswith("chathistory.") for entry in taken):
        raise UsageError(f"{name!r} is a backend of chathistory itself; choose another name, for example my-{name}")
    return Names(name)


def write_skeleton(name: str, folder: Path | None = None) -> tuple[Path, tuple[Path, ...]]:
    """Write the skeleton of an adapter; all of it or, if a file is there already, nothing.

    Args:
        name: what the backend is to be called: small letters, digits and hyphens.
        folder: where; by default a folder with the name of the distribution, in the current one.

    Returns:
        The folder and the files in it.

    Raises:
        UsageError: the name is none, a file is there already, or one can't be written.
    """
    names = names_of(name)
    root = folder if folder is not None else Path(names.distribution)
    contents = {root / PurePosixPath(names.filled(place)): _template(file) for file, place in _PLACES.items()}
    if root.exists() and not root.is_dir():
        raise UsageError(f"{str(root)!r} is a file; name a folder with --folder")
    for path in contents:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{str(path)!r} is there already, and nothing is overwritten; choose another --folder")
    for path, template in contents.items():
        make_folder(path.parent)
        write_file(path, names.filled(template))
    return root, tuple(contents)


def _template(file: str) -> str:
    folder = files("chathistory.conformance").joinpath("skeleton")
    return folder.joinpath(f"{file}.template").read_text(encoding="utf-8")
