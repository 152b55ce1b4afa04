"""From a URL to a store: ``memory:``, ``sqlite:///absolute/path``, ``postgresql://user@host/database``."""

from __future__ import annotations

from collections.abc import Iterator

from blockyard.errors import ConfigError
from blockyard_interchange.journal.check import JournalReport, entries_in, report_on
from blockyard_interchange.journal.memory import MemoryStore
from blockyard_interchange.journal.postgres import PostgresStore
from blockyard_interchange.journal.sqlite import SQLiteStore

DEFAULT_NAME = "default"


def open_store(url: str, *, name: str = DEFAULT_NAME) -> MemoryStore | SQLiteStore | PostgresStore:
    """Make the store that a URL names; it is not opened yet.

    What follows ``sqlite://`` is the path as it is, nothing in it is decoded. `name` tells the journals of one
    PostgreSQL database apart; the others are told apart by their URL.
    """
    scheme, _, rest = url.partition(":")
    match scheme:
        case "memory" if not rest:
            return MemoryStore()
        case "sqlite" if rest.startswith("///"):
            return SQLiteStore("/" + rest.lstrip("/"))
        case "postgresql" | "postgres" if rest.startswith("//"):
            return PostgresStore(url, name)
    raise ConfigError(
        f"journal: {scheme!r} does not begin a known journal URL. Use 'memory:', 'sqlite:///absolute/path' or "
        "'postgresql://user@host/database'"
    )


def check(url: str, *, name: str = DEFAULT_NAME) -> JournalReport:
    """Read a whole journal, in use or not, and report every fault in it. Changes nothing."""
    with open_store(url, name=name).survey() as survey:
        return report_on(survey)


def export(url: str, *, name: str = DEFAULT_NAME, skip_damaged: bool = False) -> Iterator[tuple[int, bytes]]:
    """Iterate over chunk number and bytes of each entry of a journal, in use or not; see `entries_in`."""
    with open_store(url, name=name).survey() as survey:
        yield from entries_in(survey, skip_damaged=skip_damaged)
