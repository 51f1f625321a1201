"""The names of the package are imported when they are asked for, and only what stands behind them."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import raftswarm
import raftswarm.ca


@pytest.mark.parametrize("package", [raftswarm, raftswarm.ca], ids=lambda package: package.__name__)
def test_every_public_name_is_there(package: ModuleType) -> None:
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


@pytest.mark.parametrize("package", [raftswarm, raftswarm.ca], ids=lambda package: package.__name__)
def test_a_name_that_is_not_there_is_missed_as_everywhere(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=rf"module '{package.__name__}' has no attribute 'no_such_name'"):
        _ = package.no_such_name


@pytest.mark.parametrize(
    ("statement", "not_imported"),
    [
        ("import raftswarm", {"typing", "trio", "attrs", "msgspec", "cryptography"}),
        (
            "from raftswarm import open_member, connect",
            {"cryptography.x509", "raftswarm.objects", "raftswarm.api", "h11"},
        ),
        ("from raftswarm import open_cluster", {"raftswarm.objects", "raftswarm.lab"}),
    ],
)
def test_what_is_not_needed_is_not_imported(statement: str, not_imported: set[str]) -> None:
    script = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert not_imported & set(done.stdout.split()) == set()
