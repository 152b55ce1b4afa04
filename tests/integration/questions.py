"""What the tests ask a running interchange, as the command line does."""

import contextlib
from collections.abc import Iterator

from blockyard import Client
from blockyard.remote import RemoteEngine
from blockyard.wire import control


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


def status_of(client: Client) -> control.StatusIs:
    """The interchange in numbers."""
    return engine_of(client).ask(control.Status(), control.StatusIs, 30.0)


def pool_status(client: Client, pool: str = "default") -> control.PoolStatus:
    """One pool in numbers; its counters are restored from the journal."""
    return next(one for one in status_of(client).pools if one.pool == pool)
