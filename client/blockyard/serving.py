"""What a local system may be asked for beyond its pools: limits on its clients, a journal, addresses, monitoring."""

import re
from typing import TYPE_CHECKING, Final

import msgspec

from blockyard import host_port
from blockyard.errors import ConfigError
from blockyard.journal_url import fault_of
from blockyard.keyring import DEFAULT_CLIENT

if TYPE_CHECKING:
    from blockyard.monitoring import Monitoring

_TCP: Final = re.compile(r"tcp://(?!0\.0\.0\.0:|\*:|\[::\]:)([\w.-]+|\[[\da-fA-F:]+\]):[1-9]\d{0,4}")
"""Both ends use it, so an address that stands for all of a machine's will not do."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much clients may have unfinished or uncollected; at a limit `submit` waits, or raises `QueueFull`. And how
    much is cached.

    The names and their meaning are those of the interchange's own settings (`core.settings`). Raises ConfigError for
    what is not at least 1; of what is cached, at least 0.
    """

    max_tasks: int = 1_000_000
    """Of one client."""
    max_bytes: int = 256 * 1024 * 1024
    """Bodies of one client in the interchange's memory; large ones, which go through shared memory, do not count."""
    max_disk: int = 8 * 1024**3
    """Bodies of one client in the journal and in shared memory together, values of `Client.put` included."""
    total_tasks: int = 4_000_000
    """Of all clients together: what is left is shared out among them."""
    total_bytes: int = 1024 * 1024 * 1024
    total_disk: int = 32 * 1024**3
    cache_max_bytes: int = 256 * 1024 * 1024
    """Of all cached results together; then the oldest go. 0: nothing is cached."""
    cache_ttl: int = 30 * 24 * 3600
    """Seconds that a cached result may be used."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            least = 0 if field == "cache_max_bytes" else 1
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"limits: {field}={value!r}; give a whole number from {least}")


class Serving(msgspec.Struct, frozen=True):
    """What a system that serves several clients (`supervise`) asks for beyond `Client.local`'s own."""

    journal: str = ""
    """URL; '' for SQLite in the state folder."""
    metrics: str = ""
    """HOST:PORT; '' for none."""
    managers: str = ""
    """``tcp://ADDRESS:PORT``, where managers connect that other machines have; '' for a Unix socket."""
    client: str = DEFAULT_CLIENT
    """Name of the key that the supervising process itself uses."""
    limits: Limits = Limits()
    monitoring: "Monitoring | None" = None
    """None: nothing is told to anybody."""

    def __post_init__(self) -> None:
        if not isinstance(self.limits, Limits):
            raise ConfigError(f"limits={self.limits!r}; give blockyard.serving.Limits(max_tasks=…)")
        if fault := fault_of(self.journal):
            raise ConfigError(f"journal={self.journal.partition(':')[0]!r}…: {fault}")
        if self.metrics and host_port.split(self.metrics) is None:
            raise ConfigError(f"metrics={self.metrics!r}; give HOST:PORT, for example 127.0.0.1:9300")
        if self.managers and not _TCP.fullmatch(self.managers):
            raise ConfigError(
                f"managers={self.managers!r}; give tcp://ADDRESS:PORT, with an address of this machine by which others "
                "reach it, and a port"
            )
