"""What every test may ask for: how large a long proof is, and what the machine must offer.

A test whose machine lacks a part is left out on a laptop, which is said last; where CI is set it fails, so that a
layer can not go missing unseen. Fixtures of one layer live beside that layer.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import machine
from tests.cluster.fixtures import api_server, cluster, injector, namespace, own_cluster, python_image

__all__ = ["api_server", "cluster", "injector", "namespace", "own_cluster", "python_image"]  # one of each

pytest_plugins = ["tests.telling"]

EARLY = ("tests/simulation/", "tests/api/", "tests/integration/chaos/")
settings.register_profile("patient", settings(), deadline=None)  # a busy machine is no fault of what is tested
settings.load_profile("patient")

CLUSTER_SECONDS = 900
"""Of a test on a cluster that sets no limit of its own: the first one brings the cluster up."""


@pytest.fixture(scope="session")
def size() -> machine.Size:
    """How large the long proofs are in this run."""
    return machine.size()


def pytest_configure(config: pytest.Config) -> None:
    machine.size()  # a misspelt size ends the run before its first test


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    idle = [item.nodeid for item in items if _has_sizes(item) and not _is_long(item)]
    if idle:
        raise pytest.UsageError(f"never run at full size, for want of the marker soak or scale: {', '.join(idle)}")
    items.sort(key=_place)
    for item in items:
        kubernetes = item.get_closest_marker("needs_cluster") or item.get_closest_marker("needs_api_server")
        if kubernetes and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(CLUSTER_SECONDS))
    if os.environ.get("CI"):
        return  # see `pytest_runtest_setup`
    for part in [part for part in machine.PARTS if not part.is_there()]:
        for item in items:
            if item.get_closest_marker(part.marker):
                item.add_marker(pytest.mark.skip(reason=_reason(part)))


def _place(item: pytest.Item) -> int:
    """Those that take minutes a file begin, so that none of them is alone in the end; those on a cluster are last."""
    if item.get_closest_marker("e2e"):
        return 2
    return 0 if item.nodeid.startswith(EARLY) else 1


def _reason(part: machine.Part) -> str:
    """Why a test that needs this part is left out."""
    return f"{part.marker}: {part.remedy}"


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
            pytest.fail(f"{_reason(part)}; where CI is set nothing may be left out", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    yield
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for part in machine.PARTS:
        if count := sum(_reason(part) in reason for reason in skipped):
            words = f"NOT RUN on this machine: {count} tests marked {_reason(part)}"
            terminalreporter.write_line(words, yellow=True, bold=True)
