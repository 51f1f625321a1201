"""Simulated links: what real ones report, and what they keep silent about."""

from __future__ import annotations

from random import Random

import attrs

from raftswarm.lab.conditions import NetworkConditions
from raftswarm.lab.event_heap import EventHeap
from raftswarm.lab.network import BulkEnd, SimulatedNetwork
from raftswarm.raft.messages import AnyMessage, Heartbeat, Opening

A, B, C = 1, 2, 3


@attrs.define
class Listener:
    """A process that writes down what its links tell."""

    told: list[str] = attrs.Factory(list)
    terms: list[int] = attrs.Factory(list)
    frames: list[bytes] = attrs.Factory(list)

    def received(self, message: AnyMessage) -> None:
        self.terms.append(message.term)

    def connected(self, peer: int) -> None:
        self.told.append(f"connected {peer}")

    def stopped(self, peer: int) -> None:
        self.told.append(f"stopped {peer}")

    def unreachable(self, peer: int) -> None:
        self.told.append(f"unreachable {peer}")

    def bulk_opened(self, peer: int, end: BulkEnd) -> None:
        def hear(frame: bytes) -> None:
            self.frames.append(frame)
            end.post(b"thanks")

        del peer
        end.listen(hear, lambda: self.told.append("broken"))


class Mesh:
    """Some processes, all linked."""

    def __init__(self, *members: int, conditions: NetworkConditions | None = None, seed: int = 0) -> None:
        self.heap = EventHeap()
        self.network = SimulatedNetwork(
            self.heap, lambda purpose: Random(f"{seed}/{purpose}"), conditions or NetworkConditions()
        )
        self.members = members
        self.at: dict[int, Listener] = {}
        for member in members:
            self.start(member)
        self.wait()

    def start(self, member: int) -> None:
        self.at[member] = Listener()
        self.network.attach(member, self.at[member])
        self.network.set_peers(member, [peer for peer in self.members if peer != member])

    def wait(self, seconds: float = 1.0) -> None:
        self.heap.run_until(self.heap.now + seconds)

    def say(self, sender: int, to: int, *terms: int) -> None:
        for term in terms:
            self.network.post(Heartbeat(sender=sender, to=to, term=term, commit=0))


def test_links_open_both_ways_and_carry_messages_in_order() -> None:
    mesh = Mesh(A, B)

    mesh.say(A, B, *range(50))
    mesh.wait()

    assert mesh.at[A].told == ["connected 2"]
    assert mesh.at[B].told == ["connected 1"]
    assert mesh.at[B].terms == list(range(50))


def test_a_process_that_dies_is_refused_at_once() -> None:
    mesh = Mesh(A, B)

    mesh.network.detach(B, power_lost=False)
    mesh.wait(0.05)

    assert mesh.at[A].told == ["connected 2", "stopped 2"]


def test_a_process_that_comes_back_is_connected_anew() -> None:
    mesh = Mesh(A, B)
    mesh.network.detach(B, power_lost=False)
    mesh.wait()
    mesh.say(A, B, 1)

    mesh.start(B)
    mesh.wait()
    mesh.say(A, B, 2)
    mesh.wait()

    assert mesh.at[A].told == ["connected 2", "stopped 2", "unreachable 2", "connected 2"]
    assert mesh.at[B].terms == [2]


def test_a_machine_without_power_is_silent() -> None:
    mesh = Mesh(A, B)

    mesh.network.detach(B, power_lost=True)
    mesh.say(A, B, 1)
    mesh.wait(60.0)

    assert mesh.at[A].told == ["connected 2"]


def test_a_partition_is_silent_even_about_a_death() -> None:
    mesh = Mesh(A, B)

    mesh.network.partition([A], [B])
    mesh.network.detach(B, power_lost=False)
    mesh.say(A, B, 1)
    mesh.wait(60.0)

    assert mesh.at[A].told == ["connected 2"]


def test_a_death_behind_a_partition_shows_when_it_heals() -> None:
    mesh = Mesh(A, B)
    mesh.network.partition([A], [B])
    mesh.network.detach(B, power_lost=False)

    mesh.network.heal()
    mesh.wait()

    assert mesh.at[A].told == ["connected 2", "stopped 2"]


def test_a_one_way_cut_leaves_the_other_way_open() -> None:
    mesh = Mesh(A, B)

    mesh.network.cut(A, B)
    mesh.say(A, B, 1)
    mesh.say(B, A, 2)
    mesh.wait()

    assert (mesh.at[B].terms, mesh.at[A].terms) == ([], [2])


def test_members_of_a_group_hear_each_other() -> None:
    mesh = Mesh(A, B, C)

    mesh.network.partition([A, B], [C])
    mesh.say(A, B, 1)
    mesh.say(A, C, 2)
    mesh.wait()
    mesh.network.heal()
    mesh.wait()
    mesh.say(A, C, 3)
    mesh.wait()

    assert (mesh.at[B].terms, mesh.at[C].terms) == ([1], [3])


