"""Where `Client.local` keeps its sockets: their paths may have 107 bytes, and folders have any length.

And that nothing of a system stays when it is refused, and what becomes of one where no file finds room.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client, state_folder
from blockyard.errors import BlockyardError, BrokenBlockyard, ConfigError
from blockyard.transport import KeyPair
from tests.integration.processes import WITHIN, descendants

pytestmark = pytest.mark.timeout(180)

LONG = "a-folder-of-a-project-with-a-long-name/" * 3


def test_a_run_whose_folder_is_too_long_is_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / LONG))
    with pytest.raises(ConfigError, match=r"sockets' paths have up to \d+ bytes, 107 are possible; use a shorter"):
        Client.local(run="sweep")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("run, database", [("sweep", False), ("", True)])
def test_a_folder_that_cannot_be_made_is_refused_with_a_remedy(
    run: str, database: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    with pytest.raises(ConfigError, match=r"^state folder /dev/null/.* cannot be made: Not a directory; .*XDG_STATE_"):
        Client.local(run=run, monitoring=database)


def test_large_arguments_and_results_need_no_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_folder, "_SHARED_MEMORY", tmp_path / "none")
    with Client.local(workers=1, folder=tmp_path / "state") as client:
        assert client.submit(bytes, 1_000_000).result(WITHIN) == bytes(1_000_000)
        assert client.submit(len, bytes(1_000_000)).result(WITHIN) == 1_000_000
    assert not (tmp_path / "state" / "blobs").exists()


def test_a_temporary_folder_that_is_too_long_is_made_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / LONG))
    with Client.local(workers=1) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1


@pytest.mark.parametrize(
    "wrong", [{"journal": "mysql://there"}, {"workers": -1}, {"nonsense": 1}, {"metrics": "nowhere"}]
)
def test_what_is_refused_leaves_nothing_behind(
    wrong: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises((BlockyardError, TypeError)):
        Client.local(**wrong)
    assert not list(tmp_path.iterdir())
    assert not [one for one in descendants(os.getpid()) if "blockyard_interchange" in one.command]


def test_an_interpreter_of_the_interchange_starts_before_what_is_slow_is_imported() -> None:
    slow = "from blockyard import Client; import sys; print({'msgspec', 'zmq', 'cloudpickle'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", slow], text=True) == "set()\n"


def test_an_endpoint_that_is_too_long_is_an_error_at_once(tmp_path: Path) -> None:
    keys = KeyPair.new()
    keys.save(tmp_path / "client.key")
    with pytest.raises(BrokenBlockyard, match="File name too long"):
        Client.connect(
            f"ipc://{tmp_path}/{LONG}clients.sock",
            server_key=keys.public.decode(),
            client_key=tmp_path / "client.key",
        )


@pytest.fixture
def small_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go is a file system of its own."""
    with tempfile.TemporaryDirectory(prefix="by-", dir="/tmp") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", name], check=True)
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.setenv("TMPDIR", name)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def _fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@pytest.mark.needs_root
def test_where_temporary_files_find_no_room_one_is_told_and_nothing_stays(small_temporary_folder: Path) -> None:
    ballast = _fill(small_temporary_folder)
    with pytest.raises(ConfigError, match=r"^state folder .* cannot be written: No space left on device; .*TMPDIR"):
        Client.local(workers=1)
    assert list(small_temporary_folder.iterdir()) == [ballast]
    ballast.unlink()
    with Client.local(workers=1) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1


@pytest.mark.needs_root
def test_tasks_wait_while_temporary_files_find_no_room_and_go_on(small_temporary_folder: Path) -> None:
    with Client.local(workers=1) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        ballast = _fill(small_temporary_folder)
        futures = client.submit_many(len, ["x" * 20_000] * 50)
        with pytest.raises(TimeoutError):
            futures[-1].result(1.0)
        ballast.unlink()
        assert [future.result(WITHIN) for future in futures] == [20_000] * 50
