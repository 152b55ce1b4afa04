"""The hub in the rendered objects: where it runs, what it is told, who reaches it; and nothing of it without."""

from pathlib import Path

import msgspec
import pytest

from blockyard_interchange.settings import ProcessSettings
from blockyard_monitoring import settings as hub_settings
from blockyard_monitoring.settings import HubSettings
from tests.chart import rendering
from tests.chart.rendering import Object, containers, of_kind, pod_specs
from tests.cluster.shell import CommandFailed

pytestmark = [pytest.mark.needs_api_server]

TOGETHER, APART = "hub", "hub-separate-external-postgresql"


def hub_of(case: str) -> tuple[str, Object, Object]:
    """The workload that runs the hub, its pod's spec and the container."""
    found = [(name, spec, one) for name, spec in pod_specs(case) for one in containers(spec) if one["name"] == "hub"]
    (only,) = found
    return only


def settings_of(case: str, tmp_path: Path) -> HubSettings:
    """As the hub would read them, its environment included."""
    path = tmp_path / "settings.json"
    path.write_text(of_kind("ConfigMap", case)["rel-hub"]["data"]["settings.json"])
    names = [one["name"] for one in hub_of(case)[2].get("env", [])]
    return hub_settings.read(path, {name: f"from-{name}" for name in names if name.startswith("BLOCKYARD_")})


def test_without_it_nothing_of_it_is_there() -> None:
    assert not [
        name for kind in ("Service", "ConfigMap", "Deployment") for name in of_kind(kind, "default") if "hub" in name
    ]
    assert all(one["name"] != "hub" for _, spec in pod_specs("default") for one in containers(spec))
    plain = of_kind("ConfigMap", "default")["rel-interchange"]["data"]["settings.json"]
    assert not msgspec.json.decode(plain, type=ProcessSettings).core.monitoring


def test_it_is_a_second_container_or_a_pod_of_its_own() -> None:
    assert hub_of(TOGETHER)[0] == "StatefulSet/rel-interchange"
    name, spec, container = hub_of(APART)
    assert name == "Deployment/rel-hub"
    assert spec["priorityClassName"] == "system-cluster-critical"
    assert "readinessProbe" in container
    assert "readinessProbe" not in hub_of(TOGETHER)[2], "what it waits for keeps no task from the queue"
    for case in (TOGETHER, APART):
        volumes = {one["name"]: one for one in hub_of(case)[1]["volumes"]}
        keys = {one["key"]: one["path"] for one in volumes["hub-keys"]["secret"]["items"]}
        assert keys["hubs.pub"] == "hubs.key"
        assert "hubs.key" not in keys, "the interchange's own is the interchange's"
        mounted = {one["name"] for one in hub_of(case)[2]["volumeMounts"]}
        assert mounted & {"state", "keys"} == set(), "neither the journal nor the queue's keys"


def test_both_sides_understand_their_settings(tmp_path: Path) -> None:
    for case, host in ((TOGETHER, "127.0.0.1"), (APART, "rel-interchange.yard.svc")):
        hub = settings_of(case, tmp_path)
        text = of_kind("ConfigMap", case)["rel-interchange"]["data"]["settings.json"]
        interchange = msgspec.json.decode(text, type=ProcessSettings)
        assert interchange.core.monitoring
        assert hub.interchange == f"tcp://{host}:5557"
        assert interchange.hub == ("tcp://127.0.0.1:5557" if case == TOGETHER else "tcp://0.0.0.0:5557")
        operator = of_kind("Deployment", case)["rel-operator"]["spec"]["template"]["spec"]["containers"][0]
        environment = {one["name"]: one.get("value") for one in operator["env"]}
        assert environment["BLOCKYARD_OPERATOR_HUB_ENDPOINT"] == "tcp://rel-hub.yard.svc:5558"
        assert hub.operators == "tcp://0.0.0.0:5558"
        assert hub.radios.host == "rel-hub.yard.svc"


