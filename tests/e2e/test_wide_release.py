"""A release for the whole cluster, with a PostgreSQL that is somebody else's, and a port on every node for clients."""

import base64
import json
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard, UnknownPool
from tests.cluster.access import OwnCluster
from tests.cluster.certificates import Authority
from tests.cluster.kubectl import Json
from tests.cluster.waiting import wait_until
from tests.e2e import release as releases
from tests.e2e.release import Release
from tests.fixtures.postgres import Postgres, running_postgres

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster, pytest.mark.needs_postgres]

SMALL = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}
WITHIN = 240.0
SECRET = "somebodys-database"


def pool(**worker: Json) -> Json:
    """At most one block."""
    containers = [{"name": "worker", "resources": SMALL, **worker}]
    return {"workersPerNode": 1, "blocks": {"max": 1}, "drain": {"timeout": "1s"},
            "template": {"spec": {"containers": containers}}}  # fmt: skip


@pytest.fixture(scope="module")
def postgres(own_cluster: OwnCluster) -> Iterator[tuple[Postgres, str]]:
    """A server on the machine itself, which pods reach by TLS and password alone; and that password."""
    address, password = own_cluster.layout.address, secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        pair = Authority(Path(folder) / "authority").issue("server", "postgres", None, [], [address])
        rules = "local all all trust\nhost all all 127.0.0.1/32 trust\nhostssl all all 10.0.0.0/8 scram-sha-256\n"
        files = {"hba": rules, "crt": pair.certificate.read_text(), "key": pair.key.read_text()}
        with running_postgres(
            f"listen_addresses=127.0.0.1,{address}", "hba_file={folder}/hba", "ssl=on", "ssl_cert_file={folder}/crt",
            "ssl_key_file={folder}/key", files=files,
        ) as server:  # fmt: skip
            server.run(f"CREATE ROLE yard LOGIN PASSWORD '{password}'")
            server.run("CREATE DATABASE yard OWNER yard")
            yield server, password


@pytest.fixture(scope="module")
def release(own_cluster: OwnCluster, postgres: tuple[Postgres, str]) -> Iterator[Release]:
    """The release, whose operator serves every namespace."""
    server, password = postgres
    values = {
        "images": releases.image_values(own_cluster),
        "watch": {"clusterWide": True},
        "interchange": {"journal": "postgresql", "resources": SMALL, "service": {"type": "NodePort"}},
        "operator": {"resources": SMALL},
        "externalPostgresql": {
            "existingSecret": SECRET,
            "keys": {name: name for name in ("host", "port", "database", "username", "password")},
        },
    }
    with releases.released(own_cluster, values, before=lambda made: _give(made, server, password)) as made:
        yield made


def _give(release: Release, server: Postgres, password: str) -> None:
    """The Secret that an operator for databases would have made."""
    assert isinstance(release.cluster, OwnCluster)
    data = {"host": str(release.cluster.layout.address), "port": str(server.port), "database": "yard"}
    data |= {"username": "yard", "password": password}
    metadata = {"name": SECRET, "namespace": release.namespace}
    release.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})


@pytest.fixture(scope="module")
def elsewhere(release: Release) -> Iterator[Release]:
    """Another namespace, with pools `a` and `b`; uninstalling is left to `release`."""
    with release.cluster.namespace("elsewhere") as namespace:
        other = Release(release.cluster, namespace)
        for name in ("a", "b"):
            other.apply_pool(name, pool())
        yield other
        release.cluster.run("delete", "workerpools", "--all", f"--namespace={namespace}", timeout=180)


def secret(release: Release, name: str) -> dict[str, bytes]:
    """A Secret's data."""
    found = release.cluster.json("get", "secret", name, f"--namespace={release.namespace}")["data"]
    return {key: base64.b64decode(text) for key, text in found.items()}


def test_a_pool_anywhere_runs_tasks_of_a_client_at_a_nodes_port(
    release: Release, elsewhere: Release, tmp_path: Path, postgres: tuple[Postgres, str]
) -> None:
    found = secret(release, f"{release.name}-client")
    key = tmp_path / "client.key"
    key.touch(mode=0o600)
    key.write_bytes(found["client.key"])
    service = release.cluster.json("get", "service", f"{release.name}-clients", f"--namespace={release.namespace}")
    assert isinstance(release.cluster, OwnCluster)
    node = release.cluster.layout.nodes[1].address
    endpoint = f"tcp://{node}:{service['spec']['ports'][0]['nodePort']}"
    with Client.connect(endpoint, server_key=found["server_key"].decode(), client_key=key) as client:
        work = client.options(pool=f"{elsewhere.namespace}.a")
        assert work.submit(pow, 2, 10).result(timeout=WITHIN) == 1024
    tables = postgres[0].run("SELECT count(*) FROM pg_stat_activity WHERE usename = 'yard' AND datname = 'yard'")
    assert int(tables) >= 1, "the journal is there"


