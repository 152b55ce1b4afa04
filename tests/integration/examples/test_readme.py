"""The README's first task runs as it stands there, and so do the examples of the client and of files."""

import re
import subprocess
import sys
from pathlib import Path

from tests.machine import ROOT


def printed(page: Path, folder: Path, programs: int = 1) -> str:
    """By the first of so many Python programs of a page, which ends well."""
    found = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(found) == programs
    (folder / "program.py").write_text(found[0])
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_task_prints_what_it_should(tmp_path: Path) -> None:
    assert printed(ROOT / "README.md", tmp_path, programs=2).split() == ["1024", "1000000"]


def test_the_example_of_files_prints_what_it_should(tmp_path: Path) -> None:
    assert printed(ROOT / "docs" / "files.md", tmp_path).split() == ["3", "3"]


def test_the_example_of_the_client_prints_what_it_should(tmp_path: Path) -> None:
    assert sorted(printed(ROOT / "docs" / "client.md", tmp_path).splitlines()) == ["8", "[16, 16]"]
