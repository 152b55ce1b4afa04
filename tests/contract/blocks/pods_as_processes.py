"""An API server as far as `KubernetesProvider` uses one, whose pods are processes of this machine.

Statuses follow a kubelet's: Pending, Running, ended with a code; on deletion SIGTERM, after the grace SIGKILL, and the
object goes when the process has. That a real cluster does the same is shown by `tests/e2e/test_kubernetes_provider.py`;
this one needs no root, and its watches can be broken at will.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

Object = dict[str, Any]
NAMESPACE = "science"


class PodsAsProcesses:
    """The server, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.pods: dict[str, Object] = {}
        self.services: dict[str, Object] = {}
        self.watches = 0
        self._forgotten = 0
        """Up to this version, changes can't be asked for any more."""
        self._folder = folder
        self._versions = itertools.count(1)
        self._events: list[tuple[int, str, Object]] = []
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._streams: set[web.StreamResponse] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._happened = asyncio.Condition()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)

    def kubeconfig(self) -> str:
        """A file that leads here."""
        path = self._folder / "kubeconfig"
        here = {"server": f"http://127.0.0.1:{self.port}"}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "clusters": [{"name": "here", "cluster": here}],
                    "users": [{"name": "me", "user": {}}],
                    "contexts": [
                        {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": NAMESPACE}}
                    ],
                }
            )
        )
        return str(path)

    def break_watches(self, *, forget: bool = False) -> None:
        """End all watches; `forget`: what happened before can't be asked for any more."""
        asyncio.run_coroutine_threadsafe(self._break(forget=forget), self._loop).result(30)

    def remove(self, pod: str) -> None:
        """Take a pod away without a word to the kubelet, as a forced deletion does."""
        asyncio.run_coroutine_threadsafe(self._gone(pod), self._loop).result(30)

    def close(self) -> None:
        """End everything."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> int:
        app = web.Application()
        root = f"/api/v1/namespaces/{NAMESPACE}"
        app.router.add_post(root + "/pods", self._create)
        app.router.add_get(root + "/pods", self._list_or_watch)
        app.router.add_delete(root + "/pods/{name}", self._delete)
        app.router.add_get(root + "/pods/{name}/log", self._log)
        app.router.add_post(root + "/services", self._create_service)
        app.router.add_get(root + "/services", self._list_services)
        app.router.add_delete(root + "/services/{name}", self._delete_service)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._end_streams()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()

    async def _break(self, *, forget: bool) -> None:
        while not self._streams:
            await asyncio.sleep(0.01)
        if forget:
            self._forgotten = next(self._versions)
        self._end_streams()

    def _end_streams(self) -> None:
        for stream in list(self._streams):
            if stream._req is not None and stream._req.transport is not None:
                stream._req.transport.close()

    async def _tell(self, kind: str, pod: Object) -> None:
        version = next(self._versions)
        pod["metadata"]["resourceVersion"] = str(version)
        self._events.append((version, kind, json.loads(json.dumps(pod))))
        async with self._happened:
            self._happened.notify_all()

    async def _gone(self, name: str) -> None:
        pod = self.pods.pop(name, None)
        if pod is not None:
            await self._tell("DELETED", pod)

    async def _create(self, request: web.Request) -> web.Response:
        pod: Object = await request.json()
        name = pod["metadata"]["name"]
        if name in self.pods:
            return web.json_response({"reason": "AlreadyExists", "message": name, "code": 409}, status=409)
        pod["metadata"] |= {"uid": name, "creationTimestamp": _now()}
        pod["status"] = {"phase": "Pending"}
        self.pods[name] = pod
        await self._tell("ADDED", pod)
        task = asyncio.ensure_future(self._live(name, pod))
        self._tasks.add(task)
        return web.json_response(pod, status=201)

    async def _live(self, name: str, pod: Object) -> None:
        (worker,) = pod["spec"]["containers"]
        env = {one["name"]: _expanded(one["value"]) for one in worker["env"] if "value" in one}
        argv = [_expanded(word) for word in worker["command"]]
        began = _now()
        with (self._folder / f"{name}.log").open("ab") as log:
            try:
                process = self._processes[name] = await asyncio.create_subprocess_exec(
                    *argv, env=os.environ | env, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as error:
                told = {"exitCode": 128, "reason": "StartError", "message": f"exec {argv[0]!r}: {error}"}
                await self._set(pod, "Failed", {"terminated": told | {"startedAt": began, "finishedAt": _now()}})
                return
        await self._set(pod, "Running", {"running": {"startedAt": began}})
        code = await process.wait()
        code = code if code >= 0 else 128 - code
        told = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": began, "finishedAt": _now()}
        await self._set(pod, "Failed" if code else "Succeeded", {"terminated": told})
        if "deletionTimestamp" in pod["metadata"]:
            await self._gone(name)

    async def _set(self, pod: Object, phase: str, state: Object) -> None:
        pod["status"] = {"phase": phase, "containerStatuses": [{"name": "worker", "state": state}]}
        if pod["metadata"]["name"] in self.pods:
            await self._tell("MODIFIED", pod)

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        pod = self.pods.get(name)
        if pod is None:
            return web.json_response({"reason": "NotFound", "message": name, "code": 404}, status=404)
        grace = (await request.json()).get("gracePeriodSeconds", 30)
        process = self._processes.get(name)
        if process is None or process.returncode is not None:
            await self._gone(name)
        elif "deletionTimestamp" not in pod["metadata"]:
            pod["metadata"]["deletionTimestamp"] = _now(grace)
            await self._tell("MODIFIED", pod)
            os.kill(process.pid, signal.SIGTERM)
            self._loop.call_later(grace, self._kill, process)
        return web.json_response({})

    @staticmethod
    def _kill(process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    async def _list_or_watch(self, request: web.Request) -> web.StreamResponse:
        key, _, value = request.query["labelSelector"].partition("=")

        def chosen(pod: Object) -> bool:
            return bool(pod["metadata"]["labels"].get(key) == value)

        if request.query.get("watch") != "true":
            items = [pod for pod in self.pods.values() if chosen(pod)]
            return web.json_response({"items": items, "metadata": {"resourceVersion": str(next(self._versions))}})
        self.watches += 1
        after = int(request.query["resourceVersion"])
        if after < self._forgotten:
            return web.json_response({"reason": "Expired", "message": "too old", "code": 410}, status=410)
        stream = web.StreamResponse()
        await stream.prepare(request)
        self._streams.add(stream)
        try:
            while True:
                fresh = [event for event in self._events if event[0] > after]
                for after, kind, pod in fresh:  # noqa: B007 - the last one seen is where the next look begins
                    if chosen(pod):
                        await stream.write(json.dumps({"type": kind, "object": pod}).encode() + b"\n")
                async with self._happened:
                    if not any(version > after for version, _, _ in self._events):
                        await self._happened.wait()
        except ConnectionResetError:
            return stream
        finally:
            self._streams.discard(stream)

    async def _log(self, request: web.Request) -> web.Response:
        path = self._folder / f"{request.match_info['name']}.log"
        return web.Response(body=path.read_bytes()[-int(request.query["limitBytes"]) :])

    async def _create_service(self, request: web.Request) -> web.Response:
        service: Object = await request.json()
        self.services[service["metadata"]["name"]] = service
        return web.json_response(service, status=201)

    async def _list_services(self, _: web.Request) -> web.Response:
        return web.json_response({"items": list(self.services.values()), "metadata": {}})

    async def _delete_service(self, request: web.Request) -> web.Response:
        if self.services.pop(request.match_info["name"], None) is None:
            return web.json_response({"reason": "NotFound", "message": "", "code": 404}, status=404)
        return web.json_response({})


def _expanded(text: str) -> str:
    """As Kubernetes does it, where no variable is named."""
    assert "$(" not in text.replace("$$", "")
    return text.replace("$$", "$")


def _now(later: float = 0.0) -> str:
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + later, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
