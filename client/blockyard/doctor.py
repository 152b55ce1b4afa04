"""Compares the environment of a client with those of the workers it uses: Python, and every package's version.

What is pickled on one side must unpickle on the other, so a package of two versions is a fault waiting to happen. One
task in each pool looks around there; what it sees is compared here (pure). Showing it is the command line's.
"""

import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as NotInTime
from enum import StrEnum
from typing import Any

import msgspec

from blockyard.errors import BlockyardError
from blockyard.futures import TaskFuture
from blockyard.options import Options
from blockyard.remote import RemoteEngine
from blockyard.submitter import Submitter


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What there is on one side. `packages`: normalised name to version."""

    python: str
    implementation: str
    machine: str
    node: str
    executable: str
    packages: dict[str, str]


class Weight(StrEnum):
    """How bad a finding is."""

    FAULT = "fault"
    """Tasks fail, or may."""
    NOTE = "note"
    """Matters only to tasks that use it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `subject` is 'python', 'machine', a package, or 'pool' when no worker answered."""

    pool: str
    subject: str
    client: str
    worker: str
    weight: Weight
    message: str


class PoolCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a pool. `worker` is None when none could be asked."""

    pool: str
    worker: Environment | None
    findings: list[Finding]


def make_probe() -> Callable[[], dict[str, Any]]:
    """The function that looks around. It travels by value: another version of this module there does not matter."""

    def probe() -> dict[str, Any]:
        import importlib.metadata  # everything that it needs it brings or imports itself
        import platform
        import re
        import socket
        import sys

        packages: dict[str, str] = {}
        for found in importlib.metadata.distributions():
            name = found.metadata["Name"]
            if name:
                packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), found.version)
        return {
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "machine": platform.machine(),
            "node": socket.gethostname(),
            "executable": sys.executable,
            "packages": packages,
        }

    return probe


def here() -> Environment:
    """This process's environment."""
    return msgspec.convert(make_probe()(), Environment)


def compare(pool: str, client: Environment, worker: Environment) -> list[Finding]:
    """What differs, faults first."""

    def finding(subject: str, ours: str, theirs: str, weight: Weight, message: str) -> Finding:
        return Finding(pool=pool, subject=subject, client=ours, worker=theirs, weight=weight, message=message)

    found = []
    if _minor(client.python) != _minor(worker.python) or client.implementation != worker.implementation:
        ours, theirs = (f"{one.implementation} {one.python}" for one in (client, worker))
        message = "functions are sent as this version's byte code: use the same on both sides"
        found.append(finding("python", ours, theirs, Weight.FAULT, message))
    if client.machine != worker.machine:
        message = "compiled packages and native buffers may differ"
        found.append(finding("machine", client.machine, worker.machine, Weight.NOTE, message))
    for name in sorted(client.packages.keys() & worker.packages.keys()):
        ours, theirs = client.packages[name], worker.packages[name]
        if ours != theirs:
            message = f"install one version on both sides: pip install {name}=={ours}"
            found.append(finding(name, ours, theirs, Weight.FAULT, message))
    for name in sorted(client.packages.keys() - worker.packages.keys()):
        message = "tasks that use it fail there: install it, or do not send its objects"
        found.append(finding(name, client.packages[name], "", Weight.NOTE, message))
    return found


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def examine(engine: RemoteEngine, pools: list[str], timeout: float) -> list[PoolCheck]:
    """Run one task in each of the pools and compare; waits at most `timeout` seconds in all."""
    ours = here()
    probe = make_probe()
    futures: dict[str, TaskFuture[dict[str, Any]]] = {}
    checks: dict[str, PoolCheck] = {}
    for pool in pools:
        submitter = Submitter(engine, Options(pool=pool, name="blockyard doctor"))
        try:
            futures[pool] = submitter.submit(probe)
        except BlockyardError as error:
            checks[pool] = _unasked(pool, str(error))
    deadline = time.monotonic() + timeout
    for pool, future in futures.items():
        checks[pool] = _check(pool, ours, future, max(0.0, deadline - time.monotonic()))
    return [checks[pool] for pool in pools]


def _check(pool: str, ours: Environment, future: TaskFuture[dict[str, Any]], timeout: float) -> PoolCheck:
    try:
        theirs = msgspec.convert(future.result(timeout), Environment)
    except NotInTime:
        why = future.explain()
        future.cancel()
        return _unasked(pool, f"no worker answered in time. {why}")
    except BlockyardError as error:
        return _unasked(pool, str(error))
    return PoolCheck(pool=pool, worker=theirs, findings=compare(pool, ours, theirs))


def _unasked(pool: str, message: str) -> PoolCheck:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    finding = Finding(pool=pool, subject="pool", client=python, worker="", weight=Weight.FAULT, message=message)
    return PoolCheck(pool=pool, worker=None, findings=[finding])


def verdict(checks: list[PoolCheck]) -> Mapping[Weight, int]:
    """How many findings of each weight there are."""
    findings = [finding for check in checks for finding in check.findings]
    return {weight: sum(finding.weight is weight for finding in findings) for weight in Weight}
