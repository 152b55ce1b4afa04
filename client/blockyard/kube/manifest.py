"""A block as pods: what is sent to the API server to make one. Pure.

The usual pod is laid down first, the user's template is merged into it by Kubernetes' strategic rules (`strategic`),
and what makes it a pod of this block (names, environment, keys, no restarts) is put on top of both. Used by the
operator and by `KubernetesProvider`; who makes the objects, and when, is left to them.

The usual pod fits restricted Pod Security on any image: a numeric user, a read-only root file system with writable
HOME and /tmp, no privileges, no token of an account.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from blockyard.kube.sizing import Room, Share, room_of, workers
from blockyard.kube.strategic import MergeConflict, merge

Object: TypeAlias = dict[str, Any]

WORKER: Final = "worker"
"""The container that runs the manager."""

INSTALLER: Final = "blockyard-install"
"""The init container that brings the worker's code to a foreign image."""

PREFIX: Final = "blockyard.dev/"
POOL_LABEL: Final = f"{PREFIX}pool"
BLOCK_LABEL: Final = f"{PREFIX}block"
INDEX_LABEL: Final = f"{PREFIX}index"
SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"

KEYS_FOLDER: Final = "/var/run/blockyard"
"""Where the pool's Secret is mounted: `settings.json` and `pool.key`."""
CODE_FOLDER: Final = "/blockyard"
"""Where a foreign image gets the worker's code."""
USER: Final = 65532
"""User and group on images that would run as root; the usual number of 'nonroot'."""

STOP_MARGIN: Final = 10
"""Seconds of a pod's grace beyond what running tasks have: to hand back, and to say so."""
LOST_NODE_SECONDS: Final = 60
"""A pod is given up after its node has been silent for so long; Kubernetes' usual 300 s are for pods with state."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """What a block's pods are made from.

    `name`, `namespace`: of the block; its pods are called NAME-INDEX. `pool`: for the label. `template`: 'metadata' and
    'spec' of a pod template, as far as it differs from the usual pod. `image`: our worker image, used where the
    template names none, and as the installer for foreign ones. `secret`: with the pool's key and settings, ''
    for none. `owner`: an owner reference. `walltime`, `drain_timeout`, `pending_deadline` in seconds. `pod_group`: of a
    PodGroup, '' for none. `queue`: of Kueue, '' for none.
    """

    name: str
    namespace: str
    pool: str
    image: str
    secret: str
    template: Mapping[str, Any] = {}
    nodes: int = 1
    workers_per_node: int | None = None
    share: Share | None = None
    worker_init: str = ""
    walltime: float | None = None
    pending_deadline: float = 900.0
    drain_timeout: float = 60.0
    owner: Mapping[str, Any] | None = None
    queue: str = ""
    priority_class: str = ""
    pod_group: str = ""
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}


def pod(block: Block, index: int) -> Object:
    """The pod of node `index`, 0 to nodes-1. Raises MergeConflict naming the template's field that does not fit."""
    template = block.template
    spec = merge(_usual(block), _object(template.get("spec"), "spec"))
    spec["containers"] = [dict(one) for one in spec.get("containers") or ()]
    worker = _worker_of(spec)
    _bring_code(spec, worker, block)
    spec = merge(spec, _ours(block, index, worker))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(block, index, _object(template.get("metadata"), "metadata")),
        "spec": {key: value for key, value in spec.items() if value not in ([], {})},
    }


def service(block: Block) -> Object:
    """The headless Service that gives a block's pods their host names: NAME-INDEX.NAME."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": block.name,
            "namespace": block.namespace,
            "labels": _labels(block),
            **({"ownerReferences": [dict(block.owner)]} if block.owner else {}),
        },
        "spec": {
            "clusterIP": "None",
            "selector": {BLOCK_LABEL: block.name},
            "publishNotReadyAddresses": True,
            "ports": [{"name": "any", "port": 1, "protocol": "TCP"}],
        },
    }


def pod_name(block: str, index: int) -> str:
    """A pod's name."""
    return f"{block}-{index}"


def capacity(block: Block) -> tuple[int, Room]:
    """Workers of each pod, and what they have together. Raises MergeConflict naming the field that cannot be read."""
    spec = merge(_usual(block), _object(block.template.get("spec"), "spec"))
    room = _room(_worker_of(spec))
    return workers(room, block.share, block.workers_per_node), room


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise MergeConflict(path, f"must be an object, found {value!r}")
    return value


def _metadata(block: Block, index: int, given: Mapping[str, Any]) -> Object:
    annotations = {SAFE_TO_EVICT: "false", **(given.get("annotations") or {})}
    if block.queue and block.nodes > 1:
        annotations["kueue.x-k8s.io/pod-group-total-count"] = str(block.nodes)
        annotations["kueue.x-k8s.io/retriable-in-group"] = "false"  # else quota is kept for a replacement
    labels = {
        **{key: text for key, text in (given.get("labels") or {}).items() if not key.startswith(PREFIX)},
        **_labels(block),
        INDEX_LABEL: str(index),
    }
    return {
        "name": pod_name(block.name, index),
        "namespace": block.namespace,
        "labels": labels,
        "annotations": annotations,
        **({"ownerReferences": [dict(block.owner)]} if block.owner else {}),
    }


