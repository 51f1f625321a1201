"""Names for services whose users gave none: an adjective and somebody the field owes something to."""

from __future__ import annotations

import random
from typing import Final

_ADJECTIVES: Final = (
    "agile ample brave brisk calm clever crisp daring eager fair fluent fond gentle grand happy humble jolly keen kind"
    " lively lucid merry mild modest neat noble patient placid quick quiet ready serene sharp sincere smooth sober"
    " steady subtle sunny tidy tranquil upbeat vivid warm wise witty zealous zesty"
)
_SURNAMES: Final = (
    "babbage bachman bernstein birrell boole chandy chandra church codd cook dijkstra engelbart fischer floyd gifford"
    " gray halpern hamilton herlihy hoare hopper karp kleene knuth lamport lampson liskov lovelace lynch mccarthy"
    " mattern milner moses nakamoto naur needham ongaro oki ousterhout paterson pnueli rabin reed ritchie saltzer"
    " schneider shannon skeen stonebraker tarjan thompson toueg turing wirth"
)


def make_name(chance: random.Random) -> str:
    """Return a name such as ``calm_lamport_04f``, rarely the same twice."""
    return f"{chance.choice(_ADJECTIVES.split())}_{chance.choice(_SURNAMES.split())}_{chance.randrange(4096):03x}"
