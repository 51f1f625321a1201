"""A locked manager asks its peers for the unlock key, where the swarm's policy allows it (docs/operations.md).

The one big idea: a second credential that lies on the disk unsealed and is good for nothing else. It is a random
secret, no certificate: no link can be opened with it, no other request takes it. The managers know only its digest.
Each manager gets another one when it has used its own, and all do when the unlock key changes.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import attrs
import trio

from raftswarm.ca.tokens import root_digest
from raftswarm.errors import CorruptLog, NotLeader, RaftSwarmError, RequestRefused
from raftswarm.node.facts import NodeFacts
from raftswarm.node.identity_files import ROOT_FILE
from raftswarm.node.settings import split_address
from raftswarm.node.state_directory import StateDirectory
from raftswarm.node.world import NodeWorld
from raftswarm.objects.peer_unlock import CREDENTIAL_BYTES, digest_of, is_digest_of
from raftswarm.objects.records import Cluster, Node
from raftswarm.storage.keys import KeyRing
from raftswarm.store.store import Store, WatchOverflow
from raftswarm.transport.calls import use_caller
from raftswarm.wire.requests import AnyAnswer, AnyRequest, AskUnlockKey, KeepUnlockCredential, UnlockKeyGiven
from raftswarm.world.jobs import run_job
from raftswarm.world.network import SwarmNetwork
from raftswarm.world.secret_sources import SecretUnavailable

logger = logging.getLogger("raftswarm.node")

FORMAT_VERSION: Final = 1
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
CALL_SECONDS: Final = 10.0
_MAGIC: Final = b"RSWMASK\n"
_FILE: Final = struct.Struct(f">8sH{CREDENTIAL_BYTES}s")
_CHECKSUM: Final = struct.Struct(">I")


def encode_credential(credential: bytes) -> bytes:
    """Return the file's content (docs/formats.md)."""
    body = _FILE.pack(_MAGIC, FORMAT_VERSION, credential)
    return body + _CHECKSUM.pack(zlib.crc32(body))


def read_credential(directory: StateDirectory) -> bytes | None:
    """Return the credential; None if there is none. CorruptLog if the file is not what was written."""
    image = directory.read_peer_credential()
    if image is None:
        return None
    body, checksum = image[: _FILE.size], image[_FILE.size :]
    if len(body) == _FILE.size and checksum == _CHECKSUM.pack(zlib.crc32(body)):
        magic, version, credential = _FILE.unpack(body)
        if (magic, version) == (_MAGIC, FORMAT_VERSION):
            assert isinstance(credential, bytes)
            return credential
    raise CorruptLog(f"{directory.peer_credential} is damaged: unlock this manager with its key, and it gets another")


class Calls(Protocol):
    """The way to managers (`transport.call_pool`)."""

    async def call(self, address: str, request: AnyRequest) -> AnyAnswer:
        """Ask the manager there."""
        ...


# While it is not locked.


