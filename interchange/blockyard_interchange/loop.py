"""The shell around the core: moves frames from sockets to the reactor, and its effects to journal and sockets.

It decides nothing. When to commit is `commits`'; while the journal cannot be written, clients are not read and nothing
that depends on a commit is sent. Managers go on being read; what they report waits for the same commit.
"""

import logging
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from blockyard import nearness
from blockyard.blobs import BlobFolder
from blockyard.errors import BadFrame, ConfigError
from blockyard.keyring import KeyRing
from blockyard.transport import AdaptivePoller, Context, Doors, Gate, Poller, Router
from blockyard.wire import client as client_wire
from blockyard.wire import codec
from blockyard.wire import manager as manager_wire
from blockyard_interchange import bodies
from blockyard_interchange.commits import Commits
from blockyard_interchange.complaints import Complaints
from blockyard_interchange.core import caching, compaction, entries, keeping, reactor, replay, timers
from blockyard_interchange.core.effects import Effects
from blockyard_interchange.core.figures import Figures, figures
from blockyard_interchange.core.state import State
from blockyard_interchange.health import Health
from blockyard_interchange.hub_port import HubPort
from blockyard_interchange.journal.errors import JournalFull, JournalUnavailable
from blockyard_interchange.journal.log import Log
from blockyard_interchange.own_keys import OwnKeys
from blockyard_interchange.settings import ProcessSettings
from blockyard_interchange.shutdown import Ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blockyard_interchange.metrics import MetricsPort

_log = logging.getLogger(__name__)

_FRAMES_A_TURN = 64
"""Frames read from one socket before the core has its turn."""
_KEYS_SECONDS = 1.0
"""How often the allow-lists are read again."""
_COMPACTIONS_A_TURN = 2
_TELL_SECONDS = 20.0
"""That the hub has, at the end, to come back if it is away, and to confirm what it was told."""


