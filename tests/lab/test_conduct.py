"""Each rule of conduct is seen to notice what breaks it, and lets pass what does not."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.lab.conduct import Conduct, Promises
from raftswarm.lab.invariants import Violation
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.member import StartingState
from raftswarm.raft.messages import HeartbeatReply, PreVote, RequestVote
from raftswarm.raft.ready import Leadership, Ready, Write
from raftswarm.raft.settings import RaftSettings

ALICE, BOB, CAROL, DAVE = 1, 2, 3, 4
SETTINGS = RaftSettings()
T = SETTINGS.election_seconds


def members(*voters: int) -> Configuration:
    return Configuration(voters=tuple(MemberInfo(id=voter) for voter in voters))


FOUNDERS = members(ALICE, BOB, CAROL)
WITHOUT_ALICE = members(BOB, CAROL)


def change(index: int, configuration: Configuration, term: int = 1) -> Entry:
    return Entry(
        index=index,
        term=term,
        kind=EntryKind.CONFIGURATION,
        first_command=1,
        time_ns=0,
        data=msgspec.msgpack.encode(configuration),
    )


def write(*entries: Entry, truncate_after: int | None = None) -> Write:
    last = entries[-1].index if entries else truncate_after or 0
    return Write(
        number=1, hard_state=None, truncate_after=truncate_after, entries=entries, last_index=last, last_term=1
    )


def make_conduct(*entries: Entry, snapshot: SnapshotMeta | None = None) -> Conduct:
    snapshot = snapshot or SnapshotMeta(index=1, term=1, configuration=FOUNDERS)
    start = StartingState(
        member_id=ALICE, cluster="c", boot=1, hard_state=HardState(), snapshot=snapshot, entries=entries
    )
    return Conduct(start, SETTINGS)


def lead(term: int = 1) -> Leadership:
    return Leadership(term=term, leader=ALICE, is_leader=True)


# 8: votes.


def test_a_vote_is_for_one_candidate_of_a_term() -> None:
    conduct = make_conduct()

    for term, candidate in ((0, 0), (1, 0), (1, BOB), (1, BOB), (2, 0), (2, CAROL)):
        conduct.votes(term, candidate)

    with pytest.raises(Violation, match=r"^8: member 1 voted for 3 in term 2, and now for 0"):
        conduct.votes(2, 0)


# 23: members in force.


def test_members_of_the_log_are_in_force_before_they_are_committed() -> None:
    conduct = make_conduct()

    conduct.handed_out(Ready(write=write(change(2, WITHOUT_ALICE))), WITHOUT_ALICE, 1)

    with pytest.raises(Violation, match=r"^23: member 1 acts on voters \[1, 2, 3\]"):
        conduct.handed_out(Ready(), FOUNDERS, 1)


def test_a_configuration_that_is_cut_off_is_undone_and_one_right_before_the_cut_is_not() -> None:
    conduct = make_conduct(change(2, members(ALICE, BOB)), change(3, members(ALICE)))

    conduct.handed_out(Ready(write=write(truncate_after=2)), members(ALICE, BOB), 1)

    with pytest.raises(Violation, match=r"^23:"):
        conduct.handed_out(Ready(), FOUNDERS, 1)


def test_an_installed_snapshot_brings_its_members() -> None:
    conduct = make_conduct(change(2, members(ALICE)))
    installed = SnapshotMeta(index=9, term=1, configuration=WITHOUT_ALICE)

    with pytest.raises(Violation, match=r"^23:"):
        conduct.handed_out(Ready(install=installed), members(ALICE), 9)


# 16: a leader that was removed.


def test_a_removed_leader_leads_until_that_is_committed() -> None:
    conduct = make_conduct()

    conduct.handed_out(Ready(write=write(change(2, WITHOUT_ALICE)), leadership=lead()), WITHOUT_ALICE, 1)

    with pytest.raises(Violation, match=r"^16: 1 leads, and members without it were committed at 2"):
        conduct.handed_out(Ready(), WITHOUT_ALICE, 2)


def test_a_leader_that_goes_in_the_same_turn_is_fine() -> None:
    conduct = make_conduct(change(2, WITHOUT_ALICE))
    conduct.handed_out(Ready(leadership=lead()), WITHOUT_ALICE, 1)

    conduct.handed_out(Ready(leadership=Leadership(term=1, leader=0, is_leader=False)), WITHOUT_ALICE, 2)


# 17: promises.


def pre_vote(term: int = 2) -> PreVote:
    return PreVote(sender=BOB, to=ALICE, term=term, boot=1, last_index=1, last_term=1)


def test_who_hears_a_leader_must_refuse_until_it_is_silent_for_long_or_somebody_stopped() -> None:
    conduct = make_conduct()

    assert conduct.must_refuse(pre_vote(), leader=CAROL, heard_at=5.0, now=5.0 + 0.9 * T)
    assert not conduct.must_refuse(pre_vote(), leader=CAROL, heard_at=5.0, now=5.0 + T)
    assert not conduct.must_refuse(pre_vote(), leader=0, heard_at=5.0, now=5.0)
    assert conduct.must_refuse(pre_vote(), leader=ALICE, heard_at=float("-inf"), now=5.0)
    conduct.heard_of_stop(5.0)
    assert not conduct.must_refuse(pre_vote(), leader=CAROL, heard_at=5.0, now=5.0)
    assert conduct.must_refuse(pre_vote(), leader=CAROL, heard_at=6.0 + T, now=6.0 + T)


def test_who_is_asked_to_take_over_may_be_voted_for() -> None:
    request = RequestVote(sender=BOB, to=ALICE, term=2, boot=1, last_index=1, last_term=1, transfer=True)

    assert not make_conduct().must_refuse(request, leader=CAROL, heard_at=5.0, now=5.0)


def test_giving_in_is_a_violation() -> None:
    with pytest.raises(Violation, match=r"^17: 1 hears that 3 leads, and gives in to a PreVote of 2 for term 2"):
        make_conduct().gave_in(pre_vote(), CAROL)


# 18: snapshots.


def test_a_snapshot_names_the_members_as_of_its_index() -> None:
    conduct = make_conduct()
    committed = change(4, WITHOUT_ALICE)
    conduct.handed_out(Ready(write=write(committed)), WITHOUT_ALICE, 1)
    conduct.handed_out(Ready(committed=(committed,)), WITHOUT_ALICE, 4)

    conduct.saved(SnapshotMeta(index=3, term=1, configuration=FOUNDERS))
    conduct.saved(SnapshotMeta(index=4, term=1, configuration=WITHOUT_ALICE))

    with pytest.raises(Violation, match=r"^18:"):
        conduct.saved(SnapshotMeta(index=3, term=1, configuration=WITHOUT_ALICE))


# 20: announcements.


def test_leadership_is_announced_when_all_before_it_is_applied() -> None:
    make_conduct().announced(2, first_index=8, applied_index=7)

    with pytest.raises(Violation, match=r"^20: 1 is said to lead term 2, and has applied 6 of the 7 entries before it"):
        make_conduct().announced(2, first_index=8, applied_index=6)


# 22: promises that leases count on.


def promise(seconds: float, heard_at: float) -> Promises:
    promises = Promises(ALICE)
    reply = HeartbeatReply(sender=ALICE, to=BOB, term=1, promise_seconds=seconds)
    promises.handed_out(Ready(messages=[reply]), heard_at)
    return promises


def ask(*, transfer: bool = False) -> RequestVote:
    return RequestVote(sender=CAROL, to=ALICE, term=2, last_index=1, last_term=1, transfer=transfer)


def test_a_vote_before_the_promise_ends_is_noticed() -> None:
    promises = promise(T, heard_at=5.0)

    with pytest.raises(Violation, match="22: 1 votes for 3 in term 2, and has promised"):
        promises.voted(ask(), 2, CAROL, now=5.0 + 0.9 * T)


@pytest.mark.parametrize(
    ("promised", "request_", "voted_for", "after"),
    [(T, ask(), CAROL, T), (0.0, ask(), CAROL, 0.1), (T, ask(transfer=True), CAROL, 0.1), (T, ask(), 0, 0.1)],
)
def test_a_promise_ends_and_holds_for_votes_alone_that_no_leader_asked_for(
    promised: float, request_: RequestVote, voted_for: int, after: float
) -> None:
    promise(promised, heard_at=5.0).voted(request_, 2, voted_for, now=5.0 + after)
