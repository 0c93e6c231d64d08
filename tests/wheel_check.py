"""Checks a built wheel: run as `python tests/wheel_check.py dist/chathistory-….whl`; exits with 1 and a reason."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

SHIPPED = (
    "chathistory/reference/clauses.json",
    "chathistory/reference/py.typed",
    "chathistory/conformance/report.schema.json",
    *(
        f"chathistory/conformance/templates/{name}"
        for name in ("matrix.html.j2", "page.css", "page.html.j2", "page.js", "parts.html.j2", "report.html.j2")
    ),
    "chathistory/conformance/skeleton/github.yml.template",
    "chathistory/conformance/skeleton/history.py.template",
    "chathistory/conformance/py.typed",
    "chathistory/adapters/py.typed",
)
ALONE = """
import sys
import chathistory.reference, chathistory.adapters.sqlite
assert chathistory.reference.clause("ORD-1").sentence
history = chathistory.reference.InMemoryChatMessageHistory()
history.add_user_message("hello")
assert history.messages[0].content == "hello"
extra = {"hypothesis", "pytest", "click", "rich", "jinja2", "aiosqlite"} & set(sys.modules)
assert not extra, f"imported without being asked for: {extra}"
"""


def main(wheel: Path) -> None:
    """Look into the wheel, then install it alone and use it."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in SHIPPED if name not in names]
    foreign = [name for name in names if not name.startswith("chathistory") or "/test" in name]
    if missing or foreign:
        sys.exit(f"{wheel.name}: missing {missing}, not to be shipped {foreign}")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)  # noqa: S603 -- our own command
        subprocess.run([python, "-W", "error", "-c", ALONE], check=True, cwd=folder)  # noqa: S603 -- our own command
        alone = subprocess.run(  # noqa: S603 -- our own command
            [Path(folder) / "bin" / "chathistory", "check", "reference"], capture_output=True, text=True, check=False
        )
        if alone.returncode != 2 or "chathistory[suite]" not in alone.stderr:
            sys.exit(f"without the extra, the command must name it and exit with 2: {alone}")
    sys.stdout.write(f"{wheel.name}: {len(names)} files, installs alone, imports, ships no tests\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
