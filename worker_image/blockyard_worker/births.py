"""What a manager and its template say to each other; apart from both, so that a manager imports nothing that pickles.

The link is a SOCK_SEQPACKET socket: a message is a packet. Managers send one `Configuration`, then a `Spawn` for each
worker, with descriptors beside it; templates answer with `Born`, or with `Broken`.
"""

import msgspec


class WorkerConfiguration(msgspec.Struct, frozen=True):
    """What all workers of a manager are told."""

    flush_period: float
    worker_init: str
    """File with a pickled function to call first; '' for none."""
    measures: bool = False
    """Tell what each try used."""


class Configuration(msgspec.Struct, frozen=True):
    """First message to the template."""

    manager: int
    preload: list[str]
    worker: WorkerConfiguration


class Spawn(msgspec.Struct, frozen=True):
    """Fork a worker. With it travel descriptors: its socket, tokens, page, and where its output goes."""

    number: int
    nonce: bytes
    """Marks the ends of tasks' outputs, see `worker.capture`."""
    cores: list[int]
    """Cores to run on; empty: any."""
    environment: dict[str, str] = {}
    """Set on top of the template's own."""


class Born(msgspec.Struct, tag=True, frozen=True):
    """A worker exists."""

    number: int
    pid: int


class Broken(msgspec.Struct, tag=True, frozen=True):
    """The template cannot make workers: a module to preload does not import."""

    message: str


DESCRIPTORS = 4
MAX_MESSAGE_BYTES = 64 * 1024
encode = msgspec.msgpack.Encoder().encode
replies: msgspec.msgpack.Decoder[Born | Broken] = msgspec.msgpack.Decoder(Born | Broken)
