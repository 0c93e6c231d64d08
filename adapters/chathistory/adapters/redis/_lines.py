"""How connections to a server are made: from a URL, or with the settings of a client of the caller's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.backoff
import redis.connection
import redis.retry
import redis.sentinel

from chathistory.adapters.redis._routing import Address

_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT = 26379
_UNLIMITED = 2**31
_SECRET_SETTINGS = ("password", "ssl_password")

_parse_url: Callable[[str], dict[str, Any]] = redis.connection.parse_url


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Settings that mean the same to both kinds of connections.
_SHARED = _names(
    """host port path db username password socket_timeout socket_connect_timeout socket_keepalive
    socket_keepalive_options client_name protocol credential_provider health_check_interval ssl_keyfile ssl_certfile
    ssl_cert_reqs ssl_ca_certs ssl_ca_path ssl_ca_data ssl_check_hostname ssl_min_version ssl_ciphers ssl_password"""
)
# What connects a connection with its own pool.
_OF_THE_POOL = _names(
    "maint_notifications_pool_handler oss_cluster_maint_notifications_handler event_dispatcher himport_registry"
)
# Settings without a meaning here: replies are never decoded by the client, and the history decides what is retried.
_LEFT_OUT = _OF_THE_POOL | _names(
    """decode_responses encoding encoding_errors encoder_class parser_class socket_read_size socket_type retry
    retry_on_timeout retry_on_error lib_name lib_version driver_info legacy_responses maint_notifications_config
    maintenance_state maintenance_notification_hash orig_host_address orig_socket_timeout orig_socket_connect_timeout
    command_packer"""
)


@dataclass(frozen=True, slots=True)
class Line:
    """What is needed to open connections of one kind, sync or asyncio, to a server and to others like it.

    Attributes:
        connection_class: of redis-py.
        settings: its arguments.
        limit: the most connections to open at once.
        keeps: what has to live as long as connections are made.
        beside: clients that are used to make them, to be closed with them.
    """

    connection_class: Any
    settings: Mapping[str, Any]
    limit: int = _UNLIMITED
    keeps: Any = None
    beside: tuple[Any, ...] = ()

    def connection(self, address: Address | None = None) -> Any:
        """A connection that is not open yet, to the server of the settings or to a member of its cluster."""
        if address is None:
            return self.connection_class(**self.settings)
        host, port = address
        named = {"host": host, "port": port} if host else {"port": port}
        return self.connection_class(**{**self.settings, **named})

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in errors."""
        return tuple(str(self.settings[name]) for name in _SECRET_SETTINGS if self.settings.get(name))

    @property
    def place(self) -> str:
        """Where it leads, for errors."""
        if path := self.settings.get("path"):
            return str(path)
        if service := getattr(self.settings.get("connection_pool"), "service_name", None):
            return f"the service {service}"
        return f"{self.settings.get('host', 'localhost')}:{self.settings.get('port', 6379)}"


@dataclass(frozen=True, slots=True)
class Lines:
    """Both kinds for one server.

    Attributes:
        threads: for sync calls; a text says why there are none.
        loops: makes one for the async calls of an event loop; None makes the sync calls, in threads.
        place: where they lead, for errors.
        secrets: what must not appear in errors.
    """

    threads: Line | str
    loops: Callable[[], Line] | None
    place: str
    secrets: tuple[str, ...]


