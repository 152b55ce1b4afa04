"""What the command line says of a running system, as JSON and as text, and the orders it gives."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard
from blockyard.ids import TaskId, task_name
from tests.integration.cli.conftest import User
from tests.integration.processes import wait_until
from tests.integration.questions import status_of


def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.02)
    return path


def say(words: str) -> str:
    os.write(1, f"{words}\n".encode())
    return words


def fail(words: str) -> None:
    raise ValueError(words)


@pytest.fixture
def client(user: User) -> Iterator[Client]:
    """A system with one worker, and a client of it."""
    user.types("local", "up", "--workers", "1")
    with Client.connect(run="study") as client:
        yield client


def test_tasks_are_listed_explained_and_cancelled(user: User, client: Client, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    running = client.options(name="first").submit(wait_for, gate)
    waiting = [client.options(name="later").submit(wait_for, gate) for _ in range(3)]
    found = wait_until("all are there", lambda: user.asks("tasks", "--run", "study"), lambda seen: seen["total"] == 4)
    assert [task["name"] for task in found["tasks"]] == ["first", "later", "later", "later"]
    assert found["tasks"][0]["task"] == task_name(TaskId(running.task))
    assert user.asks("tasks", "--run", "study", "--limit", "2")["total"] == 4
    words = user.types("explain", task_name(TaskId(waiting[-1].task)))
    assert re.search(r"busy|with the manager", words), words
    one = user.asks("task", task_name(TaskId(running.task)))
    assert (one["task"]["name"], one["task"]["run"], one["task"]["pool"]) == ("first", "study", "default")
    assert one["sentences"]
    assert user.asks("cancel", task_name(TaskId(waiting[0].task)))["count"] == 1
    with pytest.raises(CancelledError):
        waiting[0].result(60)
    assert user.asks("cancel", "--run", "study")["count"] == 3
    for future in (running, *waiting[1:]):
        with pytest.raises(CancelledError):
            future.result(60)
    assert "nothing was cancelled" in user.types("cancel", "1-1", code=4)
    for command in ("tasks", "cancel"):
        assert "pool 'gpu': there is none; there are: default" in user.types(command, "--pool", "gpu", code=4)
        said = user.types(command, "--run", "studdy", code=4)
        assert "run 'studdy': there is none here; did you mean 'study'?" in said
    assert user.asks("cancel", "--run", "study")["count"] == 0, "a run without tasks is one still"
    assert "there are: study\n" in user.types("tasks", "--run", "other", code=4), "not what commands like this one open"


def test_a_task_whose_manager_is_gone_says_that_its_output_is_too(user: User, client: Client) -> None:
    name = task_name(TaskId(client.submit(print, "words").task))  # not looked at, so it is not collected
    wait_until("it ended", lambda: user.asks("task", name)["task"]["status"], lambda status: status == "DONE")
    assert user.types("output", name) == "words\n"
    (manager,) = user.house().managers()
    block = user.asks("task", name)["task"]["block"]
    assert block == manager.marks["BLOCKYARD_BLOCK"]
    assert f"in block {block}." in user.types("task", name)
    os.kill(manager.pid, signal.SIGKILL)
    said = wait_until("it is gone", lambda: user.types("task", name), lambda words: "is gone" in words)
    assert "what it printed there can't be read any more" in said
    assert "'blockyard task" in user.types("output", name)


def test_a_failed_task_is_explained_with_its_error(user: User, client: Client) -> None:
    future = client.submit(fail, "no such thing")
    name = task_name(TaskId(future.task))
    wait_until("it failed", lambda: user.asks("task", name)["task"]["status"], lambda status: status == "RAISED")
    assert name in user.types("tasks", "--state", "ended")
    assert "no such thing" in user.types("explain", name)
    assert isinstance(future.exception(60), ValueError)
    status = user.asks("status")
    assert status["pools"][0]["failed"] == 1
    assert re.search(r"default\s+0\s+0\s+1\s+1\s+1\s+0\s+1\s", user.types("status"))


def test_what_a_task_printed_is_shown_by_its_name(user: User, client: Client) -> None:
    future = client.submit(say, "hello")
    name = task_name(TaskId(future.task))
    one = wait_until("it is done", lambda: user.asks("task", name), lambda seen: seen["task"]["status"] == "DONE")
    assert one["output"] == "hello\n"
    assert user.types("task", name).endswith("--- printed\nhello\n")
    assert future.result(60) == "hello"
    wait_until("it is collected", lambda: status_of(client).tasks, lambda left: left == 0)
    assert f"'blockyard output {name}' may still have" in user.types("task", name, code=4)
    assert user.types("output", name) == "hello\n"
    (one,) = user.asks("output", name)["tries"]
    assert one["text"] == "hello\n"
    assert "nothing is kept" in user.types("output", "1-1")


def test_cached_results_are_listed_and_cleared(user: User, client: Client) -> None:
    cached = client.options(cache=True)
    for _ in range(2):
        assert [one.result(60) for one in cached.submit_many(say, ["a", "b"])] == ["a", "b"]
    seen = user.asks("cache")
    assert [(one["function"].rpartition(".")[2], one["results"]) for one in seen["functions"]] == [("say", 2)]
    assert seen["pools"] == [{"pool": "default", "hits": 2, "misses": 2, "evicted": 0}]
    assert re.search(r"say +default +2 ", user.types("cache", "--pool", "default"))
    assert "0 results are dropped" in user.types("cache", "clear", "--function", "fail")
    assert user.asks("cache", "clear", "--function", "say")["count"] == 2
    assert "no results" in user.types("cache")


def test_blocks_are_listed_and_drained(user: User, client: Client) -> None:
    client.submit(pow, 2, 2).result(60)
    (block,) = user.asks("blocks", "--pool", "default")
    assert (block["state"], block["managers"], block["workers"], block["pool"]) == ("RUNNING", 1, 1, "default")
    assert block["block"] in user.types("blocks")
    assert "has no managers to drain; did you mean" in user.types("drain", block["block"] + "x", code=4)
    assert user.asks("drain", block["block"], "--grace", "5")["count"] == 1
    ended = wait_until(
        "it ends and another one replaces it",
        lambda: {one["block"]: one["state"] for one in user.asks("blocks", "--all")},
        lambda seen: seen.get(block["block"]) not in ("RUNNING", "PENDING") and "RUNNING" in seen.values(),
    )
    assert len(ended) == 2
    assert client.submit(pow, 2, 3).result(60) == 8
    assert "pool 'gpu': there is none; there are: default" in user.types("blocks", "--pool", "gpu", code=4)


def test_doctor_finds_a_package_of_another_version(user: User, client: Client) -> None:
    assert "0 faults" in user.types("doctor")
    for version, folder in (("1.0", user.here / "ours"), ("2.0", user.here / "theirs")):
        info = folder / f"sample_package-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sample_package\nVersion: {version}\n")
    user.types("local", "down")
    user.types("local", "up", "--path", str(user.here / "theirs"))
    path = f"{user.environment['PYTHONPATH']}{os.pathsep}{user.here / 'ours'}"
    (check,) = user.asks("doctor", code=1, PYTHONPATH=path)
    (finding,) = check["findings"]
    assert (finding["subject"], finding["client"], finding["worker"]) == ("sample-package", "1.0", "2.0")
    assert finding["weight"] == "fault"
    assert "pip install sample-package==1.0" in user.types("doctor", code=1, PYTHONPATH=path)
    assert "did you mean 'default'" in user.types("doctor", "--pool", "defalt", code=4)


def test_doctor_says_so_when_a_pool_has_no_worker(user: User, client: Client, tmp_path: Path) -> None:
    blocked = client.submit(wait_for, str(tmp_path / "gate"))
    wait_until("it runs", lambda: user.asks("status")["pools"][0]["assigned"], lambda count: count == 1)
    (check,) = user.asks("doctor", "--wait", "0.5", code=1)
    assert check["worker"] is None
    assert "no worker answered in time" in check["findings"][0]["message"]
    blocked.cancel()


def test_a_client_on_another_machine_connects_by_url_with_a_key_of_its_own(user: User, client: Client) -> None:
    issued = user.asks("keys", "issue", "client-anna")
    (system,) = user.asks("local", "status")
    with Client.connect(system["url"], client_key=issued["file"]) as anna:
        assert anna.submit(pow, 2, 5).result(60) == 32
    assert user.asks("status", "-p", str(user.systems() / "local"))["pools"][0]["done"] == 1


def test_a_key_that_was_never_issued_gets_no_answer(user: User, client: Client) -> None:
    (system,) = user.asks("local", "status")
    stranger = user.home / "stranger.key"
    from blockyard.transport import KeyPair

    KeyPair.new().save(stranger)
    with pytest.raises(BrokenBlockyard, match="is this client's key allowed there"):
        Client.connect(system["url"], client_key=stranger, timeout=1.0)


def test_a_journal_is_checked_and_exported_beside_its_interchange(user: User, client: Client) -> None:
    client.submit(pow, 2, 2).result(60)
    report = user.asks("journal", "check")
    assert report["faults"] == []
    assert report["entries"] > 0
    lines = user.types("journal", "export").splitlines()
    assert len(lines) >= report["entries"]
    assert any('"type":"Submitted"' in line for line in lines)


def test_a_damaged_journal_is_bad_news_with_the_place(user: User, client: Client) -> None:
    client.submit(pow, 2, 2).result(60)
    user.types("local", "down")
    path = user.systems() / "local" / "journal.db"
    content = bytearray(path.read_bytes())
    place = content.rfind(b"client:default")
    assert place > 0, "the journal holds who submitted"
    content[place] ^= 0x01
    path.write_bytes(content)
    report = user.asks("journal", "check", code=1)
    assert report["faults"]
    assert "'blockyard journal export --skip-damaged' saves" in user.types("journal", "check", str(path), code=1)
    assert "journal" in user.types("journal", "export", code=1)
    assert "did not come up" in user.types("local", "up", code=1)


@pytest.mark.parametrize("words", [("steps", "\udcff"), ("tasks", "--pool", "\udcff"), ("cache", "--pool", "\udcff")])
def test_a_name_that_is_no_text_is_wrong_usage(user: User, client: Client, words: tuple[str, ...]) -> None:
    assert "'\\udcff' is not UTF-8" in user.types(*words, code=2)


@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_watch_cleanly(user: User, client: Client, number: int, code: int, word: str) -> None:
    process = user.starts("status", "--watch")
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("local: ")
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert errors.strip() == f"blockyard: {word}"


def test_a_reader_that_goes_away_is_no_error(user: User, client: Client) -> None:
    client.submit_many(abs, range(2000))
    wait_until("all are recorded", lambda: status_of(client).pools[0].submitted, lambda count: count == 2000)
    journal = subprocess.Popen(
        user.argv("journal", "export"), env=user.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert journal.stdout is not None
    assert journal.stderr is not None
    journal.stdout.readline()
    journal.stdout.close()
    errors = journal.stderr.read()
    journal.stderr.close()
    assert (journal.wait(60), errors) == (141, b"")


def test_the_program_that_is_installed_is_this_one(user: User) -> None:
    assert re.fullmatch(r"blockyard \d+\.\d+\.\d+\n", user.types("--version"))
    assert "usage: python -m blockyard_worker" in user.types("worker", "--help")
    assert "settings file" in user.types("interchange", "absent.json", code=2)
