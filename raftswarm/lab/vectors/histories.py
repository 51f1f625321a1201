"""Client histories, and whether they are linearizable as the index beside them says."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.linearizability import check_history_file
from raftswarm.lab.vectors.formats import HistoryIndex
from raftswarm.lab.vectors.outcomes import Outcome, compare

INDEX: Final = "index.json"
"""Lists the files beside it, and is none itself."""


def check_history(path: Path, model: str, *, linearizable: bool) -> list[Outcome]:
    """Check one history."""
    verdict = check_history_file(path, model=model)
    expected = "linearizable" if linearizable else "not linearizable"
    return [compare(path.stem, history=(expected, verdict.outcome.value))]


def read_verdict(path: Path) -> tuple[str, bool]:
    """Return the model of a history, and whether it is linearizable, from the index beside it.

    What is not in an index is expected to be so, of whatever model its operations belong to.
    """
    index = path.with_name(INDEX)
    if not index.exists():
        return "", True
    try:
        files = msgspec.json.decode(index.read_bytes(), type=HistoryIndex).files
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{index}: {error}") from None
    for file in files:
        if Path(file.file).name == path.name:
            return file.model, file.linearizable
    return "", True
