"""A replica under whatever Raft may do with its member, and a disk with its jobs (P 5.3, 7, 8).

The model is one sentence: the state is the fold of the committed commands, and each call gets the result of its own
entry, or learns that nobody knows, or that nothing happened. Snapshots say what they hold, reads see what was committed
when they were asked for, and nobody leads before it has caught up.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from property_tests.any_member import ME, OTHER, REFUSAL
from property_tests.replica_world import POLICY, Caller, Together, World
from raftswarm.consensus import applying
from raftswarm.consensus.compaction import LAST_RETRY_SECONDS
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.wire.batch import encode_batch

APPLIED_AT_ONCE = 4
"""So an entry takes several turns."""
MANY_TURNS: Final = 1000
"""As many as all that can wait may take."""


def list_voters(*ids: int) -> Configuration:
    return Configuration(voters=tuple(MemberInfo(id=number, address=f"host:{number}") for number in ids))


CONFIGURATIONS = (list_voters(1, 2, 3), list_voters(1, 2, 3, 4), list_voters(1, 2, 4))


@pytest.fixture(autouse=True, scope="module")
def short_turns() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(applying, "APPLIED_AT_ONCE", APPLIED_AT_ONCE)
        yield


class Story:
    """What is asked of a replica and what befalls it, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.world = World()
        self.member = self.world.member
        self.names = count(1)

    def go_on(self) -> None:
        steps = [
            *[self.propose] * 4,
            *[self.read, self.change_members] * 2,
            *[self.begin_term] * 2,
            *[self.hear_a_leader] * 5,
            *[self.commit] * 4,
            *[self.use_disk] * 4,
            self.restart,
        ]
        self.chance.choice(steps)()
        for _ in range(self.chance.choice([1, 0, 2, 4])):  # With none, what comes next meets the same turn.
            self.world.turn()

    # What callers do.

    def propose(self) -> None:
        if self.member.leader != ME and self.chance.random() < 0.5:
            self.member.begin_term(ME)
        self.propose_some(self.chance.randint(1, 10), alone=self.chance.random() < 0.5)

    def propose_some(self, size: int, *, alone: bool) -> None:
        world = self.world
        callers = [Caller(world.look_at_write, command) for command in self._draw_commands(size)]
        world.callers += callers
        if alone:
            for caller in callers:
                world.replica.propose(caller.command, caller)
        else:
            world.replica.propose_many([caller.command for caller in callers], Together(callers))

    def _draw_commands(self, size: int) -> list[bytes]:
        names = [next(self.names) for _ in range(size)]
        return [b"%s%d" % (REFUSAL if name % 5 == 0 else b"do", name) for name in names]

    def read(self) -> None:
        caller = Caller(self.world.look_at_read, asked_at=self.member.commit_index)
        self.world.callers.append(caller)
        self.world.replica.read_barrier(caller)

    def change_members(self) -> None:
        caller = Caller(self.world.look_at_change)
        self.world.callers.append(caller)
        self.world.replica.change_configuration(self.chance.choice(CONFIGURATIONS), caller)

    # What others do.

    def begin_term(self) -> None:
        self.member.begin_term(self.chance.choice([ME, ME, 0]))

    def hear_a_leader(self) -> None:
        """It sends entries, which take the place of others if it is new, or a snapshot, and says what is committed."""
        member, chance = self.member, self.chance
        if member.leader != OTHER or chance.random() < 0.5:
            member.begin_term(OTHER)
            member.replace_tail(chance.choice([0, 0, 1, 3]))
        sizes = [chance.randint(0, 10) for _ in range(chance.randint(1, 3))]
        member.extend(encode_batch(self._draw_commands(size)) for size in sizes)
        if chance.random() < 0.3:
            self._install(max(member.commit_index + 1, len(member.log) - chance.randint(0, 3)))
        self._commit(chance.randint(0, 8))

    def _install(self, index: int) -> None:
        snapshot = self.member.install(index)
        self.world.disk.received[index] = snapshot, self.member.fold(index)
        self.world.installed_up_to = index

    def commit(self) -> None:
        """Whoever leads says what is committed, and answers the reads that wait."""
        if self.member.leader:
            self._commit(self.chance.randint(0, 5))
            if self.chance.random() < 0.7:
                self.member.answer_reads(self.chance.choice(["", "", "no leader answered"]))

    def _commit(self, count: int) -> None:
        self.member.commit(min(self.member.commit_index + count, len(self.member.log)))

    # What the machine does.

    def use_disk(self) -> None:
        self.world.disk.has_room = self.chance.random() < 0.8
        self.world.run_jobs(self.chance.randint(1, 6))
        self.world.now += self.chance.choice([0.0, 0.5, 2.0, LAST_RETRY_SECONDS])

    def restart(self) -> None:
        world = self.world
        world.stop()
        world.disk.refused = None
        world.disk.written.clear()
        self.member.start_from(world.disk.newest[0])
        world.start()

    # The end.

    def come_to_its_end(self) -> None:
        """With a leader and a disk that serve, all is answered and applied, and snapshots are taken again."""
        world = self.world
        world.disk.has_room = True
        self.member.begin_term(ME)
        self._serve_all()
        self.propose_some(POLICY.snapshot_every_commands, alone=False)
        self._serve_all()
        world.now += LAST_RETRY_SECONDS
        self._serve_all()

        assert world.replica.applied.index == self.member.commit_index == len(self.member.log)
        assert not world.waiting
        assert world.replica.waiting == 0
        unsaved = world.replica.applied.commands - world.disk.newest[0].commands
        assert unsaved < POLICY.snapshot_every_commands, "no snapshot is taken, though there is room"

    def _serve_all(self) -> None:
        for _ in range(5):  # A turn that has nothing to apply may have something to propose, to save or to try again.
            self._serve_once()
            for _ in range(MANY_TURNS):
                if not self.world.jobs and self.world.replica.applied.index == self.member.commit_index:
                    break
                self._serve_once()

    def _serve_once(self) -> None:
        self.world.turn()
        self.member.answer_reads()
        self._commit(len(self.member.log))
        self.world.run_jobs(len(self.world.jobs))
        self.world.now += 1.0


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_state_is_the_fold_of_the_log_and_each_call_hears_of_its_own_entry(seed: int) -> None:
    story = Story(seed)
    for _ in range(60):
        story.go_on()
    story.come_to_its_end()
