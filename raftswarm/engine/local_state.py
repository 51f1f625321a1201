"""What a node may be asked, by what it is: the refusals that need no manager (SWARM 15)."""

from __future__ import annotations

from raftswarm.api.errors import ApiError
from raftswarm.engine import refusals
from raftswarm.engine.node_protocol import LocalInfo, LocalState


def require_manager(info: LocalInfo) -> None:
    """Refuse what only a manager can answer."""
    if info.state is LocalState.LOCKED:
        raise ApiError(refusals.LOCKED, status=503)
    if info.state in (LocalState.INACTIVE, LocalState.ERROR):
        raise ApiError(refusals.INACTIVE, status=503)
    if not info.is_manager:
        raise ApiError(refusals.WORKER, status=503)
    if info.state is LocalState.PENDING:
        raise ApiError(refusals.PREPARING, status=503)


def require_outside(info: LocalInfo, *, force_new_cluster: bool = False) -> None:
    """Refuse to enter a swarm from within one."""
    if force_new_cluster:
        if info.state is LocalState.LOCKED:
            raise ApiError(refusals.LOCKED, status=503)
    elif info.state is not LocalState.INACTIVE:
        raise ApiError(refusals.ALREADY_IN_SWARM, status=503)


def require_locked(info: LocalInfo) -> None:
    """Refuse to unlock what is not locked."""
    if info.state is not LocalState.LOCKED:
        require_manager(info)
        raise ApiError(refusals.NOT_LOCKED, status=409)


def refuse_leaving(info: LocalInfo, reachable: int, unreachable: int) -> ApiError:
    """Say what leaving would do to the swarm, and how to do it nevertheless."""
    if info.state is LocalState.LOCKED:
        message = "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
        return ApiError(message, status=503)
    message = "You are attempting to leave the swarm on a node that is participating as a manager. "
    if reachable == 1 and not unreachable:
        message += "Removing the last manager erases all current state of the swarm."
        message += " Use `--force` to ignore this message. "
        return ApiError(message, status=503)
    if reachable and reachable - 2 <= unreachable:
        message += f"Removing this node leaves {reachable - 1} managers out of {reachable + unreachable}."
        message += " Without a Raft quorum your swarm will be inaccessible. "
    message += "The only way to restore a swarm that has lost consensus is to reinitialize it with"
    message += " `--force-new-cluster`. Use `--force` to suppress this message."
    return ApiError(message, status=503)
