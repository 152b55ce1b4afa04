"""Monitoring in a cluster, whole: a hub in the interchange's pod, pools' radios, PostgreSQL, Prometheus."""

import base64
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from blockyard import Client
from blockyard.futures import TaskFuture
from blockyard.managed import run_managed
from tests.cluster import deployables
from tests.cluster.access import OwnCluster
from tests.cluster.kubectl import Json
from tests.cluster.prometheus import Prometheus, running_prometheus
from tests.cluster.waiting import wait_until
from tests.e2e import release as releases
from tests.e2e.release import CHART, Release
from tests.integration.dashboards.shipped import Question, filled_in, questions

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster, pytest.mark.timeout(1800)]

SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
SPEC = {
    "workersPerNode": 2,
    "blocks": {"max": 2},
    "strategy": {"idleTimeout": "3s"},
    "drain": {"timeout": "10s"},
    "template": {"spec": {"containers": [{"name": "worker", "resources": SMALL}]}},
}
WITHIN = 180.0
TASKS = 300
OF_POOL = "from tries join submissions on first = submission"


class Yard:
    """The release, and what its hub has written."""

    def __init__(self, release: Release) -> None:
        self.release = release

    def address(self, service: str) -> str:
        """A Service's own address, which this machine reaches."""
        within = f"--namespace={self.release.namespace}"
        return str(
            self.release.cluster.json("get", "service", f"{self.release.name}-{service}", within)["spec"]["clusterIP"]
        )

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """A query of the history; no row while there is no schema yet."""
        within = f"--namespace={self.release.namespace}"
        secret = self.release.cluster.json("get", "secret", f"{self.release.name}-postgresql", within)["data"]
        password = base64.b64decode(secret["password"]).decode()
        host = self.address("postgresql")
        with psycopg.connect(host=host, dbname="blockyard", user="blockyard", password=password) as connection:
            try:
                return connection.execute(query.encode(), values).fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    def until(self, what: str, look: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
        """Look until it holds; what was seen then."""
        seen: list[Any] = []

        def amiss() -> str | None:
            seen.append(look())
            return None if holds(seen[-1]) else str(seen[-1])[:2000]

        wait_until(what, amiss, WITHIN)
        return seen[-1]

    def condition(self, pool: str) -> tuple[str, str, str]:
        """Of its monitoring."""
        found = self.release.pool(pool).get("status", {}).get("conditions", [])
        return next(
            ((one["status"], one["reason"], one["message"]) for one in found if one["type"] == "Monitored"), ("",) * 3
        )

    def hub(self) -> Json:
        """The hub's container, as its pod's status has it."""
        (pod,) = self.release.pods("app.kubernetes.io/component=interchange")
        return next(one for one in pod["status"]["containerStatuses"] if one["name"] == "hub") | {
            "pod": pod["metadata"]["name"]
        }

    def page(self, path: str, token: str) -> tuple[int, str]:
        """What the page answers, and its text."""
        asked = urllib.request.Request(
            f"http://{self.address('dashboard')}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def queue(self, pool: str) -> str:
        """A pool's name to the interchange."""
        return f"{self.release.namespace}.{pool}"


@pytest.fixture(scope="module")
def yard(own_cluster: OwnCluster) -> Iterator[Yard]:
    values = {
        "images": releases.image_values(own_cluster, (*deployables.DOCKERFILES, deployables.POSTGRESQL)),
        "interchange": {"resources": SMALL, "persistence": {"size": "1Gi"}},
        "operator": {"resources": SMALL},
        "postgresql": {
            "enabled": True,
            "path": deployables.POSTGRESQL_BIN,
            "persistence": {"size": "1Gi"},
            "resources": SMALL,
        },
        "hub": {"enabled": True, "resources": SMALL, "radios": {"ports": 4}},
        "dashboard": {"enabled": True, "resources": SMALL},
    }
    with releases.released(own_cluster, values) as release:
        yield Yard(release)


def naps(client: Client, count: int, seconds: float) -> "list[TaskFuture[int]]":
    """So many tasks that sleep, and answer their number."""

    def nap(number: int) -> int:  # a function within one travels by value: pods do not have this module
        time.sleep(seconds)
        return number

    return client.submit_many(nap, range(count))


def tries_of(yard: Yard, pool: str) -> list[tuple[Any, ...]]:
    """(ended tries, tries with what they used) of a pool."""
    ended = yard.ask(f"select count(distinct task) {OF_POOL} where pool = %s and is_last <> 0", yard.queue(pool))
    used = yard.ask(
        f"select count(distinct task) {OF_POOL} join worker_tasks using (task, epoch) where pool = %s",
        yard.queue(pool),
    )
    return [*ended, *used]


def test_a_pool_tells_all_of_its_tasks_though_the_hub_is_killed_meanwhile(yard: Yard) -> None:
    release = yard.release
    assert isinstance(release.cluster, OwnCluster)
    release.apply_pool("default", SPEC)
    with release.client("default") as client, running_prometheus([f"{yard.address('hub')}:9092"]) as prometheus:
        yard.until("the pool is monitored", lambda: yard.condition("default"), lambda seen: seen[0] == "True")
        before = yard.hub()
        futures = naps(client, TASKS // 2, 0.1)
        futures[0].result(timeout=WITHIN)
        release.cluster.kill_container(release.namespace, before["pod"], "hub")
        futures += naps(client, TASKS // 2, 0.1)
        assert [future.result(timeout=WITHIN) for future in futures] == [*range(TASKS // 2), *range(TASKS // 2)]
        seen = yard.until("the hub is back", yard.hub, lambda one: one["restartCount"] > before["restartCount"])
        assert seen["lastState"]["terminated"]["exitCode"] == 137
        whole = [(TASKS,), (TASKS,)]
        yard.until("all tries, and what each used", lambda: tries_of(yard, "default"), lambda found: found == whole)
        times = yard.ask(
            f"select count(*) {OF_POOL} where pool = %s and state = 0 and submitted_us <= queued_us "
            "and queued_us <= assigned_us and assigned_us <= returned_us and ran_us >= 100000", yard.queue("default"),
        )  # fmt: skip
        assert times == [(TASKS,)], yard.ask("select * from tries limit 3")
        shown = yard.until(
            "the hub's metrics are scraped",
            lambda: prometheus.query('sum(blockyard_hub_packets_total{radio="zmq"})'),
            lambda series: bool(series) and float(series[0]["value"][1]) > 0,
        )
        assert shown
    release.wait_no_blocks("default")

    def states() -> set[str]:
        return {
            name for (name,) in yard.ask("select distinct state from blocks where pool = %s", yard.queue("default"))
        }

    yard.until("the blocks' states", states, lambda found: {"PENDING", "RUNNING", "SCALED_IN"} <= found)
    nodes = yard.ask("select distinct state from nodes where pool = %s", yard.queue("default"))
    assert {name for (name,) in nodes} == {"joined", "draining", "gone"}


def test_the_page_shows_them_to_who_has_its_token(yard: Yard) -> None:
    within = f"--namespace={yard.release.namespace}"
    secret = yard.release.cluster.json("get", "secret", f"{yard.release.name}-dashboard", within)["data"]["token"]
    token = base64.b64decode(secret).decode()
    _, text = yard.until("it answers", lambda: yard.page("/tasks", token), lambda seen: seen[0] == 200)
    assert "naps.&lt;locals&gt;.nap" in text, text[:2000]
    assert yard.queue("default") in text
    assert yard.page("/tasks", "not it")[0] == 401
    assert yard.page("/livez", "")[0] == 200


def test_an_alert_fires_when_blocks_fail_and_panels_are_filled(yard: Yard, tmp_path: Path) -> None:
    """By the chart's rules, whose times until they fire are shortened by a value; and Grafana's overview."""
    release = yard.release
    rules = tmp_path / "rules.yaml"
    rules.write_text(rules_of(release))
    labels = {"namespace": release.namespace, "service": f"{release.name}-interchange"}
    release.apply_pool("default", SPEC)
    targets = [f"{yard.address('interchange')}:9090", f"{yard.address('hub')}:9092"]
    began = time.time()
    with running_prometheus(targets, [rules], labels=labels) as prometheus, release.client("default") as client:
        broken = {"name": "worker", "command": ["/bin/false"], "resources": SMALL}
        release.apply_pool("broken", {
            **SPEC, "blocks": {"min": 1, "max": 1}, "errorPolicy": {"podsPerMinute": 60, "threshold": 16},
            "template": {"spec": {"containers": [broken]}},
        })  # fmt: skip
        futures = naps(client, 100, 0.2)
        asked = [one for one in questions() if one.where.startswith("overview:")]
        yard.until(
            "each panel has an answer",
            lambda: [one.where for one in asked if not is_answered(yard, prometheus, one, began)],
            lambda silent: not silent,
        )
        fired = yard.until(
            "an alert fires",
            prometheus.firing,
            lambda seen: {"BlockyardBlockFailed"} <= {one["alertname"] for one in seen},
        )
        (alert,) = [one for one in fired if one["alertname"] == "BlockyardBlockFailed"]
        assert (alert["pool"], alert["severity"]) == (yard.queue("broken"), "info")
        assert "BlockyardInterchangeDown" not in {one["alertname"] for one in fired}
        release.cluster.run("delete", "workerpool", "broken", f"--namespace={release.namespace}", timeout=180)
        assert [future.result(timeout=WITHIN) for future in futures] == list(range(100))
    release.wait_no_blocks("default")


def rules_of(release: Release) -> str:
    """The chart's rules for a release as Prometheus reads them; its operator would unpack them like this."""
    shown = release.helm(
        "template", release.name, CHART, "--show-only=templates/monitoring/rules.yaml",
        "--set=monitoring.prometheusRule.enabled=true", "--set=monitoring.prometheusRule.forSeconds=1",
    )  # fmt: skip
    return json.dumps({"groups": yaml.safe_load(shown)["spec"]["groups"]})


def is_answered(yard: Yard, prometheus: Prometheus, question: Question, began: float) -> bool:
    """Whether there is a number, or a row, to show."""
    if question.source != "prometheus":
        return bool(yard.ask(filled_in(question.text, {})))
    text = filled_in(question.text, {"pool": f".*{yard.release.namespace}.*", "__rate_interval": "10s",
                                     "__range": "120s"})  # fmt: skip
    if question.is_series:
        found = [value for one in prometheus.query_range(text, began, time.time(), 2) for _, value in one["values"]]
    else:
        found = [one["value"][1] for one in prometheus.query(text)]
    return any(math.isfinite(float(value)) for value in found)


def test_programs_stop_with_their_run_and_what_they_ran_with_and_left_is_kept(yard: Yard) -> None:
    release = yard.release
    release.apply_pool("held", {**SPEC, "blocks": {"max": 1}})
    script = "echo kept > note; until [ -e /tmp/{0} ]; do sleep 0.05; done"

    def statuses(step: str) -> list[str]:
        return [status for (status,) in yard.ask("select status from configs where step = %s", step)]

    def run(name: str, words: list[str], **fields: Any) -> None:
        metadata = {"name": name, "namespace": release.namespace}
        spec = {"pool": "held", "steps": [{"name": name, "binary": words}], **fields}
        release.cluster.apply(
            {"apiVersion": "blockyard.dev/v1alpha1", "kind": "WorkflowRun", "metadata": metadata, "spec": spec}
        )

    def seen(name: str) -> tuple[str, int, str]:
        found = release.cluster.json("get", "wfr", name, f"--namespace={release.namespace}").get("status", {})
        said = {one["type"]: one["message"] for one in found.get("conditions", [])}
        return found.get("phase", ""), found.get("steps", {}).get("stopped", 0), said.get("Suspended", "")

    run("ticks", ["sh", "-c", script.format("ticks")])
    yard.until("its start is in the history", lambda: statuses("ticks"), lambda found: found == ["RUNNING"])
    run("ticks", ["sh", "-c", script.format("ticks")], suspend=True, suspendRunning=True)
    yard.until("it is stopped", lambda: seen("ticks"), lambda found: found[:2] == ("Suspended", 1))
    assert seen("ticks")[2].startswith("1 task has its programs stopped")
    yard.until("the history knows", lambda: statuses("ticks"), lambda found: found == ["STOPPED"])
    run("opens", ["touch", "/tmp/ticks"])
    yard.until("the file is there", lambda: seen("opens"), lambda found: found[0] == "Succeeded")
    assert seen("ticks")[:2] == ("Suspended", 1), "what is stopped does not see it"
    run("ticks", ["sh", "-c", script.format("ticks")])
    yard.until("it goes on to its end", lambda: seen("ticks"), lambda found: found[0] == "Succeeded")
    yard.until("the history knows", lambda: statuses("ticks"), lambda found: found == ["COMPLETED"])
    with release.client("held") as client:
        spec = {"binary": ["sh", "-c", script.format("waits")], "fill": False, "step": "called",
                "outputs": [{"name": "note", "path": "note"}], "directory": "/tmp"}  # fmt: skip
        future = client.submit(run_managed, spec)
        yard.until("it runs", lambda: statuses("called"), lambda found: found == ["RUNNING"])
        future.stop()
        yard.until("it is stopped", lambda: statuses("called"), lambda found: found == ["STOPPED"])
        future.resume()
        client.submit(os.mknod, "/tmp/waits").result(timeout=WITHIN)
        assert future.result(timeout=WITHIN).status.name == "COMPLETED"
    left = yard.until(
        "what it left is kept",
        lambda: yard.ask(
            "select a.name, p.base64 from artefacts a join artefact_parts p using (sha256) join configs c "
            "on c.id = a.config where c.step = 'called' and a.name = 'note'"
        ),
        bool,
    )
    assert left == [("note", base64.b64encode(b"kept\n").decode())]
    release.wait_no_blocks("held")


def test_the_hubs_pairs_are_replaced_while_tasks_run(yard: Yard) -> None:
    """As docs/operator.md says it. Workers go on with another key of their radio's receiver; nothing is missing."""
    release, pairs = yard.release, ("hubs", "hub", "operators", "radios")
    within = f"--namespace={release.namespace}"
    release.apply_pool("kept", {**SPEC, "blocks": {"min": 2, "max": 2}})

    def workers() -> set[str]:
        return {one["metadata"]["name"] for one in release.pods("blockyard.dev/pool=kept")}

    def keys() -> list[str]:
        data = release.cluster.json("get", "secret", f"{release.name}-keys", within)["data"]
        return [data[f"{name}.key"] for name in pairs]

    with release.client("kept") as client:
        yard.until("the pool is monitored", lambda: yard.condition("kept"), lambda seen: seen[0] == "True")
        futures = naps(client, TASKS // 2, 0.1)
        futures[0].result(timeout=WITHIN)
        yard.until("both blocks", workers, lambda seen: len(seen) == 2)
        before, old = workers(), keys()
        gone = json.dumps([{"op": "remove", "path": f"/data/{name}.key"} for name in pairs])
        release.cluster.run("patch", "secret", f"{release.name}-keys", within, "--type=json", f"--patch={gone}")
        release.cluster.run("rollout", "restart", f"deployment/{release.name}-operator", within)
        there = "--for=jsonpath={.data.radios\\.key}"
        release.cluster.run("wait", f"secret/{release.name}-keys", there, "--timeout=2m", within, timeout=130)
        release.cluster.run("rollout", "restart", f"statefulset/{release.name}-interchange", within)
        release.wait_ready()
        assert not set(old) & set(keys())
        futures += naps(client, TASKS // 2, 0.1)
        assert [future.result(timeout=WITHIN) for future in futures] == [*range(TASKS // 2), *range(TASKS // 2)]
        whole = [(TASKS,), (TASKS,)]
        yard.until("all tries, and what each used", lambda: tries_of(yard, "kept"), lambda found: found == whole)
        yard.until("the pool is monitored", lambda: yard.condition("kept"), lambda seen: seen[0] == "True")
        assert workers() == before, "no block was replaced"
    release.cluster.run("delete", "workerpool", "kept", within, "--wait", timeout=180)


@pytest.mark.parametrize("radio", ["interchange", "udp"])
def test_other_radios_tell_what_tries_used(yard: Yard, radio: str) -> None:
    yard.release.apply_pool(radio, {**SPEC, "monitoring": {"radio": radio}})
    with yard.release.client(radio) as client:
        futures = naps(client, 20, 0.01)
        assert [future.result(timeout=WITHIN) for future in futures] == list(range(20))
    yard.until("what they used", lambda: tries_of(yard, radio), lambda found: found == [(20,), (20,)])
    assert yard.condition(radio)[:2] == ("True", "Monitored")
    yard.release.wait_no_blocks(radio)


def test_what_the_hub_does_not_have_is_said_and_holds_up_no_task(yard: Yard) -> None:
    yard.release.apply_pool("odd", {**SPEC, "monitoring": {"radio": "pigeon"}})
    with yard.release.client("odd") as client:
        assert client.submit(pow, 2, 10).result(timeout=WITHIN) == 1024
    status, reason, message = yard.condition("odd")
    assert (status, reason) == ("False", "RadioRefused")
    assert "pigeon" in message
    yard.release.wait_no_blocks("odd")


def test_a_pools_port_is_free_again_when_it_is_deleted(yard: Yard) -> None:
    release = yard.release
    within = f"--namespace={release.namespace}"
    release.cluster.run("delete", "workerpools", "--all", within, "--wait", timeout=180)
    names = [f"p{number}" for number in range(4)]
    for name in names:
        release.apply_pool(name, {**SPEC, "blocks": {"init": 0, "max": 1}})
    yard.until(
        "all four ports are given", lambda: [yard.condition(name) for name in names],
        lambda seen: all(one[0] == "True" for one in seen),
    )  # fmt: skip
    release.apply_pool("p4", {**SPEC, "blocks": {"init": 0, "max": 1}})
    yard.until("the fifth has none", lambda: yard.condition("p4"), lambda seen: "all 4 ports" in seen[2])
    release.cluster.run("delete", "workerpool", "p0", within, "--wait", timeout=180)
    yard.until("until one is free", lambda: yard.condition("p4"), lambda seen: seen[0] == "True")
    release.cluster.run("delete", "workerpools", "--all", within, "--wait", timeout=180)
