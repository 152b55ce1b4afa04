"""How the hub itself fares, as its sinks may show it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from blockyard_monitoring.counts import RadioCounts


class SinkFigures(NamedTuple):
    """One sink."""

    name: str
    is_available: bool
    waiting_parts: int
    written: int
    """Packets."""
    failures: int
    quarantined: int
    dropped: dict[str, int]
    """Records that did not fit, by kind."""
    expired: dict[str, int]
    """Rows that went because of their age, by table."""


class HubFigures(NamedTuple):
    """All of it."""

    radios: dict[str, RadioCounts]
    sinks: list[SinkFigures]


@runtime_checkable
class ShowsHub(Protocol):
    """A sink that wants to show how the hub fares."""

    def attach(self, figures: Callable[[], HubFigures]) -> None:
        """Called once, before `start`; `figures` may be called from any thread."""
        ...
