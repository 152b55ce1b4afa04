"""From a block to pods: the usual pod, a user's template merged into it, and what no template can change."""

from typing import Any

import pytest
from msgspec.structs import replace

from blockyard.kube.manifest import CODE_FOLDER, INSTALLER, KEYS_FOLDER, Block, capacity, pod, service
from blockyard.kube.quantities import amount, misread, seconds
from blockyard.kube.sizing import Room, Share, room_of, workers
from blockyard.kube.strategic import MergeConflict, merge

PLAIN = Block(name="p-abcde", namespace="n", pool="p", image="worker:1", secret="p-worker")


def made(index: int = 0, spec: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return pod(replace(PLAIN, template={"spec": spec or {}}, **fields), index)


def worker(manifest: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in manifest["spec"]["containers"] if one["name"] == "worker")


def env(manifest: dict[str, Any]) -> dict[str, str]:
    return {one["name"].removeprefix("BLOCKYARD_WORKER_"): one.get("value", "") for one in worker(manifest)["env"]}


def test_the_usual_pod_fits_restricted_pod_security() -> None:
    spec = made()["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in spec["containers"]:
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"


def test_our_image_starts_the_worker_and_a_foreign_one_is_brought_its_code() -> None:
    ours = made()
    assert worker(ours)["command"] == ["python3", "-m", "blockyard_worker"]
    assert "initContainers" not in ours["spec"]
    foreign = made(spec={"containers": [{"name": "worker", "image": "python:3.12"}]})
    assert worker(foreign)["command"] == ["python3", f"{CODE_FOLDER}/start.py"]
    (installer,) = foreign["spec"]["initContainers"]
    assert (installer["name"], installer["image"]) == (INSTALLER, "worker:1")
    assert {"name": "code", "mountPath": CODE_FOLDER, "readOnly": True} in worker(foreign)["volumeMounts"]


def test_a_command_of_the_users_own_is_left_alone() -> None:
    own = made(spec={"containers": [{"name": "worker", "image": "x", "command": ["/start"]}]})
    assert worker(own)["command"] == ["/start"]
    assert "initContainers" not in own["spec"]


def test_the_template_is_merged_and_cannot_change_what_makes_the_pod_ours() -> None:
    spec = {
        "restartPolicy": "Always",
        "nodeSelector": {"disk": "ssd"},
        "securityContext": {"runAsUser": 1000},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "d"}}],
        "containers": [
            {
                "name": "worker",
                "env": [{"name": "BLOCKYARD_WORKER_BLOCK", "value": "other"}, {"name": "MINE", "value": "1"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
            {"name": "proxy", "image": "proxy:1"},
        ],
    }
    found = made(spec=spec)["spec"]
    assert found["restartPolicy"] == "Never"
    assert found["nodeSelector"] == {"disk": "ssd"}
    assert (found["securityContext"]["runAsUser"], found["securityContext"]["runAsGroup"]) == (1000, 65532)
    assert {one["name"] for one in found["volumes"]} >= {"tmp", "home", "shm", "data", "blockyard-keys"}
    assert [one["name"] for one in found["containers"]] == ["worker", "proxy"]
    assert env({"spec": found})["BLOCK"] == "p-abcde"
    assert env({"spec": found})["MINE"] == "1"
    assert {one["mountPath"] for one in worker({"spec": found})["volumeMounts"]} >= {"/data", "/tmp", KEYS_FOLDER}


def test_making_a_pod_leaves_the_template_as_it_was() -> None:
    spec = {"containers": [{"name": "worker", "image": "x", "env": [{"name": "A", "value": "1"}]}]}
    before = repr(spec)
    first, second = made(0, spec), made(1, spec)
    assert repr(spec) == before
    assert env(first)["INDEX"] == "0"
    assert env(second)["INDEX"] == "1"


def test_a_gang_has_host_names_and_a_service() -> None:
    block = replace(PLAIN, nodes=2)
    spec = pod(block, 1)["spec"]
    assert (spec["hostname"], spec["subdomain"]) == ("p-abcde-1", "p-abcde")
    (address,) = [one for one in worker(pod(block, 1))["env"] if one["name"] == "BLOCKYARD_WORKER_ADDRESS"]
    assert address["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    made_service = service(block)
    assert made_service["spec"]["clusterIP"] == "None"
    assert made_service["spec"]["publishNotReadyAddresses"] is True
    assert "subdomain" not in made()["spec"]


def test_a_queue_gets_one_group_for_each_block_of_several_pods() -> None:
    single, gang = made(queue="q"), made(queue="q", nodes=3)
    assert single["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "q"
    assert "kueue.x-k8s.io/pod-group-name" not in single["metadata"]["labels"]
    assert gang["metadata"]["labels"]["kueue.x-k8s.io/pod-group-name"] == "p-abcde"
    assert gang["metadata"]["annotations"]["kueue.x-k8s.io/pod-group-total-count"] == "3"
    assert gang["metadata"]["annotations"]["kueue.x-k8s.io/retriable-in-group"] == "false", "its pods are made once"


def test_walltime_and_drain_become_deadline_and_grace() -> None:
    found = made(walltime=600.0, pending_deadline=100.0, drain_timeout=30.0)
    assert found["spec"]["activeDeadlineSeconds"] == 700
    assert found["spec"]["terminationGracePeriodSeconds"] == 40
    assert (env(found)["WALLTIME"], env(found)["DRAIN_GRACE"]) == ("600", "30")


@pytest.mark.parametrize(
    "spec, field",
    [
        ({"containers": "many"}, "spec.containers"),
        ({"containers": [{"image": "x"}]}, "spec.containers[0].name"),
        ({"containers": ["x"]}, "spec.containers[0]"),
        ({"securityContext": [1]}, "spec.securityContext"),
        ({"volumes": {"name": "x"}}, "spec.volumes"),
        ({"containers": [{"name": "worker", "$patch": "delete"}]}, "spec.containers"),
        ({"containers": [{"name": "worker", "resources": {"requests": {"cpu": "two"}}}]}, "spec.containers[worker]"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_by_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(MergeConflict) as caught:
        made(spec=spec)
    assert caught.value.path == field


def test_strategic_merging_removes_replaces_and_keeps_order() -> None:
    base = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["x"], "gone": {"a": 1}}
    patch = {"env": [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}], "args": ["y"], "gone": None}
    assert merge(base, patch) == {"env": [{"name": "B", "value": "3"}], "args": ["y"]}
    assert merge({"volumes": [{"name": "a"}]}, {"volumes": [{"$patch": "replace"}, {"name": "b"}]}) == {
        "volumes": [{"name": "b"}]
    }
    assert merge({"m": {"a": 1}}, {"m": {"$patch": "replace", "b": 2}}) == {"m": {"b": 2}}
    assert merge({}, {"containers": [{"name": "c", "env": [{"name": "E"}]}]}) == {
        "containers": [{"name": "c", "env": [{"name": "E"}]}]
    }


@pytest.mark.parametrize(
    "room, share, fixed, count",
    [
        (Room(), None, None, 1),
        (Room(cores=3.5), None, None, 3),
        (Room(cores=0.5), None, None, 1),
        (Room(cores=4, memory=8e9), Share(cores=1, memory=4e9), None, 2),
        (Room(cores=8, accelerators=2), Share(accelerators=1), None, 2),
        (Room(cores=0.3), Share(cores=0.1), None, 3),
        (Room(cores=8), None, 5, 5),
    ],
)
def test_workers_of_a_pod(room: Room, share: Share | None, fixed: int | None, count: int) -> None:
    assert workers(room, share, fixed) == count


def test_requests_come_before_limits() -> None:
    container = {
        "resources": {"requests": {"cpu": "1500m"}, "limits": {"cpu": 4, "memory": "2Gi", "nvidia.com/gpu": 2}}
    }
    assert room_of(container) == Room(cores=1.5, memory=2.0 * 2**30, accelerators=2)
    assert capacity(replace(PLAIN, template={"spec": {"containers": [{"name": "worker", **container}]}}))[0] == 1


@pytest.mark.parametrize("text, value", [("500m", 0.5), ("2Gi", 2.0**31), ("1.5", 1.5), ("1e3", 1000.0), ("3k", 3e3)])
def test_quantities(text: str, value: float) -> None:
    assert amount(text) == value


def test_what_is_no_quantity_is_named_by_its_path() -> None:
    resources = {"requests": {"cpu": "1", "memory": "much", "x/y": None}, "limits": {"memory": 2**31, "cpu": []}}
    spec = {
        "containers": [{"name": "worker", "resources": resources, "env": [{"name": "A", "value": "limits"}]}],
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": {}}}, {"name": "w", "emptyDir": {"sizeLimit": "-1n"}}],
        "overhead": "none",
    }
    assert [path for path, _ in misread(spec, "spec")] == [
        "spec.containers[0].resources.requests.memory",
        "spec.containers[0].resources.limits.cpu",
        "spec.volumes[0].emptyDir.sizeLimit",
    ]


@pytest.mark.parametrize("text, value", [("90s", 90.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1.5m", 90.0)])
def test_time_spans(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "1", "s", "1d", "1s "])
def test_no_time_spans(text: str) -> None:
    with pytest.raises(ValueError, match="no time span"):
        seconds(text)
