"""Every sink that comes with Blockyard, by the suite that those of others must pass; and what each shows."""

import json
import socket
import struct
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from blockyard import plugins
from blockyard.errors import ConfigError
from blockyard.wire.monitoring import AnyRecord, Node, Tasks, TryState
from blockyard_monitoring.hub import Hub
from blockyard_monitoring.sinks.jsonl import JsonlSink
from blockyard_monitoring.sinks.metrics import PrometheusSink
from blockyard_monitoring.sinks.sql import SqlSink
from blockyard_monitoring.sinks.stream import StreamSink
from blockyard_monitoring.sinks.tallies import Tallies
from blockyard_monitoring.suites import AT, Make, SinkSuite, arriving, one_of_each
from tests.contract.monitoring.databases import Database
from tests.integration.processes import wait_until
from tests.unit.monitoring.messages import a_sample, a_try, an_arrival, an_event, some_tasks, some_tries


class TestSqlSink(SinkSuite):
    @pytest.fixture
    def make(self, database: Database) -> Make:
        return lambda: SqlSink(database.url)


class TestJsonlSink(SinkSuite):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda: JsonlSink(str(tmp_path / "history.jsonl"))


class TestPrometheusSink(SinkSuite):
    @pytest.fixture
    def make(self) -> Make:
        return lambda: PrometheusSink("127.0.0.1:0")


class TestStreamSink(SinkSuite):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda: StreamSink(path=str(tmp_path / "stream.sock"))


def test_every_sink_of_ours_is_registered_and_tested() -> None:
    tested = {name.removeprefix("Test").removesuffix("Sink").lower() for name in globals() if name.startswith("Test")}
    assert tested == set(plugins.registered(plugins.SINKS))


# --- jsonl


def test_a_line_names_its_fields_and_its_tasks_as_people_do(tmp_path: Path) -> None:
    sink = JsonlSink(str(tmp_path / "h.jsonl"))
    sink.start()
    sink.write([arriving(one_of_each())])
    sink.close()
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    (tries,) = [line for line in lines if line["record"] == "Tries"]
    assert tries["tries"][1]["task"] == "7-0"
    assert tries["tries"][1]["state"] == "done"
    assert {line["record"] for line in lines} == {type(record).__name__ for record in one_of_each()}


def test_files_are_rotated_and_the_oldest_go(tmp_path: Path) -> None:
    sink = JsonlSink(str(tmp_path / "h.jsonl"), max_bytes=4096, keep=2)
    sink.start()
    for number in range(1, 60):
        sink.write([an_arrival(an_event(f"event {number} " + "x" * 300), number=number)])
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.jsonl", "h.jsonl.1", "h.jsonl.2"]
    newest = (tmp_path / "h.jsonl.1").read_text() + (tmp_path / "h.jsonl").read_text()
    assert "event 59 " in newest
    assert all(path.stat().st_size <= 4096 for path in tmp_path.iterdir())


def test_a_batch_that_is_larger_than_a_file_goes_into_several(tmp_path: Path) -> None:
    sink = JsonlSink(str(tmp_path / "h.jsonl"), max_bytes=4096, keep=20)
    sink.start()
    sink.write([an_arrival(*(an_event(f"event {number} " + "x" * 300) for number in range(60)))])
    sink.write([an_arrival(an_event("y" * 4000)), an_arrival(an_event("z" * 4090))])
    sink.close()
    files = sorted(tmp_path.iterdir(), key=lambda path: -int(path.suffix[1:]) if path.suffix[1:].isdecimal() else 0)
    assert [path.stat().st_size <= 4096 for path in files].count(False) <= 2, "only lines that are longer themselves"
    texts = [json.loads(line)["text"] for path in files for line in path.read_text().splitlines()]
    assert [text.rpartition(" ")[0] for text in texts[:60]] == [f"event {number}" for number in range(60)]
    assert [text[0] for text in texts[60:]] == ["y", "z"]


# --- prometheus


