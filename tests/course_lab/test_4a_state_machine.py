"""A replicated state machine under the key-value service (course lab, part 4A)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from raftswarm.consensus.compaction import CompactionPolicy
from raftswarm.lab import Call
from raftswarm.raft.state_machine import Captured, Context
from tests.course_lab.lab import SEEDS, Lab, T

seeds = pytest.mark.parametrize("seed", SEEDS)
ADD = b"add"


class Counter:
    """Counts; tells its caller the new value."""

    def __init__(self) -> None:
        self.value = 0

    def apply(self, command: bytes, context: Context) -> int:
        del command, context
        self.value += 1
        return self.value

    def capture(self) -> Captured:
        return Captured(b"%d" % self.value)

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.value = int(b"".join(chunks))


def make_counter(seed: int, compaction: CompactionPolicy | None = None) -> Lab:
    return Lab(seed, 3, compaction=compaction, make_machine=Counter)


def counts(lab: Lab) -> set[int]:
    machines = [lab.world.process(server).machine.machine for server in lab.servers if lab.is_up(server)]
    return {machine.value for machine in machines if isinstance(machine, Counter)}


def submit(lab: Lab) -> object:
    """Count once, whoever leads; return what the machine said."""
    for _ in range(100):
        call = lab.world.propose(ADD, member=lab.leader())
        lab.world.run_until(lambda call=call: call.ended_at is not None, within_seconds=5 * T)  # type: ignore[misc]
        if call.acknowledged:
            return call.result
    raise AssertionError("no leader serves")


def all_end(lab: Lab, calls: Iterable[Call], *, within_seconds: float) -> None:
    lab.world.run_until(
        lambda: all(call.ended_at is not None for call in calls), within_seconds=within_seconds, what="all answers"
    )


def settle(lab: Lab, value: int) -> None:
    lab.world.run_until(lambda: counts(lab) == {value}, within_seconds=5 * T, what=f"a count of {value} everywhere")


@seeds
def test_basic(seed: int) -> None:
    lab = make_counter(seed)

    assert [submit(lab) for _ in range(10)] == list(range(1, 11))
    settle(lab, 10)


@seeds
def test_concurrent(seed: int) -> None:
    lab = make_counter(seed)
    leader = lab.leader()
    calls = [lab.world.propose(ADD, member=leader) for _ in range(50)]
    all_end(lab, calls, within_seconds=2 * T)

    assert sorted(call.result for call in calls if isinstance(call.result, int)) == list(range(1, 51))
    settle(lab, 50)


@seeds
def test_leader_failure(seed: int) -> None:
    lab = make_counter(seed)
    submit(lab)
    leader = lab.leader()
    lab.disconnect(leader)
    assert submit(lab) == 2

    lab.connect(leader)
    assert submit(lab) == 3
    settle(lab, 3)


@seeds
def test_leader_partition(seed: int) -> None:
    lab = make_counter(seed)
    submit(lab)
    leader = lab.leader()
    lab.disconnect(leader)
    lost = [lab.world.propose(ADD, member=leader) for _ in range(100)]
    assert submit(lab) == 2

    lab.connect(leader)

    all_end(lab, lost, within_seconds=1.0)
    assert not any(call.acknowledged for call in lost)
    settle(lab, 2)


@seeds
def test_restart_replay(seed: int) -> None:
    lab = make_counter(seed)
    for _ in range(20):
        submit(lab)
    lab.restart(*lab.servers)

    assert submit(lab) == 21
    settle(lab, 21)


@seeds
def test_shutdown(seed: int) -> None:
    lab = make_counter(seed)
    leader = lab.leader()
    calls = [lab.world.propose(ADD, member=leader) for _ in range(10)]
    for server in lab.servers:
        lab.world.stop(server)

    all_end(lab, calls, within_seconds=2.0)


@seeds
def test_restart_submit(seed: int) -> None:
    lab = make_counter(seed)
    for _ in range(10):
        submit(lab)
    lab.restart(*lab.servers)
    for _ in range(10):
        submit(lab)
    calls = [lab.world.propose(ADD, member=lab.leader()) for _ in range(10)]
    lab.restart(*lab.servers)
    all_end(lab, calls, within_seconds=2.0)

    done = submit(lab)

    assert isinstance(done, int)
    assert 21 <= done <= 31  # Calls whose outcome nobody knows may have counted; none did twice.
    settle(lab, done)


@seeds
def test_snapshot(seed: int) -> None:
    lab = make_counter(seed, CompactionPolicy(snapshot_every_commands=10, keep_entries=0, keep_bytes_for_followers=0))
    for _ in range(100):
        submit(lab)
    lab.sleep(0.5)
    assert max(map(lab.log_bytes, lab.servers)) <= 2 * 1000
    lab.restart(*lab.servers)

    assert submit(lab) == 101
    settle(lab, 101)
