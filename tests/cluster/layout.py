"""Names, addresses and folders of a test cluster, all derived from the path of the checkout it serves.

Two checkouts get two clusters side by side: everything that the machine sees by name (interfaces, namespaces, cgroups,
processes' marks, folders) carries the cluster's id, so it can be found and removed after a killed run. Pure; whether a
range is free on this machine is for `machine_state` to say.
"""

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec

MARK = "BLOCKYARD_TEST_CLUSTER"
"""Variable in the environment of every process that a cluster starts; its value is the cluster's id."""

NODES = 2
FIRST_SECOND_BYTE, SECOND_BYTES = 64, 128
"""A cluster lives in one 10.N.0.0/16 with N from 64 to 191."""


class Layout(msgspec.Struct, frozen=True):
    """One cluster, by name. `network` is its /16; `checkout` the folder it was made for."""

    id: str
    checkout: Path
    network: IPv4Network
    folder: Path
    """Sockets, certificates, logs, containers' roots; on a real disk, made by `up`, removed by `down`."""

    @property
    def bridge(self) -> str:
        """The interface that joins nodes and control plane; its alias is the checkout's path."""
        return self.id

    @property
    def address(self) -> IPv4Address:
        """Of the bridge, where the API server listens."""
        return self.network[1]

    @property
    def node_network(self) -> IPv4Network:
        """Of the bridge and the nodes."""
        return next(self.network.subnets(new_prefix=24))

    @property
    def services(self) -> IPv4Network:
        """Of ClusterIPs; the first is the API server's."""
        return IPv4Network((self.network[16 * 256], 20))

    @property
    def dns(self) -> IPv4Address:
        """The ClusterIP of CoreDNS."""
        return self.services[10]

    @property
    def pods(self) -> IPv4Network:
        """Of all pods; each node has a /24 of it."""
        return IPv4Network((self.network[128 * 256], 17))

    @property
    def api(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:6443"

    @property
    def kubeconfig(self) -> Path:
        """Of an administrator."""
        return self.folder / "kubeconfig"

    @property
    def nodes(self) -> tuple["Node", ...]:
        return tuple(Node(self, ordinal) for ordinal in range(1, NODES + 1))

    def node(self, name: str) -> "Node":
        """By its name in Kubernetes; KeyError when there is none of that name."""
        return {node.name: node for node in self.nodes}[name]


class Node(msgspec.Struct, frozen=True):
    """One node of a cluster: a network namespace, a cgroup and a folder. `ordinal` counts from 1."""

    cluster: Layout
    ordinal: int

    @property
    def name(self) -> str:
        """In Kubernetes."""
        return f"node{self.ordinal}"

    @property
    def full_name(self) -> str:
        """Of its network namespace and cgroup: unique on the machine."""
        return f"{self.cluster.id}-{self.name}"

    @property
    def link(self) -> str:
        """Its end of the cable in the machine's own namespace; down means cut off."""
        return f"{self.cluster.id}-{self.ordinal}"

    @property
    def namespace(self) -> Path:
        return Path("/run/netns") / self.full_name

    @property
    def cgroup(self) -> str:
        """From the root of each hierarchy."""
        return f"/{self.full_name}"

    @property
    def address(self) -> IPv4Address:
        return self.cluster.network[10 + self.ordinal]

    @property
    def pods(self) -> IPv4Network:
        """The range its pods' addresses are from."""
        return list(self.cluster.pods.subnets(new_prefix=24))[self.ordinal]

    @property
    def folder(self) -> Path:
        return self.cluster.folder / self.name

    @property
    def socket(self) -> Path:
        """Where its containerd listens."""
        return self.folder / "containerd.sock"


def layout_of(checkout: Path, environment: Mapping[str, str]) -> Layout:
    """The cluster of the checkout at `checkout` (an absolute path without links).

    ``BLOCKYARD_CLUSTER_NET`` in `environment`, a number from 0 to 255, replaces the N of 10.N.0.0/16 that the path
    gives; ValueError when it is anything else. ``BLOCKYARD_CLUSTER_HOME`` replaces /var/lib/blockyard-cluster.
    """
    digest = hashlib.sha256(str(checkout).encode()).digest()
    second = FIRST_SECOND_BYTE + digest[3] % SECOND_BYTES
    asked = environment.get("BLOCKYARD_CLUSTER_NET")
    if asked is not None:
        if not asked.isdecimal() or int(asked) > 255:
            raise ValueError(f"BLOCKYARD_CLUSTER_NET is {asked!r}; it can be 0 to 255, for 10.N.0.0/16")
        second = int(asked)
    name = f"by{digest[:3].hex()}"
    home = Path(environment.get("BLOCKYARD_CLUSTER_HOME", "/var/lib/blockyard-cluster"))
    return Layout(name, checkout, IPv4Network(f"10.{second}.0.0/16"), home / name)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where built parts are kept between runs and checkouts: ``BLOCKYARD_CACHE``, else ~/.cache/blockyard."""
    given = environment.get("BLOCKYARD_CACHE")
    if given:
        return Path(given) / "cluster"
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/root")) / ".cache"
    return Path(base) / "blockyard" / "cluster"
