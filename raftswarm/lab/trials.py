"""Trials: what would a start find if this befell the disk now? Tried on copies, so that the run itself never knows.

The one big idea: what is looked at and not done may be tried at any moment and as often as there is time. A bit that
changes, a loss of power at a certain disk call, an old log beside a newer snapshot: who meets these in earnest is taken
away, or down for a while, so that worlds can bear them only now and then, and seldom where they matter.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final

from raftswarm.errors import StorageError
from raftswarm.lab.fault_events import TryFlip, TryOldLogs, TryPowerLoss
from raftswarm.lab.host import LOG_DIRECTORY, Host
from raftswarm.lab.invariants import Violation
from raftswarm.storage.records import SECTOR, RecordHeader
from raftswarm.storage.sealing import Damaged
from raftswarm.storage.segment import segment_number

if TYPE_CHECKING:
    from raftswarm.lab.member_process import MemberProcess
    from raftswarm.world.simulated_disk import SimulatedDisk

NAME_CALLS: Final = frozenset({"rename", "remove", "sync directory"})
NAME_LOOKS: Final = 8
DATA_LOOKS: Final = 2
OLD_LOGS: Final = 6
OLD_LOGS_WITHIN_SYNCS: Final = 60
"""If no snapshot is saved while the log is synced so often, none is near."""

Trial = TryFlip | TryPowerLoss | TryOldLogs


def try_out(host: Host, trial: Trial) -> bool:
    """Begin a trial on a machine in order; False if another waits for its moment there. Raises Violation, then or now.

    One that waits ends without a verdict when its machine is damaged meanwhile.
    """
    process = host.process
    if process is None or host.is_damaged or not host.disk.is_sound or host.disk.watcher is not None:
        return False
    match trial:
        case TryFlip(back=back, place=place):
            host.find_damage(flip_newest(host.disk.copy(), LOG_DIRECTORY, back, place))
        case TryPowerLoss():
            _PowerLosses(host, trial)
        case TryOldLogs():
            _OldLogs(host, process)
    return True


def flip_newest(disk: SimulatedDisk, directory: str, back: int, place: float) -> SimulatedDisk:
    """Change a bit in a record of the newest segment, so many before its last one; its header is the first."""
    name = max(path for path in disk.sizes(directory) if segment_number(path.rpartition("/")[2]) is not None)
    number = segment_number(name.rpartition("/")[2])
    file = disk.open(name)
    image = file.read(0, file.size())
    records = [(0, SECTOR)]
    try:
        while (header := RecordHeader.parse(image, sum(records[-1]))).segment == number:
            records.append((sum(records[-1]), header.size))
    except Damaged:
        pass  # There is no more, or what stands there is of the file's earlier life.
    offset, size = records[max(0, len(records) - 1 - back)]
    bit = int(place * 8 * size)
    disk.flip_bit(name, offset + bit // 8, bit % 8)
    return disk


class _PowerLosses:
    """Looks before the next calls of one kind at what a loss of power would leave."""

    def __init__(self, host: Host, trial: TryPowerLoss) -> None:
        self._host = host
        self._trial = trial
        self._chance = Random(trial.tearing)  # noqa: S311 - a simulation has to be repeatable
        self._looks = NAME_LOOKS if trial.is_of_names else DATA_LOOKS
        host.disk.watcher = self._before

    def _before(self, kind: str, path: str) -> None:
        host = self._host
        if (kind in NAME_CALLS) is not self._trial.is_of_names or not path.startswith(self._trial.below):
            return
        self._looks -= 1
        if self._looks == 0 or host.is_damaged:
            host.disk.watcher = None
        if host.is_damaged:
            return
        host.check_power_loss(host.disk.after_power_loss(), "all of it lost")
        if not self._trial.is_of_names:
            host.check_power_loss(host.disk.tear(self._chance), "sectors lost, reordered, torn")


class _OldLogs:
    """Keeps the log as it was at the last syncs; when a snapshot is saved, each of these is laid beside it."""

    def __init__(self, host: Host, process: MemberProcess) -> None:
        self._host = host
        self._process = process
        self._logs: deque[SimulatedDisk] = deque(maxlen=OLD_LOGS)
        self._syncs = 0
        self._is_begun = False
        """A snapshot is being saved: what is written from now on it does not know of."""
        host.disk.watcher = self._before
        process.witnessed.save_watcher = self._hear_of_saving

    def _before(self, kind: str, path: str) -> None:
        if kind != "sync" or not path.startswith(LOG_DIRECTORY):
            return
        self._syncs += 1
        if self._syncs > OLD_LOGS_WITHIN_SYNCS or self._host.process is not self._process:
            self._end()
        elif not self._is_begun:
            self._logs.append(self._host.disk.copy())

    def _hear_of_saving(self, is_newest: bool) -> None:
        if is_newest and self._is_begun:
            self._end()
            self._compare()
        self._is_begun = True

    def _compare(self) -> None:
        host, witnessed = self._host, self._process.witnessed
        for log in () if host.is_damaged else self._logs:
            disk = host.disk.copy()
            disk.put_back(log, LOG_DIRECTORY)
            try:
                recovered = host.recover(disk)
            except StorageError:
                continue  # It is known for what it is.
            if not witnessed.has_what_snapshot_saw(recovered):
                raise Violation(
                    f"19: member {host.member_id} takes an older log beside its snapshot of {recovered.snapshot.index} "
                    "for the one that it was saved beside"
                )

    def _end(self) -> None:
        self._host.disk.watcher = None
        self._process.witnessed.save_watcher = None
