"""Who runs at an address: asked before a member is added.

A member that joins draws its own id, which no member had before, and keeps it in its directory. So a name may come back
with an empty disk, and nobody takes it for the member that once had that name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import trio

from raftswarm.errors import InvalidSpec, LinkClosed, LinkError
from raftswarm.wire.codec import Codec
from raftswarm.wire.greetings import Lane, encode_purpose
from raftswarm.world.network import Link, Network

ANSWER_SECONDS: Final = 5.0


class Question(msgspec.Struct, frozen=True):
    """Who asks wants to know who runs there in one of the groups."""

    cluster: str


class Card(msgspec.Struct, frozen=True):
    """What a member says of itself."""

    member_id: int
    name: str
    cluster: str
    members: tuple[int, ...] = ()
    """Whom it takes for members, as far as its log goes; none before it has joined."""


_questions: Codec[Question] = Codec(Question)
_answers: Codec[Card | None] = Codec(Card | None)


async def ask_who(network: Network, address: str, name: str, cluster: str) -> Card:
    """Return who answers; InvalidSpec if it goes by another name or is in other groups, LinkError if nobody does."""
    with trio.move_on_after(ANSWER_SECONDS):
        link = await network.connect(address, expect_node=name)
        try:
            link.post(encode_purpose(Lane.MEETING))
            link.post(_questions.encode(Question(cluster)))
            card = _answers.decode(await link.receive())
        finally:
            await link.aclose()
        if card is None:
            raise InvalidSpec(f"at {address} runs no member of {cluster}: open it there first, by `address`")
        if card.name != name:
            raise InvalidSpec(f"at {address} runs member {card.name}, not {name}")
        return card
    raise LinkClosed(f"{address} did not say in {ANSWER_SECONDS:g} s who it is")


async def say_who(link: Link, cards: Mapping[str, Callable[[], Card]]) -> None:
    """Answer one question from the groups that are here; the link has done its work then."""
    with trio.move_on_after(ANSWER_SECONDS), contextlib.suppress(LinkError):
        question = _questions.decode(await link.receive())
        card = cards.get(question.cluster)
        link.post(_answers.encode(None if card is None else card()))
    await link.aclose()
