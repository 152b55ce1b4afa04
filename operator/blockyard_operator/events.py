"""Events of Kubernetes, for people: each is written once within the hour, however often it is said."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Final

from blockyard.kube.api import Api
from blockyard.kube.faults import ApiError, ApiUnreachable
from blockyard.kube.kinds import EVENT
from blockyard_operator.core import plan as do
from blockyard_operator.resources.fields import API_VERSION

log = logging.getLogger(__name__)

_MOST: Final = 4096
"""Events that are remembered."""
_SECONDS: Final = 3600.0


class Events:
    """Those of one operator. `reporter`: its name."""

    def __init__(self, api: Api, reporter: str) -> None:
        self._api = api
        self._reporter = reporter[:128]
        self._told: OrderedDict[str, float] = OrderedDict()

    async def tell(self, effect: do.Tell) -> None:
        """Write an Event, unless it was written within the hour. That nobody hears of it is no reason to stop."""
        about, now = effect.about, time.time()
        text = f"{about.uid}/{effect.reason}/{effect.note}".encode()
        digest = hashlib.blake2b(text, digest_size=8).hexdigest()
        if now - self._told.get(digest, 0.0) < _SECONDS:
            return
        self._told[digest] = now
        while len(self._told) > _MOST:
            self._told.popitem(last=False)
        event = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{about.name}.{digest}", "namespace": about.namespace},
            "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "blockyard.dev/operator",
            "reportingInstance": self._reporter,
            "action": "Reconcile",
            "type": "Warning" if effect.warning else "Normal",
            "reason": effect.reason[:128],
            "note": effect.note[:1024],
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": effect.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
        }
        try:
            await self._api.create(EVENT, event)
        except (ApiError, ApiUnreachable) as error:
            if not (isinstance(error, ApiError) and error.already_exists):
                log.warning("an Event could not be written: %s", error, extra={"reason": effect.reason})
