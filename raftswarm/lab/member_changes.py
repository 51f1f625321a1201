"""Strikes of an operator: members come and go, one by one or several at once, wisely or not.

The one big idea: a change is drawn as the voters and learners that are wished, out of who is there and machines that
are new; how to get there, and whether it may be now, is the cluster's business. A removed id never comes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec

from raftswarm.lab.core_world import CoreWorld
from raftswarm.raft.events import Transition
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.membership import promote

MAX_VOTERS = 5
MAX_HOSTS = 14

_TRANSITIONS = (Transition.AUTO, Transition.AUTO, Transition.IMPLICIT, Transition.EXPLICIT, Transition.SINGLE)


class MemberChanges:
    """Asks whoever leads for other members, now and then."""

    def __init__(self, world: CoreWorld, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._removed: set[int] = set()

    def strike(self) -> None:
        """Ask for a change, and maybe at once for another: too early, since the first is not committed yet."""
        for _ in range(2 if self._chance.random() < 0.3 else 1):
            leader = self._world.leader
            if leader is not None:
                self._ask(self._world.hosts[leader].configuration)

    def _ask(self, now: Configuration) -> None:
        if now.is_joint and self._chance.random() < 0.7:
            if not now.auto_leave:
                self._world.leave_joint()
            return
        draw = self._draw_replacement if self._chance.random() < 0.4 else self._draw_step
        target = draw(now)
        self._removed |= {*now.member_ids} - {*target.member_ids}
        self._world.change_members(target, transition=self._chance.choice(_TRANSITIONS))

    def _draw_step(self, now: Configuration) -> Configuration:
        """One member comes, goes, or changes its part."""
        voters = [info.id for info in now.voters]
        learners = [info.id for info in now.learners]
        if learners and self._chance.random() < 0.4:
            return promote(now, self._chance.choice(learners))
        if len(voters) > 1 and self._chance.random() < 0.5:
            gone = self._chance.choice(voters)
            return self._list(set(voters) - {gone}, set(learners) | ({gone} if self._chance.random() < 0.3 else set()))
        new = {*self._waiting(now)[:1]}
        if len(voters) < MAX_VOTERS and self._chance.random() < 0.6:
            return self._list({*voters, *new}, learners)
        return self._list(voters, {*learners, *new})

    def _draw_replacement(self, now: Configuration) -> Configuration:
        """Several at once: others vote, old voters learn or go, the leader among them or not."""
        pool = [*now.member_ids, *self._waiting(now)]
        self._chance.shuffle(pool)
        count = self._chance.randint(1, min(MAX_VOTERS, len(pool)))
        learners = [member for member in pool[count:] if self._chance.random() < 0.3]
        return self._list(pool[:count], learners)

    def _waiting(self, now: Configuration) -> list[int]:
        """Up to two machines that are in no configuration yet; an addition that failed is tried again."""
        listed = {*now.member_ids, *self._removed}
        waiting = [member for member in self._world.hosts if member not in listed][:2]
        while len(waiting) < 2 and len(self._world.hosts) < MAX_HOSTS:
            waiting.append(self._world.build_member())
        return waiting

    def _list(self, voters: Iterable[int], learners: Iterable[int]) -> Configuration:
        listed = self._world.list_members(sorted(voters), learners=sorted(learners))
        wished = [
            msgspec.structs.replace(info, promote=True) if self._chance.random() < 0.5 else info
            for info in listed.learners
        ]
        return msgspec.structs.replace(listed, learners=tuple(wished))
