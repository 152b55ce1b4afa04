"""The cache: news in any order, answers to our own writes, deletions that stay."""

from typing import Any

from blockyard.kube.kinds import BLOCK, POD, POOL
from blockyard_operator.cache import Cache, Key

POOL_KEY, BLOCK_KEY = Key("pool", "n", "p"), Key("block", "n", "b")


def raw(name: str, uid: str, version: int, owner: str = "", **labels: str) -> dict[str, Any]:
    owners = [{"uid": owner, "controller": True}] if owner else []
    meta = {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version), "ownerReferences": owners}
    return {"metadata": {**meta, "labels": labels}, "spec": {}}


def pod(name: str, uid: str, version: int) -> dict[str, Any]:
    labels = {"blockyard.dev/block": "b", "blockyard.dev/index": "0"}
    return raw(name, uid, version, "block-uid", **labels)


def filled() -> Cache:
    cache = Cache()
    cache.see(POOL, raw("p", "pool-uid", 1))
    cache.see(BLOCK, raw("b", "block-uid", 2, "pool-uid"))
    cache.see(POD, pod("b-0", "pod-uid", 3))
    return cache


def test_a_change_concerns_the_object_and_its_pool() -> None:
    cache = Cache()
    assert cache.see(POOL, raw("p", "pool-uid", 1)) == {POOL_KEY}
    assert cache.see(BLOCK, raw("b", "block-uid", 2, "pool-uid")) == {POOL_KEY, BLOCK_KEY}
    assert cache.see(POD, pod("b-0", "pod-uid", 3)) == {BLOCK_KEY}
    assert [block.meta.name for block in cache.blocks_of(cache.pools[POOL_KEY])] == ["b"]


def test_an_older_version_changes_nothing() -> None:
    cache = filled()
    cache.see(BLOCK, raw("b", "block-uid", 9, "pool-uid"))
    assert cache.see(BLOCK, raw("b", "block-uid", 5, "pool-uid")) == set()
    assert cache.blocks[BLOCK_KEY].meta.version == 9


def test_what_was_deleted_does_not_come_back_by_late_news() -> None:
    cache = filled()
    cache.see(BLOCK, raw("b", "block-uid", 9, "pool-uid"), deleted=True)
    assert BLOCK_KEY not in cache.blocks
    assert cache.see(BLOCK, raw("b", "block-uid", 10, "pool-uid")) == set()
    assert BLOCK_KEY not in cache.blocks
    cache.see(BLOCK, raw("b", "other-uid", 11, "pool-uid"))
    assert cache.blocks[BLOCK_KEY].meta.uid == "other-uid"


def test_a_pod_that_is_gone_is_remembered_as_long_as_its_block() -> None:
    cache = filled()
    assert cache.see(POD, pod("b-0", "pod-uid", 8), deleted=True) == {BLOCK_KEY}
    (ghost,) = cache.pods_of(BLOCK_KEY)
    assert (ghost.gone, cache.count_pods()) == (True, 0)
    cache.see(BLOCK, raw("b", "block-uid", 9, "pool-uid"), deleted=True)
    cache.see(BLOCK, raw("b", "block-2", 10, "pool-uid"))
    assert cache.pods_of(BLOCK_KEY) == ()


def test_a_list_brings_missed_deletions_to_light_and_spares_what_is_newer() -> None:
    cache = filled()
    assert cache.vanished(POD, {"pod-uid"}, 100) == set()
    assert cache.vanished(POD, set(), 2) == set(), "the pod is newer than the list"
    assert cache.vanished(POD, set(), 100) == {BLOCK_KEY}
    assert cache.vanished(BLOCK, set(), 100) == {POOL_KEY, BLOCK_KEY}
    assert cache.vanished(POOL, set(), 100) == {POOL_KEY}
    assert cache.keys() == []


def test_what_is_known_is_known_in_its_version() -> None:
    cache = filled()
    assert cache.behind(POD, {"pod-uid": 3}) == set()
    assert cache.behind(POD, {"pod-uid": 4, "unheard-of": 1}) == {"pod-uid", "unheard-of"}
    cache.see(POD, pod("b-0", "pod-uid", 8), deleted=True)
    assert cache.behind(POD, {"pod-uid": 99}) == set()


def test_a_pool_has_pods_until_the_last_is_gone() -> None:
    """Though pool and block are gone before, as they are when a pool is deleted."""
    cache = Cache()
    labels = {"blockyard.dev/block": "p-abcde", "blockyard.dev/index": "0"}
    cache.see(BLOCK, raw("p-abcde", "block-uid", 1, "pool-uid"))
    cache.see(POD, raw("p-abcde-0", "pod-uid", 2, "block-uid", **labels))
    cache.see(BLOCK, raw("p-abcde", "block-uid", 3, "pool-uid"), deleted=True)
    assert cache.has_pods("n", "p")
    assert not cache.has_pods("n", "p-abcde")
    assert not cache.has_pods("m", "p")
    cache.see(POD, raw("p-abcde-0", "pod-uid", 4, "block-uid", **labels), deleted=True)
    assert not cache.has_pods("n", "p")
