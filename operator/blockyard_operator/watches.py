"""Watching the API server: the only module that knows kopf.

kopf lists and watches, in a thread and an event loop of its own (it claims every task of the loop that it runs in);
each event is handed over as it is, and nothing is decided here. No handler keeps state in objects, so that watching
writes nothing: no finalizers, no annotations, no events.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import kopf

from blockyard.kube.api import Credentials
from blockyard.kube.kinds import BLOCK, CRON, POD, POOL, RUN, TEMPLATE, Kind
from blockyard.kube.manifest import BLOCK_LABEL

log = logging.getLogger(__name__)

OnEvent = Callable[[Kind, Mapping[str, Any], bool], None]
"""(kind, object, deleted); called in the watches' thread."""

CHUNK: Final = 500
"""Objects in one page of a list."""


class Watches:
    """Watches of pools, blocks and their pods. `login` gives current credentials; it is called in another thread."""

    def __init__(
        self, login: Callable[[], Credentials], namespaces: Sequence[str], on_event: OnEvent, on_end: Callable[[], None]
    ) -> None:
        self._login = login
        self._namespaces = list(namespaces)
        self._on_event = on_event
        self._on_end = on_end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blockyard-watches", daemon=True)

    def start(self) -> None:
        """Start to watch; everything that exists comes first."""
        self._thread.start()

    def stop(self) -> None:
        """End; does not wait."""
        self._stop.set()

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception:
            log.exception("the watches failed")
        finally:
            if not self._stop.is_set():
                self._on_end()

    async def _watch(self) -> None:
        await kopf.operator(
            registry=self._registry(),
            settings=_settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> kopf.ConnectionInfo:
            found = self._login()
            return kopf.ConnectionInfo(
                server=found.server,
                ca_path=found.ca_file,
                insecure=found.insecure,
                certificate_path=found.certificate_file,
                private_key_path=found.key_file,
                scheme="Bearer" if found.token else None,
                token=found.token,
            )

        for kind in (POOL, BLOCK, RUN, CRON, TEMPLATE, POD):
            self._subscribe(registry, kind)
        return registry

    def _subscribe(self, registry: kopf.OperatorRegistry, kind: Kind) -> None:
        labels = {BLOCK_LABEL: kopf.PRESENT} if kind is POD else None

        @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, labels=labels, id=kind.plural)
        async def see(event: Mapping[str, Any], **_: Any) -> None:
            self._on_event(kind, event["object"], event["type"] == "DELETED")


class _NoEssence(kopf.DiffBaseStorage):
    """What an object essentially was and is: kopf asks at each event, and copies it twice; no handler of ours does."""

    def fetch(self, *, body: kopf.Body) -> None:
        """Nothing."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """Nothing."""
        return kopf.BodyEssence()

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing."""


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoEssence()
    settings.scanning.disabled = True  # else it lists definitions and namespaces, for which it needs rights
    settings.networking.request_timeout = 30
    settings.watching.chunk_size = CHUNK
    settings.watching.label_selectors["v1", "pods"] = BLOCK_LABEL
    settings.queueing.idle_timeout = 0.5  # one task for each object that changes; most change once in a while
    settings.process.ultimate_exiting_timeout = None  # ending the process is its main thread's business
    return settings
