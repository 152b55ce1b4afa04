"""How many messages a second does the hub alone write into PostgreSQL, on one core, told by 20,000 workers?

A message is what becomes a row: a try with all of its times, what a try used, a look at one that runs; 40, 40 and 20 of
a hundred. The hub is kept on one core and everything else off it. Its CPU and PostgreSQL's are shown apart, and beside
it the same with every other sink at work, as they are by default in a cluster, and what a scrape of that one takes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import psycopg

from bench import harness, process_tree, told
from blockyard.keyring import KeyRing
from blockyard.radios import ZmqRadio, from_json, to_json
from blockyard_monitoring.settings import HubSettings, SinkSettings
from tests.fixtures.postgres import Postgres, running_postgres
from tests.ports import free_port

MANAGERS, SMALL_MANAGERS = 400, 20
SECONDS, SMALL_SECONDS = 5, 2
"""Of the workers' time."""
ALONE, ALL = "hub, history only", "hub, every sink"
PATIENCE_SECONDS = 600.0
SCRAPES = 9


@contextmanager
def hub_on_one_core(folder: Path, sinks: list[SinkSettings]) -> Iterator[int]:
    """The hub as a process on the last core; its process id."""
    path = folder / "hub.json"
    radio = to_json(ZmqRadio()).decode()
    settings = HubSettings(folder=str(folder), radio=radio, sinks=tuple(sinks), parent=os.getpid())
    path.write_bytes(msgspec.json.encode(settings))
    cores = os.sched_getaffinity(0)
    with (folder / "hub.log").open("wb") as log:
        os.sched_setaffinity(0, {max(cores)})  # which a child inherits
        try:
            hub = subprocess.Popen([sys.executable, "-m", "blockyard_monitoring", str(path)], stderr=log)
        finally:
            os.sched_setaffinity(0, cores)
    try:
        yield hub.pid
    finally:
        hub.send_signal(signal.SIGTERM)
        hub.wait(60.0)


@contextmanager
def kept_off_the_last_core(server: Postgres) -> Iterator[None]:
    """This process and what the server starts from now on, as far as there is another core."""
    cores = os.sched_getaffinity(0)
    rest = cores - {max(cores)} or cores
    for pid in (0, server.pid):
        os.sched_setaffinity(pid, rest)
    try:
        yield
    finally:
        for pid in (0, server.pid):
            os.sched_setaffinity(pid, cores)


def measured(
    server: Postgres, managers: int, seconds: int, sinks: Sequence[SinkSettings] = (), scraped: int = 0
) -> dict[str, float]:
    """Figures of one hub that was told everything, from its first message until the last one is confirmed.

    `scraped`: port of the sink `prometheus`; 0: there is none.
    """
    server.run("DROP DATABASE IF EXISTS history")
    server.run("CREATE DATABASE history")
    url = server.url.rpartition("/")[0] + "/history"
    with tempfile.TemporaryDirectory(prefix="bench-hub-") as name:
        folder = Path(name)
        KeyRing(folder / "keys").interchange("hubs")
        with (
            kept_off_the_last_core(server),
            closing(told.Crowd(folder, managers, seconds)) as crowd,
            hub_on_one_core(folder, [SinkSettings("sql", {"url": url}), *sinks]) as pid,
        ):
            deadline = time.monotonic() + PATIENCE_SECONDS
            crowd.wait_for_hub(deadline)
            wait_for_schema(url, deadline)
            radio = from_json((folder / "radio.json").read_bytes())
            assert isinstance(radio, ZmqRadio)
            crowd.join(radio)
            ours, theirs = process_tree.cpu_seconds(pid), process_tree.cpu_seconds(server.pid)
            began = time.perf_counter()
            crowd.tell(deadline)
            wall = time.perf_counter() - began
            ours, theirs = process_tree.cpu_seconds(pid) - ours, process_tree.cpu_seconds(server.pid) - theirs
            memory = process_tree.memory([pid]).pss_bytes
            scrape = {"scrape_ms": scrape_ms(scraped)} if scraped else {}
    expected = told.messages(managers, seconds)
    checked(url, expected)
    count = sum(expected)
    return {
        "messages_per_s": count / wall,
        "cpu_us": ours / count * 1e6,
        "postgres_cpu_us": theirs / count * 1e6,
        "memory_mib": memory / 2**20,
        **scrape,
    }


def scrape_ms(port: int) -> float:
    """The middle of some scrapes."""
    taken = []
    for _ in range(SCRAPES):
        began = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60.0) as answer:
            answer.read()
        taken.append((time.perf_counter() - began) * 1e3)
    return harness.quantile(taken, 0.5)


def wait_for_schema(url: str, deadline: float) -> None:
    """Until the hub has made its tables: that is not what is asked for."""
    while time.monotonic() < deadline:
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            if connection.execute("SELECT to_regclass('leaving') IS NOT NULL").fetchone() == (True,):
                return
        time.sleep(0.05)
    raise AssertionError("the hub made no tables in time")


def checked(url: str, expected: tuple[int, ...]) -> None:
    tables = ("tries", "worker_tasks", "samples")
    question = "SELECT " + ", ".join(f"(SELECT count(*) FROM {name})" for name in tables)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        found = connection.execute(question).fetchone()
    if found != expected:
        raise AssertionError(f"{tables} were to have {expected} rows; they have {found}")


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    managers, seconds = (SMALL_MANAGERS, SMALL_SECONDS) if given.small else (MANAGERS, SECONDS)
    with running_postgres() as server:

        def alone() -> harness.Figures:
            return measured(server, managers, seconds)

        def every_sink() -> harness.Figures:
            port = free_port()
            with tempfile.TemporaryDirectory(prefix="bench-hub-") as folder:
                sinks = [
                    SinkSettings("prometheus", {"listen": f"127.0.0.1:{port}"}),
                    SinkSettings("stream", {"path": f"{folder}/stream.sock"}),
                ]
                return measured(server, managers, seconds, sinks, port)

        subjects = [harness.Subject(ALONE, alone), harness.Subject(ALL, every_sink)]
        goals = [harness.Goal("messages_per_s", None, required=100_000, aim=150_000)]
        harness.run("hub", question, subjects, goals, given, durability="PostgreSQL as it comes, CURVE on")


if __name__ == "__main__":
    main()
