"""Your own state machine on a simulated cluster that fails all the time: what it forgets or leaves to chance is found.

python examples/state_machine_in_the_lab.py [SEEDS]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from random import Random

from raftswarm import Captured, Context, Rejected
from raftswarm.lab import CoreWorld, Nemesis, check_liveness, draw_fault_mix


class Bank:
    """Ten accounts; ``1 2 30`` moves 30 from the first to the second."""

    def __init__(self) -> None:
        self.accounts = [100] * 10

    def apply(self, command: bytes, context: Context) -> int:
        try:
            payer, payee, amount = map(int, command.split())
        except ValueError:
            raise Rejected(f"{command!r} is no transfer") from None
        if self.accounts[payer] < amount:
            raise Rejected("there is not enough")
        self.accounts[payer] -= amount
        self.accounts[payee] += amount
        return self.accounts[payer]

    def capture(self) -> Captured:
        return Captured(b" ".join(b"%d" % amount for amount in self.accounts))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.accounts = [int(amount) for amount in b"".join(chunks).split()]


for seed in range(1, int(sys.argv[1] if len(sys.argv) > 1 else "5") + 1):
    chance = Random(seed)
    world = CoreWorld(seed, members=3, faults=draw_fault_mix(chance), make_machine=Bank)
    nemesis = Nemesis(world)
    transfers = []
    for _ in range(200):
        payer, payee = chance.sample(range(10), 2)
        transfers.append(world.propose(b"%d %d %d" % (payer, payee, chance.randrange(50))))
        world.run_for(0.05)
    nemesis.stop()
    check_liveness(
        world
    )  # All is healed: everybody serves, and agrees on one state. Raises Violation, as all else does.
    moved = sum(transfer.acknowledged and transfer.error is None for transfer in transfers)
    print(f"seed {seed}: {len(world.struck)} faults, {moved} transfers, {world.now:.0f} simulated seconds: held")
