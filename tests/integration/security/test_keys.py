"""What a peer can do with no key, with the wrong one, and with a stolen one. The peers here speak the wire by hand.

The stolen pool key is that of the pool 'left'; what it must not reach is the pool 'right', and the clients' side.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard
from blockyard.keyring import KeyRing
from blockyard.payload import FunctionCache
from blockyard.submitter import Submitter
from blockyard.transport import KeyPair
from blockyard.wire import client as client_wire
from blockyard.wire import control
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Function, Group, Lease, Outcome, Status, TaskSpec
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import engine_of, pool_status, status_of
from tests.integration.security.raw import SILENCE, a_hello, a_join, raw_peer, stolen

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("side, greeting", [("clients", a_hello()), ("managers", a_join("left"))])
def test_a_peer_without_a_key_gets_nothing_and_is_counted(
    client: Client, folder: Path, side: str, greeting: Any
) -> None:
    before = status_of(client).refused_peers
    with raw_peer(folder, side, KeyPair.new()) as peer:
        assert not peer.say(greeting, SILENCE), "there is not even a connection to send on"
        assert peer.hear(0.0) is None
        wait_until("it is counted", lambda: status_of(client).refused_peers, lambda now: now > before)


def test_a_clients_key_does_not_open_the_managers_side(client: Client, folder: Path) -> None:
    managers = pool_status(client, "left").managers
    with raw_peer(folder, "managers", stolen(folder, "client-default")) as peer:
        assert not peer.say(a_join("left"), SILENCE)
    assert pool_status(client, "left").managers == managers


def test_a_pools_key_does_not_open_the_clients_side(client: Client, folder: Path) -> None:
    with raw_peer(folder, "clients", stolen(folder, "pool-left")) as peer:
        assert not peer.say(a_hello(), SILENCE)


def test_with_a_stolen_pool_key_one_cannot_submit(client: Client, folder: Path) -> None:
    body = b"a function of the thief"
    messages = [
        a_hello(),
        client_wire.Register([Function(b"f" * 16, "theft", body, "3.11")]),
        client_wire.Submit(1, [Group(TaskSpec(b"f" * 16, "right"), 0, [b"x"])]),
    ]
    before = [pool_status(client, name).submitted for name in ("left", "right")]
    with raw_peer(folder, "managers", stolen(folder, "pool-left")) as peer:
        for message in messages:
            assert peer.say(message)
            refusal = peer.hear()
            assert isinstance(refusal, manager_wire.Refused | manager_wire.NotJoined), refusal
    assert [pool_status(client, name).submitted for name in ("left", "right")] == before


def test_with_a_stolen_pool_key_one_cannot_cancel(right: Submitter, folder: Path) -> None:
    future = right.submit(time.sleep, 1.0)
    with raw_peer(folder, "managers", stolen(folder, "pool-left")) as peer:
        assert peer.say(a_join("left"))
        peer.wait_for(manager_wire.Joined)
        for message in (
            client_wire.Cancel([future.task]),
            manager_wire.Returned([Lease(future.task, epoch) for epoch in range(1, 50)]),
            manager_wire.Outcomes(1, [Outcome(future.task, epoch, Status.CANCELLED) for epoch in range(1, 50)]),
        ):
            assert peer.say(message)
        peer.say(manager_wire.Leave("done"))
    assert future.result(WITHIN) is None


def test_with_a_stolen_pool_key_one_cannot_join_another_pool(client: Client, folder: Path) -> None:
    with raw_peer(folder, "managers", stolen(folder, "pool-left")) as peer:
        assert peer.say(a_join("right"))
        assert peer.wait_for(manager_wire.Refused).kind == "key"
    assert pool_status(client, "right").managers == 1


def test_with_a_stolen_pool_key_one_cannot_read_another_pools_functions(right: Submitter, folder: Path) -> None:
    def secret_recipe() -> str:
        return "secret"

    assert right.submit(secret_recipe).result(WITHIN) == "secret"
    known = FunctionCache().get(secret_recipe).id  # by its content, so the thief may know it too
    with raw_peer(folder, "managers", stolen(folder, "pool-left")) as peer:
        assert peer.say(a_join("left"))
        peer.wait_for(manager_wire.Joined)
        assert peer.say(manager_wire.Wanted([known]))
        assert peer.say(manager_wire.Heartbeat(0, 0, 0))
        heard = [peer.hear()]
        while heard[-1] is not None and not isinstance(heard[-1], manager_wire.Beat):
            heard.append(peer.hear())
        assert not [one for one in heard if isinstance(one, manager_wire.Functions)]
        peer.say(manager_wire.Leave("done"))


def test_with_a_stolen_pool_key_one_cannot_take_or_read_another_pools_tasks(right: Submitter, folder: Path) -> None:
    busy = right.submit(time.sleep, 1.0)
    waiting = right.submit_many(bytes.upper, [b"an argument"] * 20)
    claims = [Lease(busy.task, 1 << 40), *(Lease(future.task, 1 << 40) for future in waiting)]
    with raw_peer(folder, "managers", stolen(folder, "pool-left")) as peer:
        assert peer.say(a_join("left", holds=claims))
        assert peer.wait_for(manager_wire.Joined).dropped == claims
        forged = [Outcome(claim.task, claim.epoch, Status.DONE, b"forged") for claim in claims]
        assert peer.say(manager_wire.Outcomes(1, forged))
        while (message := peer.hear(SILENCE)) is not None:
            assert not isinstance(message, manager_wire.Assign), "the pool 'left' has nothing to do"
        peer.say(manager_wire.Leave("done"))
    assert busy.result(WITHIN) is None
    assert [future.result(WITHIN) for future in waiting] == [b"AN ARGUMENT"] * 20


def test_with_a_stolen_pool_key_one_cannot_ask_about_results(client: Client, right: Submitter, folder: Path) -> None:
    future = right.submit(str, "a result")
    assert future.result(WITHIN) == "a result"
    with raw_peer(folder, "managers", stolen(folder, "pool-left")) as peer:
        for message in (client_wire.Reattach(1), a_hello(run=status_run(client), take_over=True)):
            assert peer.say(message)
            assert isinstance(peer.hear(), manager_wire.Refused | manager_wire.NotJoined)


def status_run(client: Client) -> str:
    """The name of the client's run."""
    tasks = engine_of(client).ask(control.Tasks(), control.TasksAre)
    return tasks.tasks[0].run if tasks.tasks else "default"


