"""What a manager is told at its start: from flags, environment and a JSON file, checked once, all faults together.

Precedence: flag, then environment (``BLOCKYARD_WORKER_<NAME>``), then the file of ``--settings``, then the default.
No secret is ever taken from a flag or the environment, where tasks could read it: the key comes in a file or through
an open descriptor.
"""

import argparse
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from blockyard.errors import ConfigError

ENVIRONMENT_PREFIX = "BLOCKYARD_WORKER_"
_PLACES = ("BLOCKYARD_NODE_INDEX", "OMPI_COMM_WORLD_RANK")
"""Where launchers tell a copy of a command its place in its block: `blockyard.blocks.fanout`, and Open MPI."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a manager's settings. Durations are seconds, sizes bytes; 0 means 'no limit' where a limit is meant."""

    endpoint: str
    """Where the interchange listens for managers, for example 'tcp://127.0.0.1:5555'."""
    server_key: str
    """The interchange's public key, 40 characters of Z85."""
    key_file: str = ""
    """The pool's key pair, as `blockyard keys` writes it; mode 0600."""
    key_fd: int = -1
    """Instead of `key_file`: an open descriptor to read the same text from. It is closed then, and no file remains."""
    pool: str = "default"
    block: str = "block"
    node: str = ""
    """Name of this node for people; empty: the host name."""
    address: str = ""
    """At which the others of its block reach this node, for MPI: an IPv4 address or a name; empty: the host name."""
    index: int = 0
    """Place of this node in its block, 0..nodes-1; not given: what the launcher says, see `_PLACES`."""
    workers: int = 0
    """Worker processes; 0: one per core."""
    cores: float = 0.0
    """What tasks may ask for in all; 0: the cores this process may use."""
    memory_bytes: int = 0
    """What tasks may ask for in all; 0: the cgroup's limit, else the machine's memory."""
    accelerators: int = 0
    """What tasks may ask for in all; 0: as many as have names."""
    accelerator_names: list[str] = []
    """Names or numbers, of all nodes of a block: this node's are the `index`-th so many. None: what this process's own
    `accelerator_variable` names, else numbers from 0."""
    accelerator_variable: str = "CUDA_VISIBLE_DEVICES"
    """Set for a task that asks for accelerators, to the names of those it got, as is BLOCKYARD_ACCELERATORS."""
    preload: list[str] = []
    """Modules imported once, before workers are forked. They must not start threads."""
    worker_init: str = ""
    """Called once in each worker before its first task, without arguments: 'package.module:function', or a file with
    the function pickled."""
    memory_per_worker: int = 0
    """A worker and its children above this end the try as out of memory; a try's own `memory` comes before it."""
    memory_period: float = 0.2
    """Seconds between two looks at the memory of the workers."""
    max_tasks_per_worker: int = 0
    """A worker is replaced after so many tries."""
    max_rss: int = 0
    """A worker that holds more than this between two tries is replaced."""
    pin_cores: bool = False
    """Give each worker its own share of the cores (sched_setaffinity)."""
    supervisor: int = 0
    """Pid of the process, parent or not, that this one must not outlive; 0: none."""
    walltime: float = 0.0
    """Seconds until this block is ended; it is given nothing that cannot end in time. 0: it is not."""
    drain_grace: float = 20.0
    """Seconds that running tries have after SIGTERM, before they end as lost."""
    stop_grace: float = 2.0
    """Seconds between asking a try that timed out to end and ending it."""
    flush_period: float = 0.005
    """Outcomes of very short tries wait at most this long for company, and twice as long while there is some."""
    chunk_seconds: float = 0.01
    """Work that one frame to a worker should hold."""
    output_bytes: int = 64 * 1024
    """Of what a task prints, so much of the end is kept."""
    output_tasks: int = 1000
    """Output is kept for so many tasks that printed something."""
    radio_file: str = ""
    """A monitoring radio's config as JSON, complete, mode 0600; empty: nothing is measured or told."""
    sample_seconds: float = 1.0
    """Between two looks at what running tries use; 0: none. Only with a radio."""
    blob_near: str = ""
    """Nonce file of the blob folder, when this machine shares one with the interchange."""


