"""The swarm itself in Docker's JSON, and what init, join, update and unlock ask for."""

from __future__ import annotations

import base64
import ipaddress
import re
from functools import lru_cache
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from raftswarm.api.errors import ApiError
from raftswarm.api.nodes import TLSInfoJson, VersionJson
from raftswarm.api.times import ZERO_TIME, write_time
from raftswarm.objects import records
from raftswarm.objects.docker_names import DockerStruct, shown
from raftswarm.objects.specs import CAConfig, DispatcherConfig, OrchestrationConfig, RaftConfig, SwarmSpec

DEFAULT_ADDRESS_POOL: Final = ("10.0.0.0/8",)
_ADVERTISE_REFUSAL: Final = (
    "advertise address must be a non-zero IP address or network interface (with optional port number)"
)
_LISTEN_REFUSAL: Final = "listen address must be an IP address or network interface (with optional port number)"
_ZERO_SPEC: Final = SwarmSpec(
    name="",
    orchestration=OrchestrationConfig(task_history_retention_limit=None),
    raft=RaftConfig(
        snapshot_interval=0,
        keep_old_snapshots=None,
        log_entries_for_slow_followers=0,
        election_tick=0,
        heartbeat_tick=0,
    ),
    dispatcher=DispatcherConfig(heartbeat_period=0),
    ca_config=CAConfig(node_cert_expiry=0),
)
_UNLOCK_KEY: Final = re.compile(r"SWMKEY-1-[A-Za-z0-9+/]{43}")


class JoinTokensJson(DockerStruct, frozen=True, kw_only=True):
    """What lets nodes in."""

    worker: str = shown("")
    manager: str = shown("")


class ClusterJson(DockerStruct, frozen=True, kw_only=True):
    """The swarm, as ``GET /info`` shows it. The defaults are Go's zero values: what a manager without quorum says."""

    id: str = shown("")
    version: VersionJson = shown(VersionJson())
    created_at: str = shown(ZERO_TIME)
    updated_at: str = shown(ZERO_TIME)
    spec: SwarmSpec = shown(_ZERO_SPEC)
    tls_info: TLSInfoJson = shown(TLSInfoJson())
    root_rotation_in_progress: bool = shown(False)
    default_addr_pool: list[str] | None = shown(None)
    subnet_size: int = shown(0)
    data_path_port: int = shown(0)
    unlock_by_peers: bool = False
    """Whether managers give each other the unlock key: ours, and left out where Docker would say the same."""


class SwarmJson(ClusterJson, frozen=True, kw_only=True):
    """``GET /swarm``: the same with the tokens."""

    join_tokens: JoinTokensJson = shown(JoinTokensJson())


class InitJson(DockerStruct, frozen=True, kw_only=True):
    """``POST /swarm/init``."""

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    force_new_cluster: bool = False
    spec: SwarmSpec = SwarmSpec()
    auto_lock_managers: bool = False
    availability: str = ""
    default_addr_pool: list[str] = []
    subnet_size: int = 0


class JoinJson(DockerStruct, frozen=True, kw_only=True):
    """``POST /swarm/join``."""

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    remote_addrs: list[str] = []
    join_token: str = ""
    availability: str = ""


class RejoinJson(DockerStruct, frozen=True, kw_only=True):
    """``POST /swarm/rejoin``: where the managers are now."""

    remote_addrs: list[str] = []


class UnlockKeyJson(DockerStruct, frozen=True, kw_only=True):
    """``GET /swarm/unlockkey`` and ``POST /swarm/unlock``."""

    unlock_key: str = shown("")


class SnapshotJson(DockerStruct, frozen=True, kw_only=True):
    """``POST /swarm/snapshot``: under which key, derived from a passphrase with that salt; empty: the unlock key."""

    key: str = ""
    salt: str = ""


