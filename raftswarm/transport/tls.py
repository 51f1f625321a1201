"""Links between nodes for real: mutual TLS 1.3 over TCP, with time told by the world.

OpenSSL proves who holds which key and that the root signed it; whether that certificate is good *now* and *here* is
`Admission`'s to say, by the world's clock, on both sides. The accepting side then welcomes or refuses in a frame of its
own, because in TLS 1.3 the dialler's handshake ends before the other side has looked at its certificate.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from raftswarm.ca.identity import Credentials, Identity
from raftswarm.errors import LinkClosed, LinkError, NotAuthentic
from raftswarm.transport.admission import Admission, accept_pinned_manager, receive_welcome
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.socket_link import SocketLink
from raftswarm.transport.socket_network import Greeting, SocketNetwork
from raftswarm.transport.sockets import Sockets, Stream
from raftswarm.wire.greetings import Welcome, encode_welcome
from raftswarm.world.clock import WallClock
from raftswarm.world.network import Link

_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which `ssl` does not name: `Admission` checks by the world's clock."""
_RECORD_BYTES: Final = 16 * 1024
"""The most that a record of TLS holds, and that one read gives."""


@asynccontextmanager
async def open_tls_network(
    clock: WallClock, *, local_host: str = "", credentials: Credentials | None = None, sockets: Sockets | None = None
) -> AsyncIterator[TlsNetwork]:
    """Links that live as long as the context; dialled from `local_host` if it is not empty.

    Without credentials, the network can only `bootstrap_connect` until `renew` gives it some. `sockets` stand between
    it and the kernel.
    """
    async with open_helpers() as nursery:
        network = TlsNetwork(nursery, clock, local_host, sockets)
        if credentials is not None:
            network.renew(credentials)
        yield network


class TlsNetwork(SocketNetwork):
    """`world.network.Network` for real; made by `open_tls_network`."""

    def __init__(
        self, nursery: trio.Nursery, clock: WallClock, local_host: str, sockets: Sockets | None = None
    ) -> None:
        super().__init__(nursery, local_host, sockets)
        self._clock = clock
        self._contexts: _Contexts | None = None

    def renew(self, credentials: Credentials) -> None:
        """Use these for every link from now on; open links stay. NotAuthentic if they do not fit together."""
        self._contexts = _Contexts(Admission(credentials, self._clock))

    async def bootstrap_connect(self, address: str, root_digest: bytes) -> tuple[Link, str]:
        """Dial a manager without a certificate, trusting the root that a join token pins; return that root (PEM) too.

        Raises:
            InvalidToken: the root at that address is another one.
            LinkError: as `connect` does.
        """
        greeting = _Bootstrapping(root_digest, self._clock)
        link = await self._connect(address, greeting)
        return link, greeting.roots

    def _begin_dialled(self, expect_node: str | None) -> Greeting:
        return _Dialling(self._current(), expect_node)

    def _begin_called(self) -> Greeting:
        return _Answering(self._current())

    def _current(self) -> _Contexts:
        if self._contexts is None:
            raise NotAuthentic("this node has no certificate yet: it has to join a swarm first")
        return self._contexts


class _TlsGreeting:
    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._channel = TlsChannel(context, server_side=server_side)

    async def shake_hands(self, stream: Stream) -> TlsChannel:
        """Do TLS's handshake."""
        await self._channel.shake_hands(stream)
        return self._channel


class _Dialling(_TlsGreeting):
    """We call a manager of our own swarm."""

    def __init__(self, contexts: _Contexts, expect_node: str | None) -> None:
        super().__init__(contexts.client, server_side=False)
        self._admission = contexts.admission
        self._expect_node = expect_node

    async def introduce(self, link: SocketLink) -> Identity:
        """Judge the manager, and hear its judgement."""
        identity = self._admission.accept_manager(
            self._channel.peer_certificate, link.remote_address, self._expect_node
        )
        await receive_welcome(link)
        return identity


class _Bootstrapping(_TlsGreeting):
    """We call a manager of a swarm that we want to join: all we know is its root's digest."""

    def __init__(self, root_digest: bytes, clock: WallClock) -> None:
        super().__init__(_bare_context(), server_side=False)
        self.roots = ""
        self._root_digest = root_digest
        self._clock = clock

    async def introduce(self, link: SocketLink) -> Identity:
        """Take the root from the welcome; if it is the pinned one, the manager's certificate must be under it."""
        self.roots = (await receive_welcome(link)).roots
        return accept_pinned_manager(
            self._channel.peer_certificate, self.roots, self._root_digest, self._clock.now_ns()
        )


