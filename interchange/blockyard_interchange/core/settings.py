"""What the core needs to know beforehand. Read by `blockyard_interchange.settings`."""

import math
from typing import Final

import msgspec

DURABILITIES: Final = ("memory", "journal", "fsync")


MISSED_HEARTBEATS: Final = 3
_CROWD: Final = 1000
"""Managers above which heartbeats become rarer: a heartbeat costs as much as several tasks."""


class PoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pool as the interchange sees it."""

    durability: str = "journal"
    """'memory', 'journal' (survives the death of any process) or 'fsync' (survives power loss)."""
    workers: int = 1
    """Workers of one manager; the largest request that fits is computed from these five."""
    cores: float = 0.0
    """Cores of one manager; 0: as many as workers."""
    memory_bytes: int = 0
    """Memory of one manager; 0: not counted."""
    accelerators: int = 0
    nodes_per_block: int = 1
    max_losses: int = 5
    """Infrastructure losses after which a task is held to be their cause."""
    walltime: float = 0.0
    """Seconds after which its blocks end; 0: never."""


def nonsense(pool: PoolSettings) -> str:
    """The first field of a pool whose value means nothing, in words; '' when there is none."""
    if pool.durability not in DURABILITIES:
        return f"durability={pool.durability!r}; it is one of {', '.join(DURABILITIES)}"
    for field, least in (("workers", 1), ("memory_bytes", 0), ("accelerators", 0), ("nodes_per_block", 1)):
        if getattr(pool, field) < least:
            return f"{field}={getattr(pool, field)}; at least {least}"
    if not 0.0 <= pool.cores < math.inf:
        return f"cores={pool.cores}; a finite number, 0 for as many as workers"
    if not 0.0 <= pool.walltime < math.inf:
        return f"walltime={pool.walltime}; a finite number of seconds, 0 for none"
    if pool.max_losses < 1:
        return f"max_losses={pool.max_losses}; at least 1"
    return ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The core's settings; durations in seconds."""

    pools: dict[str, PoolSettings] = msgspec.field(default_factory=lambda: {"default": PoolSettings()})
    heartbeat: float = 1.0
    """Three missed ones end a lease or detach a client. Of many managers each is told a multiple, see `beat`."""
    max_tasks: int = 1_000_000
    """Unfreed tasks of one client."""
    max_bytes: int = 256 * 1024 * 1024
    """Bodies of unfreed tasks of one client, in memory."""
    max_disk: int = 8 * 1024**3
    """Bodies of unfreed tasks and values of one client, in the journal and in blobs together."""
    total_tasks: int = 4_000_000
    total_bytes: int = 1024 * 1024 * 1024
    total_disk: int = 32 * 1024**3
    client_grace: float = 30.0
    """How long the tasks of a client that vanished without `keep` wait for its return."""
    result_ttl: float = 7 * 24 * 3600.0
    """How long results of a run that nobody is attached to are kept."""
    cache_ttl: float = 30 * 24 * 3600.0
    """How long a cached result may be used."""
    cache_max_bytes: int = 256 * 1024 * 1024
    """Of all cached results together, wherever they are kept; then the oldest go. 0: nothing is cached."""
    prefetch_seconds: float = 0.05
    """Work that a manager's worker may hold beyond the task it runs, see `matching.ahead`; more evens out less."""
    prefetch_tasks: int = 1024
    """The same as a number of tasks."""
    max_frames: int = 64
    """Outcome frames on their way to one client."""
    max_frame_tasks: int = 4096
    max_frame_bytes: int = 8 * 1024 * 1024
    """Bodies in one frame; a frame holds at least one task, whatever its size."""
    rejoin_grace: float = 3.0
    """After a restart: how long known managers are waited for before their tasks are given to others."""
    blob_threshold: int = 64 * 1024
    blobs: str = ""
    """Folder for large bodies that near clients and managers share; '' for none."""
    monitoring: bool = False
    """Tell a hub of everything, and keep what it has not confirmed."""
    monitoring_backlog_bytes: int = 64 * 1024 * 1024
    """So much may be unconfirmed; then nothing more is taken from clients until the hub has caught up."""
    stop_grace: float = 2.0
    """Seconds a cancelled task has to end by itself."""

    @property
    def lease(self) -> float:
        """Silence after which a client is taken for gone."""
        return MISSED_HEARTBEATS * self.heartbeat

    def beat(self, managers: int) -> float:
        """Seconds between heartbeats of each of so many managers: together a thousand in the time of one at most."""
        return self.heartbeat * max(1, -(-managers // _CROWD))
