"""Bytes to messages and back; nothing here does I/O, and what a peer sends wrongly is a `WireError`."""

from raftswarm.wire.errors import WireError

__all__ = ["WireError"]
