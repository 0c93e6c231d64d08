"""Real servers for a run: embedded ones from PyPI, containers, or a server that the user names.

Each function is a context manager that yields a `Server` and stops what it has started. Nothing here is imported
by a history class; backends and tests use it.
"""

from chathistory.adapters.servers._dynamodb import dynamodb_server
from chathistory.adapters.servers._postgres import postgres_server
from chathistory.adapters.servers._redis import redis_cluster, redis_server
from chathistory.adapters.servers._server import Server, ServerError

__all__ = ["Server", "ServerError", "dynamodb_server", "postgres_server", "redis_cluster", "redis_server"]
