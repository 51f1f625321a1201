"""How a swarm stands, as data: who leads, who lags, how many managers may be lost, which certificates are old."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from raftswarm.objects.docker_names import DockerStruct, shown


class MemberStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A Raft member as the leader sees it now."""

    node_id: str
    address: str
    leader: bool
    reachable: bool
    behind: int
    """Entries that it is not known to have."""
    silent_seconds: float
    """Since it last answered."""


class ManagerJson(DockerStruct, frozen=True, kw_only=True):
    """One manager."""

    node_id: str
    hostname: str = shown("")
    address: str = shown("")
    leader: bool = shown(False)
    reachable: bool = shown(False)
    behind: int = shown(0)
    silent_seconds: float = shown(0.0)


class CertificateJson(DockerStruct, frozen=True, kw_only=True):
    """When a node's certificate expires."""

    node_id: str
    hostname: str = shown("")
    role: str = shown("")
    expires_in_seconds: int = shown(0)
    """Negative: so long ago. 0 where it is not known."""


class SwarmStatus(DockerStruct, frozen=True, kw_only=True):
    """Answer of ``GET /swarm/status`` (raftswarm only)."""

    term: int = shown(0)
    managers: list[ManagerJson] = shown([])
    quorum: int = shown(0)
    may_lose: int = shown(0)
    """So many managers more, whichever they are."""
    what_if: list[str] = shown([])
    """Sentences."""
    certificates: list[CertificateJson] = shown([])


def quorum_of(count: int) -> int:
    """A majority."""
    return count // 2 + 1


def may_lose(voters: int, reachable: int) -> int:
    """How many more voters may stop, whichever they are, before there is no majority; negative: so many are missing."""
    return reachable - quorum_of(voters)


def say_what_if(managers: Sequence[ManagerJson]) -> list[str]:
    """Say what the swarm survives, now and without each of its managers."""
    voters = len(managers)
    answering = sum(manager.reachable for manager in managers)
    margin = may_lose(voters, answering)
    sentences = [_say_margin(voters, answering, margin)]
    if voters < 2:
        return sentences
    for names, left in _groups(managers):
        sentences.append(f"after removing {names}: you may lose {left if left > 0 else 'none'} of {voters - 1}")
    return sentences


def _say_margin(voters: int, answering: int, margin: int) -> str:
    if margin < 0:
        return (
            f"there is no quorum: {answering} of {voters} managers answer, and {quorum_of(voters)} are needed; start "
            f"the others, or recover"
        )
    if margin == 0:
        return f"you may lose none of {voters}: {answering} answer, and {quorum_of(voters)} are needed"
    return f"you may lose {margin} of {voters}"


def _groups(managers: Sequence[ManagerJson]) -> Iterable[tuple[str, int]]:
    """Managers whose removal leaves the same margin."""
    voters = len(managers)
    answering = sum(manager.reachable for manager in managers)
    by_margin: dict[int, list[str]] = {}
    for manager in managers:
        left = may_lose(voters - 1, answering - manager.reachable)
        by_margin.setdefault(left, []).append(manager.hostname or manager.node_id)
    for left, names in by_margin.items():
        yield (f"any of {', '.join(names)}" if len(names) > 1 else names[0]), left
