"""How each of the compared is started and ended: Blockyard and the standard library's pool, two workers each.

Both are spoken to as what they are, a `concurrent.futures.Executor`; a benchmark that uses more than that says so.
`beside_a_queue` is for those that ask what a long queue costs.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from bench import process_tree
from blockyard import Client, LocalPool
from blockyard.serving import Limits

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
def blockyard(workers: int = WORKERS, **settings: Any) -> Iterator[Client]:
    """Interchange, manager and workers as processes of this machine, all of them started and used.

    `settings` go to `Client.local`.
    """
    with Client.local(workers=workers, **settings) as client:
        for done in [client.submit(noop) for _ in range(100 * workers)]:
            done.result()
        yield client


@contextmanager
def beside_a_queue() -> Iterator[Client]:
    """Two pools at one interchange: 'awake' has workers that are in use, 'asleep' has none and never will.

    Leaving the block cancels what is queued.
    """
    asleep = LocalPool(min_blocks=0, init_blocks=0, max_blocks=1, strategy="none")
    awake = LocalPool(workers_per_node=WORKERS, min_blocks=1, init_blocks=1, max_blocks=1)
    limits = Limits(max_tasks=2_000_000)  # a million that wait, and those that are awake
    client = Client.local(pools={"asleep": asleep, "awake": awake}, limits=limits)
    try:
        for done in client.options(pool="awake").submit_many(noop, range(100)):
            done.result()
        yield client
    finally:
        client.shutdown(wait=True, cancel_futures=True)


def interchange_of(root: int) -> int:
    """The process id of the interchange below `root`; raises LookupError when it is not one."""
    found = [pid for pid in process_tree.tree(root) if "blockyard_interchange" in process_tree.command(pid)]
    if len(found) != 1:
        raise LookupError(f"one interchange should run below process {root}; there are {len(found)}: {found}")
    return found[0]
