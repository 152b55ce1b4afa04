"""Blocks as pods, made by a program outside of the operator through a kubeconfig.

A thread of its own speaks to the API server: one watch for all pods of this provider, changes pushed as they come. What
a pod's state means is `evidence`'s, how one is made `outside`'s. A block's `argv` runs in each of its pods, so the
launcher for several nodes is `single`.

Needs the extra ``blockyard[kubernetes]``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import secrets
import threading
import time
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import Any, Final, TypeVar

import msgspec

from blockyard.blocks.exits import AskedToEnd
from blockyard.blocks.faults import IllegalTransition, ProviderError
from blockyard.blocks.provider import BlockRequest, OnChange, no_such_job
from blockyard.blocks.states import LOG_TAIL_BYTES, JobId, JobState, JobStatus, advance
from blockyard.errors import BlockyardError
from blockyard.kube import manifest
from blockyard.kube.api import Api, ApiSettings, Object
from blockyard.kube.faults import ApiError, ApiUnreachable
from blockyard.kube.gangs import state_of
from blockyard.kube.kinds import POD, SERVICE
from blockyard.kube.loop_thread import LoopThread
from blockyard.kube.outside import OWNER_LABEL, Pods, base_name, outside, pod_set
from blockyard.kube.pods import Pod, read_pod

log = logging.getLogger(__name__)

T = TypeVar("T")

_START_SECONDS: Final = 30.0
_ORDER_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 30.0
"""For the ends of what was ended at `close`; what has not been seen to end by then is reported as it was asked for."""
_REWATCH_SECONDS: Final = 1.0


class _Job:
    """A block of this provider."""

    __slots__ = ("asked", "nodes", "pods", "status", "walltime")

    def __init__(self, nodes: int, walltime: float | None) -> None:
        self.nodes = nodes
        self.walltime = walltime
        self.status = JobStatus(state=JobState.PENDING, reason="Submitted", message="its pods are being made")
        self.asked: AskedToEnd | None = None
        self.pods: dict[str, Pod] = {}
        """By name, as they were seen last."""


class KubernetesProvider:
    """The provider. `owner` marks its pods, so that `end_strays` finds what an earlier program of that name left."""

    def __init__(
        self,
        pods: Pods,
        *,
        owner: str,
        api: ApiSettings | None = None,
        pool: str = "outside",
        label: str = "kubernetes",
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", owner):
            raise ProviderError(f"owner={owner!r}: it becomes a label, of at most 63 letters, digits, '-', '_' and '.'")
        self._pods = pods
        self._owner = owner
        self._pool = pool
        self._label = label
        self._settings = api or ApiSettings(user_agent="blockyard-provider")
        self._lock = threading.RLock()
        self._jobs: dict[JobId, _Job] = {}
        self._job_of: dict[str, JobId] = {}
        """By the names of pods. Those of an earlier program of the same owner are not here."""
        self._nonce = secrets.token_hex(3)
        self._count = 0
        self._on_change: OnChange | None = None
        self._closed = False
        self._thread = LoopThread(f"blockyard-{label}", self._serve)
        self._api: Api | None = None
        self._namespace = pods.namespace
        self._seen = asyncio.Condition()

    @property
    def label(self) -> str:
        return self._label

    @property
    def status_polling_interval(self) -> float:
        return 0.0

    def start(self, on_change: OnChange) -> None:
        """See `Provider.start`. Raises ProviderError when there is no cluster, or it does not answer."""
        if self._on_change is not None:
            raise ProviderError(f"provider {self._label} was started before; make one for each pool")
        self._on_change = on_change
        try:
            self._thread.start(_START_SECONDS)
        except TooLate as error:
            self.close()
            raise ProviderError(f"provider {self._label} cannot start: no answer") from error
        except BlockyardError as error:
            self._thread.end()
            self._closed = True
            raise ProviderError(f"provider {self._label} cannot start: {error}") from error

    def submit(self, request: BlockRequest) -> JobId:
        with self._lock:
            if self._on_change is None or self._closed:
                raise ProviderError(f"provider {self._label} does not run: block {request.block} was not started")
            self._count += 1
            job = JobId(f"{request.block}.{self._count}")
            self._jobs[job] = _Job(request.nodes, request.walltime)
            self._job_of.update(dict.fromkeys(self._names_of(job, request.nodes), job))
        try:
            self._do(self._make(job, request))
        except (BlockyardError, TooLate) as error:
            self._drop(job)
            raise ProviderError(f"block {request.block} was not started by {self._label}: {error}") from error
        return job

    def status(self, jobs: Sequence[JobId]) -> dict[JobId, JobStatus]:
        with self._lock:
            return {job: self._jobs[job].status if job in self._jobs else no_such_job(self._label, job) for job in jobs}

    def cancel(self, jobs: Sequence[JobId]) -> dict[JobId, bool]:
        return {job: self._ask_to_end(job, AskedToEnd.CANCEL) for job in jobs}

    def forget(self, jobs: Iterable[JobId]) -> None:
        with self._lock:
            ended = [job for job in jobs if job in self._jobs and self._jobs[job].status.terminal]
        for job in ended:
            self._drop(job)

    def end_strays(self) -> list[str]:
        """Delete pods that an earlier program of the same owner left; returns their names. Raises ProviderError."""
        try:
            return self._do(self._delete_strays())
        except (BlockyardError, TooLate) as error:
            raise ProviderError(f"pods of owner {self._owner!r} could not be ended: {error}") from error

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            living = [job for job, record in self._jobs.items() if not record.status.terminal]
            for job in living:
                self._jobs[job].asked = self._jobs[job].asked or AskedToEnd.CANCEL
        if self._thread.is_alive():
            with contextlib.suppress(TooLate, BlockyardError):
                self._do(self._end_all(living), _CLOSE_SECONDS + _ORDER_SECONDS)
            self._thread.end()
        for job in living:
            self._take(job, JobStatus(state=JobState.CANCELLED, reason="Closed", message="ended with its provider"))

    # ------------------------------------------------------------------ in the callers' threads

    def _drop(self, job: JobId) -> None:
        with self._lock:
            for name in self._names_of(job, self._jobs.pop(job).nodes):
                del self._job_of[name]

    def _do(self, work: Coroutine[Any, Any, T], seconds: float = _ORDER_SECONDS) -> T:
        return self._begin(work).result(seconds)

    def _begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            return self._thread.begin(work)
        except RuntimeError as error:
            raise ProviderError(f"provider {self._label} does not run") from error

    def _ask_to_end(self, job: JobId, why: AskedToEnd) -> bool:
        with self._lock:
            record = self._jobs.get(job)
            if record is None or record.status.terminal or self._closed:
                return False
            if record.asked is not None:
                return True
            record.asked = why
        self._begin(self._delete(job, math.ceil(self._pods.grace)))
        return True

    # ------------------------------------------------------------------ in the provider's thread

    async def _serve(self) -> None:
        async with await Api.connect(self._settings) as api:
            self._api = api
            self._namespace = self._namespace or api.namespace
            await self._list(api)
            self._thread.ready()
            watching = asyncio.create_task(self._watch(api))
            await self._thread.ending.wait()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    @property
    def _selector(self) -> str:
        return f"{OWNER_LABEL}={self._owner}"

    async def _list(self, api: Api) -> str:
        """Take in all pods as they are, and those that are gone; returns the version to watch from."""
        items, version = await api.list(POD, self._namespace, labels=self._selector)
        present = {item["metadata"]["name"] for item in items}
        for item in items:
            await self._on_pod(item, gone=False)
        with self._lock:
            lost = [
                (job, pod)
                for job, record in self._jobs.items()
                for pod in record.pods.values()
                if pod.name not in present and not record.status.terminal
            ]
        for job, pod in lost:
            await self._on_change_of(job, msgspec.structs.replace(pod, gone=True))
        return version

    async def _watch(self, api: Api) -> None:
        version = ""
        while True:
            try:
                version = version or await self._list(api)
                async for kind, item in api.watch(POD, self._namespace, version, labels=self._selector):
                    version = item["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        await self._on_pod(item, gone=kind == "DELETED")
            except (ApiError, ApiUnreachable) as error:
                log.warning("provider %s: %s; looking again", self._label, error)
                version = ""
                await asyncio.sleep(_REWATCH_SECONDS)

    async def _on_pod(self, item: Object, *, gone: bool) -> None:
        with self._lock:
            job = self._job_of.get(item["metadata"]["name"])
        if job is not None:
            await self._on_change_of(job, msgspec.structs.replace(read_pod(item), gone=gone))

    async def _on_change_of(self, job: JobId, pod: Pod) -> None:
        with self._lock:
            record = self._jobs.get(job)
            if record is None:
                return
            record.pods[pod.name] = pod
            pods = list(record.pods.values()) if len(record.pods) >= record.nodes else [pod]
            was_running = record.status.state is JobState.RUNNING
        speaker, status = state_of(pods, record.nodes, time.time())
        if status.terminal and not record.status.terminal:
            status = msgspec.structs.replace(_own(status, record.asked), log_tail=await self._tail(speaker))
            await self._delete(job, 0 if pod.gone else math.ceil(self._pods.grace))
        self._take(job, status)
        if record.walltime is not None and status.state is JobState.RUNNING and not was_running:
            asyncio.get_running_loop().call_later(record.walltime, self._ask_to_end, job, AskedToEnd.WALLTIME)
        async with self._seen:
            self._seen.notify_all()

    def _take(self, job: JobId, new: JobStatus) -> None:
        with self._lock:
            record = self._jobs.get(job)
            if record is None or record.status.terminal:
                return
            try:
                status = advance(record.status, new)
            except IllegalTransition:
                log.debug("pods of job %s say %s after %s; ignored", job, new.state, record.status.state)
                return
            if status == record.status:
                return
            record.status, on_change = status, self._on_change
        if on_change is not None:
            on_change(job, status)

    async def _tail(self, pod: Pod) -> str:
        """The end of the block's log; '' when there is none any more."""
        if self._api is None or pod.gone:
            return ""
        try:
            return await self._api.logs(self._namespace, pod.name, manifest.WORKER, tail_bytes=LOG_TAIL_BYTES)
        except (ApiError, ApiUnreachable) as error:
            log.debug("no log of pod %s: %s", pod.name, error)
            return ""

    async def _make(self, job: JobId, request: BlockRequest) -> None:
        api = self._connected()
        block = pod_set(
            self._pods,
            request,
            name=self._name_of(job),
            namespace=self._namespace,
            pool=self._pool,
            owner=self._owner,
        )
        if request.nodes > 1:
            await api.create(SERVICE, outside(manifest.service(block)))
        try:
            for index in range(request.nodes):
                await api.create(POD, outside(manifest.pod(block, index)))
        except BlockyardError:
            await self._delete(job, 0)
            raise

    def _name_of(self, job: JobId) -> str:
        return base_name(job, self._nonce)

    def _names_of(self, job: JobId, nodes: int) -> list[str]:
        return [manifest.pod_name(self._name_of(job), index) for index in range(nodes)]

    async def _delete(self, job: JobId, grace: int) -> None:
        """Begin to end a job's pods; those that have ended, too."""
        api = self._connected()
        with self._lock:
            record = self._jobs.get(job)
        if record is None:
            return
        try:
            for pod in self._names_of(job, record.nodes):
                await api.delete(POD, self._namespace, pod, grace=grace)
            if record.nodes > 1:
                await api.delete(SERVICE, self._namespace, self._name_of(job))
        except (ApiError, ApiUnreachable) as error:
            log.warning("pods of job %s could not be deleted: %s", job, error)

    async def _end_all(self, jobs: list[JobId]) -> None:
        """Delete the pods of these jobs at once, and wait for their ends."""
        await asyncio.gather(*(self._delete(job, 1) for job in jobs))

        def ended() -> bool:
            with self._lock:
                return all(self._jobs[job].status.terminal for job in jobs if job in self._jobs)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS), self._seen:
                await self._seen.wait_for(ended)

    async def _delete_strays(self) -> list[str]:
        api = self._connected()
        with self._lock:
            own = set(self._job_of) | {self._name_of(job) for job in self._jobs}
        deleted = []
        for kind in (POD, SERVICE):
            items, _ = await api.list(kind, self._namespace, labels=self._selector)
            for name in (item["metadata"]["name"] for item in items):
                if name not in own:
                    await api.delete(kind, self._namespace, name, grace=math.ceil(self._pods.grace))
                    deleted.append(name)
        return deleted

    def _connected(self) -> Api:
        if self._api is None:
            raise ProviderError(f"provider {self._label} is not connected")
        return self._api


def _own(end: JobStatus, asked: AskedToEnd | None) -> JobStatus:
    """An end that we brought about ourselves."""
    said = f"{end.state}: {end.message}" if end.message else str(end.state)
    match asked:
        case AskedToEnd.CANCEL:
            return msgspec.structs.replace(
                end, state=JobState.CANCELLED, reason="Cancelled", message=f"ended on request ({said})"
            )
        case AskedToEnd.WALLTIME:
            return msgspec.structs.replace(
                end, state=JobState.TIMEOUT, reason="Walltime", message=f"reached its walltime ({said})"
            )
        case None:
            return end


__all__ = ["KubernetesProvider", "Pods"]
