"""The unmodified docker CLI drives a swarm of real daemons, and prints what it printed against the recorded engine.

Six nodes as in the recordings: docker1 to docker3 are managers, docker4 and docker5 workers, docker6 is in no swarm.
What differs on purpose stands in ``docs/docker-cli.md``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import docker
import pytest
import trio
from docker.errors import APIError, NotFound

from raftswarm.http.addresses import parse_address
from raftswarm.http.client import HttpClient
from raftswarm.local import LocalSwarm
from tests.acceptance.docker_runs import DockerRuns
from tests.acceptance.recorded_words import Finished, course, states_seen, without_particulars

Load = Callable[[str], dict[str, Any]]

pytestmark = pytest.mark.xdist_group("docker")

BRIEF = "--update-monitor 500ms --rollback-monitor 500ms"
"""Added where a command waits to see that tasks are stable: for 5 s unless told otherwise."""


class Replay:
    """Runs recorded commands on the nodes they were recorded on, and compares."""

    def __init__(self, docker: DockerRuns, load: Load, local: LocalSwarm) -> None:
        self.docker = docker
        self.local = local
        self._load = load

    async def __call__(
        self,
        number: str,
        *,
        on: str = "",
        named: str = "",
        token: str = "",
        options: str = "",
        arguments: str = "",
        stdin: str = "",
    ) -> Finished:
        """Run one, with our id, token and addresses in the place of the recorded ones; say the same, and end alike."""
        recording = self._load(number)
        words = self._ours(recording["command"], named=named, token=token)
        if options:
            words = re.sub(r"^(docker \w+ \w+)", rf"\1 {options}", words)
        run = self.docker.in_terminal if recording["tty"] else self.docker
        finished = await run(on or recording["node"], f"{words} {arguments}", stdin=stdin)
        compare = course if "overall progress" in recording["stdout"] else without_particulars
        assert compare(finished.stdout) == compare(recording["stdout"])
        assert without_particulars(finished.stderr) == without_particulars(recording["stderr"])
        assert finished.status == recording["exit"]
        return finished

    def _ours(self, command: str, *, named: str, token: str) -> str:
        command = re.sub(r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}", token, command) if token else command
        command = re.sub(r"(?<![-\w])[0-9a-z]{25}\b", named, command) if named else command
        return re.sub(r"192\.168\.79\.1([1-6])", lambda found: self.address(int(found[1])), command)

    def address(self, number: int) -> str:
        """The address of the node of that number."""
        return self.local.node(f"docker{number}").address

    def recording(self, number: str) -> dict[str, Any]:
        """Everything about a recorded command."""
        return self._load(number)

    def recorded(self, number: str, what: str = "stdout") -> str:
        """What was printed then, or where."""
        text: str = self._load(number)[what]
        return text

    async def text(self, node: str, command: str) -> str:
        """Run a command that must succeed; return what it printed."""
        finished = await self.docker(node, command)
        assert finished.status == 0, finished.stderr
        return finished.stdout.strip()

    async def until(self, node: str, command: str, pattern: str) -> str:
        """Repeat a command until its output matches."""
        shown = ""
        with trio.move_on_after(25):  # A node may go unmissed for three heartbeats of the 6 s that one test sets.
            while True:
                shown = (await self.docker(node, command)).stdout
                if re.search(pattern, shown):
                    return shown
                await trio.sleep(0.1)
        pytest.fail(f"{command} never printed {pattern!r} but\n{shown}")

    async def form(self) -> None:
        """Make the swarm of the recordings by the recorded commands."""
        for number in ("008", "009", "010"):
            await self(number)
        await self("040")
        # So that a node that is gone is soon Down; the default is 5 s, of which three must pass.
        await self.text("docker1", "docker swarm update --dispatcher-heartbeat 2s")
        worker = (await self("042")).stdout.strip()
        manager = await self.text("docker1", "docker swarm join-token -q manager")
        assert worker != manager
        await self("041")
        await self("046")
        await self("043", token=worker)
        await self("044")
        await self("045", token=worker)
        await self("047", token=manager)
        await self("048", token=manager)
        shown = (await self("049")).stdout
        assert shown.count(" Leader ") == 1
        await self("050")


@pytest.fixture(scope="module")
def local(needs_docker_cli: str, needs_shared: Path) -> Iterator[LocalSwarm]:
    """Six daemons."""
    swarm = LocalSwarm.create(
        Path(tempfile.mkdtemp(prefix="raftswarm-docker-")), managers=3, workers=3, name_prefix="docker"
    )
    try:
        trio.run(lambda: swarm.start(*swarm.nodes))
        yield swarm
    finally:
        trio.run(swarm.down)


@pytest.fixture(scope="module")
def formed(local: LocalSwarm, needs_docker_cli: str, load_recording: Load) -> Replay:
    """A swarm of five formed by the docker CLI, and a way to run recorded commands in it."""
    docker = DockerRuns(
        program=needs_docker_cli,
        config=local.directory / "docker-config",
        hosts={node.name: node.docker_host for node in local.nodes},
    )
    replay = Replay(docker, load_recording, local)
    trio.run(replay.form)
    return replay


@pytest.fixture
async def replay(formed: Replay) -> AsyncIterator[Replay]:
    """The same, and the services that a test leaves are removed."""
    yield formed
    names = (await formed.text("docker1", "docker service ls -q")).split()
    if names:
        await formed.text("docker1", f"docker service rm {' '.join(names)}")


@pytest.mark.parametrize(
    "number",
    [
        "053",  # On a worker.
        "054",
        "055",
        "267",  # Nodes.
        "283",
        "289",
        "470",
        "471",
        "472",
        "473",
        "474",
        "475",
        "292",
        "293",
        "294",
        "498",
        "295",  # The swarm.
        "325",
        "336",
        "339",
        "340",
        "322",
        "401",  # Services.
        "402",
        "403",
        "404",
        "405",
        "406",
        "407",
        "408",
        "409",
        "411",
        "412",
        "413",
        "415",
        "416",
        "417",
        "419",
        "420",
        "421",
        "424",
        "425",
        "428",
        "429",
        "430",
        "432",
        "433",
        "434",
        "435",
        "436",
        "437",
        "456",
        "058",  # Into a swarm, from outside.
        "072",
        "073",
        "074",
        "075",
        "077",
    ],
)
async def test_refuses_in_the_recorded_words(number: str, formed: Replay) -> None:
    recorded_on = formed.recorded(number, "node")
    await formed(number, on="docker3" if recorded_on == "docker1" else recorded_on)  # A follower answers alike.


@pytest.mark.parametrize(
    "number",
    [
        *("600", "601", "602", "603", "604", "605", "607", "608"),  # Versions and paths.
        *("612", "613", "640"),  # Versions of objects.
        *("619", "620", "621", "622", "623", "643"),  # Bodies.
        *("631", "632"),  # Filters.
        *("630", "653", "654"),  # Unknown objects.
        *("634", "635", "636", "644"),  # Not a manager.
    ],
)
async def test_the_api_answers_as_recorded(number: str, formed: Replay) -> None:
    recording = formed.recording(number)
    [asked] = recording["exchanges"]
    body = asked["request_body"]
    text = body if isinstance(body, str) else json.dumps(body)
    client = HttpClient(parse_address(formed.docker.hosts[recording["node"]]))

    async with client.call(
        asked["method"],
        f"{asked['path']}?{urlencode(asked['query'])}",
        headers=list(asked["request_headers"].items()),
        body=b"" if body is None else text.encode(),
    ) as reply:
        answer = (await reply.read()).decode().strip()
    await client.aclose()

    assert reply.status == asked["status"]
    assert message_of(answer) == message_of(asked["response_body"])


async def test_version_and_info_describe_the_engine_on_every_node(replay: Replay) -> None:
    version = await replay.text("docker2", "docker version")
    manager = await replay.text("docker2", "docker info")
    worker = await replay.text("docker4", "docker info")
    outside = await replay.text("docker6", "docker info")

    assert re.search(r"Server: raftswarm\n Engine:\n  Version: +\S+\n  API version: +1\.47 \(minimum", version)
    assert " Swarm: active\n" in manager
    assert "  Is Manager: true\n" in manager
    assert "  Managers: 3\n  Nodes: 5\n" in manager
    assert f"  Node Address: {replay.address(2)}\n" in manager
    assert "  Is Manager: false\n" in worker
    assert all(f"   {replay.address(number)}:2377\n" in worker for number in (1, 2, 3))
    assert " Swarm: inactive\n" in outside


async def test_refusals_about_services_that_exist(replay: Replay) -> None:
    await replay("100")
    glob = await replay.text("docker1", "docker service create -d --name glob --mode global busybox sleep 100000")
    await replay.text("docker3", "docker service create -d --name web busybox sleep 100000")

    await replay("400")
    await replay("410")
    await replay("414")
    await replay("426")
    await replay("427")
    await replay("438")
    await replay("439")
    await replay("440")
    await replay("441")
    assert glob in (await replay.docker("docker2", "docker service rollback -d glob")).stderr


async def test_a_service_is_created_scaled_updated_rolled_back_and_removed(replay: Replay) -> None:
    created = await replay("101", options=BRIEF, arguments="sleep 100000")
    assert {"running   [==================================================>]"} <= states_seen(created.stdout)
    await replay("102")
    await replay("103")
    await replay("105")
    scaled = await replay("106")
    assert {"running   [==================================================>]"} <= states_seen(scaled.stdout)
    await replay("107")
    await replay("108")
    await replay("112")
    await replay("100")


async def test_history_shows_updates_rollbacks_and_a_killed_process(replay: Replay) -> None:
    await replay("113", options=f"{BRIEF} --restart-delay 200ms", arguments="sleep 100000")
    await replay("114")
    await replay("115")
    await replay("116")
    await replay("117")
    await replay("118")

    task = await replay.text("docker1", "docker service ps -q --filter desired-state=running nginx-svc")
    await kill_task(replay, task, signal.SIGKILL)
    await replay.until("docker1", "docker service ps nginx-svc", r"\.1 .*Running +Running.*\n.*Failed")

    shown = await replay.text("docker2", "docker service ps nginx-svc")
    [_, newest, failed, *_] = without_particulars(shown).splitlines()
    [_, _, recorded, *_] = without_particulars(replay.recorded("123")).splitlines()
    assert newest == "ID nginx-svc.1 192.168.10.15/library/nginx:v1 NODE Running Running AGO"
    assert failed == recorded
    await replay("131")


async def test_jobs_run_to_their_end_and_every_update_runs_them_again(replay: Replay) -> None:
    create = "docker service create -q --restart-delay 200ms"
    await replay.text("docker1", f"{create} --name job --mode replicated-job --replicas 3 --max-concurrent 2 true")
    await replay.text("docker1", f"{create} --name gjob --mode global-job true")

    shown = without_particulars(await replay.text("docker2", "docker service ls"))
    assert "ID job replicated job 0/2 (3/3 completed) true:latest" in shown
    assert "ID gjob global job 0/0 (5/5 completed) true:latest" in shown
    tasks = without_particulars(await replay.text("docker2", "docker service ps job")).splitlines()
    assert tasks[0] == without_particulars(replay.recorded("454")).splitlines()[0]
    assert len(tasks) == 4
    assert all(line.endswith(" Complete Complete AGO") for line in tasks[1:])

    await replay.text("docker1", "docker service scale -d job=4")
    service = json.loads(await replay.text("docker1", "docker service inspect job"))[0]
    assert service["JobStatus"]["JobIteration"] == {"Index": 1}
    await replay.until("docker1", "docker service ls", r"0/2 \(4/4 completed\)")


async def test_every_manager_tells_what_happens_to_services_and_nodes(replay: Replay) -> None:
    await replay.text("docker1", "docker service create -d --name ev busybox sleep 100000")
    await replay.text("docker1", "docker service update -d --replicas 2 ev")
    await replay.text("docker1", "docker node update --label-add a=b docker5")
    await replay.text("docker1", "docker node update --label-rm a docker5")
    await replay.text("docker1", "docker service rm ev")

    told = "docker events --since 1m --until 0s --filter type=service --filter service=ev --format '{{.Action}}'"
    for manager in ("docker1", "docker2", "docker3"):
        await replay.until(manager, told, "create\nupdate\n(?:.*\n)*remove\n")
        shown = await replay.text(manager, "docker events --since 1m --until 0s --filter node=docker5")
        assert re.search(r"node update \w{25} \(name=docker5\)", shown)
    assert await replay.text("docker4", told) == "", "a worker knows nothing"


async def test_workers_are_promoted_and_managers_demoted(replay: Replay) -> None:
    await replay("284")
    for worker in ("docker4", "docker5"):
        await replay.until(worker, "docker info", "Is Manager: true")
    await replay.until("docker1", "docker node ls --format '{{.ManagerStatus}}'", r"(?:(?:Leader|Reachable)\n){5}")
    await replay("285")
    await replay("286")
    assert "docker1" in await replay.text("docker4", "docker node ls"), "a new manager answers like any other"
    await replay("287")
    for worker in ("docker4", "docker5"):
        await replay.until(worker, "docker info", "Is Manager: false")
    await replay("288")
    await replay("289")
    await replay("053")


async def test_a_failed_update_pauses_or_rolls_back_as_it_is_told(replay: Replay) -> None:
    create = f"docker service create -d {BRIEF} --restart-delay 200ms --replicas 2 --name web busybox sleep 100000"
    await replay.text("docker2", create)
    await replay.until("docker3", "docker service ls", r" 2/2 ")

    to_nothing = "docker service update --image nosuchimage:2 --args '' --update-failure-action"
    paused = await replay.docker("docker3", f"{to_nothing} pause web")
    inspected = await replay.text("docker1", "docker service inspect --pretty web")
    await replay.text("docker1", "docker service rollback web")
    rolled_back = await replay.docker("docker2", f"{to_nothing} rollback web")

    reason = without_particulars(replay.recorded("511", "stderr"))
    assert without_particulars(paused.stderr) == reason
    assert paused.status == 1
    assert "UpdateStatus:\n State:\t\tpaused\n" in inspected
    assert without_particulars(inspected).count("update paused due to failure or early termination of task ID") == 1
    told = course(rolled_back.stdout)
    assert "rollback: update rolled back due to failure or early termination of task ID" in told
    assert "overall progress: rolling back update: 2 out of 2 tasks" in told
    assert "verify: Service web converged" in told
    assert rolled_back.status == 0


async def test_a_service_without_a_name_is_known_by_its_id(replay: Replay) -> None:
    await replay("013", on="docker2", options=BRIEF, arguments="sleep 100000")
    short = await replay.text("docker1", "docker service ls -q")
    service = await replay.text("docker1", f"docker service inspect --format '{{{{.ID}}}}' {short}")

    await replay("017", on="docker3", named=service)
    await replay("022", on="docker1", named=service)


async def test_a_service_is_described_as_recorded(replay: Replay) -> None:
    create = "docker service create -d --name nginx-svc-1 --replicas 2 --publish 80:80 192.168.10.15/library/nginx:v1"
    await replay.text("docker3", create)

    await replay("111")


async def test_an_update_under_way_is_described_as_recorded(replay: Replay) -> None:
    create = "docker service create -d --name web --replicas 2 --update-delay 30s busybox sleep 100000"
    await replay.text("docker2", create)
    await replay.until("docker3", "docker service ls", r" 2/2 ")
    await replay.text("docker3", "docker service update -d --force web")

    shown = await replay.until("docker2", "docker service inspect --pretty web", "UpdateStatus:")

    assert update_status(shown) == update_status(replay.recorded("128"))


async def test_an_update_ends_when_all_its_tasks_are_new(replay: Replay) -> None:
    async def running() -> set[str]:
        shown = await replay.text("docker1", "docker service ps -q --filter desired-state=running web")
        return set(shown.split())

    await replay.text("docker2", f"docker service create -d {BRIEF} --name web --replicas 3 busybox sleep 100000")
    await replay.until("docker3", "docker service ls", r" 3/3 ")
    first = await running()

    updated = await replay.docker("docker3", "docker service update --env-add COLOUR=blue web")
    second = await running()
    forced = await replay.docker("docker2", "docker service update --force web")
    third = await running()

    expected = ["web", "overall progress: 0 out of 3 tasks", "1/3:", "2/3:", "3/3:", *converged("web", 3)]
    assert course(updated.stdout) == expected
    assert course(forced.stdout) == expected
    assert len(first) == len(second) == len(third) == 3
    assert len(first | second | third) == 9
    environment = "docker service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Env}}' web"
    assert await replay.text("docker1", environment) == "[COLOUR=blue]"


async def test_tasks_that_cannot_run_say_why(replay: Replay) -> None:
    for number in ("442", "443", "446"):
        await replay(number)
    await replay.text("docker1", "docker service create -d --name mis nosuchimage:1")
    await replay.until("docker1", "docker service ps exits", "Complete")
    await replay.until("docker1", "docker service ps mis", r"Rejected .*\"No such image: nosuchimage:1")
    await replay("449")
    await replay("450")
    await replay("453")


async def test_a_drained_node_gives_up_its_tasks_and_a_paused_one_keeps_them(replay: Replay) -> None:
    await replay.text("docker1", "docker service create -d --name toms --replicas 5 tomcat:8.5.49 sleep 100000")
    await replay.until("docker1", "docker service ls", r" 5/5 ")
    assert len((await replay.text("docker2", "docker service ps -q --filter node=docker3 toms")).split()) == 1

    await replay("270")
    await replay("274")
    await replay("275")
    await replay("278")
    await replay.until("docker1", "docker node ps docker3", r"Shutdown +Shutdown")
    await replay.until("docker1", "docker service ls", r" 5/5 ")
    history = without_particulars(await replay.text("docker2", "docker service ps toms"))
    await replay("280")

    [gone] = [line for line in history.splitlines() if " \\_ " in line]
    assert re.fullmatch(r"ID \\_ toms\.\d tomcat:8\.5\.49 NODE Shutdown Shutdown AGO", gone)


async def test_labels_come_and_go(replay: Replay) -> None:
    node = await replay.text("docker1", "docker node inspect --format '{{.ID}}' docker5")

    await replay("263")
    await replay("264")
    await replay("265", named=node)
    await replay("260")
    await replay("266")
    await replay.text("docker1", "docker node update --label-rm manager docker1")


async def test_a_join_token_is_rotated_and_the_old_one_refused(replay: Replay) -> None:
    old = await replay.text("docker2", "docker swarm join-token -q worker")

    await replay("337")
    fresh = await replay.text("docker3", "docker swarm join-token -q worker")
    refused = await replay.docker("docker6", f"docker swarm join --token {old} {replay.address(1)}:2377")

    assert fresh != old
    assert without_particulars(refused.stderr) == without_particulars(replay.recorded("059", "stderr"))
    assert refused.status == 1


async def test_a_worker_leaves_is_removed_and_joins_again(replay: Replay) -> None:
    token = await replay.text("docker2", "docker swarm join-token -q worker")
    node = await replay.text("docker1", "docker node inspect --format '{{.ID}}' docker4")

    await replay("056", token=token)
    await replay("062")
    await replay.until("docker1", "docker node ls", r"docker4 +Down")
    await replay("064", token=token)
    await replay.until("docker1", "docker node ls", r"docker4 +Ready")
    await replay("066")
    await replay("067", named=node)
    await replay("050")


async def test_settings_of_the_swarm_change_live(replay: Replay) -> None:
    await replay("334")
    changed = await replay.text("docker3", "docker info")
    await replay("335")
    back = await replay.text("docker2", "docker info")
    await replay.text("docker1", "docker swarm update --dispatcher-heartbeat 2s")

    assert "Heartbeat Period: 6 seconds" in changed
    assert "Snapshot Interval: 9000" in changed
    assert "Task History Retention Limit: 7" in changed
    assert "Expiry Duration: 4 weeks" in changed
    assert "Heartbeat Period: 5 seconds" in back
    assert "Expiry Duration: 3 months" in back


async def test_a_locked_manager_says_so_and_is_unlocked(replay: Replay) -> None:
    await replay("310")
    await replay("311")
    key = (await replay("312")).stdout.strip()
    node = replay.local.node("docker3")
    await replay.local.stop(node)
    await replay.local.start(node)

    await replay("315")
    await replay("316")
    await replay("319")
    assert " Swarm: locked\n" in await replay.text("docker3", "docker info")
    await replay("317", stdin="SWMKEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA8\n")
    await replay("318", stdin="nope\n")
    await replay("320", stdin=key)
    await replay.until("docker3", "docker node ls", "docker3 +Ready +Active +Reachable")
    await replay("322")
    await replay("323")
    assert key != await replay.text("docker2", "docker swarm unlock-key -q")
    await replay("324")
    await replay("325")


async def test_a_swarm_of_one_begins_and_ends(replay: Replay) -> None:
    await replay("078")
    await replay("012")
    await replay("023")
    await replay("024")
    await replay("029")
    await replay("025")
    await replay("026")
    await replay("032")
    await replay("008")


def message_of(body: object) -> str:
    """The words of an answer, whatever they are wrapped in; the oldest version that is spoken is our own."""
    text = body if isinstance(body, str) else json.dumps(body or "")
    decoded = json.loads(text) if text.startswith(("{", '"')) else text
    words = str(decoded["message"] if isinstance(decoded, dict) else decoded)
    words = re.sub(r"(?<=supported API version is )1\.\d+", "1.N", words)
    return words.strip()


def update_status(inspected: str) -> list[str]:
    """What ``inspect --pretty`` says of an update."""
    lines = without_particulars(inspected).splitlines()
    return lines[lines.index("UpdateStatus:") : lines.index("Placement:")]


def converged(service: str, tasks: int) -> list[str]:
    """What a command that follows tasks says at its end."""
    return [
        f"overall progress: {tasks} out of {tasks} tasks",
        "verify: Waiting N seconds to verify that tasks are stable...",
        f"verify: Service {service} converged",
    ]


async def kill_task(replay: Replay, task: str, number: signal.Signals) -> None:
    """Send a signal to the process of a task: the child of the shell that waits for it."""
    shell = await replay.text(
        "docker1", f"docker inspect --type task --format '{{{{.Status.ContainerStatus.PID}}}}' {task}"
    )
    [process] = (await trio.Path(f"/proc/{shell}/task/{shell}/children").read_text()).split()
    os.kill(int(process), number)


def docker_client(replay: Replay, node: str) -> docker.DockerClient:
    """docker-py, speaking to a node."""
    return docker.DockerClient(base_url=replay.docker.hosts[node], version="auto", timeout=30)


def update_by_docker_py(service: Any) -> None:
    """Change image and environment; who meets a write of the swarm itself reads again and retries, as with Docker."""
    for _ in range(20):
        service.reload()
        try:
            service.update(image="alpine", env=["A=2"])
        except APIError as error:
            assert "update out of sequence" in str(error)  # noqa: PT017 - what is retried
        else:
            return
    pytest.fail("always out of sequence")


def use_docker_py(replay: Replay) -> None:
    """A life of a service through docker-py, and a swarm begun and left."""
    with closing(docker_client(replay, "docker2")) as client:
        assert sorted(node.attrs["Description"]["Hostname"] for node in client.nodes.list()) == [
            f"docker{number}" for number in range(1, 6)
        ]
        service = client.services.create("busybox", ["sleep", "100000"], name="py", env=["A=1"])
        assert [found.name for found in client.services.list()] == ["py"]
        assert service.scale(3)
        service.reload()
        assert service.attrs["Spec"]["Mode"] == {"Replicated": {"Replicas": 3}}
        update_by_docker_py(service)
        service.reload()
        assert service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=2"]
        assert service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "alpine"
        assert {task["ServiceID"] for task in service.tasks()} == {service.id}
        service.remove()
        with pytest.raises(NotFound, match="service py not found"):
            client.services.get("py")
    with closing(docker_client(replay, "docker6")) as client:
        with pytest.raises(APIError, match="This node is not a swarm manager"):
            client.services.list()
        node = client.swarm.init()
        client.swarm.reload()
        assert client.nodes.get(node).attrs["ManagerStatus"]["Leader"]
        assert client.swarm.attrs["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
        client.swarm.leave(force=True)


async def test_docker_py_drives_a_swarm(replay: Replay) -> None:
    await trio.to_thread.run_sync(use_docker_py, replay)
