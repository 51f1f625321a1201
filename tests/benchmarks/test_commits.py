"""The benchmark of commits measures three real processes, and finds out when less is there than was counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness.clusters import Payload, check_written
from benchmarks.ours.cluster import Options, open_raftswarm


async def test_every_mode_is_measured_and_what_it_counted_is_there(tmp_path: Path) -> None:
    payload = Payload(keys=1_000)
    async with open_raftswarm(tmp_path, payload, Options(tls=True)) as cluster:
        await cluster.fill(payload.keys)
        reports = {mode: await cluster.load(mode, 16, 0.3, lag=True) for mode in ("one", "many", "client", "read")}
        check = await cluster.check()

        assert all(report["rate"] > 0 and report["failures"] == 0 for report in reports.values())
        assert all(report["latency_p50_ms"] <= report["latency_p99_ms"] for report in reports.values())
        assert all(report["lag_p99_ms"] >= 0 for report in reports.values())
        written = [reports[mode]["acknowledged"] for mode in ("one", "many", "client")]
        written.append(payload.keys)
        assert check == {"acknowledged": sum(written), "failures": 0, "applied": sum(written)}

        cluster.acknowledged += 1
        with pytest.raises(AssertionError, match="were acknowledged"):
            await cluster.check()


def test_commands_that_only_one_member_wrote_do_not_count() -> None:
    report = {"acknowledged": 10}

    check_written(report, [2560, 2560, 0], Payload(), title="ours")

    with pytest.raises(AssertionError, match="measured something else"):
        check_written(report, [25_600, 2559, 0], Payload(), title="ours")
