"""Why a member's storage did what it did: how it writes the log, keeps snapshots and recovers (docs/formats.md)."""

from __future__ import annotations

from raftswarm.raft.rules import NamedRule


class StorageRule(NamedRule):
    """Where it stands, and what the storage of a member does by it."""

    # Writing the log.
    SEGMENT_FULL = "docs/formats.md", "begins segment {number}: what is to be written does not fit in the one before"
    SEGMENT_CUT = "docs/formats.md", "begins segment {number}, since the log is cut behind entry {last_index}"
    SEGMENT_FOLLOWS_SNAPSHOT = "docs/formats.md", "begins segment {number}, which installs snapshot {index}"
    SPARE_USED = "docs/formats.md", "begins segment {number} in a file that held one which nobody needs any more"
    MARKED = "docs/formats.md", "says in segment {number} that all of it was synced"
    SEGMENTS_REMOVED = "docs/formats.md", "removes {count} segments, for whose entries a snapshot stands"
    INSTALLING_SEGMENT_KEPT = "docs/formats.md", "keeps segment {number}: it says that the newest snapshot is installed"
    WRITES_NOTHING_MORE = "docs/formats.md", "does not {doing}: a write has failed, and what that left nobody knows"

    # Recovery.
    TORN_TAIL_CUT = "docs/formats.md", "cuts {size} bytes of a torn tail, which nobody was told of"
    CUT_BY_NEXT = "docs/formats.md", "reads segment {number} no further than the next one says, which cut the rest"
    VOID_REMOVED = "docs/formats.md", "removes {count} segments that count for nothing behind the one it begins with"
    GAP_FOUND = "docs/formats.md", "begins with segment {number}: the one before it was removed"
    UNFINISHED_REMOVED = "docs/formats.md", "removes {name}, which an earlier run did not finish"
    UNINSTALLED_REMOVED = "docs/formats.md", "removes {name}, which an earlier run received and did not install"
    RECEIVED_FOUND = "docs/formats.md", "goes on from the snapshot up to entry {index}, which the log says is installed"
    SAVED_FOUND = "docs/formats.md", "goes on from its own snapshot up to entry {index}"
    DAMAGE_PROVEN = "docs/formats.md", "refuses the log: behind damage in segment {number} something says it was synced"
    DAMAGE_IN_FINISHED = "docs/formats.md", "refuses the log: segment {number} is damaged before its last record"
    INCOMPLETE = "docs/formats.md", "refuses its disk: {why}"

    # Snapshots.
    SAVED_IN_SLICES = "docs/formats.md", "writes the snapshot up to entry {index} in slices"
    SAVED_TOO_LATE = "docs/formats.md", "needs its snapshot up to entry {index} no more: a newer one is installed"
    SAVING_FAILED = "docs/formats.md", "throws away what it wrote of the snapshot up to entry {index}"
    RECEIVING_NEEDLESS = "docs/formats.md", "needs nothing of snapshot {index}: it is here, or of no use"
    RECEIVING_RESUMED = "docs/formats.md", "has {chunks} chunks of the snapshot up to entry {index} from before"
    RECEIVING_GIVEN_UP = "docs/formats.md", "forgets what it received of the snapshot up to entry {index}"
    CHUNK_REFUSED = "docs/formats.md", "refuses a chunk of the snapshot up to entry {index}: {why}"
    RECEIVED_ASIDE = "docs/formats.md", "keeps the snapshot up to entry {index} aside until it is told to install it"
    RECEIVED_CROWDED_OUT = "docs/formats.md", "removes a received snapshot, since newer ones wait to be installed"
