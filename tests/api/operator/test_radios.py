"""Radios of pools, with a real API server, operator, interchange and hub; pods are real managers, run as processes."""

import base64
import json
import signal
import sqlite3
from typing import Any

import pytest

from tests.api.operator.pod_runner import PodRunner
from tests.api.operator.release import Release
from tests.cluster.kubectl import Json
from tests.ports import free_port, free_ports

pytestmark = [pytest.mark.needs_api_server, pytest.mark.timeout(300)]


def radios(ports: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "first_port": free_ports(ports), "ports": ports}


def monitored(release: Release, pool: str, reason: str) -> None:
    release.until(
        f"{pool}: {reason}", lambda: release.condition(pool, "Monitored"), lambda seen: bool(seen[1] == reason)
    )


def secret(release: Release, pool: str) -> dict[str, str]:
    found: Json = release.get("secret", f"{pool}-worker")
    return {key: base64.b64decode(text).decode() for key, text in found["data"].items()}


def told(release: Release) -> tuple[int, int]:
    """Tasks whose try, and whose use of the machine, are in the history."""
    with sqlite3.connect(release.folder / "history.db") as history:
        try:
            ended = history.execute("select count(distinct task) from tries where is_last").fetchone()
            used = history.execute("select count(distinct task) from worker_tasks").fetchone()
        except sqlite3.OperationalError:  # it is just being made
            return 0, 0
    return ended[0], used[0]


def test_a_pool_has_its_radio_before_its_first_block_and_keeps_it(release: Release, runner: PodRunner) -> None:
    """Through the death of the hub, which lost its folder, and of the operator."""
    endpoint, ports = f"tcp://127.0.0.1:{free_port()}", radios(1)
    operator = release.operator(hub_endpoint=endpoint)
    release.interchange(monitoring=True)
    hub = release.hub(endpoint, ports)
    release.apply("WorkerPool", "cpu", blocks={"replicas": 1}, drain={"timeout": "3s"})
    release.until("it is known", lambda: release.condition("cpu", "Connected"), lambda seen: bool(seen[0] == "True"))
    client = release.client().options(pool=f"{release.namespace}.cpu")
    assert client.submit(abs, -7).result(60) == 7
    monitored(release, "cpu", "Monitored")
    release.until("all is told", lambda: told(release), lambda seen: seen == (1, 1))
    held = secret(release, "cpu")["radio.json"]
    assert json.loads(held)["settings"]["address"] == f"tcp://127.0.0.1:{ports['first_port']}"
    hub.send_signal(signal.SIGKILL)
    hub.wait(30)
    monitored(release, "cpu", "HubSilent")
    assert client.submit(abs, -8).result(60) == 8, "while the hub is away"
    for path in sorted((release.folder / "hub").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    release.hub(endpoint, ports)
    monitored(release, "cpu", "Monitored")
    release.until("all is told", lambda: told(release), lambda seen: seen == (2, 2))
    assert operator.end() == 0
    second = release.operator("operator-1", hub_endpoint=endpoint)
    release.until("it leads", lambda: second.leads)
    release.run("delete", "wp", "cpu")
    release.run("delete", "wb,pods", "--all", "--wait=false")  # as the garbage collector would, of which there is none
    release.apply("WorkerPool", "next", blocks={"max": 1})
    monitored(release, "next", "Monitored")
    assert json.loads(secret(release, "next")["radio.json"])["settings"]["address"].endswith(f":{ports['first_port']}")


def test_a_hub_that_never_answers_holds_up_no_task_for_long(release: Release, runner: PodRunner) -> None:
    release.operator(hub_endpoint=f"tcp://127.0.0.1:{free_port()}")
    release.interchange()
    release.apply("WorkerPool", "cpu", blocks={"max": 1})
    release.until("it is known", lambda: release.condition("cpu", "Connected"), lambda seen: bool(seen[0] == "True"))
    client = release.client().options(pool=f"{release.namespace}.cpu")
    assert client.submit(abs, -7).result(60) == 7
    monitored(release, "cpu", "HubSilent")
    assert "radio.json" not in secret(release, "cpu")


def test_keys_of_an_earlier_version_are_completed(release: Release) -> None:
    """Its Secret knew neither hub nor radios; what was in it stays as it was."""
    first = release.operator()
    release.until("the keys are there", lambda: release.find("secret", "b-interchange-keys"))
    assert first.end() == 0
    whole = release.get("secret", "b-keys")["data"]
    less = dict.fromkeys(("hubs.key", "hub.key", "operators.key", "radios.key"))
    release.run("patch", "secret", "b-keys", "--type=merge", "--patch", json.dumps({"data": less}))
    release.run("delete", "secret", "b-interchange-keys")
    release.operator("operator-1")
    release.until("they are whole again", lambda: release.find("secret", "b-interchange-keys"))
    after = release.get("secret", "b-keys")["data"]
    assert after.keys() == whole.keys()
    assert all(after[key] == whole[key] for key in whole.keys() - less.keys())
