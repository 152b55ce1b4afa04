"""The argv of the OpenSSH client for one host. Pure, apart from looking whether the named files exist.

The settings are those that keep a link safe and quiet whatever the user's own configuration says: the host key must
be known, there is no prompt, no agent, no forwarding.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import msgspec

from blockyard.blocks.faults import ChannelError

KEEPALIVE_SECONDS: Final = 5
KEEPALIVE_MISSES: Final = 3
"""A link that is silent for the product of both is lost."""

BOOTSTRAP: Final = 'import sys;c=sys.stdin.buffer;exec(compile(c.read(int(c.readline())),"shim","exec"));run(c)'
"""What the far side's Python is given as a word: read the shim's source from stdin, run it on the rest."""

FAULTS: Final = (
    ("Host key verification failed", "HostKeyRejected"),
    ("Permission denied", "AccessDenied"),
    ("Could not resolve hostname", "HostUnknown"),
    ("Connection refused", "ConnectionRefused"),
    ("timed out", "ConnectionTimedOut"),
    ("No route to host", "HostUnreachable"),
    ("not found", "PythonNotFound"),
)
"""What ssh, or the shell there, says when there is no link; the first match names the reason."""


class SSHTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A host and how to reach it; `SSHChannel` says what the fields mean. Raises ChannelError naming a bad one."""

    host: str
    identity_file: Path
    known_hosts: Path
    port: int = 22
    user: str | None = None
    python: str = "python3"
    config_file: Path | None = None
    connect_timeout: int = 10

    def __post_init__(self) -> None:
        for field, name in (("host", self.host), ("user", self.user)):
            # A name that begins with a dash would be read as an option, ProxyCommand among them.
            if name is not None and (not name or name.startswith("-") or any(c.isspace() or c == "@" for c in name)):
                raise ChannelError(f"{field}={name!r} is no {field} name: no blanks, no '@', no dash in front")
        if not 0 < self.port < 65536:
            raise ChannelError(f"port={self.port}: give one from 1 to 65535")
        if self.connect_timeout < 1:
            raise ChannelError(f"connect_timeout={self.connect_timeout}: give whole seconds from 1")
        files = (("identity_file", self.identity_file), ("known_hosts", self.known_hosts))
        optional = (("config_file", self.config_file),) if self.config_file is not None else ()
        for field, path in (*files, *optional):
            if path is None or not path.is_file():
                raise ChannelError(f"{field}={str(path)!r} is no file: name the one to use")


def ssh_argv(target: SSHTarget) -> tuple[str, ...]:
    """Return the command that starts the far end of a channel."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": _in_configuration(target.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ControlPath": "none",
        "ConnectTimeout": str(target.connect_timeout),
        "ServerAliveInterval": str(KEEPALIVE_SECONDS),
        "ServerAliveCountMax": str(KEEPALIVE_MISSES),
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    config = str(target.config_file) if target.config_file is not None else "none"
    user = ("-l", target.user) if target.user is not None else ()
    # ssh joins what follows the host with blanks and hands it to the login shell there; hence the quotes.
    far = (shlex.quote(target.python), "-c", shlex.quote(BOOTSTRAP))
    identity = ("-i", str(target.identity_file))
    return ("ssh", "-T", "-F", config, *words, *identity, "-p", str(target.port), *user, "--", target.host, *far)


def _in_configuration(path: Path) -> str:
    """Quote a path as ssh_config(5) wants it, where blanks separate values and per cent begins a token."""
    return '"' + str(path).replace("%", "%%") + '"'


def read_fault(said: str) -> str:
    """Name in one word why there is no link, from what ssh said."""
    return next((name for text, name in FAULTS if text in said), "ConnectionFailed")
