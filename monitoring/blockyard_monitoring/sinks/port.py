"""The port of a sink, and what it may say when it cannot write.

A third party registers one by an entry point of group ``blockyard.sinks``; it is made with the settings that the user
gave, as keyword arguments, and must pass `blockyard_monitoring.suites`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from blockyard import plugins
from blockyard.errors import BlockyardError, ConfigError
from blockyard.radios import Arrival
from blockyard_monitoring.sinks.ring import Ring


class SinkUnavailable(BlockyardError):
    """What a sink writes to is away, full, or locked: the same batch is given to it again later."""


class Sink(Protocol):
    """A destination. All calls come from one thread of its own."""

    must_not_miss: bool
    """What it has not stored is kept and given to it again; otherwise it may miss what it is too slow for."""

    def start(self) -> None:
        """Connect, make tables, listen. Raises SinkUnavailable to be started again later, ConfigError never to be."""
        ...

    def write(self, batch: Sequence[Arrival]) -> None:
        """Take in packets, oldest first. May be given the same again, so it writes what it has as it was.

        Raises SinkUnavailable when nothing of it is sure to be stored. Any other error is taken for the fault of a
        packet: the batch is halved until it is found.
        """
        ...

    def quarantine(self, arrival: Arrival, reason: str) -> None:
        """Put a packet aside that `write` fails at, where people find it."""
        ...

    def close(self) -> None:
        """Flush and let go; called once."""
        ...


@runtime_checkable
class Tends(Protocol):
    """A sink that has something to do between messages, too."""

    expired: Mapping[str, int]
    """Rows that it let go because of their age, by what they were of."""

    def tend(self) -> float:
        """Do a little of it, from the same thread; returns after how many seconds it wants to be called again.

        Raises SinkUnavailable as `write`.
        """
        ...


@runtime_checkable
class HasRing(Protocol):
    """A sink whose events clients may follow through the interchange."""

    ring: Ring


def make(kind: str, settings: dict[str, Any]) -> Sink:
    """The sink of this kind with these settings. Raises PluginError, or ConfigError naming sink and setting."""
    found = plugins.load(plugins.SINKS, kind)
    if not callable(found):
        raise ConfigError(f"plug-in {kind!r} of group {plugins.SINKS!r}: {found!r} makes no sink")
    try:
        made: Sink = found(**settings)
    except TypeError as error:
        raise ConfigError(f"sink {kind!r}: {error}") from error
    return made
