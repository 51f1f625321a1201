"""What operators do: other versions, backups, founding twice; and that a version or a disk that lies is found out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab import host as host_module
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.fault_events import (
    Crash,
    Fault,
    FaultEvent,
    FoundAgain,
    KeepBackup,
    Lose,
    RestoreBackup,
    Start,
    StartOlder,
    Stop,
    Upgrade,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.invariants import Violation
from raftswarm.lab.older_version import FORMATS, older_version
from raftswarm.lab.phases import check_liveness
from raftswarm.lab.seeds import run_seed
from raftswarm.raft import acquaintances
from raftswarm.storage import segment
from tests.lab.steps import T, agree, finish, followers, journal, lead, write


def strike(world: CoreWorld, *faults: Fault) -> None:
    for fault in faults:
        assert world.apply(fault), f"{fault} did not strike"


def upgrade(member: int, *, protocol: int = 1, has_leases: bool = False) -> Upgrade:
    return Upgrade(
        member,
        protocol=protocol,
        append_window_messages=1,
        append_message_bytes=1,
        uncommitted_bytes=512,
        segment_bytes=1,
        snapshot_every_commands=2,
        has_leases=has_leases,
    )


# Versions.


def test_a_rolling_upgrade_goes_through_while_clients_write() -> None:
    world = CoreWorld(1)
    lead(world)
    write(world, b"before")

    for member in (1, 2, 3):
        strike(world, upgrade(member, has_leases=True), Stop(member))
        world.run_for(0.1)
        strike(world, Start(member))
        world.run_for(3 * T)
        write(world, b"beside %d" % member)

    agree(world, b"before", b"beside 1", b"beside 2", b"beside 3")
    assert all(world.process(member).member._core.settings.lease_reads for member in world.running)
    assert world.has_leases


def test_a_version_is_in_force_from_the_next_start_on() -> None:
    world = CoreWorld(1)
    lead(world)

    strike(world, upgrade(1))

    assert world.process(1).member._core.settings.append_window_messages == 256
    strike(world, Stop(1), Start(1))
    assert world.process(1).member._core.settings.append_window_messages == 1


def test_members_that_are_not_on_speaking_terms_are_as_good_as_cut_off() -> None:
    world = CoreWorld(2)
    lead(world)
    stranger = followers(world)[0]
    strike(world, upgrade(stranger, protocol=2), Stop(stranger), Start(stranger))

    write(world, b"without it")
    world.run_for(5 * T)
    assert journal(world, stranger) == []
    others = [member for member in world.hosts if member != stranger]
    for member in others:
        strike(world, upgrade(member, protocol=2), Stop(member), Start(member))
        world.run_for(T)

    agree(world, b"without it")


def test_who_joins_speaks_the_newest_protocol() -> None:
    world = CoreWorld(2)
    lead(world)
    for member in (1, 2, 3):
        strike(world, upgrade(member, protocol=3), Stop(member), Start(member))
    lead(world)

    newcomer = world.build_member()
    finish(world, world.add_member(newcomer), within_seconds=10 * T)
    write(world, b"together")

    agree(world, b"together")


def test_upgrades_that_were_begun_are_ended_before_all_has_to_be_well() -> None:
    world = CoreWorld(3, members=5)
    lead(world)
    for member in (2, 4):
        strike(world, upgrade(member, protocol=2), Stop(member), Start(member))

    check_liveness(world)

    assert {host.software.protocol for host in world.hosts.values()} == {2}


def test_nobody_begins_to_count_on_a_clock_that_stands() -> None:
    world = CoreWorld(4)
    lead(world)
    world.hosts[2].clock.stand()

    assert not world.apply(upgrade(1, has_leases=True))
    assert world.apply(upgrade(1))


SMALL = CompactionPolicy(snapshot_every_commands=2)


@pytest.mark.parametrize("name", FORMATS)
def test_a_version_that_is_too_old_refuses_and_the_right_one_goes_on(name: str) -> None:
    world = CoreWorld(5, compaction=SMALL)
    lead(world)
    write(world, b"one", b"two", b"three")
    world.run_for(T)
    member = followers(world)[0]

    strike(world, StartOlder(member, name))
    assert world.hosts[member].process is None
    write(world, b"four")
    strike(world, Start(member))

    agree(world, b"one", b"two", b"three", b"four")


def test_an_old_version_finds_nothing_wrong_where_there_is_no_snapshot() -> None:
    world = CoreWorld(5)
    lead(world)

    assert not world.apply(StartOlder(1, "snapshots"))
    assert not world.apply(StartOlder(1, "poems"))
    assert world.hosts[1].process is not None


def test_a_version_that_does_not_look_at_the_format_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: any version of the log will do."""
    parse = segment.OpenSegment.parse

    def parse_any(*arguments: Any) -> segment.OpenSegment:
        with monkeypatch.context() as undone:
            undone.setattr(segment, "FORMAT_VERSION", 1)
            return parse(*arguments)

    monkeypatch.setattr(segment.OpenSegment, "parse", parse_any)
    world = CoreWorld(6)
    lead(world)

    with pytest.raises(Violation, match=r"19: a version that does not know its log runs member 1"):
        world.apply(StartOlder(1, "log"))


