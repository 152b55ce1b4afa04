"""Start the sweep on blocks of this machine: `python -m examples.sweep [--chaos] [--folder FOLDER]`."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from blockyard import Client, LocalPool
from examples.sweep import graph, picture, science, show, watch
from examples.sweep.chaos import Chaos
from examples.sweep.record import Record

INTERRUPTED = 130  # what a shell reports for a program ended by SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        return sweep(console, given.folder, Chaos(console.print) if given.chaos else None)
    except KeyboardInterrupt:
        console.print("interrupted; every process of the engine has ended")
        return INTERRUPTED


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description=science.__doc__)
    parser.add_argument(
        "--chaos", action="store_true", help="kill parts of the engine meanwhile; the result is the same"
    )
    parser.add_argument("--folder", type=Path, default=Path("results/sweep"), help="where the picture goes")
    return parser.parse_args(argv)


def sweep(console: Console, folder: Path, chaos: Chaos | None) -> int:
    """Run everything and present it; 0 when all is well, 1 when the result differs from an earlier one."""
    blocks = max(2, len(os.sched_getaffinity(0)))
    pool = LocalPool(
        workers_per_node=1,
        min_blocks=0,
        init_blocks=0,
        max_blocks=blocks,
        preload=(science.__name__,),  # scikit-learn is imported once a block, not once a worker
    )
    data_sets = [science.load(name) for name in science.DATA_SETS]
    began = time.time()
    with Client.local(pools={"default": pool}) as client:
        try:
            outcome, families = run(client, data_sets, console, chaos)
        except BaseException:
            client.shutdown(wait=True, cancel_futures=True)  # or leaving the block would wait for what is queued
            raise
        ended = time.time()
    show.findings(outcome, console)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sweep.png"
    picture.draw(outcome, families, began, path)
    console.print(f"picture: {path}", highlight=False)
    same = Record(folder / "digests.json").compare(outcome.digest(), disturbed=chaos is not None)
    if chaos:
        console.print(str(chaos), highlight=False)
    if same.sentence:
        console.print(same.sentence, highlight=False)
    console.print(str(show.where_time_went(outcome.spans, began, ended, blocks)), highlight=False)
    return 0 if same.is_right else 1


def run(
    client: Client, data_sets: list[science.DataSet], console: Console, chaos: Chaos | None
) -> tuple[graph.Outcome, list[science.Family]]:
    """Submit, watch, collect; also say which family each of the outcome's spans belongs to."""
    count = watch.Count()
    if chaos:
        chaos.start()
    try:
        branches = graph.submit(client, data_sets, count.add)
        count.close()
        watch.until_done(count, lambda: states_of(client), console)
    finally:
        if chaos:
            chaos.stop()
    families = [branch.family for branch in branches for _ in branch.tasks()]
    return graph.collect(branches), families


def states_of(client: Client) -> Mapping[str, int]:
    return Counter(status.state.name for status in client.pool("default").status().values())


if __name__ == "__main__":
    raise SystemExit(main())
