"""What can go wrong with a journal: one class per thing that a caller decides by.

The stores map the errors of SQLite, PostgreSQL and the file system to these at their edge and keep the original as
`__cause__`. Whether to retry, to stop or to take over is the caller's decision.
"""

from __future__ import annotations

from blockyard.errors import BlockyardError


class JournalError(BlockyardError):
    """Base of all errors of the journal."""


class JournalUnavailable(JournalError):
    """The journal cannot be reached or answered too late. Reopen it and commit again; whether the commit that failed
    was kept is known only after that (`Log.reopen` finds out).
    """


class JournalInUse(JournalUnavailable):
    """Another process is the writer of this journal; the message names it. Stop that one, or use another journal."""


class JournalFull(JournalError):
    """No space left. The commit changed nothing. Free space where the message says and commit again."""


class Fenced(JournalError):
    """Another interchange has become the writer of this journal. This one must stop: what it knows is out of date."""


class JournalVersion(JournalError):
    """The journal was written by another version of Blockyard. Use that version, or drain with it and start anew."""


class JournalDamaged(JournalError):
    """The journal does not hold what was written to it. Nothing was dropped or repaired.

    `where` is the file or the database, `chunk` the number of the chunk (None when it is not about one chunk), `fault`
    says what is wrong. Look at all of it with `blockyard journal check`, save what is readable with `journal export`.
    """

    def __init__(self, where: str, chunk: int | None, fault: str) -> None:
        super().__init__(where, chunk, fault)
        self.where = where
        self.chunk = chunk
        self.fault = fault

    def __str__(self) -> str:
        subject = f"journal {self.where}" if self.chunk is None else f"journal {self.where}, chunk {self.chunk}"
        return (
            f"{subject}: {self.fault}. Nothing was dropped; `blockyard journal check` lists every fault and "
            "`blockyard journal export` saves what is readable"
        )
