"""DynamoDB: a chat message history in a table, drop-in for langchain-community's `DynamoDBChatMessageHistory`."""

from chathistory.adapters.dynamodb._history import DynamoDBChatMessageHistory
from chathistory.adapters.dynamodb._tables import create_table, remove_orphans

__all__ = ["DynamoDBChatMessageHistory", "create_table", "remove_orphans"]
