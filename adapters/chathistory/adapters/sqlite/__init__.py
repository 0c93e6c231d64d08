"""SQLite: a chat message history in a file, drop-in for langchain-community's `SQLChatMessageHistory`."""

from chathistory.adapters.sqlite._history import SQLiteChatMessageHistory

__all__ = ["SQLiteChatMessageHistory"]
