"""Keys in Secrets: made once, never overwritten, told to nobody but those whom they prove.

`RELEASE-keys` holds the release's own pairs and `RELEASE-interchange-keys` what of them the interchange needs, laid out
as its key ring; `RELEASE-client` is what a client reads, `RELEASE-client-NAME` one that may use some pools only;
`POOL-worker` belongs to a pool and is mounted by its pods.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from blockyard.errors import BadKey
from blockyard.keyring import allowed
from blockyard.kube.access import client_secret
from blockyard.kube.api import Api, Object
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import SECRET
from blockyard.kube.manifest import KEYS_FOLDER
from blockyard.transport import KeyPair
from blockyard_operator.core.manifests import secret_name
from blockyard_operator.core.objects import Meta
from blockyard_operator.core.view import HeldRadio
from blockyard_operator.resources.fields import API_VERSION

log = logging.getLogger(__name__)

MANAGER: Final = "blockyard-operator"
"""Under this name we own the fields that we apply."""

_PAIRS: Final = ("clients", "managers", "operator", "client", "hubs", "hub", "operators", "radios")
_CLIENT: Final = "client-"
RADIO_FILE: Final = "radio.json"
"""In a pool's Secret: its radio's config, complete."""
_WANTED: Final = "radio.wanted"
"""Beside it: for what wish it was made."""


class NamedClient(msgspec.Struct, frozen=True):
    """A client besides the default one. `pools`: the only ones that it may use, as the interchange calls them."""

    keys: KeyPair
    pools: tuple[str, ...]


class ReleaseKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The interchange's pairs for clients, managers and hubs, the operator's own, the default client's, and the hub's:
    with which it proves itself, for operators, and for radios that have a server's key. `named`: further clients."""

    clients: KeyPair
    managers: KeyPair
    operator: KeyPair
    client: KeyPair
    hubs: KeyPair
    hub: KeyPair
    operators: KeyPair
    radios: KeyPair
    named: Mapping[str, NamedClient] = {}


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where clients and managers reach the interchange."""

    clients: str
    managers: str


async def release_keys(
    api: Api, release: str, namespace: str, endpoints: Endpoints, clients: Mapping[str, Sequence[str]]
) -> ReleaseKeys:
    """See that the release's Secrets are there. Raises BadKey when one is there and is none of ours.

    `clients`: names of further ones, to the only pools that each may use. The key of one that was named and is no more
    is forgotten.
    """
    named = {name: f"{_CLIENT}{name}.key" for name in clients}
    fresh = {key: KeyPair.new().to_text() for key in (*(f"{name}.key" for name in _PAIRS), *named.values())}
    data = await _once(api, _secret(f"{release}-keys", namespace, fresh))
    # One that was made by an earlier version, or for other clients, or that somebody took a key out of.
    wanted = fresh | {key: text for key, text in data.items() if key in fresh or not key.startswith(_CLIENT)}
    if wanted != data:
        await api.apply(SECRET, _secret(f"{release}-keys", namespace, wanted), manager=MANAGER)
    where = f"Secret {namespace}/{release}-keys"
    others = {name: NamedClient(_pair(wanted, named[name], where), tuple(pools)) for name, pools in clients.items()}
    keys = ReleaseKeys(**{name: _pair(wanted, f"{name}.key", where) for name in _PAIRS}, named=others)
    await keep(api, release, namespace, endpoints, keys)
    return keys


async def keep(api: Api, release: str, namespace: str, endpoints: Endpoints, keys: ReleaseKeys) -> None:
    """See that the release's Secrets say what they shall; one that was deleted is made again, with the same keys."""
    own = {f"{name}.key": getattr(keys, name).to_text() for name in _PAIRS}
    own |= {f"{_CLIENT}{name}.key": one.keys.to_text() for name, one in keys.named.items()}
    await _once(api, _secret(f"{release}-keys", namespace, own))
    ring = {
        "clients.key": keys.clients.to_text(),
        "managers.key": keys.managers.to_text(),
        "keeper-operator.pub": _public(keys.operator),
        "client-default.pub": _public(keys.client),
        "hubs.key": keys.hubs.to_text(),
        "hubs.pub": _public(keys.hubs),
        "hub-default.key": keys.hub.to_text(),
        "hub-default.pub": _public(keys.hub),
        "operators.key": keys.operators.to_text(),
        "radios.key": keys.radios.to_text(),
    }
    ring |= {f"{_CLIENT}{name}.pub": allowed(one.keys.public, one.pools) for name, one in keys.named.items()}
    await _kept(api, _secret(f"{release}-interchange-keys", namespace, ring))
    for name, pair in {"": keys.client, **{name: one.keys for name, one in keys.named.items()}}.items():
        client = {
            "endpoint": endpoints.clients,
            "server_key": keys.clients.public.decode(),
            "client.key": pair.to_text(),
        }
        await _kept(api, _secret(client_secret(release, name), namespace, client))


class PoolKeys(msgspec.Struct, frozen=True):
    """Public keys of a pool's managers. `previous`: the one before, b'' if there was none. `rotation`: see `ROTATE`.

    `radio`: what the Secret holds beside them.
    """

    public: bytes
    previous: bytes = b""
    rotation: str = ""
    radio: HeldRadio = HeldRadio()


class PoolPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Whose Secret: `owner` of a kind, the interchange's pool `queue`, and where its managers reach the interchange."""

    owner: Meta
    kind: str
    queue: str
    endpoint: str
    server_key: bytes


async def has_pool_secret(api: Api, owner: Meta) -> bool:
    """Whether the Secret of a pool, or of a block on its own, is there."""
    try:
        await api.get(SECRET, owner.namespace, secret_name(owner.name))
    except ApiError as error:
        if error.not_found:
            return False
        raise
    return True


async def pool_keys(api: Api, place: PoolPlace, rotation: str, radio: HeldRadio | None = None) -> PoolKeys:
    """See that a pool's Secret is there, has the right settings, and a key made for this `rotation`.

    `radio`: what it shall hold of that; None: what it holds.
    """
    owner, name = place.owner, secret_name(place.owner.name)
    reference = {
        "apiVersion": API_VERSION,
        "kind": place.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    made = {"pool.key": KeyPair.new().to_text(), "rotation": rotation, **_settings(place, radio or HeldRadio())}
    data = await _once(api, _secret(name, owner.namespace, made, reference))
    pair = _pair(data, "pool.key", f"Secret {owner.namespace}/{name}")
    radio = radio or _held(data)
    wanted = {key: text for key, text in data.items() if key not in (RADIO_FILE, _WANTED)} | _settings(place, radio)
    if data.get("rotation", "") != rotation:
        log.info("a new key for a pool", extra={"object": f"{owner.namespace}/{owner.name}", "rotation": rotation})
        fresh = KeyPair.new()
        wanted |= {"pool.key": fresh.to_text(), "previous.pub": _public(pair), "rotation": rotation}
        pair = fresh
    if wanted != data:
        await api.apply(SECRET, _secret(name, owner.namespace, wanted, reference), manager=MANAGER)
    before = wanted.get("previous.pub", "")
    return PoolKeys(pair.public, before.removeprefix("public-key = ").strip().encode(), rotation, radio)


def _settings(place: PoolPlace, radio: HeldRadio) -> dict[str, str]:
    """What managers read, as files."""
    settings: dict[str, str | float] = {
        "endpoint": place.endpoint,
        "server_key": place.server_key.decode(),
        "pool": place.queue,
        "key_file": f"{KEYS_FOLDER}/pool.key",
    }
    files = {}
    if radio.radio:
        settings |= {"radio_file": f"{KEYS_FOLDER}/{RADIO_FILE}", "sample_seconds": radio.sample_seconds}
        files = {RADIO_FILE: radio.radio, _WANTED: radio.wanted}
    return {"settings.json": json.dumps(settings, indent=2, sort_keys=True), **files}


def _held(data: Mapping[str, str]) -> HeldRadio:
    """The radio that a pool's Secret holds; none when somebody else wrote something that is none of ours."""
    if not (data.get(RADIO_FILE) and data.get(_WANTED)):
        return HeldRadio()
    try:
        period = float(json.loads(data["settings.json"])["sample_seconds"])
    except (KeyError, TypeError, ValueError):
        return HeldRadio()
    return HeldRadio(wanted=data[_WANTED], radio=data[RADIO_FILE], sample_seconds=period)


async def _once(api: Api, manifest: Object) -> dict[str, str]:
    """The Secret's texts, those of `manifest` if it is not there yet."""
    meta = manifest["metadata"]
    try:
        return _texts(await api.get(SECRET, meta["namespace"], meta["name"]))
    except ApiError as error:
        if not error.not_found:
            raise
    try:
        log.info("made Secret", extra={"namespace": meta["namespace"], "secret": meta["name"]})
        return _texts(await api.create(SECRET, manifest))
    except ApiError as error:
        if not error.already_exists:
            raise
    return _texts(await api.get(SECRET, meta["namespace"], meta["name"]))


async def _kept(api: Api, manifest: Object) -> None:
    """See that a Secret is there and says just this; nothing is written when it does."""
    meta = manifest["metadata"]
    try:
        if _texts(await api.get(SECRET, meta["namespace"], meta["name"])) == _texts(manifest):
            return
    except ApiError as error:
        if not error.not_found:
            raise
    await api.apply(SECRET, manifest, manager=MANAGER)


def _secret(name: str, namespace: str, texts: Mapping[str, str], owner: Mapping[str, Any] | None = None) -> Object:
    labels = {"app.kubernetes.io/name": "blockyard", "app.kubernetes.io/managed-by": "blockyard"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            **({"ownerReferences": [dict(owner)]} if owner else {}),
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
    }


def _texts(secret: Mapping[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(text).decode("utf-8", "replace") for key, text in (secret.get("data") or {}).items()}


def _pair(texts: Mapping[str, str], key: str, where: str) -> KeyPair:
    try:
        return KeyPair.from_text(texts.get(key, ""), where)
    except BadKey:
        raise BadKey(f"{where}: {key} holds no key pair; delete the Secret, and the operator makes it anew") from None


def _public(pair: KeyPair) -> str:
    return f"public-key = {pair.public.decode()}\n"
