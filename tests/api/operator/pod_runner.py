"""Runs a block's pods as processes of this machine, where there is an API server and no kubelet.

Each pod of a namespace that the API server shows is started as a real manager with the key and settings of its Secret
and the environment of its manifest, and its status is kept as a kubelet would: Pending, Running, ended with a code;
on deletion SIGTERM, and the object goes when the process has. So everything but containers and nodes is real.
"""

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blockyard.kube.api import Api, ApiSettings, Object
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import POD, SECRET
from tests.machine import import_path

Fate = Callable[[Object], str]
"""What becomes of a pod: 'runs', 'waits' (stays Pending), or the exit code that it ends with at once."""


class PodRunner:
    """A thread; `with` it. `fate` may be changed at any time and counts for pods that are made from then on."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path) -> None:
        self.fate: Fate = lambda pod: "runs"
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._tending: dict[str, asyncio.Task[None]] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.problem: BaseException | None = None

    def __enter__(self) -> "PodRunner":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        self._thread.join(20)
        for process in self.started.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - told by the test, which waits in vain else
            self.problem = error
        finally:
            self._loop.run_until_complete(self._let_go())
            self._loop.close()

    async def _let_go(self) -> None:
        for task in self._tending.values():
            task.cancel()
        await asyncio.gather(*self._tending.values(), return_exceptions=True)

    async def _serve(self) -> None:
        self._task = asyncio.current_task()
        async with await Api.connect(ApiSettings(kubeconfig=str(self._kubeconfig))) as api:
            pods, version = await api.list(POD, self._namespace)
            for pod in pods:
                await self._see(api, pod)
            while True:
                async for kind, pod in api.watch(POD, self._namespace, version):
                    version = pod["metadata"]["resourceVersion"]
                    if kind in ("ADDED", "MODIFIED"):
                        await self._see(api, pod)

    async def _see(self, api: Api, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self._tending:
            self._tending[uid] = asyncio.ensure_future(self._tend(api, pod))
        elif "deletionTimestamp" in pod["metadata"]:
            process = self.started.get(uid)
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
            elif process is None:
                await self._remove(api, pod)

    async def _tend(self, api: Api, pod: Object) -> None:
        """One pod from start to end."""
        fate = self.fate(pod)
        if fate == "waits":
            return
        if fate != "runs":
            await self._write(api, pod, _ended(int(fate)))
            return
        process = self.started[pod["metadata"]["uid"]] = await self._start(api, pod)
        await self._write(api, pod, _running())
        while process.poll() is None:
            await asyncio.sleep(0.05)
        await self._write(api, pod, _ended(process.returncode if process.returncode >= 0 else 128 - process.returncode))
        with contextlib.suppress(ApiError):
            if "deletionTimestamp" in (await api.get(POD, self._namespace, pod["metadata"]["name"]))["metadata"]:
                await self._remove(api, pod)

    async def _start(self, api: Api, pod: Object) -> "subprocess.Popen[bytes]":
        folder = self._folder / pod["metadata"]["name"]
        folder.mkdir()
        (volume,) = (one for one in pod["spec"]["volumes"] if one["name"] == "blockyard-keys")
        secret = await api.get(SECRET, self._namespace, volume["secret"]["secretName"])
        for name, data in secret["data"].items():
            (folder / name).write_bytes(base64.b64decode(data))
            (folder / name).chmod(0o600)
        (worker,) = (one for one in pod["spec"]["containers"] if one["name"] == "worker")
        env = {
            one["name"]: one["value"]
            for one in worker["env"]
            if one["name"].startswith("BLOCKYARD_") and "value" in one
        }
        env |= {"BLOCKYARD_WORKER_SETTINGS": str(folder / "settings.json"), "BLOCKYARD_WORKER_NODE": "here"}
        env |= {"BLOCKYARD_WORKER_KEY_FILE": str(folder / "pool.key"), "PYTHONPATH": import_path()}
        if (folder / "radio.json").exists():
            env |= {"BLOCKYARD_WORKER_RADIO_FILE": str(folder / "radio.json")}
        with (folder / "log").open("ab") as log:
            argv = [sys.executable, "-m", "blockyard_worker", "--supervisor", str(os.getpid())]
            return subprocess.Popen(argv, env=os.environ | env, stdout=log, stderr=log)

    async def _write(self, api: Api, pod: Object, status: dict[str, Any]) -> None:
        with contextlib.suppress(ApiError):  # it may be gone
            await api.patch(POD, self._namespace, pod["metadata"]["name"], {"status": status}, "status")

    async def _remove(self, api: Api, pod: Object) -> None:
        await api.delete(POD, self._namespace, pod["metadata"]["name"], uid=pod["metadata"]["uid"], grace=0)


def _running() -> dict[str, Any]:
    state = {"running": {"startedAt": _now()}}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": _now()}
    return {"phase": "Running", "startTime": _now(), "conditions": [ready], "containerStatuses": [_container(state)]}


def _ended(code: int) -> dict[str, Any]:
    detail = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": _now(), "finishedAt": _now()}
    phase = "Failed" if code else "Succeeded"
    return {"phase": phase, "containerStatuses": [_container({"terminated": detail})]}


def _container(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "worker",
        "image": "x",
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
