"""The laboratory of the course: servers that are cut off and crash, commands, and who has applied them.

Times are simulated seconds, with the default settings: ten heartbeats a second, an election timeout of 1 s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import count
from random import Random
from typing import Final

import attrs
import msgspec

from raftswarm.consensus.compaction import CompactionPolicy
from raftswarm.lab import Call, CoreWorld, FaultMix, NetworkConditions
from raftswarm.raft.log_view import weigh
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    Heartbeat,
    InstallSnapshot,
    PreVote,
    RequestVote,
    TimeoutNow,
)
from raftswarm.raft.state_machine import Captured, Context, StateMachine
from raftswarm.wire.member_codec import encode_message

FIRST_SEED: Final = int(os.environ.get("RAFTSWARM_FIRST_SEED", "1"))
SEEDS: Final = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("RAFTSWARM_SEEDS", "1")))
T: Final = 1.0
"""The election timeout, which the course's tests count in."""
LIMIT_SECONDS: Final = 120.0
"""No test may take longer."""

RELIABLE: Final = NetworkConditions()
UNRELIABLE: Final = NetworkConditions(jitter_seconds=0.009, loss=0.1)
"""Delays up to 27 ms, but for a few in a hundred; one message in ten is lost, requests and replies alike."""
LONG_REORDERING: Final = attrs.evolve(UNRELIABLE, reordering=1 / 3, reordering_seconds=2.2)
"""Two replies in three are late by up to 2.2 s: here a third of all messages, since requests are not spared."""

REQUESTS: Final = (AppendEntries, Heartbeat, InstallSnapshot, PreVote, RequestVote, TimeoutNow)


