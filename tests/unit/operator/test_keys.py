"""Keys: made once, made again when somebody deletes their Secret, and a pool's made anew on request."""

import asyncio
import base64
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from blockyard.keyring import KeyRing
from blockyard.kube.kinds import BLOCK, POOL, SECRET
from blockyard.transport import KeyPair
from blockyard_operator import keys
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core.manifests import Terms
from blockyard_operator.core.objects import ROTATE, Meta, template_hash
from blockyard_operator.observe import Observer
from blockyard_operator.resources.pool import PoolSpec
from tests.unit.operator.line import Line
from tests.unit.operator.shelf import Shelf

POOL_META = Meta(namespace="n", name="p", uid="pool-uid")
PLACE = keys.PoolPlace(owner=POOL_META, kind="WorkerPool", queue="n.p", endpoint="tcp://i:5556", server_key=b"s" * 40)
ENDPOINTS = keys.Endpoints(clients="tcp://i:5555", managers="tcp://i:5556")
TERMS = Terms(image="worker:1")

T = TypeVar("T")


def done(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def text(shelf: Shelf, name: str, field: str, namespace: str = "n") -> str:
    return base64.b64decode(shelf.objects["Secret", namespace, name]["data"][field]).decode()


def pool_keys(shelf: Shelf, rotation: str) -> keys.PoolKeys:
    return done(keys.pool_keys(cast("Any", shelf), PLACE, rotation))


def test_a_pools_key_is_made_once_and_anew_for_each_new_word() -> None:
    shelf = Shelf()
    first = pool_keys(shelf, "")
    assert pool_keys(shelf, "") == first
    assert len(shelf.writes) == 1, "nothing is written when nothing changes"
    second = pool_keys(shelf, "monday")
    assert (second.public != first.public, second.previous) == (True, first.public)
    assert pool_keys(shelf, "monday") == second
    assert KeyPair.from_text(text(shelf, "p-worker", "pool.key"), "it").public == second.public
    third = pool_keys(shelf, "tuesday")
    assert (third.previous, third.rotation) == (second.public, "tuesday")


def test_the_key_before_is_good_while_blocks_that_have_it_live() -> None:
    line, cache = Line(), Cache()
    observer = Observer(cache, cast("Any", line), TERMS, pod_groups=False)
    meta: dict[str, Any] = {"name": "p", "namespace": "n", "uid": "pool-uid", "annotations": {ROTATE: "monday"}}
    cache.see(POOL, {"metadata": {**meta, "resourceVersion": "1"}, "spec": {}})
    old = {"blockyard.dev/template-hash": template_hash(PoolSpec(), TERMS.image)}
    block = {"name": "p-a", "namespace": "n", "uid": "b", "labels": old, "resourceVersion": "2",
             "ownerReferences": [{"uid": "pool-uid", "controller": True}]}  # fmt: skip
    cache.see(BLOCK, {"metadata": block, "spec": {"pool": "p"}})
    observer.secrets["pool-uid"] = keys.PoolKeys(b"new", b"old", "monday")
    world = observer.pool(Key("pool", "n", "p"))
    assert world is not None
    assert world.hash != old["blockyard.dev/template-hash"], "blocks with the old key are rolled out"
    assert line.orders[-1].public_keys == [b"new", b"old"]
    cache.see(BLOCK, {"metadata": block | {"resourceVersion": "3"}, "spec": {"pool": "p"}}, deleted=True)
    observer.pool(Key("pool", "n", "p"))
    assert line.orders[-1].public_keys == [b"new"]


def test_a_releases_secrets_are_made_again_with_the_same_keys() -> None:
    shelf = Shelf()
    api: Any = shelf
    found = done(keys.release_keys(api, "r", "n", ENDPOINTS, {}))
    before = {name: shelf.objects["Secret", "n", name]["data"] for name in ("r-keys", "r-interchange-keys", "r-client")}
    count = len(shelf.writes)
    done(keys.keep(api, "r", "n", ENDPOINTS, found))
    assert len(shelf.writes) == count
    for name in before:
        shelf.delete(SECRET, "n", name)
    done(keys.keep(api, "r", "n", ENDPOINTS, found))
    assert {name: shelf.objects["Secret", "n", name]["data"] for name in before} == before


def test_a_clients_key_that_is_taken_out_is_replaced_and_no_other() -> None:
    shelf = Shelf()
    api: Any = shelf
    first = done(keys.release_keys(api, "r", "n", ENDPOINTS, {}))
    del shelf.objects["Secret", "n", "r-keys"]["data"]["client.key"]
    second = done(keys.release_keys(api, "r", "n", ENDPOINTS, {}))
    assert (second.client == first.client, second.clients == first.clients) == (False, True)
    assert second.client.public.decode() in text(shelf, "r-interchange-keys", "client-default.pub")
    assert text(shelf, "r-client", "client.key") == second.client.to_text()


def test_the_interchanges_own_pairs_that_are_taken_out_are_replaced_and_told_to_all_who_need_them() -> None:
    shelf = Shelf()
    api: Any = shelf
    first = done(keys.release_keys(api, "r", "n", ENDPOINTS, {}))
    before = done(keys.pool_keys(api, msgspec.structs.replace(PLACE, server_key=first.managers.public), ""))
    for name in ("clients.key", "managers.key"):
        del shelf.objects["Secret", "n", "r-keys"]["data"][name]
    second = done(keys.release_keys(api, "r", "n", ENDPOINTS, {}))
    assert first.clients != second.clients
    assert first.managers != second.managers
    assert (second.operator, second.client) == (first.operator, first.client)
    assert text(shelf, "r-interchange-keys", "clients.key") == second.clients.to_text()
    assert text(shelf, "r-interchange-keys", "managers.key") == second.managers.to_text()
    assert text(shelf, "r-client", "server_key") == second.clients.public.decode()
    after = done(keys.pool_keys(api, msgspec.structs.replace(PLACE, server_key=second.managers.public), ""))
    assert after == before, "the pool's own key stays, and so do its blocks"
    assert json.loads(text(shelf, "p-worker", "settings.json"))["server_key"] == second.managers.public.decode()


def test_a_further_client_has_a_secret_of_its_own_and_is_let_into_its_pools_alone(tmp_path: Path) -> None:
    shelf = Shelf()
    api: Any = shelf
    found = done(keys.release_keys(api, "r", "n", ENDPOINTS, {"anna": ["team.gpu", "team.cpu"]}))
    count = len(shelf.writes)
    again = done(keys.release_keys(api, "r", "n", ENDPOINTS, {"anna": ["team.gpu", "team.cpu"]}))
    assert (again, len(shelf.writes)) == (found, count), "nothing is written when nothing changes"
    own = found.named["anna"].keys
    assert own != found.client
    assert text(shelf, "r-client-anna", "client.key") == own.to_text()
    assert text(shelf, "r-client-anna", "server_key") == found.clients.public.decode()
    (tmp_path / "allowed").mkdir()
    for name in ("client-anna.pub", "client-default.pub"):  # as the chart's volume shows them
        (tmp_path / "allowed" / name).write_text(text(shelf, "r-interchange-keys", name))
    guests = {guest.user: (key, guest.pools) for key, guest in KeyRing(tmp_path).guests("client").items()}
    assert guests["client:anna"] == (own.public, frozenset({"team.gpu", "team.cpu"}))
    assert guests["client:default"] == (found.client.public, None)


def test_a_client_that_is_named_no_more_is_not_let_in_and_gets_another_key_when_it_comes_again() -> None:
    shelf = Shelf()
    api: Any = shelf
    first = done(keys.release_keys(api, "r", "n", ENDPOINTS, {"anna": ["team.gpu"], "ben": ["team.gpu"]}))
    second = done(keys.release_keys(api, "r", "n", ENDPOINTS, {"ben": ["team.cpu"]}))
    assert second.named["ben"].keys == first.named["ben"].keys
    for secret in ("r-keys", "r-interchange-keys"):
        assert not [key for key in shelf.objects["Secret", "n", secret]["data"] if "anna" in key]
    assert "team.cpu" in text(shelf, "r-interchange-keys", "client-ben.pub")
    third = done(keys.release_keys(api, "r", "n", ENDPOINTS, {"anna": ["team.gpu"], "ben": ["team.cpu"]}))
    assert third.named["anna"].keys != first.named["anna"].keys
    assert text(shelf, "r-client-anna", "client.key") == third.named["anna"].keys.to_text()


def test_a_pool_whose_secret_was_deleted_is_seen_to() -> None:
    shelf, cache = Shelf(), Cache()
    api: Any = shelf
    observer = Observer(cache, cast("Any", Line()), TERMS, pod_groups=False)
    cache.see(
        POOL, {"metadata": {"name": "p", "namespace": "n", "uid": "pool-uid", "resourceVersion": "1"}, "spec": {}}
    )
    observer.secrets["pool-uid"] = pool_keys(shelf, "")
    assert done(observer.lost_secrets(api)) == set()
    shelf.delete(SECRET, "n", "p-worker")
    key = Key("pool", "n", "p")
    assert done(observer.lost_secrets(api)) == {key}
    world = observer.pool(key)
    assert world is not None
    assert not world.has_secret
