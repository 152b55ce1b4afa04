"""When the cache holds what there is, whatever is deleted meanwhile. With a real API server: `tests/api/operator`."""

import asyncio
from typing import Any, cast

import pytest

from blockyard.kube.api import Api, Object
from blockyard.kube.kinds import POOL, Kind
from blockyard_operator import resync
from blockyard_operator.cache import Cache
from blockyard_operator.metrics import Metrics
from blockyard_operator.resync import Resync


def pool(name: str, version: int) -> Object:
    return {"metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(version)}, "spec": {}}


class Lists:
    """An API server that has nothing but pools, and lists them; `lists`: how often it did."""

    def __init__(self, *pools: Object) -> None:
        self.pools = list(pools)
        self.lists = 0

    async def list(self, kind: Kind, *_: Any, **__: Any) -> tuple[list[Object], str]:
        self.lists += kind is POOL
        return list(self.pools) if kind is POOL else [], "9"


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "LONGEST_LOOK", 0.0)
    monkeypatch.setattr(resync, "LOOK_SECONDS", 0.0)


def wait_until_whole(lists: Lists, cache: Cache, meanwhile: Any) -> int:
    """`meanwhile` happens once the first lists were taken."""

    async def wait() -> int:
        waiting = asyncio.create_task(Resync(cast(Api, lists), cache, [], Metrics(), lambda _: None).wait_until_whole())
        while not lists.lists:
            await asyncio.sleep(0)
        meanwhile()
        return await asyncio.wait_for(waiting, 30)

    return asyncio.run(wait())


def test_it_waits_for_what_the_watches_have_yet_to_tell() -> None:
    cache = Cache()
    assert wait_until_whole(Lists(pool("a", 1)), cache, lambda: cache.see(POOL, pool("a", 1))) == 1


def test_what_is_deleted_before_the_watches_began_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "LIST_SECONDS", 0.0)
    cache, lists = Cache(), Lists(pool("a", 1), pool("b", 2))
    cache.see(POOL, pool("a", 1))
    assert wait_until_whole(lists, cache, lists.pools.pop) == 2
    assert lists.lists > 1
