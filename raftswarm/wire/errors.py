"""What every decoder raises for bytes that a peer sent wrongly."""

from __future__ import annotations

import attrs

from raftswarm.errors import LinkError


@attrs.frozen(slots=False)
class WireError(LinkError):
    """Bytes from a peer that do not decode; the link they came on is closed, nothing else is."""
