"""What the API server would not make beside pods is noted, and the next reconcile tells of it."""

import asyncio
import base64
from typing import Any, cast

import pytest

from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import BLOCK, POOL, SECRET
from blockyard_operator.applier import Applier, Rim
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core import plan as do
from blockyard_operator.core.manifests import Terms
from blockyard_operator.core.objects import Meta
from blockyard_operator.metrics import Metrics
from tests.unit.operator.shelf import Shelf

QUOTA = ApiError("create", 403, "Forbidden", "exceeded quota: few, requested: 1, used: 2, limited: 2")
POOL_META, BLOCK_META = (Meta(namespace="n", name=name, uid=f"{name}-uid") for name in ("p", "b"))
POOL_KEY, BLOCK_KEY = Key("pool", "n", "p"), Key("block", "n", "b")


def raw(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "uid": f"{name}-uid", "resourceVersion": "1"}, "spec": {}}


class Keys:
    """Of the observer, only what the applier uses."""

    def __init__(self) -> None:
        self.secrets: dict[str, object] = {}


CASES = [
    (POOL_KEY, do.CreateBlock({**raw("p-x"), "kind": "WorkerBlock"}), "WorkerBlock"),
    (POOL_KEY, do.MakeSecret(POOL_META, "WorkerPool"), "Secret"),
    (BLOCK_KEY, do.CreateService(BLOCK_META), "Service"),
    (BLOCK_KEY, do.CreatePodGroup(BLOCK_META), "PodGroup"),
]


def applier_of(shelf: Shelf, cache: Cache, changed: set[Key]) -> Applier:
    rim = Rim(
        api=cast("Any", shelf), cache=cache, observer=cast("Any", Keys()), interchange=cast("Any", None),
        metrics=Metrics(), terms=Terms(image="w"), server_key=b"s" * 40, managers="tcp://i:1", reporter="me",
        namespace="n",
    )  # fmt: skip
    return Applier(rim, changed.update, lambda key, seconds: None)


@pytest.mark.parametrize("key, effect, kind", CASES, ids=[kind for _, _, kind in CASES])
def test_a_quota_is_noted_and_forgotten_when_it_gives_way(key: Key, effect: do.Effect, kind: str) -> None:
    shelf, cache, changed = Shelf(), Cache(), set[Key]()
    cache.see(POOL, raw("p"))
    cache.see(BLOCK, raw("b"))
    applier = applier_of(shelf, cache, changed)
    later = do.Tell(POOL_META, "WorkerPool", "Never", "what follows a refusal is not done")
    shelf.refusals[kind] = QUOTA
    asyncio.run(applier.carry_out(key, do.Plan(effects=(effect, later))))
    assert cache.refusals[key].reason == "QuotaExceeded"
    assert (key in changed, shelf.writes) == (True, [])
    del shelf.refusals[kind]
    asyncio.run(applier.carry_out(key, do.Plan(effects=(effect,))))
    assert (cache.refusals, [name for name, _ in shelf.writes]) == ({}, [kind])


@pytest.mark.parametrize("data", [{}, {"pool.key": base64.b64encode(b"nothing").decode()}])
def test_a_secret_without_a_key_is_left_noted_and_looked_at_again(data: dict[str, str]) -> None:
    shelf, cache, changed = Shelf(), Cache(), set[Key]()
    cache.see(POOL, raw("p"))
    applier = applier_of(shelf, cache, changed)
    make = do.Plan(effects=(do.MakeSecret(POOL_META, "WorkerPool"),))
    asyncio.run(applier.carry_out(POOL_KEY, make))
    shelf.objects["Secret", "n", "p-worker"]["data"] = dict(data)
    asyncio.run(applier.carry_out(POOL_KEY, make))
    refusal = cache.refusals[POOL_KEY]
    assert (refusal.reason, refusal.lasting, refusal.retry_at > refusal.at) == ("BadKey", False, True)
    assert "Secret n/p-worker" in refusal.message
    assert shelf.objects["Secret", "n", "p-worker"]["data"] == data
    shelf.delete(SECRET, "n", "p-worker")
    asyncio.run(applier.carry_out(POOL_KEY, make))
    assert cache.refusals == {}