class Loop:
    """An interchange on an open journal. `run` returns when it is to end.

    It raises `JournalDamaged`, `Fenced` or what the system refuses.
    """

    _hub: HubPort | None = None
    _tell_until = 0.0

    def __init__(self, settings: ProcessSettings, log: Log, ending: Ending, health: Health) -> None:
        self._settings = settings
        self._log = log
        self._context = Context(max_sockets=65_000)
        self._gate = Gate(self._context, self._on_stranger)
        self._ring = KeyRing(settings.keys_folder)
        self._ring_seen = -1
        if settings.core.blobs:
            nearness.ensure(Path(settings.core.blobs))
        self._blobs = BlobFolder(settings.core.blobs) if settings.core.blobs else None
        self._ending = ending
        self._health = health
        self._commits = Commits(log)
        self._keys_at = 0.0
        self._ring_keys: tuple[dict[bytes, str], ...] = ()
        """What the key ring's files allow, on the side of clients and of managers: public key to user."""
        self._users: dict[str, str] = {}
        """What an allowed key proves, to its user; connections by others that stand are not listened to any more."""
        self._complaints = Complaints(_log)
        started = time.monotonic()
        self.state = State(settings.core, log.epoch, time.time() - started, seal=secrets.token_bytes(32))
        replay.replay(self.state, (entries.decode(entry) for entry in log.replay()), started)
        present = self._blobs.names() if self._blobs is not None and self.state.cache.results else []
        if lost := caching.drop_missing(self.state, frozenset(present)):
            _log.warning("%d cached results are dropped: their shared files are gone", lost)
        self._look_at_ring(started)
        self._scrapes = _open_port(settings.metrics) if settings.metrics else None
        self._figures: Figures | None = None
        """For who asked, as soon as the journal holds them."""
        self._own = OwnKeys(self._ring, settings.rotate_after)
        used = self._own.used
        self._clients = Router(self._context, settings.clients_endpoint, keys=used["clients"], domain="client")
        self._managers = Router(self._context, settings.managers_endpoint, keys=used["managers"], domain="pool")
        self._doors = Doors(self._clients, self._managers)
        if settings.hub_endpoint:
            self._hub = HubPort(self._context, self._gate, settings.hub_endpoint, self._ring)
        _log.info(
            "interchange ready: opening %d, %d tasks from the journal in %.2f s",
            log.epoch, len(self.state.tasks), time.monotonic() - started,
        )  # fmt: skip

    def run(self) -> None:
        """Serve until it is to end."""
        poller = Poller()
        for readable in (self._gate, self._clients, self._managers, self._ending.descriptor):
            poller.register(readable)
        if self._scrapes is not None:
            poller.register(self._scrapes.descriptor)
        if self._hub is not None:
            poller.register(self._hub.socket)
        health, adaptive = self._health, AdaptivePoller(poller)
        while not self._ending.is_asked or self._has_to_tell():
            now = health.turned_at = time.monotonic()
            wake = min(timers.next_wake(self.state, now), self._keys_at - now, self._commits.seconds_left(now))
            ready = adaptive.poll(wake, self._is_alone)
            now = time.monotonic()
            if self._gate in ready:
                self._gate.answer()
                self.state.counters.refused_peers = self._gate.refused
                self._doors.look()
            if now >= self._keys_at:
                self._doors.look()
                self._look_at_ring(now)
                self._look_at_own_keys(now)
            if self._managers in ready:
                self._read_managers(now)
            is_held = self._is_held(ready, now)
            if self._clients in ready and not is_held:
                self._read_clients(now)
            effects = reactor.turn(self.state, now, hears_clients=not is_held)
            if self._scrapes is not None and self._scrapes.descriptor in ready:
                self._take_figures(self._scrapes, effects, now)
            self._perform(effects, now)
            if self._figures is not None and (not self._commits.is_waiting or self._commits.is_failing):
                self._hand_over_figures()
            health.is_held = self._commits.is_failing
            if is_held and self._clients in ready:
                time.sleep(0.001)  # frames of clients wait unread: do not spin on them
        health.turned_at, health.stage = None, "ending"
        self._close()

    def _is_alone(self) -> bool:
        """No more than one task is unfinished."""
        more = 1
        for pool in self.state.pools.values():
            more -= pool.counters.unfinished
            if more < 0:
                return False
        return True

    def _has_to_tell(self) -> bool:
        """At the end: the hub has not confirmed everything, and there is time left."""
        notes, now = self.state.notes, time.monotonic()
        if self._ending.is_asked and not self._tell_until:
            self._tell_until = now + _TELL_SECONDS
            self._ending.hear()
        return notes is not None and bool(notes.kept) and now < self._tell_until

    def _is_held(self, ready: "Sequence[object]", now: float) -> bool:
        """Whether clients must wait: the journal can't be written, or the hub is far behind. Hears the hub first."""
        if self._hub is None:
            return self._commits.is_failing
        if self._hub.socket in ready:
            self._hub.read(self.state, now)
        return self._commits.is_failing or (self.state.notes is not None and self.state.notes.is_full)

    def _take_figures(self, scrapes: "MetricsPort", effects: Effects, now: float) -> None:
        """Copy the figures, and journal them: who has seen a counter shall not see it go back after a restart."""
        scrapes.take()
        self._figures = figures(self.state, now)
        if not self._commits.is_failing:
            effects.entries += compaction.snapshot(self.state)

    def _hand_over_figures(self) -> None:
        found, self._figures = self._figures, None
        if self._scrapes is not None and found is not None:
            self._scrapes.answer(found, self._commits.figures())

    def _read_clients(self, now: float) -> None:
        for peer, proven, frame in self._clients.receive_all(_FRAMES_A_TURN):
            user = self._users.get(proven)
            if user is None:
                self._clients.send(peer, codec.encode(client_wire.Refused(0, "key", self._shut_out(proven))))
                continue
            try:
                message = codec.from_client.decode(frame)
            except BadFrame as error:
                self._refuse(user, error)
                self._clients.send(peer, codec.encode(client_wire.Refused(0, "protocol", str(error))))
                continue
            near = isinstance(message, client_wire.Hello) and self._is_near(message.near)
            if self._blobs is not None and (session := self.state.peers.get(peer)) is not None and not session.near:
                message = bodies.spilled(message, self._blobs, self._settings.core.blob_threshold)
            reactor.from_client(self.state, peer, user, message, now, near=near)

    def _read_managers(self, now: float) -> None:
        for peer, proven, frame in self._managers.receive_all(_FRAMES_A_TURN):
            user = self._users.get(proven)
            if user is None:
                self._managers.send(peer, codec.encode(manager_wire.Refused("key", self._shut_out(proven))))
                continue
            try:
                message = codec.from_manager.decode(frame)
            except BadFrame as error:
                self._refuse(user, error)
                self._managers.send(peer, codec.encode(manager_wire.Refused("protocol", str(error))))
                continue
            near = isinstance(message, manager_wire.Join) and self._is_near(message.near)
            if self._blobs is not None and (one := self.state.manager_peers.get(peer)) is not None and not one.near:
                message = bodies.spilled(message, self._blobs, self._settings.core.blob_threshold)
            reactor.from_manager(self.state, peer, user, message, now, near=near)

    def _shut_out(self, proven: str) -> str:
        """Why one who was let in when it connected is heard no more."""
        if not self._ring.folder.exists():
            return f"the folder {self._ring.folder} was removed, and with it the keys of all: open a new client"
        return f"the key of {_owner(proven)} was revoked; 'blockyard keys issue' makes another"

    def _refuse(self, user: str, error: BadFrame) -> None:
        self.state.counters.refused_frames += 1
        self._complaints.add("frame of %s refused: %s", user, error)

    def _is_near(self, nonce: bytes) -> bool:
        """Whether who says this sees our blob folder as it is now; it may have been made anew."""
        if self._blobs is None:
            return False
        try:
            return secrets.compare_digest(nonce, nearness.ensure(self._blobs.path))
        except (OSError, ConfigError) as error:
            _log.warning("nobody is near while the blob folder is unfit: %s", error)
            return False

    def _on_stranger(self) -> bool:
        """A key that is not allowed asks to be let in: look whether it is since the last look."""
        if self._ring.changed_at() == self._ring_seen:
            return False
        self._look_at_ring(time.monotonic())
        return True

    def _look_at_ring(self, now: float) -> None:
        self._keys_at = now + _KEYS_SECONDS
        try:
            changed_at = self._ring.changed_at()
            if self._hub is not None:
                self._hub.look_at_ring()
            clients = {**self._ring.guests("client"), **self._ring.guests("keeper")}
            pools = self._ring.guests("pool")
        except OSError as error:
            _log.error("the key ring could not be looked at, who was allowed still is: %s", error)
            return
        self._ring_seen = changed_at
        keeping.on_ring(self.state, {guest.user: guest.pools for guest in clients.values()})
        ring_keys = tuple({key: guest.user for key, guest in side.items()} for side in (clients, pools))
        if ring_keys != self._ring_keys:
            self._ring_keys = ring_keys
            self._let_in()

    def _look_at_own_keys(self, now: float) -> None:
        for role, pair in self._own.look(now).items():
            (self._clients if role == "clients" else self._managers).rekey(pair)
            timers.on_cut_off(self.state, now)
            _log.info("%s know this interchange by another key from now on", role)

    def _let_in(self) -> None:
        """Have the gate let in whom the key ring and keepers allow, and nobody else."""
        self._users.clear()
        for domain, ring, ordered in zip(("client", "pool"), self._ring_keys, keeping.keys(self.state), strict=True):
            # A user may have several keys, and a connection stands only as long as its own is allowed.
            allowed = {key: f"{user} {key.decode()}" for key, user in {**ordered, **ring}.items()}
            self._gate.allow(domain, allowed)
            self._users.update((proven, _owner(proven)) for proven in allowed.values())

    def _perform(self, effects: Effects, now: float) -> None:
        """Do what a turn asks for: at once, commit, and what had to wait for the commit."""
        for peer, to_manager in effects.before:
            self._tell_manager(peer, to_manager)
        if not effects.empty:
            self._commits.add(effects, now)
        for turn in self._commits.commit(now, self._compact):
            reactor.on_committed(self.state, turn, self._commits.committed_at)
            self._finish(turn)

    def _tell_manager(self, peer: bytes, message: manager_wire.ToManager) -> None:
        manager = self.state.manager_peers.get(peer)
        if self._blobs is not None and manager is not None and not manager.near:
            message = bodies.inlined(message, self._blobs)
        if not self._managers.send(peer, codec.encode(message), _beat) and manager is not None:
            manager.patient_until = 0.0

    def _tell_client(self, peer: bytes, message: client_wire.ToClient) -> None:
        session = self.state.peers.get(peer)
        if self._blobs is not None and session is not None and not session.near:
            message = bodies.inlined(message, self._blobs)
        if not self._clients.send(peer, codec.encode(message), _pong) and session is not None:
            session.patient_until = 0.0  # no frame comes over a connection that is gone

    def _finish(self, effects: Effects) -> None:
        if effects.keys_changed:
            self._let_in()
        for peer, to_manager in effects.after_managers:
            self._tell_manager(peer, to_manager)
        for peer, to_client in effects.after_clients:
            self._tell_client(peer, to_client)
        if self._hub is not None:
            for peer, to_hub in effects.after_hub:
                self._hub.send(peer, to_hub)
        if self._blobs is not None:
            for name in effects.unlink:
                try:
                    self._blobs.unlink(name)
                except OSError as error:
                    _log.warning("blob %s could not be freed: %s", name, error)

    def _compact(self) -> bool:
        """Stage a bounded amount of compaction; whether that much was done, so that there may be more."""
        for _ in range(_COMPACTIONS_A_TURN):
            notes = self.state.notes
            live = self.state.live_bytes + (notes.kept_bytes if notes is not None else 0)
            number = self._log.oldest_to_compact(live)
            if number is None:
                return False
            self._log.replace_oldest(compaction.rewritten(self.state, self._log.entries(number)))
        return True

    def _close(self) -> None:
        if self.state.notes is not None and self.state.notes.kept:
            _log.error("%d packets are not confirmed by the hub; the journal keeps them", len(self.state.notes.kept))
        for entry in compaction.snapshot(self.state):
            self._log.append(entries.encode(entry))
        try:
            self._log.commit(sync=any(pool.settings.durability == "fsync" for pool in self.state.pools.values()))
        except (JournalFull, JournalUnavailable) as error:
            _log.error("the last figures could not be journaled: %s", error)
        self._log.close()
        if self._scrapes is not None:
            self._scrapes.close()
        if self._hub is not None:
            self._hub.close()
        for socket in (self._clients, self._managers, self._gate):
            socket.close()
        self._context.close()


def _beat(follows: int) -> bytes:
    return codec.encode(manager_wire.Beat(follows=follows))


def _pong(follows: int) -> bytes:
    return codec.encode(client_wire.Pong(follows))


def _open_port(endpoint: str) -> "MetricsPort":
    """The library is asked for only when it is needed. Raises ConfigError with the pip line when it is missing."""
    try:
        from blockyard_interchange.metrics import MetricsPort
    except ModuleNotFoundError as missing:
        if missing.name != "prometheus_client":
            raise
        raise ConfigError(
            f"metrics={endpoint!r}: prometheus-client is not installed; pip install 'blockyard[interchange]'"
        ) from missing
    return MetricsPort(endpoint)


def _owner(proven: str) -> str:
    """The user of what a handshake proved: the user id and the public key."""
    return proven.rpartition(" ")[0] or proven
