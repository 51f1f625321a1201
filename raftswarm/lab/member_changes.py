"""Strikes of an operator: members come and go, one by one or several at once, wisely or not.

The one big idea: a change is drawn as the voters and learners that are wished, out of who is there and machines that
are new; how to get there, and whether it may be now, is the cluster's business. A removed id never comes back. Whoever
is lost is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    AddMachine,
    ChangeMembers,
    LeaveJoint,
    Partition,
    Rejoin,
    TransferLeadership,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.host import Host
from raftswarm.lab.plans import Plan, Strike, draw_seconds
from raftswarm.raft.events import Transition
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.membership import promote

MAX_VOTERS = 5
MAX_HOSTS = 14
REPLACE_EVERY_SECONDS = 1.0
WRONG_MEMBER_SHARE = 0.15
"""Of what is asked of somebody who need not lead."""

_TRANSITIONS = (Transition.AUTO, Transition.AUTO, Transition.IMPLICIT, Transition.EXPLICIT, Transition.SINGLE)


class MemberChanges:
    """Asks whoever leads for other members, now and then, and for another leader."""

    def __init__(self, world: CoreWorld, mix: FaultMix) -> None:
        self._world = world
        self._mix = mix
        self._removed: set[int] = set()

    def strikes(self) -> Iterable[Strike]:
        """All kinds."""
        mix = self._mix
        yield Strike("transfer", mix.transfer_every, self._transfer)
        yield Strike("change", mix.change_every, self._change)
        yield Strike("cut change", mix.cut_change_every, self._change_and_cut)
        yield Strike("absurd change", mix.absurd_change_every, self._wish_nonsense)
        may_lose = (
            mix.lose_every
            or mix.lying_sync_every
            or mix.bit_flip_every
            or mix.misdirect_every
            or mix.lost_name_every
            or mix.set_back_every
            or mix.found_again_every
        )
        yield Strike("replace", REPLACE_EVERY_SECONDS if may_lose else 0.0, self._replace)

    def _transfer(self, chance: Random) -> Plan:
        """Ask for another leader; now and then where nobody can know of one."""
        asked = self._world.leader
        if chance.random() < WRONG_MEMBER_SHARE:
            asked = chance.choice(list(self._world.hosts))
        if asked is not None:
            yield TransferLeadership(asked, chance.choice([0, *self._world.hosts]))

    def _replace(self, chance: Random) -> Plan:
        """A new machine for each that is lost."""
        del chance
        yield from replace_lost(self._world)

    def _change(self, chance: Random) -> Plan:
        """Ask for a change, and maybe at once for another: too early, since the first is not committed yet."""
        for _ in range(2 if chance.random() < 0.3 else 1):
            leader = self._world.leader
            if leader is not None:
                yield from self._ask(chance, self._world.hosts[leader].configuration)

    def _change_and_cut(self, chance: Random) -> Plan:
        """Cut the leader off and ask it for a change: what it appends then is undone, unless it comes back in time."""
        leader = self._world.leader
        if leader is None:
            return
        others = tuple(member for member in self._world.hosts if member != leader)
        yield Partition((leader,), others)
        yield from self._ask(chance, self._world.hosts[leader].configuration)
        yield draw_seconds(chance, self._mix.partition_seconds)
        yield Rejoin((leader,), others)

    def _wish_nonsense(self, chance: Random) -> Plan:
        """Ask for members that nobody can have."""
        other = max(self._world.hosts)
        yield chance.choice(
            (
                ChangeMembers(()),
                ChangeMembers((other, other)),
                ChangeMembers((other,), (other,)),
                ChangeMembers((other, 1)),
                ChangeMembers((1, other), promised=(other,)),
            )
        )

    def _ask(self, chance: Random, now: Configuration) -> Plan:
        if now.is_joint and chance.random() < 0.7:
            if not now.auto_leave:
                yield LeaveJoint()
            return
        waiting = self._waiting(now)
        for new in range(max(self._world.hosts) + 1, max(self._world.hosts) + 3 - len(waiting)):
            if len(self._world.hosts) < MAX_HOSTS:
                yield AddMachine(new)
                waiting.append(new)
        draw = self._draw_replacement if chance.random() < 0.4 else self._draw_step
        voters, learners = draw(chance, now, waiting)
        self._removed |= {*now.member_ids} - voters - learners
        promised = tuple(member for member in sorted(learners) if chance.random() < 0.5)
        transition = chance.choice(_TRANSITIONS)
        asked = chance.choice(list(self._world.hosts)) if chance.random() < WRONG_MEMBER_SHARE else 0
        yield ChangeMembers(tuple(sorted(voters)), tuple(sorted(learners)), promised, transition, asked)

    @staticmethod
    def _draw_step(chance: Random, now: Configuration, waiting: list[int]) -> tuple[set[int], set[int]]:
        """One member comes, goes, or changes its part."""
        voters = [info.id for info in now.voters]
        learners = [info.id for info in now.learners]
        if learners and chance.random() < 0.4:
            promoted = promote(now, chance.choice(learners))
            return {info.id for info in promoted.voters}, {info.id for info in promoted.learners}
        if len(voters) > 1 and chance.random() < 0.5:
            gone = chance.choice(voters)
            return {*voters} - {gone}, {*learners} | ({gone} if chance.random() < 0.3 else set())
        new = {*waiting[:1]}
        if len(voters) < MAX_VOTERS and chance.random() < 0.6:
            return {*voters, *new}, {*learners}
        return {*voters}, {*learners, *new}

    @staticmethod
    def _draw_replacement(chance: Random, now: Configuration, waiting: list[int]) -> tuple[set[int], set[int]]:
        """Several at once: others vote, old voters learn or go, the leader among them or not."""
        pool = [*now.member_ids, *waiting]
        chance.shuffle(pool)
        count = chance.randint(1, min(MAX_VOTERS, len(pool)))
        return {*pool[:count]}, {member for member in pool[count:] if chance.random() < 0.3}

    def _waiting(self, now: Configuration) -> list[int]:
        """Up to two machines that are in no configuration yet; an addition that failed is tried again."""
        listed = {*now.member_ids, *self._removed}
        return [
            host.member_id for host in self._world.hosts.values() if not host.is_lost and host.member_id not in listed
        ][:2]


def replace_lost(world: CoreWorld) -> Iterator[AddMachine | ChangeMembers | LeaveJoint]:
    """Ask for members without those that are lost, with a new machine for each."""
    leader = world.leader
    if leader is None:
        return
    now = world.hosts[leader].configuration
    voters, learners = {info.id for info in now.voters}, {info.id for info in now.learners}
    lost = {member for member in now.member_ids if world.hosts[member].is_lost}
    if now.is_joint:
        if lost and not now.auto_leave:
            yield LeaveJoint()
        return
    if not lost:
        return
    listed = {*now.member_ids}
    for _ in lost & voters:
        spare = [host.member_id for host in world.hosts.values() if _is_unused(host, listed)]
        new = spare[0] if spare else max(world.hosts) + 1
        if not spare:
            yield AddMachine(new)
        voters.add(new)
        listed.add(new)
    yield ChangeMembers(tuple(sorted(voters - lost)), tuple(sorted(learners - lost)))


def _is_unused(host: Host, listed: set[int]) -> bool:
    """Tell whether it runs, and was never told of any members."""
    return host.process is not None and not host.configuration.voters and host.member_id not in listed