def test_an_opening_that_a_cut_swallowed_is_asked_for_again() -> None:
    for seed in range(10):
        mesh = Mesh(A, B, seed=seed)
        mesh.network.cut(A, B)
        mesh.network.post(
            Opening(sender=A, to=B, term=0, cluster="", incarnation=1, boot=1, start=1, last_index=0, last_term=0)
        )

        mesh.network.heal()
        mesh.wait()

        assert mesh.at[A].told == ["connected 2", "connected 2"]


def test_losses_and_duplicates_come_at_their_rates() -> None:
    conditions = NetworkConditions(loss=0.3, duplication=0.5)
    mesh = Mesh(A, B, conditions=conditions)

    mesh.say(A, B, *range(2000))
    mesh.wait()

    arrived = len(set(mesh.at[B].terms))
    assert 0.65 < arrived / 2000 < 0.75
    assert 1.4 < len(mesh.at[B].terms) / arrived < 1.6


def test_reordered_messages_arrive_late_and_all() -> None:
    mesh = Mesh(A, B, conditions=NetworkConditions(reordering=0.5))

    mesh.say(A, B, *range(100))
    mesh.wait()

    assert mesh.at[B].terms != list(range(100))
    assert sorted(mesh.at[B].terms) == list(range(100))


def test_messages_in_flight_to_a_process_die_with_it() -> None:
    mesh = Mesh(A, B)
    mesh.say(A, B, 1)

    mesh.network.detach(B, power_lost=False)
    mesh.start(B)
    mesh.wait()

    assert mesh.at[B].terms == []


def test_nothing_is_sent_over_a_link_whose_other_end_was_replaced_unnoticed() -> None:
    mesh = Mesh(A, B)
    mesh.network.partition([A], [B])
    mesh.network.detach(B, power_lost=False)
    mesh.start(B)

    mesh.network.heal()
    mesh.say(A, B, 1)
    mesh.wait()
    mesh.say(A, B, 2)
    mesh.wait()

    assert mesh.at[B].terms == [2]
    assert mesh.at[A].told == ["connected 2", "connected 2"]


def test_who_is_spoken_to_may_answer_before_it_knows_the_speaker() -> None:
    mesh = Mesh(A, B)
    mesh.network.set_peers(B, [])
    mesh.say(B, A, 1)
    mesh.wait()

    mesh.say(B, A, 2)
    mesh.wait()

    assert mesh.at[A].terms == [2]


def test_an_answer_is_dialled_for_again_when_the_peers_death_overtook_the_dial() -> None:
    mesh = Mesh(A, B)
    mesh.network.set_peers(A, [])
    mesh.say(A, B, 1)
    mesh.wait()
    mesh.network.cut(A, B)
    mesh.network.post(Opening(sender=A, to=B, term=0, cluster="", incarnation=1, start=1, last_index=0, last_term=0))
    mesh.network.mend(A, B)
    mesh.network.detach(B, power_lost=False)
    mesh.wait()
    mesh.start(B)
    mesh.wait()

    mesh.say(A, B, 2)
    mesh.wait()
    mesh.say(A, B, 3)
    mesh.wait()

    assert mesh.at[B].terms == [3]


def test_peers_that_stay_are_not_dialled_again() -> None:
    """Or a change of the members would make a refusal that is on its way go by unheard."""
    mesh = Mesh(A, B, C)
    mesh.network.detach(B, power_lost=False)
    mesh.network.set_peers(A, [B])
    mesh.wait()

    assert "stopped 2" in mesh.at[A].told


class Caller:
    """The end that opened a link for a snapshot."""

    def __init__(self, mesh: Mesh) -> None:
        self.frames: list[bytes] = []
        self.broken = 0
        self.link = mesh.network.open_bulk(A, B, self.frames.append, self.breaks)

    def breaks(self) -> None:
        self.broken += 1


def test_frames_of_a_snapshot_arrive_in_order_and_are_answered() -> None:
    mesh = Mesh(A, B)
    caller = Caller(mesh)

    for frame in (b"one", b"two", b"three"):
        caller.link.post(frame)
    mesh.wait()

    assert mesh.at[B].frames == [b"one", b"two", b"three"]
    assert caller.frames == [b"thanks"] * 3
    assert not caller.broken


def test_a_cut_breaks_a_link_for_a_snapshot_at_both_ends() -> None:
    mesh = Mesh(A, B)
    caller = Caller(mesh)
    caller.link.post(b"before")
    mesh.wait()
    mesh.network.cut(A, B)

    caller.link.post(b"behind")
    mesh.wait(5.0)

    assert mesh.at[B].frames == [b"before"]
    assert (caller.broken, mesh.at[B].told[-1]) == (1, "broken")