def test_a_client_in_a_pod_needs_no_port_forward(release: Release, elsewhere: Release) -> None:
    namespace, name = elsewhere.namespace, "inside"
    account = f"--serviceaccount={namespace}:{name}"
    here = f"--namespace={namespace}"
    release.cluster.run("create", "serviceaccount", name, here)
    allowed = ["create", "role", name, "--verb=get", "--resource=secrets", f"--resource-name={release.name}-client"]
    release.cluster.run(*allowed, f"--namespace={release.namespace}")
    release.cluster.run("create", "rolebinding", name, f"--role={name}", account, f"--namespace={release.namespace}")
    program = (
        "from blockyard import Client\n"
        f"with Client.kubernetes('a', release='{release.namespace}/{release.name}') as client:\n"
        f"    print(client.submit(pow, 3, 4).result(timeout={WITHIN}))\n"
    )
    image = release.cluster.json("get", "deployment", f"{release.name}-operator", f"--namespace={release.namespace}")
    main = {"name": "main", "image": image["spec"]["template"]["spec"]["containers"][0]["image"],
            "command": ["python3", "-c", program]}  # fmt: skip
    release.cluster.apply(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [main], "serviceAccountName": name, "restartPolicy": "Never"},
        }
    )  # fmt: skip
    seen: list[str] = []

    def amiss() -> str | None:
        seen[:] = [release.cluster.json("get", "pod", name, here)["status"]["phase"]]
        return None if seen[0] in ("Succeeded", "Failed") else seen[0]

    wait_until("the pod ends", amiss, WITHIN, 0.5)
    assert (seen[0], release.cluster.run("logs", name, here).strip()) == ("Succeeded", "81")


def test_the_key_of_one_pool_gets_nothing_of_another(release: Release, elsewhere: Release, tmp_path: Path) -> None:
    """Neither as a manager of the other, nor as a client."""
    found = secret(elsewhere, "a-worker")
    key = tmp_path / "pool.key"
    key.touch(mode=0o600)
    key.write_bytes(found["pool.key"])
    public = secret(release, f"{release.name}-client")
    service = release.cluster.json("get", "service", f"{release.name}-interchange", f"--namespace={release.namespace}")
    endpoint = f"tcp://{service['spec']['clusterIP']}:5555"
    with pytest.raises(BrokenBlockyard):
        Client.connect(endpoint, server_key=public["server_key"].decode(), client_key=key, timeout=5.0)

    thief = pool(env=[{"name": "BLOCKYARD_WORKER_POOL", "value": f"{elsewhere.namespace}.b"}])
    metadata = {"name": "thief", "namespace": elsewhere.namespace}
    spec = {"pool": "a", "workersPerNode": 1, "drainTimeout": "1s", "template": thief["template"]}
    release.cluster.apply(
        {"apiVersion": "blockyard.dev/v1alpha1", "kind": "WorkerBlock", "metadata": metadata, "spec": spec}
    )
    jobs: list[Json] = []

    def amiss() -> str | None:
        block = release.cluster.json("get", "workerblock", "thief", f"--namespace={elsewhere.namespace}")
        jobs[:] = [block.get("status", {}).get("jobStatus", {})]
        return None if jobs[0].get("endedAt") else json.dumps(jobs[0])

    wait_until("the thief is refused", amiss, WITHIN, 0.5)
    assert (jobs[0]["state"], jobs[0]["reason"], jobs[0]["exitCode"]) == ("FAILED", "Refused", 4), jobs[0]


def test_a_client_that_the_release_names_uses_its_pools_and_no_other(release: Release, elsewhere: Release) -> None:
    values = json.loads(release.helm("get", "values", release.name, "--output=json"))
    anna: dict[str, Any] = {"release": f"{release.namespace}/{release.name}", "client": "anna"}
    release.install({**values, "clients": {"anna": {"pools": [f"{elsewhere.namespace}/a"]}}})
    with elsewhere.client("a", **anna) as client:
        assert client.submit(pow, 2, 10).result(timeout=WITHIN) == 1024
        with pytest.raises(UnknownPool, match="not one that this key may use"):
            client.options(pool=f"{elsewhere.namespace}.b").submit(pow, 2, 10).result(timeout=WITHIN)
    release.install(values)
    with pytest.raises(BrokenBlockyard), elsewhere.client("a", **anna, timeout=10.0):
        pass
