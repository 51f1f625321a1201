"""Entering a swarm: what `init` and `join` leave on the disk before the node takes part (SWARM 10.3, 13).

The facts are written last; an entering that is interrupted leaves no member of any swarm behind.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import attrs
import trio
from msgspec.structs import replace

from raftswarm.ca import (
    MANAGER,
    Identity,
    create_root,
    issue_certificate,
    key_to_pem,
    make_signing_request,
    parse_join_token,
)
from raftswarm.ca.certificates import SERIAL_BYTES
from raftswarm.consensus.opening import bootstrap_write
from raftswarm.engine.node_protocol import InitOptions, JoinOptions
from raftswarm.errors import InvalidToken, LinkError, RaftSwarmError, RequestRefused
from raftswarm.manager.control.bootstrap import create_cluster, make_cluster, make_first_node
from raftswarm.node.facts import ManagerAddress, NodeFacts, write_facts
from raftswarm.node.identity_files import CERTIFICATE_FILE, NODE_KEY, ROOT_FILE, TASKS_KEY
from raftswarm.node.settings import NodeSettings, split_address
from raftswarm.node.state_directory import StateDirectory
from raftswarm.node.world import NodeWorld
from raftswarm.objects.ids import ID_RANDOM_BYTES, make_id, make_member_id
from raftswarm.objects.records import NodeDescription
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.storage.keys import KeyRing, new_unlock_key
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.transport.calls import use_caller
from raftswarm.wire.requests import IssueCertificate, IssuedCertificate
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import Disk
from raftswarm.world.network import SwarmNetwork

DOWNLOAD_TRIES: Final = 5
DOWNLOAD_PAUSE_SECONDS: Final = 2.0


@attrs.frozen(kw_only=True)
class Entered:
    """A node that is on the disk and has yet to take part."""

    facts: NodeFacts
    keys: KeyRing = attrs.field(repr=False)


def enter_by_init(
    world: NodeWorld,
    directory: StateDirectory,
    options: InitOptions,
    listen: str,
    advertise: str,
    settings: NodeSettings,
) -> Entered:
    """Make a root, this node's certificate, and a log that begins with the swarm: its only voter, its first objects."""
    now_ns = world.wall_clock.now_ns()
    entropy = world.entropy
    cluster_id, node_id = (make_id(entropy.token_bytes(ID_RANDOM_BYTES)) for _ in range(2))
    root_key = world.make_key(entropy)
    root = create_root(root_key, now_ns=now_ns, serial_bytes=entropy.token_bytes(SERIAL_BYTES))
    node_key = world.make_key(entropy)
    certificate = issue_certificate(
        make_signing_request(node_key),
        Identity(node_id, MANAGER, cluster_id),
        root=root,
        root_key=key_to_pem(root_key),
        now_ns=now_ns,
        serial_bytes=entropy.token_bytes(SERIAL_BYTES),
        validity=timedelta(microseconds=options.spec.ca_config.node_cert_expiry // 1000),
    )
    unlock_key = new_unlock_key(entropy) if options.spec.encryption_config.auto_lock_managers else ""
    keys = store_identity(world.disk, entropy, directory, key_to_pem(node_key), certificate, root, unlock_key)
    facts = NodeFacts(
        cluster_id=cluster_id,
        node_id=node_id,
        role=MANAGER,
        listen_address=listen,
        advertise_address=advertise,
        member_id=make_member_id(entropy.token_bytes(8)),
        managers=(ManagerAddress(node_id, advertise),),
    )
    storage = _create_log(world, directory, keys, facts, settings)
    founding = Store().begin()
    create_cluster(
        founding,
        make_cluster(
            cluster_id=cluster_id,
            spec=options.spec,
            root_certificate=root,
            root_key=key_to_pem(root_key),
            unlock_key=unlock_key,
            entropy=entropy,
            default_address_pool=options.default_address_pool,
            subnet_size=options.subnet_size,
            data_path_port=options.data_path_port,
        ),
        make_first_node(
            node_id=node_id,
            member_id=facts.member_id,
            manager_address=advertise,
            availability=options.availability,
            description=NodeDescription(hostname=settings.hostname),
        ),
    )
    first = Configuration(voters=(MemberInfo(id=facts.member_id, address=advertise, name=node_id),))
    storage.write(bootstrap_write(first, encode(founding.change_set()), time_ns=now_ns))
    storage.close()
    write_facts(world.disk, directory.root, facts)
    return Entered(facts=facts, keys=keys)


async def enter_by_join(
    world: NodeWorld,
    directory: StateDirectory,
    options: JoinOptions,
    listen: str,
    advertise: str,
    settings: NodeSettings,
) -> Entered:
    """Fetch the root that the token pins, and a certificate; a manager also begins an empty log."""
    try:
        digest = parse_join_token(options.join_token).root_digest
    except InvalidToken as error:
        raise RequestRefused(str(error), code="Internal", from_engine=True) from error
    node_key = world.make_key(world.entropy)
    request = IssueCertificate(
        csr=make_signing_request(node_key),
        token=options.join_token,
        availability=options.availability,
        hostname=settings.hostname,
    )
    issued = await _ask_for_certificate(world, options, advertise, digest, request)
    keys = store_identity(
        world.disk,
        world.entropy,
        directory,
        key_to_pem(node_key),
        issued.certificate,
        issued.root_certificate,
        issued.unlock_key,
        issued.cluster_version,
    )
    facts = NodeFacts(
        cluster_id=issued.cluster_id,
        node_id=issued.node_id,
        role=issued.role,
        listen_address=listen,
        advertise_address=advertise,
        member_id=make_member_id(world.entropy.token_bytes(8)) if issued.role == MANAGER else 0,
        managers=tuple(ManagerAddress("", address) for address in options.remote_addresses),
    )
    if facts.is_manager:
        _create_log(world, directory, keys, facts, settings, issued.epoch).close()
    write_facts(world.disk, directory.root, facts)
    return Entered(facts=facts, keys=keys)


async def _ask_for_certificate(
    world: NodeWorld, options: JoinOptions, advertise: str, digest: bytes, request: IssueCertificate
) -> IssuedCertificate:
    """Try the given managers in turn, again after a pause while the swarm may still be starting (SWARM 10.3)."""
    last: RaftSwarmError = RequestRefused("no address of a manager was given", code="InvalidArgument")
    async with world.open_network(None, split_address(advertise)[0]) as network:
        for attempt in range(DOWNLOAD_TRIES):
            if attempt:
                await trio.sleep(DOWNLOAD_PAUSE_SECONDS)
            for address in options.remote_addresses:
                try:
                    return await _ask_manager(network, address, digest, request)
                except InvalidToken as error:
                    last = RequestRefused(str(error), code="Internal", from_engine=True)
                except (LinkError, RequestRefused) as error:
                    last = error
            if isinstance(last, RequestRefused) and last.code == "InvalidArgument":
                break
        raise last


async def _ask_manager(
    network: SwarmNetwork, address: str, digest: bytes, request: IssueCertificate
) -> IssuedCertificate:
    link, root = await network.bootstrap_connect(address, digest)
    async with use_caller(link) as caller:
        issued = await caller.call(request)
    assert isinstance(issued, IssuedCertificate), "the codec pairs answers with requests"
    return replace(issued, root_certificate=root)


def store_identity(
    disk: Disk,
    entropy: Entropy,
    directory: StateDirectory,
    key: str,
    certificate: str,
    root: str,
    unlock_key: str,
    cluster_version: int = 0,
) -> KeyRing:
    """Put a node's key and certificate into an emptied directory; what is private, sealed from the beginning."""
    directory.clear()
    disk.make_directory(directory.certificates)
    keys = KeyRing.create(
        disk, directory.certificates, entropy, unlock_key=unlock_key or None, lock_version=cluster_version
    )
    keys.put(NODE_KEY, key.encode())
    keys.put(TASKS_KEY, entropy.token_bytes(32))
    directory.write_public(ROOT_FILE, root)
    directory.write_public(CERTIFICATE_FILE, certificate)
    return keys


def change_role(
    world: NodeWorld,
    directory: StateDirectory,
    keys: KeyRing,
    facts: NodeFacts,
    issued: IssuedCertificate,
    settings: NodeSettings,
) -> NodeFacts:
    """Begin or end to be a manager; a crash in between leaves a node of the old role, which is told again.

    The member has stopped. A node that manages again does so as a new member: the old one was removed for good. A
    manager is locked, if the swarm is, before it has anything to hide; a worker never is.
    """
    role = issued.role
    directory.clear_log()
    keys.forget_lock()  # Whatever version of it a worker has heard of, it did not follow.
    if role == MANAGER:
        keys.follow(issued.unlock_key or None, issued.cluster_version)
        facts = replace(facts, role=role, member_id=make_member_id(world.entropy.token_bytes(8)))
        _create_log(world, directory, keys, facts, settings, facts.epoch).close()
    else:
        directory.remove_peer_credential()
        facts = replace(facts, role=role, member_id=0)
    write_facts(world.disk, directory.root, facts)
    return facts


def _create_log(
    world: NodeWorld,
    directory: StateDirectory,
    keys: KeyRing,
    facts: NodeFacts,
    settings: NodeSettings,
    epoch: int = 0,
) -> MemberStorage:
    return MemberStorage.create(
        world.disk,
        directory.raft,
        keys,
        world.entropy,
        member_id=facts.member_id,
        cluster=facts.cluster_id,
        incarnation=1,
        segment_bytes=settings.segment_bytes,
        epoch=epoch,
    )
