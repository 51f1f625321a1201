"""Agreement on a log (course lab, part 3B). Indexes and counts are adjusted for the blank entry of each leader."""

from __future__ import annotations

import pytest

from tests.course_lab.lab import SEEDS, Lab, T

seeds = pytest.mark.parametrize("seed", SEEDS)


@seeds
def test_basic_agree(seed: int) -> None:
    lab = Lab(seed, 3)

    indexes = [lab.one(3, retry=False) for _ in range(3)]

    blank = indexes[0] - 1
    assert indexes == [blank + 1, blank + 2, blank + 3]


@seeds
def test_rpc_bytes(seed: int) -> None:
    lab = Lab(seed, 3)
    lab.one(3)
    before = lab.bytes_sent

    for _ in range(10):
        lab.one(3, lab.command(5000), retry=False)

    assert lab.bytes_sent - before <= 3 * 50_000 + 50_000


@seeds
def test_follower_failure(seed: int) -> None:
    lab = Lab(seed, 3)
    lab.one(3)
    lab.disconnect(lab.server(lab.leader() + 1))
    lab.one(2)
    lab.sleep(T)
    lab.one(2)

    second = lab.leader()
    lab.disconnect(lab.server(second + 1), lab.server(second + 2))
    lost = lab.propose(second)
    lab.sleep(2 * T)

    assert lab.have(lost) == []


@seeds
def test_leader_failure(seed: int) -> None:
    lab = Lab(seed, 3)
    lab.one(3)
    lab.disconnect(lab.leader())
    lab.one(2)
    lab.sleep(T)
    lab.one(2)

    lab.disconnect(lab.leader())
    lost = [lab.propose(server) for server in lab.servers]
    lab.sleep(2 * T)

    assert not any(map(lab.have, lost))


@seeds
def test_fail_agree(seed: int) -> None:
    lab = Lab(seed, 3)
    lab.one(3)
    away = lab.server(lab.leader() + 1)
    lab.disconnect(away)
    for _ in range(2):
        lab.one(2)
    lab.sleep(T)
    for _ in range(2):
        lab.one(2)

    lab.connect(away)

    lab.one(3)
    lab.sleep(T)
    lab.one(3)


@seeds
def test_fail_no_agree(seed: int) -> None:
    lab = Lab(seed, 5)
    first_index = lab.one(5)
    leader = lab.leader()
    away = [lab.server(leader + step) for step in (1, 2, 3)]
    lab.disconnect(*away)
    lost = lab.propose(leader)
    lab.sleep(2 * T)
    assert lab.have(lost) == []

    lab.connect(*away)
    command = lab.propose(lab.leader())
    lab.wait_for(command, 5)

    # The uncommitted one may have survived, and a new leader has its blank entry.
    assert lab.recorder(leader).indexes[command] - first_index in {1, 2, 3}
    lab.one(5)


@seeds
def test_concurrent_starts(seed: int) -> None:
    lab = Lab(seed, 3)
    for _ in range(5):
        leader = lab.leader()
        term = lab.term(leader)
        commands = [lab.command() for _ in range(5)]
        calls = [lab.world.propose(command, member=leader) for command in commands]
        lab.sleep(2 * T)
        if lab.term(leader) != term:
            continue
        assert all(call.acknowledged for call in calls)
        assert all(lab.have(command) == lab.servers for command in commands)
        return
    raise AssertionError("the term changed too often")


@seeds
def test_rejoin(seed: int) -> None:
    lab = Lab(seed, 3)
    lab.one(3)
    first = lab.leader()
    lab.disconnect(first)
    lost = [lab.propose(first) for _ in range(3)]
    lab.one(2)
    second = lab.leader()
    lab.disconnect(second)

    lab.connect(first)
    lab.one(2)
    lab.connect(second)
    lab.one(3)

    assert not set(lost) & set(lab.agree())


@seeds
def test_backup(seed: int) -> None:
    lab = Lab(seed, 5)
    lab.one(5)
    first = lab.leader()
    minority = [first, lab.server(first + 1)]
    others = [lab.server(first + step) for step in (2, 3, 4)]
    lab.disconnect(*others)
    for _ in range(50):
        lab.propose(first)
    lab.sleep(T / 2)

    lab.disconnect(*minority)
    lab.connect(*others)
    for _ in range(50):
        lab.one(3)
    second = lab.leader()
    other = next(server for server in others if server != second)
    lab.disconnect(other)
    for _ in range(50):
        lab.propose(second)
    lab.sleep(T / 2)

    lab.disconnect(*lab.servers)
    lab.connect(*minority, other)
    for _ in range(50):
        lab.one(3)

    lab.connect(*lab.servers)
    lab.one(5)


@seeds
def test_count(seed: int) -> None:
    lab = Lab(seed, 3)
    lab.leader()
    assert 1 <= lab.requests <= 30

    for _ in range(5):
        leader = lab.leader()
        term, before = lab.term(leader), lab.requests
        commands = [lab.propose(leader) for _ in range(10)]
        lab.wait_for(commands[-1], 3)
        if lab.term(leader) == term:
            assert lab.requests - before <= (10 + 1 + 3) * 3
            break
    else:
        raise AssertionError("the term changed too often")

    lab.sleep(T)
    before = lab.requests
    lab.sleep(1.0)
    assert lab.requests - before <= 3 * 20
