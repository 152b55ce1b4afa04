"""That the import rules see a breach: a rule that can not fail keeps nothing.

Out of scope: whether our packages keep them; `make check` says that.
"""

import grimp
import pytest

from tools import import_rules


@pytest.fixture
def graph() -> grimp.ImportGraph:
    """Two packages of ours and three of others, with nothing imported yet."""
    graph = grimp.ImportGraph()
    for module in ("yard", "yard.core", "yard.core.queue", "yard.wire", "yard.wires", "yard.shell"):
        graph.add_module(module)
    for module in ("zmq", "time", "enum"):
        graph.add_module(module, is_squashed=True)
    return graph


def add(graph: grimp.ImportGraph, importer: str, imported: str) -> None:
    graph.add_import(importer=importer, imported=imported, line_number=7, line_contents=f"import {imported}")


def test_a_home_may_import_its_package(graph: grimp.ImportGraph) -> None:
    add(graph, "yard.wire", "zmq")
    assert import_rules.strangers(graph, ["zmq"], ["yard.wire"]) == []


def test_a_stranger_is_named_with_its_line(graph: grimp.ImportGraph) -> None:
    add(graph, "yard.shell", "zmq")
    (fault,) = import_rules.strangers(graph, ["zmq"], ["yard.wire"])
    assert fault == "yard.shell imports zmq (line 7: import zmq)"


def test_a_module_with_a_longer_name_is_not_inside_a_home(graph: grimp.ImportGraph) -> None:
    add(graph, "yard.wires", "zmq")
    assert len(import_rules.strangers(graph, ["zmq"], ["yard.wire"])) == 1


def test_a_home_may_be_every_module_of_a_name(graph: grimp.ImportGraph) -> None:
    for module in ("yard.metrics", "yard.core.metrics", "yard.my_metrics"):
        graph.add_module(module)
        add(graph, module, "zmq")
    (fault,) = import_rules.strangers(graph, ["zmq"], ["*.metrics"])
    assert fault.startswith("yard.my_metrics ")


def test_a_pure_package_may_not_read_a_clock(graph: grimp.ImportGraph) -> None:
    add(graph, "yard.core.queue", "time")
    assert len(import_rules.impurities(graph, ["yard.core"], [], {"yard"})) == 1


def test_a_pure_package_may_import_itself_the_listed_and_the_harmless(graph: grimp.ImportGraph) -> None:
    add(graph, "yard.core.queue", "yard.core")
    add(graph, "yard.core.queue", "yard.wire")
    add(graph, "yard.core.queue", "enum")
    assert import_rules.impurities(graph, ["yard.core"], ["yard.wire"], {"yard"}) == []


def test_a_pure_package_may_not_import_our_shell(graph: grimp.ImportGraph) -> None:
    add(graph, "yard.core", "yard.shell")
    assert len(import_rules.impurities(graph, ["yard.core"], ["yard.wire"], {"yard"})) == 1


def test_a_rule_about_a_module_that_is_gone_is_broken(graph: grimp.ImportGraph) -> None:
    assert len(import_rules.missing(graph, ["yard.core", "yard.gone"])) == 1