def scraped(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30.0) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_numbers_are_those_of_what_was_told(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    runner = hub.add_sink("prometheus", {"listen": "127.0.0.1:0"})
    assert runner.started.wait(10.0)
    sink = runner.sink
    assert isinstance(sink, PrometheusSink)
    hub.bus.put(arriving(one_of_each()))
    hub.bus.put(arriving(one_of_each()))  # doubled: shown once
    hub.bus.refuse("udp", "forged")
    wait_until("all is counted", lambda: runner.feed.waiting_parts, lambda left: not left, 20.0)
    found = scraped(sink.port)
    at = (("function", "text"), ("pool", "default"))
    assert found["blockyard_history_tasks_submitted_total", at] == 3
    assert found["blockyard_history_tasks_ended_total", (*at, ("state", "done"))] == 2
    assert found["blockyard_history_tries_ended_total", (*at, ("state", "raised"))] == 1
    assert found["blockyard_history_tries_ran_seconds_count", at] == 3
    assert found["blockyard_hub_doubled_total", (("radio", "suite"),)] == 1
    assert found["blockyard_hub_refused_total", (("radio", "udp"), ("reason", "forged"))] == 1
    assert found["blockyard_history_blocks", (("pool", "default"), ("state", "FAILED"))] == 1
    hub.stop()


def test_a_try_that_nobody_knows_how_long_ran_has_no_duration() -> None:
    tallies = Tallies(50)
    tallies.take(some_tries(state=TryState.LOST, ran_us=0))
    tallies.take(some_tries(state=TryState.LOST, ran_us=2_500_000))
    (found,) = tallies.ran.values()
    assert (sum(found.counts), found.sum) == (1, 2.5)
    assert sum(tallies.tries.values()) == 2


def test_a_bucket_names_one_of_its_tasks_to_who_can_read_it() -> None:
    sink = PrometheusSink("127.0.0.1:0")
    sink.start()
    fast = a_try(1 << 32, ran_us=2_000)
    slow = a_try((1 << 32) + 7, ran_us=70_000_000)
    sink.write([an_arrival(some_tasks(count=8), msgspec.structs.replace(some_tries(count=0), tries=[fast, slow]))])
    address = f"http://127.0.0.1:{sink.port}/metrics"
    asked = urllib.request.Request(address, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    with urllib.request.urlopen(asked, timeout=30.0) as answer:
        families = list(openmetrics.text_string_to_metric_families(answer.read().decode()))  # type: ignore[no-untyped-call]
    shown = {
        (sample.name, sample.labels["le"]): sample.exemplar
        for family in families
        for sample in family.samples
        if sample.exemplar is not None
    }
    one = shown["blockyard_history_tries_ran_seconds_bucket", "300.0"]
    assert (one.labels, one.value, float(one.timestamp)) == ({"task": "1-7"}, 70.0, some_tries().at_us / 1e6)
    assert {example.labels["task"] for example in shown.values()} <= {"1-0", "1-7"}
    assert scraped(sink.port), "those who cannot read it are told the rest"
    sink.close()


def test_a_few_scrapes_are_served_at_a_time_and_who_asks_nothing_is_no_event(capfd: pytest.CaptureFixture[str]) -> None:
    sink = PrometheusSink("127.0.0.1:0")
    sink.start()
    silent = [socket.create_connection(("127.0.0.1", sink.port)) for _ in range(9)]
    assert silent[-1].recv(1) == b"", "it is turned away"
    for one in silent:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # the other side has an error
        one.close()

    def serving() -> list[str]:
        return [one.name for one in threading.enumerate() if "process_request" in one.name]

    wait_until("they are let go", serving, lambda found: not found)
    assert scraped(sink.port)
    sink.close()
    assert capfd.readouterr().err == ""


def test_a_scrape_costs_hardly_more_with_ten_thousand_managers() -> None:
    """What is exported is the same; only sums are over more. The best of several, since others run here, too."""

    def seconds(managers: int) -> float:
        sink = PrometheusSink("127.0.0.1:0")
        for begin in range(0, managers, 1000):
            nodes: list[AnyRecord] = []
            for number in range(begin, min(begin + 1000, managers)):
                nodes.append(Node(f"m{number}", f"pool-{number % 10}", "b", "n", AT, "joined", workers=1))
                nodes.append(msgspec.structs.replace(a_sample(), manager=f"m{number}", pool=f"pool-{number % 10}"))
            sink.write([an_arrival(*nodes, number=begin + 1)])
        for number in range(50):
            first = number << 32
            tasks = msgspec.structs.replace(some_tasks(first), name=f"f{number}", pool=f"pool-{number % 10}")
            sink.write([an_arrival(tasks, msgspec.structs.replace(some_tries(first), pool=f"pool-{number % 10}"))])
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(sink))
        best, text = float("inf"), b""
        for _ in range(7):
            began = time.perf_counter()
            text = generate_latest(registry)
            best = min(best, time.perf_counter() - began)
        assert text.count(b"blockyard_history_workers{") == 10
        return best

    assert seconds(10_000) < 5 * seconds(10)


class _Collected(Collector):
    """What a sink tells, without its port."""

    def __init__(self, sink: PrometheusSink) -> None:
        self._sink = sink

    def collect(self) -> list[Metric]:
        return self._sink._collect()


def test_functions_beyond_the_bound_are_other() -> None:
    sink = PrometheusSink("127.0.0.1:0", most_functions=2)
    sink.start()
    for number in range(5):
        first = number << 8
        sink.write([arriving([Tasks(first, 1, 0, "r", "p", f"module.f{number}", b"", AT)])])
    functions = {
        labels["function"]
        for (name, pairs) in scraped(sink.port)
        if name == "blockyard_history_tasks_submitted_total" and (labels := dict(pairs))
    }
    sink.close()
    assert functions == {"module.f0", "module.f1", "other"}


def test_a_port_that_is_taken_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sink = PrometheusSink(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match="cannot be bound"):
            sink.start()


# --- stream; more in test_stream


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"path": "a", "listen": "b:1"}, "either"),
        ({"listen": "x"}, "listen"),
        ({"listen": "127.0.0.1:0"}, "token"),
        ({"path": "a", "keep": 0}, "keep"),
    ],
)
def test_settings_that_mean_nothing_are_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        StreamSink(**fields)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sink 'jsonl'.*colour"):
        Hub(tmp_path).add_sink("jsonl", {"path": "x", "colour": "red"})
