"""The page, as a program of its own on the history of a real run: by HTTP, and as a person sees it in a browser.

What is read, in both databases, is `tests/contract/monitoring/test_history.py`'s.
"""

import asyncio
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from blockyard import Client
from blockyard_monitoring.page.server import HEADERS
from tests.integration.monitoring import jobs
from tests.integration.monitoring.browser import Tab, a_tab
from tests.integration.processes import WITHIN, wait_until

pytestmark = pytest.mark.timeout(240)
HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[31m"
TOKEN = "a-token-for-tests-only"


class Page:
    """A running page, and the client whose tasks it shows."""

    def __init__(self, client: Client, port: int) -> None:
        self.client = client
        self.port = port
        self.run = client.run.name

    def get(self, path: str, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
        """Status, body and headers. The token is sent, unless the headers say otherwise."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)
        sent = {"Authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        connection.request("GET", path, headers={name: text for name, text in sent.items() if text})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body, answer.headers

    def shows(self, path: str, **query: object) -> str:
        """A page that is there."""
        status, body, headers = self.get(f"{path}?{urlencode(query)}")
        assert status == 200, f"{path} {query}: {status} {body}"
        for name, text in HEADERS.items():
            assert headers[name] == text
        assert "<script>alert" not in body
        assert not set("\x1b\u202e") & set(body)
        return body

    def asks(self, path: str, **query: object) -> Any:
        """Data that is there."""
        return json.loads(self.shows(path, **query))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """After 500 tasks, one with a hostile name, three that need one another, two that fail, and one that runs on."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "token").write_text(TOKEN + "\n")
    with Client.local(workers=2, folder=folder / "state", monitoring=True) as client:
        many = client.submit_many(jobs.twice, range(500))
        first = client.options(name=HOSTILE, tags=(HOSTILE,)).submit(jobs.twice, 1)
        third = client.submit(jobs.twice, client.submit(jobs.twice, first))
        failing = [client.options(retries=1).submit(jobs.says_and_fails, HOSTILE) for _ in range(2)]
        everything: list[Any] = [*many, third, *failing]
        assert not wait(everything, WITHIN).not_done
        command = [sys.executable, "-m", "blockyard_monitoring.page", "--folder", str(folder / "state")]
        process = subprocess.Popen(
            [*command, "--token-file", str(folder / "token")], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(.*)\n", process.stdout.readline())
            assert found is not None
            assert found[2] == TOKEN
            made = Page(client, int(found[1]))
            wait_until(
                "the history is whole",
                client.run.summary,
                lambda found: (found.tasks, found.unfinished) == (505, 0),
            )
            yield made
        finally:
            process.terminate()
            assert process.wait(WITHIN) == 0
            if process.stdout is not None:
                process.stdout.close()


def test_who_has_no_token_is_told_so_and_sees_nothing(page: Page) -> None:
    for path in ("/", "/tasks", "/timeline.json", "/live", "/nothing"):
        status, body, headers = page.get(path, Authorization="")
        assert status == 401, path
        assert "a token is needed" in body
        assert page.run not in body
        assert headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert page.get("/", Authorization="Bearer " + TOKEN[:-1])[0] == 401
    assert page.get("/", Authorization="", Cookie=f"blockyard-{page.port}=x")[0] == 401
    assert page.get("/livez", Authorization="")[:2] == (200, "ok\n")


def test_the_token_in_the_address_becomes_a_cookie(page: Page) -> None:
    status, _, headers = page.get(f"/tasks?run=a&token={TOKEN}", Authorization="")
    assert (status, headers["Location"]) == (303, "/tasks?run=a")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert page.get("/tasks?run=a", Authorization="", Cookie=cookie.partition(";")[0])[0] == 200


def test_a_name_that_others_made_lead_here_is_refused(page: Page) -> None:
    status, body, _ = page.get("/", Host=f"evil.example:{page.port}")
    assert (status, page.run in body) == (403, False)
    assert page.get("/", Host=f"localhost:{page.port}")[0] == 200


def test_every_page_shows_what_happened(page: Page) -> None:
    run = page.run
    assert run in page.shows("/")
    shown = page.shows("/run", run=run)
    assert "503" in shown
    assert "says_and_fails" in shown
    listed = page.shows("/tasks", run=run, rows=500)  # which of two workers was told of last is chance
    assert "&lt;script&gt;" in listed
    failures = page.shows("/failures", run=run)
    assert "builtins.ValueError" in failures
    assert failures.count("data-row") == 1
    blocks = page.shows("/blocks")
    (block,) = set(re.findall(r"/block\?pool=default&amp;block=([\w-]+)", blocks))
    assert "running" in page.shows("/block", pool="default", block=block)
    assert "3 tasks" in page.shows("/graph", run=run)
    assert "timeline.js" in page.shows("/timeline", run=run)


def test_a_list_goes_on_page_by_page_and_shows_each_task_once(page: Page) -> None:
    path = f"/tasks?run={page.run}&rows=200"
    seen: list[str] = []
    pages = 0
    while path:
        status, body, _ = page.get(path)
        assert status == 200
        seen += re.findall(r'<tr data-row>\s*<td><a href="/tasks/([^"]+)"', body)
        found = re.search(r'href="([^"]+)" rel="next"', body)
        path = found[1].replace("&amp;", "&") if found else ""
        pages += 1
    assert (pages, len(seen), len(set(seen))) == (3, 505, 505)


def test_filters_leave_what_they_say(page: Page) -> None:
    failed = page.shows("/tasks", run=page.run, state="failed")
    assert len(re.findall("<tr data-row>", failed)) == 2
    named = page.shows("/tasks", function=HOSTILE)
    assert len(re.findall("<tr data-row>", named)) == 1
    assert "No such tasks" in page.shows("/tasks", pool="elsewhere")


def test_a_task_shows_its_tries_its_error_and_what_it_printed(page: Page) -> None:
    (task, *_) = re.findall(r'href="(/tasks/[^"]+)"', page.shows("/failures", run=page.run))
    shown = page.shows(task)
    assert "Try 2" in shown
    assert "tried again" in shown
    assert "&lt;script&gt;" in shown
    assert 'class="log"' in shown
    assert "before it fails" in shown


def test_the_timeline_adds_up_in_any_window(page: Page) -> None:
    found = page.asks("/timeline.json", run=page.run)["timeline"]
    lanes, bins, bars = found["lanes"], found["bins"], found["bars"]
    assert 1 <= len(lanes) <= 3, "two workers, of which one may have done all, and what no worker has told of yet"
    assert sum(one[2] for one in bins) + len(bars) == 503 + 4
    assert sum(one[4] for one in bins) + sum(one[3] == "raised" for one in bars) == 4
    late = found["to_us"] - 1  # in whatever time they ended, most had by then
    end = page.asks("/timeline.json", run=page.run, **{"from": late, "buckets": 50})["timeline"]
    assert end["from_us"] == late
    assert sum(one[2] for one in end["bins"]) + len(end["bars"]) < 507
    usage = page.asks("/usage.json", run=page.run)
    assert (sum(usage["ended"]), sum(usage["failed"])) == (507, 4)


@pytest.mark.parametrize(
    "path, status, words",
    [
        ("/nothing", 404, "Not Found"),
        ("/run", 404, "knows nothing of it"),
        (f"/run?run={quote(HOSTILE)}", 404, "&lt;script&gt;"),
        ("/tasks/zz", 404, "not a task"),
        ("/tasks/1f3a-42", 404, "knows nothing of it"),
        ("/tasks/ffffffffffff-1", 404, "not a task"),
        ("/tasks/..%2f..%2fetc", 404, ""),
        ("/static/..%2f__init__.py", 404, ""),
        ("/block?pool=x&block=y", 404, "knows nothing of it"),
        ("/tasks?state=odd", 400, "state="),
        ("/tasks?behind=zz", 400, "behind="),
        ("/tasks?behind=W10", 400, "behind="),
        ("/?behind=WzEsMl0", 400, "behind="),
        ("/tasks?behind=WzEsMTAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMF0", 400, "behind="),
        ("/tasks?behind=%C3%BC", 400, "behind="),
        ("/tasks?rows=0", 400, "rows="),
        ("/tasks?rows=%EF%BC%91", 400, "rows="),
        ("/tasks?run=%00", 400, "no NUL"),
        ("/tasks?run=" + 300 * "x", 400, "at most"),
        ("/timeline.json?from=5&to=5", 400, "to=5"),
        ("/timeline.json?buckets=9999999999999999999999999", 400, "buckets="),
        ("/graph?task=../..", 404, "not a task"),
        ("/samples.json?task=", 404, "not a task"),
    ],
)  # fmt: skip
def test_bad_questions_are_refused_in_words(page: Page, path: str, status: int, words: str) -> None:
    found, body, headers = page.get(path)
    assert (found, words in body) == (status, True), body
    assert "Traceback" not in body
    assert "<script>alert" not in body
    assert headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


def test_only_reading_is_possible(page: Page) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=WITHIN)
    connection.request("POST", "/tasks", b"x=1", headers={"Authorization": f"Bearer {TOKEN}"})
    assert connection.getresponse().status == 405
    connection.close()


@pytest.mark.needs_chromium
def test_a_person_looks_around_by_keys_and_sees_what_happens(page: Page, tmp_path: Path) -> None:
    async def look() -> None:
        async with a_tab(tmp_path / "profile") as tab:
            await tab.open(f"http://127.0.0.1:{page.port}/run?run={page.run}&token={TOKEN}")
            await tab.sees("document.querySelectorAll('.chart canvas').length === 1")
            await tab.sees("document.getElementById('live').textContent === 'live'")
            await _walk(tab)
            await _see_it_live(tab)
            assert await _paper(tab, "light") != await _paper(tab, "dark")
            assert tab.complaints == []

    async def _walk(tab: Tab) -> None:
        await tab.press("2")
        await tab.sees("location.pathname === '/tasks' && document.readyState === 'complete'")
        await tab.press("j")
        await tab.press("j")
        await tab.sees("document.querySelectorAll('tr.here').length === 1")
        await tab.press("Enter")
        await tab.sees("location.pathname.startsWith('/tasks/') && document.readyState === 'complete'")
        await tab.open(f"http://127.0.0.1:{page.port}/timeline?run={page.run}")
        await tab.sees("document.getElementById('timeline').dataset.drawn")
        before = await tab.value("document.getElementById('timeline').dataset.drawn")
        await tab.press("+")
        await tab.press("+")
        await tab.sees(f"document.getElementById('timeline').dataset.drawn !== {json.dumps(before)}")

    async def _see_it_live(tab: Tab) -> None:
        await tab.open(f"http://127.0.0.1:{page.port}/tasks?run={page.run}&function=naps")
        await tab.sees("document.getElementById('live').textContent === 'live'")
        assert "No such tasks" in await tab.value("document.body.innerText")
        future = page.client.submit(jobs.naps, 0.01)
        await tab.sees("document.querySelectorAll('tr[data-row] .state-done').length === 1")
        assert future.done()

    async def _paper(tab: Tab, scheme: str) -> str:
        await tab.prefers(scheme)
        return str(await tab.value("getComputedStyle(document.body).backgroundColor"))

    asyncio.run(look())
