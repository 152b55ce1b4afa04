"""What may go wrong between a client and the API server, and which request it happens to. Pure.

A fault meets requests by verb and resource and strikes `times` of them after letting `skip` of them pass; the first
fault in the list that meets a request and is not used up strikes.
"""

import json
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from tests.cluster.calls import Call


class Refuse(msgspec.Struct, frozen=True):
    """The API server answers with an error; the request does not reach it."""

    code: int
    reason: str
    message: str = "injected"
    retry_after: int | None = None
    """Seconds, for a 429."""


class Hang(msgspec.Struct, frozen=True):
    """No answer ever; the request does not reach the API server."""


class LoseAnswer(msgspec.Struct, frozen=True):
    """The API server does what it is asked, and the connection breaks before the answer."""


class Late(msgspec.Struct, frozen=True):
    """The answer comes after `seconds`."""

    seconds: float


class CutWatch(msgspec.Struct, frozen=True):
    """The connection of a watch breaks after `events` of it, without an end."""

    events: int = 0


class ExpireWatch(msgspec.Struct, frozen=True):
    """A watch says after `events` that its resource version is too old (410), and ends."""

    events: int = 0


class Stale(msgspec.Struct, frozen=True):
    """A get or list is answered as the first one of the same target was: by an API server that lags behind."""


Effect: TypeAlias = Refuse | Hang | LoseAnswer | Late | CutWatch | ExpireWatch | Stale

TOO_MANY = Refuse(429, "TooManyRequests", "injected: slow down", retry_after=1)
INTERNAL = Refuse(500, "InternalError", "injected: the server broke")
UNAVAILABLE = Refuse(503, "ServiceUnavailable", "injected: nobody is there")
TIMEOUT = Refuse(504, "Timeout", "injected: took too long")
CONFLICT = Refuse(409, "Conflict", "injected: the object has been modified")


class Fault(msgspec.Struct, frozen=True):
    """Strikes requests of `verb` (``*``: any; ``write``: any that changes something) on `resource` (``*``: any)."""

    effect: Effect
    verb: str = "*"
    resource: str = "*"
    times: int = 1
    skip: int = 0

    def meets(self, call: Call) -> bool:
        verb = self.verb in {"*", call.verb} or (self.verb == "write" and call.is_write)
        return verb and self.resource in {"*", call.resource}


def striking(faults: Sequence[Fault], met: Sequence[int], call: Call) -> int | None:
    """Which of `faults` strikes `call`; `met[i]` is how many requests fault i has met before."""
    for index, (fault, count) in enumerate(zip(faults, met, strict=True)):
        if fault.meets(call) and fault.skip <= count < fault.skip + fault.times:
            return index
    return None


def status(refusal: Refuse) -> bytes:
    """The body of an error, as the API server writes it."""
    details = {"retryAfterSeconds": refusal.retry_after} if refusal.retry_after is not None else {}
    return json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": refusal.message,
            "reason": refusal.reason,
            "details": details,
            "code": refusal.code,
        }
    ).encode()


def expired_event() -> bytes:
    """The last line of a watch whose resource version is too old."""
    gone = json.loads(status(Refuse(410, "Expired", "injected: too old resource version")))
    return json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