class Recorder:
    """Remembers every command, in order."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.indexes: dict[bytes, int] = {}

    def apply(self, command: bytes, context: Context) -> int:
        self.commands.append(command)
        self.indexes[command] = context.index
        return context.index

    def capture(self) -> Captured:
        return Captured(msgspec.msgpack.encode((self.commands, self.indexes)))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.commands, self.indexes = msgspec.msgpack.decode(
            b"".join(chunks), type=tuple[list[bytes], dict[bytes, int]]
        )


class Lab:
    """Some servers; which of them are connected; and how many bytes and requests they have sent."""

    def __init__(
        self,
        seed: int,
        servers: int,
        *,
        network: NetworkConditions = RELIABLE,
        compaction: CompactionPolicy | None = None,
        make_machine: Callable[[], StateMachine] = Recorder,
    ) -> None:
        self.world = CoreWorld(
            seed,
            members=servers,
            faults=FaultMix(network=network),
            compaction=compaction,
            make_machine=make_machine,
        )
        self.servers = list(range(1, servers + 1))
        self.chance: Random = self.world.chance("course lab")
        self.requests = 0
        self.bytes_sent = 0
        self.snapshots_sent = 0
        self._connected = dict.fromkeys(self.servers, True)
        self._numbers = count(1)
        self._listen()

    def _listen(self) -> None:
        post = self.world.network.post

        def count_and_post(message: AnyMessage) -> bool:
            self.requests += isinstance(message, REQUESTS)
            self.snapshots_sent += isinstance(message, InstallSnapshot)
            self.bytes_sent += len(encode_message(message))
            return post(message)

        self.world.network.post = count_and_post  # type: ignore[method-assign]

    # Servers.

    def server(self, number: int) -> int:
        """Return the server with that number, counted round and round."""
        return self.servers[(number - 1) % len(self.servers)]

    def is_up(self, server: int) -> bool:
        return self.world.hosts[server].process is not None

    @property
    def connected(self) -> list[int]:
        """Servers that run and are connected."""
        return [server for server in self.servers if self._connected[server] and self.is_up(server)]

    def disconnect(self, *servers: int) -> None:
        for server in servers:
            self._connected[server] = False
        self._cut()

    def connect(self, *servers: int) -> None:
        for server in servers:
            self._connected[server] = True
        self._cut()

    def _cut(self) -> None:
        network = self.world.network
        for one in self.servers:
            for other in self.servers:
                if one != other and self._connected[one] and self._connected[other]:
                    network.mend(one, other)
                elif one != other:
                    network.cut(one, other)

    def crash(self, *servers: int) -> None:
        for server in servers:
            if self.is_up(server):
                self.world.crash(server)

    def start(self, *servers: int) -> None:
        for server in servers:
            if not self.is_up(server):
                self.world.start(server)

    def restart(self, *servers: int) -> None:
        self.crash(*servers)
        self.start(*servers)

    def become(self, network: NetworkConditions) -> None:
        """Change how links are."""
        self.world.network.conditions = network

    # Time.

    def sleep(self, seconds: float) -> None:
        self.world.run_for(seconds)
        assert self.world.now < LIMIT_SECONDS, "the test takes too long"

    # Leaders.

    def leads(self, server: int) -> bool:
        return self.is_up(server) and self.world.process(server).leadership.is_leader

    def term(self, server: int) -> int:
        return self.world.process(server).member.term

    def leader(self) -> int:
        """Wait until one of those that are connected leads the newest term, for 5 s; no term has two."""
        until = self.world.now + 5 * T
        while self.world.now < until:
            self.sleep(0.05 * T)
            leaders = [server for server in self.connected if self.leads(server)]
            terms = [self.term(server) for server in leaders]
            assert len(set(terms)) == len(terms), "two leaders in one term"
            if leaders and max(terms) >= max(map(self.term, self.connected)):
                return max(leaders, key=self.term)
        raise AssertionError("no leader within 5 s")

    def no_leader(self) -> None:
        """Nobody of those that are connected believes to lead."""
        assert not any(map(self.leads, self.connected))

    def terms(self) -> set[int]:
        return set(map(self.term, self.connected))

    # Commands.

    def command(self, size: int = 0) -> bytes:
        """Return a command that was not there before."""
        return b"%d" % next(self._numbers) + bytes(size)

    def propose(self, server: int, command: bytes | None = None) -> bytes:
        """Give a server a command and leave it alone; in a turn of its own, so that it makes an entry of its own."""
        command = self.command() if command is None else command
        self.world.propose(command, member=server)
        self.sleep(0.0002)
        return command

    def log(self, server: int) -> list[bytes]:
        """The commands that a server has applied."""
        return self.recorder(server).commands

    def recorder(self, server: int) -> Recorder:
        machine = self.world.process(server).machine.machine
        assert isinstance(machine, Recorder)
        return machine

    def have(self, command: bytes) -> list[int]:
        """Servers that have applied it."""
        return [server for server in self.servers if self.is_up(server) and command in self.recorder(server).indexes]

    def one(self, expected: int, command: bytes | None = None, *, retry: bool = True) -> int:
        """Get a command applied by so many servers, within 10 s; return its index.

        Whoever leads is asked, and after 2 s without success somebody is asked again.
        """
        command = self.command() if command is None else command
        until = self.world.now + 10 * T
        while self.world.now < until:
            call = self._submit(command)
            patience = self.world.now + 2 * T
            while call is not None and self.world.now < patience:
                have = self.have(command)
                if len(have) >= expected:
                    return self.recorder(have[0]).indexes[command]
                if call.error is not None:
                    break
                self.sleep(0.02)
            assert retry or call is None, "no agreement within 2 s"
            self.sleep(0.05)
        raise AssertionError(f"no agreement of {expected} servers within 10 s")

    def _submit(self, command: bytes) -> Call | None:
        for server in self.connected:
            if self.leads(server):
                return self.world.propose(command, member=server)
        return None

    def wait_for(self, command: bytes, expected: int) -> None:
        self.world.run_until(
            lambda: len(self.have(command)) >= expected,
            within_seconds=10 * T,
            what=f"{command!r} on {expected} servers",
        )

    def agree(self) -> list[bytes]:
        """Return what all servers have applied: the same, but for some being behind."""
        logs = sorted((self.log(server) for server in self.servers if self.is_up(server)), key=len)
        for log in logs:
            assert log == logs[-1][: len(log)], "servers applied different commands"
        return logs[-1]

    def log_bytes(self, server: int) -> int:
        """What the entries behind the snapshot weigh."""
        member = self.world.process(server).member
        return sum(map(weigh, member.entries(member.first_index, member.last_index)))
