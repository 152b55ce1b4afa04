"""Many pools with many pods, which kwok runs: how long a new leader reads, what it holds, how soon it acts, how silent.

Small in `make test`; at full size a thousand pools with ten thousand pods, and the bounds that are promised for those.
"""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard.kube.api import Api, ApiSettings
from blockyard.kube.kinds import BLOCK, POD, POOL
from tests.api.operator.release import Release, Replica, released
from tests.api.operator.test_operator import writes
from tests.cluster.api_server import running_api_server
from tests.cluster.building import workshop
from tests.cluster.kwok import running_kwok
from tests.cluster.waiting import wait_until
from tests.machine import ROOT, Size

pytestmark = [pytest.mark.needs_api_server, pytest.mark.scale, pytest.mark.timeout(7000)]

PODS_PER_POOL = 10
AT_ONCE = 16
EVENTS_PER_SECOND = 20.0
PATIENT = {"lease_seconds": "120", "write_timeout": "30"}
"""Whoever makes a crowd keeps the API server busy; here nobody would start an operator again that lost its Lease."""


class Amount(msgspec.Struct, frozen=True):
    """How many pools, how long it must be silent (seconds), how many changes are timed."""

    pools: int
    rest: float
    changes: int


AMOUNTS = {Size.SMALL: Amount(20, 5.0, 10), Size.FULL: Amount(1000, 300.0, 200)}


