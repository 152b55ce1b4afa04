"""Resources with one thing wrong in each: valid ones of which one value, key or level was changed by chance."""

import copy
import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tests.cluster.kubectl import Json

Path = tuple[str | int, ...]

POOL: Final[Json] = {
    "template": {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
            "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
            "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [
                {
                    "name": "worker",
                    "image": "registry.example.org/image:1",
                    "imagePullPolicy": "Always",
                    "env": [{"name": "A", "value": "b"}],
                    "ports": [{"name": "web", "containerPort": 80}],
                    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
        },
    },
    "nodesPerBlock": 2,
    "worker": {"cores": "500m", "memory": "256Mi", "accelerators": 0},
    "workerInit": "package.module:function",
    "walltime": "2h",
    "pendingDeadline": "10m",
    "registerTimeout": "1m",
    "launcher": {"name": "per-node"},
    "priorityClassName": "system-node-critical",
    "queueName": "queue",
    "podFailureRules": [
        {"action": "Count", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [3]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ],
    "blocks": {"min": 0, "init": 0, "max": 3, "warm": 0},
    "durability": "journal",
    "parallelism": 0.5,
    "strategy": {"name": "simple", "idleTimeout": "20s", "startCost": "5s", "hysteresis": 0.2},
    "errorPolicy": {"name": "windowed", "threshold": 3, "pause": "10s", "maxPause": "1m", "podsPerMinute": 60},
    "drain": {"timeout": "5s"},
    "monitoring": {"radio": "none"},
    "suspend": False,
    "rollout": {"maxSurge": "25%", "maxUnavailable": 1, "paused": False},
}
_OF_A_BLOCK = ("template", "worker", "workerInit", "walltime", "pendingDeadline", "registerTimeout", "launcher",
               "priorityClassName", "queueName", "podFailureRules")  # fmt: skip
BLOCK: Final[Json] = {key: POOL[key] for key in _OF_A_BLOCK} | {"nodes": 2, "drain": False, "drainTimeout": "5s"}

VALUES: Final[tuple[Any, ...]] = (
    -1, 0, 7, 10**9, 2**40, 2**63 - 1, 1.5, 1e300, True, None, "", " ", "x", "ünï©ode\t", "y" * 300, "-5s", "0s", "1e9",
    "99999999999h", "9999999h", "100000h", "1h1h1h", "999Ei", "-1Gi", "0", "${A}", "{{ x }}", "../../etc", "a=b,c=d",
    [], {}, [1], [[]], [None], {"a": 1}, {"": ""}, {"a/b/c": "d"}, ["x"] * 500,
    {str(number): "x" for number in range(200)},
)  # fmt: skip


class Mutant(msgspec.Struct, frozen=True):
    """A resource with something changed at `path`, which begins with 'spec'."""

    manifest: Json
    path: Path
    change: str

    @property
    def field(self) -> str:
        """The path as people write it."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)[1:]

    @property
    def is_open(self) -> bool:
        """Whether it is in the part that only a dry run of the pod can judge."""
        return self.path[:3] == ("spec", "template", "spec")


def mutants(count: int, namespace: str, seed: int) -> Iterator[Mutant]:
    """`count` of them, the same ones for the same seed."""
    chance = random.Random(seed)
    for number in range(count):
        pool = chance.random() < 0.7
        spec = copy.deepcopy(POOL if pool else BLOCK)
        path = chance.choice(list(_paths(spec, ("spec",))))
        change = _mutate(chance, {"spec": spec}, path)
        kind = "WorkerPool" if pool else "WorkerBlock"
        metadata = {"name": f"mutant-{number}", "namespace": namespace}
        manifest = {"apiVersion": "blockyard.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
        yield Mutant(manifest, path, change)


def _paths(value: Json, here: Path) -> Iterator[Path]:
    """Of everything below `value`."""
    inner: list[tuple[str | int, Json]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for step, one in inner:
        yield (*here, step)
        yield from _paths(one, (*here, step))


def _mutate(chance: random.Random, root: Json, path: Path) -> str:
    """Change what is at the path in one way; how, in words."""
    parent = root
    for step in path[:-1]:
        parent = parent[step]
    last, value = path[-1], parent[path[-1]]
    match chance.choice(("value", "value", "value", "remove", "stranger", "twice", "deep")):
        case "remove":
            del parent[last]
            return "removed"
        case "stranger" if isinstance(value, dict):
            value["stranger"] = 1
            return "has a stranger inside"
        case "twice" if isinstance(value, list):
            parent[last] = value * chance.choice((2, 40))
            return "its items come again"
        case "deep":
            for _ in range(100):
                value = {"deeper": value}
            parent[last] = value
            return "is 100 levels deep"
    parent[last] = chance.choice(VALUES)
    return f"is {parent[last]!r}"[:100]
