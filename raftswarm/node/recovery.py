"""Beginning again from what is left: a new epoch on a survivor's disk, or a swarm from a backup (docs/operations.md).

The one big idea: the swarm stays what it was (its id, its root, its nodes), and only its Raft cluster begins a new
epoch with one voter. Managers of an earlier epoch are told so when they call, and stop; they leave and join again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import attrs
from msgspec.structs import replace

from raftswarm.ca import MANAGER, Identity, issue_certificate, key_to_pem, make_signing_request, new_key
from raftswarm.ca.certificates import SERIAL_BYTES
from raftswarm.ca.keys import KEY_RANDOM_BYTES
from raftswarm.consensus.opening import bootstrap_write, end_of_log
from raftswarm.errors import CorruptLog, ForeignState, InvalidSpec, StateLocked
from raftswarm.manager.control.bootstrap import make_first_node
from raftswarm.node.entering import store_identity
from raftswarm.node.facts import ManagerAddress, NodeFacts, read_facts, write_facts
from raftswarm.node.state_directory import StateDirectory
from raftswarm.objects.ids import ID_RANDOM_BYTES, make_id, make_member_id
from raftswarm.objects.records import NodeDescription
from raftswarm.raft.log_entry import Configuration, MemberInfo, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.backup import BackupDescription
from raftswarm.storage.epoch import next_epoch
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import Disk


@attrs.frozen(kw_only=True)
class Survivor:
    """A manager that does not run, as its state directory tells."""

    path: str
    facts: NodeFacts
    epoch: int
    boot: int
    """How often it was started in all."""
    end: SnapshotMeta
    """Where its log ends; whether all of it is committed, it cannot know."""
    last_term: int
    """Of its last entry: what decides whose log is more up to date (5.4.1)."""
    torn_bytes: int


@attrs.frozen(kw_only=True)
class Choice:
    """Which survivor to go on from, and what that may cost."""

    best: Survivor
    missing: tuple[MemberInfo, ...]
    """Voters of its configuration that are not among the survivors."""
    has_majority: bool
    """Enough of its voters survive to go on by themselves: nothing that was acknowledged is missing."""


def survey(disk: Disk, entropy: Entropy, path: str, unlock: Callable[[], str]) -> Survivor:
    """Read the state directory of a stopped manager, and change nothing; `unlock` is asked if it is locked.

    Raises:
        ForeignState: it is no manager's.
        InvalidKey: the unlock key does not fit.
        CorruptLog: it is damaged.
    """
    facts, keys = _open_manager(disk, entropy, path, unlock)
    found = MemberStorage.survey(disk, StateDirectory(path, disk).raft, keys, entropy)
    return Survivor(
        path=path,
        facts=facts,
        epoch=found.epoch,
        boot=found.boot,
        end=end_of_log(found),
        last_term=found.entries[-1].term if found.entries else found.snapshot.term,
        torn_bytes=found.torn_bytes,
    )


def _open_manager(disk: Disk, entropy: Entropy, path: str, unlock: Callable[[], str]) -> tuple[NodeFacts, KeyRing]:
    facts = read_facts(disk, path)
    if facts is None:
        raise ForeignState(f"{path} is not the state directory of a node in a swarm: name that of a stopped manager")
    if not facts.is_manager:
        raise ForeignState(f"{path} belongs to a worker, which knows nothing of the swarm's state: name a manager's")
    certificates = StateDirectory(path, disk).certificates
    try:
        return facts, KeyRing.open(disk, certificates, entropy)
    except StateLocked:
        return facts, KeyRing.open(disk, certificates, entropy, unlock_key=unlock())


def choose(survivors: Sequence[Survivor]) -> Choice:
    """Pick the most advanced: of the latest epoch, and in it as an election would (5.4.1).

    InvalidSpec if there is nothing to choose from, or they are not of one swarm.
    """
    with_state = [survivor for survivor in survivors if survivor.end.index]
    if not with_state:
        raise InvalidSpec("none of these managers has any state: each was still waiting to become a member")
    clusters = sorted({survivor.facts.cluster_id for survivor in with_state})
    if len(clusters) > 1:
        raise InvalidSpec(f"these managers are of different swarms: {', '.join(clusters)}")
    best = max(with_state, key=lambda survivor: (survivor.epoch, survivor.last_term, survivor.end.index))
    present = {survivor.facts.member_id for survivor in with_state if survivor.epoch == best.epoch}
    configuration = best.end.configuration
    voters = configuration.voters
    halves = (voters, configuration.outgoing) if configuration.is_joint else (voters,)
    return Choice(
        best=best,
        missing=tuple(info for info in voters if info.id not in present),
        has_majority=all(2 * sum(info.id in present for info in half) > len(half) for half in halves),
    )


def recover(disk: Disk, entropy: Entropy, now_ns: int, path: str, unlock: Callable[[], str], address: str = "") -> int:
    """Begin a new epoch in a stopped manager's directory, with it alone; return the epoch. Errors as of `survey`.

    `address` is where it is to be reached from now on, if that has changed.
    """
    facts, keys = _open_manager(disk, entropy, path, unlock)
    if address:
        facts = replace(facts, listen_address=address, advertise_address=address)
    return begin_anew(disk, entropy, now_ns, StateDirectory(path, disk), facts, keys).epoch


def begin_anew(
    disk: Disk, entropy: Entropy, now_ns: int, directory: StateDirectory, facts: NodeFacts, keys: KeyRing
) -> NodeFacts:
    """Make this manager the only voter of a new epoch, with all that its log holds; return its facts. A disk job.

    What only others have acknowledged is lost. What this log holds and nobody committed is kept: who proposed it was
    told that its outcome is unknown.
    """
    me = MemberInfo(id=facts.member_id, address=facts.advertise_address, name=facts.node_id)
    epoch = 0

    def begin(found: Recovered) -> tuple[int, Write]:
        nonlocal epoch
        end = end_of_log(found)
        if not end.index:
            raise ForeignState(f"{directory.raft} is empty: this manager was still waiting to become a member")
        # Later than any that this node has heard of: an operator may have found that this log is the better one.
        epoch = next_epoch(max(found.epoch, facts.epoch), entropy)
        return epoch, bootstrap_write(Configuration(voters=(me,)), time_ns=now_ns, behind=end)

    MemberStorage.begin_epoch(disk, directory.raft, keys, entropy, begin=begin)
    alone = (ManagerAddress(facts.node_id, facts.advertise_address),)
    begun = replace(facts, managers=alone, epoch=epoch)
    write_facts(disk, directory.root, begun)
    return begun


def restore(
    disk: Disk,
    entropy: Entropy,
    now_ns: int,
    path: str,
    backup: tuple[BackupDescription, Iterable[bytes]],
    *,
    listen: str,
    advertise: str,
    hostname: str,
) -> NodeFacts:
    """Make a backup the state of a new manager, alone in a new epoch, with a certificate from the swarm's own root.

    The manager is a new node: whatever the old ones run or remember, nobody takes them for it. ForeignState if the
    directory is a node's already.
    """
    if read_facts(disk, path) is not None:
        raise ForeignState(f"{path} belongs to a node in a swarm: choose an empty directory")
    StateDirectory(path, disk).require_facts_not_lost()
    description, chunks = backup[0], list(backup[1])
    store = Store()
    store.restore(chunks)
    cluster = store.cluster
    if cluster is None:
        raise CorruptLog("the backup holds no swarm: it is damaged, or was made by something else")
    node_id = make_id(entropy.token_bytes(ID_RANDOM_BYTES))
    node_key = new_key(entropy.token_bytes(KEY_RANDOM_BYTES))
    certificate = issue_certificate(
        make_signing_request(node_key),
        Identity(node_id, MANAGER, cluster.id),
        root=cluster.root_certificate,
        root_key=cluster.root_key,
        now_ns=now_ns,
        serial_bytes=entropy.token_bytes(SERIAL_BYTES),
        validity=timedelta(microseconds=cluster.spec.ca_config.node_cert_expiry // 1000),
    )
    directory = StateDirectory(path, disk)
    epoch = next_epoch(description.epoch, entropy)
    key, root, version = key_to_pem(node_key), cluster.root_certificate, cluster.version
    keys = store_identity(disk, entropy, directory, key, certificate, root, cluster.unlock_key, version)
    facts = NodeFacts(
        cluster_id=cluster.id,
        node_id=node_id,
        role=MANAGER,
        listen_address=listen,
        advertise_address=advertise,
        member_id=make_member_id(entropy.token_bytes(8)),
        managers=(ManagerAddress(node_id, advertise),),
        epoch=epoch,
    )
    members = Configuration(voters=(MemberInfo(id=facts.member_id, address=advertise, name=node_id),))
    joining = store.begin()
    joining.create(
        make_first_node(
            node_id=node_id,
            member_id=facts.member_id,
            manager_address=advertise,
            description=NodeDescription(hostname=hostname),
        )
    )
    state = replace(description.snapshot, configuration=members)
    MemberStorage.create(
        disk,
        directory.raft,
        keys,
        entropy,
        member_id=facts.member_id,
        cluster=cluster.id,
        incarnation=1,
        epoch=epoch,
        state=(state, chunks),
        first=bootstrap_write(members, encode(joining.change_set()), time_ns=now_ns, behind=state),
    ).close()
    write_facts(disk, path, facts)
    return facts
