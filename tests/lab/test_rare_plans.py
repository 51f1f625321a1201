"""Each of the rare plans does no harm to an engine in order, and finds the bug that it was made for."""

from __future__ import annotations

import attrs
import pytest

from raftswarm.consensus.compaction import CompactionPolicy
from raftswarm.consensus.pending_calls import NO_PROPOSALS, PendingCalls
from raftswarm.consensus.proposals import Proposals
from raftswarm.errors import OutcomeUnknown
from raftswarm.lab.clients import Clients
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.invariants import Violation
from raftswarm.lab.nemesis import Nemesis
from raftswarm.lab.phases import check_liveness
from raftswarm.raft import leases
from raftswarm.raft.core import Core
from raftswarm.raft.log_entry import Entry, SnapshotMeta
from raftswarm.raft.log_view import LogView
from raftswarm.raft.roles import Leader
from raftswarm.raft.settings import RaftSettings

BUSY = FaultMix(call_every=0.02, wrong_member_share=0.0)
OVERSLEEP = attrs.evolve(BUSY, oversleep_every=3.0)
LATE_ANSWERS = attrs.evolve(BUSY, late_answers_every=3.0, settings=RaftSettings(lease_reads=True, clock_drift=0.0))
STRAND = attrs.evolve(
    BUSY,
    strand_every=3.0,
    compaction=CompactionPolicy(snapshot_every_commands=2, keep_entries=0, keep_bytes_for_followers=0),
)


def run(mix: FaultMix, seed: int = 1, seconds: float = 30.0) -> CoreWorld:
    world = CoreWorld(seed, faults=mix)
    clients, nemesis = Clients(world), Nemesis(world)
    world.run_for(seconds)
    nemesis.stop()
    clients.stop()
    check_liveness(world)
    return world


def run_many(mix: FaultMix) -> None:
    """As many worlds as it takes, of a few at most."""
    for seed in range(1, 11):
        run(mix, seed, seconds=20.0)


@pytest.mark.parametrize(
    ("mix", "kinds"),
    [
        (OVERSLEEP, {"partition", "pause", "rejoin", "resume"}),
        (LATE_ANSWERS, {"clog", "partition", "unclog", "interrogate", "rejoin"}),
        (STRAND, {"partition", "interrogate", "rejoin"}),
    ],
)
def test_an_engine_in_order_bears_it(mix: FaultMix, kinds: set[str]) -> None:
    world = run(mix)

    assert all(world.struck_by_kind[kind] for kind in kinds), world.struck_by_kind


def test_who_takes_its_successors_entries_for_its_own_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_by_index(calls: PendingCalls, entry: Entry) -> Proposals:
        while calls._appended and calls._appended[0].index <= entry.index:
            appended = calls._appended.popleft()
            if appended.index == entry.index:
                return appended.proposals
            appended.proposals.fail_from(0, OutcomeUnknown("replaced"))
        return NO_PROPOSALS

    monkeypatch.setattr(PendingCalls, "take_proposals", take_by_index)

    with pytest.raises(Violation, match="was answered before it was applied"):
        run_many(OVERSLEEP)


def test_a_lease_that_runs_from_the_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def renew(core: Core, role: Leader, began_at: float) -> None:
        role.lease_from = core.now

    monkeypatch.setattr(leases, "renew", renew)

    with pytest.raises(Violation, match=r"^21: . has a lease from"):
        run_many(LATE_ANSWERS)


def test_a_stranded_leader_is_sent_a_snapshot_of_another_history_within_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Section 7: its log reaches that far, and something else stands there."""
    replace, seen = LogView.replace, []

    def see(log: LogView, snapshot: SnapshotMeta) -> None:
        if log.term_at(snapshot.index) not in {None, snapshot.term}:
            seen.append(snapshot.index)
        replace(log, snapshot)

    monkeypatch.setattr(LogView, "replace", see)

    run(STRAND)

    assert seen
