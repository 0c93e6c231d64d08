"""What a client or pool of the caller's means: which server, by which connections, and what it can't do."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

import redis
import redis.asyncio

from chathistory.adapters.redis._lines import Line, Lines, line_of_pool, sync_line_of
from chathistory.adapters.redis._pools import GivenPool
from chathistory.adapters.redis._routing import Address
from chathistory.adapters.redis._store import Store

EXPECTED = (
    "a redis.Redis, redis.RedisCluster or redis.ConnectionPool, or one of these from redis.asyncio (pipelines and "
    "other kinds of clients are not taken)"
)


def is_sync(client: object) -> bool:
    """Whether it is a client or pool for sync calls."""
    return isinstance(client, redis.Redis | redis.RedisCluster | redis.ConnectionPool) and not _is_pipeline(client)


def is_async(client: object) -> bool:
    """Whether it is one for async calls."""
    kinds = redis.asyncio.Redis | redis.asyncio.RedisCluster | redis.asyncio.ConnectionPool
    return isinstance(client, kinds) and not _is_pipeline(client)


def _is_pipeline(client: object) -> bool:
    return "Pipeline" in type(client).__name__


def store_of(client: Any, async_client: Any) -> Store:
    """The store behind a client, the same for all handles that are given it.

    Args:
        client: sync or asyncio.
        async_client: asyncio, for the async calls, or None.
    """
    pools = tuple(None if given is None else _pool_of(given) for given in (client, async_client))
    with _LOCK:
        stores = _STORES.setdefault(pools[0], {})
        key = None if pools[1] is None else id(pools[1])
        store = stores.get(key)
        if store is None:
            store = stores[key] = _new_store(client, async_client)
            if pools[1] is not None:
                weakref.finalize(pools[1], stores.pop, key, None)
        return store


def _pool_of(client: Any) -> Any:
    """What clients that are made for each request have in common."""
    return getattr(client, "connection_pool", client)


def _new_store(client: Any, async_client: Any) -> Store:
    line, members = _line_of(client)
    if is_async(client):
        return Store(Lines(sync_line_of(line), lambda: line, line.place, line.secrets), members=members)
    loops = None if async_client is None else _line_of(async_client)[0]
    pool = None if members else _weak(_pool_of(client))
    make = None if loops is None else lambda: loops
    return Store(Lines(line, make, line.place, line.secrets), pool, members)


def _weak(pool: Any) -> GivenPool:
    """A pool that lives as long as its owner keeps it: stores are kept for as long as their pools live."""
    return GivenPool(weakref.proxy(pool))


def _line_of(client: Any) -> tuple[Line, tuple[Address, ...]]:
    """How to connect to where a client leads, and the members it knows if that is a cluster."""
    nodes: Any
    if isinstance(client, redis.RedisCluster):
        cluster: Any = client
        nodes = cluster.get_nodes()
        return _without_hook(line_of_pool(cluster.get_redis_connection(nodes[0]).connection_pool)), _addresses(nodes)
    if isinstance(client, redis.asyncio.RedisCluster):
        nodes = client.get_nodes() or list(client.nodes_manager.startup_nodes.values())
        return _without_hook(Line(nodes[0].connection_class, nodes[0].connection_kwargs)), _addresses(nodes)
    return line_of_pool(_pool_of(client)), ()


def _without_hook(line: Line) -> Line:
    """Without what a cluster's client does to new connections: it may turn them to replicas, which lag (CON-4)."""
    return Line(line.connection_class, {**line.settings, "redis_connect_func": None}, line.limit)


def _addresses(nodes: Any) -> tuple[Address, ...]:
    return tuple((node.host, int(node.port)) for node in nodes)


_LOCK = threading.Lock()
_STORES: weakref.WeakKeyDictionary[Any, dict[int | None, Store]] = weakref.WeakKeyDictionary()


def _after_fork() -> None:
    """A lock that another thread of the parent holds would never be released here."""
    global _LOCK
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
