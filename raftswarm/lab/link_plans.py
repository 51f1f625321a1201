"""What befalls links: partitions of all kinds, clogs, connections that are not what they seem; and old leaders."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from random import Random

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    Clog,
    Cut,
    HalfOpen,
    Interrogate,
    Mend,
    Nonsense,
    Partition,
    Reconnect,
    Rejoin,
    SetLink,
    TransferLeadership,
    Unclog,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.nonsense import NONSENSE
from raftswarm.lab.plans import Plan, Strike, draw_seconds
from raftswarm.raft.roles import Leader, Transfer

QUESTION_TIMEOUTS = 2
"""For so many election timeouts clients ask who was deposed: it may lead on for one, by its own clock."""
FIRST_LOOK_SECONDS = 0.001
LOOK_EVERY_SECONDS = 0.0005
"""Less than it takes to be elected."""
ANOTHER_PARTITION_SHARE = 0.3
NONSENSE_AT_ONCE = 8

_Way = tuple[int, int]


class LinkPlans:
    """Draws from a mix."""

    def __init__(self, world: CoreWorld, mix: FaultMix) -> None:
        self._world = world
        self._mix = mix

    def strikes(self) -> Iterable[Strike]:
        """All kinds."""
        mix = self._mix
        yield Strike("partition", mix.partition_every, self._partition)
        yield Strike("mesh", mix.mesh_every, self._cut_mesh)
        yield Strike("clog", mix.clog_every, self._clog)
        yield Strike("swizzle", mix.swizzle_every, self._swizzle)
        yield Strike("half open", mix.half_open_every, self._half_open)
        yield Strike("reconnect", mix.reconnect_every, self._reconnect)
        yield Strike("link", mix.link_change_every, self._change_link)
        yield Strike("usurp", mix.usurp_every, self._usurp)
        yield Strike("nonsense", mix.nonsense_every, self._talk_nonsense)

    @property
    def _members(self) -> list[int]:
        return sorted(member for member, host in self._world.hosts.items() if not host.is_lost)

    def _ways(self, chance: Random) -> list[_Way]:
        ways = list(permutations(self._members, 2))
        chance.shuffle(ways)
        return ways

    # Cuts.

    def _partition(self, chance: Random) -> Plan:
        """Two groups that do not hear each other, or one of which does not hear the other; then maybe two others."""
        while True:
            one, other = self._draw_groups(chance)
            yield Partition(one, other, is_one_way=chance.random() < self._mix.one_way_share)
            yield draw_seconds(chance, self._mix.partition_seconds)
            yield Rejoin(one, other)
            if chance.random() >= ANOTHER_PARTITION_SHARE:
                return  # Else at once: who was alone may now meet who has not heard the leader since.

    def _draw_groups(self, chance: Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
        members = self._members
        chance.shuffle(members)
        leader = self._world.leader
        if leader is not None and chance.random() < 0.5:
            # A leader alone, or with too few: what it appends now must be forgotten later.
            members.remove(leader)
            members.insert(0, leader)
            cut = chance.randint(1, (len(members) + 1) // 2)
        else:
            cut = chance.randint(0, len(members))
        return tuple(members[:cut]), tuple(members[cut:])

    def _cut_mesh(self, chance: Random) -> Plan:
        """Any directions between any two; everybody may still hear everybody by way of others."""
        ways = self._ways(chance)
        ways = ways[: chance.randint(0, len(ways))]
        for sender, receiver in ways:
            yield Cut(sender, receiver)
        yield draw_seconds(chance, self._mix.partition_seconds)
        for sender, receiver in ways:
            yield Mend(sender, receiver)

    # What is there, but not as it should be.

    def _clog(self, chance: Random) -> Plan:
        for sender, receiver in self._ways(chance)[:1]:
            yield Clog(sender, receiver)
            yield draw_seconds(chance, self._mix.clog_seconds)
            if chance.random() < 0.3:
                yield Reconnect(sender, receiver)  # And what the old connection held comes after what the new one says.
                yield chance.random() * self._mix.clog_seconds
            yield Unclog(sender, receiver)

    def _swizzle(self, chance: Random) -> Plan:
        """Clog all that some members hear and say, one after the other; let it go in another order."""
        members = self._members
        some = chance.sample(members, chance.randint(1, max(1, len(members) // 2)))
        ways = [way for way in self._ways(chance) if not {*way}.isdisjoint(some)]
        for sender, receiver in ways:
            yield Clog(sender, receiver)
            yield chance.random() * self._mix.clog_seconds / len(ways)
        chance.shuffle(ways)
        for sender, receiver in ways:
            yield Unclog(sender, receiver)
            yield chance.random() * self._mix.clog_seconds / len(ways)

    def _half_open(self, chance: Random) -> Plan:
        for sender, receiver in self._ways(chance)[:1]:
            yield HalfOpen(sender, receiver)
            yield draw_seconds(chance, self._mix.clog_seconds)
            yield Reconnect(sender, receiver)

    def _reconnect(self, chance: Random) -> Plan:
        for sender, receiver in self._ways(chance)[:1]:
            yield Reconnect(sender, receiver)

    def _change_link(self, chance: Random) -> Plan:
        for sender, receiver in self._ways(chance)[:1]:
            yield SetLink(sender, receiver, chance.choice((self._mix.network, *self._mix.other_networks)))

    def _talk_nonsense(self, chance: Random) -> Plan:
        """Most of it fits only some members at some moments, so a few are tried."""
        ways = self._ways(chance)
        for _ in range(NONSENSE_AT_ONCE if ways else 0):
            yield Nonsense(*chance.choice(ways), chance.choice([*NONSENSE]))

    # A leader is replaced that cannot hear of it: nobody falls for old reads more easily.

    def _usurp(self, chance: Random) -> Plan:
        world = self._world
        old = world.leader
        others = tuple(member for member in self._members if member != old)
        if old is None or not others:
            return
        patience = QUESTION_TIMEOUTS * world.settings.election_seconds
        yield Interrogate(old, patience)
        is_transfer = chance.random() < 0.7
        if is_transfer:
            yield TransferLeadership(old)
            yield FIRST_LOOK_SECONDS
            while (transfer := self._transfer_of(old)) is not None and not transfer.is_told:
                yield LOOK_EVERY_SECONDS
            if transfer is None:
                return
        yield Partition(others, (old,), is_one_way=is_transfer)
        yield draw_seconds(chance, self._mix.partition_seconds)
        yield Rejoin(others, (old,))

    def _transfer_of(self, member: int) -> Transfer | None:
        """How far it has come with handing over, if it is at that."""
        process = self._world.hosts[member].process
        match process and process.member.role:
            case Leader(transfer=transfer):
                return transfer
            case _:
                return None
