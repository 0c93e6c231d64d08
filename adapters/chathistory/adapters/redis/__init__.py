"""Redis: a chat message history in a list per session, drop-in for langchain-community's class of the same name."""

from chathistory.adapters.redis._history import RedisChatMessageHistory

__all__ = ["RedisChatMessageHistory"]
