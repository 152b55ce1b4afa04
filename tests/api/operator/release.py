"""A release as processes: operators and an interchange at a real API server, started and ended by the test."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from blockyard import Client
from blockyard.kube.api import Api, ApiSettings
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import Kind
from tests.cluster.api_server import ApiServer
from tests.cluster.kubectl import Json
from tests.cluster.shell import CommandFailed
from tests.ports import free_port

WITHIN: Final = 60.0
IMAGE: Final = "blockyard/worker:test"


class Replica:
    """One operator process."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, port: int) -> None:
        self.process = process
        self.log = log
        self._port = port

    def get(self, path: str) -> tuple[int, str]:
        """Ask over HTTP; code 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10.0) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 without it."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    @property
    def leads(self) -> bool:
        return self.metric("blockyard_operator_leader") == 1

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(WITHIN)

    def said(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


class Release:
    """Namespace, endpoints, processes."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path) -> None:
        self.server = server
        self.namespace = namespace
        self.folder = folder
        self.kubeconfig = server.folder / "kubeconfig"
        self.clients, self.managers = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._open: list[Client] = []

    def operator(self, name: str = "operator-0", **settings: str) -> Replica:
        """Start a replica; keywords are its settings."""
        port = free_port()
        given = {
            "release": "b", "namespace": self.namespace, "pod": name, "namespaces": self.namespace,
            "clients_endpoint": self.clients, "managers_endpoint": self.managers, "worker_image": IMAGE,
            "listen": f"127.0.0.1:{port}", "kubeconfig": str(self.kubeconfig), **settings,
        }  # fmt: skip
        environment = {f"BLOCKYARD_OPERATOR_{key.upper()}": value for key, value in given.items()}
        log = self.folder / f"{name}-{len(self._processes)}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "blockyard_operator"], env=os.environ | environment, stdout=file, stderr=file
            )
        self._processes.append(process)
        return Replica(process, log, port)

    def interchange(self, *, monitoring: bool = False) -> "subprocess.Popen[bytes]":
        """Start an interchange with the keys that the operator makes, once they are there."""
        ring, state = self._keys(), self.folder / "state"
        state.mkdir(exist_ok=True)
        settings = {
            "folder": str(state), "keys": str(ring), "clients": self.clients, "managers": self.managers,
            "parent": os.getpid(),
            "core": {"pools": {}, "monitoring": monitoring},
        }  # fmt: skip
        return self._start("interchange", settings)

    def hub(self, operators: str, radios: dict[str, Any]) -> "subprocess.Popen[bytes]":
        """Start a hub beside the interchange, which writes `history.db`."""
        settings = {
            "folder": str(self.folder / "hub"), "keys": str(self._keys()), "parent": os.getpid(),
            "interchange": f"ipc://{self.folder}/state/hub.sock", "operators": operators, "radios": radios,
            "sinks": [{"kind": "sql", "settings": {"url": f"sqlite:///{self.folder}/history.db"}}],
        }  # fmt: skip
        return self._start("monitoring", settings)

    def _keys(self) -> Path:
        """The key ring, from the Secret that the operator makes."""
        secret = self.until("the keys are there", lambda: self.find("secret", "b-interchange-keys"))
        ring = self.folder / "keys"
        (ring / "allowed").mkdir(parents=True, exist_ok=True)
        for name, data in secret["data"].items():
            path = ring / "allowed" / name if name.endswith(".pub") else ring / name
            path.write_bytes(base64.b64decode(data))
            path.chmod(0o600)
        return ring

    def _start(self, name: str, settings: dict[str, Any]) -> "subprocess.Popen[bytes]":
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(settings))
        with (self.folder / f"{name}.log").open("ab") as file:
            process = subprocess.Popen([sys.executable, "-m", f"blockyard_{name}", str(path)], stdout=file, stderr=file)
        self._processes.append(process)
        return process

    def client(self) -> Client:
        """Connect as the Secret for clients says."""
        data = {key: base64.b64decode(text) for key, text in self.get("secret", "b-client")["data"].items()}
        key = self.folder / "client.key"
        key.write_bytes(data["client.key"])
        key.chmod(0o600)
        made = Client.connect(data["endpoint"].decode(), server_key=data["server_key"].decode(), client_key=key)
        self._open.append(made)
        return made

    # --- objects ----------------------------------------------------------------------------------------------------

    def get(self, *words: str) -> Json:
        """`kubectl get` as JSON."""
        return self.server.json("get", "--namespace", self.namespace, *words)

    def find(self, *words: str) -> Json:
        """The same; None when it is not there."""
        try:
            return self.get(*words)
        except CommandFailed as error:
            if "NotFound" in str(error) or "not found" in str(error):
                return None
            raise

    def apply(self, kind: str, name: str, **spec: Any) -> Json:
        """Apply a WorkerPool or WorkerBlock."""
        meta = {"name": name, "namespace": self.namespace}
        version = "blockyard.dev/v1alpha1"
        return self.server.apply({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec})

    def refusals(self, wanted: Iterable[tuple[Kind, Json]]) -> list[ApiError | None]:
        """Make each object as kubectl would, which refuses unknown fields; of each why not, None where it was made."""

        async def make(api: Api, kind: Kind, manifest: Json) -> ApiError | None:
            try:
                await api.create(kind, manifest, dry_run=True)
                await api.create(kind, manifest)
            except ApiError as error:
                if error.code not in (400, 422):
                    raise
                return error
            return None

        async def make_all() -> list[ApiError | None]:
            async with await Api.connect(ApiSettings(kubeconfig=str(self.kubeconfig))) as api:
                return await asyncio.gather(*(make(api, *each) for each in wanted))

        return asyncio.run(make_all())

    def patch(self, kind: str, name: str, **spec: Any) -> None:
        """Merge into a spec."""
        self.run("patch", kind, name, "--type=merge", "--patch", json.dumps({"spec": spec}))

    def run(self, *words: str, timeout: float = 60.0) -> str:
        """kubectl in the namespace."""
        return self.server.run("--namespace", self.namespace, *words, timeout=timeout)

    def completes(self, *names: str) -> None:
        """Wait for the ends of WorkflowRuns."""
        runs = [f"wfr/{name}" for name in names]
        self.run("wait", "--for=condition=Complete", *runs, "--timeout=120s", timeout=150.0)

    def blocks(self) -> dict[str, Json]:
        """WorkerBlocks by name."""
        return {one["metadata"]["name"]: one for one in self.get("wb")["items"]}

    def pods(self) -> dict[str, Json]:
        """Pods by name."""
        return {one["metadata"]["name"]: one for one in self.get("pods")["items"]}

    def condition(self, pool: str, kind: str) -> tuple[str, str, str]:
        """Status, reason and message of a pool's condition; of one that is not there, empty."""
        found = self.get("wp", pool).get("status", {}).get("conditions", [])
        return next(
            ((one["status"], one["reason"], one["message"]) for one in found if one["type"] == kind), ("", "", "")
        )

    def until(
        self, what: str, look: Callable[[], Any], holds: Callable[[Any], bool] = bool, within: float = WITHIN
    ) -> Any:
        """Look again and again until it holds; what was seen then. Says what was last seen when it does not."""
        deadline = time.monotonic() + within
        while True:
            seen = look()
            if holds(seen):
                return seen
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {within:g} s: {what}; last seen: {json.dumps(seen, default=str)[:3000]}"
                )
            time.sleep(0.1)

    def close(self) -> None:
        """End everything."""
        for client in self._open:
            client.shutdown(wait=False, cancel_futures=True)
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def released(server: ApiServer, namespace: str, folder: Path) -> Iterator[Release]:
    """A release whose processes are gone when the block ends."""
    made = Release(server, namespace, folder)
    try:
        yield made
    finally:
        made.close()


def state_of(block: Json) -> str:
    """A block's state, '' while the operator has not looked at it."""
    return str(block.get("status", {}).get("jobStatus", {}).get("state", ""))
