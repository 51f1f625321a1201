"""Where a node keeps what; clearing it is how a node forgets a swarm."""

from __future__ import annotations

from typing import Final

from raftswarm.agent.record import SUFFIX
from raftswarm.errors import ForeignState
from raftswarm.node.facts import FACTS_FILE, is_void, remove_facts
from raftswarm.storage.files import disk_errors, make_directory, read_file, replace_file
from raftswarm.storage.keys import KeyRing
from raftswarm.world.disk import Disk

PEER_CREDENTIAL: Final = "peer-credential"


class StateDirectory:
    """Names of the parts of a state directory (docs/formats.md)."""

    def __init__(self, root: str, disk: Disk) -> None:
        self.root = root
        self._disk = disk

    @property
    def certificates(self) -> str:
        """Keys, sealed; certificate and root."""
        return f"{self.root}/certificates"

    @property
    def raft(self) -> str:
        """The member's log and snapshots."""
        return f"{self.root}/raft"

    @property
    def tasks(self) -> str:
        """The agent's own record."""
        return f"{self.root}/tasks"

    def write_public(self, name: str, text: str) -> None:
        """Replace a file of the certificates directory that holds nothing secret; durable on return."""
        with disk_errors(f"could not write {self.certificates}/{name}"):
            make_directory(self._disk, self.certificates)
            replace_file(self._disk, self.certificates, name, text.encode(), mode=0o644)

    def read_public(self, name: str) -> str:
        """Read such a file."""
        with disk_errors(f"could not read {self.certificates}/{name}"):
            return read_file(self._disk, f"{self.certificates}/{name}").decode(errors="replace")

    # The credential to ask peers for the unlock key with: it lies open, and is good for nothing else.

    @property
    def peer_credential(self) -> str:
        """Its file."""
        return f"{self.certificates}/{PEER_CREDENTIAL}"

    @property
    def has_peer_credential(self) -> bool:
        """Tell whether there is one."""
        return self._disk.exists(self.peer_credential)

    def read_peer_credential(self) -> bytes | None:
        """Return what the file holds; None if there is none."""
        with disk_errors(f"could not read {self.peer_credential}"):
            try:
                return read_file(self._disk, self.peer_credential)
            except FileNotFoundError:
                return None

    def write_peer_credential(self, image: bytes) -> None:
        """Replace the file, durably."""
        with disk_errors(f"could not write {self.peer_credential}"):
            replace_file(self._disk, self.certificates, PEER_CREDENTIAL, image)

    def remove_peer_credential(self) -> None:
        """Have none any more, durably."""
        with disk_errors(f"could not remove {self.peer_credential}"):
            if self._disk.exists(self.peer_credential):
                self._disk.remove(self.peer_credential)
                self._disk.sync_directory(self.certificates)

    def require_facts_not_lost(self) -> None:
        """ForeignState if there is a node's state whose facts were lost: what a node knows is not thrown away."""
        if is_void(self._disk, self.root) or self._disk.exists(f"{self.root}/{FACTS_FILE}"):
            return
        if self._disk.list(f"{self.raft}/log") or KeyRing.exists(self._disk, self.certificates):
            raise ForeignState(
                f"{self.root} holds a node's keys or log, but {FACTS_FILE}, which says whose they are, is missing: put "
                f"that file back; or move the directory away, and let the node join again"
            )

    def clear(self) -> None:
        """Forget the swarm, the facts first: then the rest is rubbish, whenever we are interrupted.

        Directories of tasks are not ours to remove: whatever runs in one is ended first, by the agent.
        """
        with disk_errors(f"could not clear {self.root}"):
            remove_facts(self._disk, self.root)
            self._empty(f"{self.raft}/log", f"{self.raft}/snapshots", self.certificates)
            for name in self._disk.list(self.tasks):
                if name.endswith(SUFFIX):
                    self._disk.remove(f"{self.tasks}/{name}")

    def clear_log(self) -> None:
        """Forget what this node's member knew."""
        with disk_errors(f"could not clear {self.raft}"):
            self._empty(f"{self.raft}/log", f"{self.raft}/snapshots")

    def _empty(self, *directories: str) -> None:
        for directory in directories:
            for name in self._disk.list(directory):
                self._disk.remove(f"{directory}/{name}")
