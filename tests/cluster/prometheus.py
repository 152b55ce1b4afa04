"""Debian's Prometheus beside a cluster: scrapes what a test names and answers queries."""

import contextlib
import json
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.cluster import control_plane, processes
from tests.cluster.kubectl import Json
from tests.cluster.shell import CommandFailed
from tests.cluster.waiting import wait_until
from tests.ports import free_port

READY_SECONDS = 60.0
END_SECONDS = 10.0


def configuration(targets: Sequence[str], rules: Sequence[Path], seconds: int, labels: Mapping[str, str]) -> str:
    """Scrape each of `targets` (``host:port``) every so many `seconds` and evaluate the `rules` as often.

    `labels`: on every series, as Prometheus' operator would put those of a Service's namespace there.
    """
    return json.dumps(
        {
            "global": {"scrape_interval": f"{seconds}s", "evaluation_interval": f"{seconds}s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": "tests", "static_configs": [{"targets": list(targets), "labels": dict(labels)}]}
            ],
        }
    )


class Prometheus:
    """A running server; `url` is its address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[Json]:
        """What an expression is now: one object per series. CommandFailed repeats why it was refused."""
        return list(self._ask("query", query=expression)["result"])

    def query_range(self, expression: str, begin: float, end: float, step: float) -> list[Json]:
        """The same at each `step` between two instants, seconds UTC."""
        return list(
            self._ask("query_range", query=expression, start=f"{begin}", end=f"{end}", step=f"{step}")["result"]
        )

    def label_values(self, label: str, series: str) -> list[str]:
        """The values of a label of series that match."""
        return list(self._ask(f"label/{label}/values", **{"match[]": series}))

    def exemplars(self, expression: str, begin: float, end: float) -> list[Json]:
        """Those of the series in an expression: one object per series."""
        return list(self._ask("query_exemplars", query=expression, start=f"{begin}", end=f"{end}"))

    def firing(self) -> list[dict[str, str]]:
        """The labels of each alert that fires."""
        return [one["labels"] for one in self._ask("alerts")["alerts"] if one["state"] == "firing"]

    def rules(self) -> Json:
        """All groups of rules as the server read them."""
        return self._ask("rules")["groups"]

    def _ask(self, what: str, **words: str) -> Json:
        target = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(words)}"
        try:
            with urllib.request.urlopen(target, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise CommandFailed(f"Prometheus refuses {words or what}: {error.read().decode()}") from error


@contextlib.contextmanager
def running_prometheus(
    targets: Sequence[str], rules: Sequence[Path] = (), seconds: int = 1, labels: Mapping[str, str] | None = None
) -> Iterator[Prometheus]:
    """A server on loopback for the time of the block."""
    program = shutil.which("prometheus")
    if program is None:
        raise CommandFailed("prometheus is not installed: apt-get install prometheus")
    with tempfile.TemporaryDirectory(prefix="blockyard-prometheus-") as name:
        folder = Path(name)
        (folder / "prometheus.yml").write_text(configuration(targets, rules, seconds, labels or {}))
        address = f"127.0.0.1:{free_port()}"
        argv = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        argv += ["--enable-feature=exemplar-storage"]
        log = folder / "prometheus.log"
        try:
            processes.start([*argv, f"--web.listen-address={address}"], folder.name, log)
            _wait_ready(f"http://{address}", log)
            yield Prometheus(f"http://{address}")
        finally:
            processes.end(processes.marked(folder.name), END_SECONDS)


def _wait_ready(url: str, log: Path) -> None:
    def amiss() -> str | None:
        if processes.started(log) is None:
            raise RuntimeError(f"prometheus ended: {control_plane.tail(log)}")
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return None
        except OSError as error:
            return str(error)

    wait_until("Prometheus ready", amiss, READY_SECONDS)
