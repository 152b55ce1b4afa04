"""What every test may ask for: how large a long proof is, and what the machine must offer.

A test whose machine lacks a part is left out on a laptop, which is said last; where CI is set it fails, so that a
layer can not go missing unseen. Fixtures of one layer live beside that layer.
"""

import os
from collections.abc import Iterator

import pytest

from tests import machine
from tests.cluster.fixtures import api_server, cluster, injector, namespace, own_cluster, python_image

__all__ = ["api_server", "cluster", "injector", "namespace", "own_cluster", "python_image"]  # one of each

CLUSTER_SECONDS = 900
"""Of a test on a cluster that sets no limit of its own: the first one brings the cluster up."""
LEFT_OUT = pytest.StashKey[dict[str, int]]()


@pytest.fixture(scope="session")
def size() -> machine.Size:
    """How large the long proofs are in this run."""
    return machine.size()


def pytest_configure(config: pytest.Config) -> None:
    machine.size()  # a misspelt size ends the run before its first test
    config.stash[LEFT_OUT] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    idle = [item.nodeid for item in items if _has_sizes(item) and not _is_long(item)]
    if idle:
        raise pytest.UsageError(f"never run at full size, for want of the marker soak or scale: {', '.join(idle)}")
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)  # last; the others keep their order
    for item in items:
        kubernetes = item.get_closest_marker("needs_cluster") or item.get_closest_marker("needs_api_server")
        if kubernetes and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(CLUSTER_SECONDS))
    absent = [part for part in machine.PARTS if not part.is_there()]
    for part in absent:
        hit = [item for item in items if item.get_closest_marker(part.marker)]
        if hit:
            config.stash[LEFT_OUT][f"{part.marker} ({part.remedy})"] = len(hit)
        if not os.environ.get("CI"):
            for item in hit:
                item.add_marker(pytest.mark.skip(reason=f"{part.marker}: {part.remedy}"))


def _has_sizes(item: pytest.Item) -> bool:
    """Whether it uses the fixture `size`, not only a parameter of that name."""
    if not isinstance(item, pytest.Function) or "size" not in item.fixturenames:
        return False
    return not hasattr(item, "callspec") or "size" not in item.callspec.params


def _is_long(item: pytest.Item) -> bool:
    """Whether `make soak` or `make scale` runs it."""
    return any(item.get_closest_marker(name) for name in ("soak", "scale"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not os.environ.get("CI"):
        return
    for part in machine.PARTS:
        if item.get_closest_marker(part.marker) and not part.is_there():
            pytest.fail(f"{part.marker}: {part.remedy}; where CI is set nothing may be left out", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    yield
    for what, count in config.stash[LEFT_OUT].items():
        terminalreporter.write_line(f"NOT RUN on this machine: {count} tests marked {what}", yellow=True, bold=True)