def test_a_version_that_touches_what_it_cannot_read_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: it begins its own segment before it looks at the snapshots."""
    recover = host_module.Host.recover

    def recover_eagerly(host: host_module.Host, disk: Any) -> object:
        disk.open("raft/log/99999999999999999999.segment", create=True)
        return recover(host, disk)

    monkeypatch.setattr(host_module.Host, "recover", recover_eagerly)
    world = CoreWorld(6)
    lead(world)
    write(world, b"one")

    with pytest.raises(Violation, match="19: an older version"):
        world.apply(StartOlder(1, "log"))


def test_the_version_is_what_it_was_afterwards() -> None:
    versions: list[int] = []

    def look_and_fail() -> None:
        with older_version("log"):
            versions.append(segment.FORMAT_VERSION)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look_and_fail()

    assert [*versions, segment.FORMAT_VERSION] == [0, 1]


# Founding twice.


@pytest.mark.parametrize("seed", range(5))
def test_a_member_that_is_founded_again_is_noticed_by_the_others(seed: int) -> None:
    world = CoreWorld(seed)
    lead(world)
    write(world, b"one", b"two")
    member = followers(world)[0]
    assert not world.apply(FoundAgain(member)), "its first start looks like another first start"
    strike(world, Crash(member), Start(member))
    world.run_for(T)

    strike(world, FoundAgain(member))
    assert world.suspect == member
    world.run_until(lambda: world.hosts[member].is_lost, within_seconds=3 * T, what="a member that is told")

    assert world.outcomes == {"regressed": 1}
    check_liveness(world)


def test_who_joined_later_was_never_founded() -> None:
    world = CoreWorld(7)
    lead(world)
    newcomer = world.build_member()
    strike(world, Crash(newcomer), Start(newcomer))

    assert not world.apply(FoundAgain(newcomer))


def found_again_behind_a_cut(world: CoreWorld) -> None:
    """A write is on the leader and on one follower, which is founded again; then both followers are left alone."""
    old = lead(world)
    forgetful, other = followers(world)
    strike(world, Crash(forgetful), Start(forgetful))
    world.run_for(T)
    world.partition([old, forgetful], [other])
    write(world, b"acknowledged")
    strike(world, FoundAgain(forgetful))
    world.partition([old], [forgetful])
    world.network.heal()
    world.partition([old], [forgetful, other])
    world.run_for(20 * T)


def test_who_was_founded_again_helps_nobody_to_lead() -> None:
    world = CoreWorld(7)

    found_again_behind_a_cut(world)

    assert world.outcomes == {"regressed": 1}


def test_a_cluster_that_believes_who_was_founded_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: every opening is as good as any other."""

    def judge(peer: acquaintances.Acquaintance, opening: Any) -> bool:
        peer.boot, peer.start = opening.boot, opening.start
        return True

    monkeypatch.setattr(acquaintances.Acquaintance, "judge", judge)
    monkeypatch.setattr(acquaintances.Acquaintance, "is_from_earlier_boot", lambda *_: False)

    with pytest.raises(Violation, match=r"4: .* leads term .* without entry"):
        found_again_behind_a_cut(CoreWorld(7))


