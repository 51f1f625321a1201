"""Requests reach whoever answers them, also after the way over a link (SWARM 14)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, get_args

import pytest

from raftswarm.errors import Conflict, Overloaded, RequestRefused
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import (
    AnyControlRequest,
    GetNode,
    ListNodes,
    NodesAnswer,
    RemoveService,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from raftswarm.manager.scheduler.explaining import explain_placement
from raftswarm.objects.records import Cluster, Service
from raftswarm.objects.specs import NodeSpec, ServiceSpec, SwarmSpec
from raftswarm.objects.swarm_status import MemberStatus
from raftswarm.store.store import Store
from raftswarm.world.slices import in_one_piece

FIELDS: dict[str, Any] = {"reference": "nosuch", "version": 1}
SPECS = {"UpdateCluster": SwarmSpec(), "UpdateNode": NodeSpec(), "CreateService": ServiceSpec(name="")}


@pytest.mark.parametrize("kind", get_args(AnyControlRequest))
async def test_every_request_is_answered_or_refused(handler: ControlHandler, cluster: Cluster, kind: Any) -> None:
    fields = {name: FIELDS[name] for name in kind.__struct_fields__ if name in FIELDS}
    if "spec" in kind.__struct_fields__:
        fields["spec"] = SPECS.get(kind.__name__, ServiceSpec(name="web"))
    request = decode_request(encode_request(kind(**fields)))

    with suppress(RequestRefused):
        answer = await handler.handle(request)
        assert in_one_piece(decode_answer(in_one_piece(encode_answer(answer)))) == answer


async def test_an_answer_survives_the_way_back(handler: ControlHandler, cluster: Cluster) -> None:
    answer = await handler.handle(ListNodes())

    assert isinstance(answer, NodesAnswer)
    assert in_one_piece(decode_answer(in_one_piece(encode_answer(answer)))) == answer


@pytest.mark.parametrize(
    ("failure", "code"),
    [(Conflict("somebody wrote first"), "Aborted"), (Overloaded("too much is in flight"), "Unavailable")],
)
async def test_a_write_that_could_not_be_made_is_a_refusal(
    store: Store, put: Any, entropy: Any, wall_clock: Any, *, failure: Exception, code: str
) -> None:
    class Failing:
        async def write(self, _: Any) -> Any:
            raise failure

        async def write_each(self, _: Any, __: Any) -> None:
            raise failure

    class Nobody:
        term = 0

        def manager_status(self, _: str) -> None:
            return None

        def member_statuses(self) -> list[MemberStatus]:
            return []

    put(Service(id="web", spec=ServiceSpec(name="web")))
    handler = ControlHandler(
        store,
        Failing(),
        membership=Nobody(),
        explain_placement=explain_placement,
        entropy=entropy,
        wall_clock=wall_clock,
    )

    with pytest.raises(RequestRefused) as refused:
        await handler.handle(RemoveService(reference="web"))
    assert refused.value.code == code


async def test_a_refused_look_up_is_the_engines(handler: ControlHandler, cluster: Cluster) -> None:
    with pytest.raises(RequestRefused) as refused:
        await handler.handle(GetNode(reference="nosuch"))

    assert refused.value.from_engine
