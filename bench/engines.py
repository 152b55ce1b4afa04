"""How each of the compared is started and ended: Blockyard and the standard library's pool, two workers each.

Both are spoken to as what they are, a `concurrent.futures.Executor`; a benchmark that uses more than that says so.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from blockyard import Client

WORKERS = 2
STDLIB = "stdlib pool"
BLOCKYARD = "blockyard"


def noop(value: object = None) -> object:
    """The task that costs nothing, so that what is measured is the engine."""
    return value


@contextmanager
def stdlib_pool(workers: int = WORKERS) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes have all started and run something."""
    with ProcessPoolExecutor(workers) as pool:
        for done in [pool.submit(noop) for _ in range(100 * workers)]:
            done.result()
        yield pool


@contextmanager
def blockyard(workers: int = WORKERS) -> Iterator[Client]:
    """Interchange, manager and workers as processes of this machine, all of them started and used."""
    with Client.local(workers=workers) as client:
        for done in [client.submit(noop) for _ in range(100 * workers)]:
            done.result()
        yield client