# Backups.


def test_a_cluster_goes_on_from_its_backup() -> None:
    world = CoreWorld(8)
    lead(world)
    write(world, b"kept")
    strike(world, KeepBackup())
    write(world, b"lost")
    pending = world.propose(b"unknown")

    strike(world, RestoreBackup())
    assert pending.error is not None
    lead(world)
    write(world, b"new")

    agree(world, b"kept", b"new")
    check_liveness(world)


def test_machines_that_came_after_a_backup_are_taken_away() -> None:
    world = CoreWorld(8)
    lead(world)
    strike(world, KeepBackup())
    newcomer = world.build_member()
    finish(world, world.add_member(newcomer), within_seconds=10 * T)

    strike(world, RestoreBackup())

    assert world.hosts[newcomer].is_lost
    assert world.configuration.member_ids == (1, 2, 3)
    check_liveness(world)


def test_there_is_nothing_to_restore_without_a_backup_or_its_machines() -> None:
    world = CoreWorld(9)
    lead(world)
    assert not world.apply(RestoreBackup())
    strike(world, KeepBackup(), Lose(2))

    assert not world.apply(RestoreBackup())


def test_nobody_takes_a_backup_of_who_is_down() -> None:
    world = CoreWorld(9)
    lead(world)
    strike(world, Crash(2))

    assert not world.apply(KeepBackup())


def test_a_disk_that_is_not_what_was_backed_up_is_found() -> None:
    """A planted bug: a restored member lacks what it had."""
    world = CoreWorld(10)
    lead(world)
    write(world, b"one")
    strike(world, KeepBackup())
    world.run_for(T)
    assert world.backup is not None
    boot, configuration, _ = world.backup.disks[1]
    world.backup.disks[1] = (boot, configuration, world.hosts[1].found_anew())

    with pytest.raises(Violation, match=r"8: member 1 recovered"):
        world.apply(RestoreBackup())


# All of them together, by chance and by a script.


MIX = FaultMix(
    upgrade_every=6.0,
    older_version_every=3.0,
    found_again_every=6.0,
    backup_every=8.0,
    crash_every=4.0,
    down_seconds=0.3,
    power_share=0.5,
    session_share=0.5,
    call_every=0.05,
    compaction=CompactionPolicy(snapshot_every_commands=20, keep_entries=5),
)


@pytest.mark.parametrize("seed", range(1, 6))
def test_operators_violate_nothing_and_their_runs_can_be_repeated(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftswarm.lab.seeds.draw_fault_mix", lambda _: MIX)

    drawn = run_seed(seed, 20.0, members=3)
    scripted = run_seed(seed, 20.0, members=3, script=drawn.struck)

    assert drawn.failure is None
    assert (scripted.events, scripted.ended_at, scripted.failure) == (drawn.events, drawn.ended_at, None)
    assert {"upgrade", "start_older"} <= set(drawn.struck_by_kind)


def test_every_kind_strikes_in_some_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftswarm.lab.seeds.draw_fault_mix", lambda _: MIX)

    kinds = {kind for seed in range(1, 6) for kind in run_seed(seed, 20.0, members=3).struck_by_kind}

    assert {"upgrade", "start_older", "found_again", "keep_backup", "restore_backup"} <= kinds


@pytest.mark.parametrize(
    "fault",
    [upgrade(2, protocol=2, has_leases=True), StartOlder(2, "log"), FoundAgain(2), KeepBackup(), RestoreBackup()],
)
def test_a_recording_has_them_as_they_are(fault: Fault) -> None:
    line = msgspec.json.encode(FaultEvent(1.5, fault))

    assert msgspec.json.decode(line, type=FaultEvent) == FaultEvent(1.5, fault)
