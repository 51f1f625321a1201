"""The machine's own disk and the thread that waits for it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from raftswarm.errors import DiskFailed, DiskFull, StateInUse
from raftswarm.raft.log_entry import HardState
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.state_directory import lock_state
from raftswarm.world.chance import SystemEntropy
from raftswarm.world.real_disk import ReadOnlyDisk, RealDisk, ThreadDiskRunner


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = RealDisk().open(f"{tmp_path}/f", create=True)

    file.write(3, [b"abc", bytearray(b"de"), memoryview(b"xfgx")[1:3]])
    file.sync()

    assert file.read(0, 100) == b"\0\0\0abcdefg"
    assert (file.read(4, 2), file.size()) == (b"bc", 10)
    file.truncate(5)
    assert file.read(0, 100) == b"\0\0\0ab"
    file.close()
    file.close()


def test_more_buffers_than_one_call_takes_are_written(tmp_path: Path) -> None:
    file = RealDisk().open(f"{tmp_path}/f", create=True)

    file.write(0, [bytes([number % 256]) for number in range(3000)])

    assert file.read(0, 4000) == bytes(number % 256 for number in range(3000))
    file.close()


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_write = os.pwritev

    def write_three_bytes(descriptor: int, buffers: Sequence[bytes], offset: int) -> int:
        return whole_write(descriptor, [b"".join(buffers)[:3]], offset)

    monkeypatch.setattr(os, "pwritev", write_three_bytes)
    file = RealDisk().open(f"{tmp_path}/f", create=True)

    file.write(0, [b"ab", b"", b"cdefgh", b"i"])

    assert file.read(0, 100) == b"abcdefghi"
    file.close()


def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", refuse)
    monkeypatch.setattr(os, "fdatasync", refuse)
    file = RealDisk().open(f"{tmp_path}/f", create=True)

    with pytest.raises(
        DiskFull, match=f"could not write {tmp_path}/f: No space left on device: make room on that disk"
    ):
        file.write(0, [b"x"])
    with pytest.raises(DiskFailed, match=f"could not sync {tmp_path}/f"):
        file.sync()
    file.close()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    disk = RealDisk()
    disk.make_directory(f"{tmp_path}/a/b")
    disk.make_directory(f"{tmp_path}/a/b")
    disk.open(f"{tmp_path}/a/b/f", create=True).close()

    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a/b/f").stat().st_mode & 0o777 == 0o600


def test_names_come_go_and_change(tmp_path: Path) -> None:
    disk = RealDisk()
    for name in ("c", "a", "b"):
        disk.open(f"{tmp_path}/{name}", create=True).close()

    disk.rename(f"{tmp_path}/c", f"{tmp_path}/a")
    disk.remove(f"{tmp_path}/b")
    disk.sync_directory(str(tmp_path))

    assert disk.list(str(tmp_path)) == ["a"]
    assert disk.list(f"{tmp_path}/nowhere") == []
    assert disk.exists(f"{tmp_path}/a")
    assert not disk.exists(f"{tmp_path}/b")
    with pytest.raises(FileNotFoundError):
        disk.open(f"{tmp_path}/b")
    with pytest.raises(FileNotFoundError):
        disk.remove(f"{tmp_path}/b")


def test_a_lock_is_refused_to_others_until_its_process_ends(tmp_path: Path) -> None:
    script = "import sys; from raftswarm.storage.state_directory import lock_state; "
    script += "from raftswarm.world.real_disk import RealDisk; held = lock_state(RealDisk(), sys.argv[1]); "
    script += "print('held', flush=True); sys.stdin.read()"
    state = f"{tmp_path}/state"
    with subprocess.Popen(
        [sys.executable, "-c", script, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateInUse, match=state):
            lock_state(RealDisk(), state)
        holder.kill()

    lock_state(RealDisk(), state).close()


def test_a_member_lives_on_it(tmp_path: Path) -> None:
    disk, entropy = RealDisk(), SystemEntropy()
    keys = KeyRing.create(disk, f"{tmp_path}/certificates", entropy)
    raft = f"{tmp_path}/raft"
    MemberStorage.create(disk, raft, keys, entropy, member_id=1, cluster="c", incarnation=1).close()
    storage, _ = MemberStorage.open(disk, raft, keys, entropy)
    storage.write(Write(number=1, hard_state=HardState(term=3, voted_for=1)))
    storage.close()

    keys = KeyRing.open(disk, f"{tmp_path}/certificates", entropy)
    storage, recovered = MemberStorage.open(disk, raft, keys, entropy)
    storage.close()

    assert (recovered.boot, recovered.hard_state) == (2, HardState(term=3, voted_for=1))


def test_entropy_does_not_repeat() -> None:
    assert len({SystemEntropy().token_bytes(32) for _ in range(100)}) == 100


async def test_jobs_run_in_order_on_one_thread_and_answer_on_the_loop() -> None:
    loop_thread = threading.current_thread()
    ran: list[tuple[int, threading.Thread]] = []
    answered: list[tuple[int, threading.Thread]] = []
    everything = trio.Event()

    async with ThreadDiskRunner() as runner:
        for number in range(100):

            def job(number: int = number) -> None:
                ran.append((number, threading.current_thread()))

            def done(error: BaseException | None, number: int = number) -> None:
                assert error is None
                answered.append((number, threading.current_thread()))
                if number == 99:
                    everything.set()

            runner.submit(job, done)
        assert not answered, "an answer never comes in the middle of who asked"
        await everything.wait()

    assert [number for number, _ in ran] == [number for number, _ in answered] == list(range(100))
    assert {thread for _, thread in answered} == {loop_thread}
    assert len({thread for _, thread in ran}) == 1
    assert ran[0][1] is not loop_thread


async def test_a_job_that_fails_tells_so_and_the_next_one_runs() -> None:
    outcomes: list[BaseException | None] = []

    def fail() -> None:
        raise DiskFailed("broken")

    async with ThreadDiskRunner() as runner:
        runner.submit(fail, outcomes.append)
        runner.submit(lambda: None, outcomes.append)

    assert isinstance(outcomes[0], DiskFailed)
    assert outcomes[1:] == [None]


async def test_several_finished_jobs_share_one_wake_up() -> None:
    blocked = threading.Event()
    turns: list[int] = []
    async with ThreadDiskRunner() as runner:
        statistics = trio.lowlevel.current_statistics
        runner.submit(lambda: blocked.wait(5), lambda _: None)
        for _ in range(50):
            runner.submit(lambda: None, lambda _: turns.append(statistics().run_sync_soon_queue_size))
        blocked.set()

    assert len(turns) == 50
    assert max(turns) <= 1, "wake-ups piled up"


async def test_leaving_finishes_what_was_submitted_and_leaves_no_thread_even_when_cancelled() -> None:
    done: list[BaseException | None] = []
    with trio.CancelScope() as scope:
        async with ThreadDiskRunner() as runner:
            scope.cancel()
            runner.submit(lambda: None, done.append)
            await trio.sleep_forever()

    assert done == [None]
    assert not [thread for thread in threading.enumerate() if thread.name == "raftswarm-disk"]


def test_a_lock_is_taken_anew_when_its_file_was_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    lock = fcntl.flock

    def lose_the_file(descriptor: int, kind: int) -> None:
        """Its holder removes it just before we get the lock."""
        monkeypatch.setattr(fcntl, "flock", lock)
        path.unlink()
        lock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", lose_the_file)
    held = RealDisk().lock(str(path))

    with pytest.raises(BlockingIOError):
        RealDisk().lock(str(path))
    held.close()


# To look at only.


def test_a_disk_that_is_looked_at_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    (tmp_path / "f").chmod(0o400)
    before = (tmp_path / "f").stat()
    disk = ReadOnlyDisk()

    file = disk.open(f"{tmp_path}/f", create=True)
    assert file.read(0, 100) == b"content"
    with pytest.raises(DiskFailed):
        file.write(0, [b"x"])
    file.close()
    disk.rename(f"{tmp_path}/f", f"{tmp_path}/g")
    disk.remove(f"{tmp_path}/f")
    disk.make_directory(f"{tmp_path}/d")
    disk.sync_directory(str(tmp_path))

    assert disk.list(str(tmp_path)) == ["f"]
    assert (tmp_path / "f").stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(FileNotFoundError):
        disk.open(f"{tmp_path}/none", create=True)


def test_who_looks_keeps_others_out_and_makes_no_lock_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ReadOnlyDisk().lock(f"{tmp_path}/lock")
    RealDisk().lock(f"{tmp_path}/lock").close()

    held = ReadOnlyDisk().lock(f"{tmp_path}/lock")

    with pytest.raises(BlockingIOError):
        RealDisk().lock(f"{tmp_path}/lock")
    held.close()
    RealDisk().lock(f"{tmp_path}/lock").close()
