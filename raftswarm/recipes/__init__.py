"""Replicated things to use at once: dict, counter, set, queue, lock and leader lease.

The members of a cluster run a `RecipeMachine`. Whoever reaches the cluster, as a member or as a client, uses its
objects by name, as many as it likes:

    async with raftswarm.open_member("state/a", RecipeMachine(), name="a", members=members) as member:
        votes = ReplicatedDict(member, "votes")
        await votes.set("alice", 3)
        async with ReplicatedLock(member, "count").hold(ttl_seconds=10) as token:
            await votes.set("total", 3, fence=token)

Every call is linearizable. One that ends with OutcomeUnknown may have happened, or may yet; a client with a session
tries again by itself, once only in effect. Rejected is the answer to what an object cannot do, such as being used as
another kind. docs/recipes.md tells what each promises.
"""

from raftswarm.recipes.counter import ReplicatedCounter
from raftswarm.recipes.dictionary import ReplicatedDict
from raftswarm.recipes.leader_lease import LeaderLease
from raftswarm.recipes.lock import Holder, ReplicatedLock
from raftswarm.recipes.machine import RecipeMachine
from raftswarm.recipes.queue import Claim, ReplicatedQueue
from raftswarm.recipes.requests import Key
from raftswarm.recipes.sets import ReplicatedSet

__all__ = [
    "Claim",
    "Holder",
    "Key",
    "LeaderLease",
    "RecipeMachine",
    "ReplicatedCounter",
    "ReplicatedDict",
    "ReplicatedLock",
    "ReplicatedQueue",
    "ReplicatedSet",
]
