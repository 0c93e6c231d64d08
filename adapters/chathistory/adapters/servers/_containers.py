"""Runs a server in a container, by testcontainers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chathistory.adapters.servers._processes import WATCHER
from chathistory.adapters.servers._server import ServerError, missing


@contextmanager
def container(image: str, port: int, environment: Mapping[str, str], command: str = "") -> Iterator[tuple[str, int]]:
    """A new container with one open port; yields the host and port at which it is reached.

    Args:
        image: the image, pulled if it isn't here.
        port: the port inside.
        environment: variables for the container.
        command: what to run in place of the image's own command, if not empty.

    Raises:
        ServerError: if there is no Docker Engine, or the container can't be started.
    """
    started = _started(image, port, environment, command)
    try:
        with WATCHER.told(container=started.get_wrapped_container().id):
            yield started.get_container_host_ip(), int(started.get_exposed_port(port))
    finally:
        with contextlib.suppress(Exception):  # it may have been removed by hand
            started.stop()


def _started(image: str, port: int, environment: Mapping[str, str], command: str) -> Any:
    try:
        from docker.errors import DockerException
        from testcontainers.core.container import DockerContainer
    except ImportError as error:
        raise missing(f"testcontainers ({error})", "docker") from None
    try:
        # The constructor is what looks for the engine.
        wanted = DockerContainer(image).with_exposed_ports(port)
        for name, value in environment.items():
            wanted = wanted.with_env(name, value)
        if command:
            wanted = wanted.with_command(command)
        return wanted.start()
    except DockerException as error:
        cause = " ".join(str(error).split())
        if "Error while fetching server API version" in cause:
            raise ServerError(
                "no Docker Engine answers: start Docker (or set DOCKER_HOST), or use --server embedded"
            ) from None
        raise ServerError(f"the container of {image} can't be started: {cause}") from None
