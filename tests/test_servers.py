"""Servers are opened in one of several ways, outlive nobody, and say in one line why they can't be opened."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from chathistory.adapters.servers import (
    Server,
    ServerError,
    dynamodb_server,
    postgres_server,
    redis_cluster,
    redis_server,
)

Opener = Callable[[str], AbstractContextManager[Server]]

OPENERS: dict[str, Opener] = {"postgres": postgres_server, "redis": redis_server, "dynamodb": dynamodb_server}
REDIS = pytest.param("redis", marks=pytest.mark.redis)
SECRET = "hunter2-of-the-server"  # noqa: S105 -- what no error may contain


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> list[int]:
    """The process ids of its children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def folders_of_servers(there: Path) -> list[Path]:
    """The folders that servers have made in one for temporary files."""
    return [path for store in OPENERS for path in there.glob(f"chathistory-{store}-*")]


@pytest.mark.parametrize("name", ["postgres", REDIS, "dynamodb"])
def test_an_embedded_server_answers_and_is_gone_afterwards(name: str) -> None:
    """It needs nothing but packages, listens on this machine only, and leaves nothing behind."""
    with OPENERS[name]("embedded") as server:
        assert server.how == "embedded"
        assert server.host == "127.0.0.1"
        assert server.versions
        assert not any(secret in repr(server) for secret in server.secrets)
        with OPENERS[name](server.url) as again:
            assert again.how == "url"
            assert again.port == server.port
    with pytest.raises(ServerError), OPENERS[name](server.url):
        pass


@pytest.mark.redis
def test_a_redis_that_is_killed_comes_back_with_what_it_had() -> None:
    """On the same port, with the same data."""
    redis = pytest.importorskip("redis")
    with redis_server("embedded") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
        assert server.crash is not None
        server.crash()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == b"value"


def test_a_postgres_that_is_killed_comes_back_with_what_it_had() -> None:
    """On the same port, with what was committed."""
    psycopg = pytest.importorskip("psycopg")
    with postgres_server("embedded") as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (value text)")
        assert server.crash is not None
        server.crash()
        with psycopg.connect(server.url, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.redis
def test_a_cluster_has_all_slots() -> None:
    """Three masters that know one another."""
    redis = pytest.importorskip("redis")
    with redis_cluster() as servers, redis.RedisCluster.from_url(servers[0].url) as client:
        for number in range(20):
            client.set(f"key-{number}", number)
        assert len({client.get_node_from_key(f"key-{number}").port for number in range(20)}) == 3


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up under /proc")
@pytest.mark.redis
def test_no_server_outlives_a_killed_process() -> None:
    """Neither the servers nor their folders are left after a SIGKILL."""
    code = """if True:
        import time
        from chathistory.adapters.servers import *
        with postgres_server("embedded"), redis_server("embedded"), dynamodb_server("embedded"):
            print("up", flush=True)
            time.sleep(600)
    """
    with tempfile.TemporaryDirectory() as name:  # of its own: tests beside this one open servers, too
        there = Path(name)
        there.chmod(0o711)  # a server that runs as another user has its files inside
        process = subprocess.Popen(  # noqa: S603 -- ours
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": name}
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "up\n"
            children = children_of(process.pid)
            assert len(children) >= 4  # the servers, and who watches over them
            assert len(folders_of_servers(there)) >= 2
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert within(30, lambda: not any(is_running(child) for child in children))
        assert within(30, lambda: not folders_of_servers(there))


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("postgres", f"postgresql://user:{SECRET}@127.0.0.1:1/there"),
        ("redis", f"redis://user:{SECRET}@127.0.0.1:1/0"),
        ("dynamodb", f"http://user:{SECRET}@127.0.0.1:1"),
    ],
)
def test_a_missing_server_is_one_line_without_its_password(name: str, url: str) -> None:
    """It names the place and what to look at."""
    with pytest.raises(ServerError) as raised, OPENERS[name](url):
        pass
    assert "127.0.0.1:1" in str(raised.value)
    assert "is it running" in str(raised.value)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["postgres", REDIS])
