"""`Client.kubernetes` from outside: the Secret, the port-forward, and a pod that moves."""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import BadKey, BrokenBlockyard, ConfigError, UnknownPool
from blockyard.kube import forward
from blockyard.kube.faults import ApiError, NoCluster
from blockyard.transport import KeyPair
from tests.integration.processes import WITHIN, wait_until
from tests.integration.questions import status_of
from tests.integration.serving.cluster_stand_in import StandIn
from tests.integration.serving.house import House, a_pool, port_of

pytestmark = pytest.mark.timeout(180)


def _note_and_wait(log: str, gate: str) -> int:
    with Path(log).open("a") as file:
        file.write("once\n")
    while not Path(gate).exists():
        time.sleep(0.01)
    return 1


def test_tasks_run_in_the_pool_of_the_context_s_namespace(cluster: StandIn, tmp_path: Path) -> None:
    with Client.kubernetes(kubeconfig=cluster.kubeconfig(tmp_path)) as client:
        assert list(client.map(abs, range(-100, 0))) == list(range(100, 0, -1))
        large = os.urandom(3_000_000)
        assert client.submit(bytes.upper, large).result(WITHIN) == large.upper()
        folder = Path(client._engine._settings.link.endpoint.removeprefix("ipc://")).parent  # type: ignore[attr-defined]
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert not cluster.refused


def test_a_connection_that_is_cut_is_made_anew(cluster: StandIn, tmp_path: Path) -> None:
    with Client.kubernetes(kubeconfig=cluster.kubeconfig(tmp_path)) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        for _ in range(3):
            before = cluster.forwards
            cluster.cut()
            assert client.submit(abs, -2).result(WITHIN) == 2
            assert cluster.forwards > before


def test_it_follows_an_interchange_whose_pod_moves(cluster: StandIn, serving: House, tmp_path: Path) -> None:
    with Client.kubernetes(kubeconfig=cluster.kubeconfig(tmp_path), timeout=WITHIN) as client:
        before = client.submit(abs, -1)
        assert before.result(WITHIN) == 1
        serving.started[0].kill()
        serving.started[0].wait()
        cluster.pods.clear()
        waiting = client.submit(abs, -2)
        serving.move_clients()
        serving.start().wait_ready()
        cluster.pods["interchange-2"] = ("Running", port_of(serving.clients))
        assert waiting.result(WITHIN) == 2


def test_a_connection_that_falls_silent_is_given_up(
    cluster: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "SILENT_SECONDS", 3.0)
    with Client.kubernetes(kubeconfig=cluster.kubeconfig(tmp_path)) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        before = cluster.forwards
        cluster.is_silent = True
        wait_until("it tries another connection", lambda: cluster.forwards, lambda seen: seen > before)
        cluster.is_silent = False
        assert client.submit(abs, -2).result(WITHIN) == 2


def test_pools_of_other_namespaces_and_a_release_elsewhere(cluster: StandIn, serving: House, tmp_path: Path) -> None:
    where = cluster.kubeconfig(tmp_path, namespace="elsewhere")
    with pytest.raises(ConfigError, match="no Secret blockyard-client in namespace 'elsewhere' nor in 'blockyard'"):
        Client.kubernetes(kubeconfig=where)
    with Client.kubernetes("science/default", release="science/blockyard", kubeconfig=where) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
    cluster.secrets["blockyard/blockyard-client"] = cluster.secrets.pop("science/blockyard-client")
    with Client.kubernetes(namespace="science", kubeconfig=where) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        assert [pool.pool for pool in status_of(client).pools] == ["science.default"]


def test_a_pool_that_was_applied_a_moment_ago_is_waited_for(cluster: StandIn, serving: House, tmp_path: Path) -> None:
    where = cluster.kubeconfig(tmp_path)
    with pytest.raises(UnknownPool, match=r"'science.fresh'.* does not know it after 3 s; it knows science.default"):
        Client.kubernetes("fresh", kubeconfig=where, timeout=3.0)
    keys, before = KeyPair.new(), cluster.forwards
    with ThreadPoolExecutor(1) as other:
        opening = other.submit(Client.kubernetes, "fresh", kubeconfig=where, timeout=WITHIN)
        wait_until("it is connected", lambda: cluster.forwards, lambda seen: seen > before)
        serving.order(a_pool("science.fresh", keys), serving.client("keeper-operator"))
        serving.manager("science.fresh", keys)
        with opening.result(WITHIN) as client:
            assert client.submit(abs, -1).result(WITHIN) == 1


def test_of_a_pool_that_the_interchange_does_not_know_its_worker_pool_says_why(
    cluster: StandIn, serving: House, tmp_path: Path
) -> None:
    where = cluster.kubeconfig(tmp_path)
    problem = "spec.template.spec.containers[0]: unknown field 'imag'"
    ready = {"type": "Ready", "status": "False", "reason": "TemplateInvalid", "message": problem}
    cluster.pools |= {"science/bad": {"conditions": [ready]}, "science/new": {}}
    for pool, said in (
        ("bad", f"WorkerPool science/bad is not ready: TemplateInvalid: {problem}"),
        ("new", "'kubectl describe wp new -n science' may say why"),
        ("none", "there is no WorkerPool science/none; 'kubectl get wp -n science' lists those that there are"),
        ("closed/x", "'kubectl describe wp x -n closed' may say why"),
    ):
        with pytest.raises(UnknownPool, match=re.escape(said)):
            Client.kubernetes(pool, kubeconfig=where, timeout=3.0)


