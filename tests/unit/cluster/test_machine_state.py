"""Who has a cluster's addresses, and whether its name is free."""

from ipaddress import IPv4Network
from pathlib import Path

from tests.cluster.layout import layout_of
from tests.cluster.machine_state import Route, claim, conflict

CLUSTER = layout_of(Path("/srv/project"), {})
NODES, PODS = CLUSTER.node_network, CLUSTER.nodes[0].pods


def test_a_machine_with_other_networks_is_fit() -> None:
    assert (
        conflict(CLUSTER, [Route(IPv4Network("192.0.2.0/24"), "eth0"), Route(IPv4Network("10.0.0.0/24"), "lan")])
        is None
    )


def test_what_is_ours_is_no_conflict() -> None:
    assert conflict(CLUSTER, [Route(NODES, CLUSTER.bridge, "/srv/project"), Route(PODS, CLUSTER.bridge)]) is None


def test_a_cluster_of_another_checkout_is_named() -> None:
    said = conflict(CLUSTER, [Route(NODES, "byffffff", "/home/other/checkout")])
    assert said is not None
    assert "the test cluster of /home/other/checkout" in said
    assert "BLOCKYARD_CLUSTER_NET" in said


def test_an_interface_of_the_machine_is_named() -> None:
    said = conflict(CLUSTER, [Route(IPv4Network("10.0.0.0/8"), "vpn0")])
    assert said is not None
    assert "interface vpn0" in said


def test_a_name_is_taken_once_and_free_when_its_holder_is_gone() -> None:
    mine = layout_of(Path("/a/path/that/no/checkout/has"), {})
    first = claim(mine)
    assert first is not None
    assert claim(mine) is None
    first.close()
    again = claim(mine)
    assert again is not None
    again.close()
