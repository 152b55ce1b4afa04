"""What is in the journal of a system that has stopped."""

from collections import Counter
from pathlib import Path

from blockyard_interchange.core import entries
from blockyard_interchange.journal.log import Log
from blockyard_interchange.journal.opening import open_store


def times_recorded(folder: Path, url: str = "") -> Counter[int]:
    """For each task how many outcomes the journal holds; copies that compaction made are not counted.

    `url`: of the journal, when it is another than SQLite in the state folder.
    """
    log = Log(open_store(url or f"sqlite:///{folder}/journal.db"))
    log.open()
    try:
        recorded: Counter[int] = Counter()
        for entry in (entries.decode(raw) for raw in log.replay()):
            if isinstance(entry, entries.Ended) and not entry.copy:
                recorded.update(outcome.task for outcome in entry.outcomes)
        return recorded
    finally:
        log.close()
