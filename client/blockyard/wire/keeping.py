"""Orders that only a keeper may give: which pools there are, and which clients are let in. The answer is `Done`."""

from blockyard.wire.records import Record


class SetPool(Record, tag=20, frozen=True):
    """Define a pool, or change it.

    All but the name and the keys means what `PoolSettings` of the interchange says.
    """

    pool: str
    public_keys: list[bytes]
    """Whose owners may join as its managers, 40 characters of Z85 each; several while one replaces another."""
    durability: str = "journal"
    workers: int = 1
    cores: float = 0.0
    memory_bytes: int = 0
    accelerators: int = 0
    nodes_per_block: int = 1
    max_losses: int = 5
    walltime: float = 0.0


class RemovePool(Record, tag=21, frozen=True):
    """Send a pool's managers away and take no more tasks for it. Those that it has wait until it is defined again."""

    pool: str
    reason: str = ""
    cancel_tasks: bool = False
    """End them instead."""


class AllowClient(Record, tag=22, frozen=True):
    """Let a client in, or change which pools it may use."""

    name: str
    public_keys: list[bytes]
    pools: list[str] = []
    """The only pools that it may use; empty: all."""


class ForbidClient(Record, tag=23, frozen=True):
    """Do not let a client in any more that was let in by `AllowClient`."""

    name: str


KeeperOrder = SetPool | RemovePool | AllowClient | ForbidClient
