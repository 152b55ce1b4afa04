"""Holds the cache against the API server's lists: at the start to know when it is whole, later to find what was missed.

A watch that had to begin anew may have missed deletions; kopf does not tell of those. Only metadata are listed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from blockyard.kube.api import Api, Object
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import BLOCK, CRON, POD, POOL, RUN, TEMPLATE, Kind
from blockyard.kube.manifest import BLOCK_LABEL
from blockyard.kube.pods import version_of
from blockyard_operator.cache import Cache, Key
from blockyard_operator.metrics import Metrics

log = logging.getLogger(__name__)

KINDS: Final = (POOL, BLOCK, RUN, CRON, TEMPLATE, POD)
LOOK_SECONDS: Final = 0.02
LONGEST_LOOK: Final = 0.5
"""Between two looks whether the cache is whole, each of which goes over all objects of a kind."""
LIST_SECONDS: Final = 1.0
"""Of waiting, until what is waited for is listed again; twice as long each time."""


class Resync:
    """`namespaces` empty: all. `on_change` is told the keys of what was missed."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        namespaces: Sequence[str],
        metrics: Metrics,
        on_change: Callable[[set[Key]], None],
    ) -> None:
        self._api = api
        self._cache = cache
        self._namespaces: list[str | None] = list(namespaces) or [None]
        self._metrics = metrics
        self._on_change = on_change

    async def wait_until_whole(self) -> int:
        """Wait until the watches have brought everything there was at this call; returns how many objects."""
        expected = {kind: _versions((await self._list(kind))[0]) for kind in KINDS}
        for kind, versions in expected.items():
            await self._wait_for(kind, versions)
        return sum(map(len, expected.values()))

    async def _wait_for(self, kind: Kind, versions: dict[str, int]) -> None:
        """Wait for objects; a watch that began after one of them was deleted never tells of it, but a list does."""
        pause, waited, patience = LOOK_SECONDS, 0.0, LIST_SECONDS
        while self._cache.behind(kind, versions):
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_LOOK)
            if waited >= patience:
                there = _versions((await self._list(kind))[0])
                versions = {uid: version for uid, version in versions.items() if uid in there}
                waited, patience = 0.0, 2 * patience

    async def look_through(self) -> None:
        """Find deletions that were missed, and versions that are older than they should be."""
        for kind in KINDS:
            listed, version = await self._list(kind)
            versions = _versions(listed)
            lost = self._cache.vanished(kind, set(versions), version)
            behind = self._cache.behind(kind, versions)
            stale = [one for one in listed if one["metadata"]["uid"] in behind]
            if lost or stale:
                self._metrics.missed.labels(kind.plural).inc(len(lost) + len(stale))
                log.warning("a watch missed changes", extra={"kind": kind.name, "lost": len(lost), "stale": len(stale)})
            self._on_change(lost)
            for one in stale:
                await self._fetch(kind, one)

    async def _fetch(self, kind: Kind, listed: Object) -> None:
        meta = listed["metadata"]
        try:
            self._on_change(self._cache.see(kind, await self._api.get(kind, meta["namespace"], meta["name"])))
        except ApiError as error:
            if not error.not_found:
                raise

    async def _list(self, kind: Kind) -> tuple[list[Object], int]:
        labels = BLOCK_LABEL if kind is POD else ""
        items: list[Object] = []
        versions: list[int] = []
        for namespace in self._namespaces:
            found, version = await self._api.list(kind, namespace, labels=labels, metadata_only=True)
            items += found
            versions.append(version_of({"resourceVersion": version}))
        return items, min(versions)


def _versions(listed: list[Object]) -> dict[str, int]:
    """Uid to version."""
    return {one["metadata"]["uid"]: version_of(one["metadata"]) for one in listed}
