"""How stories about pools begin, and what they look at."""

from __future__ import annotations

from typing import Any

from blockyard_operator.core import plan as do
from tests.property.operator.model import Model


def started(**spec: Any) -> Model:
    model = Model()
    model.add_pool(**{"drain": {"timeout": "10s"}, **spec})
    model.run(8)
    return model


def made(model: Model, kind: type[do.Effect]) -> list[Any]:
    return [effect for effect in model.effects if isinstance(effect, kind)]


def states(model: Model) -> list[str]:
    return sorted(block.state for block in model.all_blocks())
