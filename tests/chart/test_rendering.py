"""Every values file of ci/ gives objects that Kubernetes takes; values that make no sense are refused by name."""

import json
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.chart import rendering, schemas
from tests.chart.rendering import CASES, CHART, helm
from tests.cluster.building import workshop
from tests.cluster.shell import CommandFailed, run
from tests.machine import ROOT

pytestmark = [pytest.mark.needs_api_server]

OTHERS = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
"""Kinds of others' definitions, for which there is no schema here; `test_objects` looks at their fields."""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    schemas.write_all(folder)
    return folder


def conform(known: Path, text: str) -> str:
    location = f"{known}/{schemas.LOCATION}"
    words = ["-strict", "-summary", "-output", "json", "-skip", ",".join(OTHERS), "-schema-location", location, "-"]
    return run([workshop().program("kubeconform"), *words], given=text)


@pytest.mark.parametrize("case", CASES)
def test_a_case_is_well_formed_and_conforms(case: str, known: Path) -> None:
    run([helm(), "lint", "--strict", "--quiet", CHART, "--values", CHART / "ci" / f"{case}-values.yaml"], timeout=300)
    summary = json.loads(conform(known, rendering.text(case)))["summary"]
    assert summary["valid"] > 5, summary
    assert (summary["invalid"], summary["errors"]) == (0, 0), summary


def test_the_schemas_would_notice(known: Path) -> None:
    text = rendering.text("default")
    for old, new in (("replicas: 2", "replica: 2"), ("containerPort: 5555", "containerPort: many"), ("max", "maxi")):
        with pytest.raises(CommandFailed):
            conform(known, text.replace(old, new, 1))


def test_examples_conform(known: Path) -> None:
    examples = sorted((CHART / "examples").glob("*.yaml"))
    pools = [path for path in examples if "kind: WorkerPool" in path.read_text()]
    assert pools
    summary = json.loads(conform(known, "---\n".join(path.read_text() for path in pools)))["summary"]
    assert (summary["invalid"], summary["errors"], summary["skipped"]) == (0, 0, 0), summary
    for values in (path for path in examples if path not in pools):
        run([helm(), "template", CHART, "--values", values], timeout=300)


@pytest.mark.parametrize(
    "given, named",
    [
        ("operator.replica=2", "replica"),
        ("operator.replicas=0", "/operator/replicas"),
        ("operator.logLevel=loud", "/operator/logLevel"),
        ("interchange.journal=disk", "/interchange/journal"),
        ("images.worker.tag=a b", "/images/worker/tag"),
        ("images.worker.digest=sha256:12", "/images/worker/digest"),
        ("images.worker.repository=a:b@c", "/images/worker/repository"),
        ("watch.namespaces={A_B}", "/watch/namespaces/0"),
        ("postgresql.persistence.size=big", "/postgresql/persistence/size"),
        ("networkPolicy.apiServerPorts={0}", "/networkPolicy/apiServerPorts/0"),
        ("monitoring.serviceMonitor.interval=often", "/monitoring/serviceMonitor/interval"),
        ("unknown=1", "unknown"),
        ("clients.anna.pools={gpu}", "/clients/anna/pools/0"),
        ("clients.anna.pools={}", "/clients/anna/pools"),
        ("clients.anna.pool=a/b", "/clients/anna"),
        ("clients.default.pools={a/b}", "/clients"),
        ("clients.A_B.pools={a/b}", "/clients"),
        ("interchange.settings.heartbeats=1", "heartbeats"),
        ("interchange.settings.heartbeat=0", "/interchange/settings/heartbeat"),
        ("interchange.settings.heartbeat=soon", "/interchange/settings/heartbeat"),
        # what no schema says
        ("fullnameOverride=a.b", "objects would be named a.b-"),
        ("fullnameOverride=1a", "set fullnameOverride"),
        ("postgresql.enabled=true", "set interchange.journal=postgresql"),
        ("interchange.journal=postgresql", "no server is named"),
        ("watch.clusterWide=true,watch.namespaces={a}", "drop one of the two"),
        ("interchange.settings.pools.a=b", "interchange.settings.pools"),
        ("interchange.journal=postgresql,postgresql.enabled=true,externalPostgresql.host=h", "which one"),
    ],
)
def test_a_bad_value_is_refused_by_name(given: str, named: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        rendering.text("default", given)
    assert named.strip("/").replace("/", ".") in str(refused.value).replace("/", "."), refused.value


def test_a_package_carries_the_definitions_of_this_checkout(tmp_path: Path) -> None:
    run([helm(), "package", CHART, "--destination", tmp_path], timeout=300)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = archive.getnames()
        for path in (ROOT / "crds").glob("*.yaml"):
            member = archive.extractfile(f"blockyard/files/crds/{path.name}")
            assert member is not None
            assert member.read() == path.read_bytes()
    assert not [name for name in names if "/ci/" in name or "/examples/" in name]


def test_definitions_stay_when_a_release_goes_and_are_upgraded_with_it() -> None:
    found = rendering.of_kind("CustomResourceDefinition", "default")
    assert set(found) == {
        f"{name}.blockyard.dev"
        for name in ("workerpools", "workerblocks", "workflowruns", "workflowtemplates", "cronworkflowruns")
    }
    for one in found.values():
        assert one["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    for one in rendering.of_kind("CustomResourceDefinition", "default", "crds.keep=false").values():
        assert not one["metadata"].get("annotations")
    assert rendering.of_kind("CustomResourceDefinition", "bare") == {}


def test_every_value_is_described_by_the_schema_and_used() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
    texts = "".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    for top, below in values.items():
        for name in below if isinstance(below, dict) else [top]:
            assert name in texts, f"no template says {top}.{name}"
