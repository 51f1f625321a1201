"""A replica under whatever Raft may do with its member, and a disk with its jobs (P 5.3, 7, 8).

The model is one sentence: the state is the fold of the committed commands, and each call gets the result of its own
entry, or learns that nobody knows, or that nothing happened. Snapshots say what they hold, reads see what was committed
when they were asked for, and nobody leads before it has caught up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from property_tests.any_member import ME, OTHER, REFUSAL
from property_tests.replica_world import POLICY, Caller, Together, World
from raftswarm.consensus import applying
from raftswarm.consensus.compaction import LAST_RETRY_SECONDS
from raftswarm.raft.log_entry import Batch, Configuration, MemberInfo
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


sizes = st.integers(1, 10)
keeps = st.sampled_from([0, 1, 0, 3])
turns = st.sampled_from([1, 0, 2, 4])
"""That follow at once; with none, what comes next meets the same turn."""


class Replicas(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.member = self.world.member
        self.names = count(1)
        self.turns = 0
        """Since it was started, or all was well."""

    def _draw_commands(self, size: int) -> list[bytes]:
        names = [next(self.names) for _ in range(size)]
        return [b"%s%d" % (REFUSAL if name % 5 == 0 else b"do", name) for name in names]

    # What callers do.

    @rule(size=sizes, alone=st.booleans(), leads=st.sampled_from([True, True, False]), turns=turns)
    def propose(self, size: int, alone: bool, leads: bool, turns: int) -> None:
        world = self.world
        if leads and self.member.leader != ME:
            self.member.begin_term(ME)
        callers = [Caller(world.look_at_write, command) for command in self._draw_commands(size)]
        world.callers += callers
        if alone:
            for caller in callers:
                world.replica.propose(caller.command, caller)
        else:
            world.replica.propose_many([caller.command for caller in callers], Together(callers))
        self._turn(turns)

    @rule(wished=st.none() | st.sampled_from(CONFIGURATIONS))
    def read_or_change_members(self, wished: Configuration | None) -> None:
        world = self.world
        if wished is None:
            caller = Caller(world.look_at_read, asked_at=self.member.commit_index)
            world.replica.read_barrier(caller)
        else:
            caller = Caller(world.look_at_change)
            world.replica.change_configuration(wished, caller)
        world.callers.append(caller)

    # What others do.

    @rule(leader=st.sampled_from([ME, ME, 0]))
    def begin_term(self, leader: int) -> None:
        self.member.begin_term(leader)

    @rule(
        is_new=st.booleans(),
        kept=keeps,
        batches=st.lists(st.integers(0, 10), min_size=1, max_size=3),
        committed=st.integers(0, 8),
        snapshot_ends=st.sampled_from([None, None, 0, 1, 3]),
        turns=turns,
    )
    def hear_a_leader(
        self, is_new: bool, kept: int, batches: list[int], committed: int, snapshot_ends: int | None, turns: int
    ) -> None:
        """It sends entries, which take the place of others if it is new, or a snapshot, and says what is committed."""
        member = self.member
        if is_new or member.leader != OTHER:
            member.begin_term(OTHER)
            member.replace_tail(kept)
        member.extend(self._encode(batches))
        if snapshot_ends is not None:
            self._install(max(member.commit_index + 1, len(member.log) - snapshot_ends))
        self._commit(committed)
        self._turn(turns)

    def _install(self, index: int) -> None:
        snapshot = self.member.install(index)
        self.world.disk.received[index] = snapshot, self.member.fold(index)
        self.world.installed_up_to = index

    @precondition(lambda self: self.member.leader != 0)
    @rule(committed=st.integers(0, 5), refused=st.sampled_from([None, "", "", "no leader answered"]), turns=turns)
    def commit_and_answer_reads(self, committed: int, refused: str | None, turns: int) -> None:
        self._commit(committed)
        if refused is not None:
            self.member.answer_reads(refused)
        self._turn(turns)

    def _encode(self, batches: Iterable[int]) -> list[Batch]:
        return [encode_batch(self._draw_commands(size)) for size in batches]

    def _commit(self, count: int) -> None:
        self.member.commit(min(self.member.commit_index + count, len(self.member.log)))

    # What the machine does.

    def _turn(self, times: int) -> None:
        for _ in range(times):
            self.world.turn()
        self.turns += times

    @rule(
        jobs=st.integers(1, 4),
        has_room=st.sampled_from([True, True, True, False]),
        seconds=st.sampled_from([0.0, 0.5, 2.0, LAST_RETRY_SECONDS]),
        turns=turns,
    )
    def use_disk(self, jobs: int, has_room: bool, seconds: float, turns: int) -> None:
        self.world.disk.has_room = has_room
        self.world.run_jobs(jobs)
        self.world.now += seconds
        self._turn(turns)

    @precondition(lambda self: self.turns > 10)
    @rule()
    def restart(self) -> None:
        world = self.world
        self.turns = 0
        world.stop()
        world.disk.refused = None
        world.disk.written.clear()
        self.member.start_from(world.disk.newest[0])
        world.start()

    @precondition(lambda self: self.turns > 10)
    @rule()
    def all_is_well_in_the_end(self) -> None:
        world = self.world
        self.turns = 0
        world.disk.has_room = True
        self.begin_term(ME)
        self._serve_all()
        self.propose(POLICY.snapshot_every_commands, alone=False, leads=True, turns=1)
        self._serve_all()
        world.now += LAST_RETRY_SECONDS + 1.0
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


Replicas.TestCase.settings = settings(
    max_examples=300, stateful_step_count=50, deadline=None, report_multiple_bugs=False
)
TestReplica = Replicas.TestCase
