"""What the interchange is told of a pool: tasks are counted in workers by it, and refused that no pod could run."""

from typing import Any, cast

import pytest

from blockyard.kube.kinds import BLOCK, POOL
from blockyard.wire import keeping
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core.manifests import Terms
from blockyard_operator.keys import PoolKeys
from blockyard_operator.observe import Observer
from tests.unit.operator.line import Line

TERMS = Terms(image="worker:1")
META = {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1}
LARGE = {"requests": {"cpu": "6", "memory": "12Gi", "nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}


def announced(kind: str, spec: dict[str, Any]) -> keeping.SetPool:
    line, cache = Line(), Cache()
    observer = Observer(cache, cast("Any", line), TERMS, pod_groups=False)
    observer.secrets["u"] = PoolKeys(b"k")
    cache.see(POOL if kind == "pool" else BLOCK, {"metadata": META, "spec": spec})
    assert (observer.pool if kind == "pool" else observer.block)(Key(cast("Any", kind), "n", "p")) is not None
    (order,) = line.orders
    return order


def template(**container: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "worker", **container}]}}}


@pytest.mark.parametrize("kind", ["pool", "block"])
def test_what_a_pod_requests_is_what_its_workers_have(kind: str) -> None:
    found = announced(kind, {"worker": {"cores": "2"}, **template(resources=LARGE)})
    assert (found.workers, found.cores, found.memory_bytes, found.accelerators) == (3, 6.0, 12 * 2**30, 2)


@pytest.mark.parametrize("kind", ["pool", "block"])
def test_a_walltime_is_what_timeouts_are_measured_by(kind: str) -> None:
    assert announced(kind, {"walltime": "1h"}).walltime == 3600.0
    assert announced(kind, {}).walltime == 0.0


@pytest.mark.parametrize("kind", ["pool", "block"])
def test_what_it_does_not_request_is_not_counted(kind: str) -> None:
    found = announced(kind, {"workersPerNode": 4})
    assert (found.workers, found.cores, found.memory_bytes, found.accelerators) == (4, 0.0, 0, 0)


@pytest.mark.parametrize("kind", ["pool", "block"])
def test_a_template_that_cannot_be_read_is_a_pool_all_the_same(kind: str) -> None:
    assert announced(kind, template(resources={"requests": {"cpu": "much"}})).workers == 1


def test_tasks_survive_the_loss_of_power_unless_the_pool_says_otherwise() -> None:
    assert announced("pool", {}).durability == "fsync"
    assert announced("block", {}).durability == "fsync"
    assert announced("pool", {"durability": "journal"}).durability == "journal"
