"""Where the boxes of a graph go: in columns by what they wait for, in rows by their neighbours. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from blockyard_monitoring.history.graph import Graph, Node

WIDTH: Final = 150
HEIGHT: Final = 34
_GAP_X: Final = 60
_GAP_Y: Final = 14
_MARGIN: Final = 10
_SWEEPS: Final = 4


class Box(msgspec.Struct, frozen=True):
    """A node and its upper left corner."""

    node: Node
    x: int
    y: int


class Line(msgspec.Struct, frozen=True):
    """An edge, from the right side of a box to the left side of another."""

    x1: int
    y1: int
    x2: int
    y2: int
    count: int

    @property
    def path(self) -> str:
        """As SVG's path: a gentle curve."""
        middle = (self.x1 + self.x2) // 2
        return f"M{self.x1},{self.y1} C{middle},{self.y1} {middle},{self.y2} {self.x2},{self.y2}"


class Drawing(msgspec.Struct, frozen=True):
    """All of it."""

    width: int
    height: int
    boxes: list[Box]
    lines: list[Line]


def draw(graph: Graph) -> Drawing:
    """Place the nodes of a graph. Edges of a circle (functions may call one another) are drawn, and not heeded."""
    edges = [(edge.of, edge.to) for edge in graph.edges]
    depth = depths([node.key for node in graph.nodes], edges)
    columns: dict[int, list[str]] = defaultdict(list)
    for node in graph.nodes:
        columns[depth[node.key]].append(node.key)
    _untangle(columns, edges)
    corner = {
        key: (_MARGIN + column * (WIDTH + _GAP_X), _MARGIN + row * (HEIGHT + _GAP_Y))
        for column, keys in columns.items()
        for row, key in enumerate(keys)
    }
    lines = [
        Line(
            corner[edge.of][0] + WIDTH, corner[edge.of][1] + HEIGHT // 2,
            corner[edge.to][0], corner[edge.to][1] + HEIGHT // 2, edge.count,
        )
        for edge in graph.edges
    ]  # fmt: skip
    tallest = max(map(len, columns.values()), default=0)
    return Drawing(
        2 * _MARGIN + max(1, len(columns)) * (WIDTH + _GAP_X),
        2 * _MARGIN + max(1, tallest) * (HEIGHT + _GAP_Y),
        [Box(node, *corner[node.key]) for node in graph.nodes],
        lines,
    )


def depths(keys: Sequence[str], edges: Iterable[tuple[str, str]]) -> Mapping[str, int]:
    """The longest way to each node from one that waits for nothing."""
    after: dict[str, list[str]] = defaultdict(list)
    waits = dict.fromkeys(keys, 0)
    for of, to in edges:
        if of != to:
            after[of].append(to)
            waits[to] += 1
    depth = dict.fromkeys(keys, 0)
    free = [key for key in keys if not waits[key]]
    left = dict.fromkeys(keys)
    while left:
        if not free:
            free.append(next(iter(left)))  # all that are left are in circles, or behind one
        key = free.pop()
        if key not in left:
            continue
        del left[key]
        for one in after[key]:
            if one in left:
                depth[one] = max(depth[one], depth[key] + 1)
                waits[one] -= 1
                if waits[one] == 0:
                    free.append(one)
    used = {value: place for place, value in enumerate(sorted(set(depth.values())))}
    return {key: used[value] for key, value in depth.items()}


def _untangle(columns: dict[int, list[str]], edges: Sequence[tuple[str, str]]) -> None:
    """Order each column by the middle of its neighbours in the columns beside it."""
    beside: dict[str, list[str]] = defaultdict(list)
    for of, to in edges:
        beside[of].append(to)
        beside[to].append(of)
    for _ in range(_SWEEPS):
        row = {key: place for keys in columns.values() for place, key in enumerate(keys)}
        middle = {key: sum(row[one] for one in near) / len(near) for key, near in beside.items()}
        for keys in columns.values():
            keys.sort(key=lambda key: middle.get(key, row[key]))
