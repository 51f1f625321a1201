"""A swarm of daemons on this machine: processes with their own names, addresses, state directories and sockets.

``swarm.json`` in the swarm's directory is the whole memory, so every command works from any shell.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import trio

from raftswarm.agent.addresses import give_back_ranges
from raftswarm.api.swarm import InitJson, JoinJson
from raftswarm.client import EngineClient
from raftswarm.errors import LinkError, RaftSwarmError
from raftswarm.local.addresses import give_back_block, node_address, take_block
from raftswarm.local.daemons import DaemonProcess, is_alive, is_stopped, launch, send_signal, wait_gone
from raftswarm.world.conditions import Conditions, read_conditions, write_conditions
from raftswarm.world.real_disk import RealDisk
from raftswarm.world.real_processes import kill_recorded, running_recorded
from raftswarm.world.runtime_directory import runtime_directory

PORT = 2377
SOCKET_PATH_LIMIT = 107
START_SECONDS = 20.0
STOP_SECONDS = 15.0

Progress = Callable[[str], None]


class LocalNode(msgspec.Struct, kw_only=True):
    """One daemon."""

    name: str
    role: str
    """``manager`` or ``worker``: what it was started as."""
    address: str
    """Host part; the port is 2377."""
    docker_host: str
    state_dir: str
    process: DaemonProcess | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.process.pid if self.process is not None and is_alive(self.process) else None

    @property
    def state(self) -> str:
        """``running``, ``paused`` or ``stopped``."""
        if self.pid is None:
            return "stopped"
        return "paused" if is_stopped(self.process) else "running"


class _Memory(msgspec.Struct, kw_only=True):
    version: int = 1
    block: int = 0
    nodes: list[LocalNode] = []


class LocalSwarm:
    """The daemons of one directory."""

    def __init__(self, directory: Path, memory: _Memory) -> None:
        self.directory = directory
        self._memory = memory

    # Making and finding.

    @classmethod
    def create(cls, directory: Path, *, managers: int, workers: int, name_prefix: str) -> LocalSwarm:
        """Lay out a new one; nothing runs yet."""
        directory = directory.absolute()
        if managers < 1:
            raise RaftSwarmError("a swarm needs at least one manager")
        if managers + workers > 200:
            raise RaftSwarmError("at most 200 nodes fit into one local swarm")
        if (directory / "swarm.json").exists():
            raise RaftSwarmError(
                f"{directory} already holds a local swarm; `raftswarm local down --dir {directory}` ends it"
            )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        swarm = cls(directory, _Memory())
        swarm._remember()
        swarm._memory.block = take_block(directory)
        for position in range(1, managers + workers + 1):
            name = f"{name_prefix}{position}"
            state = directory / name
            state.mkdir(mode=0o700, exist_ok=True)
            swarm._memory.nodes.append(
                LocalNode(
                    name=name,
                    role="manager" if position <= managers else "worker",
                    address=node_address(swarm._memory.block, position),
                    docker_host=f"unix://{swarm._socket_path(name)}",
                    state_dir=str(state),
                )
            )
        swarm._remember()
        return swarm

    @classmethod
    def open(cls, directory: Path) -> LocalSwarm:
        """Find the one in that directory."""
        directory = directory.absolute()
        try:
            data = (directory / "swarm.json").read_bytes()
        except FileNotFoundError:
            raise RaftSwarmError(
                f"no local swarm in {directory}; `raftswarm local up --dir {directory}` makes one"
            ) from None
        try:
            return cls(directory, msgspec.json.decode(data, type=_Memory))
        except msgspec.DecodeError as error:
            raise RaftSwarmError(f"{directory / 'swarm.json'} cannot be read: {error}") from error

    @property
    def nodes(self) -> list[LocalNode]:
        """All nodes, managers first."""
        return self._memory.nodes

    def node(self, name: str) -> LocalNode:
        """The node of that name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise RaftSwarmError(f"no node {name} here; there are {', '.join(node.name for node in self.nodes)}")

    # Running.

    async def start(self, *nodes: LocalNode) -> None:
        """Start daemons and wait until each answers on its socket."""
        for node in nodes:
            if node.pid is not None:
                raise RaftSwarmError(f"{node.name} runs already (pid {node.pid})")
            node.process = launch(self._arguments(node), Path(node.state_dir) / "daemon.log")
        self._remember()
        await _side_by_side([partial(self._wait_answering, node) for node in nodes])

    async def form(self, progress: Progress = lambda _: None) -> None:
        """Make the first node begin a swarm, and the others join it by token."""
        await self.begin()
        progress(f"{self.nodes[0].name} began the swarm")
        await self.join_others(progress)

    async def begin(self, options: InitJson | None = None) -> None:
        """Make the first node begin a swarm."""
        async with EngineClient(self.nodes[0].docker_host) as client:
            await client.swarm_init(options)

    async def join_others(self, progress: Progress = lambda _: None) -> None:
        """Let every other node join by token, managers one after another, workers beside each other."""
        first, *others = self.nodes
        async with EngineClient(first.docker_host) as client:
            tokens = (await client.swarm_inspect()).join_tokens

        async def join(node: LocalNode, token: str) -> None:
            async with EngineClient(node.docker_host) as client:
                await client.swarm_join(JoinJson(remote_addrs=[f"{first.address}:{PORT}"], join_token=token))
            progress(f"{node.name} joined as a {node.role}")

        for node in others:
            if node.role == "manager":
                await join(node, tokens.manager)
        await _side_by_side([partial(join, node, tokens.worker) for node in others if node.role == "worker"])

    async def stop(self, node: LocalNode) -> None:
        """Ask the daemon to stop (SIGTERM) and wait; its tasks live on, as Docker's live-restore keeps them."""
        send_signal(node.process, signal.SIGCONT)
        send_signal(node.process, signal.SIGTERM)
        if not await wait_gone(node.process, STOP_SECONDS):
            raise RaftSwarmError(
                f"{node.name} did not stop within {STOP_SECONDS:.0f} s; `raftswarm local kill {node.name}` will"
            )

    async def kill(self, node: LocalNode, *, machine: bool = False) -> None:
        """SIGKILL the daemon; with `machine` its tasks too, as if the power went."""
        send_signal(node.process, signal.SIGKILL)
        await wait_gone(node.process, STOP_SECONDS)
        if machine:
            kill_recorded(str(Path(node.state_dir) / "tasks"))

    def pause(self, node: LocalNode) -> None:
        """Freeze the daemon (SIGSTOP)."""
        send_signal(node.process, signal.SIGSTOP)

    def resume(self, node: LocalNode) -> None:
        """Let it go on (SIGCONT)."""
        send_signal(node.process, signal.SIGCONT)

    async def down(self) -> None:
        """End every daemon and every task, also those whose daemon is dead, and remove what they left."""
        for node in self.nodes:
            send_signal(node.process, signal.SIGKILL)
        for node in self.nodes:
            await wait_gone(node.process, STOP_SECONDS)
            kill_recorded(str(Path(node.state_dir) / "tasks"))
        for node in self.nodes:
            shutil.rmtree(node.state_dir, ignore_errors=True)
            give_back_ranges(RealDisk(), str(runtime_directory() / "addresses"), f"{node.state_dir}/tasks")
            self._socket_path(node.name).unlink(missing_ok=True)
        shutil.rmtree(runtime_directory() / "sockets" / str(self._memory.block), ignore_errors=True)
        write_conditions(self._conditions_file, Conditions())
        (self.directory / "swarm.json").unlink(missing_ok=True)
        give_back_block(self._memory.block, self.directory)
        if not any(self.directory.iterdir()):
            self.directory.rmdir()

    def task_processes(self, node: LocalNode) -> int:
        """How many tasks run as processes of that node, whoever knows of them."""
        return len(running_recorded(str(Path(node.state_dir) / "tasks")))

    # Trouble.

    @property
    def conditions(self) -> Conditions:
        """What befalls networks, disks and clocks now; hosts are those of `LocalNode.address`."""
        return read_conditions(self._conditions_file)

    @conditions.setter
    def conditions(self, conditions: Conditions) -> None:
        """Let the daemons suffer that, within `POLL_SECONDS`; those too that are started later."""
        write_conditions(self._conditions_file, conditions)

    # Particulars.

    def _arguments(self, node: LocalNode) -> list[str]:
        address = f"{node.address}:{PORT}"
        return [
            "daemon",
            *("--state-dir", node.state_dir),
            *("--hostname", node.name),
            *("--listen-addr", address),
            *("--advertise-addr", address),
            *("--api", node.docker_host),
            *("--conditions", str(self._conditions_file)),
        ]

    @property
    def _conditions_file(self) -> Path:
        return self.directory / "conditions.json"

    def _socket_path(self, name: str) -> Path:
        """Beside the state if that is short enough for a unix socket's name, else in the runtime directory."""
        path = self.directory / name / "docker.sock"
        if len(str(path).encode()) <= SOCKET_PATH_LIMIT:
            return path
        short = runtime_directory() / "sockets" / str(self._memory.block)
        short.mkdir(mode=0o700, parents=True, exist_ok=True)
        return short / f"{name}.sock"

    async def _wait_answering(self, node: LocalNode) -> None:
        with trio.move_on_after(START_SECONDS):
            while is_alive(node.process):
                try:
                    async with EngineClient(node.docker_host) as client:
                        await client.ping()
                except LinkError:
                    await trio.sleep(0.02)
                else:
                    return
        log = Path(node.state_dir) / "daemon.log"
        last = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
        raise RaftSwarmError(f"{node.name} did not start; the end of {log} says:\n" + "\n".join(last))

    def _remember(self) -> None:
        aside = self.directory / "swarm.json.new"
        aside.write_bytes(msgspec.json.format(msgspec.json.encode(self._memory), indent=2))
        aside.chmod(0o600)
        aside.rename(self.directory / "swarm.json")


async def _side_by_side(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Make calls at the same time; the first that fails ends the others, and its error comes out as it is."""
    failures: list[RaftSwarmError] = []
    async with trio.open_nursery() as nursery:

        async def run(call: Callable[[], Awaitable[None]]) -> None:
            try:
                await call()
            except RaftSwarmError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        for call in calls:
            nursery.start_soon(run, call)
    if failures:
        raise failures[0]
