"""What makes and ends blocks: the port, and the provider for programs that a channel can start.

A provider turns requests into jobs and tells how each job fares, as `JobStatus`; why a block is wanted, and what its
end means to the pool, is left to `ledger` and `executor`. Plug-ins: entry-point group `blockyard.providers`, suite
`suites.ProviderSuite`.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

from blockyard.blocks.channels import Channel, Program
from blockyard.blocks.exits import AskedToEnd, ChannelEvent, Started, status_of
from blockyard.blocks.faults import ChannelError, IllegalTransition, ProviderError
from blockyard.blocks.local_channel import LocalChannel
from blockyard.blocks.process_watch import Appointment
from blockyard.blocks.states import LOG_TAIL_BYTES, JobId, JobState, JobStatus, advance
from blockyard.blocks.strays import BLOCK_MARK, OWNER_MARK, Stray, end_strays
from blockyard.ids import BlockId

log = logging.getLogger(__name__)

STRAYS_GRACE: Final = 0.05
"""Seconds in which what was bound to a block's program may end by itself before it counts as a stray."""

STRAYS_TIMEOUT: Final = 0.5
"""Seconds to wait for the strays of one block to die: SIGKILL takes milliseconds, and a replacement is to be there
within a second."""


class BlockRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A block to make.

    `argv` is what starts it, the launcher's words included; `env` is set on top of what the provider's place gives
    every program. `nodes` is how many it spans. `walltime`: seconds after which the provider ends it as TIMEOUT; None:
    never. `binds_itself`: see `channels.Program`.
    """

    block: BlockId
    argv: tuple[str, ...]
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    nodes: int = 1
    walltime: float | None = None
    binds_itself: bool = False


OnChange: TypeAlias = Callable[[JobId, JobStatus], None]
"""Called when a job's status changed, from a thread of the provider; must not block."""


