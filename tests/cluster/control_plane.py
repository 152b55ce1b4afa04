"""etcd and the API server, alone or with the controllers and the scheduler of a whole cluster."""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from tests.cluster import commands, configs, processes
from tests.cluster.certificates import Authority, Pair
from tests.cluster.commands import Keys, Place, Program
from tests.cluster.kubectl import Json, Kubectl
from tests.cluster.shell import CommandFailed
from tests.cluster.waiting import wait_until

READY_SECONDS = 120.0
SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


def write_keys(place: Place, authority: Authority) -> Keys:
    """Make everything that etcd and the API server prove themselves with, and the administrator's kubeconfig."""
    addresses = [place.address, place.services[1], IPv4Address("127.0.0.1")]
    keys = Keys(
        authority=authority.pair,
        serving=authority.issue("apiserver", "kube-apiserver", None, ("localhost", *SERVICE_NAMES), addresses),
        to_kubelets=authority.issue("to-kubelets", "kube-apiserver-kubelet-client", "system:masters"),
        accounts=authority.service_account_keys(),
    )
    admin = authority.issue("admin", "blockyard-test-admin", "system:masters")
    write_kubeconfig(place.folder / "kubeconfig", url(place), authority, admin)
    return keys


def write_kubeconfig(path: Path, server: str, authority: Authority, pair: Pair) -> None:
    """For who holds `pair`, readable by the owner only."""
    path.touch(mode=0o600)
    certificate, key = pair.certificate.read_bytes(), pair.key.read_bytes()
    path.write_text(configs.kubeconfig(server, authority.pair.certificate.read_bytes(), certificate, key))


def url(place: Place) -> str:
    return f"https://{place.address}:{place.api_port}"


def start_api_server(place: Place, keys: Keys, program: Program, mark: str, claim: socket.socket | None = None) -> None:
    """Start etcd and the API server, which inherit `claim`, and return at once."""
    (place.folder / "audit-policy.json").write_text(configs.audit_policy())
    (place.folder / "etcd").mkdir(mode=0o700, exist_ok=True)
    held: Sequence[int] = [claim.fileno()] if claim is not None else []
    logs = place.folder / "logs"
    processes.start(commands.etcd(place, keys, program), mark, logs / "etcd.log", held)
    processes.start(commands.kube_apiserver(place, keys, program), mark, logs / "kube-apiserver.log", held)


def wait_ready(kubectl: Kubectl, logs: Path) -> float:
    """Until the API server says it is ready; the seconds that took. TimeoutError repeats the end of its log."""

    def amiss() -> str | None:
        for name in ("etcd", "kube-apiserver"):
            if processes.started(logs / f"{name}.log") is None:
                raise RuntimeError(f"{name} ended: {tail(logs / f'{name}.log')}")
        try:
            kubectl.run("get", "--raw", "/readyz", timeout=10)
        except CommandFailed as error:
            return f"{error}; {tail(logs / 'kube-apiserver.log')}"
        return None

    return wait_until("the API server ready", amiss, READY_SECONDS)


def start_controllers(place: Place, keys: Keys, authority: Authority, program: Program, mark: str) -> None:
    """Start the controller manager and the scheduler, and return at once."""
    for name in ("controller-manager", "scheduler"):
        pair = authority.issue(name, f"system:kube-{name}")
        write_kubeconfig(place.folder / f"{name}.kubeconfig", url(place), authority, pair)
    logs = place.folder / "logs"
    manager = commands.kube_controller_manager(place, keys, program)
    processes.start(manager, mark, logs / "kube-controller-manager.log")
    processes.start(commands.kube_scheduler(place, program), mark, logs / "kube-scheduler.log")


def is_ready(node: Json) -> bool:
    """Whether a Node object says it is."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def tail(log: Path, characters: int = 2000) -> str:
    """The end of a log, for an error to repeat."""
    return log.read_text(errors="replace")[-characters:] if log.exists() else f"{log} does not exist"
