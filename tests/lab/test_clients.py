"""Random clients: whoever numbers its commands sees each take effect once, whatever it has to send again (6.3)."""

from __future__ import annotations

import attrs
import pytest

from raftswarm.consensus.compaction import CompactionPolicy
from raftswarm.consensus.sessions import Sessions
from raftswarm.lab.clients import Clients
from raftswarm.lab.conditions import NetworkConditions
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.effects import Effects
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.history import Call
from raftswarm.lab.invariants import Violation
from raftswarm.lab.nemesis import Nemesis
from raftswarm.lab.queue_client import QueueClient
from raftswarm.wire.envelopes import encode_plain

UNSURE = FaultMix(
    network=NetworkConditions(loss=0.2, duplication=0.2),
    crash_every=2.0,
    down_seconds=0.3,
    clients=5,
    call_every=0.02,
    session_share=1.0,
    duplicate_share=0.3,
    wrong_member_share=0.3,
)


def run(seed: int, mix: FaultMix, seconds: float = 20.0) -> CoreWorld:
    world = CoreWorld(seed, faults=mix)
    Clients(world)
    Nemesis(world)
    world.run_for(seconds)
    return world


def test_commands_of_sessions_take_effect_once_under_faults() -> None:
    world = run(1, UNSURE)

    assert sum(world.effects.has_taken(client, 20) for client in range(1, 6)) == 5


def test_a_second_effect_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: the table forgets what it has answered."""
    monkeypatch.setattr(Sessions, "find_answer", lambda *_: None)

    with pytest.raises(Violation, match=r"^15: command \d+ of client \d took effect twice"):
        run(1, UNSURE)


def test_an_effect_at_another_place_is_a_second_one() -> None:
    effects = Effects()
    key = bytes(16)

    effects.took_effect(key, 7, 1)
    effects.took_effect(key, 7, 1)

    with pytest.raises(Violation):
        effects.took_effect(key, 8, 1)


def test_a_session_that_expires_is_followed_by_another() -> None:
    world = run(2, FaultMix(clients=1, call_every=1.5, session_share=1.0, session_idle_seconds=1), seconds=200.0)

    assert world.history.acknowledged_writes > 50
    assert world.effects.has_taken(1, 5)


def test_a_world_with_sessions_still_takes_plain_commands() -> None:
    world = CoreWorld(3, faults=FaultMix(session_share=0.5))
    world.run_for(3.0)

    call = world.propose(encode_plain(b"one"))
    world.run_for(1.0)

    assert call.result == 1


def test_there_may_be_many_clients_and_huge_commands() -> None:
    world = run(4, FaultMix(clients=50, call_every=0.05, huge_share=0.05), seconds=5.0)

    assert max(len(entry.data) for entry in world.invariants.committed.values()) > 1_500_000


def test_a_command_that_is_taken_before_an_earlier_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: the table minds no gap."""
    find = Sessions.find_answer
    monkeypatch.setattr(
        Sessions,
        "find_answer",
        lambda table, session, sequence: find(table, session, min(sequence, session.last + 1)),
    )

    with pytest.raises(Violation, match=r"^15: "):
        run(1, UNSURE)


def test_a_table_that_forgets_the_busiest_session_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    save = Sessions.save
    monkeypatch.setattr(Sessions, "save", lambda table: save(table)[::-1])

    with pytest.raises(Violation, match=r"^15: a session stands before one that was not used for longer"):
        run(1, attrs.evolve(UNSURE, compaction=CompactionPolicy(snapshot_every_commands=20)))


def test_what_was_refused_must_not_have_happened() -> None:
    effects = Effects()
    key = bytes(15) + b"\x07"
    effects.refuse(0, 7)

    with pytest.raises(Violation, match="took effect after it was refused"):
        effects.took_effect(key, 1, 1)
    with pytest.raises(Violation, match="took effect, and the client is told that not"):
        effects.refuse(0, 7)


@pytest.mark.parametrize("seed", range(4))
def test_a_client_does_not_wait_for_ever_for_a_member_that_sleeps(seed: int) -> None:
    """Half of what it asks goes there."""
    world = CoreWorld(seed, faults=FaultMix(clients=1, call_every=0.05, session_share=1.0, wrong_member_share=0.9))
    Clients(world)
    world.run_for(3.0)
    asleep = next(member for member in world.running if member != world.leader)
    world.pause(asleep)
    world.run_for(5.0)
    before = world.history.acknowledged_writes

    world.run_for(40.0)

    assert world.history.acknowledged_writes > before + 10


@pytest.mark.parametrize("is_set_back", [False, True])
def test_what_a_queue_has_to_send_again_is_forgotten_when_the_cluster_is_set_back(
    monkeypatch: pytest.MonkeyPatch, is_set_back: bool
) -> None:
    """What it waits for belongs to what was given up."""
    world = CoreWorld(1, faults=FaultMix(session_share=1.0, call_every=0.0))
    clients = Clients(world)
    clients.is_active = True
    client = QueueClient(world, clients, 1, world.chance("client 1"))
    client._ask()
    world.run_for(0.02)  # Nobody leads yet: it is refused, and is to try again.
    sent: list[bytes] = []
    propose = world.propose

    def listen(command: bytes = b"", *, member: int | None = None) -> Call:
        sent.append(command)
        return propose(command, member=member)

    monkeypatch.setattr(world, "propose", listen)
    world.restored += is_set_back
    world.run_for(0.5)

    assert bool(sent) is not is_set_back
