"""An interchange as a cluster runs it: TCP, a key ring that cannot be written to, pools that a keeper defines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard.transport import KeyPair
from tests.fixtures.postgres import postgres
from tests.integration.serving.cluster_stand_in import StandIn
from tests.integration.serving.house import House, a_pool, house, port_of

__all__ = ["postgres", "serving"]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[House]:
    """One that runs, with its journal in the state folder."""
    with house(tmp_path) as made:
        made.start().wait_ready()
        yield made


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """An API server without anything."""
    made = StandIn()
    yield made
    made.close()


@pytest.fixture
def cluster(serving: House, stand_in: StandIn) -> StandIn:
    """One with a release `blockyard` in namespace `science`, whose interchange and pool are real."""
    stand_in.secrets["science/blockyard-client"] = {
        "endpoint": "tcp://blockyard-interchange.science.svc:5555",
        "server_key": serving.ring.interchange("clients").public.decode(),
        "client.key": serving.ring.client().to_text(),
    }
    stand_in.pods["interchange-1"] = ("Running", port_of(serving.clients))
    keys = KeyPair.new()
    serving.order(a_pool("science.default", keys), serving.client("keeper-operator"))
    serving.manager("science.default", keys)
    return stand_in
