"""Errors that cross a link keep their type."""

from __future__ import annotations

import attrs
import msgspec
import pytest

from raftswarm import errors
from raftswarm.errors import LinkError, NotLeader, RaftSwarmError, RequestRefused
from raftswarm.wire import WireError
from raftswarm.wire.failures import decode_failure, encode_failure

ERROR_TYPES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RaftSwarmError)]


@pytest.mark.parametrize("kind", ERROR_TYPES, ids=lambda kind: kind.__name__)
def test_every_error_keeps_its_type_and_all_its_fields(kind: type[RaftSwarmError]) -> None:
    samples: dict[str, object] = {
        "message": "why",
        "leader": 7,
        "name": "b",
        "code": "NotFound",
        "address": "a:1",
        "from_engine": True,
        "path": "log/1",
        "offset": 512,
        "reason": "torn",
    }
    error = kind(**{field.name: samples[field.name] for field in attrs.fields(kind)})  # type: ignore[arg-type]

    copy = decode_failure(encode_failure(error))

    assert type(copy) is kind
    assert attrs.asdict(copy) == attrs.asdict(error)
    assert copy.args == error.args


def test_a_leader_that_nobody_knows_stays_unknown() -> None:
    copy = decode_failure(encode_failure(NotLeader("no leader")))

    assert isinstance(copy, NotLeader)
    assert copy.leader is None


def test_an_error_of_a_lower_floor_arrives_as_the_nearest_public_one() -> None:
    assert type(decode_failure(encode_failure(WireError("odd bytes")))) is LinkError


def test_an_error_of_a_newer_version_arrives_as_a_refusal() -> None:
    body = msgspec.msgpack.encode({"kind": "QuotaExceeded", "fields": {"message": "too much"}})

    copy = decode_failure(body)

    assert isinstance(copy, RequestRefused)
    assert "QuotaExceeded" in str(copy)


def test_a_malformed_error_is_a_wire_error() -> None:
    for body in (b"", msgspec.msgpack.encode({"kind": "NotLeader", "fields": {"leader": "x"}})):
        with pytest.raises(WireError):
            decode_failure(body)
