"""``raftswarm`` prints what docker printed in the recordings: same columns, same words, same status."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_engine import FakeNode

if TYPE_CHECKING:
    from tests.cli.conftest import Finished

Load = Callable[[str], dict[str, Any]]
Run = Callable[[str], Awaitable["Finished"]]


def same_times(text: str) -> str:
    """Make ages alike, and with them the widths of the columns; and the name of the program."""
    text = re.sub(r"docker (?=swarm)|raftswarm (?=swarm)", "", text)
    ago = re.sub(r"(\d+|[Aa]bout an?|[Ll]ess than a) \w+ ago", "some time ago", text)
    return re.sub(r" +", " ", ago).strip() if "some time ago" in ago else ago.strip()


@pytest.mark.parametrize(
    "number",
    [
        "012",  # node ls
        "049",
        "278",
        "313",
        "499",
        "014",  # service ls
        "102",
        "129",
        "152",
        "202",
        "492",
        "493",
        "103",  # service ps
        "021",
        "151",
        "281",
        "494",
        "261",  # inspect
        "262",
        "260",
        "264",
        "110",
        "111",
        "128",
        "041",  # swarm
        "042",
        "046",
        "025",
        "189",  # node ps
        "282",
        "263",  # node update, promote, rm
        "286",
        "067",
        "404",  # refusals
        "405",
        "406",
        "407",
        "409",
        "411",
        "413",
        "470",
        "325",
    ],
)
async def test_prints_what_docker_printed(number: str, load_recording: Load, node: FakeNode, raftswarm: Run) -> None:
    recording = load_recording(number)
    for exchange in recording["exchanges"]:
        if exchange["method"] == "GET":
            node.load(exchange["response_body"])

    finished = await raftswarm(recording["command"])

    assert same_times(finished.stdout) == same_times(recording["stdout"])
    assert same_times(finished.stderr) == same_times(recording["stderr"])
    assert finished.status == recording["exit"]
