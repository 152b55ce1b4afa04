"""What the tests ask a running interchange, as the command line does."""

from blockyard import Client
from blockyard.remote import RemoteEngine
from blockyard.wire import control


def engine_of(client: Client) -> RemoteEngine:
    """The engine behind a client of an interchange."""
    engine = client._engine
    assert isinstance(engine, RemoteEngine)
    return engine


def status_of(client: Client) -> control.StatusIs:
    """The interchange in numbers."""
    return engine_of(client).ask(control.Status(), control.StatusIs, 30.0)


def pool_status(client: Client, pool: str = "default") -> control.PoolStatus:
    """One pool in numbers; its counters are restored from the journal."""
    return next(one for one in status_of(client).pools if one.pool == pool)
