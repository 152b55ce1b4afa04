"""One line of history about a block, as monitoring stores it; made by executors, sent by whoever has a radio."""

from __future__ import annotations

import msgspec

from blockyard.blocks.states import JobId, JobState
from blockyard.ids import BlockId


class BlockInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The status of one block at one moment. `at` is UTC epoch seconds; the rest is as in `JobStatus`."""

    pool: str
    provider: str
    block: BlockId
    job: JobId | None
    at: float
    state: JobState
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    node: str = ""
