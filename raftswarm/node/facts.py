"""What a node knows of itself and its swarm, in one file without secrets: ``<state>/node.json``.

It is written last when a node enters a swarm and removed first when it leaves. Meanwhile a mark, ``<state>/void``, says
that whatever else lies in the state directory is the rest of an interrupted step, to be cleared away. With neither of
the two, somebody has lost the file: nothing is cleared then.
"""

from __future__ import annotations

from typing import Final

import msgspec

from raftswarm.errors import ForeignState
from raftswarm.storage.files import disk_errors, read_file, replace_file
from raftswarm.world.disk import Disk

FACTS_FILE: Final = "node.json"
VOID_MARK: Final = "void"
FORMAT_VERSION: Final = 1


class ManagerAddress(msgspec.Struct, frozen=True):
    """A manager, as last heard of."""

    node_id: str
    address: str


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Membership of this node."""

    version: int = FORMAT_VERSION
    cluster_id: str
    node_id: str
    role: str
    """As in the certificate: ``swarm-manager`` or ``swarm-worker``."""
    listen_address: str
    advertise_address: str
    member_id: int = 0
    managers: tuple[ManagerAddress, ...] = ()
    epoch: int = 0
    """The latest that a manager named: those of an earlier one are not followed."""

    @property
    def is_manager(self) -> bool:
        """Tell whether this node runs a Raft member."""
        return self.role == "swarm-manager"


class _Versioned(msgspec.Struct):
    """What every format says of itself."""

    version: int


def read_facts(disk: Disk, directory: str) -> NodeFacts | None:
    """Return what is known; None when this node is in no swarm."""
    path = f"{directory}/{FACTS_FILE}"
    with disk_errors(f"could not read {path}"):
        try:
            data = read_file(disk, path)
        except FileNotFoundError:
            return None
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
        if version != FORMAT_VERSION:
            raise ForeignState(f"{path} has format {version}; this version of raftswarm reads {FORMAT_VERSION}")
        return msgspec.json.decode(data, type=NodeFacts)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ForeignState(
            f"{path} cannot be read ({error}); restore it, or remove the state directory and join again"
        ) from error


def write_facts(disk: Disk, directory: str, facts: NodeFacts) -> None:
    """Replace the file atomically; durable on return. From then on what lies beside it counts."""
    with disk_errors(f"could not write {directory}/{FACTS_FILE}"):
        replace_file(disk, directory, FACTS_FILE, msgspec.json.format(msgspec.json.encode(facts), indent=2))
        if is_void(disk, directory):
            disk.remove(f"{directory}/{VOID_MARK}")
            disk.sync_directory(directory)


def is_void(disk: Disk, directory: str) -> bool:
    """Tell whether the rest of the directory is rubbish."""
    return disk.exists(f"{directory}/{VOID_MARK}")


def remove_facts(disk: Disk, directory: str) -> None:
    """Forget the swarm: the first step of leaving it, and of entering one. What lies beside it is void from now on."""
    if not is_void(disk, directory):
        replace_file(disk, directory, VOID_MARK, b"")
    path = f"{directory}/{FACTS_FILE}"
    if disk.exists(path):
        disk.remove(path)
        disk.sync_directory(directory)
