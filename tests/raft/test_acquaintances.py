"""Who comes back with less than it claimed is noticed; who only was slow or truncated is not (docs/raft.md)."""

from __future__ import annotations

from raftswarm.raft.acquaintances import Acquaintance
from raftswarm.raft.messages import Opening


def opening(
    *, boot: int, term: int = 0, last_index: int = 0, start: int | None = None, incarnation: int = 1
) -> Opening:
    return Opening(
        sender=2,
        to=1,
        term=term,
        boot=boot,
        cluster="test",
        incarnation=incarnation,
        start=start or 100 + boot,
        last_index=last_index,
        last_term=term,
    )


def restarted(peer: Acquaintance, boot: int) -> Acquaintance:
    peer.begin_boot(boot)
    return peer


def test_a_start_that_knows_its_terms_and_entries_is_welcome() -> None:
    peer = Acquaintance(boot=1)
    peer.hear_term(4)
    peer.hear_acknowledged(leader_term=4, match_index=10, commit_index=8)

    assert restarted(peer, 2).judge(opening(boot=2, term=4, last_index=10))


def test_a_start_that_lost_a_term_is_regressed() -> None:
    peer = Acquaintance(boot=1)
    peer.hear_term(4)

    assert not restarted(peer, 2).judge(opening(boot=2, term=3, last_index=99))
    assert peer.is_regressed


def test_a_start_that_lost_what_it_acknowledged_in_this_term_is_regressed() -> None:
    peer = Acquaintance(boot=1)
    peer.hear_acknowledged(leader_term=4, match_index=10, commit_index=5)

    assert not restarted(peer, 2).judge(opening(boot=2, term=4, last_index=9))


def test_what_was_never_committed_may_have_been_given_up_for_a_later_leader() -> None:
    peer = Acquaintance(boot=1)
    peer.hear_acknowledged(leader_term=4, match_index=10, commit_index=5)

    assert restarted(peer, 2).judge(opening(boot=2, term=5, last_index=5))


def test_what_was_committed_may_never_be_lost() -> None:
    peer = Acquaintance(boot=1)
    peer.hear_acknowledged(leader_term=4, match_index=10, commit_index=5)

    assert not restarted(peer, 2).judge(opening(boot=2, term=5, last_index=4))


def test_what_a_new_boot_said_before_its_opening_arrived_is_not_held_against_it() -> None:
    peer = restarted(Acquaintance(boot=1), 2)
    peer.hear_term(9)
    peer.hear_acknowledged(leader_term=9, match_index=50, commit_index=50)

    assert peer.judge(opening(boot=2, term=3, last_index=7))


def test_a_repeated_opening_is_judged_as_before() -> None:
    peer = restarted(Acquaintance(boot=1), 2)
    peer.judge(opening(boot=2))
    peer.hear_term(9)

    assert peer.judge(opening(boot=2))


def test_two_starts_with_one_boot_number_are_two_copies_of_a_disk() -> None:
    peer = restarted(Acquaintance(boot=1), 2)
    assert peer.judge(opening(boot=2, start=7))

    assert not peer.judge(opening(boot=2, start=8))
    assert peer.is_regressed


def test_an_opening_of_an_earlier_boot_does_not_discredit_the_present_one() -> None:
    peer = restarted(Acquaintance(boot=1), 5)

    assert not peer.judge(opening(boot=4))
    assert not peer.is_regressed
    assert peer.judge(opening(boot=5))


def test_a_regressed_peer_stays_so_over_restarts_until_it_is_added_anew() -> None:
    peer = Acquaintance(boot=1)
    peer.hear_term(4)
    restarted(peer, 2).judge(opening(boot=2, term=0))

    assert not restarted(peer, 3).judge(opening(boot=3, term=9, last_index=99))
    assert peer.judge(opening(boot=1, incarnation=2))
    assert not peer.is_regressed
