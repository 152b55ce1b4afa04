"""What the simulated functions do, written in their arguments, and what must therefore come out.

A result is a hash of the arguments and of the results of what was needed: whoever runs the task, and however often, it
is the same, and a result that was mixed up with another is seen.
"""

from hashlib import blake2b

import msgspec

from blockyard.wire.records import Blob, Body, Bundle, Function, Status

PYTHON = "3.11"


class Plan(msgspec.Struct, array_like=True, frozen=True):
    """One call."""

    salt: int
    seconds: float = 0.01
    failures: int = 0
    """Raises so many times before it succeeds."""
    deaths: int = 0
    """Kills its worker so many times before it succeeds."""
    children: list["Plan"] = []
    """Leaves these to be done instead of a result."""
    joins: bool = False
    stubborn: bool = False
    """Does not end when it is asked to."""
    result_bytes: int = 16


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Plan).decode


def body_of(plan: Plan) -> bytes:
    """The arguments."""
    return _encode(plan)


def plan_of(body: bytes) -> Plan:
    """The way back."""
    return _decode(body)


def function(number: int) -> Function:
    """One of the functions."""
    body = b"function %d" % number
    return Function(blake2b(body, digest_size=16).digest(), f"simulated.f{number}", body, PYTHON)


def digest(body: Body) -> bytes:
    """A result as those see it that need it."""
    match body:
        case bytes():
            return body
        case Blob():
            return body.name.encode()
        case Bundle():
            return blake2b(b"".join(digest(part) for part in body.parts), digest_size=16).digest()


def result_of(plan: Plan, needs: list[Body]) -> bytes:
    """What a call returns."""
    seed = blake2b(b"%d" % plan.salt + b"".join(digest(need) for need in needs), digest_size=16).digest()
    return (seed * (plan.result_bytes // 16 + 1))[: max(16, plan.result_bytes)]


def expected(plan: Plan, needs: list[Body]) -> Body:
    """What the client must see of a call that ends well."""
    if plan.joins:
        return Bundle([expected(child, []) for child in plan.children])
    return result_of(plan, needs)


def can_fail(plan: Plan, retries: int) -> bool:
    """Whether a call may raise more often than it is retried."""
    return plan.failures > retries or any(can_fail(child, retries) for child in plan.children)


GOOD = frozenset({Status.DONE})