def test_a_wrong_password_is_told_and_not_shown(name: str) -> None:
    """Nor one that is missing; what the server says about it is passed on, and the server is no suspect."""
    with OPENERS[name]("embedded") as server:
        account = server.url.partition("//")[2].partition("@")[0]
        for url in (server.url.replace(server.secrets[0], SECRET), server.url.replace(f"{account}@", "")):
            with pytest.raises(ServerError, match=r"[^.]; check user and password$") as raised, OPENERS[name](url):
                pass
            assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "server", "said"),
    [
        ("postgres", "embeded", "choose embedded, docker or a URL"),
        ("postgres", "redis://127.0.0.1", "'postgresql'"),
        ("redis", "url", "CHATHISTORY_REDIS_URL"),
        ("dynamodb", "docker", "choose embedded, ministack or a URL"),
    ],
)
def test_a_wrong_choice_is_one_line(name: str, server: str, said: str) -> None:
    """It lists the ways there are."""
    with pytest.raises(ServerError, match=said), OPENERS[name](server):
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of the Docker client
def test_without_an_engine_docker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to start, or what to use instead."""
    pytest.importorskip("testcontainers")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(ServerError, match="no Docker Engine answers"), redis_server("docker"):
        pass
    gc.collect()  # or the client's socket would be found in a later test


@pytest.mark.redis
def test_the_variable_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice by option goes before it."""
    with redis_server("embedded") as server:
        monkeypatch.setenv("CHATHISTORY_REDIS_URL", server.url)
        with redis_server() as named:
            assert (named.how, named.port) == ("url", server.port)
        with redis_server("embedded") as another:
            assert another.port != server.port


@pytest.mark.skipif(not os.environ.get("DOCKER_HOST"), reason="no Docker engine was named by DOCKER_HOST")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of the Docker client
@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_container_serves_as_well(name: str) -> None:
    """By testcontainers; removed afterwards."""
    with OPENERS[name]("docker") as server:
        assert server.how == "docker"
        with OPENERS[name](server.url) as again:
            assert again.port == server.port


def chathistory(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run(  # noqa: S603 -- ours
        [sys.executable, "-m", "chathistory.conformance", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_says_in_one_line_that_there_is_no_server() -> None:
    """Exit code 2, and no password."""
    done = chathistory(
        "check", "chathistory.adapters.redis.backend:redis", "--server", f"redis://:{SECRET}@127.0.0.1:1"
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is it running" in done.stderr
    assert SECRET not in done.stderr + done.stdout


def test_the_command_says_which_backends_have_no_choice() -> None:
    """A server for a store that is a file is a mistake."""
    done = chathistory("check", "chathistory.conformance.backends:reference", "--server", "embedded")
    assert done.returncode == 2
    assert "no choice of servers" in done.stderr


@pytest.mark.redis
def test_soak_ends_with_a_verdict(tmp_path: Path) -> None:
    """Every call is kept, and what came of it."""
    import gzip
    import json

    def soaked(target: str) -> tuple[int, dict[str, Any]]:
        done = chathistory("soak", target, "--minutes", "0.05", "--out", str(tmp_path))
        return done.returncode, json.loads((tmp_path / "soak.json").read_text())

    code, told = soaked("chathistory.adapters.redis.backend:redis")
    assert (code, told["verdict"], told["complete"]) == (0, "conformant", True)
    with gzip.open(tmp_path / "events.jsonl.gz", "rt") as events:
        assert len(list(events)) == told["operations"] > 100


def test_soak_in_a_pipe_goes_on_when_the_reader_leaves(tmp_path: Path) -> None:
    """Its first line is whole, however long; and it ends with the code of its verdict."""
    folder = tmp_path / ("long-" * 20)
    command = [sys.executable, "-m", "chathistory.conformance", "soak", "sqlite", "--minutes", "0.05", "--out"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, str(folder)], stdout=pipe, stderr=pipe, text=True) as soaking:  # noqa: S603 -- ours
        assert soaking.stdout is not None
        assert soaking.stderr is not None
        assert soaking.stdout.readline().endswith(f"events in {folder}\n")
        soaking.stdout.close()
        assert (soaking.stderr.read(), soaking.wait(60)) == ("", 0)
    assert (folder / "soak.json").exists()


def test_soak_says_why_it_is_undecided(tmp_path: Path) -> None:
    """Where the time was over before a round was begun."""
    done = chathistory("soak", "sqlite", "--minutes", "0.00001", "--out", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.endswith("no round was begun: give it more --minutes\n")
