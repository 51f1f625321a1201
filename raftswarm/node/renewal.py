"""A node's certificate while it takes part: renewed in time, and at once when the node's role has changed (SWARM 10.3).

Each renewal comes with a new key. Key and certificate are two files: the new key is stored beside the old one, the
certificate is replaced, and only then is the old key forgotten. Whichever of the two fits the certificate is in force.
The disk's runner stores them, as it changes the lock: the key ring has one writer.

A new unlock key makes a renewal due: whoever had the disk before may have the node's key (SWARM 11).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final, Protocol

import trio

from raftswarm.ca import Credentials, key_to_pem, make_signing_request, read_certificates
from raftswarm.ca.certificates import BACKDATE
from raftswarm.errors import LinkError, NotLeader, OutcomeUnknown, Overloaded, RequestRefused
from raftswarm.node.identity_files import NODE_KEY, store_renewed
from raftswarm.node.state_directory import StateDirectory
from raftswarm.node.world import NodeWorld
from raftswarm.storage.keys import KeyRing
from raftswarm.wire.requests import AnyAnswer, AnyRequest, IssueCertificate, IssuedCertificate
from raftswarm.world.jobs import run_job

logger = logging.getLogger("raftswarm.node")

EARLIEST: Final = 0.5
LATEST: Final = 0.8
"""Of a certificate's time: renewals of many nodes are spread between."""
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 30.0
LONGEST_SLEEP_SECONDS: Final = 3600.0
"""The date may jump while nobody looks."""
CALL_SECONDS: Final = 10.0


class Calls(Protocol):
    """The way to managers (`transport.call_pool`)."""

    async def call(self, address: str, request: AnyRequest) -> AnyAnswer:
        """Ask the manager there."""
        ...


class Renewal:
    """Keeps one node's certificate good."""

    def __init__(
        self,
        world: NodeWorld,
        directory: StateDirectory,
        keys: KeyRing,
        calls: Calls,
        managers: Callable[[], Sequence[str]],
        renewed: Callable[[Credentials], None],
    ) -> None:
        """`managers` gives the addresses to ask; `renewed` is given what links are to be made with from now on."""
        self._world = world
        self._directory = directory
        self._keys = keys
        self._calls = calls
        self._managers = managers
        self._renewed = renewed
        self._asked = trio.Event()

    def ask(self) -> None:
        """Renew now: the node's role has changed, or its lock."""
        self._asked.set()

    async def run(self, credentials: Credentials, role: str) -> IssuedCertificate:
        """Renew until a certificate comes that is for another role; return that one."""
        while True:
            await self._wait_until_due(credentials)
            self._asked = trio.Event()
            issued, credentials = await self._renew()
            if issued.role != role:
                return issued
            logger.info("this node's certificate was renewed")

    async def _wait_until_due(self, credentials: Credentials) -> None:
        due = renewal_time(credentials, self._world.chance.uniform(EARLIEST, LATEST))
        while not self._asked.is_set() and NODE_KEY not in self._keys.exposed:
            seconds = due - self._world.wall_clock.now_ns() / 1e9
            if seconds <= 0:
                return
            with trio.move_on_after(min(seconds, LONGEST_SLEEP_SECONDS)):
                await self._asked.wait()

    async def _renew(self) -> tuple[IssuedCertificate, Credentials]:
        pause = FIRST_PAUSE_SECONDS
        while True:
            key = self._world.make_key(self._world.entropy)
            issued = await self._try_managers(IssueCertificate(csr=make_signing_request(key)))
            if issued is not None:
                credentials = Credentials(
                    certificate=issued.certificate, key=key_to_pem(key), roots=issued.root_certificate
                )
                storing = partial(store_renewed, self._directory, self._keys, credentials)
                await run_job(self._world.runner, storing)
                self._renewed(credentials)
                return issued, credentials
            await trio.sleep(pause * self._world.chance.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _try_managers(self, request: IssueCertificate) -> IssuedCertificate | None:
        """Ask one manager after the other; who does not lead may know who does."""
        asked: set[str] = set()
        addresses = list(self._managers())
        while addresses:
            address = addresses.pop(0)
            if not address or address in asked:
                continue
            asked.add(address)
            try:
                with trio.fail_after(CALL_SECONDS):
                    answer = await self._calls.call(address, request)
            except NotLeader as error:
                addresses.insert(0, error.address)
            except (RequestRefused, LinkError, OutcomeUnknown, Overloaded) as error:
                logger.info("the manager at %s renewed no certificate: %s", address, error)
            except trio.TooSlowError:
                logger.info("the manager at %s renewed no certificate in %g s", address, CALL_SECONDS)
            else:
                assert isinstance(answer, IssuedCertificate), "the codec pairs answers with requests"
                return answer
        return None


def renewal_time(credentials: Credentials, share: float) -> float:
    """When to renew, in seconds since the epoch: after that share of the time for which the certificate was given."""
    certificate = read_certificates(credentials.certificate)[0]
    issued = _seconds(certificate.not_valid_before_utc + BACKDATE)
    return issued + share * (_seconds(certificate.not_valid_after_utc) - issued)


def _seconds(time: datetime) -> float:
    return time.timestamp()
