"""The same measures on any engine of tasks: what `bench/` asks of Blockyard, asked of a neighbour.

Runs in the neighbour's own environment, so it imports the standard library, numpy and `bench.process_tree`, no more.
A neighbour is described by `Peer`; its file calls `report`, which prints one line of JSON.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from bench import process_tree
from bench.peers import tasks

WORKERS = 2
ROUNDS = 3
FAN_IN = 10


class Peer(Protocol):
    """An engine that runs functions on two workers; a handle may be an argument of a later submit, in a list too."""

    def start(self) -> None: ...

    def submit(self, function: Callable[..., Any], *args: Any) -> Any: ...

    def results(self, handles: Sequence[Any]) -> list[Any]: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many tasks each measure runs; a neighbour's rate is known well before 10^5 of them."""

    batch: int = 10_000
    trips: int = 1_000
    arrays: int = 1_000
    links: int = 5_000
    leaves: int = 10_000
    ten_ms: int = 1_000


SMALL = Sizes(batch=300, trips=50, arrays=50, links=50, leaves=100, ten_ms=50)


def report(peer: Peer, package: str) -> None:
    """Measure everything in one life of the peer, ROUNDS times (once with --small), and print medians as JSON."""
    small = "--small" in sys.argv[1:]
    sizes = SMALL if small else Sizes()
    process_tree.adopt_orphans()
    began = time.perf_counter()
    peer.start()
    peer.results([peer.submit(tasks.noop, 0)])
    first = time.perf_counter() - began
    try:
        peer.results([peer.submit(tasks.noop, number) for number in range(100)])
        rounds = [one_round(peer, sizes) for _ in range(1 if small else ROUNDS)]
    finally:
        peer.stop()
    figures = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    figures["first_result_after_imports_s"] = first
    found = {"package": package, "version": version(package) if package else platform.python_version()}
    print(
        json.dumps({**found, "python": platform.python_version(), "small": small, "figures": figures, "rounds": rounds})
    )


def one_round(peer: Peer, sizes: Sizes) -> dict[str, float]:
    figures = {**batch(peer, sizes.batch), **round_trips(peer, sizes.trips)}
    figures["arrays_per_s"] = arrays(peer, sizes.arrays)
    figures["chain_per_s"] = chain(peer, sizes.links)
    figures["tree_per_s"] = tree(peer, sizes.leaves)
    figures["share_of_ideal"] = ten_ms(peer, sizes.ten_ms)
    return figures


def batch(peer: Peer, count: int) -> dict[str, float]:
    cpu, wall = process_tree.cpu_seconds(os.getpid()), time.perf_counter()
    found = peer.results([peer.submit(tasks.noop, number) for number in range(count)])
    wall = time.perf_counter() - wall
    cpu = process_tree.cpu_seconds(os.getpid()) - cpu
    expect(found, list(range(count)))
    memory = process_tree.memory(process_tree.tree(os.getpid()))
    return {"rate_per_s": count / wall, "cpu_us": cpu / count * 1e6, "pss_after_mib": memory.pss_bytes / 2**20}


def round_trips(peer: Peer, count: int) -> dict[str, float]:
    taken = []
    for number in range(count):
        began = time.perf_counter()
        peer.results([peer.submit(tasks.noop, number)])
        taken.append(time.perf_counter() - began)
    taken.sort()
    return {"p50_ms": taken[count // 2] * 1e3, "p99_ms": taken[int(count * 0.99)] * 1e3}


def arrays(peer: Peer, count: int) -> float:
    sent = [tasks.array(number) for number in range(count)]
    began = time.perf_counter()
    found = peer.results([peer.submit(tasks.next_after, array) for array in sent])
    ends = [float(array[-1]) for array in found]
    taken = time.perf_counter() - began
    expect(ends, [number + 1.0 for number in range(count)])
    return count / taken


def chain(peer: Peer, links: int) -> float:
    began = time.perf_counter()
    last = peer.submit(tasks.following, 0)
    for _ in range(links - 1):
        last = peer.submit(tasks.following, last)
    found = peer.results([last])
    taken = time.perf_counter() - began
    expect(found, [links])
    return links / taken


def tree(peer: Peer, leaves: int) -> float:
    began = time.perf_counter()
    level = [peer.submit(tasks.following, number) for number in range(leaves)]
    count = len(level)
    while len(level) > 1:
        level = [peer.submit(tasks.total, *level[at : at + FAN_IN]) for at in range(0, len(level), FAN_IN)]
        count += len(level)
    found = peer.results(level)
    taken = time.perf_counter() - began
    expect(found, [leaves * (leaves + 1) // 2])
    return count / taken


def ten_ms(peer: Peer, count: int) -> float:
    began = time.perf_counter()
    peer.results([peer.submit(tasks.ten_ms, number) for number in range(count)])
    taken = time.perf_counter() - began
    return count * tasks.LENGTH / WORKERS / taken


def expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"wrong results: {str(found)[:200]}, not {str(wanted)[:200]}")
