"""Keys as a user issues and revokes them, and what they are then good for."""

import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard, UnknownPool
from tests.integration.cli.conftest import User
from tests.integration.processes import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def two_pools(user: User) -> str:
    """A system with pools `cpu` and `gpu`; the URL that leads to it."""
    user.types("local", "up", "--pool", "cpu=1", "--pool", "gpu=1")
    (system,) = user.asks("local", "status")
    url: str = system["url"]
    return url


def refused(client: Client, pool: str) -> str:
    """What is said to a task for this pool; '' when it runs."""
    error = client.options(pool=pool).submit(abs, -1).exception(60)
    assert error is None or isinstance(error, UnknownPool | BrokenBlockyard), repr(error)
    return str(error or "")


def test_a_client_is_let_in_to_some_pools_only(user: User, two_pools: str) -> None:
    issued = user.asks("keys", "issue", "client-anna", "--pools", "cpu")
    assert (issued["pools"], issued["allowed"]) == (["cpu"], True)
    with Client.connect(two_pools, client_key=issued["file"]) as anna:
        assert refused(anna, "cpu") == ""
        assert "gpu" in refused(anna, "gpu")
        assert "to pools cpu, gpu only" in user.types("keys", "issue", "client-anna", "--pools", "gpu, cpu")
        wait_until("it counts", lambda: refused(anna, "gpu"), lambda words: words == "")
        user.types("keys", "issue", "client-anna", "--pools", "gpu")
        wait_until("that counts, too", lambda: refused(anna, "cpu"), bool)
        assert refused(anna, "gpu") == ""
    listed = {key["name"]: key["pools"] for key in user.asks("keys", "list")}
    assert (listed["client-anna"], listed["client-default"], listed["pool-cpu"]) == (["gpu"], [], [])
    rows = {line.split()[0]: line.split()[3] for line in user.types("keys", "list").splitlines()[1:]}
    assert (rows["client-anna"], rows["client-default"], rows["pool-cpu"]) == ("gpu", "all", "cpu")


def test_pools_that_are_not_there_and_keys_that_have_none_are_named(user: User, two_pools: str) -> None:
    assert "pool 'gpuu': no key is let in for its managers; did you mean 'gpu'?" in user.types(
        "keys", "issue", "client-anna", "--pools", "cpu,gpuu", code=4
    )
    assert "give names of pools" in user.types("keys", "issue", "client-anna", "--pools", "", code=5)
    assert "only a client's key" in user.types("keys", "issue", "keeper-anna", "--pools", "cpu", code=5)
    assert {"client-anna", "keeper-anna"}.isdisjoint(key["name"] for key in user.asks("keys", "list"))
