"""Leadership among programs: a lock whose holder is known by name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from raftswarm.consensus.replicated import Replicated
from raftswarm.recipes.lock import Holder, ReplicatedLock
from raftswarm.world.chance import Entropy


class LeaderLease:
    """At most one of several candidates leads at a time, whatever they lead.

        lease = LeaderLease(client, "scheduler", candidate="host-7")
        while True:
            with suppress(LockLost):
                async with lease.lead() as token:
                    await schedule(token)

    This is not the leader of the Raft cluster: any program that reaches the cluster may be a candidate.
    """

    def __init__(self, cluster: Replicated, name: str, *, candidate: str, entropy: Entropy | None = None) -> None:
        """`candidate` is what others see when this one leads."""
        self.candidate = candidate
        self._lock = ReplicatedLock(cluster, name, entropy=entropy)

    def lead(self, *, ttl_seconds: float = 10.0) -> AbstractAsyncContextManager[int]:
        """Wait to become the leader, and be it while the block lasts; yields the fencing token.

        Raises what `ReplicatedLock.hold` raises: LockLost when leadership is lost, the block being cancelled.
        """
        return self._lock.hold(ttl_seconds=ttl_seconds, name=self.candidate)

    async def leader(self) -> Holder | None:
        """Return who leads, None if nobody does. A dead leader is shown until its time is over and somebody wrote."""
        return await self._lock.holder()
