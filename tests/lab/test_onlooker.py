"""The onlooker knows what the cluster is at, and counts what its members decide."""

from __future__ import annotations

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.coverage import Coverage
from raftswarm.lab.fault_events import Crash, Start
from raftswarm.lab.faults import DiskConditions, FaultMix
from raftswarm.lab.phase import Phase
from raftswarm.raft.events import Transition
from tests.lab.steps import T, finish, followers, lead, write

TEARING = 5
"""With this seed something unsynced is torn."""


def at_rest(world: CoreWorld) -> None:
    """Let all that goes on come to its end."""
    lead(world)
    world.run_for(2 * T)
    assert world.onlooker.phases() == [Phase.IDLE]


def coverage_of(world: CoreWorld) -> Coverage:
    return world.onlooker.coverage


def test_before_there_is_a_leader_it_is_an_election() -> None:
    world = CoreWorld(1)

    assert Phase.ELECTION in world.onlooker.phases()


def test_a_quiet_cluster_is_idle_also_without_one_member() -> None:
    world = CoreWorld(1)
    at_rest(world)

    world.crash(followers(world)[0])
    world.run_for(2 * T)

    assert world.onlooker.phases() == [Phase.IDLE]


def test_who_was_started_recovers_until_a_majority_has_found_its_memory_whole() -> None:
    world = CoreWorld(1)
    at_rest(world)
    member = followers(world)[0]

    world.crash(member)
    world.start(member)

    assert Phase.RECOVERY in world.onlooker.phases()


def test_who_lacks_entries_catches_up_by_entries_or_by_a_snapshot() -> None:
    world = CoreWorld(
        1, compaction=CompactionPolicy(snapshot_every_commands=20, keep_entries=0, keep_bytes_for_followers=0)
    )
    at_rest(world)
    member = followers(world)[0]
    world.isolate(member)
    for number in range(10):
        write(world, b"%d" % number)
    assert Phase.CATCHING_UP in world.onlooker.phases()

    write(world, *(b"%d" % number for number in range(30)))
    world.heal()
    world.run_until(lambda: Phase.SNAPSHOT in world.onlooker.phases(), within_seconds=5 * T, what="a snapshot")
    world.run_until(lambda: world.onlooker.phases() == [Phase.IDLE], within_seconds=9 * T, what="rest")


def test_a_joint_configuration_is_a_phase_of_its_own() -> None:
    world = CoreWorld(1)
    at_rest(world)

    finish(world, world.change_members(world.list_members([1, 2]), transition=Transition.EXPLICIT))

    assert world.onlooker.phases() == [Phase.JOINT]


def test_a_transfer_is_a_phase_until_the_heir_leads() -> None:
    world = CoreWorld(1)
    at_rest(world)

    world.transfer_leadership()
    world.run_until(lambda: Phase.TRANSFER in world.onlooker.phases(), within_seconds=T, what="a transfer")
    world.run_until(lambda: world.onlooker.phases() == [Phase.IDLE], within_seconds=3 * T, what="rest")


def test_a_fault_is_counted_in_every_phase_that_it_strikes_in() -> None:
    world = CoreWorld(1)
    at_rest(world)
    member = followers(world)[0]

    world.apply(Crash(member))
    assert not world.apply(Crash(member)), "it does not run any more"
    world.run_for(2 * T)
    world.apply(Start(member))

    assert coverage_of(world).pairs == {"crash idle": 1, "start idle": 1}


def test_decisions_are_counted_by_rule_and_case_and_by_role_and_input() -> None:
    world = CoreWorld(1)
    at_rest(world)

    coverage = coverage_of(world)

    assert coverage.marks["ELECTION_WON"] == 1
    ways = ("Candidate Written ELECTION_WON", "Candidate VoteReply ELECTION_WON")
    assert sum(coverage.triples.get(way, 0) for way in ways) == 1
    assert coverage.triples["Follower TimePassed taken"] > 0
    assert not any("Follower VoteReply ELECTION_WON" in triple for triple in coverage.triples)


def test_what_storage_decides_in_a_recovery_is_counted() -> None:
    world = CoreWorld(1, faults=FaultMix(disk=DiskConditions(latency_seconds=0.1)))
    leader = lead(world)
    world.propose(bytes(3000))
    world.run_for(0.05)

    world.apply(Crash(leader, 1, TEARING))
    world.apply(Start(leader))

    assert coverage_of(world).marks["TORN_TAIL_CUT"] == 1


def test_a_state_is_the_same_whoever_is_in_which_part_of_it() -> None:
    states = set()
    for seed in range(8):
        world = CoreWorld(seed)
        at_rest(world)
        world.onlooker.look()
        states |= {*coverage_of(world).states}

    assert "F==.= F==.= L==.=" in states
    assert not any(state.startswith("L") for state in states)


def test_looking_on_changes_nothing() -> None:
    one, other = CoreWorld(9), CoreWorld(9)
    for _ in range(300):
        one.heap.run_next()
        other.heap.run_next()
        one.onlooker.look()
        one.onlooker.phases()

    assert one.heap.next_time() == other.heap.next_time()
    assert [process.member.term for process in map(one.process, one.running)] == [
        process.member.term for process in map(other.process, other.running)
    ]
