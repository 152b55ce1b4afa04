"""Shares out the accelerators of one machine among the blocks of its pools, so that no two blocks have the same one.

A pool has so many, or names them; each of its blocks that lives has an equal share of them. Which task has which of a
block's is the manager's to say (`blockyard_worker.core.feeding`).
"""

import threading
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from blockyard.blocks.pool import LocalPool
from blockyard.errors import ConfigError
from blockyard.ids import BlockId

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
"""Where the field says which of a machine's accelerators a process may use, by numbers or names parted by commas."""


class Shares:
    """The accelerators of one pool, in equal shares; at most as many blocks live at a time as there are shares."""

    def __init__(self, names: tuple[str, ...], count: int) -> None:
        self._lock = threading.Lock()
        size = len(names) // count
        self._free = [names[index * size : (index + 1) * size] for index in range(count)]
        self._taken: dict[BlockId, tuple[str, ...]] = {}

    def take(self, block: BlockId) -> None:
        """Give a share to a block that is about to start. Raises LookupError when all are taken."""
        with self._lock:
            if not self._free:
                raise LookupError(f"block {block}: all shares of accelerators are taken, by {', '.join(self._taken)}")
            self._taken[block] = self._free.pop(0)

    def of(self, block: BlockId) -> tuple[str, ...]:
        """The names of those that a block has; none for one that does not live."""
        return self._taken.get(block, ())

    def free(self, block: BlockId) -> None:
        """A block has ended, and all that it started with it."""
        with self._lock:
            share = self._taken.pop(block, None)
            if share is not None:
                self._free.append(share)


def share_out(pools: Mapping[str, LocalPool], visible: str) -> dict[str, Shares]:
    """Name the accelerators of each pool, those that are merely counted after those that have names.

    `visible`: what `VISIBLE` says here; numbers from 0 when that is nothing. Raises ConfigError when two pools name the
    same one, or when there are fewer than are counted.
    """
    owners: dict[str, str] = {}
    for pool, settings in pools.items():
        for name in settings.accelerators if isinstance(settings.accelerators, tuple) else ():
            if name in owners:
                raise ConfigError(
                    f"pools {owners[name]!r} and {pool!r} both name accelerator {name!r}; give each its own"
                )
            owners[name] = pool
    unnamed = _unnamed(visible, owners)
    shares = {}
    for pool, settings in pools.items():
        if isinstance(settings.accelerators, tuple):
            names = settings.accelerators
        else:
            names = tuple(islice(unnamed, settings.accelerators))
            if len(names) < settings.accelerators:
                raise ConfigError(
                    f"pool {pool!r}: accelerators={settings.accelerators}, but {VISIBLE}={visible!r} has only "
                    f"{len(names)} left for it; name them, or change that variable"
                )
        shares[pool] = Shares(names, settings.max_blocks)
    return shares


def _unnamed(visible: str, named: Mapping[str, str]) -> Iterator[str]:
    """Those that no pool names."""
    count = 0
    there = [name for part in visible.split(",") if (name := part.strip())]
    if there:
        yield from (name for name in there if name not in named)
        return
    while True:
        if str(count) not in named:
            yield str(count)
        count += 1