def test_sinks_are_those_of_the_values_and_secrets_come_from_secrets(tmp_path: Path) -> None:
    sinks = {one.kind: one.settings for one in settings_of(TOGETHER, tmp_path).sinks}
    assert sinks["sql"] == {"url": "postgresql://", "keep_days": 0}
    assert sinks["prometheus"]["listen"] == "0.0.0.0:9092"
    assert sinks["stream"]["token"] == "from-BLOCKYARD_MONITORING_STREAM_TOKEN"
    environment = {one["name"]: one for one in hub_of(TOGETHER)[2]["env"]}
    assert environment["PGHOST"]["value"] == "rel-postgresql"
    assert environment["PGPASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "rel-postgresql"
    assert environment["BLOCKYARD_MONITORING_STREAM_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "followers"
    apart = settings_of(APART, tmp_path).sinks
    assert [one.kind for one in apart] == ["sql", "stream", "jsonl"]
    assert apart[1].settings == {}, "for clients, through the interchange; it opens no port"
    assert apart[0].settings == {"url": "from-BLOCKYARD_MONITORING_DATABASE", "keep_days": 0}


def test_ports_of_radios_are_in_service_and_policies() -> None:
    ports = of_kind("Service", TOGETHER)["rel-hub"]["spec"]["ports"]
    assert [(one["port"], one["protocol"]) for one in ports if one["name"].startswith("radio")] == [
        (port, protocol) for port in (5600, 5601, 5602) for protocol in ("TCP", "UDP")
    ]
    assert of_kind("Service", TOGETHER)["rel-hub"]["spec"]["selector"]["app.kubernetes.io/component"] == "interchange"
    assert of_kind("Service", APART)["rel-hub"]["spec"]["selector"]["app.kubernetes.io/component"] == "hub"
    policies = of_kind("NetworkPolicy", TOGETHER)
    wanted = [{"protocol": protocol, "port": 5600, "endPort": 5602} for protocol in ("TCP", "UDP")]
    assert wanted in [rule["ports"] for rule in policies["rel-interchange"]["spec"]["ingress"]]
    assert wanted in [rule.get("ports") for rule in policies["rel-workers"]["spec"]["egress"]]


def test_policies_let_the_hub_reach_its_database_and_the_operator_reach_the_hub() -> None:
    def ways(case: str, name: str, direction: str) -> list[object]:
        rules = of_kind("NetworkPolicy", case)[name]["spec"][direction]
        return [rule["ports"][0]["port"] for rule in rules if "ports" in rule]

    assert ways(TOGETHER, "rel-interchange", "egress") == [53, 5432]
    assert ways(APART, "rel-hub", "egress") == [53, "hub", 6432, 4317]
    assert ways(APART, "rel-interchange", "egress") == [53, 5432]
    assert "hub" in ways(APART, "rel-interchange", "ingress")
    assert ways(APART, "rel-hub", "ingress") == ["hub-operators"]
    for case in (TOGETHER, APART):
        assert "hub-operators" in ways(case, "rel-operator", "egress")
    watchers = [{"namespaceSelector": {"matchLabels": {"watchers": "yes"}}}]
    rules = of_kind("NetworkPolicy", TOGETHER)["rel-interchange"]["spec"]["ingress"]
    (let_in,) = [rule["from"] for rule in rules if rule["ports"][0]["port"] == "hub-stream"]
    assert let_in[:-1] == watchers
    assert let_in[-1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "dashboard"


def test_its_metrics_are_scraped_and_its_settings_roll_the_pod() -> None:
    monitors = of_kind("ServiceMonitor", TOGETHER)
    assert set(monitors) == {"rel-interchange", "rel-hub"}
    wanted = monitors["rel-hub"]["spec"]["selector"]["matchLabels"].items()
    services = of_kind("Service", TOGETHER)
    assert [name for name, one in services.items() if wanted <= one["metadata"]["labels"].items()] == ["rel-hub"]

    def annotations(*sets: str) -> dict[str, str]:
        (one,) = (one for name, one in of_kind("StatefulSet", TOGETHER, *sets).items() if name == "rel-interchange")
        found: dict[str, str] = one["spec"]["template"]["metadata"]["annotations"]
        return found

    assert annotations() == annotations("operator.replicas=3")
    assert annotations() != annotations("hub.radios.ports=4")


@pytest.mark.parametrize(
    "given, named",
    [
        ("hub.enabled=true", "no database is named"),
        ("hub.enabled=true,hub.sinks.sql.enabled=false,hub.sinks.stream.enabled=true", "tokenSecret"),
        ("hub.radios.firstPort=5550", "another port"),
        ("hub.radios.ports=1000", "/hub/radios/ports"),
        ("hub.radios.kinds={A}", "/hub/radios/kinds/0"),
        ("hub.sinks.more={a}", "/hub/sinks/more/0"),
        ("hub.sink=1", "sink"),
    ],
)
def test_a_bad_value_is_refused_by_name(given: str, named: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        rendering.text("default", given)
    assert named.strip("/").replace("/", ".") in str(refused.value).replace("/", "."), refused.value


def test_metrics_alone_need_no_database() -> None:
    names = {one["name"] for _, spec in pod_specs_of("hub.enabled=true", "hub.sinks.sql.enabled=false") for one in spec}
    assert "hub" in names


def pod_specs_of(*sets: str) -> list[tuple[str, list[Object]]]:
    found = of_kind("StatefulSet", "default", *sets)
    return [(name, one["spec"]["template"]["spec"]["containers"]) for name, one in found.items()]
