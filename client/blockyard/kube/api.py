"""Kubernetes' API: asynchronous, plain dictionaries in and out. The only module that imports the `kubernetes` package.

That package gives us configuration (kubeconfig with all its ways to authenticate, or the pod's own account) and the
connection; its models are left alone, since decoding a pod into one costs ten times what JSON does. Reads are repeated
after failures that pass; of writes only those that the server has said it did not carry out (429). What else fails is
an `ApiError` or `ApiUnreachable`, and the caller, who looks at the world again, decides.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from blockyard.kube.faults import ApiError, ApiUnreachable, Cause, NoCluster
from blockyard.kube.kinds import POD, Kind
from blockyard.kube.tunnel import PROTOCOL, Tunnel

Object: TypeAlias = dict[str, Any]
"""An object as the API has it."""

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json"
METADATA: Final = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"

_CLOSING_TURNS: Final = 5
_CLOSING_SECONDS: Final = 0.02
"""Until the caller may close the loop: connections, TLS and then TCP, are given up by its next turns."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to talk to the API. Times in seconds.

    `context`: of the kubeconfig, '' for its current one. `kubeconfig`: a file, '' for what KUBECONFIG says.
    `in_cluster`: True uses the pod's account, False a kubeconfig, None the first that there is. `in_flight`: requests
    at a time.
    `may_write` is called before each write and raises when this process must not write (any more).
    `on_request` is told verb, plural, HTTP code (0: no answer) and duration of each request.
    """

    context: str = ""
    kubeconfig: str = ""
    in_cluster: bool | None = None
    user_agent: str = "blockyard"
    read_timeout: float = 30.0
    write_timeout: float = 5.0
    in_flight: int = 64
    attempts: int = 5
    may_write: Callable[[], None] | None = None
    on_request: Callable[[str, str, int, float], None] | None = None


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Server and proof of identity, for those who open connections of their own. `token` is current, not for ever."""

    server: str
    ca_file: str | None = None
    insecure: bool = False
    certificate_file: str | None = None
    key_file: str | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(server={self.server!r})"


