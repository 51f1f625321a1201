"""A node describes itself in the words of `docker node inspect`."""

from __future__ import annotations

from raftswarm.agent.description import describe_machine


def test_a_machine_has_a_platform_cpus_and_memory() -> None:
    description = describe_machine("1.2.3")

    assert description.platform.os == "linux"
    assert description.platform.architecture
    assert description.nano_cpus >= 1_000_000_000
    assert description.nano_cpus % 1_000_000_000 == 0
    assert description.memory_bytes > 1 << 26
    assert description.engine_version == "1.2.3"
