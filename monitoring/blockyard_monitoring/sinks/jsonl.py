"""The jsonl sink: a line for each record, in files that are rotated."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from blockyard.errors import ConfigError
from blockyard.radios import Arrival
from blockyard_monitoring.sinks.naming import line
from blockyard_monitoring.sinks.port import SinkUnavailable

_LEAST_BYTES: Final = 4096


class JsonlSink:
    """`path`: the file; older ones are called `path`.1, `path`.2, …, `keep` of them. `max_bytes`: of one."""

    must_not_miss = True

    def __init__(self, path: str, max_bytes: int = 64 * 1024 * 1024, keep: int = 4) -> None:
        if not path:
            raise ConfigError("sink 'jsonl': path is empty; give a file")
        if max_bytes < _LEAST_BYTES or keep < 0:
            raise ConfigError(f"sink 'jsonl': max_bytes={max_bytes}, keep={keep}; from {_LEAST_BYTES}, and from 0")
        self._path = Path(path).absolute()
        self._max_bytes, self._keep = max_bytes, keep
        self._file: IO[bytes] | None = None

    def start(self) -> None:
        """Open the file."""
        self._open()

    def write(self, batch: Sequence[Arrival]) -> None:
        """Append all records, and begin another file where one would have more than `max_bytes`.

        When the disk is full in the midst of a batch, it comes again: then its lines in files before are there twice.
        """
        lines = [
            line(record, at_us=arrival.packet.sent_us, source=arrival.packet.source, number=arrival.packet.number)
            for arrival in batch
            for record in arrival.packet.records
        ]
        try:
            size, fitting = self._open().tell(), 0
            for place, one in enumerate(lines):
                if size and size + len(one) >= self._max_bytes:
                    self._append(lines[fitting:place])
                    self._rotate()
                    size, fitting = 0, place
                size += len(one) + 1
            self._append(lines[fitting:])
        except OSError as error:
            raise SinkUnavailable(f"file {self._path}: {error.strerror}") from error

    def _append(self, lines: list[bytes]) -> None:
        file = self._open()
        before = file.tell()
        try:
            file.write(b"".join(one + b"\n" for one in lines))
            file.flush()
        except OSError:
            file.truncate(before)  # half a line would spoil the next
            raise

    def quarantine(self, arrival: Arrival, reason: str) -> None:
        """A line that says why, in a file beside."""
        aside = self._path.with_name(f"{self._path.name}.quarantine")
        with aside.open("a") as file:
            file.write(f"{arrival.packet.source} {arrival.packet.number}: {reason}: {arrival.packet!r}\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> IO[bytes]:
        if self._file is None:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = self._path.open("ab")
                self._path.chmod(0o600)
            except OSError as error:
                raise SinkUnavailable(f"file {self._path}: {error.strerror}") from error
        return self._file

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep, 0, -1):
            older = self._path if number == 1 else self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if not self._keep:
            self._path.unlink(missing_ok=True)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
