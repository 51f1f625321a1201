"""Epochs: which life of a cluster a log belongs to. Whoever is of an earlier one takes no part in a later one.

A recovery or a restore begins a new epoch, with the cluster's id, its certificates and its nodes' ids as they were. An
epoch is 48 bits: how often that happened, and 32 random bits, so that two recoveries from the same log, made by two
operators who did not know of each other, are two epochs and not one divided cluster. The greater one goes on.
"""

from __future__ import annotations

from typing import Final

from raftswarm.world.chance import Entropy

_RANDOM_BYTES: Final = 4
_RANDOM_BITS: Final = 8 * _RANDOM_BYTES


def next_epoch(epoch: int, entropy: Entropy) -> int:
    """Return one that is later than `epoch`, and that nobody else has."""
    count = (epoch >> _RANDOM_BITS) + 1
    return count << _RANDOM_BITS | int.from_bytes(entropy.token_bytes(_RANDOM_BYTES), "big")


def show_epoch(epoch: int) -> str:
    """Write it for people: 0 as founded, then ``1-5f0c93a2``, ``2-…``."""
    return f"{epoch >> _RANDOM_BITS}-{epoch & (1 << _RANDOM_BITS) - 1:08x}" if epoch else "0"