def _labels(block: Block) -> dict[str, str]:
    labels = {
        "app.kubernetes.io/name": "blockyard",
        "app.kubernetes.io/component": WORKER,
        "app.kubernetes.io/instance": block.pool,
        "app.kubernetes.io/managed-by": "blockyard",
        **block.labels,
        POOL_LABEL: block.pool,
        BLOCK_LABEL: block.name,
    }
    if block.queue:
        labels["kueue.x-k8s.io/queue-name"] = block.queue
        if block.nodes > 1:
            labels["kueue.x-k8s.io/pod-group-name"] = block.name
    return labels


def _usual(block: Block) -> Object:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{what}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": LOST_NODE_SECONDS,
            }
            for what in ("not-ready", "unreachable")
        ],
        "imagePullSecrets": [{"name": name} for name in block.pull_secrets],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "home", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
        "containers": [_usual_container(block)],
    }


def _usual_container(block: Block) -> Object:
    return {
        "name": WORKER,
        "image": block.image,
        **({"imagePullPolicy": block.pull_policy} if block.pull_policy else {}),
        "env": [
            {"name": "HOME", "value": "/home/worker"},
            {"name": "TMPDIR", "value": "/tmp"},
        ],
        "securityContext": _LOCKED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "home", "mountPath": "/home/worker"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }


_LOCKED: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _worker_of(spec: Object) -> Object:
    containers = spec.get("containers") or []
    for one in containers:
        if one.get("name") == WORKER:
            found: Object = one
            return found
    raise MergeConflict("spec.containers", f"the container {WORKER!r}, which runs the tasks, is missing")


def _bring_code(spec: Object, worker: Object, block: Block) -> None:
    """A foreign image gets the worker's code from an init container; one with a command of its own is left alone."""
    if worker.get("command"):
        return
    if worker.get("image") == block.image:
        worker["command"] = ["python3", "-m", "blockyard_worker"]
        return
    worker["command"] = ["python3", f"{CODE_FOLDER}/start.py"]
    worker["volumeMounts"] = [
        *worker.get("volumeMounts", []),
        {"name": "code", "mountPath": CODE_FOLDER, "readOnly": True},
    ]
    spec["volumes"] = [*spec.get("volumes", []), {"name": "code", "emptyDir": {}}]
    installer = {
        "name": INSTALLER,
        "image": block.image,
        **({"imagePullPolicy": block.pull_policy} if block.pull_policy else {}),
        "command": ["python3", "-m", "blockyard_worker.install", CODE_FOLDER],
        "securityContext": _LOCKED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "code", "mountPath": CODE_FOLDER}],
    }
    spec["initContainers"] = [installer, *spec.get("initContainers", [])]


def _ours(block: Block, index: int, worker: Object) -> Object:
    """What no template can change."""
    own: Object = {"name": WORKER, "env": _environment(block, index, worker)}
    overlay: Object = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": math.ceil(block.drain_timeout) + STOP_MARGIN,
        "containers": [own],
    }
    if block.secret:
        overlay["volumes"] = [{"name": "blockyard-keys", "secret": {"secretName": block.secret, "defaultMode": 0o440}}]
        own["volumeMounts"] = [{"name": "blockyard-keys", "mountPath": KEYS_FOLDER, "readOnly": True}]
    if block.walltime is not None:
        # The node counts from before it pulls the image, so this is only for when nobody drains the block in time.
        overlay["activeDeadlineSeconds"] = math.ceil(block.walltime + block.pending_deadline)
    if block.nodes > 1:
        overlay |= {"hostname": pod_name(block.name, index), "subdomain": block.name}
    if block.priority_class:
        overlay["priorityClassName"] = block.priority_class
    if block.pod_group:
        overlay["schedulingGroup"] = {"podGroupName": block.pod_group}
    return overlay


def _environment(block: Block, index: int, worker: Object) -> list[Object]:
    room = _room(worker)
    values = {
        **({"SETTINGS": f"{KEYS_FOLDER}/settings.json"} if block.secret else {}),
        "BLOCK": block.name,
        "INDEX": str(index),
        "WORKERS": str(workers(room, block.share, block.workers_per_node)),
        "DRAIN_GRACE": f"{block.drain_timeout:g}",
    }
    if room.cores is not None:
        values["CORES"] = f"{room.cores:g}"
    if room.memory is not None:
        values["MEMORY_BYTES"] = str(int(room.memory))
    if room.accelerators:
        values["ACCELERATORS"] = str(room.accelerators)
    if block.walltime is not None:
        values["WALLTIME"] = f"{block.walltime:g}"
    if block.worker_init:
        values["WORKER_INIT"] = block.worker_init
    named = [{"name": f"BLOCKYARD_WORKER_{name}", "value": value} for name, value in values.items()]
    seen = {"NODE": "spec.nodeName", "ADDRESS": "status.podIP"}
    return [*named, *({"name": f"BLOCKYARD_WORKER_{name}", "valueFrom": {"fieldRef": {"fieldPath": path}}}
                      for name, path in seen.items())]  # fmt: skip


def _room(worker: Object) -> Room:
    try:
        return room_of(worker)
    except ValueError as error:
        raise MergeConflict("spec.containers[worker]", str(error)) from error
