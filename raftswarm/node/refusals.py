"""What a node refuses, in Docker's words (SWARM 15)."""

from __future__ import annotations

from typing import Final

ALREADY_IN: Final = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
)
NOT_IN: Final = "This node is not part of a swarm"
NO_MANAGER_YET: Final = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
NOT_A_MANAGER: Final = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this "
    "command on a manager node or promote the current node to a manager."
)
LOCKED: Final = (
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.'
)
LOCKED_LEAVE: Final = "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
REJOIN_MANAGER: Final = (
    "This node is a manager, and finds the others by what its own log says. To be part of a swarm that was restored "
    "elsewhere it has to leave and join again."
)
JOIN_TIMEOUT: Final = (
    "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "
    '"docker info" command to see the current swarm status of your node.'
)
LEAVE_MANAGER: Final = "You are attempting to leave the swarm on a node that is participating as a manager. "
LEAVE_LAST: Final = (
    "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. "
)
LEAVE_QUORUM: Final = (
    "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. "
    "Use `--force` to suppress this message."
)
