"""What an interchange's address means outside of its cluster: a Service, its pods, the port in one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from blockyard.errors import ConfigError


class Address(msgspec.Struct, frozen=True):
    """A port of a Service, as ``tcp://SERVICE.NAMESPACE.svc:PORT`` names it."""

    service: str
    namespace: str
    port: int


class Place(msgspec.Struct, frozen=True):
    """A port of a pod."""

    pod: str
    port: int


def address_of(endpoint: str, namespace: str) -> Address:
    """Read an endpoint; `namespace` is for one that names none. Raises ConfigError when it is no Service's."""
    scheme, _, rest = endpoint.partition("://")
    host, _, port = rest.rpartition(":")
    parts = host.split(".")
    if scheme != "tcp" or not parts[0] or not port.isdecimal() or (len(parts) > 2 and parts[2] != "svc"):
        raise ConfigError(f"endpoint {endpoint!r}: expected tcp://SERVICE.NAMESPACE.svc:PORT, a Service of the cluster")
    return Address(parts[0], parts[1] if len(parts) > 1 else namespace, int(port))


def selector_of(service: Mapping[str, Any]) -> str:
    """A Service's pods as a label selector; '' when it selects none."""
    selector = service["spec"].get("selector") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def place_of(service: Mapping[str, Any], port: int, pods: Iterable[Mapping[str, Any]]) -> Place | None:
    """The pod that stands for a Service now, and its port; None while no pod does.

    A ready pod comes before one that only runs, and a younger one before an older: it has taken over.
    """
    target = next(
        (one.get("targetPort", port) for one in service["spec"].get("ports") or () if one["port"] == port), port
    )
    running = [
        pod
        for pod in pods
        if (pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
    ]
    if not running:
        return None
    chosen = max(running, key=lambda pod: (_is_ready(pod), pod["metadata"].get("creationTimestamp", "")))
    return Place(chosen["metadata"]["name"], target if isinstance(target, int) else _named(chosen, target, port))


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _named(pod: Mapping[str, Any], name: str, otherwise: int) -> int:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == name:
                return int(port["containerPort"])
    return otherwise
