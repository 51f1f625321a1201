"""Who a node is: the three words of a certificate's subject that Swarm gives a meaning (SWARM 10.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

MANAGER: Final = "swarm-manager"
WORKER: Final = "swarm-worker"
CERTIFIED_ROLES: Final[Mapping[str, str]] = {"manager": MANAGER, "worker": WORKER}
"""What certificates call the roles of nodes."""


@attrs.frozen
class Identity:
    """Who a certificate says the other side is."""

    node_id: str
    """The common name."""
    role: str
    """The organizational unit: ``swarm-manager`` or ``swarm-worker``."""
    cluster_id: str
    """The organization."""


@attrs.frozen
class Credentials:
    """What a node shows and whom it trusts. All PEM."""

    certificate: str
    key: str = attrs.field(repr=False)
    """PKCS#8, in the clear: where it rests on disk, storage seals it."""
    roots: str
    """One root, or several while they rotate."""