def lines_to(url: str) -> Lines:
    """The lines to the server at a URL; nothing is opened.

    Args:
        url: `redis://`, `rediss://` (TLS), `unix://`, or as langchain-community has it
            `redis+sentinel://[user:password@]host[:26379][/service[/db]]`, `rediss+sentinel://` with TLS.

    Raises:
        ValueError: if it can't be understood; it never repeats the URL, which may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(f"url: expected {', '.join(f'{known}://…' for known in _SCHEMES)}, got another kind of URL")
    try:
        threads, loops = _sentinel_lines(scheme, rest) if scheme.endswith("+sentinel") else _plain_lines(url)
        threads.connection()
        loops().connection()
        return Lines(threads, loops, threads.place, threads.secrets)
    except (TypeError, ValueError, redis.RedisError) as error:
        words = _first_words(error)
    raise ValueError(f"url: {words}")  # not where redis-py's error is, which must not become its context


def _first_words(error: Exception) -> str:
    """What is wrong with a URL, without the URL."""
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return f"unknown option {str(error).rpartition(' ')[2]}"
    if "port" in str(error).lower():
        return "the port is no number from 0 to 65535"
    return "it can't be understood; expected for example redis://user:password@host:6379/0"


def _plain_lines(url: str) -> tuple[Line, Callable[[], Line]]:
    limit = _parse_url(url).get("max_connections", _UNLIMITED)
    threads = redis.ConnectionPool.from_url(url, **_defaults())
    loops = redis.asyncio.ConnectionPool.from_url(url, **_defaults())
    line = Line(loops.connection_class, loops.connection_kwargs, limit, loops)
    return Line(threads.connection_class, threads.connection_kwargs, limit, threads), lambda: line


def _defaults() -> dict[str, Any]:
    """Settings that a URL may override: nothing to be said on a new connection but user, password and database."""
    accepted = inspect.signature(redis.connection.AbstractConnection.__init__).parameters
    quiet = {"driver_info": None} if "driver_info" in accepted else {"lib_name": None, "lib_version": None}
    return {"protocol": 2, **quiet}


def _sentinel_lines(scheme: str, rest: str) -> tuple[Line, Callable[[], Line]]:
    """The lines to the primary that a sentinel names, for the URLs of langchain-community."""
    settings = _parse_url(f"{scheme.removesuffix('+sentinel')}://{rest}")
    limit, secure = settings.pop("max_connections", _UNLIMITED), settings.pop("connection_class", None) is not None
    path = rest.partition("?")[0].partition("/")[2].split("/")
    service, database = path[0] or "mymaster", path[1] if len(path) > 1 else ""
    settings["db"] = int(database or settings.get("db", 0))
    sentinel = (settings.pop("host", "localhost"), settings.pop("port", _SENTINEL_PORT))
    settings = {**_defaults(), **settings, **({"ssl": True} if secure else {})}
    threads = _line_to_master(redis.sentinel.Sentinel, redis.Redis, sentinel, service, settings, limit)

    def loops() -> Line:
        kind = redis.asyncio.sentinel.Sentinel
        return _line_to_master(kind, redis.asyncio.Redis, sentinel, service, settings, limit)

    return threads, loops


def _line_to_master(
    sentinels: Any, client: Any, address: Address, service: str, settings: Mapping[str, Any], limit: int
) -> Line:
    """The line to a service's primary; the sentinel is asked with the password first, and without it next."""
    once = redis.asyncio.retry.Retry if client is redis.asyncio.Redis else redis.retry.Retry
    to_sentinel = {name: value for name, value in settings.items() if name != "db"}
    to_sentinel["retry"] = once(redis.backoff.NoBackoff(), 0)
    known = sentinels([address], sentinel_kwargs=to_sentinel, **settings)
    if to_sentinel.get("password"):
        host, port = address
        open_to_all = {name: value for name, value in to_sentinel.items() if name not in ("username", "password")}
        # Twice, because redis-py moves the one that answered to the front while other calls go through the list.
        known.sentinels += [client(host=host, port=port, **open_to_all)] * 2
    pool = known.master_for(service).connection_pool
    return Line(pool.connection_class, pool.connection_kwargs, limit, pool, tuple(known.sentinels))


def line_of_pool(pool: Any) -> Line:
    """A line with the settings of a pool of redis-py; its connections are others than the pool's."""
    settings = {name: value for name, value in pool.connection_kwargs.items() if name not in _OF_THE_POOL}
    return Line(pool.connection_class, settings, getattr(pool, "max_connections", _UNLIMITED))


def sync_line_of(line: Line) -> Line | str:
    """A line for sync calls to where one for async calls leads, or what prevents it."""
    classes = {
        redis.asyncio.Connection: redis.Connection,
        redis.asyncio.SSLConnection: redis.SSLConnection,
        redis.asyncio.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
    }
    known = classes.get(line.connection_class)
    if known is None:
        return f"connections of the class {line.connection_class.__name__} have no sync form that is known here"
    settings = {name: value for name, value in line.settings.items() if value is not None and name not in _LEFT_OUT}
    if unknown := sorted(settings.keys() - _SHARED):
        return f"the setting {unknown[0]} of its connections has no sync form that is known here"
    return Line(known, settings, line.limit)
