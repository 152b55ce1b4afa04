"""Which steps wait for which, as their places in the workflow: of 10^5 steps these are looked at as one list."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import chain, count, repeat
from typing import TypeVar

K = TypeVar("K")


def mapped(needs: Sequence[Sequence[K]], of: Callable[[K], int]) -> list[list[int]]:
    """What each step needs, as numbers. A step mostly needs one other, of which no loop is made."""
    return [[of(own[0])] if len(own) == 1 else [of(one) for one in own] for own in needs]


def is_in_order(links: Sequence[Sequence[int]]) -> bool:
    """Whether each step stands behind all that it needs. `links`: their places, for each."""
    own = chain.from_iterable(map(repeat, count(), map(len, links)))
    return all(map(operator.lt, chain.from_iterable(links), own))