@attrs.define(eq=False)
class CredentialKeeper:
    """Keeps this manager's credential as the leader knows it, and none where the swarm wants none."""

    _world: NodeWorld
    _directory: StateDirectory
    _keys: KeyRing
    _store: Store
    _calls: Calls
    _node_id: str
    _managers: Callable[[], Sequence[str]]

    async def run(self) -> None:
        """Follow the policy until cancelled."""
        with self._store.watch(Cluster) as watch:
            while True:
                await self._settle()
                with suppress(WatchOverflow):
                    await watch.next()

    async def _settle(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not await self._is_settled():
            await self._ask_leader()
            await trio.sleep(pause * self._world.chance.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _is_settled(self) -> bool:
        """Compare what is on the disk with our own tables, which may be of yesterday: only the leader decides."""
        cluster, node = self._store.cluster, self._store.get(Node, self._node_id)
        if cluster is None or not (cluster.unlock_by_peers and cluster.unlock_key):
            return cluster is None or not self._directory.has_peer_credential
        known = node.peer_unlock if node is not None else None
        if known is None or known.is_used:
            return False
        try:
            credential = await run_job(self._world.runner, partial(read_credential, self._directory))
        except CorruptLog:
            return False
        return credential is not None and is_digest_of(known.digest, credential)

    async def _ask_leader(self) -> None:
        cluster = self._store.cluster
        if cluster is not None and (cluster.unlock_key or None) != self._keys.locked_by:
            return  # The lock is being changed; a key that we could be given now would not fit.
        credential = self._world.entropy.token_bytes(CREDENTIAL_BYTES)
        try:
            await ask_leader(self._calls.call, self._managers(), KeepUnlockCredential(digest=digest_of(credential)))
        except RequestRefused as refusal:
            if refusal.code == "FailedPrecondition":  # The swarm wants none.
                await run_job(self._world.runner, self._directory.remove_peer_credential)
            else:
                logger.info("no credential to ask peers for the unlock key: %s", refusal)
        except RaftSwarmError as error:
            logger.info("no credential to ask peers for the unlock key: %s", error)
        else:
            image = encode_credential(credential)
            await run_job(self._world.runner, partial(self._directory.write_peer_credential, image))


# While it is locked.


@attrs.define(eq=False)
class Peers:
    """The other managers as a source of the unlock key (`world.secret_sources`)."""

    _world: NodeWorld
    _directory: StateDirectory
    _facts: NodeFacts
    _is_locked: Callable[[], bool]

    @property
    def may_be_asked(self) -> bool:
        """Tell whether the swarm has let this manager have a credential."""
        return self._directory.has_peer_credential

    async def fetch(self, question: str, /) -> str:  # noqa: ARG002 - nobody is asked
        """Ask until the leader gives it, refuses, or somebody else has unlocked this manager."""
        credential = read_credential(self._directory)
        if credential is None:
            raise SecretUnavailable("the credential to ask them with is not there any more")
        request = AskUnlockKey(node_id=self._facts.node_id, credential=credential)
        addresses = [
            known.address for known in self._facts.managers if known.address not in {"", self._facts.advertise_address}
        ]
        pause = FIRST_PAUSE_SECONDS
        async with self._world.open_network(None, split_address(self._facts.advertise_address)[0]) as network:
            while self._is_locked():
                try:
                    answer = await ask_leader(partial(self._call, network), addresses, request)
                except RequestRefused as refusal:
                    if refusal.code == "PermissionDenied":
                        raise SecretUnavailable(str(refusal)) from None
                    logger.info("still locked: %s", refusal)
                except RaftSwarmError as error:
                    logger.info("still locked: %s", error)
                else:
                    assert isinstance(answer, UnlockKeyGiven), "the codec pairs answers with requests"
                    return answer.unlock_key
                await trio.sleep(pause * self._world.chance.uniform(0.5, 1))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        raise SecretUnavailable("this manager is not locked any more")

    async def _call(self, network: SwarmNetwork, address: str, request: AnyRequest) -> AnyAnswer:
        digest = root_digest(self._directory.read_public(ROOT_FILE))
        link, _ = await network.bootstrap_connect(address, digest)
        async with use_caller(link) as caller:
            return await caller.call(request)


async def ask_leader(
    call: Callable[[str, AnyRequest], Awaitable[AnyAnswer]], addresses: Sequence[str], request: AnyRequest
) -> AnyAnswer:
    """Ask one manager after the other; who does not lead may know who does. Raises what the last one said."""
    waiting, asked = list(addresses), set[str]()
    last: RaftSwarmError = RequestRefused("this node knows no other manager", code="Unavailable")
    while waiting:
        address = waiting.pop(0)
        if not address or address in asked:
            continue
        asked.add(address)
        try:
            with trio.fail_after(CALL_SECONDS):
                return await call(address, request)
        except NotLeader as error:
            waiting.insert(0, error.address)
            last = RequestRefused("no manager that leads answers", code="Unavailable")
        except RequestRefused as refusal:
            if refusal.code in {"PermissionDenied", "FailedPrecondition"}:
                raise  # The leader has spoken.
            last = refusal
        except RaftSwarmError as error:
            last = error
        except trio.TooSlowError:
            last = RequestRefused(f"the manager at {address} did not answer in {CALL_SECONDS:g} s", code="Unavailable")
    raise last