class Api:
    """A connection to one cluster. Make it with `connect`, in the loop that uses it; `async with` closes it."""

    def __init__(self, client: ApiClient, namespace: str, settings: ApiSettings) -> None:
        self._client = client
        self._settings = settings
        self._gate = asyncio.Semaphore(settings.in_flight)
        self.namespace = namespace
        """The namespace of the context, or of the pod."""

    @classmethod
    async def connect(cls, settings: ApiSettings | None = None) -> Api:
        """Read the configuration; nothing is asked yet. Raises NoCluster when there is none."""
        settings = settings or ApiSettings()
        configuration = Configuration()
        configuration.connection_pool_maxsize = settings.in_flight + 8  # watches keep theirs
        namespace = await _configure(configuration, settings)
        client = ApiClient(configuration)
        client.user_agent = settings.user_agent
        return cls(client, namespace, settings)

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()
        for _ in range(_CLOSING_TURNS):
            await asyncio.sleep(_CLOSING_SECONDS)

    async def credentials(self) -> Credentials:
        """What connections of others need; refreshed when they expire."""
        found = self._client.configuration
        header = (await found.auth_settings()).get("BearerToken")
        return Credentials(
            server=found.host,
            ca_file=found.ssl_ca_cert,
            insecure=not found.verify_ssl,
            certificate_file=found.cert_file,
            key_file=found.key_file,
            token=header["value"].rpartition(" ")[2] if header else None,
        )

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str | None, name: str, subresource: str = "") -> Object:
        """One object. Raises ApiError (`not_found`)."""
        return await self._read("get", kind, kind.path(namespace, name, subresource), {})

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        chunk: int = 500,
        metadata_only: bool = False,
    ) -> tuple[list[Object], str]:
        """All objects of a kind, or their metadata, fetched `chunk` at a time, and the version that the list is of."""
        items: list[Object] = []
        accept = METADATA if metadata_only else JSON
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(chunk)}
        while True:
            page = await self._read("list", kind, kind.path(namespace), query, accept)
            items += page.get("items") or []
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return items, meta.get("resourceVersion", "")
            query["continue"] = meta["continue"]

    async def watch(
        self, kind: Kind, namespace: str | None, version: str, *, labels: str = "", fields: str = "", timeout: int = 240
    ) -> AsyncIterator[tuple[str, Object]]:
        """Changes after `version`, as (ADDED, MODIFIED, DELETED or BOOKMARK, object), until the server ends the watch.

        Raises ApiError (`expired`) when `version` is too old: list again.
        """
        query = {"labelSelector": labels, "fieldSelector": fields, "watch": "true", "resourceVersion": version}
        query |= {"allowWatchBookmarks": "true", "timeoutSeconds": str(timeout)}
        asked = f"watch {kind.plural}"
        limit = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.read_timeout, sock_read=timeout + 10)
        try:
            response = await self._send("GET", kind.path(namespace), query, None, "", limit)
            async with response:
                if response.status >= 400:
                    raise _refusal(asked, response.status, await response.read())
                async for line in response.content:
                    event = _decode(line)
                    if event["type"] == "ERROR":
                        raise _refusal(asked, event["object"].get("code", 500), json.dumps(event["object"]).encode())
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(asked, _words(error)) from error

    async def logs(self, namespace: str, pod: str, container: str, *, tail_bytes: int = 4096, lines: int = 100) -> str:
        """The end of a container's log. Raises ApiError."""
        query = {"container": container, "limitBytes": str(tail_bytes), "tailLines": str(lines)}
        asked = f"log of pod {namespace}/{pod}"
        body = await self._request("log", POD, ("GET", POD.path(namespace, pod, "log"), query, None, ""), asked)
        return body.decode("utf-8", "replace")

    async def tunnel(self, namespace: str, pod: str, port: int) -> Tunnel:
        """Connect to a port of a pod. Raises ApiError, ApiUnreachable; whether anybody listens there shows later."""
        asked = f"connect to port {port} of pod {namespace}/{pod}"
        path = POD.path(namespace, pod, "portforward")
        headers = {"User-Agent": self._client.user_agent}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
        url = f"{self._client.configuration.host}{path}?ports={port}"
        try:
            socket = await asyncio.wait_for(
                self._session().ws_connect(url, headers=headers, protocols=(PROTOCOL,), max_msg_size=0, autoping=True),
                self._settings.read_timeout,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(asked, error.status, "", error.message) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(asked, _words(error)) from error
        return Tunnel(socket, asked)

    def _session(self) -> aiohttp.ClientSession:
        rest = self._client.rest_client
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()
        session: aiohttp.ClientSession = rest.pool_manager
        return session

    async def serves(self, kind: Kind) -> bool:
        """Whether the cluster has this kind in this version."""
        path = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        try:
            found = await self._read("discover", kind, path, {})
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return any(one.get("name") == kind.plural for one in found.get("resources") or ())

    # --- writing ----------------------------------------------------------------------------------------------------

    async def create(self, kind: Kind, manifest: Object, *, dry_run: bool = False) -> Object:
        """Make an object. Raises ApiError (`already_exists`).

        `dry_run`: only find out whether it could be made; unknown fields, which are dropped else, are refused then.
        """
        namespace = manifest["metadata"].get("namespace")
        query = {"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {}
        return await self._write("create", kind, ("POST", kind.path(namespace), query, manifest, ""))

    async def apply(self, kind: Kind, manifest: Object, *, manager: str, subresource: str = "") -> Object:
        """Server-side apply: `manager` owns exactly the fields of `manifest`, taking them from others if need be."""
        meta = manifest["metadata"]
        path = kind.path(meta.get("namespace"), meta["name"], subresource)
        query = {"fieldManager": manager, "force": "true"}
        body = {"apiVersion": kind.api_version, "kind": kind.name, **manifest}
        return await self._write("apply", kind, ("PATCH", path, query, body, APPLY))

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object, subresource: str = "") -> Object:
        """JSON merge patch; with metadata.uid or resourceVersion inside, only of that very object (`conflict`)."""
        path = kind.path(namespace, name, subresource)
        return await self._write("patch", kind, ("PATCH", path, {}, patch, MERGE))

    async def replace(self, kind: Kind, manifest: Object) -> Object:
        """Put an object in the place of the version that it names. Raises ApiError (`conflict`)."""
        meta = manifest["metadata"]
        return await self._write(
            "update", kind, ("PUT", kind.path(meta.get("namespace"), meta["name"]), {}, manifest, "")
        )

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str = "", grace: int | None = None
    ) -> bool:
        """Delete an object; dependants go in the background. False when it was gone, or is another one than `uid`."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._write("delete", kind, ("DELETE", kind.path(namespace, name), {}, options, ""))
        except ApiError as error:
            if error.not_found or (uid and error.conflict):
                return False
            raise
        return True

    # --- the wire ---------------------------------------------------------------------------------------------------

    async def _read(self, verb: str, kind: Kind, path: str, query: Mapping[str, str], accept: str = JSON) -> Object:
        asked = f"{verb} {path}"
        for attempt in range(1, self._settings.attempts):
            try:
                return _decode(await self._request(verb, kind, ("GET", path, query, None, accept), asked))
            except ApiUnreachable:
                await asyncio.sleep(_pause(attempt))
            except ApiError as error:
                if not error.transient:
                    raise
                await asyncio.sleep(_pause(attempt))
        return _decode(await self._request(verb, kind, ("GET", path, query, None, accept), asked))

    async def _write(self, verb: str, kind: Kind, call: tuple[str, str, Mapping[str, str], Object, str]) -> Object:
        asked = f"{verb} {call[1]}"
        for attempt in range(1, self._settings.attempts):
            try:
                return _decode(await self._request(verb, kind, call, asked))
            except ApiError as error:
                if error.code != 429:
                    raise
                await asyncio.sleep(_pause(attempt))
        return _decode(await self._request(verb, kind, call, asked))

    async def _request(
        self, verb: str, kind: Kind, call: tuple[str, str, Mapping[str, str], Object | None, str], asked: str
    ) -> bytes:
        method, path, query, body, content_type = call
        code, began = 0, time.monotonic()
        seconds = self._settings.read_timeout if method == "GET" else self._settings.write_timeout
        async with self._gate:
            if method != "GET" and self._settings.may_write is not None:
                self._settings.may_write()
            try:
                limit = aiohttp.ClientTimeout(total=seconds)
                async with await self._send(method, path, query, body, content_type, limit) as response:
                    code = response.status
                    answer = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise ApiUnreachable(asked, _words(error)) from error
            finally:
                if self._settings.on_request is not None:
                    self._settings.on_request(verb, kind.plural, code, time.monotonic() - began)
        if code >= 400:
            raise _refusal(asked, code, answer)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        content_type: str,
        limit: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        accept, written_as = (content_type or JSON, JSON) if method == "GET" else (JSON, content_type or JSON)
        headers = {"Accept": accept, "Content-Type": written_as}
        headers["User-Agent"] = self._client.user_agent
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        text = urlencode({key: value for key, value in query.items() if value})
        url = f"{self._client.configuration.host}{path}{'?' + text if text else ''}"
        answer = await self._client.call_api(method, url, headers, body, _request_timeout=limit)
        response: aiohttp.ClientResponse = answer.response
        return response


async def _configure(configuration: Configuration, settings: ApiSettings) -> str:
    """Fill in server and credentials; returns the namespace to use when none is named."""
    if settings.in_cluster is not False and not (settings.kubeconfig or settings.context):
        try:
            config.load_incluster_config(configuration)
            with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace") as file:
                return file.read().strip()
        except (config.ConfigException, OSError) as error:
            if settings.in_cluster:
                raise NoCluster(f"not inside a pod with an account: {error}") from error
    named = settings.kubeconfig or config.KUBE_CONFIG_DEFAULT_LOCATION
    if not any(Path(one).expanduser().exists() for one in named.split(os.pathsep) if one):
        raise NoCluster(
            f"no usable kubeconfig (there is no file {named!r}); set KUBECONFIG, or name a file or a context"
        )
    try:
        await config.load_kube_config(
            config_file=settings.kubeconfig or None,
            context=settings.context or None,
            client_configuration=configuration,
        )
        _, active = config.list_kube_config_contexts(settings.kubeconfig or None)
        if settings.context:
            contexts, _ = config.list_kube_config_contexts(settings.kubeconfig or None)
            active = next(one for one in contexts if one["name"] == settings.context)
    except (config.ConfigException, OSError) as error:
        raise NoCluster(f"no usable kubeconfig ({error}); set KUBECONFIG, or name a file or a context") from error
    return str(active["context"].get("namespace") or "default")


def _refusal(asked: str, code: int, answer: bytes) -> ApiError:
    """The server's `Status` as an error; what stands before it (a proxy) may answer with something else."""
    try:
        status = _decode(answer)
    except msgspec.DecodeError:
        return ApiError(asked, code, "", answer[:300].decode("utf-8", "replace"))
    details = status.get("details") or {}
    causes = tuple(Cause(one.get("field", ""), one.get("message", "")) for one in details.get("causes") or ())
    return ApiError(asked, code, status.get("reason", ""), status.get("message", ""), causes)


def _pause(attempt: int) -> float:
    return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**attempt) * random.uniform(0.5, 1.0))


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
