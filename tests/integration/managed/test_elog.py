"""The logbook's sink against a real HTTP server that fails, refuses, or is not there."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from blockyard.errors import ConfigError
from blockyard.managed import BinaryExecutor, ManagedResult
from blockyard.managed.elog import TOKEN_VARIABLE, URL_VARIABLE, HttpLog
from blockyard.managed.environment import Secret

pytestmark = pytest.mark.timeout(120)


class Logbook:
    """Answers as told, one after the other; None: it hangs up without a word."""

    def __init__(self, answers: list[int | None]) -> None:
        self.heard: list[tuple[dict[str, str], dict[str, Any]]] = []
        book = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                book.heard.append((dict(self.headers), json.loads(body)))
                answer = answers[len(book.heard) - 1]
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer)
                if answer == 503:
                    self.send_header("Retry-After", "7")
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b"words")

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/entries?book=run12"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def logbook(request: pytest.FixtureRequest) -> Iterator[Logbook]:
    found = Logbook(request.param)
    yield found
    found.close()


def run(sink: Any) -> ManagedResult:
    """A task with a payload, and that sink."""
    executor = BinaryExecutor("index", ["true"], sinks=[sink], run="nightly", step="peaks")
    executor.add_tasklet(lambda: {"hits": 42}, set_result=True)
    return executor.execute_task()


@pytest.mark.parametrize("logbook", [[None, 503, 201]], indirect=True)
def test_an_entry_is_sent_again_until_it_is_taken(logbook: Logbook, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    pauses: list[float] = []
    found = run(HttpLog(logbook.url, Secret(f"file:{tmp_path}/token"), sleep=pauses.append))
    assert found.record.failures == []
    assert pauses == [0.5, 7.0], "half a second, and then what it asked for"
    assert len(logbook.heard) == 3
    assert {headers["Idempotency-Key"] for headers, _ in logbook.heard} == {found.record.id}
    headers, entry = logbook.heard[-1]
    assert headers["Authorization"] == "Bearer hunter2"
    assert (entry["task"], entry["run"], entry["status"], entry["payload"]) == (
        "index", "nightly", "COMPLETED", {"hits": 42},
    )  # fmt: skip


@pytest.mark.parametrize("logbook", [[403, 201]], indirect=True)
def test_what_is_refused_is_not_sent_again_and_harms_nothing(logbook: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, logbook.url)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    found = run("elog")
    assert found.status.name == "COMPLETED"
    (failure,) = found.record.failures
    assert "not taken after 1 tries; last: 403 Forbidden: words" in failure.message
    assert len(logbook.heard) == 1


@pytest.mark.parametrize("logbook", [[]], indirect=True)
def test_a_logbook_that_is_not_there_is_given_up(logbook: Logbook) -> None:
    logbook.close()
    pauses: list[float] = []
    (failure,) = run(HttpLog(logbook.url, tries=4, sleep=pauses.append)).record.failures
    assert pauses == [0.5, 1.0, 2.0]
    assert "not taken after 4 tries; last: ConnectionRefusedError" in failure.message


@pytest.mark.parametrize("url", ["ftp://host/", "https://", "log.example", "http://me:secret@host/"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        HttpLog(url)


def test_what_can_not_be_sent_is_refused_at_once() -> None:
    for settings, words in (({"tries": 0}, "tries=0"), ({"timeout": -1}, "timeout=-1"), ({"token": "x"}, "no Secret")):
        with pytest.raises(ConfigError, match=words):
            HttpLog("http://log.example/", **settings)
    with pytest.raises(ConfigError, match="neither a function"):
        BinaryExecutor("x", ["true"], sinks=[3])
