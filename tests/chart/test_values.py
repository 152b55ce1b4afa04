"""What a user may say of each pod reaches that pod; and the notes, as helm prints them, name the next commands."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard_interchange.core.settings import Settings
from tests.chart.rendering import CHART, NAMESPACE, RELEASE, Object, helm, objects, objects_of, of_kind
from tests.cluster.shell import run

pytestmark = [pytest.mark.needs_api_server]

POSTGRESQL = "postgresql"
EVERYWHERE = ("interchange", "operator", "hub", "dashboard", POSTGRESQL)
WHERE = ("priorityClassName", "nodeSelector", "affinity")
WITH_VOLUMES = ("interchange", "operator", "hub")


def wishes(component: str) -> dict[str, Any]:
    """All that can be wished for the pod of a component, each with a word that no other component has."""
    selector = {"matchLabels": {"for": component}}
    found: dict[str, Any] = {
        "resources": {"requests": {"cpu": "7m", "memory": "77Mi"}, "limits": {"memory": "777Mi"}},
        "priorityClassName": f"class-{component}",
        "nodeSelector": {"disk": component},
        "tolerations": [{"key": f"only-{component}", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "labelSelector": selector}
        ]}},
        "podLabels": {"cost": component},
        "podAnnotations": {"note": component},
    }  # fmt: skip
    if component != POSTGRESQL:
        spread = {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
        found |= {"topologySpreadConstraints": [spread], "extraEnv": [{"name": "WISH", "value": component}]}
    if component in WITH_VOLUMES:
        found["extraVolumes"] = [{"name": f"more-{component}", "emptyDir": {}}]
        found["extraVolumeMounts"] = [{"name": f"more-{component}", "mountPath": "/more"}]
    return found


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Object]:
    """Pod templates by component, of a release with everything and all wishes."""
    switches: dict[str, dict[str, Any]] = {
        "images": {"pullSecrets": ["registry"]},
        "hub": {"enabled": True, "separate": True},
        "dashboard": {"enabled": True},
        "postgresql": {"enabled": True},
    }
    values = {name: {**switches.get(name, {}), **wishes(name)} for name in EVERYWHERE} | {"images": switches["images"]}
    everything = objects_of(values, tmp_path_factory.mktemp("values"))
    made = [one for one in everything if "template" in one.get("spec", {})]
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"] for one in made}


@pytest.mark.parametrize("component", EVERYWHERE)
def test_what_is_wished_of_a_pod_reaches_it(pods: dict[str, Object], component: str) -> None:
    assert set(pods) == set(EVERYWHERE)
    wished, meta, spec = wishes(component), pods[component]["metadata"], pods[component]["spec"]
    assert meta["labels"].items() >= wished["podLabels"].items()
    assert meta["annotations"].items() >= wished["podAnnotations"].items()
    for name in WHERE:
        assert spec[name] == wished[name], name
    assert wished["tolerations"][0] in spec["tolerations"]
    assert spec.get("topologySpreadConstraints") == wished.get("topologySpreadConstraints")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert all(volume in spec["volumes"] for volume in wished.get("extraVolumes", ()))
    (container,) = spec["containers"]
    assert container["resources"] == wished["resources"]
    assert all(one in container.get("env", ()) for one in wished.get("extraEnv", ()))
    assert all(one in container["volumeMounts"] for one in wished.get("extraVolumeMounts", ()))


def test_helms_test_goes_where_it_is_wished(tmp_path: Path) -> None:
    wished = {name: wishes("test")[name] for name in ("resources", *WHERE, "tolerations")}
    everything = objects_of({"test": wished, "images": {"pullSecrets": ["registry"]}}, tmp_path)
    (pod,) = (one for one in everything if one["kind"] == "Pod")
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert {name: spec[name] for name in (*WHERE, "tolerations")} | {"resources": container["resources"]} == wished
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_a_service_account_is_made_or_named() -> None:
    made = of_kind("ServiceAccount", "full")
    assert made["operator-of-mine"]["metadata"]["annotations"]["role"] == "x"
    spec = of_kind("Deployment", "full")["yard-operator"]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "operator-of-mine"
    assert of_kind("ServiceAccount", "bare") == {}
    users = {one["spec"]["template"]["spec"]["serviceAccountName"] for one in objects("bare")
             if one["kind"] in ("Deployment", "StatefulSet")}  # fmt: skip
    assert users == {"mine"}


def test_helms_test_is_let_in_where_clients_are_named() -> None:
    rules = of_kind("NetworkPolicy", "namespaces")["rel-interchange"]["spec"]["ingress"]
    (clients,) = (rule for rule in rules if rule["ports"][0]["port"] == "clients")
    labels = of_kind("Pod", "namespaces")["rel-test"]["metadata"]["labels"].items()
    peers = [one["podSelector"]["matchLabels"] for one in clients["from"] if "podSelector" in one]
    assert any(labels >= wanted.items() for wanted in peers)


def notes(case: str) -> str:
    values = CHART / "ci" / f"{case}-values.yaml"
    words = ["--namespace", NAMESPACE, "--values", str(values), "--dry-run=client"]
    return run([helm(), "install", RELEASE, CHART, *words], timeout=300).partition("NOTES:")[2]


@pytest.mark.parametrize(
    "case, lines",
    [
        ("default", ["serves pools in yard.", "statefulset/rel-interchange", 'namespace="yard", release="yard/rel"']),
        ("namespaces", ["serves pools in team-a, team-b.", "kubectl --namespace team-a apply", 'namespace="team-a"']),
        ("cluster-wide", ["serves pools in all namespaces."]),
        ("postgresql", ["deployment/rel-interchange", "for trying Blockyard out"]),
        ("hub", ["get secret rel-dashboard", "port-forward service/rel-dashboard"]),
        ("bare", ["only keys keep other pods off"]),
    ],
)
def test_the_notes_tell_the_next_commands(case: str, lines: list[str]) -> None:
    said = notes(case)
    assert "kind: WorkerPool" in said
    for line in lines:
        assert line in said


def test_the_settings_that_may_be_given_are_those_that_the_interchange_has() -> None:
    """One that it does not know would end it at the upgrade, with the tasks of all waiting."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    named = schema["properties"]["interchange"]["properties"]["settings"]["properties"]
    types = {int: "integer", float: "number", str: "string", bool: "boolean"}
    fields = {one.name: types.get(one.type) for one in msgspec.structs.fields(Settings)}
    assert {name: one["type"] for name, one in named.items() if name != "pools"} | {"pools": None} == fields
