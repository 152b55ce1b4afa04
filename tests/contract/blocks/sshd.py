"""Debian's sshd on loopback, with throw-away keys, on a free port; ended by pid whatever happens."""

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blockyard.blocks.ssh_channel import SSHChannel
from tests.machine import sshd_program
from tests.ports import free_port

PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd, as root, insists on this empty folder; Debian's service unit makes it at boot."""


class SSHServer:
    """A running server: where it listens, and the keys that fit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("host", "user", "stranger"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)],
                check=True,
                stdin=subprocess.DEVNULL,
            )
        (folder / "authorized").write_text((folder / "user.pub").read_text())

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def known_hosts(self, key: str = "host") -> Path:
        """A file that knows this server by the public key `key`."""
        path = self.folder / f"known-{key}"
        path.write_text(f"[127.0.0.1]:{self.port} {(self.folder / f'{key}.pub').read_text()}")
        return path

    def channel(self, *, identity: str = "user", host_key: str = "host") -> SSHChannel:
        """A channel to this server; other keys than the right ones can be asked for."""
        return SSHChannel(
            "127.0.0.1",
            port=self.port,
            user=getpass.getuser(),
            identity_file=self.folder / identity,
            known_hosts=self.known_hosts(host_key),
        )

    def sessions(self) -> list[int]:
        """The processes that serve one connection each, children of the server."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def start(self) -> None:
        """Start the server on a free port and wait until it listens."""
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        for _ in range(5):
            self.port = free_port()
            self.process = subprocess.Popen(self._argv(), stdin=subprocess.DEVNULL)
            if self._listens():
                return
            self.stop()
        raise AssertionError(f"sshd does not listen; its log:\n{self.log}")

    def stop(self) -> None:
        """End the server and what it serves."""
        if self.process is None:
            return
        for pid in self.sessions() if self.process.poll() is None else []:
            os.kill(pid, 15)
        self.process.kill()
        self.process.wait()

    def _argv(self) -> list[str]:
        program = sshd_program()
        assert program is not None
        options = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": str(self.folder / "host"),
            "AuthorizedKeysFile": str(self.folder / "authorized"),
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",  # the folder of a test lies below /tmp, which anybody may write to
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "PrintMotd": "no",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [str(program), "-D", "-f", "/dev/null", "-E", str(self.folder / "log"), *words]

    def _listens(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return True
            except ConnectionRefusedError:
                time.sleep(0.02)
        return False


@contextmanager
def running_server(folder: Path) -> Iterator[SSHServer]:
    """A server for the time of the context."""
    server = SSHServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
