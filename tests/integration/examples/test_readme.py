"""The README's first task runs as it stands there, and so do the examples of the client, of files, of the protocol."""

import re
import subprocess
import sys
from pathlib import Path

from blockyard import Client
from blockyard.keyring import KeyRing
from tests.machine import ROOT


def printed(page: Path, folder: Path, *arguments: str, programs: int = 1) -> str:
    """By the first of so many Python programs of a page, with these arguments, which ends well."""
    found = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(found) == programs
    (folder / "program.py").write_text(found[0])
    done = subprocess.run(
        [sys.executable, "program.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_task_prints_what_it_should(tmp_path: Path) -> None:
    assert printed(ROOT / "README.md", tmp_path, programs=2).split() == ["1024", "1000000"]


def test_the_example_of_files_prints_what_it_should(tmp_path: Path) -> None:
    assert printed(ROOT / "docs" / "files.md", tmp_path).split() == ["3", "3"]


def test_the_example_of_the_client_prints_what_it_should(tmp_path: Path) -> None:
    assert sorted(printed(ROOT / "docs" / "client.md", tmp_path).splitlines()) == ["8", "[16, 16]"]


def test_the_client_of_the_protocol_needs_no_more_than_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "system"
    with Client.local(workers=1, folder=folder):
        server_key = KeyRing(folder / "keys").interchange("clients").public.decode()
        arguments = f"ipc://{folder}/clients.sock", server_key, str(folder / "keys" / "client-default.key")
        out = printed(ROOT / "docs" / "protocol.md", tmp_path, *arguments)
    assert re.fullmatch(r"[0-9a-f]+-0 1024\n", out)
    assert not re.search(r"^(import|from) blockyard", (tmp_path / "program.py").read_text(), re.MULTILINE)
