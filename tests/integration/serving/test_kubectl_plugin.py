"""``kubectl blockyard``: what it says of a running interchange behind an API server, and what it does there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.cli import rim
from blockyard.cli.exits import Exit
from blockyard.ids import TaskId, task_name
from blockyard.transport import KeyPair
from tests.integration.processes import WITHIN, wait_until
from tests.integration.serving.cluster_stand_in import StandIn
from tests.integration.serving.house import House, a_pool

pytestmark = pytest.mark.timeout(180)

Types = Callable[..., str]


@pytest.fixture
def types(cluster: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Types:
    """What is typed after ``kubectl blockyard``, to what it prints."""
    where = cluster.kubeconfig(tmp_path)

    def typed(*words: str, code: int = 0, namespace: str = "science") -> str:
        arguments = [*words, "--kubeconfig", where, "-n", namespace, "--release", "science/blockyard"]
        found = rim.run(arguments, "kubectl blockyard")
        said = capsys.readouterr()
        assert found == code, said
        return said.out + said.err

    return typed


@pytest.fixture
def client(cluster: StandIn, serving: House) -> Client:
    """One that submits to the pool."""
    made = serving.client()
    assert made.options(pool="science.default").submit(abs, -1).result(WITHIN) == 1
    return made


def _asks(types: Types, *words: str) -> Any:
    return json.loads(types(*words, "-o", "json"))


def test_status_shows_the_namespace_s_pools(client: Client, types: Types) -> None:
    shown = types("status")
    assert "science.default" in shown
    assert "release science/blockyard" in shown
    assert [pool["pool"] for pool in _asks(types, "status")["pools"]] == ["science.default"]
    assert "no pools" in types("status", namespace="empty")
    assert "science.default" in types("status", "-A", namespace="empty")


def test_by_the_key_of_a_further_client_its_pools_alone_are_shown(
    client: Client, cluster: StandIn, serving: House, types: Types
) -> None:
    serving.order(a_pool("science.other", KeyPair.new()), serving.client("keeper-operator"))
    keys = serving.ring.issue("client-anna", ["science.other"])
    cluster.secrets["science/blockyard-client-anna"] = {
        **cluster.secrets["science/blockyard-client"],
        "client.key": keys.to_text(),
    }
    assert [pool["pool"] for pool in _asks(types, "status")["pools"]] == ["science.default", "science.other"]
    assert [pool["pool"] for pool in _asks(types, "status", "--client", "anna")["pools"]] == ["science.other"]


def test_top_shows_what_each_pod_does(client: Client, types: Types) -> None:
    running = client.options(pool="science.default").submit(_wait)
    (line,) = wait_until("it is busy", lambda: _asks(types, "top"), lambda seen: seen and seen[0]["busy"] == 1)
    assert (line["pool"], line["workers"], line["held"], line["draining"]) == ("science.default", 1, 1, False)
    assert "science.default" in types("top")
    assert "no managers" in types("top", namespace="empty")
    running.cancel()


def test_logs_are_a_task_s_and_cancel_ends_it(client: Client, types: Types) -> None:
    printing = client.options(pool="science.default").submit(print, "hello from a pod")
    assert printing.result(WITHIN) is None
    assert "hello from a pod" in types("logs", task_name(TaskId(printing.task)))
    assert "'blockyard task'" not in types("logs", "1f3a-42"), "kubectl blockyard has no such command"
    waiting = client.options(pool="science.default").submit(_wait)
    assert "1 task cancelled" in types("cancel", task_name(TaskId(waiting.task)))
    wait_until("it is cancelled", waiting.cancelled, bool)
    more = [client.options(pool="science.default").submit(_wait) for _ in range(3)]
    assert "3 tasks cancelled" in types("cancel", "--pool", "default")
    wait_until("they are cancelled", lambda: [one.cancelled() for one in more], all)
    assert "give the tasks to cancel" in types("cancel", code=Exit.USAGE)


def test_steps_are_those_of_the_namespace_s_youngest_run_of_the_name(client: Client, types: Types) -> None:
    def start(name: str, source: str) -> None:
        spec = {"pool": "science.default", "steps": [{"name": "a", "source": source}]}
        assert client.run(spec, name=name).wait(WITHIN) in ("Succeeded", "Failed")

    start("science.grid.0123abcd", "def main(): return 1")
    start("other.grid.0123abcd", "def main(): return 1")
    start("science.grid.4567abcd", "def main():\n  print('it prints')\n  raise ValueError('no')")
    seen = _asks(types, "steps", "grid")
    assert (seen["run"]["run"], seen["steps"][0]["message"]) == ("science.grid.4567abcd", "ValueError: no")
    assert _asks(types, "steps", "science.grid.0123abcd", "--state", "failed")["steps"] == []
    assert "none of this name is hosted here" in types("steps", "grdi", code=Exit.NOT_FOUND)
    assert "it prints" in types("logs", "grid", "a")
    assert "has no step 'b'; there are: a" in types("logs", "grid", "b", code=Exit.NOT_FOUND)
    assert "a task or a WorkflowRun and its step" in types("logs", "grid", code=Exit.USAGE)
    assert "a task or a WorkflowRun and its step" in types("logs", "grid", "a", "b", code=Exit.USAGE)
    assert "0 tasks cancelled" in types("cancel", "--run", "grid")


def test_drain_is_asked_of_the_blocks(cluster: StandIn, types: Types) -> None:
    cluster.blocks |= {"science/default-aaaaa": {}, "science/default-bbbbb": {}}
    assert "no WorkerBlock default-c" in types("drain", "default-aaaaa", "default-c", code=Exit.NOT_FOUND)
    assert cluster.blocks["science/default-aaaaa"] == {}, "one that is missing keeps all from being drained"
    assert "2 blocks drain" in types("drain", "default-aaaaa", "default-bbbbb")
    assert set(map(str, cluster.blocks.values())) == {"{'spec': {'drain': True}}"}
    cluster.blocks["science/default-ended"] = {"status": {"jobStatus": {"state": "COMPLETED"}}}
    assert "0 blocks drain; default-ended had ended" in types("drain", "default-ended")


def test_what_is_wrong_has_a_code_and_a_sentence(cluster: StandIn, types: Types, tmp_path: Path) -> None:
    cluster.pods["interchange-1"] = ("Pending", 1)
    assert "none of 1 runs" in types("status", "--timeout", "1", code=Exit.NO_ANSWER)
    (tmp_path / "kubeconfig").unlink()
    assert f"there is no file '{tmp_path / 'kubeconfig'}'" in types("status", code=Exit.USAGE)


def _wait() -> None:
    import time

    time.sleep(600)
