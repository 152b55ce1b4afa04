"""What the hub counted of messages: by radio, and by sender what became of their numbers."""

from collections import Counter
from typing import Final

import msgspec

from blockyard_monitoring.sequence import Sequence

_MOST_SOURCES: Final = 100_000
"""Senders that are remembered; of older ones only the sums are."""


class RadioCounts(msgspec.Struct):
    """Of one radio."""

    packets: int = 0
    records: int = 0
    lost: int = 0
    """Not here, as later numbers of the same senders show."""
    late: int = 0
    doubled: int = 0
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    """By reason."""


class Counts:
    """Not for several threads at once: the bus asks under its lock."""

    def __init__(self) -> None:
        self._radios: dict[str, RadioCounts] = {}
        self._sources: dict[tuple[str, str], Sequence] = {}

    def take(self, radio: str, source: str, number: int, records: int, *, is_kept: bool = False) -> bool:
        """Count a packet; False when it had come before.

        `is_kept`: by its sender until it is stored. What such a one sent before the first that comes here was stored by
        a hub before this one, and is not lost.
        """
        counts = self._of(radio)
        counts.packets += 1
        counts.records += records
        key = radio, source
        found = self._sources.get(key)
        if found is None:
            found = self._sources[key] = Sequence(number if is_kept else 1)
            if len(self._sources) > _MOST_SOURCES:
                del self._sources[next(iter(self._sources))]
        lost, late, doubled = found.lost, found.late, found.doubled
        is_fresh = found.take(number)
        counts.lost += found.lost - lost
        counts.late += found.late - late
        counts.doubled += found.doubled - doubled
        return is_fresh

    def refuse(self, radio: str, reason: str) -> None:
        """Count a message that was none."""
        self._of(radio).refused[reason] += 1

    def by_radio(self) -> dict[str, RadioCounts]:
        """A copy; it costs the same however many senders there are."""
        return {name: msgspec.structs.replace(one, refused=Counter(one.refused)) for name, one in self._radios.items()}

    def _of(self, radio: str) -> RadioCounts:
        return self._radios.setdefault(radio, RadioCounts())
