"""What the tests ask a running interchange, as the command line does."""

import contextlib
from collections.abc import Iterator

from blockyard import Client
from blockyard.remote import RemoteEngine
from blockyard.wire import control
from tests.integration.processes import House


def engine_of(client: Client) -> RemoteEngine:
    """The engine behind a client of an interchange."""
    engine = client._engine
    assert isinstance(engine, RemoteEngine)
    return engine


@contextlib.contextmanager
def ending_what_runs(client: Client, pool: str = "default") -> Iterator[Client]:
    """Cancel at the end what a failed test has left running: leaving the client would wait for it."""
    try:
        yield client
    finally:
        for future in engine_of(client).tasks(pool).values():
            future.cancel()


@contextlib.contextmanager
def block_of_two_managers(house: House, workers: int) -> Iterator[Client]:
    """A local system with one such block, so many workers on each; nothing is left of it afterwards."""
    with Client.local(workers=workers, nodes_per_block=2, folder=house.folder) as client, ending_what_runs(client):
        yield client
    house.wait_until_empty()


def status_of(client: Client) -> control.StatusIs:
    """The interchange in numbers."""
    return engine_of(client).ask(control.Status(), control.StatusIs, 30.0)


def pool_status(client: Client, pool: str = "default") -> control.PoolStatus:
    """One pool in numbers; its counters are restored from the journal."""
    return next(one for one in status_of(client).pools if one.pool == pool)
