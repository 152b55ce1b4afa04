"""Kinds of fields that both resources use: their types in Python, and what the API server is to check of them.

A record may carry `RULES`, CEL rules over the whole of it; `Annotated` metadata carry those over one field.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta, Struct

from blockyard.kube.kinds import LABEL
from blockyard.kube.quantities import QUANTITY, SPAN

GROUP: Final = "blockyard.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

MAX_ITEMS: Final = 32
"""No list is longer: an object's size must not follow the size of a pool."""


class Record(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of a resource. Field names are camelCase outside, unknown fields are ignored, defaults are left out."""


def rule(expression: str, message: str, field: str = "") -> dict[str, str]:
    """A CEL rule of the API server; `field` is the path, below the record, that a refusal names."""
    return {"rule": expression, "message": message} | ({"fieldPath": field} if field else {})


def fixed(field: str, otherwise: str) -> dict[str, str]:
    """A CEL rule that an optional field is never changed, set or taken away; `otherwise`: what to do instead."""
    same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    return rule(same, f"{field} is immutable: {otherwise}", f".{field}")


Duration: TypeAlias = Annotated[str, Meta(pattern=f"^{SPAN}$", max_length=32)]
"""A time span as Kubernetes writes it: '90s', '1h30m'."""

Word: TypeAlias = Annotated[str, Meta(max_length=64)]
"""One CamelCase word for machines, or a short name."""

Sentence: TypeAlias = Annotated[str, Meta(max_length=1024)]

Name: TypeAlias = Annotated[str, Meta(pattern=f"^{LABEL}$", max_length=63)]
"""Of another object: a DNS label."""

Time: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, max_length=40)]
"""UTC, RFC 3339, whole seconds: '2026-01-31T12:00:00Z'."""

Quantity: TypeAlias = Annotated[
    str | int,
    Meta(
        extra_json_schema={
            "x-kubernetes-int-or-string": True,
            "pattern": f"^{QUANTITY}$",
            "maxLength": 32,
        }
    ),
]
"""An amount as Kubernetes writes it: '500m', '2Gi', 4."""

Share: TypeAlias = Annotated[
    str | int,
    Meta(
        extra_json_schema={
            "x-kubernetes-int-or-string": True,
            "pattern": r"^([0-9]+|[0-9]{1,2}%|100%)$",
            "maxLength": 10,
        }
    ),
]
"""So many blocks, or a percentage of the blocks there are to be: 1, '25%'."""

Open: TypeAlias = Annotated[dict[str, Any], Meta(extra_json_schema={"x-kubernetes-preserve-unknown-fields": True})]
"""An object that the schema leaves open."""


def blocks_of(share: str | int, whole: int, *, round_up: bool) -> int:
    """How many of `whole` blocks a `Share` is. A percentage is rounded as asked, as rolling updates do."""
    if isinstance(share, int):
        return share
    if not share.endswith("%"):
        return int(share)
    percent = int(share[:-1]) * whole
    return -(-percent // 100) if round_up else percent // 100
