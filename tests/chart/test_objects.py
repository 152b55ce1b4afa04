"""What the rendered objects promise: restricted pods, narrow policies, rights that fit the mode, names and labels."""

import json

import msgspec
import pytest

from blockyard_interchange.settings import ProcessSettings
from blockyard_operator.settings import PREFIX, Settings, read_settings
from tests.chart.rendering import CASES, NAMESPACE, RELEASE, containers, objects, of_kind, pod_specs

pytestmark = [pytest.mark.needs_api_server]

BLOCK = {"matchExpressions": [{"key": "blockyard.dev/block", "operator": "Exists"}]}


@pytest.mark.parametrize("case", CASES)
def test_every_pod_fits_restricted_pod_security(case: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root besides."""
    seen = list(pod_specs(case))
    assert len(seen) >= 3
    for name, spec in seen:
        within = spec["securityContext"]
        assert (within["runAsNonRoot"], within["runAsUser"] > 0) == (True, True), name
        assert within["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert all("hostPath" not in volume for volume in spec.get("volumes", [])), name
        for container in containers(spec):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["requests"], name
            assert container["resources"]["limits"]["memory"], name


@pytest.mark.parametrize("case", CASES)
def test_only_the_operator_has_a_token(case: str) -> None:
    for name, spec in pod_specs(case):
        assert spec["automountServiceAccountToken"] == name.endswith("-operator"), name


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_the_releases(case: str) -> None:
    names = set()
    for one in objects(case):
        if "helm.sh/chart" not in one["metadata"].get("labels", {}):
            assert one["metadata"]["name"].endswith(("-extra", "-more")), "all but extraObjects carry the labels"
            continue
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "blockyard"
        assert labels["app.kubernetes.io/instance"] == RELEASE
        identity = (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        assert identity not in names
        names.add(identity)


def test_common_labels_reach_objects_and_pods_but_no_selector() -> None:
    for one in objects("full"):
        if one["kind"] in ("StatefulSet", "Deployment"):
            assert one["metadata"]["labels"]["team"] == "data"
            assert one["spec"]["template"]["metadata"]["labels"]["team"] == "data"
            assert one["spec"]["template"]["metadata"]["annotations"]["contact"] == "data@example.org"
            assert set(one["spec"]["selector"]["matchLabels"]) == {
                "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component",
            }  # fmt: skip


def test_images_come_from_the_mirror_by_digest_or_tag() -> None:
    images = {container["image"] for _, spec in pod_specs("mirror") for container in containers(spec)}
    mirror = "registry.example.org:5000/mirror"
    assert images == {
        f"{mirror}/blockyard/interchange@sha256:{64 * '0'}",
        f"{mirror}/ghcr.io/blockyard/operator:v1",
    }
    (operator,) = of_kind("Deployment", "mirror").values()
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["BLOCKYARD_OPERATOR_WORKER_IMAGE"] == f"{mirror}/ghcr.io/blockyard/worker:0.1.0"
    assert environment["BLOCKYARD_OPERATOR_PULL_SECRETS"] == "registry,other"
    for _, spec in pod_specs("mirror"):
        assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "other"}]


def test_the_operator_understands_its_environment() -> None:
    for case in CASES:
        release = "yard" if case == "full" else RELEASE
        spec = of_kind("Deployment", case)[f"{release}-operator"]["spec"]["template"]["spec"]
        ours = {one["name"]: one.get("value", "from-the-pod") for one in spec["containers"][0]["env"]}
        ours = {name: value for name, value in ours.items() if name.startswith(PREFIX)}
        assert {name.removeprefix(PREFIX).lower() for name in ours} <= set(Settings.__struct_fields__)
        settings = read_settings([], ours)
        assert settings.release == release
        assert settings.clients_endpoint == f"tcp://{release}-interchange.yard.svc:5555"
        everywhere = case in ("cluster-wide", "monitoring")
        assert settings.namespaces == ([] if everywhere else ["team-a", "team-b"] if case == "namespaces" else ["yard"])


def test_the_interchange_understands_its_settings() -> None:
    for case in CASES:
        name = f"{'yard' if case == 'full' else RELEASE}-interchange"
        text = of_kind("ConfigMap", case)[name]["data"]["settings.json"]
        settings = msgspec.json.decode(text, type=ProcessSettings)
        assert settings.core.pools == {}
        assert settings.journal == ("postgresql://" if "postgresql" in case else "")


def test_further_clients_have_keys_that_the_operator_makes_and_the_interchange_sees() -> None:
    (operator,) = of_kind("Deployment", "namespaces").values()
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    settings = read_settings([], {one["name"]: one.get("value", "from-the-pod") for one in container["env"]})
    assert settings.clients == {"anna": ["team-a/gpu", "team-b/default"], "ben": ["team-b/default"]}
    (interchange,) = of_kind("StatefulSet", "namespaces").values()
    (keys,) = (one for one in interchange["spec"]["template"]["spec"]["volumes"] if one["name"] == "keys")
    shown = {one["key"]: one["path"] for one in keys["secret"]["items"]}
    rules = of_kind("Role", "namespaces")[f"{RELEASE}-operator"]["rules"]
    named = {name for rule in rules for name in rule.get("resourceNames", ())}
    for client in settings.clients:
        assert shown[f"client-{client}.pub"] == f"allowed/client-{client}.pub"
        assert f"{RELEASE}-client-{client}" in named


def test_a_journal_on_a_volume_never_has_two_writers_and_one_in_postgresql_moves_soon() -> None:
    (volume,) = of_kind("StatefulSet", "default").values()
    assert volume["spec"]["volumeClaimTemplates"][0]["spec"]["resources"] == {"requests": {"storage": "8Gi"}}
    moving = of_kind("Deployment", "external-postgresql")[f"{RELEASE}-interchange"]["spec"]
    assert moving["strategy"] == {"type": "Recreate"}
    waits = {one["key"]: one["tolerationSeconds"] for one in moving["template"]["spec"]["tolerations"]}
    assert waits == {"node.kubernetes.io/not-ready": 5, "node.kubernetes.io/unreachable": 5}


@pytest.mark.parametrize("case", CASES)
def test_no_secret_is_in_a_settings_file_or_an_argument(case: str) -> None:
    for name, spec in pod_specs(case):
        for container in containers(spec):
            for one in container.get("env", []):
                if "PASSWORD" in one["name"]:
                    assert set(one["valueFrom"]) == {"secretKeyRef"}, name


def test_a_databases_secret_gives_what_it_has_and_values_the_rest() -> None:
    def environment(case: str) -> dict[str, str]:
        (container,) = of_kind("Deployment", case)[f"{RELEASE}-interchange"]["spec"]["template"]["spec"]["containers"]
        return {
            one["name"]: one["value"] if "value" in one else one["valueFrom"]["secretKeyRef"]["key"]
            for one in container["env"]
        }

    assert environment("external-postgresql") == {
        "PGHOST": "host", "PGPORT": "port", "PGDATABASE": "dbname", "PGUSER": "username", "PGPASSWORD": "password",
        "PGSSLMODE": "verify-full",
    }  # fmt: skip
    assert environment("external-postgresql-plain") == {
        "PGHOST": "db.example.org", "PGPORT": "6432", "PGDATABASE": "blockyard", "PGUSER": "blockyard",
        "PGPASSWORD": "password", "PGSSLMODE": "require",
    }  # fmt: skip


def test_a_namespaced_release_has_no_rights_beyond_its_namespaces() -> None:
    roles = of_kind("ClusterRole", "namespaces")
    assert all("aggregate-to-admin" in json.dumps(one["metadata"]["labels"]) for one in roles.values())
    assert of_kind("ClusterRoleBinding", "namespaces") == {}
    places = {
        (one["metadata"]["namespace"], one["metadata"]["name"])
        for one in objects("namespaces")
        if one["kind"] == "Role"
    }
    assert places == {
        ("yard", "rel-operator"),
        ("team-a", "rel-operator-pools"),
        ("team-b", "rel-operator-pools"),
    }


def test_no_role_has_a_wildcard_or_reads_all_secrets_of_the_release() -> None:
    for case in CASES:
        for one in objects(case):
            for rule in one.get("rules", []) if one["kind"] in ("Role", "ClusterRole") else []:
                assert "*" not in json.dumps(rule)
                assert "list" not in rule["verbs"] or "secrets" not in rule["resources"]
    for rule in of_kind("Role", "default")[f"{RELEASE}-operator"]["rules"]:
        assert set(rule["verbs"]) == {"create"} or rule["resourceNames"], "only named Secrets and the one Lease"


def test_policies_let_in_who_is_named() -> None:
    policies = of_kind("NetworkPolicy", "namespaces")
    assert set(policies) == {"rel-interchange", "rel-operator", "rel-workers"}
    ingress = {rule["ports"][0]["port"]: rule.get("from") for rule in policies["rel-interchange"]["spec"]["ingress"]}
    assert [one["namespaceSelector"]["matchLabels"] for one in ingress["clients"][:1]] == [{"blockyard-clients": "yes"}]
    assert ingress["clients"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"
    assert ingress["managers"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}, "podSelector": BLOCK}
        for name in ("team-a", "team-b")
    ]
    assert policies["rel-interchange"]["spec"]["egress"] == []
    workers = policies["rel-workers"]["spec"]
    assert workers["podSelector"] == BLOCK
    assert workers["ingress"][0] == {"from": [{"podSelector": BLOCK}]}, "gangs reach one another"
    ways = [rule["ports"][0]["port"] if "ports" in rule else "blocks" for rule in workers["egress"]]
    assert ways == [53, "blocks", "managers"], "networkPolicy.workers.egress: [] closes the rest"


@pytest.mark.parametrize("case", CASES)
def test_every_policy_names_ports_that_pods_have(case: str) -> None:
    have = {
        port["name"]
        for _, spec in pod_specs(case)
        for container in containers(spec)
        for port in container.get("ports", [])
    }
    for name, policy in of_kind("NetworkPolicy", case).items():
        for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
            named = {one["port"] for one in rule.get("ports", []) if isinstance(one["port"], str)}
            assert named <= have, name


def test_monitors_select_what_is_there() -> None:
    services = of_kind("Service", "monitoring")
    (monitor,) = of_kind("ServiceMonitor", "monitoring").values()
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert [name for name, one in services.items() if wanted.items() <= one["metadata"]["labels"].items()] == [
        "rel-interchange"
    ]
    assert set(of_kind("PodMonitor", "monitoring")) == {"rel-operator", "rel-workers"}
    (rules,) = of_kind("PrometheusRule", "monitoring").values()
    assert "RELEASE" not in json.dumps(rules["spec"])
    assert all(
        {"alert", "expr", "labels", "annotations"} <= rule.keys() or {"record", "expr"} == rule.keys()
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
    )
    assert of_kind("ServiceMonitor", "default") == of_kind("PrometheusRule", "default") == {}


def test_a_budget_never_keeps_a_lone_operator_from_moving() -> None:
    assert set(of_kind("PodDisruptionBudget", "default")) == {"rel-operator"}
    assert of_kind("PodDisruptionBudget", "default", "operator.replicas=1") == {}
    assert set(of_kind("PodDisruptionBudget", "full")) == {"yard-interchange", "yard-operator"}


def test_only_the_port_of_clients_leaves_the_cluster() -> None:
    service = of_kind("Service", "node-port")["rel-clients"]["spec"]
    assert (service["type"], service["ports"]) == (
        "NodePort",
        [{"name": "clients", "port": 5555, "targetPort": "clients", "nodePort": 30555}],
    )
    assert of_kind("Service", "default").keys() == {"rel-interchange"}


def test_a_release_is_rolled_when_its_settings_change() -> None:
    def annotation(*sets: str) -> str:
        (one,) = of_kind("StatefulSet", "default", *sets).values()
        return str(one["spec"]["template"]["metadata"]["annotations"]["checksum/settings"])

    assert annotation() == annotation("operator.replicas=3")
    assert annotation() != annotation("interchange.settings.heartbeat=3")


def test_all_of_it_is_in_the_releases_namespace_or_watched() -> None:
    for case in CASES:
        places = {one["metadata"].get("namespace") for one in objects(case)}
        assert places <= {None, NAMESPACE, "team-a", "team-b"}


def test_the_password_of_the_bundled_postgresql_stays_with_its_data() -> None:
    """The claim is kept at `helm uninstall`: an install with another password could not open what is in it."""
    secret = of_kind("Secret", "postgresql")[f"{RELEASE}-postgresql"]
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
