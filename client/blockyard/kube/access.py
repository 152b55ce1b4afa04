"""How a program finds and reaches the interchange of a cluster: the client's Secret, and a port-forward from outside.

Inside the cluster the Secret's endpoint is used as it is.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from blockyard.errors import BadKey, BrokenBlockyard, ConfigError, UnknownPool
from blockyard.kube.api import Api, ApiSettings
from blockyard.kube.faults import ApiError, ApiUnreachable, NoCluster
from blockyard.kube.forward import Forward
from blockyard.kube.kinds import POOL, SECRET
from blockyard.kube.places import address_of
from blockyard.lifetime import abandon
from blockyard.remote import RemoteEngine, RemoteSettings
from blockyard.session import LinkSettings
from blockyard.transport import KeyPair
from blockyard.wire import control

T = TypeVar("T")
DEFAULT_RELEASE: Final = "blockyard"
_POOL_SECONDS: Final = 0.1
"""How often the interchange is asked whether it knows a pool by now."""
_FIELDS: Final = ("endpoint", "server_key", "client.key")


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which release of which cluster, and as whom.

    `namespace`: of the pools; '' for the context's, or the pod's, own. `release`: name of the release, or
    'NAMESPACE/NAME' where it is in another namespace than the pools and than one of its own name. `client`: a further
    one of the release's, '' for the default one. `context`, `kubeconfig`: as in `ApiSettings`.
    """

    namespace: str = ""
    release: str = DEFAULT_RELEASE
    client: str = ""
    context: str = ""
    kubeconfig: str = ""

    @property
    def api(self) -> ApiSettings:
        """How to talk to the cluster's API."""
        return ApiSettings(context=self.context, kubeconfig=self.kubeconfig, user_agent="blockyard-client")


class Access(NamedTuple):
    """What a link needs. `namespace`: of the pools. `forward`: to be stopped after the link; None in the cluster."""

    link: LinkSettings
    namespace: str
    forward: Forward | None


class _Found(NamedTuple):
    namespace: str
    """Of the pools."""
    home: str
    """Of the release."""
    endpoint: str
    server_key: bytes
    keys: KeyPair


def open_access(where: Where) -> Access:
    """Read the client's Secret, and open a port-forward where it is needed.

    Raises NoCluster, ApiError, ApiUnreachable; ConfigError and BadKey naming the Secret.
    """
    found = _in_a_thread(_find(where))
    if is_inside() and not (where.context or where.kubeconfig):
        return Access(_link(where, found, found.endpoint), found.namespace, None)
    forward = Forward(where.api, address_of(found.endpoint, found.home))
    forward.start()
    return Access(_link(where, found, forward.endpoint), found.namespace, forward)


def _link(where: Where, found: _Found, endpoint: str) -> LinkSettings:
    """What the Secret says, now and whenever the interchange has long been silent: its keys may have been replaced."""

    def renew() -> LinkSettings:
        return _link(where, asyncio.run(_find(where)), endpoint)

    return LinkSettings(endpoint, found.server_key, found.keys, renew=renew)


def client_secret(release: str, client: str = "") -> str:
    """The name of the Secret from which a client of a release reads where the interchange is, and its key."""
    return f"{release}-client-{client}" if client else f"{release}-client"


