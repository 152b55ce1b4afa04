"""A release, what is broken in it while tasks run, and how often each of these ran."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future

from blockyard import Client, errors
from tests.cluster.access import OwnCluster
from tests.cluster.kubectl import Json
from tests.cluster.shell import CommandFailed
from tests.cluster.waiting import wait_until
from tests.e2e.release import Release

WITHIN = 300.0


TASK_SECONDS = 0.05


ONCE_IN = 20
"""Each so many-th task is one that must not run twice."""


class Ear:
    """Hears from tasks as they begin, by datagrams: how often each ran."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind((address, 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self.heard: Counter[int] = Counter()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while data := self._socket.recv(64):
            self.heard[int(data)] += 1

    def close(self) -> None:
        """Hear no more."""
        self._socket.sendto(b"", self.address)
        self._thread.join(10)
        self._socket.close()


class Chaos:
    """The release, its client, and the tasks so far."""

    def __init__(self, release: Release, cluster: OwnCluster, client: Client, ear: Ear, share: int) -> None:
        self.release = release
        self.cluster = cluster
        self.client = client
        self.ear = ear
        self.share = share
        self.submitted = 0
        self.besides = 0
        """Submitted outside of the shares; all of these end well."""
        self.not_repeated = 0

    def run(self, *words: str) -> str:
        """kubectl in the release's namespace."""
        return self.cluster.run(f"--namespace={self.release.namespace}", *words)

    def during(self, event: Callable[[], object], wait: Callable[[], object] = lambda: None) -> None:
        """Make an event happen once some of a share of tasks have ended; all end well, `wait` holds meanwhile."""
        where = self.ear.address

        def square(number: int, seconds: float) -> int:
            import socket

            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as voice:
                voice.sendto(str(number).encode(), where)
            time.sleep(seconds)
            return number * number

        first, self.submitted = self.submitted, self.submitted + self.share
        numbers = range(first, self.submitted)
        once = [number for number in numbers if number % ONCE_IN == 0]
        often = [number for number in numbers if number % ONCE_IN]
        futures = dict(zip(often, self.client.starmap(square, ((one, TASK_SECONDS) for one in often)), strict=True))
        careful = self.client.options(idempotent=False)
        futures |= {number: careful.submit(square, number, TASK_SECONDS) for number in once}
        futures[often[0]].result(timeout=WITHIN)
        assert not all(future.done() for future in futures.values()), "tasks are still running"
        event()
        wait()
        for number, future in futures.items():
            self._settle(number, future)

    def _settle(self, number: int, future: "Future[int]") -> None:
        try:
            assert future.result(timeout=WITHIN) == number * number
        except errors.TaskLost:
            assert number % ONCE_IN == 0, "only those that may not run twice end so"
            self.not_repeated += 1

    def pod(self, component: str) -> Json:
        """The one pod of a component."""
        (found,) = self.release.pods(f"app.kubernetes.io/component={component}")
        return found

    def blocks(self, **having: str) -> list[Json]:
        """WorkerBlocks of the pool whose jobStatus has these."""
        found = self.cluster.json(f"--namespace={self.release.namespace}", "get", "workerblocks")["items"]
        return [one for one in found if having.items() <= one.get("status", {}).get("jobStatus", {}).items()]

    def worker_pods(self, node: str | None = None) -> list[Json]:
        """Running pods of blocks, on one node or on all."""
        found = self.release.pods("blockyard.dev/pool=default")
        running = [one for one in found if one["status"]["phase"] == "Running"]
        return [one for one in running if node in (None, one["spec"]["nodeName"])]

    def wait(self, what: str, holds: Callable[[], object], seconds: float = WITHIN) -> float:
        """Wait until something is so; the seconds that took."""

        def amiss() -> str | None:
            try:
                return None if holds() else json.dumps(self.summary())
            except CommandFailed as error:  # a machine at its limits
                return str(error)

        return wait_until(what, amiss, seconds, 0.5)

    def summary(self) -> Json:
        """What a message of failure tells."""
        jobs = {one["metadata"]["name"]: one.get("status", {}).get("jobStatus") for one in self.blocks()}
        return {"blocks": jobs, "pool": self.release.pool("default").get("status")}

    def wait_named(self, **having: str) -> Json:
        """Wait until some block's jobStatus has these words; that jobStatus."""
        self.wait(f"a block with {having}", lambda: self.blocks(**having))
        return self.blocks(**having)[0]["status"]["jobStatus"]

    def wait_whole(self) -> None:
        """Wait until four blocks work, some on either node."""
        self.wait(
            "four blocks work",
            lambda: (
                self.release.pool("default")["status"]["blocks"]["ready"] == 4 and len(self.worker_pods("node1")) >= 1
            ),
        )

    def wait_killed(self, pod: Json) -> None:
        """Wait until a pod's status says that its container was killed, and it is ready again."""

        def told() -> bool:
            status = self.cluster.json(f"--namespace={self.release.namespace}", "get", "pod", pod["metadata"]["name"])[
                "status"
            ]["containerStatuses"][0]
            return bool(status["lastState"].get("terminated", {}).get("exitCode") == 137 and status["ready"])

        self.wait(f"{pod['metadata']['name']} was killed and is back", told)
