"""Nothing is claimed before it is on disk; what was cut does not come back by name (Figure 2; ABA)."""

from __future__ import annotations

import pytest

from raftswarm.raft.durability import Durability
from raftswarm.raft.messages import TimeoutNow


def message(to: int) -> TimeoutNow:
    return TimeoutNow(sender=1, to=to, term=1)


def test_a_message_waits_for_the_write_that_makes_it_true() -> None:
    durability = Durability(durable_index=0)
    for last_index in (1, 2):
        durability.hold(durability.hand_out(last_index, now=0.0), message(to=last_index))

    assert durability.complete(1) == [message(to=1)]
    assert durability.complete(2) == [message(to=2)]


def test_later_news_covers_earlier_writes_and_stale_news_say_nothing() -> None:
    durability = Durability(durable_index=0)
    durability.hold(durability.hand_out(1, now=0.0), message(to=1))
    durability.hold(durability.hand_out(2, now=0.0), message(to=2))

    assert durability.complete(2) == [message(to=1), message(to=2)]
    assert durability.complete(1) == []
    assert durability.durable_index == 2


def test_what_was_cut_is_not_durable_when_its_write_ends() -> None:
    durability = Durability(durable_index=0)
    durability.hand_out(5, now=0.0)
    assert durability.forget_after(3)
    durability.hand_out(4, now=0.0)

    durability.complete(1)
    assert durability.durable_index == 3

    durability.complete(2)
    assert durability.durable_index == 4


def test_entries_that_come_back_count_only_with_the_write_that_brings_them_back() -> None:
    durability = Durability(durable_index=3)
    durability.hand_out(5, now=0.0)  # Entries 4 and 5 …
    durability.forget_after(3)
    durability.hand_out(4, now=0.0)  # … cut for another leader's …
    durability.forget_after(3)
    durability.hand_out(5, now=0.0)  # … and back, with the same terms.

    durability.complete(1)
    assert durability.durable_index == 3  # A crash now may find the second write and not the third.

    durability.complete(3)
    assert durability.durable_index == 5


def test_a_write_that_was_never_handed_out_cannot_be_done() -> None:
    with pytest.raises(AssertionError):
        Durability(durable_index=0).complete(1)


def test_the_oldest_write_that_is_not_done_tells_how_slow_the_disk_is() -> None:
    durability = Durability(durable_index=0)
    assert durability.oldest_since is None
    for number, now in ((1, 5.0), (2, 6.0)):
        durability.hand_out(number, now)

    durability.complete(1)

    assert durability.oldest_since == 6.0