class _Answering(_TlsGreeting):
    """Somebody calls us."""

    def __init__(self, contexts: _Contexts) -> None:
        super().__init__(contexts.server, server_side=True)
        self._admission = contexts.admission

    async def introduce(self, link: SocketLink) -> Identity | None:
        """Welcome the caller, or say why not."""
        try:
            identity = self._admission.admit(self._channel.peer_certificate)
        except NotAuthentic as refusal:
            link.post(encode_welcome(Welcome(refused=str(refusal))))
            raise
        roots = self._admission.credentials.roots if identity is None else ""
        link.post(encode_welcome(Welcome(roots=roots)))
        return identity


class TlsChannel:
    """One TLS connection between two memory BIOs (`socket_link.Channel`)."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)

    @property
    def peer_certificate(self) -> bytes | None:
        """DER."""
        return self._tls.getpeercert(binary_form=True)

    async def shake_hands(self, stream: Stream) -> None:
        """Go through TLS's handshake; NotAuthentic when a certificate does not hold, LinkClosed for anything else."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await stream.send_all(self._outgoing.read())
                self._incoming.write(await stream.receive_some())
            except ssl.SSLError as error:
                alert = self._outgoing.read()
                stream.send_now(alert)
                raise _explain(error) from error
            else:
                await stream.send_all(self._outgoing.read())
                return

    def seal(self, data: bytes) -> bytes:
        """Encrypt."""
        try:
            if data:
                self._tls.write(data)
        except ssl.SSLError as error:
            raise _explain(error) from error
        return self._outgoing.read()

    def open(self, received: bytes) -> bytes:
        """Decrypt."""
        self._incoming.write(received)
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(_RECORD_BYTES):
                pieces.append(piece)
                if not (self._incoming.pending or self._tls.pending()):
                    return b"".join(pieces)  # To read in vain would cost more than a record.
        except ssl.SSLWantReadError:
            return b"".join(pieces)
        except ssl.SSLError as error:
            if not pieces:
                raise _explain(error) from error
        if not pieces:
            raise LinkClosed("the other side said good-bye")
        return b"".join(pieces)  # What came before the end counts; the end comes up again.

    @property
    def has_output(self) -> bool:
        """Key updates are answered."""
        return self._outgoing.pending > 0

    def say_goodbye(self) -> bytes:
        """Return TLS's close_notify."""
        with contextlib.suppress(ssl.SSLError):  # It waits for the other side's good-bye; we do not.
            self._tls.unwrap()
        return self._outgoing.read()


def _explain(error: ssl.SSLError) -> LinkError:
    """Say in a sentence what OpenSSL says in its own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotAuthentic(
            f"the other side's certificate does not hold: {error.verify_message}; it is of another swarm, or of this "
            f"one before it was made anew"
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in reason and ("ca" in reason.split() or "certificate" in reason):
        return NotAuthentic(f"the other side refused this node's certificate ({reason}): it is of another swarm")
    return LinkClosed(f"not a TLS 1.3 link between nodes: {reason}")


class _Contexts:
    """OpenSSL's settings for both directions, made once per set of credentials."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.server = _context(ssl.PROTOCOL_TLS_SERVER, admission.credentials)
        # A node that joins has no certificate; what such a caller may ask is decided call by call.
        self.server.verify_mode = ssl.CERT_OPTIONAL
        self.server.num_tickets = 0  # Sessions are not resumed: every link shows certificates.
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT, admission.credentials)


def _context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # A node's name is its id, and `Admission` compares it.
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT | _NO_CHECK_TIME
    try:
        context.load_verify_locations(cadata=credentials.roots)
        _load_key(context, credentials)
    except ssl.SSLError as error:
        raise NotAuthentic(f"this node's key, certificate and root do not fit together: {error.reason}") from error
    return context


def _load_key(context: ssl.SSLContext, credentials: Credentials) -> None:
    """OpenSSL reads keys from files only: give it one in memory, which no disk ever sees."""
    descriptor = os.memfd_create("node-key", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(f"{credentials.key}\n{credentials.certificate}".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # The join token's digest decides, once the welcome has brought the root.
    return context
