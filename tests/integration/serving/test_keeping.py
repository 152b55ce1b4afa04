"""A keeper defines pools and lets others in while everything runs; each key is good for its own, at once."""

import subprocess
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import BlockyardError, BrokenBlockyard, UnknownPool
from blockyard.transport import KeyPair
from blockyard.wire import control, keeping
from blockyard_worker.exits import ExitCode
from tests.integration.processes import WITHIN, wait_until
from tests.integration.questions import engine_of, status_of
from tests.integration.serving.house import House, a_pool, house

pytestmark = pytest.mark.timeout(180)


def test_a_pool_defined_while_it_runs_runs_tasks_at_once(serving: House) -> None:
    keeper, client = serving.client("keeper-operator"), serving.client()
    with pytest.raises(UnknownPool, match=r"^unknown pool 'ns\.cpu'"):
        client.options(pool="ns.cpu").submit(abs, -1).result(WITHIN)
    keys = KeyPair.new()
    early = serving.manager("ns.cpu", keys)  # its key is not let in yet: it goes on trying
    assert serving.order(a_pool("ns.cpu", keys), keeper) == 1
    assert client.options(pool="ns.cpu").submit(abs, -2).result(WITHIN) == 2
    assert early.poll() is None


def test_a_removed_pool_lets_its_managers_go_and_its_tasks_wait(serving: House) -> None:
    keeper, client = serving.client("keeper-operator"), serving.client()
    keys = KeyPair.new()
    serving.order(a_pool("ns.cpu", keys), keeper)
    manager = serving.manager("ns.cpu", keys)
    assert client.options(pool="ns.cpu").submit(abs, -1).result(WITHIN) == 1
    assert serving.order(keeping.RemovePool("ns.cpu", "for the test"), keeper) == 1
    assert manager.wait(WITHIN) == ExitCode.REFUSED
    with pytest.raises(UnknownPool):
        client.options(pool="ns.cpu").submit(abs, -1).result(WITHIN)
    again = KeyPair.new()
    serving.order(a_pool("ns.cpu", again), keeper)
    waiting = client.options(pool="ns.cpu").map(abs, [-1, -2, -3])
    stale = serving.manager("ns.cpu", keys)
    serving.manager("ns.cpu", again)
    assert list(waiting) == [1, 2, 3]
    (pool,) = status_of(client).pools
    assert pool.managers == 1, "the manager with the removed key was let in"
    assert stale.poll() is None or stale.returncode != 0


def test_a_manager_whose_key_was_replaced_is_not_listened_to(serving: House) -> None:
    keeper, client = serving.client("keeper-operator"), serving.client()
    old, new = KeyPair.new(), KeyPair.new()
    serving.order(a_pool("ns.cpu", old), keeper)
    first = serving.manager("ns.cpu", old)
    assert client.options(pool="ns.cpu").submit(abs, -1).result(WITHIN) == 1
    assert serving.order(a_pool("ns.cpu", old, public_keys=[new.public, old.public]), keeper) == 1
    assert client.options(pool="ns.cpu").submit(abs, -1).result(WITHIN) == 1
    assert serving.order(a_pool("ns.cpu", new), keeper) == 1
    assert first.wait(WITHIN) == ExitCode.REFUSED
    serving.manager("ns.cpu", new)
    assert client.options(pool="ns.cpu").submit(abs, -1).result(WITHIN) == 1


def test_a_client_s_key_is_good_for_its_pools_only(serving: House) -> None:
    keeper = serving.client("keeper-operator")
    pools = {name: KeyPair.new() for name in ("ns.a", "ns.b")}
    for name, keys in pools.items():
        serving.order(a_pool(name, keys), keeper)
        serving.manager(name, keys)
    anna = KeyPair.new()
    assert serving.order(keeping.AllowClient("anna", [anna.public], ["ns.a"]), keeper) == 1
    client = serving.client(keys=anna)
    secret = keeper.options(pool="ns.b").submit(str.upper, "secret")
    assert secret.result(WITHIN) == "SECRET"
    assert client.options(pool="ns.a").submit(abs, -1).result(WITHIN) == 1
    with pytest.raises(UnknownPool, match=r"'ns\.b' is not one that this key may use; these are: ns\.a"):
        client.options(pool="ns.b").submit(abs, -1).result(WITHIN)
    with pytest.raises(UnknownPool, match=r"these are: ns\.a"):
        engine_of(client).ask(control.Tasks(pool="ns.b"), control.TasksAre, WITHIN)
    with pytest.raises(BlockyardError, match="only a keeper's key may order this, and client:anna is none"):
        engine_of(client).ask(a_pool("ns.c", anna), control.Done, WITHIN)
    with pytest.raises(BlockyardError, match="only a keeper's key may order this, and client:default is none"):
        engine_of(serving.client()).ask(keeping.RemovePool("ns.a"), control.Done, WITHIN)
    assert [pool.pool for pool in status_of(client).pools] == ["ns.a"]
    assert engine_of(client).ask(control.Tasks(), control.TasksAre, WITHIN).total < 2
    assert serving.order(keeping.ForbidClient("anna"), keeper) == 1
    with pytest.raises(BrokenBlockyard, match="revoked"):
        wait_until("anna is not listened to", lambda: _ping(client), lambda ended: ended)


def test_the_pools_of_a_client_can_stand_in_the_key_ring(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        home.ring.issue("client-anna")
        public = home.ring.folder / "allowed" / "client-anna.pub"
        public.write_text(public.read_text() + "pools = ns.a, ns.c\n")
        home.start().wait_ready()
        with pytest.raises(UnknownPool, match=r"these are: ns\.a, ns\.c"):
            home.client("client-anna").options(pool="ns.b").submit(abs, -1).result(WITHIN)


def test_a_key_that_was_issued_a_moment_ago_is_let_in(serving: House) -> None:
    """Not only after the next look at the files: a client is refused once and for all."""
    for number in range(5):
        serving.ring.issue(f"client-new{number}")
        assert status_of(serving.client(f"client-new{number}")).pools == []


@pytest.mark.needs_root
def test_keys_may_lie_where_nothing_can_be_written(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        subprocess.run(["mount", "--bind", "-o", "ro", home.ring.folder, home.ring.folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", home.ring.folder], check=True)
        try:
            with pytest.raises(OSError, match="Read-only"):
                (home.ring.folder / "new").touch()
            home.start().wait_ready()
            assert status_of(home.client()).pools == []
        finally:
            home.close()
            subprocess.run(["umount", home.ring.folder], check=True)


def _ping(client: Client) -> bool:
    status_of(client)
    return False
