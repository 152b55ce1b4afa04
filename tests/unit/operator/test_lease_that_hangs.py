"""A renewal that is never answered must not outlive what it renews."""

import asyncio
from typing import Any, cast

from blockyard.kube.api import Api, Object
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import Kind
from blockyard_operator.election import Election, Terms

TERMS = Terms(namespace="n", name="l", identity="me", duration=1.0, renew=0.1, retry=0.05, write_timeout=0.5)


class Mute:
    """An API server that makes the Lease, and answers nothing that comes later."""

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        raise ApiError("get", 404, "NotFound", "no")

    async def create(self, kind: Kind, lease: Object) -> Object:
        return lease

    async def replace(self, kind: Kind, lease: Object) -> Object:
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError("never")


def test_a_lease_whose_renewal_hangs_is_over_when_its_time_is() -> None:
    async def lead() -> tuple[bool, int]:
        api: Any = Mute()
        election = Election(cast("Api", api), TERMS)
        await election.win()
        async with asyncio.timeout(60):
            await election.hold()
        return election.leads, api.asked

    leads, asked = asyncio.run(lead())
    assert not leads
    assert asked <= 1, "none was given up for another"
