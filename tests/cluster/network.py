"""The wires of a cluster: a bridge in the machine's namespace, a namespace and a cable for each node. Pure.

Nothing here routes through the machine itself: nodes reach one another over the bridge, pods reach the API server as
their node's address, the machine reaches pods and ClusterIPs by routes through the nodes.
"""

from tests.cluster.layout import Layout, Node

Argv = list[str]


def make_bridge(cluster: Layout) -> list[Argv]:
    """The bridge, with the checkout's path as its alias: whoever finds it knows whose it is."""
    name = cluster.bridge
    return [
        ["ip", "link", "add", name, "type", "bridge"],
        ["ip", "link", "set", name, "alias", str(cluster.checkout)[:255]],
        ["ip", "address", "add", f"{cluster.address}/24", "dev", name],
        ["ip", "link", "set", name, "up"],
        *(["iptables", "--wait", "--insert", *rule] for rule in forwarding(cluster)),
    ]


def forwarding(cluster: Layout) -> list[Argv]:
    """Rules that let nodes talk over the bridge on a machine that forwards nothing otherwise (Docker sets that)."""
    said = ["-m", "comment", "--comment", cluster.id, "-j", "ACCEPT"]
    return [["FORWARD", way, cluster.bridge, *said] for way in ("-i", "-o")]


def make_node(node: Node) -> list[Argv]:
    """Its namespace, its cable to the bridge, its way to other nodes' pods, and the machine's way to its own."""
    cluster, name = node.cluster, node.full_name
    inside = ["ip", "-n", name]
    commands = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", name],
        ["ip", "link", "set", node.link, "master", cluster.bridge, "up"],
        [*inside, "link", "set", "lo", "up"],
        [*inside, "address", "add", f"{node.address}/24", "dev", "eth0"],
        [*inside, "link", "set", "eth0", "up"],
        [*inside, "route", "add", "default", "via", str(cluster.address)],
        ["nsenter", f"--net={node.namespace}", "--", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"],
    ]
    others = [other for other in cluster.nodes if other != node]
    commands += [[*inside, "route", "add", str(other.pods), "via", str(other.address)] for other in others]
    commands.append(["ip", "route", "add", str(node.pods), "via", str(node.address)])
    if node.ordinal == 1:  # any node's kube-proxy will do
        commands.append(["ip", "route", "add", str(cluster.services), "via", str(node.address)])
    return commands


def cut(node: Node) -> Argv:
    """Pull the cable."""
    return ["ip", "link", "set", node.link, "down"]


def restore(node: Node) -> Argv:
    return ["ip", "link", "set", node.link, "up"]
