"""What the operator is told at its start, from flags and environment, checked once, all faults together.

Precedence: flag, then environment (``BLOCKYARD_OPERATOR_<NAME>``), then the default. Secrets are none of it: keys are
in the release's Secrets.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from blockyard.errors import ConfigError
from blockyard.kube.kinds import LABEL, OBJECT_NAME

PREFIX: Final = "BLOCKYARD_OPERATOR_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of the operator's settings. Durations in seconds."""

    release: str = "blockyard"
    """Of this release's objects: Secrets RELEASE-keys, RELEASE-client, Lease RELEASE-operator."""
    namespace: str = ""
    """Where the release is; default: that of the pod or of the kubeconfig's context."""
    pod: str = ""
    """Name of this replica in Lease and Events; default: the host name."""
    namespaces: list[str] = []
    """Whose pools are served; empty: all."""
    clients_endpoint: str = ""
    """Where the interchange listens for clients: 'tcp://HOST:5555'."""
    managers_endpoint: str = ""
    """Where it listens for managers, as pods reach it: 'tcp://HOST:5556'."""
    clients: dict[str, list[str]] = {}
    """Further clients that have a key of their own, to the only pools that it is good for, NAMESPACE/POOL; as JSON."""
    hub_endpoint: str = ""
    """Where the hub listens for operators: 'tcp://HOST:5558'; default: the release has none."""
    worker_image: str = ""
    pull_policy: str = ""
    pull_secrets: list[str] = []
    listen: str = "0.0.0.0:9090"
    """HOST:PORT of probes and metrics."""
    log_level: str = "INFO"
    kubeconfig: str = ""
    context: str = ""
    """Of the kubeconfig; both are for an operator that runs outside its cluster."""
    lease_seconds: float = 15.0
    """A leader that is not heard of for so long has lost."""
    renew_seconds: float = 3.0
    retry_seconds: float = 1.0
    """How often the others look at the Lease."""
    write_timeout: float = 4.0
    """Of one request; none is begun that could outlive the Lease."""
    concurrency: int = 16
    """Reconciles at a time."""
    resync_seconds: float = 300.0
    """How often the cache is held against the API server's lists."""


def read_settings(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Gather the settings. Raises ConfigError that lists every fault with the place where it was found."""
    flags = vars(_parser().parse_args(argv))
    raw: dict[str, object] = {}
    faults: list[str] = []
    for field in msgspec.structs.fields(Settings):
        variable = PREFIX + field.name.upper()
        for place, text in (
            (f"--{field.name.replace('_', '-')}", flags[field.name]),
            (variable, environment.get(variable)),
        ):
            if text is None:
                continue
            try:
                raw[field.name] = _value(field.type, text)
            except msgspec.DecodeError as error:
                faults.append(f"{place}: {text!r}: {error}")
            break
    settings = Settings() if faults else msgspec.convert(raw, Settings)
    faults += _missing(settings, raw)
    if faults:
        raise ConfigError("operator settings: " + "; ".join(faults))
    return settings


def _value(kind: Any, text: str) -> object:
    """Read a setting. Raises msgspec.DecodeError."""
    if kind == dict[str, list[str]]:
        return msgspec.json.decode(text, type=kind) if text else {}
    value: object = [part for part in text.split(",") if part] if kind == list[str] else text
    return msgspec.convert(value, kind, strict=False)


def _missing(settings: Settings, raw: Mapping[str, object]) -> list[str]:
    needed = ("clients_endpoint", "managers_endpoint", "worker_image")
    faults = [f"{PREFIX}{name.upper()}: is missing" for name in needed if not raw.get(name)]
    if settings.renew_seconds + settings.write_timeout >= settings.lease_seconds:
        faults.append(
            f"lease_seconds: {settings.lease_seconds:g} leaves no time to renew every {settings.renew_seconds:g} s "
            f"with requests of up to {settings.write_timeout:g} s"
        )
    for name, pools in settings.clients.items():
        if not re.fullmatch(LABEL, name) or name == "default":
            faults.append(f"clients: {name!r} is no name for a further client: small letters, digits and '-'")
        strange = [pool for pool in pools if not re.fullmatch(f"{LABEL}/{OBJECT_NAME}", pool)]
        faults += [f"clients: {name}: {pool!r} is not NAMESPACE/POOL" for pool in strange]
        if not pools:
            faults.append(f"clients: {name}: name the pools that its key is good for")
    host, colon, port = settings.listen.rpartition(":")
    if not (host and colon and port.isdigit()):
        faults.append(f"listen: {settings.listen!r} is not HOST:PORT")
    return faults


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m blockyard_operator",
        allow_abbrev=False,
        description="Keep the blocks of WorkerPools as they should be.",
        epilog=f"Each flag can also be given as {PREFIX}<NAME>; lists are separated by commas.",
    )
    for field in msgspec.structs.fields(Settings):
        parser.add_argument(f"--{field.name.replace('_', '-')}", metavar=field.name.upper(), dest=field.name)
    return parser
