"""The first task of an empty pool, and beside it a bare pod of the same image: how long each takes."""

import json
import time
import uuid
from typing import Any

import msgspec

from blockyard import Client
from blockyard.kube.api import Object
from tests.e2e.release import Release
from tests.e2e.sightings import Sightings

WITHIN = 180.0


class Taken(msgspec.Struct, frozen=True):
    """Seconds from `submit` to the sight of the pod and to the result; and of `kubectl run` to the pod's end."""

    created: float
    result: float
    bare: float


def measure(release: Release, pool: str, image: str, resources: dict[str, Any], rounds: int) -> list[Taken]:
    """One after the other, again and again; the pool is empty each time."""
    taken = []
    with release.client(pool) as client, Sightings(release.cluster.kubeconfig, release.namespace) as seen:
        for _ in range(rounds):
            release.wait_no_blocks(pool)
            created, result = _first_task(client, seen, pool)
            release.wait_no_blocks(pool)
            taken.append(Taken(created, result, _bare(release, seen, image, resources)))
    return taken


def _first_task(client: Client, seen: Sightings, pool: str) -> tuple[float, float]:
    began = time.monotonic()
    future = client.submit(pow, 2, 10)
    assert future.result(timeout=WITHIN) == 1024
    result = time.monotonic() - began
    mine = seen.when(lambda pod: _is_of(pod, pool), WITHIN, since=began)
    return mine - began, result


def _is_of(pod: Object, pool: str) -> bool:
    return bool(pod["metadata"]["labels"].get("blockyard.dev/pool") == pool)


def _bare(release: Release, seen: Sightings, image: str, resources: dict[str, Any]) -> float:
    name = f"bare-{uuid.uuid4().hex[:6]}"
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": name, "image": image, "command": ["python3", "-c", "print(2**10)"],
                 "securityContext": locked, "resources": resources}  # fmt: skip
    overrides = json.dumps({"spec": {"securityContext": user, "containers": [container]}})
    began = time.monotonic()
    release.cluster.run(
        "run", name, f"--image={image}", "--restart=Never", "--image-pull-policy=IfNotPresent",
        f"--overrides={overrides}", f"--namespace={release.namespace}",
    )  # fmt: skip
    ended = seen.when(
        lambda pod: pod["metadata"]["name"] == name and pod["status"]["phase"] == "Succeeded", WITHIN, since=began
    )
    release.cluster.run("delete", "pod", name, f"--namespace={release.namespace}", "--wait=false")
    return ended - began
