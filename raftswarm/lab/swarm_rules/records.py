"""Rules 1 to 6, of every record: versions, ids, names, the one cluster, its secrets, and specs that belong to users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from raftswarm.lab.swarm_rules.picture import Rule, Step, run_of
from raftswarm.objects.records import Cluster, Node, Service
from raftswarm.objects.specs import is_job
from raftswarm.objects.states import UpdateState

_encoder: Final = msgspec.msgpack.Encoder()


def versions_grow(step: Step) -> Iterator[str]:
    """A version is the number of the command that wrote it; made once, updated ever later (SWARM 1.4; entry times)."""
    for change in step.changes:
        before, after = change.before, change.after
        if after is None:
            continue
        name = f"{after.kind} {after.id}"
        if after.version != step.index:
            yield f"{name} has version {after.version}"
        if before is None:
            if after.created_at != after.updated_at:
                yield f"{name} is new, but made at {after.created_at} and updated at {after.updated_at}"
            continue
        if after.version <= before.version:
            yield f"{name} went from version {before.version} to {after.version}"
        if after.created_at != before.created_at:
            yield f"{name} was made at {before.created_at}, and now at {after.created_at}"
        if after.updated_at < before.updated_at:
            yield f"{name} was updated at {before.updated_at}, and now at {after.updated_at}"


def ids_are_used_once(step: Step) -> Iterator[str]:
    """Ids are never given again, a node's also not its Raft member's, and removed nodes stay out (SWARM 1.2, 10)."""
    cluster = step.picture.cluster
    removed = cluster.removed_nodes if cluster is not None else {}
    for change in step.changes:
        if change.before is None and (change.object.kind, change.object.id) in step.picture.deleted:
            yield f"{change.object.kind} {change.object.id} was deleted once and is back"
    for before, after in step.pairs(Node):
        if after is None:
            if before is not None and cluster is not None and before.id not in removed:
                yield f"node {before.id} was removed, but its certificate was not barred"
            continue
        if after.id in removed:
            yield f"node {after.id} is there, but was removed for good"
        if after.member_id and (before is None or before.member_id != after.member_id):
            for other in step.picture.nodes.values():
                if other.id != after.id and other.member_id == after.member_id:
                    yield f"nodes {after.id} and {other.id} have one Raft member, {after.member_id}"


def names_are_unique(step: Step) -> Iterator[str]:
    """No two services have one name, whatever its case (SWARM 1.3)."""
    for service in step.born(Service):
        name = service.spec.name.lower()
        for other in step.picture.services.values():
            if other.id != service.id and other.spec.name.lower() == name:
                yield f"services {service.id} and {other.id} are both called {service.spec.name}"


def there_is_one_cluster(step: Step) -> Iterator[str]:
    """Exactly one cluster object, named default, for good: its id is in every certificate (SWARM 1.1)."""
    for before, after in step.pairs(Cluster):
        if after is None:
            yield f"cluster {before.id if before is not None else ''} was deleted"
        elif after.spec.name != "default":
            yield f"cluster {after.id} is called {after.spec.name}"
    clusters = step.picture.tables[Cluster]
    if len(clusters) > 1:
        yield f"there are {len(clusters)} clusters: {', '.join(sorted(clusters))}"


def secrets_stay_with_the_cluster(step: Step) -> Iterator[str]:
    """Keys and tokens stand in the cluster object alone: nodes and tasks are sent to agents (SWARM 7.1, 7.5)."""
    cluster = step.picture.cluster
    if cluster is None:
        return
    secrets = {
        "the root key": cluster.root_key,
        "the unlock key": cluster.unlock_key,
        "the join token of workers": cluster.join_tokens.worker,
        "the join token of managers": cluster.join_tokens.manager,
        "the signing key": cluster.spec.ca_config.signing_ca_key,
    }
    for change in step.changes:
        if change.after is None or isinstance(change.after, Cluster):
            continue
        stored = _encoder.encode(change.after)
        for name, secret in secrets.items():
            if secret and secret.encode() in stored:
                yield f"{change.after.kind} {change.after.id} holds {name} of the cluster"


def specs_belong_to_users(step: Step) -> Iterator[str]:
    """A service's spec changes by an update, or back to the one before; name and mode never do (SWARM 1.1, 1.5).

    And every spec that is written for a job begins a run of it; nothing else does.
    """
    for service in step.born(Service):
        results = (service.previous_spec, service.endpoint, service.update_status)
        first_run = 0 if is_job(service.spec.mode) else None
        if service.spec_version or any(result is not None for result in results) or run_of(service) != first_run:
            yield f"service {service.spec.name} ({service.id}) is new, but not as a user writes it"
    for before, after in step.changed(Service):
        name = f"service {after.spec.name} ({after.id})"
        if after.spec.name != before.spec.name:
            yield f"{name} was called {before.spec.name}"
        if _mode(after) != _mode(before):
            yield f"{name} went from mode {_mode(before)} to {_mode(after)}"
        specs = (after.spec, after.spec_version, after.previous_spec, after.previous_spec_version)
        kept = (before.spec, before.spec_version, before.previous_spec, before.previous_spec_version)
        yield from _check_run(name, before, after, is_written=specs != kept)
        if specs == kept:
            continue
        back = before.previous_spec is not None and specs[:2] == (before.previous_spec, before.previous_spec_version)
        is_update = after.spec_version == before.version and specs[2:] == kept[:2] and after.update_status is None
        is_rolled_back = back and specs[2:] in (kept[:2], (None, 0)) and _begins_rollback(after)
        if not (is_update or is_rolled_back):
            yield (
                f"{name} went from spec {before.spec_version} (before it {before.previous_spec_version}) to "
                f"{after.spec_version} (before it {after.previous_spec_version}), neither by an update nor back"
            )


def _check_run(name: str, before: Service, after: Service, *, is_written: bool) -> Iterator[str]:
    expected = run_of(before)
    if expected is not None and is_written:
        expected += 1
    if run_of(after) != expected:
        yield f"{name} went from run {run_of(before)} to {run_of(after)} instead of {expected}"


def _mode(service: Service) -> str:
    mode = service.spec.mode
    kinds = {
        "global": mode.global_,
        "replicated-job": mode.replicated_job,
        "global-job": mode.global_job,
    }
    return next((name for name, given in kinds.items() if given is not None), "replicated")


def _begins_rollback(service: Service) -> bool:
    if is_job(service.spec.mode):
        return service.update_status is None  # A job has no updates to go back on: it has another run.
    return service.update_status is not None and service.update_status.state is UpdateState.ROLLBACK_STARTED


RULES: Final = (
    Rule(1, "versions grow", versions_grow),
    Rule(2, "ids are used once", ids_are_used_once),
    Rule(3, "names are unique", names_are_unique),
    Rule(4, "there is one cluster", there_is_one_cluster),
    Rule(5, "secrets stay with the cluster", secrets_stay_with_the_cluster),
    Rule(6, "specs belong to users", specs_belong_to_users),
)
