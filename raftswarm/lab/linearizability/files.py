"""Histories as files: one event a line, in real-time order (docs/formats.md).

{"type":"invoke","process":0,"op":7,"f":"cas","from":1,"to":2}
{"type":"return","process":0,"op":7,"swapped":true}
{"type":"unknown","process":3,"op":8}
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.linearizability.checking import MAX_CONFIGURATIONS, Verdict, check, model_of
from raftswarm.lab.linearizability.models import MODELS
from raftswarm.lab.linearizability.operations import Operation

_RESULT_FIELDS: Final = {"cas": "swapped"}
"""Where the result stands, if not under `value`."""


def check_history_file(path: Path | str, *, model: str = "", limit: int = MAX_CONFIGURATIONS) -> Verdict:
    """Judge the history in a file.

    Args:
        path: a file of events, one JSON object a line.
        model: one of the names in `MODELS`; by default the one whose operations occur.
        limit: how many configurations to visit for one object, before the outcome is `UNDECIDED`.

    Raises:
        InvalidSpec: the file is no history, or not one of that model; the message names the line.
    """
    if model and model not in MODELS:
        raise InvalidSpec(f"no model is called {model!r}; there are {', '.join(MODELS)}")
    operations = read_history(path)
    try:
        return check(operations, MODELS[model] if model else model_of(operations), limit=limit)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"{path}: arguments and results are not as the model has them: {error}") from error


def read_history(path: Path | str) -> list[Operation]:
    """Read a file of events; times are line numbers. InvalidSpec, naming the line, if it is not one."""
    with Path(path).open("rb") as lines:
        return parse_history(lines, name=str(path))


def parse_history(lines: Iterable[bytes], *, name: str = "history") -> list[Operation]:
    """Build operations from the lines of a file."""
    operations: dict[Hashable, Operation] = {}
    pending: set[Hashable] = set()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                _take_in(msgspec.json.decode(line, type=dict[str, Any]), number, operations, pending)
            except KeyError as error:
                raise InvalidSpec(f"{name}, line {number}: no field {error}") from error
            except (InvalidSpec, msgspec.MsgspecError, TypeError) as error:
                raise InvalidSpec(f"{name}, line {number}: {error}") from error
    return list(operations.values())


def write_history(path: Path | str, operations: Iterable[Operation]) -> None:
    """Write the history to a file, one event a line, such that `read_history` gives the same verdict."""
    encode = msgspec.json.Encoder(enc_hook=_encode_set).encode
    events: list[tuple[float, int, bytes]] = []
    for number, operation in enumerate(operations):
        common = {"process": operation.client, "op": number}
        # What was invoked when another returned counts as concurrent, so invocations come first.
        events.append((operation.invoked, 0, encode({"type": "invoke", **common, **_request(operation)})))
        if operation.returned is None:
            events.append((float("inf"), 1, encode({"type": "unknown", **common})))
        else:
            result = {_RESULT_FIELDS.get(operation.kind, "value"): operation.result}
            events.append((operation.returned, 1, encode({"type": "return", **common, **result})))
    Path(path).write_bytes(b"".join(line + b"\n" for _, _, line in sorted(events)))


def _take_in(event: dict[str, Any], number: int, operations: dict[Hashable, Operation], pending: set[Hashable]) -> None:
    identity = event["op"]
    match event["type"]:
        case "invoke":
            if identity in operations:
                raise InvalidSpec(f"operation {identity!r} is invoked twice")
            operations[identity] = _invoked(event, number)
            pending.add(identity)
        case "return" | "unknown" if identity not in pending:
            raise InvalidSpec(f"operation {identity!r} is not under way")
        case "return":
            pending.remove(identity)
            operations[identity] = _returned(operations[identity], event, number)
        case "unknown":
            pending.remove(identity)
        case other:
            raise InvalidSpec(f"{other!r} is not a type of event; there are invoke, return and unknown")


def _invoked(event: dict[str, Any], number: int) -> Operation:
    kind = event["f"]
    argument = (event["from"], event["to"]) if kind == "cas" else event.get("value")
    return Operation(
        client=_hashable(event["process"]),
        kind=kind,
        argument=_hashable(argument),
        key=_hashable(event.get("key")),
        invoked=number,
    )


def _returned(operation: Operation, event: dict[str, Any], number: int) -> Operation:
    result: Any = _hashable(event.get(_RESULT_FIELDS.get(operation.kind, "value")))
    if operation.kind == "members":
        result = frozenset(result)
    return attrs.evolve(operation, result=result, returned=number)


def _request(operation: Operation) -> dict[str, Any]:
    argument: Any = operation.argument
    request: dict[str, Any] = {"f": operation.kind}
    if operation.key is not None:
        request["key"] = operation.key
    if operation.kind == "cas":
        return {**request, "from": argument[0], "to": argument[1]}
    return request if argument is None else {**request, "value": argument}


def _hashable(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple((name, _hashable(value[name])) for name in sorted(value))
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _encode_set(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    raise InvalidSpec(f"{value!r} cannot stand in a history file")