def show_cluster(cluster: records.Cluster | None) -> ClusterJson:
    """Render the swarm for ``GET /info``; None when it is not known."""
    if cluster is None:
        return ClusterJson()
    # The pool is shown only where somebody chose one.
    pool = None if cluster.default_address_pool == DEFAULT_ADDRESS_POOL else list(cluster.default_address_pool)
    return ClusterJson(
        id=cluster.id,
        version=VersionJson(index=cluster.version),
        created_at=write_time(cluster.created_at),
        updated_at=write_time(cluster.updated_at),
        spec=replace(cluster.spec, ca_config=replace(cluster.spec.ca_config, signing_ca_key="")),
        tls_info=describe_root(cluster.root_certificate),
        default_addr_pool=pool,
        subnet_size=cluster.subnet_size,
        data_path_port=cluster.data_path_port,
        unlock_by_peers=cluster.unlock_by_peers,
    )


def show_swarm(cluster: records.Cluster) -> SwarmJson:
    """Render the swarm with its join tokens."""
    tokens = JoinTokensJson(worker=cluster.join_tokens.worker, manager=cluster.join_tokens.manager)
    return SwarmJson(**msgspec.structs.asdict(show_cluster(cluster)), join_tokens=tokens)


@lru_cache(maxsize=4)
def describe_root(certificate: str) -> TLSInfoJson:
    """Say what a root certificate is, as nodes compare it."""
    try:
        root = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        return TLSInfoJson(trust_root=certificate)
    subject = root.subject.public_bytes()
    key = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return TLSInfoJson(
        trust_root=certificate,
        cert_issuer_subject=base64.b64encode(subject).decode(),
        cert_issuer_public_key=base64.b64encode(key).decode(),
    )


def parse_swarm_spec(spec: SwarmSpec) -> SwarmSpec:
    """Normalise a swarm's spec: zero stands for the default, as Docker takes it."""
    normal = SwarmSpec()
    raft = spec.raft
    return replace(
        spec,
        name=spec.name or normal.name,
        raft=replace(
            raft,
            snapshot_interval=raft.snapshot_interval or normal.raft.snapshot_interval,
            log_entries_for_slow_followers=raft.log_entries_for_slow_followers
            or normal.raft.log_entries_for_slow_followers,
            election_tick=raft.election_tick or normal.raft.election_tick,
            heartbeat_tick=raft.heartbeat_tick or normal.raft.heartbeat_tick,
        ),
        dispatcher=replace(
            spec.dispatcher, heartbeat_period=spec.dispatcher.heartbeat_period or normal.dispatcher.heartbeat_period
        ),
        ca_config=replace(
            spec.ca_config, node_cert_expiry=spec.ca_config.node_cert_expiry or normal.ca_config.node_cert_expiry
        ),
    )


def parse_listen_address(address: str) -> str:
    """Check ``ip[:port]``; a wildcard, an empty address or an interface's name is left to the daemon: empty."""
    if not address:
        return ""
    host, port = _split_address(address, _LISTEN_REFUSAL)
    parsed = _parse_ip(host)
    if parsed is None:
        raise ApiError(_LISTEN_REFUSAL)
    return "" if parsed.is_unspecified else _join_address(parsed, port)


def parse_advertise_address(address: str) -> str:
    """Check ``ip[:port]``; empty is left to the daemon."""
    if not address:
        return ""
    host, port = _split_address(address, _ADVERTISE_REFUSAL)
    parsed = _parse_ip(host)
    if parsed is None or parsed.is_unspecified:
        raise ApiError(_ADVERTISE_REFUSAL)
    return _join_address(parsed, port)


def _split_address(address: str, refusal: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[^:]*))(?::(?P<port>\d{1,5}))?", address)
    if found is None:
        return address, ""  # Perhaps a bare IPv6 address.
    if found["port"] and int(found["port"]) > 65535:
        raise ApiError(refusal)
    return found["v6"] or found["v4"], found["port"] or ""


def _parse_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _join_address(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: str) -> str:
    shown_host = f"[{host}]" if host.version == 6 and port else str(host)
    return f"{shown_host}:{port}" if port else shown_host


def parse_data_path_port(port: int) -> int:
    """Check the port of the data plane; 0 is the default."""
    if port and not 1024 <= port <= 49151:
        raise ApiError(f"Datapath port number is not in valid range (1024-49151) : {port}", status=500)
    return port or 4789


def parse_unlock_key(key: str) -> str:
    """Check the form of an unlock key: ``SWMKEY-1-`` and 32 bytes in base64."""
    if _UNLOCK_KEY.fullmatch(key) is None:
        raise ApiError("invalid key string")
    return key