def test_another_clients_key_does_not_give_its_session(client: Client, folder: Path) -> None:
    session = engine_of(client).session
    with raw_peer(folder, "clients", stolen(folder, "client-default")) as peer:
        assert peer.say(a_hello(session=session))
        assert peer.wait_for(client_wire.Refused).kind == "session"


def test_workers_have_no_key_in_environment_or_descriptors(client: Client, home: House) -> None:
    secrets = [
        path.read_text().split("secret-key = ")[1].strip().encode() for path in (home.folder / "keys").glob("*.key")
    ]
    workers = home.workers()
    assert len(workers) >= 4, "two workers and two templates"
    for worker in workers:
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert not [secret for secret in secrets if secret in environment]
        assert not [secret for secret in secrets if secret in Path(f"/proc/{worker.pid}/cmdline").read_bytes()]
        open_files = [os.readlink(link) for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
        assert not [name for name in open_files if str(home.folder / "keys") in name], open_files


def test_everything_on_disk_is_its_owners_alone(client: Client, home: House) -> None:
    blobs = Path(engine_of(client).connect().blobs)
    found = [home.folder, *home.folder.rglob("*"), blobs, *blobs.rglob("*")]
    open_to_others = [f"{path}: {path.stat().st_mode & 0o777:o}" for path in found if path.stat().st_mode & 0o077]
    assert not open_to_others


def test_a_revoked_key_ends_connections_that_stand(client: Client, folder: Path) -> None:
    ring = KeyRing(folder / "keys")
    ring.issue("client-guest")
    guest = wait_until("it is let in", lambda: _guest(folder), bool)
    assert guest is not None
    assert guest.options(pool="left").submit(abs, -1).result(WITHIN) == 1
    ring.revoke("client-guest")
    refused = wait_until(
        "what it submits is refused",
        lambda: _error(guest.options(pool="left")),
        lambda error: error is not None and "revoked" in str(error),
    )
    assert isinstance(refused, BrokenBlockyard)
    guest.shutdown(wait=False)


def test_a_folder_that_was_removed_is_no_key_that_was_revoked(house: House) -> None:
    with Client.local(workers=1, folder=house.folder) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        shutil.rmtree(house.folder)
        said = wait_until(
            "it says so",
            lambda: str(_error(client.options())),
            lambda words: f"{house.folder}/keys was removed" in words,
        )
        assert "revoked" not in said


def _guest(folder: Path) -> Client | None:
    try:
        return Client.connect(folder, client_key=folder / "keys" / "client-guest.key", timeout=3.0)
    except BrokenBlockyard:
        return None


def _error(guest: Submitter) -> BaseException | None:
    try:
        return guest.submit(abs, -1).exception(WITHIN)
    except BrokenBlockyard as error:
        return error
