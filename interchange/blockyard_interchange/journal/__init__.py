"""The journal of the interchange: what survives its death.

`open_store` makes a store from a URL, `Log` writes and replays entries through it, `check` and `export` look at one
without touching it. What an entry means is the reactor's business; which class of durability a pool has, its settings'.
"""

from blockyard_interchange.journal.check import Fault, JournalReport
from blockyard_interchange.journal.errors import (
    Fenced,
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalInUse,
    JournalUnavailable,
    JournalVersion,
)
from blockyard_interchange.journal.log import Log
from blockyard_interchange.journal.memory import MemoryStore
from blockyard_interchange.journal.opening import check, export, open_store
from blockyard_interchange.journal.postgres import PostgresStore
from blockyard_interchange.journal.sqlite import SQLiteStore
from blockyard_interchange.journal.store import Store

__all__ = [
    "Fault",
    "Fenced",
    "JournalDamaged",
    "JournalError",
    "JournalFull",
    "JournalInUse",
    "JournalReport",
    "JournalUnavailable",
    "JournalVersion",
    "Log",
    "MemoryStore",
    "PostgresStore",
    "SQLiteStore",
    "Store",
    "check",
    "export",
    "open_store",
]
