"""Settings that were found by what fails without them, and that nodes of one machine keep apart."""

import json
import tomllib
from pathlib import Path

from tests.cluster import commands, configs, network
from tests.cluster.certificates import Pair
from tests.cluster.commands import Keys
from tests.cluster.kubectl import Json
from tests.cluster.layout import layout_of

CLUSTER = layout_of(Path("/srv/project"), {})
ONE, TWO = CLUSTER.nodes
PAIR = Pair(Path("/c/x.crt"), Path("/c/x.key"))
KEYS = Keys(authority=PAIR, serving=PAIR, to_kubelets=PAIR, accounts=PAIR)


def program(name: str) -> Path:
    return Path("/bin-of-cluster") / name


def leaves(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [leaf for child in value.values() for leaf in leaves(child)]
    if isinstance(value, list):
        return [leaf for child in value for leaf in leaves(child)]
    return [str(value)]


def test_nodes_share_no_path_of_containerd() -> None:
    one, two = (tomllib.loads(configs.containerd(node)) for node in (ONE, TWO))
    mine = {leaf for leaf in leaves(one) if leaf.startswith("/") and leaf != configs.CNI_PLUGINS}
    others = {leaf for leaf in leaves(two) if leaf.startswith("/") and leaf != configs.CNI_PLUGINS}
    assert len(mine) == len(others) == 6
    assert not mine & others
    assert all(Path(leaf).is_relative_to(ONE.folder) for leaf in mine)


def test_containerd_takes_a_machine_whose_root_cannot_lower_an_oom_score() -> None:
    cri = tomllib.loads(configs.containerd(ONE))["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False


def test_kubelets_have_cgroups_of_their_own_and_take_version_1() -> None:
    one, two = (json.loads(configs.kubelet(node, PAIR.certificate)) for node in (ONE, TWO))
    assert one["cgroupRoot"] != two["cgroupRoot"]
    assert one["failCgroupV1"] is False
    assert one["cgroupDriver"] == "cgroupfs"
    assert one["podLogsDir"] != two["podLogsDir"]


def test_pods_addresses_come_from_the_range_the_node_object_names() -> None:
    for node in CLUSTER.nodes:
        ipam = json.loads(configs.cni(node))["plugins"][0]["ipam"]
        named = json.loads(configs.node_object(node))["spec"]["podCIDR"]
        assert ipam["ranges"] == [[{"subnet": named}]]


def test_node_processes_enter_the_network_namespace_only() -> None:
    for argv in (commands.containerd(ONE), commands.kubelet(ONE, program), commands.kube_proxy(ONE, program)):
        assert argv[:3] == ["nsenter", f"--net=/run/netns/{ONE.full_name}", "--"]


def test_the_control_plane_listens_on_the_bridge() -> None:
    place = commands.place_of(CLUSTER)
    api = commands.kube_apiserver(place, KEYS, program)
    assert f"--bind-address={CLUSTER.address}" in api
    assert f"--service-cluster-ip-range={CLUSTER.services}" in api
    assert "--authorization-mode=Node,RBAC" in api
    assert "--client-cert-auth=true" in commands.etcd(place, KEYS, program)


def test_a_kubeconfig_needs_no_other_file() -> None:
    read = json.loads(configs.kubeconfig("https://10.0.0.1:6443", b"authority", b"certificate", b"key"))
    assert read["current-context"] == read["contexts"][0]["name"]
    assert read["clusters"][0]["cluster"]["certificate-authority-data"] == "YXV0aG9yaXR5"


def test_each_node_reaches_the_pods_of_the_other() -> None:
    routes = [argv for argv in network.make_node(ONE) if "route" in argv]
    assert any(argv[-3:] == [str(TWO.pods), "via", str(TWO.address)] for argv in routes)


def test_everything_on_the_machine_carries_the_clusters_name() -> None:
    made = [argv for node in CLUSTER.nodes for argv in network.make_node(node)] + network.make_bridge(CLUSTER)
    for argv in made:
        if argv[:3] == ["ip", "link", "add"] or argv[:3] == ["ip", "netns", "add"]:
            assert argv[3].startswith(CLUSTER.id)
        if argv[0] == "iptables":
            assert CLUSTER.id in argv
