"""Snapshots (course lab, part 3D): one every ten commands, behind which the log is cut."""

from __future__ import annotations

import pytest

from raftswarm.consensus.compaction import CompactionPolicy
from tests.course_lab.lab import RELIABLE, SEEDS, UNRELIABLE, Lab

seeds = pytest.mark.parametrize("seed", SEEDS)
INTERVAL = 10
MAX_LOG_BYTES = 2000
EVERY_TEN = CompactionPolicy(snapshot_every_commands=INTERVAL, keep_entries=0, keep_bytes_for_followers=0)


def make_lab(seed: int, *, reliable: bool = True) -> Lab:
    return Lab(seed, 3, network=RELIABLE if reliable else UNRELIABLE, compaction=EVERY_TEN)


def run_rounds(lab: Lab, *, disconnect: bool = False, crash: bool = False) -> None:
    """Thirty times: one server is away, or not, while the others take more than a snapshot; then all agree."""
    lab.one(3)
    leader = lab.leader()
    for number in range(30):
        victim, sender = lab.server(leader + 1), leader
        if number % 3 == 1:
            victim, sender = sender, victim
        if disconnect:
            lab.disconnect(victim)
        if crash:
            lab.crash(victim)
        if disconnect or crash:
            lab.one(2)
        for _ in range(INTERVAL // 2 + lab.chance.randrange(INTERVAL)):
            lab.propose(sender)
        lab.one(2 if disconnect or crash else 3)
        assert max(lab.log_bytes(server) for server in lab.servers if lab.is_up(server)) < MAX_LOG_BYTES

        lab.start(victim)
        lab.connect(victim)
        if disconnect or crash:
            lab.one(3)
        leader = lab.leader()
    lab.agree()


@seeds
def test_snapshot_basic(seed: int) -> None:
    lab = make_lab(seed)

    run_rounds(lab)

    assert lab.snapshots_sent == 0, "nobody was away"


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "unreliable"])
@pytest.mark.parametrize("how", ["disconnect", "crash"])
@seeds
def test_snapshot_install(seed: int, how: str, reliable: bool) -> None:
    lab = make_lab(seed, reliable=reliable)

    run_rounds(lab, disconnect=how == "disconnect", crash=how == "crash")

    assert lab.snapshots_sent > 0


@seeds
def test_snapshot_all_crash(seed: int) -> None:
    lab = make_lab(seed)
    lab.one(3)
    for _ in range(5):
        for _ in range(INTERVAL // 2 + lab.chance.randrange(INTERVAL)):
            lab.one(3)
        before = lab.one(3)
        lab.restart(*lab.servers)
        assert lab.one(3) > before
    lab.agree()


@seeds
def test_snapshot_init(seed: int) -> None:
    lab = make_lab(seed)
    for _ in range(INTERVAL + 1):
        lab.one(3)
    lab.restart(*lab.servers)
    lab.one(3)
    lab.restart(*lab.servers)
    lab.one(3)

    assert len(lab.agree()) == INTERVAL + 3
