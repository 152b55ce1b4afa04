"""Which of the replicas leads: a Lease of `coordination.k8s.io`, taken by compare-and-swap.

`decide` is pure: it judges a Lease by when *we* saw it change last, so that clocks of different machines do not matter.
The leader may write only while its Lease is surely its own (`may_write`): a request that is begun must be over before
another could have taken it. Who lost the Lease ends its process; who ends in order gives it back first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec

from blockyard.errors import BlockyardError
from blockyard.kube.api import Api, Object
from blockyard.kube.faults import ApiError, ApiUnreachable
from blockyard.kube.kinds import LEASE

log = logging.getLogger(__name__)


class NotLeader(BlockyardError):
    """This process must not write (any more): another one leads, or might."""


class Seen(msgspec.Struct, frozen=True):
    """What a Lease said, and when (our clock) it began to say so."""

    holder: str
    stamp: str
    duration: float
    since: float


class Move(Enum):
    """What a candidate does next."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def look(lease: Mapping[str, Any], before: Seen | None, now: float) -> Seen:
    """Take a Lease in; one that has not changed keeps its instant."""
    spec = lease.get("spec") or {}
    stamp = f"{spec.get('renewTime')}/{spec.get('leaseTransitions')}"
    holder = spec.get("holderIdentity") or ""
    since = before.since if before is not None and (before.holder, before.stamp) == (holder, stamp) else now
    return Seen(holder, stamp, float(spec.get("leaseDurationSeconds") or 0), since)


def decide(seen: Seen | None, identity: str, now: float) -> Move:
    """What to do about a Lease; `seen` None: there is none."""
    if seen is None:
        return Move.CREATE
    if seen.holder == identity:
        return Move.RENEW
    if not seen.holder or now - seen.since > seen.duration:
        return Move.TAKE
    return Move.WAIT


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Where the Lease is, who we are, and the times in seconds; see `settings.Settings`."""

    namespace: str
    name: str
    identity: str
    duration: float
    renew: float
    retry: float
    write_timeout: float


class Election:
    """A candidate. `api` must be one that may write without leading."""

    def __init__(self, api: Api, terms: Terms, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._terms = terms
        self._clock = clock
        self._seen: Seen | None = None
        self._lease: Object | None = None
        self._held_until: float | None = None
        self._over = False
        self.heard_at = clock()
        """When the API server last answered about the Lease."""

    @property
    def leads(self) -> bool:
        """Whether the Lease is surely ours now."""
        return self._held_until is not None and not self._over and self._clock() < self._held_until

    def may_write(self) -> None:
        """Raise NotLeader unless a request that begins now will be over while we surely lead."""
        if self._held_until is None or self._over or self._clock() + self._terms.write_timeout >= self._held_until:
            raise NotLeader(f"{self._terms.identity} does not hold Lease {self._terms.namespace}/{self._terms.name}")

    async def win(self) -> None:
        """Wait until we lead."""
        while not await self._try():
            await asyncio.sleep(self._terms.retry)
        log.info("leading", extra={"lease": self._terms.name, "identity": self._terms.identity})

    async def hold(self) -> None:
        """Renew for as long as that succeeds; returns when the Lease is lost."""
        while True:
            await asyncio.sleep(self._terms.renew if self.leads else self._terms.retry)
            if self._over:
                return
            if not await self._try_in_time() and (self._seen is None or self._seen.holder != self._terms.identity):
                break
            if not self.leads:
                break
        self._over = True
        log.error(
            "lost the Lease", extra={"lease": self._terms.name, "holder": self._seen.holder if self._seen else ""}
        )

    async def give_back(self) -> None:
        """Let the next one lead at once. Nothing may be written afterwards."""
        held, self._over = self.leads, True
        if not held or self._lease is None:
            return
        spec = {**self._lease["spec"], "holderIdentity": "", "renewTime": _stamp()}
        try:
            await self._api.replace(LEASE, {**self._lease, "spec": spec})
        except (ApiError, ApiUnreachable) as error:
            log.warning("could not give the Lease back: %s", error)

    async def _try_in_time(self) -> bool:
        """Try, but not beyond the end of the Lease: then it is lost, whatever the answer would have been."""
        assert self._held_until is not None
        try:
            async with asyncio.timeout(max(0.0, self._held_until - self._clock())):
                return await self._try()
        except TimeoutError:
            return False

    async def _try(self) -> bool:
        """Look, and take or renew the Lease if we may; whether it is ours then."""
        try:
            return await self._step()
        except ApiError as error:
            self.heard_at = self._clock()
            if not (error.conflict or error.already_exists or error.not_found):
                log.warning("the Lease could not be read or written: %s", error)
        except ApiUnreachable as error:
            log.warning("the Lease could not be read or written: %s", error)
        self._lease = None
        return False

    async def _step(self) -> bool:
        if self._lease is None or self._seen is None or self._seen.holder != self._terms.identity:
            self._lease = await self._read()
            self.heard_at = self._clock()
            self._seen = None if self._lease is None else look(self._lease, self._seen, self._clock())
        began = self._clock()
        match decide(self._seen, self._terms.identity, began):
            case Move.WAIT:
                return False
            case Move.CREATE:
                self._lease = await self._api.create(LEASE, self._wanted(None))
            case Move.TAKE | Move.RENEW:
                self._lease = await self._api.replace(LEASE, self._wanted(self._lease))
        self.heard_at = self._clock()
        self._seen = look(self._lease, self._seen, self._clock())
        self._held_until = began + self._terms.duration
        return True

    async def _read(self) -> Object | None:
        try:
            return await self._api.get(LEASE, self._terms.namespace, self._terms.name)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def _wanted(self, old: Object | None) -> Object:
        before = (old or {}).get("spec") or {}
        ours = before.get("holderIdentity") == self._terms.identity
        spec = {
            "holderIdentity": self._terms.identity,
            "leaseDurationSeconds": int(self._terms.duration),
            "acquireTime": before.get("acquireTime") if ours else _stamp(),
            "renewTime": _stamp(),
            "leaseTransitions": before.get("leaseTransitions", 0) + (0 if ours or old is None else 1),
        }
        if old is not None:
            return {**old, "spec": spec}
        meta = {"name": self._terms.name, "namespace": self._terms.namespace}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": meta, "spec": spec}


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
