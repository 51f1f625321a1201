"""``raftswarm info``: the engine, and the swarm as it sees it."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from raftswarm.api.swarm import ClusterJson
from raftswarm.api.system import InfoJson, SwarmInfoJson
from raftswarm.api.times import write_duration
from raftswarm.cli.session import with_engine
from raftswarm.cli.tables import render
from raftswarm.cli.words import describe_duration, describe_size
from raftswarm.client import EngineClient


@click.command(name="info")
@click.option("-f", "--format", "format_", help="'json' or a template")
def command(format_: str | None) -> None:
    """Display what an engine says about itself."""

    async def ask(engine: EngineClient) -> bytes:
        return await engine.request("GET", "/info")

    body = with_engine(ask)
    if format_ == "json":
        click.echo(body.decode().strip())
    elif format_ is not None:
        click.echo(render(format_, msgspec.json.decode(body)))
    else:
        info = msgspec.json.decode(body, type=InfoJson)
        click.echo("\n".join(_info_lines(info)))
        for warning in info.warnings or ():
            click.echo(warning, err=True)


def _info_lines(info: InfoJson) -> Iterator[str]:
    yield "Server:"
    yield f" Containers: {info.containers}"
    yield f"  Running: {info.containers_running}"
    yield f" Server Version: {info.server_version}"
    yield from _swarm_lines(info.swarm)
    yield f" Default Runtime: {info.default_runtime}"
    yield f" Kernel Version: {info.kernel_version}"
    yield f" Operating System: {info.operating_system}"
    yield f" OSType: {info.os_type}"
    yield f" Architecture: {info.architecture}"
    yield f" CPUs: {info.ncpu}"
    yield f" Total Memory: {describe_size(info.mem_total)}"
    yield f" Name: {info.name}"
    yield f" ID: {info.id}"
    yield f" Docker Root Dir: {info.docker_root_dir}"


def _swarm_lines(swarm: SwarmInfoJson) -> Iterator[str]:
    yield f" Swarm: {swarm.local_node_state}"
    if swarm.local_node_state in ("inactive", "locked"):
        return
    yield f"  NodeID: {swarm.node_id}"
    if swarm.error:
        yield f"  Error: {swarm.error}"
    yield f"  Is Manager: {'true' if swarm.control_available else 'false'}"
    if swarm.cluster is not None and swarm.control_available and not swarm.error:
        yield f"  ClusterID: {swarm.cluster.id}"
        yield f"  Managers: {swarm.managers}"
        yield f"  Nodes: {swarm.nodes}"
        yield from _cluster_lines(swarm.cluster)
    yield f"  Node Address: {swarm.node_addr}"
    if swarm.remote_managers:
        yield "  Manager Addresses:"
        yield from (f"   {address}" for address in sorted(manager.addr for manager in swarm.remote_managers))


def _cluster_lines(cluster: ClusterJson) -> Iterator[str]:
    spec = cluster.spec
    if cluster.default_addr_pool:
        yield f"  Default Address Pool: {' '.join(cluster.default_addr_pool)}  "
        yield f"  SubnetSize: {cluster.subnet_size}"
    if cluster.data_path_port:
        yield f"  Data Path Port: {cluster.data_path_port}"
    yield "  Orchestration:"
    yield f"   Task History Retention Limit: {spec.orchestration.task_history_retention_limit or 0}"
    yield "  Raft:"
    yield f"   Snapshot Interval: {spec.raft.snapshot_interval}"
    if spec.raft.keep_old_snapshots is not None:
        yield f"   Number of Old Snapshots to Retain: {spec.raft.keep_old_snapshots}"
    yield f"   Heartbeat Tick: {spec.raft.heartbeat_tick}"
    yield f"   Election Tick: {spec.raft.election_tick}"
    yield "  Dispatcher:"
    yield f"   Heartbeat Period: {_in_words(spec.dispatcher.heartbeat_period)}"
    yield "  CA Configuration:"
    yield f"   Expiry Duration: {_in_words(spec.ca_config.node_cert_expiry)}"
    yield f"   Force Rotate: {spec.ca_config.force_rotate}"
    for authority in spec.ca_config.external_cas or ():
        yield f"   External CA: {authority.protocol}: {authority.url}"
    yield f"  Autolock Managers: {'true' if spec.encryption_config.auto_lock_managers else 'false'}"
    yield f"  Root Rotation In Progress: {'true' if cluster.root_rotation_in_progress else 'false'}"


def _in_words(duration_ns: int) -> str:
    seconds, rest = divmod(duration_ns, 1_000_000_000)
    return write_duration(duration_ns) if rest else describe_duration(seconds)
