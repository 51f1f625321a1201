"""Why a replica did what it did, between the core, the disk, the state machine and whoever waits for it."""

from __future__ import annotations

from raftswarm.raft.rules import NamedRule


class ReplicaRule(NamedRule):
    """Where it stands, and what a replica does by it."""

    LACKS_SNAPSHOT = "7", "ignores that it is to install the snapshot up to entry {index}, whose data never arrived"
    STOPS_APPLYING = "7", "gives up entries that it was about to apply: a snapshot takes their place"
    INSTALLED = "7", "goes on from the state of the snapshot up to entry {index}"
    INSTALLED_ONE_OF_TWO = "7", "has installed a snapshot up to entry {index} while a newer one is on its way"
    ANOTHER_SNAPSHOT_SAVED = "7", "sends member {peer} no snapshot: there is a newer one than was asked for"
    SNAPSHOT_SENT_ON = "7", "goes on with the snapshot for member {peer} where it broke off"
    SNAPSHOT_PUT_OFF = "7", "puts a snapshot off: the disk would not have it"
    LEADS_AFTER_APPLYING = "docs/swarm.md", "says that it leads term {term} only when all before that is applied here"
    ANOTHERS_ENTRY = "5.3", "tells callers that another leader's entry took the place of theirs"
    LEADERSHIP_LOST = "5.3", "tells callers that leadership was lost before their entry was committed"
    SNAPSHOT_OVER_CALLS = "7", "tells callers that a snapshot took the place of the entry that they wait for"
    STOPS_WITH_CALLS = "8", "tells {count} callers that this member is stopping"


class SessionRule(NamedRule):
    """What a table of sessions decides besides applying one command after the other."""

    OPENED_AGAIN = "dissertation 6.3", "has opened that session already: the question came again"
    EXPIRED = "dissertation 6.3", "forgets a session that was not used for too long"
    UNKNOWN_REFUSED = "dissertation 6.3", "refuses a command of a session that has ended"
    SET_BACK_ENDED = (
        "dissertation 6.3",
        "ends a session whose client has more answers than were given",
    )
    GAP_REFUSED = "dissertation 6.3", "refuses a command of a session: one before it is missing"
    ANSWERED_AGAIN = "dissertation 6.3", "answers a command as before, and does not apply it again"
    ACKNOWLEDGED_REFUSED = "dissertation 6.3", "refuses a command whose answer its client said it has"
