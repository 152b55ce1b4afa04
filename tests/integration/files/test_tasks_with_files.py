"""Files as arguments and outputs of tasks, in real workers and in threads, from real servers."""

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client, File, Output
from blockyard.errors import ConfigError, StagingError
from tests.fixtures.web_server import Page, WebServer
from tests.integration.processes import wait_until

WITHIN = 60.0


def read(file: File) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()


@pytest.fixture(scope="module", params=["local", "threads"])
def client(request: pytest.FixtureRequest, cache: Path) -> Iterator[Client]:
    with Client.local(workers=2) if request.param == "local" else Client.threads(2) as client:
        yield client


def test_files_are_staged_in_wherever_they_stand_in_the_arguments(
    client: Client, web: WebServer, tmp_path: Path
) -> None:
    strange = "/a folder/ü b%.txt"
    web.pages[strange] = Page(b"far")
    near = tmp_path / "näher #1?.txt"
    near.write_text("near")
    far = File(f"{web.url}/a folder/ü b%25.txt")

    def read_all(files: dict[str, list[File]], *, again: File) -> tuple[list[str], list[str], bool]:
        all_files = files["of"]
        return [Path(one).read_text() for one in all_files], [Path(one).name for one in all_files], again.path.exists()

    texts, names, is_there = client.submit(read_all, {"of": [File(near), far]}, again=far).result(WITHIN)
    assert texts == ["near", "far"]
    assert names == ["näher #1?.txt", "ü b%.txt"]
    assert is_there
    assert web.counts["GET", strange] == 1


def test_an_output_is_written_when_its_task_has_succeeded_and_given_on_as_a_file(
    client: Client, tmp_path: Path
) -> None:
    place = tmp_path / "made" / "ü x.txt"

    def make(text: str, output: Output) -> Output:
        assert not place.exists()
        Path(output).write_text(text)
        return output

    made = client.submit(make, "made", Output(place))
    assert client.submit(read, made).result(WITHIN) == b"made"
    assert made.result(WITHIN) == File(place)
    assert [path.name for path in place.parent.iterdir()] == ["ü x.txt"]


def test_an_output_that_is_missing_fails_the_task_by_its_name(client: Client, cache: Path, tmp_path: Path) -> None:
    def make(one: Output, other: Output) -> None:
        Path(one).write_text("x")
        Path(other).with_name("typo.txt").write_text("x")

    future = client.submit(make, Output(tmp_path / "one.txt"), Output(tmp_path / "other.txt"))
    with pytest.raises(StagingError, match=r"other\.txt'\) was not written.*nothing, beside it typo\.txt"):
        future.result(WITHIN)
    assert not (tmp_path / "one.txt").exists(), "all or none"
    wait_until("nothing is left", lambda: list((cache / "outputs").iterdir()), lambda left: not left, WITHIN)


def test_an_output_of_a_task_that_fails_is_not_written(client: Client, tmp_path: Path) -> None:
    def make(output: Output) -> None:
        Path(output).write_text("half")
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        client.submit(make, Output(tmp_path / "one.txt")).result(WITHIN)
    assert not (tmp_path / "one.txt").exists()


def test_a_file_is_fetched_once_and_again_when_it_has_changed(client: Client, web: WebServer) -> None:
    web.pages["/data.bin"] = Page(b"one")
    file = File(f"{web.url}/data.bin")
    assert client.submit(read, file).result(WITHIN) == b"one"
    assert client.submit(read, file).result(WITHIN) == b"one"
    assert web.counts["GET", "/data.bin"] == 1
    web.pages["/data.bin"] = Page(b"two", etag='"2"')
    assert client.submit(read, file).result(WITHIN) == b"two"
    assert web.counts["GET", "/data.bin"] == 2


def test_what_has_no_validator_is_fetched_every_time_and_not_kept(client: Client, web: WebServer, cache: Path) -> None:
    web.pages["/now"] = Page(b"one", etag="")
    assert client.submit(read, File(f"{web.url}/now")).result(WITHIN) == b"one"
    web.pages["/now"] = Page(b"two", etag="")
    assert client.submit(read, File(f"{web.url}/now")).result(WITHIN) == b"two"
    wait_until("nothing is left", lambda: list((cache / "copies").glob("*/now")), lambda left: not left, WITHIN)


def test_two_tasks_at_once_are_one_download(client: Client, web: WebServer) -> None:
    page = web.pages["/once"] = Page(b"x" * 100_000, stall=threading.Event())
    assert page.stall is not None
    futures = [client.submit(read, File(f"{web.url}/once")) for _ in range(2)]
    assert page.begun.wait(WITHIN)
    wait_until("both have looked", lambda: web.counts["HEAD", "/once"], lambda count: count >= 2, WITHIN)
    page.stall.set()
    assert {future.result(WITHIN) for future in futures} == {page.content}
    assert web.counts["GET", "/once"] == 1


