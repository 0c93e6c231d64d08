"""Opens a server that speaks DynamoDB: moto's, ministack, or one that the user names."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from chathistory.adapters.servers import _moto
from chathistory.adapters.servers._processes import ServerProcess, temporary_folder
from chathistory.adapters.servers._server import (
    ANSWER_SECONDS,
    START_SECONDS,
    How,
    Server,
    ServerError,
    chosen,
    free_port,
    missing,
    until_answers,
    unusable,
)

URL_VARIABLE = "CHATHISTORY_DYNAMODB_URL"
MINISTACK = "1.5.33"

_WAYS: tuple[How, ...] = ("embedded", "ministack", "url")
_INSTALL_SECONDS = 600


@contextmanager
def dynamodb_server(server: str = "") -> Iterator[Server]:
    """A server that speaks DynamoDB; stopped at the end, with all it holds, unless it is the user's.

    Args:
        server: "embedded" (moto, one request at a time), "ministack" (independent and concurrent; installed on
            demand into a virtual environment of its own), a URL, or "" for the URL in
            CHATHISTORY_DYNAMODB_URL, else embedded.

    Raises:
        ServerError: if none can be opened.
    """
    how, url = chosen(server, URL_VARIABLE, _WAYS, ("http", "https"))
    if how == "url":
        yield _answering(url)
    elif how == "ministack":
        with _running(how, _ministack_command(), {"ministack": MINISTACK}) as opened:
            yield opened
    else:
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("werkzeug") is None:
            raise missing("an embedded DynamoDB (moto[server])", "dynamodb")
        with _running(how, [sys.executable, str(_moto.__file__), "{port}"], {"moto": version("moto")}) as opened:
            yield opened


@contextmanager
def _running(how: How, command: list[str], versions: dict[str, str]) -> Iterator[Server]:
    with temporary_folder("dynamodb") as folder:
        port = free_port()
        words = [word.replace("{port}", str(port)) for word in command]
        environment = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "HOME": str(folder),
        }
        process = ServerProcess(words, folder / "server.log", environment=environment, stop_signal=signal.SIGKILL)
        url = f"http://127.0.0.1:{port}"
        process.start()
        try:
            until_answers(lambda: _ask(url), seconds=START_SECONDS, passing=OSError, alive=lambda: process.is_alive)
        except (OSError, ServerError) as error:
            process.stop()
            raise ServerError(f"{how} DynamoDB did not start: {process.last_words() or error}") from None
        try:
            yield Server(how=how, url=url, host="127.0.0.1", port=port, versions=versions)
        finally:
            process.stop()


def _answering(url: str) -> Server:
    parts = urlsplit(url)
    try:
        _ask(url)
    except OSError as error:
        raise unusable("DynamoDB", url, str(error)) from None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Server(how="url", url=url, host=parts.hostname or "localhost", port=port)


def _ask(url: str) -> None:
    """Return once the server answers anything at all; an HTTP error is an answer, too."""
    try:
        urllib.request.urlopen(url, timeout=ANSWER_SECONDS).close()  # noqa: S310 -- chosen() let http(s) pass only
    except urllib.error.HTTPError as answer:
        answer.close()


def _ministack_command() -> list[str]:
    python = _ministack_environment() / ("Scripts" if os.name == "nt" else "bin") / "python"
    return [str(python), "-m", "hypercorn", "ministack.app:app", "--workers", "0", "--bind", "127.0.0.1:{port}"]


def _ministack_environment() -> Path:
    """The virtual environment of ministack, made if it is not there: it pins another botocore than ours."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chathistory"
    wanted = home / f"ministack-{MINISTACK}-py{sys.version_info.major}{sys.version_info.minor}"
    if wanted.is_dir():
        return wanted
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, ignore_cleanup_errors=True) as folder:
        made = Path(folder, "environment")
        for command in (
            [sys.executable, "-m", "venv", str(made)],
            [str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", f"ministack[full]=={MINISTACK}"],
        ):
            _run(command)
        try:
            made.rename(wanted)
        except OSError:
            if not wanted.is_dir():  # otherwise somebody else has made it meanwhile
                raise
    return wanted


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_SECONDS)  # noqa: S603 -- no shell
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ServerError(f"ministack can't be installed: {lines[-1] if lines else error}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"ministack can't be installed: {error}") from None
