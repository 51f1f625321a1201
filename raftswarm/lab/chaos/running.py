"""A run from beginning to end: a swarm comes up, is struck and mended under load, settles, is judged and goes down."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import attrs
import trio
from msgspec.structs import replace

from raftswarm.api.errors import ApiError
from raftswarm.api.swarm import InitJson
from raftswarm.client import EngineClient
from raftswarm.errors import InvalidSpec, LinkError, RaftSwarmError, Rejected
from raftswarm.lab.chaos.checks import Endings, count_acknowledged, find_lost, judge
from raftswarm.lab.chaos.measures import (
    find_outages,
    measure_availability,
    measure_convergence,
    measure_failover,
    slice_samples,
)
from raftswarm.lab.chaos.report import Report, Sight, Strike, encode_report
from raftswarm.lab.chaos.schedule import KINDS, TARGETS, PlannedFault, plan_faults
from raftswarm.lab.chaos.striking import Nemesis
from raftswarm.lab.chaos.watching import Watcher, started_twice, watched_service
from raftswarm.lab.chaos.workload import History, create_registers, read_finally, run_clients
from raftswarm.lab.linearizability import write_history
from raftswarm.local import LocalSwarm
from raftswarm.objects.defaults import SECOND
from raftswarm.objects.specs import DispatcherConfig, SwarmSpec

SWARM: Final = SwarmSpec(dispatcher=DispatcherConfig(heartbeat_period=SECOND))
"""A node that is silent for three periods is down: after 3 s instead of 15."""
READ_SECONDS: Final = 30.0
CLEARING_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.2


@attrs.frozen(kw_only=True)
class ChaosOptions:
    """What to do."""

    seed: int
    seconds: float = 120.0
    kinds: Sequence[str] = KINDS
    targets: Sequence[str] = TARGETS
    nodes: int = 5
    managers: int = 3
    directory: Path | None = None
    """Of a local swarm that runs; a new one is made if there is none."""
    keep: Path = Path()
    """Where a directory is made for history and logs if something does not hold."""


class Listener(Protocol):
    """Who is told of the run as it goes."""

    def progress(self, text: str) -> None:
        """Something to see meanwhile."""
        ...

    def struck(self, at: float, text: str, nodes: Sequence[str]) -> None:
        """A fault has begun."""
        ...

    def mended(self, at: float, text: str) -> None:
        """A fault has ended."""
        ...


async def run_chaos(options: ChaosOptions, listener: Listener) -> Report:
    """Run it all; nothing of it is left, whatever happens, but what is kept of a run that did not hold.

    Raises:
        InvalidSpec: the options fit no run.
        RaftSwarmError: the swarm did not come up.
    """
    plan = plan_faults(options.seed, options.seconds, kinds=options.kinds, targets=options.targets)
    async with _open_swarm(options, listener) as swarm:
        run = _Run(options, swarm, listener)
        try:
            return await run.go(plan)
        finally:
            if options.directory is not None:
                with trio.CancelScope(shield=True):
                    await run.clear()
            run.starts.unlink(missing_ok=True)


@asynccontextmanager
async def _open_swarm(options: ChaosOptions, listener: Listener) -> AsyncIterator[LocalSwarm]:
    """Yield a swarm of our own that goes down at the end, or one that runs and is healed at the end."""
    if options.directory is not None:
        swarm = LocalSwarm.open(options.directory)
        await _require_usable(swarm)
        yield swarm
        return
    if not 1 <= options.managers <= options.nodes:
        raise InvalidSpec(f"of {options.nodes} nodes {options.managers} cannot be managers")
    place = Path(tempfile.mkdtemp(prefix="raftswarm-chaos-"))
    swarm = LocalSwarm.create(
        place, managers=options.managers, workers=options.nodes - options.managers, name_prefix="docker"
    )
    try:
        listener.progress(f"starting {options.nodes} daemons")
        await swarm.start(*swarm.nodes)
        await swarm.begin(InitJson(spec=SWARM))
        await swarm.join_others(listener.progress)
        yield swarm
    finally:
        with trio.CancelScope(shield=True):
            await swarm.down()


async def _require_usable(swarm: LocalSwarm) -> None:
    silent = [node.name for node in swarm.nodes if node.state != "running"]
    if silent:
        raise InvalidSpec(f"{', '.join(silent)} does not run; `raftswarm local start` and `resume` help")
    async with EngineClient(swarm.nodes[0].docker_host) as client:
        spec = (await client.swarm_inspect()).spec
    if spec.encryption_config.auto_lock_managers:
        raise InvalidSpec("managers that lock when they restart cannot be struck; turn autolock off first")


class _Run:
    def __init__(self, options: ChaosOptions, swarm: LocalSwarm, listener: Listener) -> None:
        self._options = options
        self._swarm = swarm
        self._listener = listener
        self._began = trio.current_time()
        self._history = History(self._now)
        self._watcher = Watcher(swarm, self._now, replicas=len(swarm.nodes) + 1)
        self._nemesis = Nemesis(swarm, self._watcher.leader)
        self._strikes: list[Strike] = []
        self._troubles: list[str] = []
        self.starts = swarm.directory / "chaos-starts"

    def _now(self) -> float:
        return trio.current_time() - self._began

    async def go(self, plan: Sequence[PlannedFault]) -> Report:
        await self._set_up()
        self._began = trio.current_time()
        self._watcher.looks.clear()
        await self._suffer(plan)
        return await self._end()

    async def _set_up(self) -> None:
        self._listener.progress(f"starting {self._watcher.replicas} replicas")
        first = self._swarm.nodes[0]
        async with EngineClient(first.docker_host) as client:
            await client.create_service(watched_service(self._watcher.replicas, self.starts))
        await create_registers(self._history, first)
        if not await self._watcher.wait_whole():
            raise RaftSwarmError(f"the swarm did not come up whole; the daemons' logs are in {self._keep_logs()}")

    async def _suffer(self, plan: Sequence[PlannedFault]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_clients, self._history, self._watcher.managers, self._options.seed)
            nursery.start_soon(self._watcher.run)
            for fault in plan:
                await self._sleep_until(fault.at)
                await self._endure(fault)
            await self._sleep_until(self._options.seconds)
            nursery.cancel_scope.cancel()

    async def _sleep_until(self, at: float) -> None:
        await trio.sleep_until(self._began + at)

    async def _endure(self, fault: PlannedFault) -> None:
        nodes = await self._nemesis.choose(fault)
        names = [node.name for node in nodes]
        began = self._now()
        self._listener.struck(began, str(fault), names)
        try:
            await self._nemesis.strike(fault, nodes)
            await self._sleep_until(began + fault.seconds)
            await self._nemesis.mend(fault, nodes)
        except RaftSwarmError as error:
            self._troubles.append(f"{fault} ({names[0]}): {error}")
        ended = self._now()
        self._listener.mended(ended, str(fault))
        self._strikes.append(
            Strike(
                kind=fault.kind,
                text=str(fault),
                nodes=names,
                took_leader=fault.takes_leader,
                began=round(began, 3),
                ended=round(ended, 3),
            )
        )

    async def _end(self) -> Report:
        self._listener.progress("healing everything, and waiting until nothing is amiss")
        healed = self._now()
        try:
            await self._nemesis.heal()
        except RaftSwarmError as error:
            self._troubles.append(str(error))
        converged = self._now() - healed if await self._watcher.wait_whole() else None
        values = await self._read_finally()
        twice = started_twice(self.starts)
        left = await self.clear()
        endings = Endings(
            operations=self._history.operations,
            values=values,
            convergence_seconds=converged,
            started_twice=twice,
            left_over=left,
            troubles=self._troubles,
        )
        self._listener.progress(f"judging {len(endings.operations)} operations")
        report = self._report(endings)
        return report if report.held else self._keep(report)

    async def _read_finally(self) -> dict[str, str]:
        """Read all registers through all managers, which may take a while after what befell them."""
        reason = "no time"
        with trio.move_on_after(READ_SECONDS):
            while True:
                try:
                    return await read_finally(self._history, self._watcher.managers)
                except (ApiError, LinkError, Rejected) as error:
                    reason = str(error)
                await trio.sleep(POLL_SECONDS)
        self._troubles.append(f"the registers cannot be read: {reason}")
        return {}

    async def clear(self) -> list[str]:
        """Remove what we made; return what is left of it. What was healed already is healed again."""
        with suppress(RaftSwarmError):
            await self._nemesis.heal()
        with trio.move_on_after(CLEARING_SECONDS):
            while True:
                if await self._is_removed() and not self._watcher.processes():
                    return []
                await trio.sleep(POLL_SECONDS)
        return [
            f"{self._swarm.task_processes(node)} on {node.name}"
            for node in self._swarm.nodes
            if self._swarm.task_processes(node)
        ] or ["services that cannot be removed"]

    async def _is_removed(self) -> bool:
        """Remove our services; tell whether they are gone."""
        for node in self._watcher.managers:
            with suppress(ApiError, LinkError), trio.move_on_after(POLL_SECONDS * 10):
                async with EngineClient(node.docker_host) as client:
                    ours = [one.id for one in await client.services() if one.spec.name.startswith("chaos-")]
                    for service in ours:
                        await client.remove_service(service)
                    return not ours
        return False

    def _report(self, endings: Endings) -> Report:
        samples, seconds = self._history.samples, self._options.seconds
        outages = find_outages(samples, seconds)
        outcomes = [sample.outcome for sample in samples]
        return Report(
            seed=self._options.seed,
            seconds=seconds,
            kinds=list(self._options.kinds),
            nodes=len(self._swarm.nodes),
            managers=len(self._watcher.managers),
            replicas=self._watcher.replicas,
            checks=judge(endings),
            strikes=self._measured_strikes(),
            reads=sum(sample.kind == "read" and sample.outcome == "done" for sample in samples),
            committed=count_acknowledged(endings.operations),
            refused=outcomes.count("refused"),
            unknown=outcomes.count("unknown"),
            lost=len(find_lost(endings.operations, endings.values)),
            doubled=len(endings.started_twice),
            availability=measure_availability(outages, seconds),
            outages=outages,
            convergence_seconds=endings.convergence_seconds,
            slices=slice_samples(samples, seconds),
            sights=[
                Sight(
                    at=round(look.at, 3),
                    running=look.running,
                    ready=look.ready,
                    reachable=look.reachable,
                    leader=look.leader,
                )
                for look in self._watcher.looks
            ],
        )

    def _measured_strikes(self) -> list[Strike]:
        measured = []
        begins = [*(strike.began for strike in self._strikes[1:]), float("inf")]
        for strike, next_began in zip(self._strikes, begins, strict=True):
            failover = measure_failover(self._history.samples, strike.began) if strike.took_leader else None
            convergence = measure_convergence(self._watcher.looks, self._watcher.is_whole, strike.ended, next_began)
            measured.append(replace(strike, failover_seconds=failover, convergence_seconds=convergence))
        return measured

    def _keep(self, report: Report) -> Report:
        """Put history, report and logs where they stay."""
        place = self._keep_logs()
        write_history(place / "history.jsonl", self._history.operations)
        kept = replace(report, kept=str(place))
        (place / "report.json").write_bytes(encode_report(kept))
        return kept

    def _keep_logs(self) -> Path:
        """Copy the daemons' logs to a directory of their own."""
        self._options.keep.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f"chaos-seed-{self._options.seed}-", dir=self._options.keep))
        for node in self._swarm.nodes:
            log = Path(node.state_dir) / "daemon.log"
            if log.exists():
                shutil.copy(log, place / f"{node.name}.log")
        return place
