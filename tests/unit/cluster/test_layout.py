"""Names and addresses follow from the checkout's path and nothing else."""

from pathlib import Path

import pytest

from tests.cluster.layout import Layout, cache_folder, layout_of

HERE = Path("/srv/project")


def test_the_same_path_gives_the_same_cluster() -> None:
    assert layout_of(HERE, {}) == layout_of(HERE, {})


def test_another_path_gives_another_name() -> None:
    paths = [Path(f"/home/someone/checkout-{number}") for number in range(500)]
    assert len({layout_of(path, {}).id for path in paths}) == 500


@pytest.mark.parametrize("number", range(50))
def test_names_fit_where_the_kernel_keeps_them(number: int) -> None:
    cluster = layout_of(Path(f"/checkout/{number}"), {})
    for node in cluster.nodes:
        assert len(cluster.bridge) <= 15
        assert len(node.link) <= 15
        # containerd's longest socket, in a sockaddr_un
        assert len(str(node.folder / "containerd.ttrpc.sock")) <= 107


@pytest.mark.parametrize("number", range(50))
def test_ranges_lie_in_the_network_and_apart(number: int) -> None:
    cluster = layout_of(Path(f"/checkout/{number}"), {})
    ranges = [cluster.node_network, cluster.services, *(node.pods for node in cluster.nodes)]
    assert all(one.subnet_of(cluster.network) for one in ranges)
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one != other)
    assert all(node.pods.subnet_of(cluster.pods) for node in cluster.nodes)
    assert cluster.dns in cluster.services
    assert 64 <= cluster.network.network_address.packed[1] <= 191


def test_the_environment_chooses_another_network() -> None:
    assert str(layout_of(HERE, {"BLOCKYARD_CLUSTER_NET": "7"}).network) == "10.7.0.0/16"


@pytest.mark.parametrize("asked", ["", "256", "-1", "10.7.0.0/16"])
def test_a_network_that_is_no_byte_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match=r"BLOCKYARD_CLUSTER_NET is .*0 to 255"):
        layout_of(HERE, {"BLOCKYARD_CLUSTER_NET": asked})


def test_nodes_are_found_by_name() -> None:
    cluster: Layout = layout_of(HERE, {})
    assert [cluster.node(node.name) for node in cluster.nodes] == list(cluster.nodes)
    with pytest.raises(KeyError):
        cluster.node("node9")


def test_the_cache_is_outside_the_checkout() -> None:
    assert cache_folder({"HOME": "/home/me"}) == Path("/home/me/.cache/blockyard/cluster")
    assert cache_folder({"HOME": "/home/me", "XDG_CACHE_HOME": "/c"}) == Path("/c/blockyard/cluster")
    assert cache_folder({"HOME": "/home/me", "BLOCKYARD_CACHE": "/big"}) == Path("/big/cluster")