def test_what_is_wrong_with_the_secret_is_said(cluster: StandIn, tmp_path: Path) -> None:
    where = cluster.kubeconfig(tmp_path)
    good = cluster.secrets["science/blockyard-client"]
    for change, error, words in (
        ({"endpoint": ""}, ConfigError, "Secret science/blockyard-client: it has no 'endpoint'"),
        ({"endpoint": "tcp://lab.example.org:5555"}, ConfigError, "expected tcp://SERVICE.NAMESPACE.svc:PORT"),
        ({"server_key": "short"}, BadKey, "'server_key' has 5 characters"),
        ({"client.key": "nothing"}, BadKey, "Secret science/blockyard-client: no key pair in it"),
    ):
        cluster.secrets["science/blockyard-client"] = good | change
        with pytest.raises(error, match=words):
            Client.kubernetes(kubeconfig=where)


def test_without_a_pod_the_reason_is_said(cluster: StandIn, tmp_path: Path) -> None:
    cluster.pods["interchange-1"] = ("Pending", 1)
    with pytest.raises(BrokenBlockyard, match=r"find a pod of Service science/blockyard-interchange.*none of 1 runs"):
        Client.kubernetes(kubeconfig=cluster.kubeconfig(tmp_path), timeout=2.0)


def test_without_rights_or_a_cluster_the_reason_is_said(cluster: StandIn, tmp_path: Path) -> None:
    path = Path(cluster.kubeconfig(tmp_path))
    path.write_text(path.read_text().replace("the-token", "another"))
    with pytest.raises(ApiError, match="401"):
        Client.kubernetes(kubeconfig=str(path))
    with pytest.raises(NoCluster, match="KUBECONFIG"):
        Client.kubernetes(kubeconfig=str(tmp_path / "absent"))


def test_without_the_extra_the_pip_line_is_said() -> None:
    program = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "from blockyard import Client\n"
        "try: Client.kubernetes()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WITHIN, check=True)
    assert done.stdout.startswith("NotInstalled Client.kubernetes needs the package 'kubernetes'")
    assert "pip install 'blockyard[kubernetes]'" in done.stdout


def test_a_further_client_may_use_its_pools_alone(cluster: StandIn, serving: House, tmp_path: Path) -> None:
    other = KeyPair.new()
    serving.order(a_pool("science.other", other), serving.client("keeper-operator"))
    serving.manager("science.other", other)
    keys = serving.ring.issue("client-anna", ["science.default"])
    cluster.secrets["science/blockyard-client-anna"] = {
        **cluster.secrets["science/blockyard-client"],
        "client.key": keys.to_text(),
    }
    with Client.kubernetes(client="anna", kubeconfig=cluster.kubeconfig(tmp_path)) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        with pytest.raises(UnknownPool, match=r"not one that this key may use; these are: science\.default"):
            client.options(pool="science.other").submit(abs, -1).result(WITHIN)
    cluster.pools["science/other"] = {"conditions": [{"type": "Ready", "status": "True", "reason": "Idle"}]}
    with pytest.raises(UnknownPool, match=r"it knows science\.default; .* ready: is this client's key good for it"):
        Client.kubernetes("other", client="anna", kubeconfig=cluster.kubeconfig(tmp_path), timeout=3.0)
    with pytest.raises(
        ConfigError, match="no Secret blockyard-client-ben in namespace 'science' nor in 'blockyard': does the release"
    ):
        Client.kubernetes(client="ben", kubeconfig=cluster.kubeconfig(tmp_path))


def test_both_pairs_of_the_interchange_are_replaced_while_a_task_runs_that_must_not_run_twice(
    cluster: StandIn, serving: House, tmp_path: Path
) -> None:
    with Client.kubernetes(kubeconfig=cluster.kubeconfig(tmp_path), timeout=WITHIN) as client:
        gate, log = tmp_path / "gate", tmp_path / "log"
        running = client.options(idempotent=False).submit(_note_and_wait, str(log), str(gate))
        wait_until("it runs", log.exists, bool, WITHIN)
        waiting = client.submit(abs, -2)
        fresh = KeyPair.new()
        serving.name_server_key(fresh)
        fresh.save(serving.ring.path("managers"))
        wait_until("managers know it by another key", serving.said, lambda said: "managers know" in said, WITHIN)
        fresh = KeyPair.new()
        cluster.secrets["science/blockyard-client"]["server_key"] = fresh.public.decode()
        fresh.save(serving.ring.path("clients"))
        wait_until("clients know it by another key", serving.said, lambda said: "clients know" in said, WITHIN)
        gate.touch()
        assert running.result(WITHIN) == 1
        assert waiting.result(WITHIN) == 2
    assert log.read_text() == "once\n"
