"""Crashes and a bad network (course lab, part 3C)."""

from __future__ import annotations

import pytest

from tests.course_lab.lab import LONG_REORDERING, RELIABLE, SEEDS, UNRELIABLE, Lab, T

seeds = pytest.mark.parametrize("seed", SEEDS)
ROUNDS = 1000
"""Of the tests named after Figure 8."""


@seeds
def test_persist_1(seed: int) -> None:
    lab = Lab(seed, 3)
    lab.one(3)
    lab.restart(*lab.servers)
    lab.one(3)

    first = lab.leader()
    lab.restart(first)
    lab.one(3)

    second = lab.leader()
    lab.crash(second)
    lab.one(2)
    lab.start(second)
    lab.one(3)

    follower = lab.server(lab.leader() + 1)
    lab.crash(follower)
    lab.one(2)
    lab.start(follower)
    lab.one(3)

    assert len(lab.agree()) == 7


@seeds
def test_persist_2(seed: int) -> None:
    lab = Lab(seed, 5)
    for _ in range(5):
        lab.one(5)
        leader = lab.leader()
        one, two, three, four = (lab.server(leader + step) for step in (1, 2, 3, 4))
        lab.crash(one, two)
        lab.one(3)
        lab.crash(leader, three, four)
        lab.start(one, two)
        lab.sleep(T)
        lab.start(three)
        lab.one(3)
        lab.start(four, leader)
    lab.one(5)

    assert len(lab.agree()) == 16


@seeds
def test_persist_3(seed: int) -> None:
    lab = Lab(seed, 3)
    lab.one(3)
    leader = lab.leader()
    one, two = lab.server(leader + 1), lab.server(leader + 2)
    lab.disconnect(two)
    lab.one(2)
    lab.crash(leader, one)
    lab.connect(two)
    lab.start(leader)
    lab.one(2)
    lab.start(one)
    lab.one(3)

    assert len(lab.agree()) == 4


def pause(lab: Lab) -> None:
    """Mostly a moment, so that entries are on some servers only; now and then long enough for a commit."""
    lab.sleep(lab.chance.random() * (T / 2 if lab.chance.random() < 0.1 else 0.013))


@seeds
def test_figure_8(seed: int) -> None:
    lab = Lab(seed, 5)
    lab.one(1)
    crashes = 0
    for _ in range(ROUNDS):
        leaders = [server for server in lab.servers if lab.leads(server)]
        for leader in leaders:
            lab.propose(leader)
        pause(lab)
        lab.crash(*leaders[-1:])
        crashes += len(leaders[-1:])
        down = [server for server in lab.servers if not lab.is_up(server)]
        if len(down) > 2:
            lab.start(lab.chance.choice(down))

    lab.start(*lab.servers)
    lab.one(5)
    lab.agree()
    assert crashes >= 20


@seeds
def test_unreliable_agree(seed: int) -> None:
    lab = Lab(seed, 5, network=UNRELIABLE)
    commands = []
    for _ in range(49):
        commands += [lab.propose(lab.leader()) for _ in range(4)]
        lab.one(1)
    lab.become(RELIABLE)
    lab.one(5)

    assert len(set(lab.agree()) & set(commands)) > 4 * 49 // 2


@seeds
def test_figure_8_unreliable(seed: int) -> None:
    lab = Lab(seed, 5, network=UNRELIABLE)
    lab.one(1)
    cuts = 0
    for number in range(ROUNDS):
        if number == 200:
            lab.become(LONG_REORDERING)
        leaders = [server for server in lab.servers if lab.leads(server)]
        for leader in leaders:
            lab.propose(leader)
        pause(lab)
        if leaders and lab.chance.random() < 0.5:
            lab.disconnect(leaders[-1])
            cuts += 1
        away = [server for server in lab.servers if server not in lab.connected]
        if len(away) > 2:
            lab.connect(lab.chance.choice(away))

    lab.connect(*lab.servers)
    lab.one(5)
    lab.agree()
    assert cuts >= 20


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "unreliable"])
@seeds
def test_churn(seed: int, reliable: bool) -> None:
    lab = Lab(seed, 5, network=RELIABLE if reliable else UNRELIABLE)
    clients = [Client(lab) for _ in range(3)]
    for _ in range(20):
        if lab.chance.random() < 0.2:
            lab.disconnect(lab.chance.choice(lab.servers))
        if lab.chance.random() < 0.5:
            chosen = lab.chance.choice(lab.servers)
            lab.start(chosen)
            lab.connect(chosen)
        if lab.chance.random() < 0.2:
            lab.crash(lab.chance.choice(lab.servers))
        for _ in range(35):
            for client in clients:
                client.go_on()
            lab.sleep(0.02 * T)

    lab.become(RELIABLE)
    lab.start(*lab.servers)
    lab.connect(*lab.servers)
    lab.one(5)

    acknowledged = {command for client in clients for command in client.acknowledged}
    assert acknowledged
    assert acknowledged <= set(lab.agree())


class Client:
    """Asks whoever leads for one command after another."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._command = b""
        self._call = lab.world.propose(self._command)
        self.acknowledged: list[bytes] = []

    def go_on(self) -> None:
        lab = self._lab
        if self._call.ended_at is None:
            return
        if self._call.acknowledged:
            self.acknowledged.append(self._command)
        leaders = [server for server in lab.servers if lab.leads(server)]
        if leaders:
            self._command = lab.command()
            self._call = lab.world.propose(self._command, member=lab.chance.choice(leaders))