def is_inside() -> bool:
    """Whether this process runs in a pod, whose cluster's Services it can reach."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def queue_name(pool: str, namespace: str) -> str:
    """What the interchange calls a pool: `pool` of this namespace, or 'NAMESPACE/POOL'."""
    named, slash, name = pool.rpartition("/")
    return f"{named if slash else namespace}.{name}"


def why_unknown(where: Where, queue: str) -> str:
    """What is known of a pool that the interchange does not know, as the rest of a sentence, or where to look."""
    namespace, _, name = queue.partition(".")
    return _in_a_thread(_said_of(where, namespace, name))


async def _said_of(where: Where, namespace: str, name: str) -> str:
    look = f"'kubectl describe wp {name} -n {namespace}' may say why"
    try:
        async with await Api.connect(where.api) as api:
            found = await api.get(POOL, namespace, name)
    except ApiError as error:
        absent = (
            f"there is no WorkerPool {namespace}/{name}; 'kubectl get wp -n {namespace}' lists those that there are"
        )
        return absent if error.not_found else look
    except (ApiUnreachable, NoCluster):
        return look
    conditions = found.get("status", {}).get("conditions") or []
    ready = next((one for one in conditions if one.get("type") == "Ready"), None)
    if ready is None:
        return look
    if ready.get("status") == "True":
        return f"WorkerPool {namespace}/{name} is ready: is this client's key good for it?"
    return f"WorkerPool {namespace}/{name} is not ready: {ready.get('reason')}: {ready.get('message')}"


def open_engine(where: Where, access: Access, pool: str, settings: RemoteSettings) -> tuple[RemoteEngine, str]:
    """An engine that was welcomed, and what the interchange, which knows it, calls the pool.

    Raises BrokenBlockyard, with what the port-forward says; UnknownPool, with what the WorkerPool says. The
    port-forward is ended then.
    """
    engine, queue = RemoteEngine(settings), queue_name(pool, access.namespace)
    try:
        engine.connect()
        _wait_for(engine, queue, settings.patience)
    except BrokenBlockyard as error:
        if access.forward is None:
            raise
        access.forward.stop()
        raise BrokenBlockyard(f"{error}; the port-forward says: {access.forward.complaint or 'connected'}") from error
    except UnknownPool as error:
        abandon(engine, access.forward)
        raise UnknownPool(f"{error}; {why_unknown(where, queue)}") from error
    return engine, queue


def _wait_for(engine: RemoteEngine, queue: str, patience: float) -> None:
    """The operator may be about to define it. Raises UnknownPool, naming those that there are, when it does not."""
    end = time.monotonic() + patience
    while queue not in (known := [one.pool for one in engine.ask(control.Status(), control.StatusIs).pools]):
        if time.monotonic() > end:
            raise UnknownPool(
                f"pool {queue!r}: the interchange does not know it after {patience:g} s; "
                f"it knows {', '.join(sorted(known)) or 'none'}"
            )
        time.sleep(_POOL_SECONDS)


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """The caller may be a coroutine, or a notebook with a loop of its own."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(asyncio.run(work))
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            answer.set_exception(error)

    thread = threading.Thread(target=run, name="blockyard-kubernetes", daemon=True)
    thread.start()
    return answer.result()


async def _find(where: Where) -> _Found:
    async with await Api.connect(where.api) as api:
        namespace = where.namespace or api.namespace
        named, slash, release = where.release.rpartition("/")
        homes = [named] if slash else list(dict.fromkeys((namespace, release)))
        name = client_secret(release, where.client)
        for home in homes:
            try:
                secret = await api.get(SECRET, home, name)
            except ApiError as error:
                if error.not_found:
                    continue
                raise
            return _read(secret, namespace, home, f"Secret {home}/{name}")
    tried = " nor in ".join(repr(home) for home in homes)
    advice = "name the release, as release='NAMESPACE/NAME', or install it"
    if where.client:
        advice = f"does the release name a client {where.client!r} (chart value `clients`)? Else {advice}"
    raise ConfigError(f"no Secret {name} in namespace {tried}: {advice}")


def _read(secret: dict[str, object], namespace: str, home: str, name: str) -> _Found:
    data = secret.get("data")
    texts: dict[str, str] = {}
    for field in _FIELDS:
        encoded = data.get(field) if isinstance(data, dict) else None
        if not encoded:
            raise ConfigError(f"{name}: it has no {field!r}; it is made by the operator, and made again when deleted")
        try:
            texts[field] = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{name}: {field!r} is no text: {error}") from error
    server_key = texts["server_key"].strip().encode()
    if len(server_key) != 40:
        raise BadKey(f"{name}: 'server_key' has {len(server_key)} characters; a public key has 40")
    keys = KeyPair.from_text(texts["client.key"], name)
    return _Found(namespace, home, texts["endpoint"].strip(), server_key, keys)
