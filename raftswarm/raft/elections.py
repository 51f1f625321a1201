"""Elections: pre-vote, votes, stickiness, and hints that a leader has stopped (5.2, 5.4.1; dissertation 4.2.3, 9.6).

The one big idea: an election timeout is the slow way to notice that a leader is gone. When its process is known to have
stopped, voters campaign in the order that the leader itself last published, within milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from raftswarm.raft import leases, replication, succession
from raftswarm.raft.core import Core, LeaderHint
from raftswarm.raft.messages import PreVote, PreVoteReply, RequestVote, TimeoutNow, VoteReply
from raftswarm.raft.quorum import VoteResult
from raftswarm.raft.roles import Candidate, Follower, Leader, PreCandidate
from raftswarm.raft.rules import Refusal, Rule


def pass_time(core: Core) -> None:
    """An election timer is due."""
    core.because(Rule.TIMED_OUT)
    if not core.may_lead or core.is_regressed:
        core.because(Rule.NO_VOTE)
        core.lose_leader(deadline=float("inf"))
    elif not core.may_vote:
        core.because(Rule.NOT_SURE)
        core.lose_leader(deadline=core.now + core.settings.heartbeat_seconds)
    elif core.settings.pre_vote:
        ask_for_pre_votes(core)
    else:
        campaign(core)


def ask_for_pre_votes(core: Core) -> None:
    """Find out whether an election could be won, before a term is spent on it (9.6)."""
    if not core.is_voter:
        core.because(Rule.VOTE_NOT_TAKEN_YET)
    match core.role:
        case Follower(leader=leader):
            lost_leader = leader
        case PreCandidate(lost_leader=leader):
            lost_leader = leader
        case _:
            lost_leader = 0
    hint = core.fresh_hint
    deadline = core.draw_retry() if hint else core.draw_election_timeout()
    role = PreCandidate(deadline=deadline, lost_leader=lost_leader, votes={core.id: True})
    core.become(role)
    core.because(Rule.PRE_VOTE, term=core.term + 1)
    for voter in core.other_voters:
        core.send(
            PreVote(
                sender=core.id,
                to=voter,
                term=core.term + 1,
                boot=core.boot,
                last_index=core.log.last_index,
                last_term=core.log.last_term,
                leader_hint=hint,
            )
        )
    _campaign_if_won(core, role)


def count_pre_vote(core: Core, role: PreCandidate, reply: PreVoteReply) -> None:
    """A voter answered."""
    if not reply.granted or reply.term == core.term + 1:
        role.votes[reply.sender] = reply.granted
        _campaign_if_won(core, role)
    else:
        core.because(Rule.PRE_VOTE_LATE, voter=reply.sender, term=reply.term)


def _campaign_if_won(core: Core, role: PreCandidate) -> None:
    if core.quorum.vote_result(role.votes) is VoteResult.WON:
        core.because(Rule.PRE_VOTES_WON, voters=_who(role.votes, granted=True))
        campaign(core)


def campaign(core: Core, *, transfer: bool = False) -> None:
    """Begin a term and ask for votes in it (5.2). The own vote counts when it is durable, like all others."""
    assert core.may_vote
    assert transfer or not leases.is_promised(core), "timers are longer than promises"
    lost_leader = core.role.lost_leader if isinstance(core.role, PreCandidate) else 0
    core.set_hard_state(core.term + 1, voted_for=core.id)
    core.because(Rule.CAMPAIGN_FOR_TRANSFER if transfer else Rule.CAMPAIGN, term=core.term)
    core.become(Candidate(deadline=core.draw_election_timeout(), lost_leader=lost_leader, votes={}))
    core.note(f"asks for votes in term {core.term}")
    core.send_when_written(VoteReply(sender=core.id, to=core.id, term=core.term, boot=core.boot, granted=True))
    for voter in core.other_voters:
        core.send_when_written(
            RequestVote(
                sender=core.id,
                to=voter,
                term=core.term,
                boot=core.boot,
                last_index=core.log.last_index,
                last_term=core.log.last_term,
                leader_hint=core.fresh_hint,
                transfer=transfer,
            )
        )


def count_vote(core: Core, role: Candidate, reply: VoteReply) -> None:
    """A voter answered, or our own vote is on disk."""
    role.votes[reply.sender] = reply.granted
    votes = dict(role.votes)
    gone = core.fresh_hint or role.lost_leader
    if gone:
        core.because(Rule.COUNTS_STOPPED, leader=gone)
        votes.setdefault(gone, False)  # Whoever has stopped, or is silent, will not vote: do not wait for it.
    match core.quorum.vote_result(votes):
        case VoteResult.WON:
            core.note(f"leads term {core.term} with the votes of {sorted(v for v, yes in votes.items() if yes)}")
            core.because(Rule.ELECTION_WON, term=core.term, voters=_who(votes, granted=True))
            core.hint = None
            replication.lead(core)
        case VoteResult.LOST:
            core.because(Rule.ELECTION_LOST, term=core.term, voters=_who(votes, granted=False))
            core.become(Follower(deadline=core.draw_retry() if gone else role.deadline))


def campaign_for_transfer(core: Core, message: TimeoutNow) -> None:
    """The leader hands over to us: no pre-vote, no waiting (3.10)."""
    if core.leader != message.sender:
        core.drop(message, "only our leader may ask that")
    elif not core.is_voter or not core.may_vote:
        core.drop(message, "this member may not lead")
    else:
        campaign(core, transfer=True)


def answer_pre_vote(core: Core, request: PreVote) -> None:
    """Tell whether we would vote so; nothing changes here (9.6)."""
    refusal = _find_pre_vote_refusal(core, request)
    granted = refusal is None
    _explain(core, request, refusal, given=Rule.PRE_VOTE_GIVEN, refused=Rule.PRE_VOTE_REFUSED)
    _order_campaigns(core, request, granted=granted)
    core.send(
        PreVoteReply(
            sender=core.id,
            to=request.sender,
            term=request.term if granted else core.term,
            boot=core.boot,
            granted=granted,
        )
    )


def _order_campaigns(core: Core, request: PreVote, *, granted: bool) -> None:
    """Of two who want to lead let one campaign: the one with the better log, of equal ones who has the lower id.

    Otherwise each might vote for itself.
    """
    is_up_to_date = core.log.is_up_to_date(request.last_term, request.last_index)
    is_better = is_up_to_date and (request.last_term, request.last_index) != (core.log.last_term, core.log.last_index)
    match core.role:
        case PreCandidate() if granted and (is_better or request.sender < core.id):
            core.because(Rule.GIVES_WAY, candidate=request.sender)
            core.become(Follower(deadline=core.draw_retry()))
        case Follower(leader=leader) as role if 0 != leader == request.leader_hint != core.fresh_hint:
            core.because(Rule.KEEPS_QUESTION, candidate=request.sender)
            role.asked = request
        case Follower() as role if granted and core.fresh_hint:
            core.because(Rule.LEAVES_TIME, candidate=request.sender)
            role.deadline = max(role.deadline, core.draw_retry())  # Leave it the time to win.
        case Follower() as role if not is_up_to_date and not is_sticky(core, request) and _may_campaign(core):
            core.because(Rule.CAMPAIGNS_SOON, candidate=request.sender)
            role.deadline = min(role.deadline, core.now + core.draw_hint_spread())  # It cannot win without us.
        case _:
            pass


def answer_vote(core: Core, request: RequestVote) -> None:
    """Vote once per term, for a log at least as good as ours (5.2, 5.4.1)."""
    refusal = _find_vote_refusal(core, request)
    granted = refusal is None
    given = Rule.VOTE_REPEATED if core.voted_for == request.sender else Rule.VOTE_GIVEN
    _explain(core, request, refusal, given=given, refused=Rule.VOTE_REFUSED)
    if granted:
        if core.voted_for == 0:
            core.set_hard_state(core.term, voted_for=request.sender)
        core.become(Follower(deadline=core.draw_election_timeout()))
    reply = VoteReply(sender=core.id, to=request.sender, term=core.term, boot=core.boot, granted=granted)
    core.send_when_written(reply)


def _find_vote_refusal(core: Core, request: RequestVote) -> Refusal | None:
    if request.term != core.term:
        return Refusal.EARLIER_TERM
    if core.voted_for not in {0, request.sender}:
        return Refusal.VOTED
    if core.leader not in {0, request.sender}:
        return Refusal.HAS_LEADER
    if not request.transfer and leases.is_promised(core):  # A promise outlives the term it was given in.
        return Refusal.PROMISED
    return _find_unworthiness(core, request)


def _find_pre_vote_refusal(core: Core, request: PreVote) -> Refusal | None:
    if request.term < core.term:
        return Refusal.EARLIER_TERM
    if request.term == core.term and core.leader != 0:
        return Refusal.HAS_LEADER
    if request.term == core.term and core.voted_for not in {0, request.sender}:
        return Refusal.VOTED
    if is_sticky(core, request):
        return Refusal.STICKY
    return _find_unworthiness(core, request)


def _find_unworthiness(core: Core, request: PreVote | RequestVote) -> Refusal | None:
    if not core.may_vote:
        return Refusal.FORGETFUL
    return None if core.log.is_up_to_date(request.last_term, request.last_index) else Refusal.LOG


def is_sticky(core: Core, request: PreVote | RequestVote) -> bool:
    """Tell whether we hear from a leader, and so want no other (4.2.3).

    Unless it asked to be replaced itself, or we know as well as the candidate that it has stopped.
    """
    if isinstance(request, RequestVote) and request.transfer:
        return False
    if leases.is_promised(core):
        return True
    if _shares_hint(core, request) or not core.settings.check_quorum:
        return False
    match core.role:
        case Leader():
            return True
        case Follower(leader=leader):
            return leader != 0 and core.now - core.heard_leader_at < core.settings.election_seconds
        case _:
            return False


def _who(votes: Mapping[int, bool], *, granted: bool) -> str:
    members = sorted(voter for voter, answer in votes.items() if answer is granted)
    return f"member{'s' * (len(members) != 1)} {', '.join(map(str, members))}"


def _explain(
    core: Core, request: PreVote | RequestVote, refusal: Refusal | None, *, given: Rule, refused: Rule
) -> None:
    """Name the rule by which a vote, or the promise of one, is given or refused."""
    if core.named is None:
        return
    facts = {
        "candidate": request.sender,
        "term": request.term,
        "index": request.last_index,
        "of_term": request.last_term,
        "last_index": core.log.last_index,
        "last_term": core.log.last_term,
    }
    if refusal is None:
        core.because(given, **facts)
        return
    section, why = refusal.value
    told = why.format(own_term=core.term, voted_for=core.voted_for, leader=core.leader, **facts)
    core.because(refused, why=told, section=section, case=refusal.name, **facts)


def _shares_hint(core: Core, request: PreVote | RequestVote) -> bool:
    return request.leader_hint != 0 and request.leader_hint == core.fresh_hint


def hear_stopped(core: Core, peer: int) -> None:
    """A hint: the link to that peer broke and reconnecting was refused. It breaks no promise of a lease."""
    if core.settings.lease_reads:
        return
    match core.role:
        case Follower(leader=leader, successors=successors, asked=asked) if leader == peer != 0:
            pass
        case PreCandidate(lost_leader=leader) if leader == peer != 0:
            successors, asked = (), None
        case _:
            return
    core.because(Rule.STOPPED_LEADER, leader=peer)
    core.hint = LeaderHint(peer, core.now + core.settings.election_seconds)
    if _may_campaign(core):
        place = succession.place_after(core, peer, successors)
        core.because(Rule.IS_LATER_HEIR if place else Rule.IS_FIRST_HEIR, leader=peer, place=place)
        # Whoever is first waits for nobody; a spread keeps the others apart, should their links be of unequal speed.
        wait = place * core.settings.hint_rank_seconds + core.draw_hint_spread() if place else 0.0
        core.role.deadline = min(core.role.deadline, core.now + wait)
    if asked is not None:
        core.because(Rule.ANSWERS_AGAIN, candidate=asked.sender)
        answer_pre_vote(core, asked)  # Its sender knew before us, and would ask again only after a while.


def _may_campaign(core: Core) -> bool:
    return core.may_lead and not core.is_regressed
