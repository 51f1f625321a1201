"""Nodes in Docker's JSON."""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from raftswarm.api import go_json
from raftswarm.api.errors import ApiError
from raftswarm.api.times import write_time
from raftswarm.objects import records
from raftswarm.objects.docker_names import DockerStruct
from raftswarm.objects.specs import Labels, NodeSpec, Platform

AVAILABILITIES: Final = ("active", "pause", "drain")
ROLES: Final = ("worker", "manager")


class VersionJson(DockerStruct, frozen=True, kw_only=True):
    """The number to send along with an update."""

    index: int = 0


class TLSInfoJson(DockerStruct, frozen=True, kw_only=True):
    """Which root is trusted."""

    trust_root: str = ""
    cert_issuer_subject: str = ""
    """Base64 of DER, as the key is."""
    cert_issuer_public_key: str = ""


class NodeResourcesJson(DockerStruct, frozen=True, kw_only=True):
    """What a node has."""

    nano_cpus: int = 0
    memory_bytes: int = 0


class PluginJson(DockerStruct, frozen=True, kw_only=True):
    """Something an engine can do."""

    type: str = ""
    name: str = ""


class EngineJson(DockerStruct, frozen=True, kw_only=True):
    """The engine on a node."""

    engine_version: str = ""
    labels: Labels = {}
    plugins: list[PluginJson] = []


class NodeDescriptionJson(DockerStruct, frozen=True, kw_only=True, omit_defaults=False):
    """What a node says about itself."""

    hostname: str | msgspec.UnsetType = msgspec.UNSET
    platform: Platform = Platform()
    resources: NodeResourcesJson = NodeResourcesJson()
    engine: EngineJson = EngineJson()
    tls_info: TLSInfoJson = TLSInfoJson()


class NodeStatusJson(DockerStruct, frozen=True, kw_only=True):
    """What the managers know about a node."""

    state: str = ""
    message: str = ""
    addr: str = ""


class ManagerStatusJson(DockerStruct, frozen=True, kw_only=True):
    """A manager as Raft sees it."""

    leader: bool = False
    reachability: str = ""
    addr: str = ""


class PeerUnlockJson(DockerStruct, frozen=True, kw_only=True):
    """From where a manager may ask, since when, if that was not revoked; and when the key was given to it last."""

    addr: str = ""
    made_at: str = ""
    given_at: str = ""


class NodeJson(DockerStruct, frozen=True, kw_only=True):
    """``GET /nodes/{id}``."""

    id: str
    version: VersionJson
    created_at: str
    updated_at: str
    spec: NodeSpec
    description: NodeDescriptionJson
    status: NodeStatusJson
    manager_status: ManagerStatusJson | None = None
    peer_unlock: PeerUnlockJson | None = None
    """Ours: of a manager that may ask its peers for the unlock key."""

    @property
    def hostname(self) -> str:
        """The machine's name; empty before its agent has reported."""
        return self.description.hostname or ""


def show_node(node: records.Node, manager_status: ManagerStatusJson | None) -> NodeJson:
    """Render a node."""
    return NodeJson(
        id=node.id,
        version=VersionJson(index=node.version),
        created_at=write_time(node.created_at),
        updated_at=write_time(node.updated_at),
        spec=node.spec,
        description=show_description(node.description),
        status=NodeStatusJson(state=node.state.value, message=node.message, addr=node.address),
        manager_status=manager_status,
        peer_unlock=_show_peer_unlock(node.peer_unlock),
    )


def _show_peer_unlock(unlock: records.PeerUnlock | None) -> PeerUnlockJson | None:
    if unlock is None:
        return None
    given_at = write_time(unlock.given_at) if unlock.given_at else ""
    if not unlock.digest:
        return PeerUnlockJson(given_at=given_at)
    return PeerUnlockJson(addr=unlock.host, made_at=write_time(unlock.made_at), given_at=given_at)


def show_description(description: records.NodeDescription) -> NodeDescriptionJson:
    """Render what an agent reported."""
    return NodeDescriptionJson(
        hostname=description.hostname or msgspec.UNSET,
        platform=Platform(architecture=description.platform.architecture, os=description.platform.os),
        resources=NodeResourcesJson(nano_cpus=description.nano_cpus, memory_bytes=description.memory_bytes),
        engine=EngineJson(
            engine_version=description.engine_version,
            labels=description.engine_labels,
            plugins=[PluginJson(type=type_, name=name) for type_, name in description.plugins],
        ),
        tls_info=TLSInfoJson(
            trust_root=description.trust_root,
            cert_issuer_subject=base64.b64encode(description.issuer_subject).decode(),
            cert_issuer_public_key=base64.b64encode(description.issuer_public_key).decode(),
        ),
    )


def parse_node_spec(given: object) -> NodeSpec:
    """Read ``POST /nodes/{id}/update``; `Drain` counts as `drain`."""
    spec = go_json.convert(given, NodeSpec)
    return msgspec.structs.replace(
        spec,
        role=parse_word(spec.role or "worker", ROLES, 'invalid Role: "{}"'),
        availability=parse_availability(spec.availability or "active"),
    )


def parse_availability(word: str) -> str:
    """Check an availability."""
    return parse_word(word, AVAILABILITIES, 'invalid Availability: "{}"')


def parse_word(word: str, known: tuple[str, ...], refusal: str) -> str:
    """Check a word against a list, without regard to case."""
    if word.lower() not in known:
        raise ApiError(refusal.format(word))
    return word.lower()
