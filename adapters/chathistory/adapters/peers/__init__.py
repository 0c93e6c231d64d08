"""Peers: the chat message histories that people use today, as they are, ready to be checked."""
