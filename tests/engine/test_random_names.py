"""Names for services whose users gave none."""

from __future__ import annotations

import random

from raftswarm.engine.random_names import make_name


def test_random_names_are_valid_and_rarely_meet() -> None:
    chance = random.Random(7)
    names = [make_name(chance) for _ in range(200)]

    assert all(len(name) <= 63 and name.replace("_", "").isalnum() for name in names)
    assert len(set(names)) > 195
