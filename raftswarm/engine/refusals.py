"""Errors on their way out: which status, and in whose words (SWARM 15).

Refusals of the swarm carry gRPC's prefix, as they did when gRPC carried them; what this engine itself says does not.
"""

from __future__ import annotations

from typing import Final

import msgspec

from raftswarm.api.errors import ApiError
from raftswarm.errors import (
    InvalidKey,
    InvalidSpec,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    PayloadTooLarge,
    RaftSwarmError,
    RequestRefused,
    StateLocked,
)

STATUS_OF_CODE: Final = {
    "InvalidArgument": 400,
    "OutOfRange": 400,
    "FailedPrecondition": 400,
    "Unauthenticated": 401,
    "PermissionDenied": 403,
    "NotFound": 404,
    "AlreadyExists": 409,
    "Unimplemented": 501,
    "Unavailable": 503,
}
"""Every other code is a 500: also Unknown, which a stale version gets."""

INACTIVE: Final = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and'
    " try again."
)
WORKER: Final = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this"
    " command on a manager node or promote the current node to a manager."
)
PREPARING: Final = (
    "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster."
)
LOCKED: Final = (
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.'
)
NOT_IN_SWARM: Final = "This node is not part of a swarm"
ALREADY_IN_SWARM: Final = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
)
NOT_LOCKED: Final = "swarm is not locked"
NO_LEADER: Final = (
    "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the"
    " managers are online."
)


def explain(error: RaftSwarmError) -> ApiError:
    """Turn what was raised into what is answered."""
    match error:
        case ApiError():
            explained = error
        case RequestRefused():
            local = getattr(error, "from_engine", False)
            message = error.message if local else with_code(error.code, error.message)
            explained = ApiError(message, status=STATUS_OF_CODE.get(error.code, 500))
        case InvalidKey():
            explained = ApiError("swarm could not be unlocked: invalid key provided", status=401)
        case StateLocked():
            explained = ApiError(LOCKED, status=503)
        case InvalidSpec() | PayloadTooLarge():
            explained = ApiError(str(error), status=400)
        case NotLeader():
            explained = ApiError(with_code("Unknown", NO_LEADER), status=500)
        case Overloaded():
            explained = ApiError(str(error), status=503)
        case OutcomeUnknown():
            text = "raft: failed to process the request: node lost leader status"
            explained = ApiError(with_code("Unknown", text), status=500)
        case _:
            explained = ApiError(str(error), status=500)
    return explained


def explain_invalid(error: msgspec.ValidationError) -> ApiError:
    """Turn a body of the wrong shape into a refusal that names the field."""
    return ApiError(f"invalid request body: {error}")


def with_code(code: str, message: str) -> str:
    """Write a refusal as gRPC's clients do."""
    return f"rpc error: code = {code} desc = {message}"
