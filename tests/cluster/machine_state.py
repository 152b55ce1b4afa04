"""Whether this machine can have a cluster, and whether its names and addresses are free. The questions are pure."""

import errno
import json
import os
import shutil
import socket
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

import msgspec

from tests.cluster import parts
from tests.cluster.layout import Layout
from tests.cluster.shell import run


class Route(msgspec.Struct, frozen=True):
    """A range of addresses that the machine reaches through an interface; `alias` is what its maker wrote on it."""

    network: IPv4Network
    interface: str
    alias: str = ""


def missing() -> list[str]:
    """What the machine lacks for a cluster of its own, each as a sentence of what to do; empty when nothing."""
    wants = []
    if os.geteuid() != 0:
        wants.append("be root (network namespaces, containers)")
    packages = [package for file, package in parts.NEEDED_FILES if not Path(file).exists()]
    if packages:
        wants.append(f"apt-get install {' '.join(packages)}")
    if shutil.which("go") is None:
        wants.append("install Go 1.25 or newer (https://go.dev/dl)")
    return wants


def routes() -> list[Route]:
    """All IPv4 routes of this machine but the default one."""
    links = json.loads(run(["ip", "-json", "link", "show"]))
    aliases = {link["ifname"]: link.get("ifalias", "") for link in links}
    found = []
    for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "main"])):
        if route["dst"] != "default" and "dev" in route:
            device = route["dev"]
            found.append(Route(IPv4Network(route["dst"]), device, aliases.get(device, "")))
    return found


def conflict(cluster: Layout, machine: Sequence[Route]) -> str | None:
    """Why the cluster cannot have its addresses, naming who has them, or None."""
    for route in machine:
        if route.interface != cluster.bridge and route.network.overlaps(cluster.network):
            owner = f"the test cluster of {route.alias}" if route.alias else f"interface {route.interface}"
            return (
                f"the cluster of {cluster.checkout} would use {cluster.network}, but {route.network} belongs to"
                f" {owner}; take that one down, or choose N of 10.N.0.0/16 by BLOCKYARD_CLUSTER_NET=N"
            )
    return None


def claim(cluster: Layout) -> socket.socket | None:
    """Take the cluster's name for as long as this socket, or a process that inherited it, is open; None when taken.

    An abstract socket is seen by all who share the network, in whatever root file system and pid namespace they live,
    and cannot be left behind.
    """
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0blockyard-test-cluster-{cluster.id}")
    except OSError as error:
        holder.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    holder.set_inheritable(True)
    return holder
