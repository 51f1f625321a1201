"""The first frames on a link: who speaks, whether they may, and what the link is for.

In TLS 1.3 the dialler's handshake succeeds although the other side refuses its certificate, so the accepting side says
in a frame of its own whether it does, and why not.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from raftswarm.ca.identity import Identity
from raftswarm.wire.codec import Codec
from raftswarm.wire.errors import WireError

PROTOCOL_VERSION: Final = 1


class Lane(IntEnum):
    """What a link carries."""

    __hash__ = int.__hash__  # An enumeration hashes names, in Python, and lanes are looked up for every message.

    CALLS = 0
    CONTROL = 1
    """Heartbeats, votes, read rounds, openings: small and urgent."""
    APPEND = 2
    BULK = 3
    """Snapshot chunks."""
    CLIENTS = 4
    """Commands and questions of programs that are not members."""
    MEETING = 5
    """Who runs there: asked before a member is added."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who I am, where nothing proves it: plain links on loopback."""

    node_id: str
    role: str
    cluster_id: str

    @property
    def identity(self) -> Identity:
        """The claim as an identity."""
        return Identity(self.node_id, self.role, self.cluster_id)


class Welcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The accepting side's first word: come in, or why not."""

    refused: str = ""
    """Empty: come in."""
    roots: str = ""
    """For a dialler without a certificate: the root CA (PEM) to compare with its join token."""
    claim: Claim | None = None
    """On plain links: who accepts."""


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """The dialler's first word after it is let in."""

    version: int
    lane: Lane


_claims: Codec[Claim] = Codec(Claim)
_welcomes: Codec[Welcome] = Codec(Welcome)
_purposes: Codec[Purpose] = Codec(Purpose)

encode_claim = _claims.encode
decode_claim = _claims.decode
encode_welcome = _welcomes.encode
decode_welcome = _welcomes.decode


def encode_purpose(lane: Lane) -> bytes:
    """Say what the link is for."""
    return _purposes.encode(Purpose(version=PROTOCOL_VERSION, lane=lane))


def decode_purpose(frame: bytes) -> Lane:
    """Read what the link is for; WireError if the other side speaks another version."""
    purpose = _purposes.decode(frame)
    if purpose.version != PROTOCOL_VERSION:
        raise WireError(f"the node speaks version {purpose.version} of the links' protocol; this is {PROTOCOL_VERSION}")
    return purpose.lane
