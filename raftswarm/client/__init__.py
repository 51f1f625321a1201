"""A typed client of the Engine API, for the command line, the demo, local swarms and benchmarks."""

from raftswarm.api.errors import ApiError
from raftswarm.client.engine_client import EngineClient, Ping

__all__ = ["ApiError", "EngineClient", "Ping"]
