"""The invariants: each is shown a cluster that breaks it, and one that does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest

from raftswarm.lab.invariants import Invariants, MemberView, Violation
from raftswarm.lab.log_image import DurableImage
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.messages import AnyMessage, AppendEntries, AppendReply, Heartbeat, RequestVote, VoteReply
from raftswarm.raft.progress import Progress
from raftswarm.raft.ready import Leadership, Ready, Write
from raftswarm.storage.member_storage import Recovered

ALICE, BOB, CAROL = 1, 2, 3
VOTERS = Configuration(voters=tuple(MemberInfo(id=member) for member in (ALICE, BOB, CAROL)))


def entry(index: int, term: int, data: bytes = b"") -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=index, data=data)


class Cluster:
    """Three members that do what the test says, whether Raft allows it or not."""

    def __init__(self) -> None:
        self.invariants = Invariants()
        self.configuration = VOTERS
        self.views: dict[int, MemberView] = {}
        for member in (ALICE, BOB, CAROL):
            self.invariants.created(member, SnapshotMeta(configuration=VOTERS))
            self.start(member)

    def start(
        self,
        member: int,
        *entries: Entry,
        hard_state: HardState | None = None,
        snapshot: SnapshotMeta | None = None,
    ) -> None:
        self.views[member] = MemberView(0, 0, 0, VOTERS)
        self.invariants.started(
            member,
            Recovered(
                member_id=member,
                cluster="",
                incarnation=1,
                boot=1,
                hard_state=hard_state or HardState(),
                snapshot=snapshot or SnapshotMeta(configuration=VOTERS),
                entries=entries,
            ),
        )

    def hand_out(self, member: int, ready: Ready, *, term: int | None = None, commit: int | None = None) -> None:
        view = self.views[member]
        self.views[member] = MemberView(
            term=view.term if term is None else term,
            commit_index=view.commit_index if commit is None else commit,
            last_index=ready.write.last_index if ready.write else view.last_index,
            configuration=self.configuration,
        )
        self.invariants.handed_out(member, ready, self.views[member])

    def append(self, member: int, *entries: Entry, truncate_after: int | None = None) -> Write:
        """Append in memory; the disk has it only after `sync`."""
        write = Write(
            number=1,
            entries=entries,
            truncate_after=truncate_after,
            last_index=entries[-1].index if entries else truncate_after or 0,
            last_term=entries[-1].term if entries else 0,
        )
        self.hand_out(member, Ready(write=write))
        return write

    def sync(self, member: int, write: Write) -> None:
        self.invariants.disk_step_begins(member, partial(apply_write, write))
        self.invariants.disk_step_ends(member)

    def store(self, member: int, *entries: Entry) -> None:
        self.sync(member, self.append(member, *entries))

    def vote(self, member: int, term: int, candidate: int) -> None:
        write = Write(number=1, hard_state=HardState(term=term, voted_for=candidate))
        image = self.invariants.durable(member)
        self.sync(member, msgspec.structs.replace(write, last_index=image.log.last_index))

    def lead(self, member: int, term: int, supporter: int | None = None) -> None:
        """Lead a term with one vote more, which makes a majority."""
        self.give_vote(supporter or (CAROL if member == BOB else BOB), term, member)
        self.take_over(member, term)

    def give_vote(self, voter: int, term: int, candidate: int) -> None:
        self.vote(voter, term, candidate)
        reply = VoteReply(sender=voter, to=candidate, term=term, granted=True)
        self.hand_out(voter, Ready(messages=(reply,)), term=term)

    def take_over(self, member: int, term: int) -> None:
        self.vote(member, term, member)
        self.hand_out(member, Ready(leadership=Leadership(term, member, is_leader=True)), term=term)

    def commit(self, member: int, *entries: Entry) -> None:
        self.hand_out(member, Ready(committed=entries), commit=entries[-1].index)

    def send(self, member: int, message: AnyMessage) -> None:
        self.hand_out(member, Ready(messages=(message,)))


def apply_write(write: Write, image: DurableImage) -> None:
    image.wrote(write)


def violates(number: int, action: Callable[[], object]) -> None:
    with pytest.raises(Violation, match=f"^{number}:"):
        action()


def test_1_a_second_leader_in_a_term_is_found() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)

    violates(1, lambda: cluster.lead(BOB, 1))


def test_1_a_leader_of_another_term_is_fine() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)

    cluster.lead(BOB, 2)


def test_1_a_message_that_only_the_leader_may_send_counts_as_leading() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)
    cluster.vote(BOB, 1, ALICE)

    violates(1, lambda: cluster.send(BOB, Heartbeat(sender=BOB, to=CAROL, term=1, commit=0)))


def test_2_a_leader_that_overwrites_its_log_is_found() -> None:
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1), entry(2, 1))
    cluster.lead(ALICE, 2)

    violates(2, lambda: cluster.append(ALICE, entry(2, 2)))


def test_2_a_leader_that_cuts_its_log_is_found() -> None:
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1), entry(2, 1))
    cluster.lead(ALICE, 2)

    violates(2, lambda: cluster.append(ALICE, truncate_after=1))


def test_2_a_follower_may_do_both() -> None:
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1), entry(2, 1))

    cluster.store(ALICE, entry(2, 2))


def test_3_two_entries_with_one_name_are_found() -> None:
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1, b"one"))

    violates(3, lambda: cluster.store(BOB, entry(1, 1, b"other")))


def test_3_one_entry_after_two_pasts_is_found() -> None:
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1), entry(2, 3))

    violates(3, lambda: cluster.store(BOB, entry(1, 2), entry(2, 3)))


def test_4_a_leader_without_a_committed_entry_is_found() -> None:
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1))
    cluster.store(BOB, entry(1, 1))
    cluster.lead(ALICE, 1)
    cluster.commit(ALICE, entry(1, 1))

    violates(4, lambda: cluster.lead(CAROL, 2))


def test_4_a_leader_that_counts_for_an_entry_of_an_earlier_term_is_found() -> None:
    """Figure 8: such an entry may be durable on a majority and be overwritten still (5.4.2)."""
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1))
    cluster.store(BOB, entry(1, 1))
    cluster.lead(ALICE, 2)

    violates(4, lambda: cluster.commit(ALICE, entry(1, 1)))


def test_4_an_entry_of_an_earlier_term_is_committed_with_one_of_the_own() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 2)
    for member in (ALICE, BOB):
        cluster.store(member, entry(1, 1), entry(2, 2))

    cluster.commit(ALICE, entry(1, 1), entry(2, 2))


def test_4_a_leader_of_an_earlier_term_need_not_have_it() -> None:
    cluster = Cluster()
    cluster.give_vote(BOB, 2, CAROL)
    cluster.store(ALICE, entry(1, 3))
    cluster.store(BOB, entry(1, 3))
    cluster.lead(ALICE, 3)
    cluster.commit(ALICE, entry(1, 3))

    cluster.take_over(CAROL, 2)


def test_5_different_states_after_the_same_command_are_found() -> None:
    cluster = Cluster()
    cluster.invariants.applied(ALICE, 1, b"state")

    cluster.invariants.applied(BOB, 1, b"state")
    violates(5, lambda: cluster.invariants.applied(CAROL, 1, b"other"))


def test_6_another_entry_in_a_committed_place_is_found() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)
    for member in (ALICE, BOB):
        cluster.store(member, entry(1, 1))
    cluster.commit(ALICE, entry(1, 1))
    cluster.store(CAROL, entry(1, 2))

    violates(6, lambda: cluster.commit(CAROL, entry(1, 2)))


def test_6_a_gap_in_what_is_handed_out_is_found() -> None:
    cluster = Cluster()
    for member in (ALICE, BOB):
        cluster.store(member, entry(1, 1), entry(2, 1))

    violates(6, lambda: cluster.commit(ALICE, entry(2, 1)))


def test_7_a_commit_that_is_durable_on_a_minority_is_found() -> None:
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1))
    cluster.append(BOB, entry(1, 1))  # In its memory only.

    violates(7, lambda: cluster.commit(ALICE, entry(1, 1)))


def test_7_a_majority_is_enough_even_without_the_leader_itself() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)
    cluster.append(ALICE, entry(1, 1))
    cluster.store(BOB, entry(1, 1))
    cluster.store(CAROL, entry(1, 1))

    cluster.commit(ALICE, entry(1, 1))


def test_8_a_member_that_goes_back_in_time_is_found() -> None:
    cluster = Cluster()
    cluster.hand_out(ALICE, Ready(), term=2)

    violates(8, lambda: cluster.hand_out(ALICE, Ready(), term=1))


def test_8_a_commit_that_is_taken_back_is_found() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)
    for member in (ALICE, BOB):
        cluster.store(member, entry(1, 1))
    cluster.commit(ALICE, entry(1, 1))

    violates(8, lambda: cluster.hand_out(ALICE, Ready(), commit=0))


def test_8_a_restart_that_forgets_a_durable_vote_is_found() -> None:
    cluster = Cluster()
    cluster.vote(ALICE, 1, BOB)

    violates(8, lambda: cluster.start(ALICE, hard_state=HardState(term=1)))


def test_8_a_restart_that_forgets_a_durable_entry_is_found() -> None:
    cluster = Cluster()
    cluster.store(ALICE, entry(1, 1), entry(2, 1))

    violates(8, lambda: cluster.start(ALICE, entry(1, 1)))


def test_8_a_restart_may_find_a_write_that_was_under_way_or_not() -> None:
    for found in ((entry(1, 1),), (entry(1, 1), entry(2, 1))):
        cluster = Cluster()
        cluster.store(ALICE, entry(1, 1))
        under_way = cluster.append(ALICE, entry(2, 1))
        cluster.invariants.disk_step_begins(ALICE, partial(apply_write, under_way))

        cluster.start(ALICE, *found)


def test_9_a_commit_beyond_the_log_is_found() -> None:
    cluster = Cluster()

    violates(9, lambda: cluster.hand_out(ALICE, Ready(), commit=1))


def test_9_applying_beyond_the_commit_is_found() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)
    for member in (ALICE, BOB):
        cluster.store(member, entry(1, 1), entry(2, 1))
    cluster.commit(ALICE, entry(1, 1))
    cluster.invariants.turn_ended(ALICE, applied_index=1)

    violates(9, lambda: cluster.invariants.turn_ended(ALICE, applied_index=2))


def test_10_a_vote_that_leaves_before_it_is_durable_is_found() -> None:
    cluster = Cluster()
    reply = VoteReply(sender=ALICE, to=BOB, term=1, granted=True)

    violates(10, lambda: cluster.send(ALICE, reply))

    cluster.vote(ALICE, 1, BOB)
    cluster.send(ALICE, reply)


def test_1_a_second_vote_in_a_term_is_found_even_after_a_restart() -> None:
    cluster = Cluster()
    cluster.vote(ALICE, 1, BOB)
    cluster.send(ALICE, VoteReply(sender=ALICE, to=BOB, term=1, granted=True))
    cluster.vote(ALICE, 1, CAROL)

    violates(1, lambda: cluster.send(ALICE, VoteReply(sender=ALICE, to=CAROL, term=1, granted=True)))


def test_10_a_vote_is_safe_once_a_later_term_is_durable() -> None:
    cluster = Cluster()
    cluster.vote(ALICE, 3, 0)

    cluster.send(ALICE, VoteReply(sender=ALICE, to=BOB, term=1, granted=True))


def test_10_a_candidate_asks_only_after_its_own_vote() -> None:
    cluster = Cluster()
    request = RequestVote(sender=ALICE, to=BOB, term=1, last_index=0, last_term=0)

    violates(10, lambda: cluster.send(ALICE, request))


def test_10_an_acknowledgement_that_leaves_before_the_sync_is_found() -> None:
    cluster = Cluster()
    cluster.vote(BOB, 1, ALICE)
    write = cluster.append(BOB, entry(1, 1))
    reply = AppendReply(sender=BOB, to=ALICE, term=1, success=True, match_index=1)

    violates(10, lambda: cluster.send(BOB, reply))

    cluster.sync(BOB, write)
    cluster.send(BOB, reply)


def test_10_a_commit_that_nobody_reported_is_found() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)
    message = AppendEntries(sender=ALICE, to=BOB, term=1, previous_index=0, previous_term=0, commit=1)

    violates(10, lambda: cluster.send(ALICE, message))


def test_11_an_acknowledgement_that_the_follower_never_gave_is_found() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1, BOB)
    cluster.store(BOB, entry(1, 1))
    view = cluster.views[ALICE]

    def count_on(match_index: int) -> None:
        progress = {BOB: Progress(next_index=3, heard_at=0.0, match_index=match_index)}
        cluster.invariants.handed_out(ALICE, Ready(), msgspec.structs.replace(view, progress=progress))

    count_on(1)
    violates(11, lambda: count_on(2))


def test_11_an_entry_that_is_sent_again_after_it_was_acknowledged_is_found() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)
    progress = {BOB: Progress(next_index=1, heard_at=0.0, match_index=1)}
    view = msgspec.structs.replace(cluster.views[ALICE], progress=progress)

    violates(11, lambda: cluster.invariants.handed_out(ALICE, Ready(), view))


def change(index: int, configuration: Configuration) -> Entry:
    data = msgspec.msgpack.encode(configuration)
    return Entry(index=index, term=1, kind=EntryKind.CONFIGURATION, first_command=1, data=data)


def members(*voters: int, outgoing: Sequence[int] = (), auto_leave: bool = False) -> Configuration:
    return Configuration(voters=infos(voters), outgoing=infos(outgoing), auto_leave=auto_leave)


def infos(ids: Sequence[int]) -> tuple[MemberInfo, ...]:
    return tuple(MemberInfo(id=member) for member in ids)


def leading() -> Cluster:
    """Alice leads term 1 and has committed in it."""
    cluster = Cluster()
    cluster.lead(ALICE, 1)
    for member in (ALICE, BOB):
        cluster.store(member, entry(1, 1))
    cluster.commit(ALICE, entry(1, 1))
    return cluster


def test_12_two_voters_at_once_are_found() -> None:
    cluster = leading()

    violates(12, lambda: cluster.append(ALICE, change(2, members(ALICE))))


def test_12_a_change_before_the_last_is_committed_is_found() -> None:
    cluster = leading()
    cluster.append(ALICE, change(2, members(ALICE, BOB)))

    violates(12, lambda: cluster.append(ALICE, change(3, members(ALICE, BOB, CAROL))))


def test_12_a_change_before_anything_is_committed_in_the_term_is_found() -> None:
    cluster = Cluster()
    cluster.lead(ALICE, 1)

    violates(12, lambda: cluster.append(ALICE, change(1, members(ALICE, BOB))))


def test_12_a_follower_takes_what_its_leader_was_allowed_to_append() -> None:
    cluster = Cluster()

    cluster.append(BOB, change(1, members(ALICE, BOB)), change(2, members(ALICE)))


def test_13_a_leader_without_a_majority_of_votes_is_found() -> None:
    cluster = Cluster()

    violates(13, lambda: cluster.take_over(ALICE, 1))


def test_13_a_leader_without_a_majority_of_the_old_voters_is_found() -> None:
    cluster = Cluster()
    cluster.configuration = members(ALICE, 4, 5, outgoing=[ALICE, BOB, CAROL])
    for voter in (4, 5):
        cluster.invariants.created(voter, SnapshotMeta(configuration=VOTERS))
        cluster.start(voter)
        cluster.give_vote(voter, 1, ALICE)

    violates(13, lambda: cluster.take_over(ALICE, 1))
    cluster.give_vote(BOB, 1, ALICE)
    cluster.take_over(ALICE, 1)
