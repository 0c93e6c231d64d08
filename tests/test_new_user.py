"""The adapter that the documentation shows for a made-up store is short, and keeps every clause it is held to."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chathistory.conformance._cli import run

GATE = Path(__file__).parents[1] / "docs" / "gate.md"
EXAMPLE = re.compile(r"<!-- example: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
LONGEST_LINE = 2_000_000


class Shelf(socketserver.ThreadingTCPServer):
    """A daemon that keeps lists of texts by key."""

    daemon_threads = allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.lists: dict[str, list[str]] = {}
        self.lock = threading.Lock()

    def answer(self, op: str, key: str, values: list[str]) -> dict[str, Any]:
        """What it answers to a request."""
        with self.lock:
            if op == "push":
                self.lists.setdefault(key, []).extend(values)
            elif op == "list":
                return {"values": self.lists.get(key, [])}
            elif op == "drop":
                self.lists.pop(key, None)
            else:
                return {"error": "unknown op"}
        return {"ok": True}


class Requests(socketserver.StreamRequestHandler):
    """The requests of one connection, a line of JSON each."""

    def handle(self) -> None:
        """Answer one after another."""
        for line in self.rfile:
            assert isinstance(self.server, Shelf)
            request = json.loads(line)
            too_large = {"error": "too large"}
            reply = too_large if len(line) > LONGEST_LINE else self.server.answer(**{"values": [], **request})
            self.wfile.write(f"{json.dumps(reply)}\n".encode())


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a running daemon."""
    with Shelf() as shelf:
        thread = threading.Thread(target=shelf.serve_forever, daemon=True)
        thread.start()
        yield shelf.server_address[1]
        shelf.shutdown()
        thread.join()


def test_the_adapter_of_the_documentation_is_conformant(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is printed there, but for the port."""
    monkeypatch.chdir(tmp_path)
    ((name, source),) = EXAMPLE.findall(GATE.read_text(encoding="utf-8"))
    assert len([line for line in source.splitlines() if line.strip()]) == 26
    Path(name).write_text(source.replace("7411", str(port)))
    assert run(["check", f"{name}:get_session_history", "--quick", "--quiet", "--html", "page.html"]) == 0