class Provider(Protocol):
    """The port of all providers.

    A job's reports follow the table in `states`: one end, and nothing after it. All methods may be called from any
    thread.
    """

    @property
    def label(self) -> str:
        """What people call it, in tables and messages."""
        ...

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two calls of `status`; 0: changes are pushed, `status` is never called."""
        ...

    def start(self, on_change: OnChange) -> None:
        """Begin to work; needed before all else. A provider without push keeps `on_change` for what it does see."""
        ...

    def submit(self, request: BlockRequest) -> JobId:
        """Ask for a block; does not wait for it to start. Raises ProviderError when it cannot be asked for."""
        ...

    def status(self, jobs: Sequence[JobId]) -> dict[JobId, JobStatus]:
        """Return the present status of each job; UNKNOWN, with a reason, for one that it does not know."""
        ...

    def cancel(self, jobs: Sequence[JobId]) -> dict[JobId, bool]:
        """Begin to end jobs: ask first, kill after a grace. False for a job that has ended or is not known.

        The end itself arrives like any other, as CANCELLED.
        """
        ...

    def forget(self, jobs: Iterable[JobId]) -> None:
        """Drop what is remembered of jobs that have ended."""
        ...

    def close(self) -> None:
        """End all jobs at once, report their ends, stop. May be called twice."""
        ...


class _Job:
    """A job of `LocalProvider`. `reap`: the appointment at which it is killed, once it was asked to end."""

    __slots__ = ("asked", "block", "reap", "status", "walltime")

    def __init__(self, block: BlockId, status: JobStatus) -> None:
        self.block = block
        self.status = status
        self.asked: AskedToEnd | None = None
        self.reap: Appointment | None = None
        self.walltime: Appointment | None = None

    def is_living(self) -> bool:
        return not self.status.terminal


class LocalProvider:
    """Blocks as programs that a channel starts: on this machine, or on one reached by ssh.

    `owner` marks everything that its blocks start, so that strays can be found (`strays`); choose one that the next
    start of the same supervisor uses again. `log_dir` holds one log for each block. `grace` is the time in seconds
    between SIGTERM and SIGKILL. Changes are pushed: `status_polling_interval` is 0 unless a caller wants to poll.
    """

    def __init__(
        self,
        *,
        owner: str,
        log_dir: Path,
        channel: Channel | None = None,
        label: str = "local",
        grace: float = 5.0,
        status_polling_interval: float = 0.0,
    ) -> None:
        if not owner or "\0" in owner:
            raise ProviderError(f"owner={owner!r}: give a name by which strays of these blocks can be found")
        self._owner = owner
        self._log_dir = log_dir
        self._channel = channel if channel is not None else LocalChannel()
        self._label = label
        self._grace = grace
        self._interval = status_polling_interval
        self._lock = threading.RLock()
        self._jobs: dict[JobId, _Job] = {}
        self._count = 0
        self._on_change: OnChange | None = None
        self._closed = False

    @property
    def label(self) -> str:
        return self._label

    @property
    def owner(self) -> str:
        """The mark that its blocks carry."""
        return self._owner

    @property
    def status_polling_interval(self) -> float:
        return self._interval

    def start(self, on_change: OnChange) -> None:
        if self._on_change is not None:
            raise ProviderError(f"provider {self._label} was started before; make one for each pool")
        self._on_change = on_change
        self._channel.open(self._happened)

    def submit(self, request: BlockRequest) -> JobId:
        with self._lock:
            if self._on_change is None or self._closed:
                raise ProviderError(f"provider {self._label} does not run: block {request.block} was not started")
            self._count += 1
            job = JobId(f"{request.block}.{self._count}")
            pending = JobStatus(state=JobState.PENDING, reason="Submitted", message=f"asked {self._channel.name}")
            self._jobs[job] = _Job(request.block, pending)
        program = Program(
            argv=request.argv,
            env={**request.env, BLOCK_MARK: request.block, OWNER_MARK: self._owner},
            log=self._log_dir / f"{job}.log",
            binds_itself=request.binds_itself,
        )
        try:
            self._channel.start(job, program)
        except (ChannelError, OSError) as error:
            self.forget([job])
            raise ProviderError(f"block {request.block} was not started by {self._label}: {error}") from error
        if request.walltime is not None:
            self._limit(job, request.walltime)
        return job

    def status(self, jobs: Sequence[JobId]) -> dict[JobId, JobStatus]:
        with self._lock:
            return {job: self._jobs[job].status if job in self._jobs else no_such_job(self._label, job) for job in jobs}

    def cancel(self, jobs: Sequence[JobId]) -> dict[JobId, bool]:
        return {job: self._ask_to_end(job, AskedToEnd.CANCEL) for job in jobs}

    def forget(self, jobs: Iterable[JobId]) -> None:
        with self._lock:
            ended = [job for job in jobs if job in self._jobs and not self._jobs[job].is_living()]
            for job in ended:
                del self._jobs[job]
        with contextlib.suppress(ChannelError):  # closed meanwhile: it remembers nothing any more
            for job in ended:
                self._channel.forget(job)

    def end_strays(self) -> list[Stray]:
        """End what an earlier supervisor of the same owner left behind here; the blocks of this one are spared."""
        with self._lock:
            living = {job.block for job in self._jobs.values() if job.is_living()}
        return end_strays(self._owner, spare=living)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for job in self._jobs.values():
                job.asked = job.asked or AskedToEnd.CANCEL
        self._channel.close()

    def _limit(self, job: JobId, walltime: float) -> None:
        with self._lock:
            record = self._jobs.get(job)
            if record is None or not record.is_living() or self._closed:
                return
            record.walltime = self._channel.later(walltime, lambda: self._out_of_time(job))

    def _out_of_time(self, job: JobId) -> None:
        self._ask_to_end(job, AskedToEnd.WALLTIME)

    def _ask_to_end(self, job: JobId, why: AskedToEnd) -> bool:
        with self._lock:
            record = self._jobs.get(job)
            if record is None or not record.is_living() or self._closed:
                return False
            if record.asked is not None:
                return True
            record.asked = why
        with contextlib.suppress(ChannelError):  # closed meanwhile: everything is being killed
            self._channel.signal(job, signal.SIGTERM)
        with self._lock:
            if record.is_living() and not self._closed:
                record.reap = self._channel.later(self._grace, lambda: self._channel.signal(job, signal.SIGKILL))
        return True

    def _happened(self, key: str, event: ChannelEvent) -> None:
        """Take an event from the channel's thread and push what it means."""
        job = JobId(key)
        with self._lock:
            record = self._jobs.get(job)
            if record is None:
                return
            asked = record.asked
        if isinstance(event, Started):
            new = status_of(event, asked)
        else:
            new = self._with_strays(status_of(event, asked, self._channel.tail(key, LOG_TAIL_BYTES)), record.block)
        with self._lock:
            try:
                record.status = advance(record.status, new)
            except IllegalTransition:
                log.exception("channel %s reported nonsense about job %s; ignored", self._channel.name, job)
                return
            if not record.is_living():
                for appointment in (record.reap, record.walltime):
                    if appointment is not None:
                        appointment.cancel()
            status, on_change = record.status, self._on_change
        if on_change is not None:
            on_change(job, status)

    def _with_strays(self, status: JobStatus, block: BlockId) -> JobStatus:
        """End what the block left behind here, and say so."""
        ended = end_strays(self._owner, blocks=(block,), grace=STRAYS_GRACE, timeout=STRAYS_TIMEOUT)
        if not ended:
            return status
        named = ", ".join(f"{stray.pid} ({stray.command[:60]})" for stray in ended[:3])
        return msgspec.structs.replace(
            status, message=f"{status.message}; ended {len(ended)} of its processes that outlived it: {named}"
        )


def no_such_job(label: str, job: JobId) -> JobStatus:
    """What the provider of this label says of a job that it does not know."""
    return JobStatus(state=JobState.UNKNOWN, reason="NoSuchJob", message=f"provider {label} knows no job {job!r}")
