"""Events in Docker's JSON."""

from __future__ import annotations

from raftswarm.objects.docker_names import DockerStruct, shown
from raftswarm.objects.specs import Labels


class ActorJson(DockerStruct, frozen=True, kw_only=True):
    """What something happened to."""

    id: str
    attributes: Labels = shown({})


class EventJson(DockerStruct, frozen=True, kw_only=True):
    """One line of ``GET /events``. The last three are in lower case, as Docker has them."""

    type: str
    action: str
    actor: ActorJson
    scope: str = shown("swarm", name="scope")
    time: int = shown(0, name="time")
    time_nano: int = shown(0, name="timeNano")
