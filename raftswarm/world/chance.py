"""Randomness, in two kinds that never mix: chance for timing and choice, entropy for keys, salts, ids and serials.

Chance is a seeded `random.Random` that whoever needs it takes as an argument. Entropy comes through this protocol.
"""

from __future__ import annotations

import secrets
from random import Random
from typing import Protocol


class Entropy(Protocol):
    """Unpredictable bytes in reality, seeded ones in a simulated world."""

    def token_bytes(self, count: int) -> bytes:
        """Return that many random bytes."""
        ...


class SystemEntropy:
    """The operating system's; the only place that asks it."""

    def token_bytes(self, count: int) -> bytes:
        """Return that many random bytes."""
        return secrets.token_bytes(count)


class SeededEntropy:
    """Bytes for keys and salts that are the same for the same seed: for simulated worlds only."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def token_bytes(self, count: int) -> bytes:
        """Return that many."""
        return self._chance.randbytes(count)
