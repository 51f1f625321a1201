"""One member of a replicated state machine, as programs see it: what `raftswarm.open_member` gives.

The one big idea: errors say whether it happened. `NotLeader`, `Overloaded`, `PayloadTooLarge` and `Rejected` mean that
nothing changed; `OutcomeUnknown` that it may have. Commands travel in envelopes (`sessions`), so that clients can have
each of theirs take effect once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Final

import trio
from msgspec.structs import replace

from raftswarm.consensus.client import Client, open_client
from raftswarm.consensus.driver import Driver
from raftswarm.consensus.meeting import Card, ask_who
from raftswarm.consensus.watched import Watched
from raftswarm.errors import InvalidSpec, Overloaded
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.ready import Leadership
from raftswarm.raft.state_machine import Queryable, StateMachine
from raftswarm.wire.envelopes import encode_plain, encode_plain_many
from raftswarm.world.network import Network

PATIENCE_TIMEOUTS: Final = 2
"""A change waits so many election timeouts for another one to end."""


class RaftMember:
    """A running member; it stops with the block that opened it."""

    def __init__(self, driver: Driver, machine: StateMachine, network: Network, name: str, chance: Random) -> None:
        """`machine` is the user's own; the driver's is the `SessionMachine` around it."""
        self.driver = driver
        self.name = name
        self._network = network
        self._machine = machine
        self._chance = chance

    @property
    def member_id(self) -> int:
        """What the log calls this member."""
        return self.driver.member_id

    # Commands and reads.

    async def propose(self, command: bytes) -> object:
        """Replicate a command; return what `apply` returned for it on this member.

        Raises:
            NotLeader: nothing happened; `name` and `address` say whom to ask, if that is known.
            OutcomeUnknown: it may be applied, now or later: leadership was lost, or this member stopped.
            Rejected: the state machine refused it, and has not changed.
            PayloadTooLarge: nothing happened; a command has at most 1.5 MiB.
            Overloaded: nothing happened; too much is in flight, retry in a moment.
            TypeError: a command is bytes.
        """
        return await self.driver.propose(encode_plain(command))

    async def propose_many(self, commands: Sequence[bytes]) -> list[object]:
        """Replicate commands, in order; return for each its result, or the exception that `propose` would raise.

        PayloadTooLarge and TypeError are raised at once, before any of them is proposed.
        """
        return await self.driver.propose_many(encode_plain_many(commands))

    async def read_barrier(self) -> None:
        """Return when reading the state machine right here is linearizable (6.4): it has all that was answered before.

        Raises:
            NotLeader: no leader could be asked, so the state here may be old.
        """
        await self.driver.read_barrier()

    async def query(self, question: bytes) -> object:
        """Return what the machine's `query` answers, linearizably; errors as of `read_barrier`.

        Raises:
            TypeError: the state machine has no `query`, or the question is not bytes.
        """
        machine = self._machine
        if not isinstance(machine, Queryable):
            raise TypeError(f"{type(machine).__name__} cannot be asked: give it a method query(question)")
        if not isinstance(question, bytes):
            raise TypeError(f"a question is bytes, not {type(question).__name__}")
        await self.driver.read_barrier()
        return machine.query(question)

    def client(self) -> AbstractAsyncContextManager[Client]:
        """A client that follows the cluster: its commands take effect once each, also when this member does not lead.

        Use it with ``async with``, within the member's own block.
        """
        now = self.configuration.value
        addresses = [info.address for info in (*now.voters, *now.learners)]
        return open_client(self._network, self.driver.cluster, addresses, self._chance)

    # Watching.

    @property
    def leadership(self) -> Watched[Leadership]:
        """Who leads, as far as this member knows; `is_leader` once it leads and has applied all before its term."""
        return self.driver.leadership

    @property
    def configuration(self) -> Watched[Configuration]:
        """Who takes part."""
        return self.driver.configuration

    @property
    def applied(self) -> Watched[int]:
        """How many commands of the log the state machine has had here."""
        return self.driver.applied

    async def wait_gained(self) -> None:
        """Return when this member leads and has applied all that came before.

        Raises:
            NotLeader: it has stopped.
        """
        await self.driver.wait_gained()

    async def wait_lost(self) -> None:
        """Return when it does not lead."""
        await self.driver.wait_lost()

    # The members. Each call changes them once, on the leader. To ask for what is so already does no harm.

    async def add_member(self, name: str, address: str, *, vote: bool = True) -> None:
        """Take in a member that runs at that address, opened with `open_member(…, address=…)` and an empty directory.

        It begins as a learner; with `vote`, whoever leads makes it a voter as soon as it has caught up (4.2.1). Returns
        when it takes part: `configuration` says when it votes.

        Raises:
            InvalidSpec: another member has that name or address; remove it first. Or somebody else is at the address,
                or a member of another cluster that has the same name.
            LinkError: nobody answers there.
            NotLeader: nothing happened; `name` and `address` say whom to ask, if that is known.
            Overloaded: nothing happened; another change of the members is still under way.
            OutcomeUnknown: it may happen yet; look at `configuration`, or ask again.
        """
        for told in (name, address):
            if not isinstance(told, str):
                raise TypeError(f"a name and an address are str, not {type(told).__name__}")
        card = await ask_who(self._network, address, name, self.driver.cluster)
        _check_lineage(card, self.configuration.value)
        info = MemberInfo(id=card.member_id, address=address, name=name, promote=vote)

        def with_it(now: Configuration) -> _Parts:
            if now.member(info.id) is not None:
                return now.voters, now.learners
            for other in (*now.voters, *now.learners):
                if name == other.name or address == other.address:
                    raise InvalidSpec(f"{other.name} at {other.address} is a member already: remove it first")
            return now.voters, (*now.learners, info)

        await self._change(with_it)

    async def remove_member(self, name: str) -> None:
        """Take a member out, this one included; on return it may be switched off, and is never again who it was.

        Raises:
            InvalidSpec: nobody has that name, or nobody else votes.
            NotLeader, Overloaded, OutcomeUnknown: as `add_member`.
        """
        await self._change(lambda now: _without(now, _find(now, name)))

    async def promote(self, name: str) -> None:
        """Let a learner vote as soon as it has caught up; errors as of `remove_member`."""

        def with_vote(now: Configuration) -> _Parts:
            info = _find(now, name)
            return now.voters, [replace(one, promote=True) if one is info else one for one in now.learners]

        await self._change(with_vote)

    async def demote(self, name: str) -> None:
        """Make a voter a learner: it goes on to follow, and does not count. Errors as of `remove_member`."""

        def without_vote(now: Configuration) -> _Parts:
            info = _find(now, name)
            voters, learners = _without(now, info)
            return voters, (*learners, replace(info, promote=False))

        await self._change(without_vote)

    async def change_members(self, voters: Collection[str], learners: Collection[str] = ()) -> None:
        """Let exactly these members vote, and those learn, in one step (joint consensus, 4.3).

        All of them are members already: add new ones with ``vote=False`` before, and wait until they have caught up.
        Whoever is named nowhere is out, and may be switched off when `configuration` is joint no more. Errors as of
        `remove_member`.
        """
        if isinstance(voters, str) or isinstance(learners, str):
            raise TypeError("voters and learners are lists of names, not one: put it in brackets")
        await self._change(
            lambda now: (
                [replace(_find(now, name), promote=False) for name in voters],
                [_find(now, name) for name in learners],
            )
        )

    async def transfer_leadership(self, to: str = "") -> None:
        """Hand leadership to another voter (3.10), by default to the one with the best log; return when it leads.

        Raises:
            TransferFailed: this member leads on, or did not lead; the message says why.
            InvalidSpec: nobody has that name.
        """
        await self.driver.transfer_leadership(_find(self.configuration.value, to).id if to else 0)

    async def _change(self, wish: Callable[[Configuration], _Parts]) -> None:
        """Reach what is wished of whoever takes part; other changes that are under way are waited for a while."""
        settings = self.driver.settings
        gives_up_at = trio.current_time() + PATIENCE_TIMEOUTS * settings.election_seconds
        while True:
            self.driver.replica.require_leading()
            voters, learners = (tuple(sorted(infos, key=_id)) for infos in wish(self.configuration.value))
            try:
                return await self.driver.change_configuration(Configuration(voters=voters, learners=learners))
            except Overloaded:
                if trio.current_time() >= gives_up_at:
                    raise
            await trio.sleep(settings.heartbeat_seconds)


_Parts = tuple[Iterable[MemberInfo], Iterable[MemberInfo]]
"""Voters and learners."""


def _check_lineage(card: Card, ours: Configuration) -> None:
    """Its log may look like ours and be another: both began in term 1."""
    if card.members and ours.voters and {*card.members}.isdisjoint(ours.member_ids):
        raise InvalidSpec(
            f"{card.name} belongs to another cluster that is called {card.cluster} too; stop it, empty its directory, "
            "and open it by `address`, without `members`"
        )


def _find(now: Configuration, name: str) -> MemberInfo:
    for info in (*now.voters, *now.learners):
        if info.name == name:
            return info
    raise InvalidSpec(f"no member is called {name}: there are {', '.join(info.name for info in now.voters)}")


def _without(now: Configuration, gone: MemberInfo) -> _Parts:
    return [info for info in now.voters if info.id != gone.id], [info for info in now.learners if info.id != gone.id]


def _id(info: MemberInfo) -> int:
    return info.id
