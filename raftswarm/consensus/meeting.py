"""Who runs at an address: asked before a member is added.

A member that joins draws its own id, which no member had before, and keeps it in its directory. So a name may come back
with an empty disk, and nobody takes it for the member that once had that name.
"""

from __future__ import annotations

from typing import Final

import msgspec
import trio

from raftswarm.errors import InvalidSpec, LinkClosed
from raftswarm.wire.codec import Codec
from raftswarm.wire.greetings import Lane, encode_purpose
from raftswarm.world.network import Link, Network

ANSWER_SECONDS: Final = 5.0


class Card(msgspec.Struct, frozen=True):
    """What a member says of itself."""

    member_id: int
    name: str
    cluster: str


_cards: Codec[Card] = Codec(Card)


async def ask_who(network: Network, address: str, name: str) -> Card:
    """Return who answers; InvalidSpec if it goes by another name, LinkError if nobody does."""
    with trio.move_on_after(ANSWER_SECONDS):
        link = await network.connect(address, expect_node=name)
        try:
            link.post(encode_purpose(Lane.MEETING))
            card = _cards.decode(await link.receive())
        finally:
            await link.aclose()
        if card.name != name:
            raise InvalidSpec(f"at {address} runs member {card.name}, not {name}")
        return card
    raise LinkClosed(f"{address} did not say in {ANSWER_SECONDS:g} s who it is")


async def say_who(link: Link, card: Card) -> None:
    """Answer; the link has done its work then."""
    link.post(_cards.encode(card))
    await link.aclose()
