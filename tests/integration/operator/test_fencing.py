"""Whatever the operator would write, it is sent by who surely leads, and by nobody else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from blockyard.kube.api import Api, ApiSettings, Object
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import BLOCK, POD, SECRET, Kind
from blockyard_operator.election import Election, NotLeader, Terms
from tests.integration.serving.cluster_stand_in import StandIn

TERMS = Terms(namespace="n", name="l", identity="me", duration=15.0, renew=3.0, retry=1.0, write_timeout=4.0)
BODY: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "n"}}


class Leases:
    """An API server that has no Lease yet, and takes any."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        raise ApiError("get", 404, "NotFound", "no")

    async def create(self, kind: Kind, lease: Object) -> Object:
        return lease

    async def replace(self, kind: Kind, lease: Object) -> Object:
        return lease


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


async def attempts(api: Api) -> list[str]:
    """Try each way to write; what became of it: the error's class."""
    writes = (
        api.create(SECRET, BODY),
        api.create(POD, {**BODY, "kind": "Pod"}, dry_run=True),
        api.apply(SECRET, BODY, manager="us"),
        api.patch(BLOCK, "n", "x", {"spec": {"drain": True}}),
        api.replace(SECRET, BODY),
        api.delete(BLOCK, "n", "x", uid="u"),
    )
    found = []
    for write in writes:
        try:
            await write
        except (NotLeader, ApiError) as error:
            found.append(type(error).__name__)
        else:
            found.append("done")
    return found


def test_each_way_to_write_is_closed_before_during_and_after_the_lease(stand_in: StandIn, tmp_path: Path) -> None:
    now = [100.0]
    stand_in.blocks["n/x"] = {}
    stand_in.secrets["n/x"] = {"a": "b"}

    async def lead() -> None:
        leases: Any = Leases()
        election = Election(cast("Api", leases), TERMS, clock=lambda: now[0])
        settings = ApiSettings(kubeconfig=stand_in.kubeconfig(tmp_path), may_write=election.may_write, attempts=1)
        async with await Api.connect(settings) as api:
            assert set(await attempts(api)) == {"NotLeader"}
            assert (await api.get(SECRET, "n", "x"))["data"], "reading is everybody's"
            await election.win()
            now[0] += TERMS.duration - TERMS.write_timeout - 0.1
            assert "NotLeader" not in await attempts(api)
            assert stand_in.blocks["n/x"] == {"spec": {"drain": True}}
            before = list(stand_in.written)
            now[0] += 0.2  # a request that begins now might be on its way when another leads
            assert election.leads
            assert set(await attempts(api)) == {"NotLeader"}
            now[0] += TERMS.duration
            assert set(await attempts(api)) == {"NotLeader"}
            await election.win()
            await election.give_back()
            assert set(await attempts(api)) == {"NotLeader"}
            assert stand_in.written == before

    assert not stand_in.written
    asyncio.run(lead())
