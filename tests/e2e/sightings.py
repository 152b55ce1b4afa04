"""What becomes of the pods of a namespace, and when: a watch in a thread, so that instants are those of the events."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

from blockyard.kube.api import Api, ApiSettings, Object
from blockyard.kube.kinds import POD


class Sightings:
    """`with` it; then `when` says at which instant of `time.monotonic` a pod was first seen to be so."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._settings = ApiSettings(kubeconfig=str(kubeconfig))
        self._namespace = namespace
        self._seen: list[tuple[float, Object]] = []
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._listed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sightings":
        self._thread.start()
        assert self._listed.wait(30), "no list of pods"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        self._thread.join(30)

    def when(self, holds: Callable[[Object], bool], seconds: float, *, since: float = 0.0) -> float:
        """The instant of the first event of a pod, after `since`, for which it holds; waits for one."""

        def found() -> float | None:
            return next((at for at, pod in self._seen if at > since and holds(pod)), None)

        with self._news:
            assert self._news.wait_for(lambda: found() is not None, seconds), f"not within {seconds} s"
            at = found()
        assert at is not None
        return at

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._watch())
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _watch(self) -> None:
        self._task = asyncio.current_task()
        async with await Api.connect(self._settings) as api:
            _, version = await api.list(POD, self._namespace)
            self._listed.set()
            while True:
                async for kind, pod in api.watch(POD, self._namespace, version):
                    version = pod["metadata"]["resourceVersion"]
                    if kind in ("ADDED", "MODIFIED"):
                        with self._news:
                            self._seen.append((time.monotonic(), pod))
                            self._news.notify_all()
