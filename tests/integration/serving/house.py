"""The processes of one interchange on TCP, of its managers, and who has which key; all ended in the end, by pid."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from blockyard import Client
from blockyard.keyring import KeyRing
from blockyard.transport import KeyPair
from blockyard.wire import control, keeping
from tests.integration.processes import WITHIN, wait_until
from tests.integration.questions import engine_of
from tests.machine import import_path
from tests.ports import free_port


class Answer(NamedTuple):
    """Of a probe."""

    code: int
    text: str


class Interchange:
    """One process and what it logs."""

    def __init__(self, settings: Path, environment: dict[str, str], log: Path, health: int) -> None:
        self.log = log
        self._health = health
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "blockyard_interchange", str(settings)],
                env=os.environ | environment, stdout=file, stderr=file,
            )  # fmt: skip

    def probe(self, path: str) -> Answer:
        """Ask over HTTP; code 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}{path}", timeout=10.0) as answer:
                return Answer(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())
        except OSError as error:
            return Answer(0, str(error))

    def wait_ready(self) -> None:
        """Until it says that it serves."""
        wait_until("the interchange is ready", lambda: self._seen("/readyz"), lambda seen: seen.code == 200, WITHIN)

    def wait_for_probe(self, path: str, code: int) -> Answer:
        """Until a probe is answered so."""
        return wait_until(f"{path} says {code}", lambda: self._seen(path), lambda seen: seen.code == code, WITHIN)

    def wait_to_say(self, words: str) -> None:
        """Until its log holds these words."""
        wait_until(f"it says {words!r}", self.said, lambda said: words in said, WITHIN)

    def _seen(self, path: str) -> Answer:
        ended = self.process.poll()
        assert ended is None, f"it ended with {ended}:\n{self.said()}"
        return self.probe(path)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, within: float = WITHIN) -> int:
        """Wait for its end and return the exit code."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended within {within:g} s:\n{self.said()}") from None

    def said(self) -> str:
        """Its log."""
        return self.log.read_text()[-5000:]


class House:
    """One state folder, its key ring, and what was started on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ring = KeyRing(folder / "keys")
        self.ring.interchange("clients")
        self.ring.interchange("managers")
        self.ring.issue("keeper-operator")
        self.ring.client()
        self.clients, self.managers = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        self.started: list[subprocess.Popen[bytes]] = []
        self.open: list[Client] = []

    def start(self, journal: str = "", environment: dict[str, str] | None = None, **settings: Any) -> Interchange:
        """Start an interchange; keywords are its settings."""
        health = free_port()
        state = self.folder / f"state-{len(self.started)}" if journal else self.folder / "state"
        state.mkdir(exist_ok=True)
        given: dict[str, Any] = {
            "folder": str(state), "keys": str(self.ring.folder), "clients": self.clients, "managers": self.managers,
            "health": f"127.0.0.1:{health}", "journal": journal, "parent": os.getpid(),
            "rotate_after": 0.0,
            "core": {"pools": {}},
        }  # fmt: skip
        path = self.folder / f"settings-{len(self.started)}.json"
        path.write_text(json.dumps(given | settings))
        log = self.folder / f"interchange-{len(self.started)}.log"
        made = Interchange(path, environment or {}, log, health)
        self.started.append(made.process)
        return made

    def move_clients(self) -> None:
        """The next interchange listens for clients elsewhere."""
        self.clients = f"tcp://127.0.0.1:{free_port()}"

    def said(self) -> str:
        """What the interchanges have logged."""
        return "".join(log.read_text() for log in sorted(self.folder.glob("interchange-*.log")))

    def name_server_key(self, keys: KeyPair) -> None:
        """Name a pair of the interchange's in the settings of all managers."""
        for path in self.folder.glob("manager-*.json"):
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(json.loads(path.read_text()) | {"server_key": keys.public.decode()}))
            fresh.replace(path)

    def client(self, key: str = "client-default", keys: KeyPair | None = None, **fields: Any) -> Client:
        """Connect with an issued key, or with this pair."""
        path = self.ring.path(key)
        if keys is not None:
            path = self.folder / "given.key"
            keys.save(path)
        server = self.ring.interchange("clients").public.decode()
        made = Client.connect(self.clients, server_key=server, client_key=path, **fields)
        self.open.append(made)
        return made

    def order(self, order: keeping.KeeperOrder, keeper: Client) -> int:
        """Have a keeper order something; returns how much it did."""
        return engine_of(keeper).ask(order, control.Done, WITHIN).count

    def manager(self, pool: str, keys: KeyPair) -> subprocess.Popen[bytes]:
        """Start a manager of this pool with one worker."""
        number = len(self.started)
        key_file = self.folder / f"pool-{number}.key"
        keys.save(key_file)
        settings = {
            "endpoint": self.managers, "server_key": self.ring.interchange("managers").public.decode(),
            "key_file": str(key_file), "pool": pool, "block": f"block-{number}", "workers": 1,
            "supervisor": os.getpid(),
        }  # fmt: skip
        path = self.folder / f"manager-{number}.json"
        path.write_text(json.dumps(settings))
        with (self.folder / f"manager-{number}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "blockyard_worker", "--settings", str(path)],
                env=os.environ | {"PYTHONPATH": import_path()}, stdout=log, stderr=log,
            )  # fmt: skip
        self.started.append(process)
        return process

    def close(self) -> None:
        """End everything."""
        for client in self.open:
            client.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + WITHIN
        for process in reversed(self.started):  # managers wait for an interchange to hear of their end
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def house(folder: Path) -> Iterator[House]:
    """A house whose processes are gone when the block ends."""
    made = House(folder)
    try:
        yield made
    finally:
        made.close()


def a_pool(name: str, keys: KeyPair, **fields: Any) -> keeping.SetPool:
    """The order to define a pool for the owner of these keys."""
    return msgspec.structs.replace(keeping.SetPool(name, [keys.public]), **fields)


def port_of(endpoint: str) -> int:
    """Of a TCP endpoint."""
    return int(endpoint.rpartition(":")[2])
