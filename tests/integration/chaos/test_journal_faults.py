"""What befalls a running system's journal: its disk is full for a while, its file is damaged while the system is down,
a second interchange wants it. The stores alone are held to the same in ``tests/contract/journal``."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard
from tests.integration.chaos.journal import times_recorded
from tests.integration.processes import WITHIN, House, kill, wait_until
from tests.integration.questions import pool_status

pytestmark = pytest.mark.timeout(300)

DISK_BYTES = 32 * 1024 * 1024
BALLAST_BYTES = 28 * 1024 * 1024
BODY_BYTES = 20_000
COUNT = 300
"""Tasks; with their arguments, more than fits beside the ballast."""
NEEDLE = "an argument that can be found again in the file"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, nearly all taken by a file named `ballast`."""
    with tempfile.TemporaryDirectory(prefix="blockyard-disk-", dir="/tmp") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", name], check=True)
        try:
            (Path(name) / "ballast").write_bytes(bytes(BALLAST_BYTES))
            yield Path(name)
        finally:
            House(Path(name) / "state").wait_until_empty()
            subprocess.run(["umount", "--lazy", name], check=True)


@pytest.mark.needs_root
def test_with_a_full_disk_work_waits_and_then_goes_on(small_disk: Path) -> None:
    house = House(small_disk / "state")
    with Client.local(workers=2, folder=house.folder) as client:
        (interchange,) = house.interchanges()
        futures = client.submit_many(len, [str(number).ljust(BODY_BYTES) for number in range(COUNT)])
        wait_until(
            "the disk is full", lambda: shutil.disk_usage(small_disk).free, lambda free: free < 2 * BODY_BYTES, WITHIN
        )
        assert not all(future.done() for future in futures), "nobody hears of what is not recorded"
        (small_disk / "ballast").unlink()
        assert [future.result(WITHIN) for future in futures] == [BODY_BYTES] * COUNT
        status = pool_status(client)
        assert (status.submitted, status.done, status.failed, status.lost) == (COUNT, COUNT, 0, 0), status
        assert [one.pid for one in house.interchanges()] == [interchange.pid]
    assert set(times_recorded(house.folder).values()) <= {1}


@pytest.fixture
def full_disk(small_disk: Path) -> Path:
    """The same with a system on it that has ended, and not one byte left."""
    with Client.local(workers=1, folder=small_disk / "state", monitoring=True) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
    with (small_disk / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    return small_disk


@contextlib.contextmanager
def _started(module: str, settings: Path) -> Iterator["subprocess.Popen[str]"]:
    """A part of the system whose words come here, and not to the disk that is full."""
    told = msgspec.json.decode(settings.read_bytes())
    elsewhere = json.dumps({**told, "parent": 0})  # it is this process's now
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(elsewhere)
        file.flush()
        command = [sys.executable, "-m", module, file.name]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def _says(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"it ended with {process.wait(WITHIN)} and never said {words!r}: {said}")


@pytest.mark.needs_root
def test_an_interchange_that_starts_while_its_disk_is_full_waits_for_room(full_disk: Path) -> None:
    with _started("blockyard_interchange", full_disk / "state" / "interchange.json") as interchange:
        _says(interchange, "Free space on that disk")
        (full_disk / "ballast").unlink()
        _says(interchange, "interchange ready")


@pytest.mark.needs_root
def test_a_hub_that_starts_while_its_disk_is_full_is_to_be_started_again(full_disk: Path) -> None:
    with _started("blockyard_monitoring", full_disk / "state" / "hub.json") as hub:
        _says(hub, "No space left on device")
        assert hub.wait(WITHIN) not in (2, 5), "the codes of what no further start mends"


@pytest.fixture
def kept(run_house: House) -> Path:
    """The journal of the run 'sweep', which holds results that nobody has looked at."""

    def leave() -> None:
        with Client.local(workers=1, run="sweep") as client:
            client.submit_many(str.upper, [f"{NEEDLE} {number}" for number in range(50)])
            raise LookupError

    with pytest.raises(LookupError):
        leave()
    return run_house.folder / "journal.db"


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.rfind(NEEDLE.upper().encode())
    assert place > 0, "the result is in the file"
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_truncate, _flip])
def test_a_damaged_journal_is_named_and_nothing_of_it_is_dropped(kept: Path, damage: Callable[[Path], None]) -> None:
    whole = {path: path.read_bytes() for path in kept.parent.glob("journal.db*")}
    damage(kept)
    left = kept.read_bytes().count(NEEDLE.upper().encode())
    with pytest.raises(BrokenBlockyard, match=r"exit code 3; its last words") as caught:
        Client.local(workers=1, run="sweep")
    assert str(kept) in str(caught.value)
    assert "blockyard journal check" in str(caught.value)
    assert kept.read_bytes().count(NEEDLE.upper().encode()) == left, "what can still be read stays"
    for path, content in whole.items():
        path.write_bytes(content)
    with Client.local(workers=1, run="sweep") as client:
        found = sorted(future.result(WITHIN) for future in client.reattach())
        assert found == sorted(f"{NEEDLE} {number}".upper() for number in range(50))


def test_a_byte_flipped_under_a_running_interchange_is_named_by_the_next_start(house: House) -> None:
    kept = house.folder / "journal.db"
    with Client.local(workers=1, folder=house.folder) as client:
        (interchange,) = house.interchanges()
        futures = client.submit_many(str.upper, [f"{NEEDLE} {number} " * 100 for number in range(50)])
        last = [future.result(WITHIN) for future in futures][-1]
        waiting = client.submit(time.sleep, 3600)
        wait_until("it runs", waiting.running, lambda running: running)
        found = [
            path for path in (kept, kept.with_name("journal.db-wal")) if NEEDLE.upper().encode() in path.read_bytes()
        ]
        assert found, last
        for path in found:
            with path.open("r+b") as file:
                content = path.read_bytes()
                place = content.rfind(NEEDLE.upper().encode())
                file.seek(place)
                file.write(bytes([content[place] ^ 1]))
        assert kill(interchange)
        with pytest.raises(BrokenBlockyard, match=r"exit code 3; its last words") as caught:
            waiting.result(WITHIN)
        assert str(kept) in str(caught.value)
        assert "blockyard journal check" in str(caught.value)


def test_a_second_interchange_on_the_same_journal_is_refused_and_harms_nobody(house: House) -> None:
    with Client.local(workers=1, folder=house.folder) as client:
        (first,) = house.interchanges()
        second = subprocess.run(
            [sys.executable, "-m", "blockyard_interchange", house.folder / "interchange.json"],
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        assert second.returncode == 4, second
        assert f"held by pid {first.pid}" in second.stderr
        assert client.submit(abs, -1).result(WITHIN) == 1
        assert [one.pid for one in house.interchanges()] == [first.pid]
