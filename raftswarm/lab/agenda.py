"""What stands on a world's agenda, in words: the only place that knows who plans what on the heap."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from raftswarm.lab.disk_runner import VirtualDiskRunner
from raftswarm.lab.host import Host
from raftswarm.lab.member_process import MemberProcess
from raftswarm.lab.network import BulkEnd, SimulatedNetwork

NOBODY = 0


def describe_event(action: Callable[..., object], arguments: tuple[Any, ...]) -> tuple[str, int]:
    """Return what is due, and whom it reaches; 0 if that is nobody."""
    if isinstance(action, partial):
        return describe_event(action.func, (*action.args, *arguments))
    owner = getattr(action, "__self__", None)
    name = getattr(action, "__name__", type(action).__name__)
    match owner:
        case MemberProcess(member_id=member):
            return _describe_process(name, member), member
        case SimulatedNetwork():
            return _describe_network(name, arguments)
        case VirtualDiskRunner():
            member = owner.member
            return f"a job of member {member}'s disk is done", member
        case BulkEnd(owner=member, peer=peer):
            return f"the link for snapshots from {peer} to {member} breaks", member
        case _:
            return _describe_other(name, arguments)


def _describe_process(name: str, member: int) -> str:
    match name:
        case "_take_turn":
            return f"member {member} takes its turn"
        case "_look_at_deadline":
            return f"a timer of member {member} is looked at"
        case "unreachable":
            return f"member {member} hears that messages got lost"
        case _:
            return f"member {member}: {name.strip('_').replace('_', ' ')}"


def _describe_network(name: str, arguments: tuple[Any, ...]) -> tuple[str, int]:
    match name, arguments:
        case "_deliver" | "_arrive", (_, _, message):
            return f"{type(message).__name__} of member {message.sender} arrives at member {message.to}", message.to
        case "_dialled", (link, _):
            return f"member {link.sender} has dialled member {link.receiver}", link.sender
        case "_refused", (link, _):
            return f"member {link.sender} is refused a link to member {link.receiver}", link.sender
        case "_bulk_arrives", (end, *_):
            return f"a part of a snapshot from member {end.owner} arrives at member {end.peer}", end.peer
        case _:
            return f"the network: {name.strip('_').replace('_', ' ')}", NOBODY


def _describe_other(name: str, arguments: tuple[Any, ...]) -> tuple[str, int]:
    match name, arguments:
        case "_act", _:
            return "a client asks for something", NOBODY
        case "_advance", _:
            return "a client's program goes on", NOBODY
        case "_send" | "_hear", _:
            return "a queue of a client goes on", NOBODY
        case "_interrogate", (_, int(member), _):
            return f"clients question member {member}", member
        case "_crash_failed" | "_lose_failed", (Host(member_id=member), _):
            return f"member {member} has given up", member
        case _:
            return name.strip("_<>").replace("_", " "), NOBODY