def read_settings(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Gather the settings.

    Raises ConfigError that lists every fault with the place where it was found. ``--help`` prints and exits.
    """
    flags = vars(_parser().parse_args(argv))
    path = flags.pop("settings") or environment.get(ENVIRONMENT_PREFIX + "SETTINGS", "")
    raw: dict[str, object] = _read_file(Path(path)) if path else {}
    faults: list[str] = []
    for field in msgspec.structs.fields(Settings):
        variable = ENVIRONMENT_PREFIX + field.name.upper()
        for place, text in ((f"flag --{_flag(field.name)}", flags[field.name]), (variable, environment.get(variable))):
            if text is not None:
                _take(raw, field, text, place, faults)
                break
    place = next((environment[name] for name in _PLACES if name in environment), "")
    if place.isdecimal():
        raw.setdefault("index", int(place))
    if secret := environment.get(ENVIRONMENT_PREFIX + "KEY"):
        faults.append(
            f"{ENVIRONMENT_PREFIX}KEY ({len(secret)} characters): tasks could read a key in the environment; "
            "put it into a file of mode 0600 and name that by key_file"
        )
    if faults:
        raise ConfigError("; ".join(faults))
    return _checked(raw)


def _checked(raw: Mapping[str, object]) -> Settings:
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"worker settings: {error}; 'python -m blockyard_worker --help' lists them") from error
    faults = [
        f"{name}: {value!r} is negative"
        for name, value in msgspec.structs.asdict(settings).items()
        if isinstance(value, int | float) and value < 0 and name != "key_fd"
    ]
    if not re.fullmatch(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}", settings.server_key):
        faults.append(f"server_key: {settings.server_key!r} is not a public key, 40 characters of Z85")
    if (settings.key_fd >= 0) == bool(settings.key_file):
        faults.append("key_file, key_fd: give exactly one of the two")
    names, needed = settings.accelerator_names, settings.accelerators * (settings.index + 1)
    if names and len(names) < needed:
        faults.append(
            f"accelerator_names: {len(names)} names; with accelerators={settings.accelerators} the node of index "
            f"{settings.index} needs {needed}"
        )
    if faults:
        raise ConfigError("worker settings: " + "; ".join(faults))
    return settings


def accelerators_of(settings: Settings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The names of this node's accelerators, numbers where they have none.

    Raises ConfigError when `accelerator_variable` names fewer here than this node is to have.
    """
    count = settings.accelerators
    if settings.accelerator_names:
        return tuple(settings.accelerator_names[count * settings.index :][: count or None])
    visible = environment.get(settings.accelerator_variable, "")
    names = [name for part in visible.split(",") if (name := part.strip())] or [str(number) for number in range(count)]
    if len(names) < count:
        raise ConfigError(
            f"accelerators={count}, but {settings.accelerator_variable}={visible!r} has {len(names)} here; ask for as "
            "many, or give accelerator_names"
        )
    return tuple(names[:count])


def _take(raw: dict[str, object], field: msgspec.structs.FieldInfo, text: str, place: str, faults: list[str]) -> None:
    if field.type is str:
        raw[field.name] = text
    elif field.type == list[str]:
        raw[field.name] = [part for part in text.split(",") if part]
    else:
        try:
            raw[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            faults.append(f"{place}: {text!r}: {error}")


def _read_file(path: Path) -> dict[str, object]:
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"settings file {path}: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"settings file {path}: expected a JSON object, found {type(raw).__name__}")
    return raw


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m blockyard_worker",
        allow_abbrev=False,
        description="Run the tasks of one node of a block: a manager and its workers.",
        epilog=f"Each flag can also be given as {ENVIRONMENT_PREFIX}<NAME> or in the JSON file of --settings.",
    )
    parser.add_argument("--settings", metavar="FILE", help="JSON object with any of the settings below")
    for field in msgspec.structs.fields(Settings):
        parser.add_argument(f"--{_flag(field.name)}", metavar=_flag(field.name).upper(), dest=field.name)
    return parser


def _flag(name: str) -> str:
    return name.replace("_", "-")


def default_cores() -> float:
    """Cores this process may use: its affinity, and the cgroup's CPU quota when there is one."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))


def default_memory_bytes() -> int:
    """Memory this process may use: the cgroup's limit, else all of the machine."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text != "max":
            total = min(total, int(text))
    return total
