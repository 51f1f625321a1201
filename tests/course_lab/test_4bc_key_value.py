"""The key-value service, without snapshots (course lab, part 4B) and with them (4C).

Clients of the course repeat a call until it succeeds; these do not, and what they are not told counts as unknown.
"""

from __future__ import annotations

import pytest

from raftswarm.lab.linearizability import Operation
from tests.course_lab.key_value import (
    PATIENCE_SECONDS,
    SNAPSHOT_EVERY,
    Client,
    Load,
    assert_linearizable,
    make_store,
    run_load,
    values,
)
from tests.course_lab.lab import RELIABLE, SEEDS, UNRELIABLE, Lab, T

seeds = pytest.mark.parametrize("seed", SEEDS)
parts = pytest.mark.parametrize("compact", [False, True], ids=["4B", "4C"])
MAX_LOG_BYTES = 8 * 1000
MAX_SNAPSHOT_BYTES = 500


@parts
@seeds
def test_speed(seed: int, compact: bool) -> None:
    lab = make_store(seed, 3, compact=compact)
    client = Client(lab, [])
    lab.leader()
    began = lab.world.now
    for number in range(1000):
        client.insist("append", "x", f"{number} ")

    assert (lab.world.now - began) / 1000 <= 0.0333


def play(
    lab: Lab, load: Load, *, crash: bool = False, partitions: bool = False, rounds: int = 2, seconds: float = 2.5
) -> list[Operation]:
    """Load, then the power goes everywhere, if it does; and again. At the end all servers have the same."""
    history: list[Operation] = []
    done = 0
    for _ in range(rounds):
        lab.leader()
        done += run_load(lab, load, history, seconds=seconds, partitions=partitions)
        if crash:
            lab.restart(*lab.servers)
    lab.become(RELIABLE)
    Client(lab, history).insist("put", "end", "of it")
    lab.world.run_until(
        lambda: len({str(sorted(values(lab, server).items())) for server in lab.servers}) == 1,
        within_seconds=5 * T,
        what="the same on all servers",
    )
    assert done > 0
    return history


CASES = {
    "Basic": (5, 1, {}),
    "Concurrent": (5, 5, {}),
    "Unreliable": (5, 5, {"unreliable"}),
    "ManyPartitionsOne": (5, 1, {"partitions"}),
    "ManyPartitionsMany": (5, 5, {"partitions"}),
    "PersistOne": (5, 1, {"crash"}),
    "PersistConcurrent": (5, 5, {"crash"}),
    "PersistConcurrentUnreliable": (5, 5, {"crash", "unreliable"}),
    "PersistPartition": (5, 5, {"crash", "partitions"}),
    "PersistPartitionUnreliable": (5, 5, {"crash", "partitions", "unreliable"}),
    "PersistPartitionUnreliableLinearizable": (7, 15, {"crash", "partitions", "unreliable", "shared keys"}),
    "ManyClients": (5, 20, {}),
}


@parts
@pytest.mark.parametrize("case", CASES)
@seeds
def test_what_clients_see_is_linearizable(seed: int, case: str, compact: bool) -> None:
    servers, clients, faults = CASES[case]
    lab = make_store(seed, servers, network=UNRELIABLE if "unreliable" in faults else RELIABLE, compact=compact)
    load = Load(clients=clients, shared_keys="shared keys" in faults)

    history = play(lab, load, crash="crash" in faults, partitions="partitions" in faults)

    assert_linearizable(history)
    if compact:
        client = Client(lab, [])
        for _ in range(SNAPSHOT_EVERY):  # What a start finds on disk before its snapshot goes with the next one.
            client.insist("put", "end", "of it")
        lab.sleep(T)
        assert max(map(lab.log_bytes, lab.servers)) <= MAX_LOG_BYTES


@seeds
def test_one_partition(seed: int) -> None:
    """A minority answers neither put nor get, a majority does; after healing all goes on within 3 s."""
    lab = make_store(seed, 5)
    history: list[Operation] = []
    client = Client(lab, history)
    client.insist("put", "1", "13")
    leader = lab.leader()
    minority = [leader, lab.server(leader + 1)]
    lab.world.partition(minority, [server for server in lab.servers if server not in minority])
    cut_off = [Client(lab, history), Client(lab, history)]
    cut_off[0].ask("put", "1", "15", server=leader)
    cut_off[1].ask("get", "1", server=leader)
    lab.sleep(PATIENCE_SECONDS)
    majority = [server for server in lab.servers if server not in minority]
    lab.world.run_until(lambda: any(map(lab.leads, majority)), within_seconds=5 * T, what="a leader of the majority")
    client.ask("put", "1", "14", server=next(filter(lab.leads, majority)))

    assert client.finish()
    assert not any(call.finish() for call in cut_off)

    lab.world.heal()
    client.insist("put", "1", "16", within_seconds=3.0)
    client.insist("get", "1", within_seconds=3.0)
    assert history[-1].result == "16"
    assert_linearizable(history)


@seeds
def test_snapshot_rpc(seed: int) -> None:
    """A server that was away gets the state by a snapshot, and goes on from there."""
    lab = make_store(seed, 3, compact=True)
    client = Client(lab, [])
    client.insist("put", "a", "A")
    away = lab.server(lab.leader() + 1)
    lab.disconnect(away)
    for number in range(50):
        client.insist("put", str(number), str(number))
    lab.sleep(T)
    assert max(lab.log_bytes(server) for server in lab.connected) <= MAX_LOG_BYTES

    lab.connect(away)
    client.insist("put", "c", "C")
    lab.world.run_until(lambda: "c" in values(lab, away), within_seconds=5 * T, what="news at the server")

    assert lab.snapshots_sent > 0
    assert values(lab, away)["49"] == "49"
    lab.disconnect(lab.server(away + 1))
    client.insist("put", "d", "D")
    client.insist("get", "1")
    assert client.history[-1].result == "1"


@seeds
def test_snapshot_size(seed: int) -> None:
    lab = make_store(seed, 3, compact=True)
    client = Client(lab, [])
    for _ in range(200):
        client.insist("put", "x", "0")
        client.insist("put", "x", "1")
    lab.sleep(T)

    for server in lab.servers:
        assert lab.log_bytes(server) <= MAX_LOG_BYTES
        newest = lab.world.process(server).storage.read_snapshot()
        assert newest is not None
        assert sum(map(len, newest[1])) <= MAX_SNAPSHOT_BYTES
