"""A sink that writes how tries ended into a CSV file, for a spreadsheet."""

import csv
from collections.abc import Sequence
from pathlib import Path

from blockyard.ids import TaskId, task_name
from blockyard.radios import Arrival
from blockyard.wire.monitoring import Tries
from blockyard_monitoring.sinks.port import SinkUnavailable


class CsvSink:
    """`path`: the file, which is added to."""

    must_not_miss = True

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def start(self) -> None:
        """See whether it can be written."""
        self._append([])

    def write(self, batch: Sequence[Arrival]) -> None:
        """A line for each try that ended."""
        self._append(
            [
                [record.pool, record.node, task_name(TaskId(one.task)), one.state.name, one.ran_us / 1e6, one.kind]
                for arrival in batch
                for record in arrival.packet.records
                if isinstance(record, Tries)
                for one in record.tries
                if one.state >= 0
            ]
        )

    def quarantine(self, arrival: Arrival, reason: str) -> None:
        """A line that says why."""
        self._append([["", "", "", "QUARANTINED", 0.0, reason]])

    def close(self) -> None:
        """Nothing is kept open."""

    def _append(self, rows: list[list[object]]) -> None:
        try:
            with self._path.open("a", newline="") as file:
                csv.writer(file).writerows(rows)
        except OSError as error:
            raise SinkUnavailable(f"file {self._path}: {error.strerror}") from error
