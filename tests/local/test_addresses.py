"""Blocks of loopback addresses: two local swarms of one machine never share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftswarm.errors import RaftSwarmError
from raftswarm.local import addresses
from raftswarm.local.addresses import give_back_block, node_address, take_block


@pytest.fixture(autouse=True)
def own_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of this test's own."""
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


def make_holder(tmp_path: Path, name: str) -> Path:
    holder = tmp_path / name
    holder.mkdir()
    (holder / "swarm.json").touch()
    return holder


def test_two_holders_get_two_blocks(tmp_path: Path) -> None:
    blocks = [take_block(make_holder(tmp_path, name)) for name in ("one", "other")]

    assert blocks == [1, 2]
    assert [node_address(block, 3) for block in blocks] == ["127.20.1.3", "127.20.2.3"]


def test_a_block_whose_holder_is_gone_is_free(tmp_path: Path) -> None:
    gone = make_holder(tmp_path, "gone")
    block = take_block(gone)
    (gone / "swarm.json").unlink()

    assert take_block(make_holder(tmp_path, "next")) == block


def test_a_block_is_given_back_by_its_holder_only(tmp_path: Path) -> None:
    holder, stranger = make_holder(tmp_path, "holder"), make_holder(tmp_path, "stranger")
    block = take_block(holder)

    give_back_block(block, stranger)
    assert take_block(stranger) != block
    give_back_block(block, holder)
    assert take_block(make_holder(tmp_path, "next")) == block


def test_when_all_blocks_are_taken_it_says_what_frees_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "BLOCKS", range(1, 2))
    take_block(make_holder(tmp_path, "one"))

    with pytest.raises(RaftSwarmError, match="raftswarm local down"):
        take_block(make_holder(tmp_path, "other"))
