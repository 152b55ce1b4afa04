"""The page in the rendered objects: what it reads, who reaches it and by what token; and nothing of it without."""

from pathlib import Path

import pytest
import yaml

from blockyard_monitoring.page import settings as page_settings
from tests.chart import rendering
from tests.chart.rendering import Object, of_kind
from tests.cluster.shell import CommandFailed

pytestmark = [pytest.mark.needs_api_server]

TRIED, OWN = "hub", "hub-separate-external-postgresql"


def container_of(case: str) -> Object:
    (only,) = of_kind("Deployment", case)["rel-dashboard"]["spec"]["template"]["spec"]["containers"]
    found: Object = only
    return found


def test_without_it_nothing_of_it_is_there() -> None:
    assert not [one for one in rendering.objects("default") if "dashboard" in one["metadata"]["name"]]


@pytest.mark.parametrize("case", [TRIED, OWN])
def test_the_page_understands_what_it_is_started_with(case: str, tmp_path: Path) -> None:
    container = container_of(case)
    assert container["command"] == ["python3", "-m", "blockyard_monitoring.page"]
    token = tmp_path / "token"
    token.write_text("x" * 32)
    here = [word.partition("=")[0] + f"={token}" if "token-file" in word else word for word in container["args"]]
    environment = {one["name"]: one.get("value", "postgresql://secret") for one in container["env"]}
    read = page_settings.read(here, environment)
    assert (read.host, read.port, read.token) == ("0.0.0.0", 8080, "x" * 32)
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    files = [Path(word.partition("=")[2]) for word in container["args"] if "token-file" in word]
    assert {str(path.parent) for path in files} <= mounted
    if case == TRIED:
        assert (read.database, environment["PGHOST"]) == ("postgresql://", "rel-postgresql")
        assert read.stream is not None
        assert (read.stream.host, read.stream.port) == ("rel-hub.yard.svc", 9093)
    else:
        assert read.database == "postgresql://secret"
        assert read.stream is None
        (variable,) = container["env"]
        assert variable["valueFrom"]["secretKeyRef"] == {"name": "history-reader", "key": "url"}


def test_its_token_is_in_a_secret_that_is_made_or_named() -> None:
    made = of_kind("Secret", TRIED)["rel-dashboard"]["data"]
    assert len(made["token"]) > 40
    assert "rel-dashboard" not in of_kind("Secret", OWN)
    volumes = of_kind("Deployment", OWN)["rel-dashboard"]["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["secret"]["secretName"] == "page-token"
    assert volumes[0]["secret"]["items"] == [{"key": "word", "path": "token"}]
    assert not any("token" in word for word in container_of(TRIED)["args"] if "token-file" not in word)


def test_policies_let_people_in_and_it_out_to_what_it_reads_alone() -> None:
    page = {"podSelector": {"matchLabels": of_kind("Service", TRIED)["rel-dashboard"]["spec"]["selector"]}}
    policies = of_kind("NetworkPolicy", TRIED)
    own = policies["rel-dashboard"]["spec"]
    assert own["podSelector"] == page["podSelector"]
    people = [{"namespaceSelector": {"matchLabels": {"people": "yes"}}}]
    assert own["ingress"] == [{"ports": [{"protocol": "TCP", "port": "http"}], "from": people}]
    assert [rule["ports"][0]["port"] for rule in own["egress"]] == [53, "hub-stream", 5432]
    assert page in policies["rel-postgresql"]["spec"]["ingress"][0]["from"]
    ways = {rule["ports"][0]["port"]: rule["from"] for rule in policies["rel-interchange"]["spec"]["ingress"][1:]}
    assert page in ways["hub-stream"]
    apart = of_kind("NetworkPolicy", OWN)["rel-dashboard"]["spec"]
    assert "from" not in apart["ingress"][0]
    assert [rule["ports"][0]["port"] for rule in apart["egress"]] == [53, 6432]


@pytest.mark.parametrize(
    "given, named",
    [
        ("dashboard.enabled=true", "no history"),
        ("dashboard.enabled=true,hub.enabled=true,hub.sinks.sql.enabled=false", "no history"),
        ("dashboard.replicas=9", "/dashboard/replicas"),
        ("dashboard.token=abc", "token"),
    ],
)
def test_a_bad_value_is_refused_by_name(given: str, named: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        rendering.text("default", given)
    assert named.strip("/").replace("/", ".") in str(refused.value).replace("/", "."), refused.value


def test_a_value_shortens_the_time_of_all_alerts_and_of_no_recording() -> None:
    def rules(*sets: str) -> list[Object]:
        (one,) = of_kind("PrometheusRule", "monitoring", *sets).values()
        return [rule for group in one["spec"]["groups"] for rule in group["rules"]]

    plain, short = rules(), rules("monitoring.prometheusRule.forSeconds=5")
    assert {rule.get("for") for rule in plain} > {"5m", "2m", None}
    for before, after in zip(plain, short, strict=True):
        wanted = before | ({"for": "5s"} if "alert" in before else {})
        assert yaml.safe_dump(after) == yaml.safe_dump(wanted)
