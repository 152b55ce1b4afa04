"""Where `Client.local` keeps its sockets: their paths may have 107 bytes, and folders have any length.

And that nothing of a system stays when it is refused.
"""

import os
import subprocess
import sys
import tempfile
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
