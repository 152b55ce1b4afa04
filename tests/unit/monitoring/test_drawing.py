"""Graphs are placed so that each box is right of all that it waits for, whatever they look like."""

from hypothesis import given
from hypothesis import strategies as some

from blockyard_monitoring.history.graph import Edge, Graph, Node
from blockyard_monitoring.page.drawing import WIDTH, draw

KEYS = [f"n{number}" for number in range(12)]


def graph_of(edges: list[tuple[str, str]]) -> Graph:
    nodes = [Node(key=key, task="", label=key, state="") for key in KEYS]
    return Graph(nodes=nodes, edges=[Edge(of=of, to=to) for of, to in edges], is_by_function=True, is_cut=False)


@given(some.lists(some.tuples(some.sampled_from(KEYS), some.sampled_from(KEYS)), max_size=40))
def test_every_node_has_a_place_of_its_own_also_in_circles(edges: list[tuple[str, str]]) -> None:
    drawn = draw(graph_of(edges))
    assert len({(box.x, box.y) for box in drawn.boxes}) == len(KEYS)
    assert len(drawn.lines) == len(edges)
    assert all(0 <= box.x <= drawn.width - WIDTH and 0 <= box.y <= drawn.height for box in drawn.boxes)


@given(some.lists(some.tuples(some.integers(0, 11), some.integers(0, 11)), max_size=40))
def test_without_circles_what_waits_is_right_of_what_it_waits_for(pairs: list[tuple[int, int]]) -> None:
    edges = [(KEYS[min(pair)], KEYS[max(pair)]) for pair in pairs if pair[0] != pair[1]]
    corner = {box.node.key: box.x for box in draw(graph_of(edges)).boxes}
    assert all(corner[of] < corner[to] for of, to in edges)
