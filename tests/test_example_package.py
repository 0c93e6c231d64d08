"""A package of somebody else registers a backend: it is built, installed, listed and checked by its name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any, TypeAlias

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = Path(__file__).parent / "example_package"
ROOMS = [str(ROOT / room) for room in ("reference", "conformance", "adapters")]
DEADLINE = 300

Finished: TypeAlias = subprocess.CompletedProcess[str]


def finished(command: list[Any], folder: Path, **variables: str) -> Finished:
    """A command as it ended."""
    environment = {**os.environ, "COLUMNS": "100", **variables}
    return subprocess.run(  # noqa: S603 -- our own commands
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the package, built by the tool that its author would use."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("dist")
    options = ["--no-isolation", "--wheel", "--outdir", out, "."]
    done = finished([sys.executable, "-m", "build", *options], source, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the package in it; what it depends on comes from where these tests run."""
    root = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(root, with_pip=True)
    interpreter = root / ("Scripts" if os.name == "nt" else "bin") / "python"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", wheel]
    done = finished([interpreter, "-m", "pip", "install", *options], root)
    assert done.returncode == 0, done.stderr
    places = finished([interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], root)
    here = [*ROOMS, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    Path(places.stdout.strip(), "dependencies.pth").write_text("\n".join(dict.fromkeys(here)))
    return interpreter


def chathistory(python: Path, folder: Path, *arguments: str) -> Finished:
    """The command in that environment."""
    return finished([python, "-m", "chathistory.conformance", *arguments], folder, PYTHONPATH="")


def test_an_installed_backend_is_listed(python: Path, tmp_path: Path) -> None:
    """With the first line of its docstring."""
    done = chathistory(python, tmp_path, "backends")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("jotter")]
    assert "Files of JSON lines in a temporary folder." in line


def test_an_installed_backend_is_checked_by_its_name(python: Path, tmp_path: Path) -> None:
    """From any folder; its limits are among what is held."""
    done = chathistory(python, tmp_path, "check", "jotter", "--quick", "--json", "r.json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] == "conformant"
    assert report["limits"] == {"message_bytes": 1_000_000, "session_id_bytes": 1_024}
    assert report["target"] == report["asked"]["command"].split()[2] == "jotter"


def test_it_is_not_there_where_it_is_not_installed(tmp_path: Path) -> None:
    """Nothing of it leaks into the environment of these tests."""
    done = finished(
        [sys.executable, "-m", "chathistory.conformance", "check", "jotter"],
        tmp_path,
        PYTHONPATH=os.pathsep.join(ROOMS),
    )
    assert done.returncode == 2
    assert "jotter" in done.stderr
