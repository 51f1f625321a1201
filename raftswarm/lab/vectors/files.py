"""Files of vectors: found, told apart by what they hold, read, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import attrs
import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.vectors.changes import check_changes
from raftswarm.lab.vectors.endings import check_scenario
from raftswarm.lab.vectors.formats import ChangesFile, QuorumFile, TablesFile
from raftswarm.lab.vectors.histories import INDEX, check_history, read_verdict
from raftswarm.lab.vectors.outcomes import Outcome
from raftswarm.lab.vectors.quorums import check_quorums
from raftswarm.lab.vectors.scenario_form import Scenario
from raftswarm.lab.vectors.tables import check_tables

Form = TypeVar("Form")


@attrs.frozen
class VectorFile:
    """A file that was read, and what there is to check."""

    path: Path
    _check: Callable[[], list[Outcome]]

    def check(self) -> list[Outcome]:
        """Check all that it holds; InvalidSpec, naming the place, if that makes no sense."""
        try:
            return self._check()
        except InvalidSpec as error:
            said = str(error)
            raise InvalidSpec(said if said.startswith(str(self.path)) else f"{self.path}: {said}") from None


def read_vectors(paths: Iterable[Path]) -> list[VectorFile]:
    """Read those files, and all that are in those folders.

    Raises:
        InvalidSpec: a file is missing, is not JSON, or is none of the known forms; the message names file and place.
    """
    return [_read(path) for path in _find(paths)]


def _find(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.name != INDEX]
            if not inside:
                raise InvalidSpec(f"{path}: no vectors in this folder; they end in .json or .jsonl")
            found |= dict.fromkeys(sorted(inside))
        elif path.exists():
            found[path] = None
        else:
            raise InvalidSpec(f"{path}: no such file or folder")
    return list(found)


def _read(path: Path) -> VectorFile:
    if path.suffix == ".jsonl":
        model, linearizable = read_verdict(path)
        return VectorFile(path, partial(check_history, path, model, linearizable=linearizable))
    try:
        content = path.read_bytes()
        keys = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except OSError as error:
        raise InvalidSpec(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path}: not a JSON object: {error}") from None
    for key, read in _FORMS.items():
        if key in keys:
            return VectorFile(path, read(path, content))
    known = ", ".join(_FORMS)
    raise InvalidSpec(f"{path}: not a known form: one of these fields tells which it is: {known}")


def _reader(
    form: type[Form], check: Callable[[Form], list[Outcome]]
) -> Callable[[Path, bytes], Callable[[], list[Outcome]]]:
    def read(path: Path, content: bytes) -> Callable[[], list[Outcome]]:
        try:
            return partial(check, msgspec.json.decode(content, type=form))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidSpec(f"{path}: {error}") from None

    return read


def _check_one(scenario: Scenario) -> list[Outcome]:
    return [check_scenario(scenario)]


_SUFFIXES: Final = (".json", ".jsonl")
_FORMS: Final = {
    "cases": _reader(QuorumFile, check_quorums),
    "tables": _reader(TablesFile, check_tables),
    "sequences": _reader(ChangesFile, check_changes),
    "steps": _reader(Scenario, _check_one),
}
"""By the field that gives them away."""
