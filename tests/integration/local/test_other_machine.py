"""Blocks on another machine, by ssh, from the public API. The other machine is this one, behind Debian's sshd."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client, LocalPool
from blockyard.blocks.faults import PoolInvalid
from blockyard.blocks.provider import LocalProvider
from blockyard.blocks.states import JobState
from blockyard.errors import ConfigError
from tests.contract.blocks.sshd import SSHServer, running_server
from tests.integration.processes import WITHIN, House, wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.needs_sshd, pytest.mark.timeout(300)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SSHServer]:
    """A server of this test alone, whose connections it may cut."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    with running_server(folder) as server:
        yield server


def free_endpoint() -> str:
    """Where nobody listens now."""
    return f"tcp://127.0.0.1:{free_port()}"


def where() -> tuple[str, str]:
    """How this worker's block was reached, and by which endpoint its manager is connected."""
    connection = os.environ.get("SSH_CONNECTION", "")
    return connection.partition(" ")[0], os.environ["BLOCKYARD_BLOCK"]


def test_tasks_run_over_there_and_come_back(server: SSHServer, house: House) -> None:
    pools = {
        "default": LocalPool(workers_per_node=1),
        "far": LocalPool(workers_per_node=2, channel=server.channel(), max_blocks=2, preload=("json",)),
    }
    with Client.local(pools=pools, folder=house.folder, managers=free_endpoint()) as client:
        far = client.options(pool="far")
        values = far.submit_many(abs, range(-2000, 0))
        total = far.submit(sum, values)
        large = far.submit(len, bytes(5_000_000))
        assert client.submit(where).result(WITHIN)[0] == ""
        address, block = far.submit(where).result(WITHIN)
        assert (address, total.result(WITHIN), large.result(WITHIN)) == ("127.0.0.1", 2001000, 5_000_000)
        pool = client.pool("far")
        assert block in pool.status()
        assert server.sessions(), "each block is a connection"
        (drained,) = pool.scale_in(1)
        wait_until("it is gone", lambda: pool.status()[drained].state, lambda state: state is JobState.SCALED_IN)
    wait_until("no connection is left", server.sessions, lambda left: left == [])


def test_a_link_that_is_cut_costs_a_block_and_no_task(server: SSHServer, house: House, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    provider = LocalProvider(
        owner=f"test-{secrets.token_hex(4)}", log_dir=tmp_path / "logs", channel=server.channel(), label="far"
    )
    pool = LocalPool(provider=provider, min_blocks=1, init_blocks=1)
    with Client.local(pools={"default": pool}, folder=house.folder, managers=free_endpoint()) as client:
        assert client.pool().provider is provider
        future = client.submit(wait_for, str(gate))
        wait_until("it runs", lambda: client.pool().status(), lambda seen: any_is(seen, JobState.RUNNING))
        wait_until("it has begun", lambda: Path(f"{gate}-begun").exists(), bool)
        (session,) = server.sessions()
        os.kill(session, signal.SIGKILL)
        wait_until("it is missed", lambda: client.pool().status(), lambda seen: any_is(seen, JobState.MISSING))
        gate.touch()
        assert future.result(WITHIN) == "through"


def wait_for(gate: str) -> str:
    Path(f"{gate}-begun").touch()
    wait_until("the gate is open", lambda: os.path.exists(gate), bool)
    return "through"


def any_is(statuses: object, state: JobState) -> bool:
    assert isinstance(statuses, dict)
    return any(status.state is state for status in statuses.values())


def test_what_does_not_fit_is_refused_before_anything_starts(server: SSHServer, house: House) -> None:
    with pytest.raises(PoolInvalid, match="channel: is given beside provider"):
        LocalPool(channel=server.channel(), provider="kubernetes")
    with pytest.raises(PoolInvalid, match="channel: is 'host', which is no channel"):
        LocalPool(channel="host")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(PoolInvalid, match=r"provider: is 'locale'.*did you mean 'local'"):
        LocalPool(provider="locale")
    with pytest.raises(ConfigError, match="provider 'kubernetes' can't be made from its name alone"):
        Client.local(pools={"default": LocalPool(provider="kubernetes")}, folder=house.folder)
    for endpoint in ("tcp://0.0.0.0:5555", "tcp://*:5555", "127.0.0.1:5555", "tcp://host", "tcp://host:0"):
        with pytest.raises(ConfigError, match="give tcp://ADDRESS:PORT"):
            Client.local(1, folder=house.folder, managers=endpoint)
