"""The command lines of a cluster's processes. Pure."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec

from tests.cluster.certificates import Pair
from tests.cluster.layout import Layout, Node

Program = Callable[[str], Path]
"""From a program's name to its path."""

LOST_AFTER = 20
"""Seconds without a sign of life after which a node is NotReady; Kubernetes' own default is 50."""
EVICTED_AFTER = 30
"""Seconds after that until its pods are deleted, unless they tolerate more; Kubernetes' own default is 300."""


class Keys(msgspec.Struct, frozen=True):
    """What the control plane proves itself with."""

    authority: Pair
    serving: Pair
    """Of the API server and etcd, and what they call one another with."""
    to_kubelets: Pair
    accounts: Pair


class Place(msgspec.Struct, frozen=True):
    """Where a control plane listens and keeps its files."""

    folder: Path
    address: IPv4Address
    api_port: int
    etcd_port: int
    peer_port: int
    controller_port: int
    scheduler_port: int
    services: IPv4Network
    pods: IPv4Network | None = None
    """Of which each node gets a range; None where no kubelet runs pods."""
    accounts: bool = True
    """Whether pods are given service accounts, which want a controller to make them."""


def place_of(cluster: Layout) -> Place:
    """On the cluster's bridge, with the usual ports."""
    return Place(cluster.folder, cluster.address, 6443, 2379, 2380, 10257, 10259, cluster.services, cluster.pods)


def etcd(place: Place, keys: Keys, program: Program) -> list[str]:
    """One member, which does not wait for the disk: a cluster for tests does not outlive its machine."""
    client, peer = f"https://{place.address}:{place.etcd_port}", f"https://{place.address}:{place.peer_port}"
    authority, pair = str(keys.authority.certificate), keys.serving
    flags = {
        "name": "only",
        "data-dir": str(place.folder / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"only={peer}",
        "cert-file": str(pair.certificate),
        "key-file": str(pair.key),
        "trusted-ca-file": authority,
        "client-cert-auth": "true",
        "peer-cert-file": str(pair.certificate),
        "peer-key-file": str(pair.key),
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": "true",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    return _call(program("etcd"), flags)


def kube_apiserver(place: Place, keys: Keys, program: Program) -> list[str]:
    flags = {
        "advertise-address": str(place.address),
        "bind-address": str(place.address),
        "secure-port": str(place.api_port),
        "etcd-servers": f"https://{place.address}:{place.etcd_port}",
        "etcd-cafile": str(keys.authority.certificate),
        "etcd-certfile": str(keys.serving.certificate),
        "etcd-keyfile": str(keys.serving.key),
        "client-ca-file": str(keys.authority.certificate),
        "tls-cert-file": str(keys.serving.certificate),
        "tls-private-key-file": str(keys.serving.key),
        "kubelet-certificate-authority": str(keys.authority.certificate),
        "kubelet-client-certificate": str(keys.to_kubelets.certificate),
        "kubelet-client-key": str(keys.to_kubelets.key),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": str(keys.accounts.certificate),
        "service-account-signing-key-file": str(keys.accounts.key),
        "service-cluster-ip-range": str(place.services),
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "default-not-ready-toleration-seconds": str(EVICTED_AFTER),
        "default-unreachable-toleration-seconds": str(EVICTED_AFTER),
        "audit-policy-file": str(place.folder / "audit-policy.json"),
        "audit-log-path": str(place.folder / "audit.log"),
        "audit-log-maxsize": "64",
        "audit-log-maxbackup": "2",
    }
    if not place.accounts:
        flags["disable-admission-plugins"] = "ServiceAccount"
    return _call(program("kube-apiserver"), flags)


def kube_controller_manager(place: Place, keys: Keys, program: Program) -> list[str]:
    flags = {
        **_delegated(place, "controller-manager", place.controller_port),
        "service-cluster-ip-range": str(place.services),
        "root-ca-file": str(keys.authority.certificate),
        "cluster-signing-cert-file": str(keys.authority.certificate),
        "cluster-signing-key-file": str(keys.authority.key),
        "service-account-private-key-file": str(keys.accounts.key),
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "node-monitor-period": "2s",
        "node-monitor-grace-period": f"{LOST_AFTER}s",
    }
    if place.pods is not None:
        flags |= {"allocate-node-cidrs": "true", "cluster-cidr": str(place.pods)}
    return _call(program("kube-controller-manager"), flags)


def kube_scheduler(place: Place, program: Program) -> list[str]:
    flags = {**_delegated(place, "scheduler", place.scheduler_port), "leader-elect": "false"}
    return _call(program("kube-scheduler"), flags)


def containerd(node: Node) -> list[str]:
    return _inside(node, ["/usr/bin/containerd", "--config", str(node.folder / "containerd.toml")])


def kubelet(node: Node, program: Program) -> list[str]:
    flags = {
        "config": str(node.folder / "kubelet.json"),
        "kubeconfig": str(node.folder / "kubelet.kubeconfig"),
        "root-dir": str(node.folder / "kubelet"),
        "cert-dir": str(node.folder / "kubelet-certificates"),
        "hostname-override": node.name,
        "node-ip": str(node.address),
    }
    return _inside(node, _call(program("kubelet"), flags))


def kube_proxy(node: Node, program: Program) -> list[str]:
    return _inside(node, _call(program("kube-proxy"), {"config": str(node.folder / "kube-proxy.json")}))


def ctr(node: Node, *words: str) -> list[str]:
    """A call of containerd's own client on the images and containers that Kubernetes sees."""
    return ["ctr", "--address", str(node.socket), "--namespace", "k8s.io", *words]


def _delegated(place: Place, name: str, port: int) -> dict[str, str]:
    """A component that serves metrics to whom the API server vouches for."""
    kubeconfig = str(place.folder / f"{name}.kubeconfig")
    return {
        "bind-address": str(place.address),
        "secure-port": str(port),
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
    }


def _call(program: Path, flags: dict[str, str]) -> list[str]:
    return [str(program), *(f"--{name}={value}" for name, value in flags.items())]


def _inside(node: Node, argv: list[str]) -> list[str]:
    """In the node's network namespace only: `ip netns exec` would remount /sys and hide the cgroups as well."""
    return ["nsenter", f"--net={node.namespace}", "--", *argv]