def test_a_server_that_fails_twice_and_one_that_breaks_off_are_asked_again(client: Client, web: WebServer) -> None:
    web.pages["/busy"] = Page(b"x" * 1000, failures=2, cuts=1)
    assert client.submit(read, File(f"{web.url}/busy")).result(WITHIN) == b"x" * 1000
    assert web.counts["GET", "/busy"] == 4


def test_a_hash_is_verified_and_what_has_one_is_not_asked_for_again(client: Client, web: WebServer) -> None:
    content = os.urandom(5)
    web.pages["/known"] = Page(content, etag="")
    right, wrong = hashlib.sha256(content).hexdigest(), hashlib.sha256(b"other").hexdigest()
    for _ in range(2):
        assert client.submit(read, File(f"{web.url}/known", sha256=right)).result(WITHIN) == content
    assert (web.counts["HEAD", "/known"], web.counts["GET", "/known"]) == (1, 1)
    with pytest.raises(StagingError, match=rf"5 bytes have the sha256 {right}, and {wrong} was given") as caught:
        client.submit(read, File(f"{web.url}/known", sha256=wrong)).result(WITHIN)
    assert caught.value.url == f"{web.url}/known"


def test_a_file_that_is_here_is_verified_too(client: Client, tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.write_bytes(b"known")
    right = hashlib.sha256(b"known").hexdigest()
    assert client.submit(read, File(place, sha256=right)).result(WITHIN) == b"known"
    place.write_bytes(b"other")
    with pytest.raises(StagingError, match=f"{right} was given"):
        client.submit(read, File(place, sha256=right)).result(WITHIN)


def test_an_error_names_the_file_what_was_found_and_what_to_do_without_secrets(client: Client, web: WebServer) -> None:
    web.pages["/locked"] = Page(b"x", authorization="nobody's")
    host = web.url.removeprefix("http://")
    for path, sentence in (("locked", "credentials"), ("absent", "address is right")):
        file = File(f"http://me:Geheim%21@{host}/{path}?token=Verraten")
        error = client.submit(read, file).exception(WITHIN)
        assert isinstance(error, StagingError)
        assert f"http://me:***@{host}/{path}?…" in str(error)
        assert sentence in str(error)
        everything = f"{error!r} {error.__cause__} {file!r} {file}"
        assert not any(secret in everything for secret in ("Geheim", "Verraten"))


def test_a_password_in_the_url_is_used(client: Client, web: WebServer) -> None:
    web.pages["/locked"] = Page(b"open", authorization="Basic bWU6R2VoZWltIQ==")
    host = web.url.removeprefix("http://")
    assert client.submit(read, File(f"http://me:Geheim%21@{host}/locked")).result(WITHIN) == b"open"


def test_a_value_that_was_put_may_hold_files(client: Client, web: WebServer) -> None:
    web.pages["/put"] = Page(b"x" * 10)
    stand_in = client.put([File(f"{web.url}/put"), b"y" * 100_000])

    def size(value: list[Any]) -> int:
        return len(read(value[0])) + len(value[1])

    assert [client.submit(size, stand_in).result(WITHIN) for _ in range(3)] == [100_010] * 3


def test_what_is_wrong_with_an_address_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no stager for htps://; did you mean 'https'"):
        File("htps://example.org/x")
    with pytest.raises(ConfigError, match=r"http:// can be read only; write to one of file://, pvc://, ftp://, s3://"):
        Output("http://example.org/x")
    with pytest.raises(ConfigError, match="64 hexadecimal"):
        File("x", sha256="abc")
    with pytest.raises(StagingError, match="is not here: a file has a local path in the task"):
        os.fspath(File("https://example.org/x"))


def test_a_worker_killed_while_it_fetches_leaves_nothing_and_the_next_try_gets_the_file(
    cache: Path, web: WebServer
) -> None:
    page = web.pages["/large"] = Page(os.urandom(200_000), stall=threading.Event())
    assert page.stall is not None

    with Client.local(workers=1) as client:
        worker = client.submit(os.getpid).result(WITHIN)
        future = client.submit(read, File(f"{web.url}/large"))
        assert page.begun.wait(WITHIN)
        wait_until("a part is there", lambda: list((cache / "parts").glob("*.room")), bool, WITHIN)
        os.kill(worker, signal.SIGKILL)
        page.stall.set()
        assert future.result(WITHIN) == page.content
    assert list((cache / "parts").iterdir()) == []
