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
                oldest = next(iter(self._sources))
                self._settle(self._of(oldest[0]), self._sources.pop(oldest))
        return found.take(number)

    def refuse(self, radio: str, reason: str) -> None:
        """Count a message that was none."""
        self._of(radio).refused[reason] += 1

    def by_radio(self) -> dict[str, RadioCounts]:
        """A copy, with what the numbers say."""
        found = {name: msgspec.structs.replace(one, refused=Counter(one.refused)) for name, one in self._radios.items()}
        for (radio, _), sequence in self._sources.items():
            self._settle(found[radio], sequence)
        return found

    def _of(self, radio: str) -> RadioCounts:
        return self._radios.setdefault(radio, RadioCounts())

    @staticmethod
    def _settle(counts: RadioCounts, sequence: Sequence) -> None:
        counts.lost += sequence.lost
        counts.late += sequence.late
        counts.doubled += sequence.doubled
