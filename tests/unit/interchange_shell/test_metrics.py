"""The port for metrics: who asks meets the loop, is told when nobody answers, and what is missing is named."""

import select
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from blockyard.errors import ConfigError
from blockyard_interchange import loop, metrics
from blockyard_interchange.commits import CommitFigures
from blockyard_interchange.core.counters import Counters
from blockyard_interchange.core.figures import Figures
from blockyard_interchange.core.stages import Histogram
from blockyard_interchange.metrics import MetricsPort

COMMITS = CommitFigures(Histogram(), 0, is_failing=False)


def figures(opening: int) -> Figures:
    """Figures that can be told from others."""
    return Figures(opening, 0.0, [], 0, 0, 0, 0, 0, 0, 0, 0, Counters())


@pytest.fixture
def port() -> Iterator[MetricsPort]:
    """On loopback, wherever there is room."""
    one = MetricsPort("127.0.0.1:0")
    yield one
    one.close()


def read(port: MetricsPort, path: str = "/metrics") -> str:
    """Ask as Prometheus does."""
    with urllib.request.urlopen("http://{}:{}{}".format(*port.address, path), timeout=30.0) as answer:
        text: str = answer.read().decode()
    return text


def wait_for_question(port: MetricsPort) -> None:
    """Until the loop would be woken."""
    readable, _, _ = select.select([port.descriptor], [], [], 30.0)
    assert readable, "nobody asked within 30 s"


def test_everybody_who_asked_before_gets_these_figures(port: MetricsPort) -> None:
    answers: list[str] = []
    askers = [threading.Thread(target=lambda: answers.append(read(port))) for _ in range(3)]
    for asker in askers:
        asker.start()
    opening = 0
    while any(asker.is_alive() for asker in askers):
        readable, _, _ = select.select([port.descriptor], [], [], 0.01)
        if readable:
            opening += 1
            port.take()
            port.answer(figures(opening), COMMITS)
    assert len(answers) == 3
    given = {f"blockyard_opening {number}.0" for number in range(1, opening + 1)}
    assert all(given & set(answer.splitlines()) for answer in answers)


def test_figures_of_before_a_question_are_no_answer_to_it(port: MetricsPort) -> None:
    answers: list[str] = []
    first = threading.Thread(target=lambda: answers.append(read(port)))
    first.start()
    wait_for_question(port)
    port.take()
    second = threading.Thread(target=lambda: answers.append(read(port)))
    second.start()
    wait_for_question(port)
    port.answer(figures(1), COMMITS)
    first.join(30.0)
    assert second.is_alive()
    port.take()
    port.answer(figures(2), COMMITS)
    second.join(30.0)
    assert ["blockyard_opening 1.0" in answers[0], "blockyard_opening 2.0" in answers[1]] == [True, True]


def test_who_is_not_answered_is_told_so(port: MetricsPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "ANSWER_SECONDS", 0.05)
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        read(port)
    assert "did not answer within 0.05 s" in refused.value.read().decode()
    refused.value.close()


def test_there_is_nothing_else(port: MetricsPort) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        read(port, "/tasks")
    refused.value.close()


def test_ipv6_is_understood() -> None:
    try:
        one = MetricsPort("[::1]:0")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    one.close()
    assert one.address[0] == "::1"


@pytest.mark.parametrize("wrong", ["9300", ":9300", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"])
def test_what_is_no_address_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"metrics='.*': give HOST:PORT, for example"):
        MetricsPort(wrong)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"metrics='{endpoint}': Address already in use"):
            MetricsPort(endpoint)


def test_a_missing_package_is_an_error_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "blockyard_interchange.metrics")
    monkeypatch.delattr("blockyard_interchange.metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'blockyard\[interchange\]'"):
        loop._open_port("127.0.0.1:0")
