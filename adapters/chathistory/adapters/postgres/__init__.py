"""PostgreSQL: a chat message history in a table, drop-in for langchain-postgres's `PostgresChatMessageHistory`."""

from chathistory.adapters.postgres._history import NoSyncConnectionError, PostgresChatMessageHistory

__all__ = ["NoSyncConnectionError", "PostgresChatMessageHistory"]