def test_who_dies_breaks_its_links_for_snapshots() -> None:
    mesh = Mesh(A, B)
    caller = Caller(mesh)

    mesh.network.detach(B, power_lost=False)
    mesh.wait()

    assert caller.broken == 1


def test_a_link_for_a_snapshot_that_cannot_be_opened_breaks() -> None:
    mesh = Mesh(A, B)
    mesh.network.cut(A, B)

    caller = Caller(mesh)
    mesh.wait(5.0)

    assert caller.broken == 1


def test_damage_changes_a_single_bit() -> None:
    mesh = Mesh(A, B, conditions=NetworkConditions(damage=1.0))

    Caller(mesh).link.post(bytes(4))
    mesh.wait()

    (frame,) = mesh.at[B].frames
    assert int.from_bytes(frame, "big").bit_count() == 1


def test_a_short_queue_loses_what_it_has_no_room_for_and_says_so_once() -> None:
    mesh = Mesh(A, B, conditions=NetworkConditions(capacity=3))

    mesh.say(A, B, *range(10))
    mesh.wait()

    assert mesh.at[B].terms == [0, 1, 2]
    assert mesh.at[A].told == ["connected 2", "unreachable 2"]
    mesh.say(A, B, 10)
    mesh.wait()
    assert mesh.at[B].terms[-1] == 10


def test_a_slow_reader_takes_its_time_for_each_message() -> None:
    mesh = Mesh(A, B, conditions=NetworkConditions(reading_seconds=0.1))

    mesh.say(A, B, *range(10))
    mesh.wait(0.45)

    assert mesh.at[B].terms == [0, 1, 2, 3, 4]


def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    """Else what is said after everything was mended waits behind half a minute of what was said before."""
    mesh = Mesh(A, B, conditions=NetworkConditions(reading_seconds=0.1))

    mesh.say(A, B, *range(1000))
    mesh.wait(2.0)
    assert mesh.at[B].terms == list(range(11))

    mesh.say(A, B, 1000)
    mesh.wait(0.2)
    assert mesh.at[B].terms[-1] == 1000


def test_what_others_overtake_takes_up_no_room() -> None:
    conditions = NetworkConditions(capacity=1, reordering=1.0, reordering_seconds=10.0)
    mesh = Mesh(A, B, conditions=conditions)

    mesh.say(A, B, *range(5))
    mesh.wait(20.0)

    assert sorted(mesh.at[B].terms) == [0, 1, 2, 3, 4]


def test_a_clogged_link_loses_nothing_and_keeps_the_order() -> None:
    mesh = Mesh(A, B)
    assert mesh.network.clog(A, B)
    assert not mesh.network.clog(A, B)

    mesh.say(A, B, 1, 2, 3)
    mesh.wait()
    assert mesh.at[B].terms == []
    mesh.network.unclog(A, B)
    mesh.wait()

    assert mesh.at[B].terms == [1, 2, 3]


def test_what_is_under_way_on_a_broken_connection_arrives_after_the_new_one_is_there() -> None:
    mesh = Mesh(A, B)
    mesh.network.clog(A, B)
    mesh.say(A, B, 1)

    assert mesh.network.reconnect(A, B)
    mesh.wait()
    mesh.network.unclog(A, B)
    mesh.wait()

    assert mesh.at[A].told == ["connected 2", "connected 2"]
    assert mesh.at[B].terms == [1]


def test_a_damaged_message_breaks_its_connection_and_another_is_opened() -> None:
    mesh = Mesh(A, B, conditions=NetworkConditions(breakage=0.5))
    for term in range(20):
        mesh.say(A, B, term)
        mesh.wait()

    assert 3 < len(mesh.at[B].terms) < 17
    assert mesh.at[A].told.count("connected 2") == 1 + 20 - len(mesh.at[B].terms)


def test_a_half_open_connection_is_a_silence_that_a_new_one_ends() -> None:
    mesh = Mesh(A, B)
    assert mesh.network.half_open(A, B)

    mesh.say(A, B, 1)
    mesh.wait()
    mesh.network.heal()
    mesh.wait()
    mesh.say(A, B, 2)
    mesh.wait()

    assert mesh.at[B].terms == [2]
    assert mesh.at[A].told == ["connected 2", "connected 2"]


def test_links_draw_their_own_conditions() -> None:
    heap = EventHeap()
    kinds = (NetworkConditions(), NetworkConditions(loss=1.0))
    network = SimulatedNetwork(heap, Random, *kinds)
    listeners = {member: Listener() for member in range(1, 9)}
    for member, listener in listeners.items():
        network.attach(member, listener)
        network.set_peers(member, [peer for peer in listeners if peer != member])
    heap.run_until(1.0)

    for sender in listeners:
        for to in listeners:
            if sender != to:
                network.post(Heartbeat(sender=sender, to=to, term=sender, commit=0))
    heap.run_until(2.0)

    heard = sum(len(listener.terms) for listener in listeners.values())
    assert 10 < heard < 46
