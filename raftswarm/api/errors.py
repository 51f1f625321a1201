"""The one error of the Engine API: a status and a sentence. The server answers with it, the client raises it."""

from __future__ import annotations

import attrs

from raftswarm.errors import RaftSwarmError


@attrs.frozen(slots=False)
class ApiError(RaftSwarmError):
    """A call that was refused, in Docker's words."""

    status: int = 400
    """HTTP's."""