@pytest.fixture
def crowd(tmp_path: Path, size: Size) -> Iterator[Release]:
    """A release on an API server whose pods kwok runs."""
    nodes = max(2, AMOUNTS[size].pools * PODS_PER_POOL // 200)
    with running_api_server(workshop(), controllers=True) as server, running_kwok(server, nodes):
        server.run("apply", "--filename", str(ROOT / "crds"))
        server.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        server.run("create", "namespace", "crowd")
        with released(server, "crowd", tmp_path) as made:
            yield made


def pool(name: str) -> dict[str, Any]:
    """Ten blocks whose managers nobody waits for: there are none."""
    spec = {
        "blocks": {"replicas": PODS_PER_POOL, "max": PODS_PER_POOL + 1},
        "registerTimeout": "24h",
        "pendingDeadline": "24h",  # how soon kwok lets ten thousand pods run is no matter of ours
        "drain": {"timeout": "1s"},
        "errorPolicy": {"unprovedBlocks": 1000},
    }
    return {"apiVersion": POOL.api_version, "kind": "WorkerPool", "metadata": {"name": name, "namespace": "crowd"},
            "spec": spec}  # fmt: skip


def test_a_crowd_of_pools(crowd: Release, size: Size) -> None:
    amount = AMOUNTS[size]
    first = crowd.operator("operator-0", **PATIENT)
    crowd.interchange()
    names = [f"pool-{number}" for number in range(amount.pools)]
    began = time.monotonic()
    _with_api(crowd, lambda api: _each(names, lambda name: api.create(POOL, pool(name))))
    _wait_running(crowd, amount)
    figures: dict[str, float] = {"pools": amount.pools, "pods": amount.pools * PODS_PER_POOL}
    figures["made in, s"] = round(time.monotonic() - began, 1)

    _wait_silent(first)  # what one leader has yet to do is no part of how the next one begins
    assert first.end() == 0
    second = crowd.operator("operator-1", **PATIENT)
    figures["initial sync, s"] = round(_sync_seconds(crowd, second), 2)
    _wait_silent(second)
    figures["writes of a new leader"] = writes(second.get("/metrics")[1])
    before = writes(second.get("/metrics")[1])
    time.sleep(amount.rest)
    figures["writes at rest"] = writes(second.get("/metrics")[1]) - before
    took = _with_api(crowd, lambda api: _changes(api, names, amount))
    figures["resident, MiB"] = round(_resident(second) / 2**20, 1)
    figures["acted on, p50, s"] = round(statistics.median(took), 3)
    figures["acted on, p99, s"] = round(statistics.quantiles(took, n=100, method="inclusive")[98], 3)
    print(json.dumps(figures))  # noqa: T201
    assert figures["writes at rest"] == 0
    if size is Size.FULL:
        assert figures["initial sync, s"] < 60
        assert figures["resident, MiB"] < 400
        assert figures["acted on, p99, s"] < 1


def _with_api(release: Release, act: Callable[[Api], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with await Api.connect(ApiSettings(kubeconfig=str(release.kubeconfig), write_timeout=60.0)) as api:
            return await act(api)

    return asyncio.run(run())


async def _each(names: list[str], act: Callable[[str], Awaitable[object]]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with gate:
            await act(name)

    await asyncio.gather(*(one(name) for name in names))


def _wait_running(release: Release, amount: Amount) -> None:
    wanted = amount.pools * PODS_PER_POOL

    async def count(api: Api) -> int:
        found, _ = await api.list(POD, "crowd", fields="status.phase=Running", metadata_only=True)
        return len(found)

    def amiss() -> str | None:
        running = _with_api(release, count)
        return None if running == wanted else f"{running} of {wanted} pods"

    wait_until("all pods run", amiss, 120.0 + 0.3 * wanted, 2.0)


def _sync_seconds(release: Release, operator: Replica) -> float:
    """From the moment it leads until it has looked at everything."""

    def said(what: str) -> list[dict[str, Any]]:
        return [line for line in operator.said() if line["message"] == what]

    release.until("it has read all", lambda: said("the cache is whole"), within=300)
    began = time.monotonic()
    expected = len(release.get("workerpools")["items"]) * (1 + PODS_PER_POOL)
    release.until(
        "it has looked at all",
        lambda: operator.metric("blockyard_operator_reconciles_total"),
        lambda seen: seen >= expected,
        within=300,
    )
    return float(said("the cache is whole")[0]["seconds"]) + time.monotonic() - began


def _wait_silent(operator: Replica) -> None:
    """Wait until five seconds have passed without a write."""
    last = [-1.0, time.monotonic()]

    def amiss() -> str | None:
        seen, now = writes(operator.get("/metrics")[1]), time.monotonic()
        if seen != last[0]:
            last[:] = [seen, now]
        return None if now - last[1] > 5 else f"{seen} writes"

    wait_until("it writes no more", amiss, 600.0, 0.5)


async def _changes(api: Api, names: list[str], amount: Amount) -> list[float]:
    """Seconds from a pool's change to the new block, while pods change all the time."""
    chance = random.Random(1)
    pods, _ = await api.list(POD, "crowd", metadata_only=True)
    _, version = await api.list(BLOCK, "crowd", metadata_only=True)
    born: dict[str, float] = {}

    async def watch() -> None:
        at = version
        while True:
            async for kind, block in api.watch(BLOCK, "crowd", at):
                at = block["metadata"]["resourceVersion"]
                if kind == "ADDED":
                    born.setdefault(block["spec"]["pool"], time.monotonic())

    async def stir() -> None:
        for number in range(10**9):
            name = chance.choice(pods)["metadata"]["name"]
            await api.patch(POD, "crowd", name, {"metadata": {"annotations": {"test/stirred": str(number)}}})
            await asyncio.sleep(1 / EVENTS_PER_SECOND)

    others = [asyncio.ensure_future(watch()), asyncio.ensure_future(stir())]
    took = []
    try:
        for name in chance.sample(names, min(amount.changes, len(names))):
            await api.patch(POOL, "crowd", name, {"spec": {"blocks": {"replicas": PODS_PER_POOL + 1}}})
            began = time.monotonic()
            while name not in born:
                await asyncio.sleep(0.005)
                assert time.monotonic() - began < 60, f"{name}: no block"
            took.append(max(0.0, born[name] - began))
    finally:
        for task in others:
            task.cancel()
    return took


def _resident(operator: Replica) -> int:
    """Bytes."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text().split()
    return int(status[status.index("VmRSS:") + 1]) * 1024
