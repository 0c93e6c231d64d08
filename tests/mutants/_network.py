"""The correct history over a network; it ships with the suite, and is explained there."""

from chathistory.conformance.selfproof._network import NetworkHistory, ToyServer, network_backend

__all__ = ["NetworkHistory", "ToyServer", "network_backend"]
